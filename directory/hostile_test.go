// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// numbered is a map function like synthetic whose entries say the number, too.
type numbered struct{ synthetic }

func numberedBody(name, number, n, size int) []byte {
	return fmt.Appendf(nil, "repository %d statement %d number %d %s", name, n, number, strings.Repeat("x", size))
}

func (numbered) Bind(_ int, _ string, _ int64, entry []byte) (*Bound, error) {
	f := strings.Fields(string(entry))
	key := "https://github.com/acme/r" + f[1]
	l, err := policy.ParseLocator(key)
	if err != nil {
		return nil, err
	}
	return &Bound{
		Keys: []string{key, "https://github.com#15:" + f[5]}, Repository: l,
		Statement: fmt.Sprintf("%x", value(f[3])), LeafHash: leafHash(entry),
	}, nil
}

// TestHostileRepositories: nothing that one repository does keeps the others from being
// published and answered; what is left out of it is proven.
func TestHostileRepositories(t *testing.T) {
	const honest, other = 1, 2
	for name, x := range map[string]struct {
		bodies func(add func(name, number, size int))
		keys   int  // in the answer about the hostile one
		rest   bool // its newest records are pages
		top    bool // it is left out
	}{
		"18 re-creations": {
			func(add func(name, number, size int)) { each(18, 64, func(n int) { add(other, 100+n, 3000) }) }, 19, true, false,
		},
		"40 re-creations": {
			func(add func(name, number, size int)) { each(40, 2, func(n int) { add(other, 100+n, 3000) }) },
			answers.MaxAnswerKeys, true, false,
		},
		"large entries": {
			func(add func(name, number, size int)) { each(1, 63, func(int) { add(other, 100, 9000) }) }, 2, true, false,
		},
		"a block of entries": {
			func(add func(name, number, size int)) { each(1, 64, func(int) { add(other, 100, 9000) }) }, 2, true, false,
		},
		"entries of its own": {
			func(add func(name, number, size int)) { each(1, 4300, func(int) { add(other, 100, 10) }) }, 2, false, false,
		},
		"too many of its own": {func(add func(name, number, size int)) {
			each(1, answers.MaxKeyRecords+1, func(int) { add(other, 100, 10) })
		}, 2, false, true},
		"entries too large": {
			func(add func(name, number, size int)) { each(1, 64, func(int) { add(other, 100, 65_000) }) }, 2, true, false,
		},
		"its number elsewhere": {func(add func(name, number, size int)) {
			each(1, 70, func(n int) { add(other, 100, 3000); add(other+1, 100, 3000) })
		}, 3, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if x.top && testing.Short() {
				t.Skip("tens of thousands of entries")
			}
			inst := sigstoretest.New(t)
			bodies := [][]byte{numberedBody(honest, honest, 0, 10)}
			x.bodies(func(name, number, size int) {
				bodies = append(bodies, numberedBody(name, number, len(bodies), size))
			})
			log := newTestLog(t, inst, bodies)
			log.show(len(bodies))
			b := testBuilder(t, log, t.TempDir(), numbered{})
			s, err := NewServer(b.Store)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Build(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Advance(); err != nil {
				t.Fatal(err)
			}
			site := t.TempDir()
			var warned []string
			if err := b.Store.Publish(site, func(format string, args ...any) {
				warned = append(warned, fmt.Sprintf(format, args...))
			}); err != nil {
				t.Fatal(err)
			}
			if (len(warned) > 0) != (name == "entries too large") {
				t.Errorf("warned: %v", warned)
			}
			all, err := b.Store.Maps()
			if err != nil {
				t.Fatal(err)
			}
			read := map[string]func(path string) []byte{
				"site": func(path string) []byte {
					data, _ := os.ReadFile(filepath.Join(site, filepath.FromSlash(path)))
					return data
				},
				"server": func(path string) []byte {
					w := httptest.NewRecorder()
					s.ServeHTTP(w, httptest.NewRequest("GET", "/"+path, nil))
					if w.Code != 200 {
						return nil
					}
					return w.Body.Bytes()
				},
			}
			for who, get := range read {
				if err := agree(repoName(honest), get(lookupPath(all[0].ID, prefixmap.KeyHash(repoName(honest))))); err != nil {
					t.Errorf("%s: the honest one: %v", who, err)
				}
				a, err := answers.ParseAnswer(get(lookupPath(all[0].ID, prefixmap.KeyHash(repoName(other)))))
				if err != nil {
					t.Fatalf("%s: %v", who, err)
				}
				leaf, err := answers.ParseDirectoryLeaf(a.Leaf)
				if err != nil || len(a.Keys) != x.keys {
					t.Fatalf("%s: %d keys, %v", who, len(a.Keys), err)
				}
				rest := false
				for _, k := range a.Keys {
					hash := prefixmap.KeyHash(k.Key)
					rest = rest || k.Rest > 0 || len(k.Records) == 0 && k.Top == nil
					if (k.Top != nil) != x.top {
						t.Errorf("%s: %s: left out %t", who, k.Key, k.Top != nil)
					}
					var root prefixmap.Hash
					if k.Top != nil {
						var least uint64
						if root, least, err = k.Path.Beyond(hash, *k.Top); least < answers.MaxKeyRecords {
							t.Errorf("%s: at least %d records", who, least)
						}
					} else {
						var values []prefixmap.Hash
						for _, r := range k.Records {
							text, _ := r.Text()
							values = append(values, value(text))
						}
						root, err = k.Path.Member(hash, k.Blocks, values)
					}
					if err != nil || root != leaf.Maps[0].Hash {
						t.Errorf("%s: %s: another root (%v)", who, k.Key, err)
					}
					for block := range k.Blocks {
						page, err := answers.ParsePage(get(pagePath(all[0].ID, hash, block, k.PageRecords(block))))
						if name == "entries too large" {
							continue // it is the only one that has no page
						}
						if err != nil || len(page.Records) != k.PageRecords(block) {
							t.Errorf("%s: page %d of %s: %v", who, block, k.Key, err)
						}
					}
				}
				if rest != x.rest {
					t.Errorf("%s: newest records in pages: %t", who, rest)
				}
			}
		})
	}
}

