// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

const testPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name = "people"
tags = "any"
artifacts = ["widget*", "SHA256SUMS", "README.md"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

func newJudge(t testing.TB, insts ...*sigstoretest.Instance) *release.Judge {
	t.Helper()
	doc, err := policy.Parse([]byte(testPolicy))
	if err != nil {
		t.Fatal(err)
	}
	var roots []*sigstore.Root
	for _, i := range insts {
		r, err := sigstore.ParseRoot("test", i.Root(sigstoretest.RootOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, r)
	}
	return judgeBy(doc.Pin(policy.Ids{}), roots)
}

func judgeBy(p release.Policy, roots []*sigstore.Root) *release.Judge {
	return &release.Judge{
		Policy: p, Now: sigstoretest.Now.AddDate(0, 1, 0),
		Roots: func(context.Context) ([]*sigstore.Root, error) { return roots, nil },
	}
}

func sign(i *sigstoretest.Instance, content []byte) []byte {
	return i.Sign(sigstoretest.Request{SAN: "alice@example.com", Issuer: "https://accounts.google.com", Artifact: content})
}

// shop is a place whose answers change: each reading of a name gets the next ones.
type shop struct {
	mu    sync.Mutex
	files map[string][][]byte
	reads map[string]int
}

func (s *shop) next(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.files[name]
	if len(all) == 0 {
		return nil, fs.ErrNotExist
	}
	n := s.reads[name]
	s.reads[name]++
	return all[min(n, len(all)-1)], nil
}

func (s *shop) URL(name string) string { return "https://forge.example/" + name }

func (s *shop) List(context.Context) ([]string, error) {
	var out []string
	for name := range s.files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

func (s *shop) Read(_ context.Context, name string, _ int64) ([]byte, error) { return s.next(name) }

func (s *shop) Open(_ context.Context, name string) (io.ReadCloser, error) {
	data, err := s.next(name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// quorum returns what judges under k of several roots, each alone.
func quorum(k int, judges ...*release.Judge) func(context.Context, []*release.Artifact) []*release.Result {
	return func(ctx context.Context, artifacts []*release.Artifact) []*release.Result {
		var all [][]*release.Result
		for _, j := range judges {
			all = append(all, j.Run(ctx, artifacts))
		}
		return release.Quorum(k, all)
	}
}

// TestOneStream: under k of n roots what is kept is what was judged, whatever the
// server answers to further requests.
func TestOneStream(t *testing.T) {
	a, b := sigstoretest.New(t), sigstoretest.New(t)
	art, evil := []byte("widget"), []byte("evil")
	for name, c := range map[string]struct {
		answers [][]byte
		k       int
		ok      bool
	}{
		"good, then evil, one root of two": {[][]byte{art, evil}, 1, true},
		"good, then evil, both roots":      {[][]byte{art, evil}, 2, true},
		"evil, then good, one root of two": {[][]byte{evil, art}, 1, false},
		"evil, then good, both roots":      {[][]byte{evil, art}, 2, false},
		"cut short, then good":             {[][]byte{art[:3], art}, 1, false},
	} {
		s := &shop{
			files: map[string][][]byte{
				"widget": c.answers, "widget.sigstore.json": {sign(a, art)}, "widget.bundle": {sign(b, art)},
			}, reads: map[string]int{},
		}
		dir := t.TempDir()
		folder := account.NewFolder(dir)
		place := folder.Keep(s)
		acc := account.Take(t.Context(), account.Run{
			Inputs: release.ExpandPlace(t.Context(), place), Judge: quorum(c.k, newJudge(t, a), newJudge(t, b)),
		})
		if got := acc.Class() == policy.ClassOK; got != c.ok {
			t.Errorf("%s: %s", name, acc.Class())
		}
		if err := folder.Deliver(acc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "widget"))
		if c.ok && !bytes.Equal(got, art) || !c.ok && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: kept %q, %v", name, got, err)
		}
		if s.reads["widget"] != 1 {
			t.Errorf("%s: fetched %d times", name, s.reads["widget"])
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 1 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// TestDeliver: bytes that no permitted verdict is about are never given a name.
func TestDeliver(t *testing.T) {
	i := sigstoretest.New(t)
	art := []byte("widget")
	place := func(folder *account.Folder) (release.Place, []*release.Input) {
		p := folder.Keep(&shop{
			files: map[string][][]byte{"widget": {art}, "widget.sigstore.json": {sign(i, art)}}, reads: map[string]int{},
		})
		return p, release.ExpandPlace(t.Context(), p)
	}
	for name, spoil := range map[string]func(ctx context.Context, r []*release.Result){
		"another digest": func(_ context.Context, r []*release.Result) {
			r[0].Digests = []policy.Digest{{Alg: "sha256", Hex: "00"}}
		},
		"no digest": func(_ context.Context, r []*release.Result) { r[0].Digests = nil },
		"a denial": func(_ context.Context, r []*release.Result) {
			r[0].Decision = policy.Decision{Reason: policy.RuleMismatch}
		},
		"no verdict": func(_ context.Context, r []*release.Result) { r[0] = nil },
	} {
		dir := t.TempDir()
		folder := account.NewFolder(dir)
		_, inputs := place(folder)
		j := newJudge(t, i)
		acc := account.Take(t.Context(), account.Run{Inputs: inputs,
			Judge: func(ctx context.Context, as []*release.Artifact) []*release.Result {
				rs := j.Run(ctx, as)
				spoil(ctx, rs)
				return rs
			}})
		err := folder.Deliver(acc)
		if _, missing := os.Stat(filepath.Join(dir, "widget")); missing == nil {
			t.Errorf("%s: delivered, %v", name, err)
		}
	}
	folder := account.NewFolder(t.TempDir())
	p, _ := place(folder)
	for n, want := range []bool{true, false} {
		r, err := p.Open(t.Context(), "widget")
		if (err == nil) != want {
			t.Errorf("opened %d times: %v", n+1, err)
		}
		if err == nil {
			r.Close()
		}
	}
}

// TestChanging: a file that is written to, or replaced, while it is judged is denied,
// and so is evidence.
func TestChanging(t *testing.T) {
	i := sigstoretest.New(t)
	art := []byte("widget")
	for name, change := range map[string]func(dir string) error{
		"": func(string) error { return nil },
		"the artifact is written": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "widget"), []byte("evil"), 0o600)
		},
		"the artifact is replaced":   func(dir string) error { return replace(filepath.Join(dir, "widget"), []byte("evil")) },
		"the artifact is removed":    func(dir string) error { return os.Remove(filepath.Join(dir, "widget")) },
		"the same bytes, a new file": func(dir string) error { return replace(filepath.Join(dir, "widget"), art) },
		"the evidence is replaced": func(dir string) error {
			return replace(filepath.Join(dir, "widget.sigstore.json"), []byte("#!/bin/sh"))
		},
		"the list is replaced": func(dir string) error { return replace(filepath.Join(dir, "SHA256SUMS"), []byte("evil")) },
	} {
		dir := t.TempDir()
		list := []byte("0000000000000000000000000000000000000000000000000000000000000000  other\n")
		for name, data := range map[string][]byte{
			"widget": art, "widget.sigstore.json": sign(i, art), "SHA256SUMS": list, "SHA256SUMS.sigstore.json": sign(i, list),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		j := newJudge(t, i)
		acc := account.Take(t.Context(), account.Run{Inputs: release.Expand(t.Context(), []string{dir}, release.Options{}),
			Judge: func(ctx context.Context, as []*release.Artifact) []*release.Result {
				rs := j.Run(ctx, as)
				if err := change(dir); err != nil {
					t.Fatal(err)
				}
				return rs
			}})
		if ok := acc.Class() == policy.ClassOK; ok != (name == "") {
			t.Errorf("%q: %s", name, acc.Class())
		}
	}
}

func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// TestInterrupted: a run that is cancelled while it judges allows nothing.
func TestInterrupted(t *testing.T) {
	i := sigstoretest.New(t)
	dir := t.TempDir()
	for name, data := range map[string][]byte{"widget": []byte("x"), "widget.sigstore.json": sign(i, []byte("x"))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, inside := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		j := newJudge(t, i)
		roots := j.Roots
		j.Roots = func(ctx context.Context) ([]*sigstore.Root, error) {
			if inside { // as late as the judge asks for anything
				cancel()
			}
			return roots(ctx)
		}
		acc := account.Take(ctx, account.Run{Inputs: release.Expand(ctx, []string{filepath.Join(dir, "widget")},
			release.Options{}), Judge: func(ctx context.Context, as []*release.Artifact) []*release.Result {
			rs := j.Run(ctx, as)
			if !inside {
				cancel()
			} else if rs[0].Class() == policy.ClassOK {
				t.Error("the judge allows what it was told to leave")
			}
			return rs
		}})
		if acc.Class() != policy.ClassUnavailable || acc.Results()[0].Decision.Reason != policy.Interrupted {
			t.Errorf("inside %t: %s", inside, acc.Class())
		}
		cancel()
	}
}

// TestNothing: an account of nothing allows nothing.
func TestNothing(t *testing.T) {
	none := func(context.Context, []*release.Artifact) []*release.Result { return nil }
	for name, inputs := range map[string][]*release.Input{
		"no input": nil,
		"only harmless": {
			{Artifact: &release.Artifact{Arg: "x"}, Passed: &release.Failure{Reason: policy.PassedOver}, Harmless: true},
		},
		"no verdict": {{Artifact: &release.Artifact{Arg: "x"}}},
	} {
		if acc := account.Take(t.Context(), account.Run{Inputs: inputs, Judge: none}); acc.Class() == policy.ClassOK ||
			acc.Class() == policy.Class(0) {
			t.Errorf("%s: %s", name, acc.Class())
		}
	}
}

// FuzzAccount makes a directory out of a recipe, and holds the account against what
// must always be true of one.
func FuzzAccount(f *testing.F) {
	i, stranger := sigstoretest.New(f), sigstoretest.New(f)
	one, two := []byte("one"), []byte("two")
	goodOne := sign(i, one)
	line := bytes.ReplaceAll(goodOne, []byte("\n"), nil)
	names := []string{
		"widget1", "widget2", "README.md", "widget1.sigstore.json", "widget2.sigstore.json", "x.sigstore.json",
		"widget1.jsonl", "multiple.intoto.jsonl", "SHA256SUMS", "SHA256SUMS.bundle", "oci-layout", "index.json",
	}
	contents := [][]byte{
		one, two, nil, []byte("#!/bin/sh\n"), goodOne, sign(i, two), sign(stranger, one), sign(i, goodOne),
		slices.Concat(line, []byte("\n"), line), slices.Concat(line, []byte("\n#!/bin/sh\n")),
		[]byte("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  widget1\n"),
		[]byte(`{"imageLayoutVersion":"1.0.0"}`), []byte(`{"manifests":[]}`),
	}
	proto := newJudge(f, i)
	roots, err := proto.Roots(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 0, 3, 4})
	f.Add([]byte{0, 0, 3, 4, 5, 3})
	f.Add([]byte{0, 0, 3, 4, 1, 1, 4, 5, 7, 8})
	f.Add([]byte{0, 0, 3, 4, 6, 9})
	f.Add([]byte{0, 0, 8, 10, 9, 7})
	f.Add([]byte{10, 11, 11, 12, 0, 0})
	f.Add([]byte{0, 0, 4, 7, 3, 4})
	f.Fuzz(func(t *testing.T, recipe []byte) {
		dir := t.TempDir()
		files := map[string][]byte{}
		for n := 0; n+1 < len(recipe) && n < 2*len(names); n += 2 {
			files[names[int(recipe[n])%len(names)]] = contents[int(recipe[n+1])%len(contents)]
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		j := judgeBy(proto.Policy, roots)
		acc := account.Take(t.Context(), account.Run{
			Inputs: release.Expand(t.Context(), []string{dir}, release.Options{}), Judge: j.Run,
		})
		seen := map[string]int{}
		for _, e := range acc.Entries() {
			seen[e.Input]++
			if e.Result == nil && e.Fate == account.Judged ||
				e.Result != nil && e.Fate != account.Judged && e.Result.Class() == policy.ClassOK {
				t.Fatalf("%+v", e)
			}
		}
		_, layout := files["oci-layout"]
		for name, data := range files {
			if !layout && seen[filepath.Join(dir, name)] != 1 {
				t.Errorf("%s has %d fates", name, seen[filepath.Join(dir, name)])
			}
			// Nothing is OK beside a script, whatever that is called.
			if bytes.Contains(data, []byte("#!")) && acc.Class() == policy.ClassOK {
				t.Errorf("%s is a script, and all is well: %+v", name, acc.Entries())
			}
		}
		for _, e := range acc.Entries() {
			if e.Result == nil || e.Result.Class() != policy.ClassOK {
				continue
			}
			data := files[filepath.Base(e.Input)]
			sum := release.Artifact{Path: e.Input}
			digests, err := sum.Digest(t.Context())
			if err != nil || !slices.Contains(e.Result.Digests, digests[0]) || e.Result.Evidence == nil ||
				e.Result.Evidence.Verified == nil {
				t.Errorf("%s (%q) is allowed without a signature over what is there: %v", e.Input, data, err)
			}
		}
	})
}
