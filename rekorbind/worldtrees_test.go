// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// head returns the newest tree of an instance's Rekor v1, as a bundle shows it.
func (c *chained) head(i *sigstoretest.Instance) sigstore.Checkpoint {
	c.t.Helper()
	col := &Collection{Root: c.root}
	b, err := sigstore.ParseBundle(i.Sign(sigstoretest.Request{Statement: c.one, SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV1, TSA: true, At: c.next()}))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := col.Add(b); err != nil {
		c.t.Fatal(err)
	}
	for _, heads := range col.Trees() {
		if len(heads) == 1 {
			return heads[0]
		}
	}
	c.t.Fatal("no checkpoint")
	return sigstore.Checkpoint{}
}

// prover answers what Rekor v1 answers about consistency.
type prover struct {
	inst  *sigstoretest.Instance
	reply func(first, last int64) (int, string) // nil for the honest one
	asked []string
}

func (p *prover) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked = append(p.asked, r.URL.Path+"?"+r.URL.RawQuery)
	if r.URL.Path != "/api/v1/log/proof" {
		_, _ = io.WriteString(w, "[]") // the index lists nothing
		return
	}
	first, _ := strconv.ParseInt(r.URL.Query().Get("firstSize"), 10, 64)
	last, _ := strconv.ParseInt(r.URL.Query().Get("lastSize"), 10, 64)
	if p.reply != nil {
		code, text := p.reply(first, last)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"rootHash": strings.Repeat("0", 64), "hashes": p.inst.ConsistencyV1(first, last)})
}

func (c *chained) prover(p *prover, state Heads) *Trees {
	c.t.Helper()
	srv := httptest.NewServer(p)
	c.t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	return &Trees{Root: c.root, Clients: map[string]*web.Client{c.root.Logs()[0].ID: client}, Heads: state, Now: func() time.Time { return sigstoretest.Now }}
}

// seen is a checkpoint of the instance's Rekor v1.
func (c *chained) seen(cp sigstore.Checkpoint) Seen { return Seen{c.root.Logs()[0].ID, 1, cp} }

// racingHeads saves as another process would that was here in between.
type racingHeads struct {
	Heads
	before func()
}

func (r *racingHeads) SaveHead(shard string, old, next Head) (bool, error) {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.Heads.SaveHead(shard, old, next)
}

// tree returns the checkpoint of the Rekor v2 log over some entries, with cosignatures.
func (c *chained) tree(bodies [][]byte, lines ...string) Seen {
	c.t.Helper()
	note := c.inst.CheckpointV2(bodies, c.inst.Origin())
	for _, l := range lines {
		note = append(note, l...)
	}
	id := hex.EncodeToString(shardID)
	cp, err := c.root.OpenCheckpoint(id, note)
	check(c.t, err)
	return Seen{id, 2, cp}
}

// trees returns what compares the trees of the Rekor v2 log that h serves.
func (c *chained) trees(t *testing.T, h http.Handler, state Heads) *Trees {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	check(t, err)
	client.SetTimeout(2 * time.Second)
	return &Trees{Root: c.root, Clients: map[string]*web.Client{hex.EncodeToString(shardID): client}, Heads: state, Now: func() time.Time { return sigstoretest.Now }}
}

// kindOf names what [Trees.Same] says.
func kindOf(err error) string {
	var u *Unproven
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrLogFork):
		return "fork"
	case errors.As(err, &u) && u.Unasked:
		return "unasked"
	case errors.As(err, &u):
		return "unproven"
	}
	return err.Error()
}

// cosigner is a witness that cosigns whatever it is asked to, at any time.
type cosigner struct {
	name string
	key  ed25519.PrivateKey
	vkey string
	hash uint32
}

func newCosigner(t testing.TB, name string) *cosigner {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return &cosigner{name, key, s.Verifier().String(), s.KeyHash()}
}

// line returns the signature line over a checkpoint (C2SP tlog-cosignature,
// cosignature/v1).
func (c *cosigner) line(checkpoint []byte, at time.Time) string {
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	msg := fmt.Sprintf("cosignature/v1\ntime %d\n%s\n", at.Unix(), text)
	sig := binary.BigEndian.AppendUint32(nil, c.hash)
	sig = binary.BigEndian.AppendUint64(sig, uint64(at.Unix()))
	sig = append(sig, ed25519.Sign(c.key, []byte(msg))...)
	return "— " + c.name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}
