// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestPlaceAuthorities: of two authorities with one address each has a name of its own, so
// that one which lies says nothing about the other; and none has no name, which would be
// that of a directory.
func TestPlaceAuthorities(t *testing.T) {
	one, other := sigstoretest.New(t), sigstoretest.New(t)
	shard := bytes.Repeat([]byte{2}, 32)
	id := hex.EncodeToString(shard)
	parse := func(change func(*prototrust.TrustedRoot)) *Root {
		var more []*prototrust.CertificateAuthority
		_ = other.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) { more = tr.TimestampAuthorities }})
		r, err := ParseRoot("test", one.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
			tr.Tlogs[1].LogId.KeyId = shard
			tr.TimestampAuthorities = append(tr.TimestampAuthorities, more...)
			change(tr)
		}}))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	note := one.CheckpointV2([][]byte{[]byte("x")}, one.Origin())
	for what, r := range map[string]*Root{
		"as they are": parse(func(*prototrust.TrustedRoot) {}),
		"without addresses": parse(func(tr *prototrust.TrustedRoot) {
			for _, a := range tr.TimestampAuthorities {
				a.Uri = ""
			}
		}),
		"without their own certificates": parse(func(tr *prototrust.TrustedRoot) {
			for _, a := range tr.TimestampAuthorities {
				a.CertChain.Certificates = a.CertChain.Certificates[1:]
			}
		}),
	} {
		names := map[string]bool{}
		for _, inst := range []*sigstoretest.Instance{one, other} {
			for range 2 {
				p, err := r.OpenPlace(id, note, inst.Stamp(note, sigstoretest.Now))
				if err != nil || p.Authority == "" || p.Size != 1 || !p.Time.Equal(sigstoretest.Now) ||
					p.Time.Location() != time.UTC {
					t.Fatalf("%s: %+v %v", what, p, err)
				}
				names[p.Authority] = true
				if what == "as they are" && !strings.HasPrefix(p.Authority, "https://tsa.example (certificate ") {
					t.Error(p.Authority)
				}
			}
		}
		if len(names) != 2 {
			t.Errorf("%s: %v", what, names)
		}
	}
}

// TestStampCheckpoint: what is stamped is the log's own signature, whoever cosigned, and only
// what verifies comes back.
func TestStampCheckpoint(t *testing.T) {
	inst, other := sigstoretest.New(t), sigstoretest.New(t)
	shard := bytes.Repeat([]byte{2}, 32)
	id := hex.EncodeToString(shard)
	r, err := ParseRoot("test",
		inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) { tr.Tlogs[1].LogId.KeyId = shard }}))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	tsa := inst
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked++
		tsa.TSA(func() time.Time { return sigstoretest.Now }).ServeHTTP(w, q)
	}))
	defer srv.Close()
	c := &Client{Services: Services{TSA: srv.URL}}
	note := inst.CheckpointV2([][]byte{[]byte("x")}, inst.Origin())
	cosigned := append(bytes.Clone(note), "— witness.example AAAAAAAA\n"...)
	for _, n := range [][]byte{note, cosigned} {
		own, stamp, err := c.StampCheckpoint(t.Context(), r, id, n)
		if err != nil || !bytes.Equal(own, note) {
			t.Fatalf("%q %v", own, err)
		}
		if p, err := r.OpenPlace(id, own, stamp); err != nil || p.Log != id {
			t.Errorf("%+v %v", p, err)
		}
	}
	asked = 0
	if _, _, err := c.StampCheckpoint(t.Context(), r, id, other.CheckpointV2(nil, other.Origin())); err == nil ||
		asked > 0 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	tsa = other
	var e *Error
	if _, stamp, err := c.StampCheckpoint(t.Context(), r, id, note); !errors.As(err, &e) ||
		e.Reason != policy.TimeInvalid || stamp != nil || !strings.Contains(err.Error(), srv.URL) {
		t.Error(err)
	}
	srv.Close()
	if _, _, err := c.StampCheckpoint(t.Context(), r, id, note); err == nil ||
		!strings.HasPrefix(err.Error(), "time stamp: "+srv.URL) {
		t.Error(err)
	}
}

// TestCheckpointOf: the checkpoint is that of the one entry.
func TestCheckpointOf(t *testing.T) {
	inst := sigstoretest.New(t)
	sign := func(kind sigstoretest.LogKind) []byte {
		return inst.Sign(sigstoretest.Request{
			Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: kind,
		})
	}
	log, note, err := CheckpointOf(sign(sigstoretest.LogV2))
	if err != nil || len(log) != 64 {
		t.Fatal(log, err)
	}
	if cp, err := readCheckpoint(string(note)); err != nil || cp.Size < 1 {
		t.Error(cp, err)
	}
	for what, data := range map[string][]byte{
		"two entries": sign(sigstoretest.LogBoth), "no bundle": []byte("x"), "no entry": []byte("{}"),
		"no checkpoint": bytes.Replace(sign(sigstoretest.LogV2), []byte(`"checkpoint"`), []byte(`"rootHash"`), 1),
	} {
		if log, note, err := CheckpointOf(data); err == nil || log != "" || note != nil {
			t.Errorf("%s: %q %q", what, log, note)
		}
	}
}
