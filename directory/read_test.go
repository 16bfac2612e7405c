// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// TestFollow lets a log lie in every answer that a follower reads: nothing of it is
// kept, and once it is honest again the records are those of a log that never lied.
func TestFollow(t *testing.T) {
	inst := sigstoretest.New(t)
	var bodies [][]byte
	for i := range 5000 { // more than one step
		bodies = append(bodies, syntheticBody(i, 20))
	}
	log := newTestLog(t, inst, bodies)
	honest := testBuilder(t, log, t.TempDir(), synthetic{})
	log.show(300)
	build := func(b *Builder) error {
		_, err := b.Build(t.Context())
		return err
	}
	if err := build(honest); err != nil {
		t.Fatal(err)
	}
	log.show(5000)
	if err := build(honest); err != nil {
		t.Fatal(err)
	}
	want := linesOf(t, honest.Store)

	fork := func(err error) bool { var f *rekor.Fork; return errors.As(err, &f) }
	stale := func(err error) bool { var s *Stale; return errors.As(err, &s) }
	missing := func(err error) bool { var s *web.StatusError; return errors.As(err, &s) }
	invalid := func(err error) bool {
		var s *sigstore.Error
		return errors.As(err, &s) && s.Reason == policy.LogInvalid
	}
	other := func(err error) bool { return err != nil && !fork(err) && !stale(err) }
	at := func(what string, f func([]byte) []byte) func(string, []byte) []byte {
		return func(path string, data []byte) []byte {
			if strings.Contains(path, what) {
				return f(bytes.Clone(data))
			}
			return data
		}
	}
	flip := func(data []byte) []byte { data[len(data)-1] ^= 1; return data }
	elsewhere := sigstoretest.New(t)
	for what, c := range map[string]struct {
		change func(path string, data []byte) []byte
		is     func(error) bool
	}{
		"an entry is changed":         {at("/tile/entries/", flip), fork},
		"an entry of the second step": {at("/tile/entries/018", flip), fork},
		"entries are swapped":         {at("/tile/entries/003", swapFirst), fork},
		"an entry is left out":        {at("/tile/entries/004", dropFirst), other},
		"an entry is cut":             {at("/tile/entries/004", func(d []byte) []byte { return d[:len(d)-1] }), other},
		"one entry too many": {
			at("/tile/entries/004", func(d []byte) []byte { return append(d, 0, 1, 'x') }), other,
		},
		"a tile is missing":  {at("/tile/entries/004", func([]byte) []byte { return nil }), missing},
		"a hash is changed":  {at("/tile/0/", flip), other},
		"hashes are cut":     {at("/tile/0/", func(d []byte) []byte { return d[:len(d)-1] }), other},
		"hashes are missing": {at("/tile/1/", func([]byte) []byte { return nil }), missing},
		"no checkpoint":      {at("/checkpoint", func([]byte) []byte { return nil }), missing},
		"a checkpoint that nobody signed": {
			at("/checkpoint", func(d []byte) []byte { return bytes.Replace(d, []byte("\n5000\n"), []byte("\n4999\n"), 1) }),
			invalid,
		},
		"a checkpoint of another key": {
			at("/checkpoint", func([]byte) []byte { return elsewhere.CheckpointV2(bodies[:5000], inst.Origin()) }), invalid,
		},
		"a checkpoint of another origin": {
			at("/checkpoint", func([]byte) []byte { return inst.CheckpointV2(bodies[:5000], "other.example") }), invalid,
		},
		"an older tree": {
			at("/checkpoint", func([]byte) []byte { return inst.CheckpointV2(bodies[:200], inst.Origin()) }), stale,
		},
		"another tree of the same size": {
			at("/checkpoint", func([]byte) []byte { return inst.CheckpointV2(bodies[1:301], inst.Origin()) }), fork,
		},
		"a tree that it does not have": {
			at("/checkpoint", func([]byte) []byte { return inst.CheckpointV2(bodies[1:], inst.Origin()) }), other,
		},
	} {
		t.Run(what, func(t *testing.T) {
			log.change = nil
			log.show(300)
			b := testBuilder(t, log, t.TempDir(), synthetic{})
			if err := build(b); err != nil {
				t.Fatal(err)
			}
			log.show(5000)
			log.change = c.change
			for range 2 {
				if err := build(b); !c.is(err) {
					t.Fatalf("%v", err)
				}
			}
			log.change = nil
			if err := build(b); err != nil {
				t.Fatalf("honest again: %v", err)
			}
			if d := cmp.Diff(want, linesOf(t, b.Store)); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
		})
	}
}

// swapFirst exchanges the first two entries of a tile, which are equally long.
func swapFirst(data []byte) []byte {
	n := 2 + int(data[0])<<8 + int(data[1])
	first := bytes.Clone(data[:n])
	copy(data, data[n:2*n])
	copy(data[n:], first)
	return data
}

func dropFirst(data []byte) []byte { return data[2+int(data[0])<<8+int(data[1]):] }

// TestEndedLog: a log that takes no entries any more and was read since need not
// answer for ever; one that was not, or that still takes some, does.
func TestEndedLog(t *testing.T) {
	inst := sigstoretest.New(t)
	log := newTestLog(t, inst, [][]byte{syntheticBody(0, 1), syntheticBody(1, 1)})
	for what, c := range map[string]struct {
		end  time.Time // of the log's window; zero if it goes on
		read time.Time
		ok   bool
	}{
		"read after its end":     {sigstoretest.Now, sigstoretest.Now.Add(time.Hour), true},
		"read before its end":    {sigstoretest.Now, sigstoretest.Now.Add(-time.Hour), false},
		"it takes entries still": {time.Time{}, sigstoretest.Now, false},
	} {
		t.Run(what, func(t *testing.T) {
			b := testBuilder(t, log, t.TempDir(), synthetic{})
			all, err := b.Store.Maps()
			if err != nil {
				t.Fatal(err)
			}
			if !c.end.IsZero() {
				if _, err := b.Store.AddMap(testRootUntil(inst, c.end), nil, nil); err != nil {
					t.Fatal(err)
				}
				if err := b.Store.Retire(all[0].ID); err != nil {
					t.Fatal(err)
				}
			}
			b.Now = func() time.Time { return c.read }
			if _, err := b.Build(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("gone") })
			warned := 0
			b.Warn = func(string, ...any) { warned++ }
			b.Now = func() time.Time { return sigstoretest.Now.Add(2 * time.Hour) }
			if _, err := b.Build(t.Context()); (err == nil) != c.ok || (warned == 1) != c.ok {
				t.Errorf("%v, %d warnings", err, warned)
			}
		})
	}
}
