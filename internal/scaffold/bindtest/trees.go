// SPDX-License-Identifier: Apache-2.0

package bindtest

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

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"filippo.io/torchwood"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// head returns the newest tree of an instance's Rekor v1, as a bundle shows it.
func (c *Chained) Head(i *sigstoretest.Instance) sigstore.Checkpoint {
	c.T.Helper()
	col := &bindings.Collection{Root: c.Root}
	b, err := sigstore.ParseBundle(
		i.Sign(
			sigstoretest.Request{
				Statement: c.One, SAN: "alice@example.com", Issuer: "https://accounts.google.com",
				Log: sigstoretest.LogV1, TSA: true, At: c.Next(),
			},
		),
	)
	if err != nil {
		c.T.Fatal(err)
	}
	if err := col.Add(b); err != nil {
		c.T.Fatal(err)
	}
	for _, heads := range col.Trees() {
		if len(heads) == 1 {
			return heads[0]
		}
	}
	c.T.Fatal("no checkpoint")
	return sigstore.Checkpoint{}
}

// prover answers what Rekor v1 answers about consistency.
type Prover struct {
	Inst  *sigstoretest.Instance
	Reply func(first, last int64) (int, string) // nil for the honest one
	Asked []string
}

func (p *Prover) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.Asked = append(p.Asked, r.URL.Path+"?"+r.URL.RawQuery)
	if r.URL.Path != "/api/v1/log/proof" {
		_, _ = io.WriteString(w, "[]") // the index lists nothing
		return
	}
	first, _ := strconv.ParseInt(r.URL.Query().Get("firstSize"), 10, 64)
	last, _ := strconv.ParseInt(r.URL.Query().Get("lastSize"), 10, 64)
	if p.Reply != nil {
		code, text := p.Reply(first, last)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
		return
	}
	_ = json.NewEncoder(w).
		Encode(map[string]any{"rootHash": strings.Repeat("0", 64), "hashes": p.Inst.ConsistencyV1(first, last)})
}

func (c *Chained) Prover(p *Prover, state rekor.Heads) *rekor.Trees {
	c.T.Helper()
	srv := httptest.NewServer(p)
	c.T.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.T.Fatal(err)
	}
	return &rekor.Trees{
		Root: c.Root, Clients: map[string]*web.Client{c.Root.Logs()[0].ID: client}, Heads: state,
		Now: func() time.Time { return sigstoretest.Now },
	}
}

// seen is a checkpoint of the instance's Rekor v1.
func (c *Chained) Seen(cp sigstore.Checkpoint) rekor.Seen {
	return rekor.Seen{Log: c.Root.Logs()[0].ID, Generation: 1, Checkpoint: cp}
}

// racingHeads saves as another process would that was here in between.
type RacingHeads struct {
	rekor.Heads
	Before func()
}

func (r *RacingHeads) SaveHead(shard string, old, next rekor.Head) (bool, error) {
	if f := r.Before; f != nil {
		r.Before = nil
		f()
	}
	return r.Heads.SaveHead(shard, old, next)
}

// tree returns the checkpoint of the Rekor v2 log over some entries, with cosignatures.
func (c *Chained) Tree(bodies [][]byte, lines ...string) rekor.Seen {
	c.T.Helper()
	note := c.Inst.CheckpointV2(bodies, c.Inst.Origin())
	for _, l := range lines {
		note = append(note, l...)
	}
	id := hex.EncodeToString(ShardID)
	cp, err := c.Root.OpenCheckpoint(id, note)
	Check(c.T, err)
	return rekor.Seen{Log: id, Generation: 2, Checkpoint: cp}
}

// trees returns what compares the trees of the Rekor v2 log that h serves.
func (c *Chained) Trees(t *testing.T, h http.Handler, state rekor.Heads) *rekor.Trees {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	Check(t, err)
	client.SetTimeout(2 * time.Second)
	return &rekor.Trees{
		Root: c.Root, Clients: map[string]*web.Client{hex.EncodeToString(ShardID): client}, Heads: state,
		Now: func() time.Time { return sigstoretest.Now },
	}
}

// kindOf names what [Trees.Same] says.
func KindOf(err error) string {
	var u *rekor.Unproven
	switch {
	case err == nil:
		return ""
	case errors.Is(err, rekor.ErrLogFork):
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
	Vkey string
	hash uint32
}

func NewCosigner(t testing.TB, name string) *cosigner {
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
func (c *cosigner) Line(checkpoint []byte, at time.Time) string {
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	msg := fmt.Sprintf("cosignature/v1\ntime %d\n%s\n", at.Unix(), text)
	sig := binary.BigEndian.AppendUint32(nil, c.hash)
	sig = binary.BigEndian.AppendUint64(sig, uint64(at.Unix()))
	sig = append(sig, ed25519.Sign(c.key, []byte(msg))...)
	return "— " + c.name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}
