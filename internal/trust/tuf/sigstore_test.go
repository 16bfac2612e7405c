// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// newestRoot is the last of Sigstore's roots in testdata/sigstore, which come from
// github.com/sigstore/root-signing: 1 to 4 with keys in hex, 5 and later in PEM,
// 9 and later of type ecdsa, 11 with a key whose ID is not the digest of its form.
const newestRoot = 14

func sigstoreRoot(t testing.TB, version int) []byte {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("testdata/sigstore/%d.root.json", version))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// walk follows the roots of a source, which has nothing else.
func walk(ctx context.Context, o Options) (*Client, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	c.state = state{root: c.initial, now: o.Now(), offline: o.Source == nil}
	return c, c.updateRoot(ctx)
}

var roots = FS(os.DirFS("testdata/sigstore"), os.DirFS("testdata"))

func at(year int) func() time.Time {
	return func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
}

// TestSigstoreRoots: whichever root was pinned since June 2021, each rotation is
// followed to the newest, and again without the source.
func TestSigstoreRoots(t *testing.T) {
	for v := 1; v <= newestRoot; v++ {
		o := Options{Root: sigstoreRoot(t, v), Source: roots, Cache: t.TempDir(), Now: at(2026)}
		c, err := walk(t.Context(), o)
		if err != nil || c.Root().Version != newestRoot {
			t.Fatalf("from root %d: %v", v, err)
		}
		o.Source = nil
		if c, err = walk(t.Context(), o); err != nil || c.Root().Version != newestRoot {
			t.Fatalf("from root %d and the cache: %v", v, err)
		}
		// go-tuf reads keys in PEM alone.
		if _, err := trustedmetadata.New(o.Root); (err == nil) != (v >= 5) {
			t.Errorf("go-tuf and root %d: %v", v, err)
		}
	}
	// A root that is not there ends the walk, and what expired is said.
	if _, err := walk(t.Context(), Options{Root: sigstoreRoot(t, 1), Source: roots, Now: at(2027)}); !errors.Is(err,
		ErrExpired) {
		t.Errorf("%v", err)
	}
}

// TestSigstoreRootTampered: no signature can be taken away beyond the threshold,
// and nothing that is signed can be changed.
func TestSigstoreRootTampered(t *testing.T) {
	for v := 1; v < newestRoot; v++ {
		next := sigstoreRoot(t, v+1)
		var doc struct {
			Signed     json.RawMessage  `json:"signed"`
			Signatures []map[string]any `json:"signatures"`
		}
		if err := json.Unmarshal(next, &doc); err != nil {
			t.Fatal(err)
		}
		serve := func(data []byte) error {
			_, err := walk(t.Context(), Options{Root: sigstoreRoot(t, v), Now: at(2026), Source: FS(fstest.MapFS{
				strconv.Itoa(v+1) + ".root.json": {Data: data},
			}, fstest.MapFS{})})
			return err
		}
		if err := serve(next); err != nil && !errors.Is(err, ErrExpired) {
			t.Fatalf("root %d: %v", v+1, err)
		}
		few := doc
		few.Signatures = doc.Signatures[:2]
		data, err := json.Marshal(few)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(data); !errors.Is(err, ErrUnsigned) {
			t.Errorf("root %d with two signatures: %v", v+1, err)
		}
		signed := bytes.Index(next, []byte(`"signed"`))
		for i := signed + 9; i < len(next); i += 97 {
			if c := next[i]; c < '0' || c > 'z' {
				continue
			}
			changed := bytes.Clone(next)
			if changed[i]++; changed[i] > 'z' {
				changed[i] = 'a'
			}
			if before := bytes.Index(next, []byte(`"signatures"`)); before > signed && i > before {
				break // after what is signed
			}
			if err := serve(changed); err == nil || errors.Is(err, ErrExpired) {
				t.Errorf("root %d, byte %d: %v", v+1, i, err)
			}
		}
	}
}

// TestNotAnnounced: what a source does not have ends the chain, any other answer
// does not.
func TestNotAnnounced(t *testing.T) {
	for _, err := range []error{fs.ErrPermission, context.DeadlineExceeded} {
		_, got := walk(t.Context(), Options{Root: sigstoreRoot(t, newestRoot), Source: broken{err}, Now: at(2026)})
		if !errors.Is(got, err) {
			t.Errorf("%v", got)
		}
	}
}

type broken struct{ err error }

func (b broken) Metadata(context.Context, string, int64) ([]byte, error) { return nil, b.err }
func (b broken) Target(context.Context, string, int64) ([]byte, error)   { return nil, b.err }

// memory is the roots without a disk.
func memory(t testing.TB) Source {
	files := fstest.MapFS{}
	for v := 1; v <= newestRoot; v++ {
		files[strconv.Itoa(v)+".root.json"] = &fstest.MapFile{Data: sigstoreRoot(t, v)}
	}
	return FS(files, files)
}

// BenchmarkSigstoreRoots follows Sigstore's roots from the first, of June 2021.
func BenchmarkSigstoreRoots(b *testing.B) {
	o := Options{Root: sigstoreRoot(b, 1), Source: memory(b), Now: at(2026)}
	for b.Loop() {
		if _, err := walk(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGoTUFRoots is the same with go-tuf, from the first root that it reads:
// 9 rotations rather than 13.
func BenchmarkGoTUFRoots(b *testing.B) {
	var chain [][]byte
	for v := 5; v <= newestRoot; v++ {
		chain = append(chain, sigstoreRoot(b, v))
	}
	for b.Loop() {
		m, err := trustedmetadata.New(chain[0])
		for _, data := range chain[1:] {
			if err == nil {
				_, err = m.UpdateRoot(data)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSigstoreRootsOurs5 is ours from the same root as go-tuf's.
func BenchmarkSigstoreRootsOurs5(b *testing.B) {
	o := Options{Root: sigstoreRoot(b, 5), Source: memory(b), Now: at(2026)}
	for b.Loop() {
		if _, err := walk(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPrincipals: in Sigstore's roots each key ID is another key.
func TestPrincipals(t *testing.T) {
	for v := 1; v <= newestRoot; v++ {
		c, err := New(Options{Root: sigstoreRoot(t, v), Now: at(2026)})
		if err != nil {
			t.Fatal(err)
		}
		r := c.Root()
		if got := c.principals(r, roleRoot); len(got) != len(r.Roles[roleRoot].KeyIDs) {
			t.Errorf("root %d: %v", v, slices.Sorted(maps.Keys(got)))
		}
		for id, k := range r.Keys {
			if same := k.Sum() == id; same == (v == 11 && id[:8] == "7247f0db") {
				t.Errorf("root %d, key %s: %s", v, id, k.Sum())
			}
		}
	}
}