func each(repositories, bindings int, f func(n int)) {
	for range bindings {
		for n := range repositories {
			f(n)
		}
	}
}

// crowded is a map function whose keys begin alike.
type crowded struct{ synthetic }

func (crowded) Bind(_ int, _ string, _ int64, entry []byte) (*Bound, error) {
	f := strings.Fields(string(entry))
	l, err := policy.ParseLocator(f[1])
	return &Bound{
		Keys: []string{f[1]}, Repository: l, Statement: fmt.Sprintf("%x", value(f[1])), LeafHash: leafHash(entry),
	}, err
}

// TestCrowdedPrefix: who chooses names that begin alike under their hashes does not keep
// others from being told that there is nothing.
func TestCrowdedPrefix(t *testing.T) {
	inst := sigstoretest.New(t)
	var bodies [][]byte
	for i := 0; len(bodies) < answers.MaxAbsentItems+50; i++ {
		key := fmt.Sprintf("https://github.com/mallory/r%d", i)
		if h := sha256.Sum256([]byte(key)); h[0] == 0xab {
			bodies = append(bodies, fmt.Appendf(nil, "repository %s", key))
		}
	}
	log := newTestLog(t, inst, bodies)
	log.show(len(bodies))
	b := testBuilder(t, log, t.TempDir(), crowded{})
	s, err := NewServer(b.Store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Advance(); err != nil {
		t.Fatal(err)
	}
	site := t.TempDir()
	if err := b.Store.Publish(site, noWarn); err != nil {
		t.Fatal(err)
	}
	all, err := b.Store.Maps()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for i := 0; asked < 3; i++ {
		key := fmt.Sprintf("https://github.com/victim/r%d", i)
		h := sha256.Sum256([]byte(key))
		if h[0] != 0xab {
			continue
		}
		asked++
		digits := hex.EncodeToString(h[:])
		for who, get := range map[string]func(path string) ([]byte, error){
			"site": func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(site, filepath.FromSlash(path))) },
			"server": func(path string) ([]byte, error) {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequest("GET", "/"+path, nil))
				return w.Body.Bytes(), nil
			},
		} {
			for n, requests := 2, 0; ; requests++ {
				data, err := get(absentPath(all[0].ID, digits[:n]))
				if err != nil {
					t.Fatalf("%s: %v", who, err)
				}
				a, err := answers.ParseAnswer(data)
				if err != nil || a.Split != 0 && a.Split <= n || requests > 4 {
					t.Fatalf("%s: %s: split %v, %v", who, digits[:n], a, err)
				}
				if n = a.Split; n == 0 {
					if err := agree(key, data); err != nil {
						t.Errorf("%s: %v", who, err)
					}
					break
				}
			}
		}
	}
}
