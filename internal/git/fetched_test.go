// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/scaffold/gittest"
)

// TestFetchedLikeGit adds packs that git makes, with deltas of both forms, in memory and
// beyond, and compares every object with what git says.
func TestFetchedLikeGit(t *testing.T) {
	p := initialise(t)
	p.history(12)
	p.run("tag", "-m", "annotated", "v1")
	all := p.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
	for _, args := range [][]string{{"--delta-base-offset"}, {}} {
		pack := p.feed([]byte(all+"\n"),
			append([]string{"pack-objects", "-q", "--stdout", "--depth=20", "--window=20"}, args...)...)
		f := newFetched(newMeter(context.Background(), maxFetchWork))
		if err := f.add(bytes.NewReader(pack)); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		for name := range strings.FieldsSeq(all) {
			typ, content, err := f.Object(ID(name))
			if err != nil || !bytes.Equal(content, p.feed(nil, "cat-file", string(typ), name)) {
				t.Errorf("%v: %s: %v", args, name, err)
			}
		}
		for n := range pack {
			if n%7 == 0 && newFetched(newMeter(context.Background(), maxFetchWork)).add(bytes.NewReader(pack[:n])) == nil {
				t.Errorf("%v: cut at %d", args, n)
			}
		}
	}
}

// TestSpool keeps the same bytes in memory and in a file.
func TestSpool(t *testing.T) {
	m := newMeter(context.Background(), maxFetchWork)
	for _, size := range []int{20, maxSpooled - 1, maxSpooled, maxSpooled + 1, maxSpooled + 100_000} {
		text := make([]byte, size)
		for i := range text {
			text[i] = byte(i * 31 >> 3)
		}
		s := newSpool(m)
		_ = s.fill(bytes.NewReader(text)) // its checksum is another
		got := make([]byte, size)
		c := &cursor{src: s}
		n, pos := 0, 0
		for n < size {
			k, err := c.Read(got[n:])
			if err != nil {
				break
			}
			n, pos = n+k, pos+k
		}
		if n != size-20 || !bytes.Equal(got[:n], text[:n]) {
			t.Errorf("%d bytes: %d", size, n)
		}
		s.close()
	}
	if m.budget.Used() != 0 {
		t.Errorf("%d bytes are still counted", m.budget.Used())
	}
}

// TestCancelled: a context that ended ends whatever is read.
func TestCancelled(t *testing.T) {
	p := initialise(t)
	p.history(2)
	p.run("tag", "v1")
	ctx, cancel := context.WithCancel(context.Background())
	r, err := Open(ctx, p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head, err := r.Head()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for what, do := range map[string]func() error{
		"an object":   func() error { _, _, err := r.Object(head); return err },
		"a ref":       func() error { _, err := r.Ref("refs/heads/main"); return err },
		"the tags":    func() error { _, err := r.Tags(); return err },
		"the history": func() error { return r.Reachable(context.Background(), nobody) },
		"the index":   func() error { _, err := r.Staged(head); return err },
		"a file":      func() error { _, err := r.File(head, "sub/file"); return err },
	} {
		if err := do(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

const nobody ID = "1111111111111111111111111111111111111111"

// FuzzPack: whatever a pack holds, what is allocated is bounded by its length and the
// work that was counted, what is held by the budget, and every object has its name.
func FuzzPack(f *testing.F) {
	p := initialise(f)
	p.history(3)
	all := p.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
	f.Add(p.feed([]byte(all+"\n"), "pack-objects", "-q", "--stdout", "--delta-base-offset"))
	f.Add(p.feed([]byte(all+"\n"), "pack-objects", "-q", "--stdout"))
	f.Add(packWith(gittest.Entry(3, 1, nil, []byte("x")), gittest.Entry(6, 3, []byte{10}, []byte("\x01\x01\x00"))))
	f.Add(packWith(gittest.Entry(7, 3, make([]byte, 20), []byte("\x01\x01\x00"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit, work = 8 << 20, 64 << 20
		if len(data) > 20 { // so that changes get past the checksum
			data = gittest.Sealed(data[:len(data)-20])
		}
		b := budget.New(limit)
		m := newMeter(budget.With(context.Background(), b), work)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		store := newFetched(m)
		err := store.add(bytes.NewReader(data))
		runtime.ReadMemStats(&after)
		if used := b.Used(); used < 0 || used > limit {
			t.Fatalf("%d bytes are held", used)
		}
		done := uint64(work - max(m.left, 0))
		if got := after.TotalAlloc - before.TotalAlloc; got > 4*done+100*uint64(len(data))+4<<20 {
			t.Fatalf("%d bytes allocated for %d, %d of work", got, len(data), done)
		}
		if err != nil {
			if !Fatal(err) && !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		for _, known := range store.packs[0].known {
			if _, _, err := store.Object(known.id.id()); err != nil && !Fatal(err) && !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			} else if errors.Is(err, ErrMalformed) && !errors.As(err, new(*tooLarge)) {
				t.Fatalf("it was named before: %v", err)
			}
		}
	})
}
