// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// outgrown is a directory that is served, and whose map has no room for what comes.
func outgrown(t *testing.T, bodies int) (*Builder, *testLog, *Server) {
	t.Helper()
	inst := sigstoretest.New(t)
	var all [][]byte
	for i := range bodies {
		all = append(all, syntheticBody(i, 40))
	}
	log := newTestLog(t, inst, all)
	log.show(1)
	b := testBuilder(t, log, t.TempDir(), synthetic{})
	if err := b.Store.Close(); err != nil {
		t.Fatal(err)
	}
	small, err := openStore(b.Store.dir, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = small.Close() })
	small.fn, small.patience = synthetic{}, 50*time.Millisecond
	b.Store = small
	s, err := NewServer(small)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Advance(); err != nil {
		t.Fatal(err)
	}
	return b, log, s
}

// within demands that something ends, whatever it waits for.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: it waits for ever", what)
	}
}

// TestOutgrown: a build beside a server whose state has outgrown its map ends, and is
// answered from afterwards.
func TestOutgrown(t *testing.T) {
	b, log, s := outgrown(t, 12_000)
	log.show(12_000)
	within(t, "build", func() {
		if _, err := b.Build(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if !s.Idle() {
		t.Error("the test tests nothing: the map was large enough")
	}
	get := func(path string) int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/"+path, nil))
		return w.Code
	}
	if code := get("checkpoint"); code != 503 {
		t.Errorf("in between: %d", code)
	}
	if err := s.Advance(); err != nil || s.Idle() {
		t.Fatal(err)
	}
	all, err := b.Store.Maps()
	if err != nil {
		t.Fatal(err)
	}
	if code := get(lookupPath(all[0].ID, prefixmap.KeyHash(repoName(1)))); code != 200 {
		t.Errorf("afterwards: %d", code)
	}
	within(t, "close", func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOutgrownCut: who cancels a build that has to wait for the server gets an end, too.
func TestOutgrownCut(t *testing.T) {
	b, log, s := outgrown(t, 12_000)
	log.show(12_000)
	b.Store.patience = 300 * time.Millisecond // longer than it takes to have to wait
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	within(t, "cancelled", func() {
		if _, err := b.Build(ctx); err == nil {
			t.Error("it was done before it was cancelled")
		}
	})
	within(t, "close", func() { _ = s.Close() })
}

// TestOutgrownHandIn: nor does who hands in, or asks, wait for the one that writes.
func TestOutgrownHandIn(t *testing.T) {
	b, _, s := outgrown(t, 10)
	within(t, "hand-in", func() {
		if err := b.Store.update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketHandedIn).Put([]byte("x"), make([]byte, 64<<20))
		}); err != nil {
			t.Error(err)
		}
	})
	within(t, "head", func() {
		if h, err := b.Store.Head(); err != nil || h == nil {
			t.Error(err)
		}
	})
	if !s.Idle() {
		t.Error("the test tests nothing: the map was large enough")
	}
}

// TestMapReserve: a state is opened with room for several times its size.
func TestMapReserve(t *testing.T) {
	for size, want := range map[int64]int64{
		0: serveMap, 1: serveMap, serveMap: min(mapTimes*serveMap, maxMap), maxMap: maxMap,
	} {
		if got := reserve(size); int64(got) != want {
			t.Errorf("%d: %d, not %d", size, got, want)
		}
	}
}
