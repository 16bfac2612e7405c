// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// folder is a place in memory, with knobs.
type folder struct {
	files  map[string][]byte
	down   map[string]bool // files that cannot be read; "" for the listing
	hidden map[string]bool // not listed
	gone   map[string]bool // listed, and not there
	change bool            // another content each time it is opened

	mu   sync.Mutex
	open map[string]int // how often
	read []string
}

var errDown = errors.New("the network is down")

func (f *folder) URL(name string) string { return "https://forge.example/" + name }

func (f *folder) List(context.Context) ([]string, error) {
	if f.down[""] {
		return nil, errDown
	}
	if f.gone[""] {
		return nil, fs.ErrNotExist
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.files)), func(n string) bool { return f.hidden[n] }), nil
}

func (f *folder) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = append(f.read, name)
	data, ok := f.files[name]
	switch {
	case f.down[name]:
		return nil, errDown
	case !ok || f.gone[name]:
		return nil, fs.ErrNotExist
	case int64(len(data)) > limit:
		return nil, errors.New("too large")
	}
	return data, nil
}

func (f *folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[string]int{}
	}
	f.open[name]++
	data, ok := f.files[name]
	switch {
	case f.down[name]:
		return nil, errDown
	case !ok:
		return nil, fs.ErrNotExist
	case f.change && f.open[name] > 1:
		data = []byte("something else")
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// TestPlace judges a file at hand whose evidence may be in a release, and the same
// file as part of the release.
func TestPlace(t *testing.T) {
	inst, other := sigstoretest.New(t), sigstoretest.New(t)
	art := []byte("artifact")
	const name = "widget_1.tar.gz"
	sign := func(data []byte, change func(*sigstoretest.Request)) []byte {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = data
		if change != nil {
			change(&r)
		}
		return inst.Sign(r)
	}
	good := sign(art, nil)
	sums := fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(art), name)
	lines := slices.Concat(bytes.ReplaceAll(good, []byte("\n"), nil), []byte("\n"))
	junk := []byte("{}")
	wrong := sign([]byte("another"), nil)
	branch := sign(art, func(r *sigstoretest.Request) { r.Extensions[23] = "staging" })
	foreign := func() []byte {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = art
		return other.Sign(r)
	}()
	type files = map[string][]byte
	set := func(names ...string) map[string]bool {
		out := map[string]bool{}
		for _, n := range names {
			out[n] = true
		}
		return out
	}
	for what, c := range map[string]struct {
		files  files
		down   map[string]bool
		gone   map[string]bool
		rule   string
		source Source
		reason policy.Reason
	}{
		"as most publish it":   {files: files{name + ".sigstore.json": good}, reason: policy.Allowed},
		"under another ending": {files: files{name + ".bundle": good}, reason: policy.Allowed},
		"for many files":       {files: files{"multiple.intoto.jsonl": lines}, reason: policy.Allowed},
		"named by digest": {
			files: files{fmt.Sprintf("sha256-%x.jsonl", sha256.Sum256(art)): lines}, reason: policy.Allowed,
		},
		"of a checksum file": {
			files: files{"SHA256SUMS": sums, "SHA256SUMS.sigstore.json": sign(sums, nil)}, reason: policy.Allowed,
		},
		"good beside junk": {
			files: files{name + ".sigstore.json": junk, name + ".bundle": good}, reason: policy.Allowed,
		},
		"nothing":              {reason: policy.NoEvidence},
		"junk":                 {files: files{name + ".sigstore.json": junk}, reason: policy.BundleInvalid},
		"for another file":     {files: files{name + ".sigstore.json": wrong}, reason: policy.ArtifactMismatch},
		"not as the rule says": {files: files{name + ".sigstore.json": branch}, reason: policy.RuleMismatch},
		"of another instance":  {files: files{name + ".sigstore.json": foreign}, reason: policy.LogInvalid},
		"of a checksum file that was edited": {
			files:  files{"SHA256SUMS": append([]byte("# x\n"), sums...), "SHA256SUMS.sigstore.json": sign(sums, nil)},
			reason: policy.ArtifactMismatch,
		},
		"of a checksum file of others": {
			files: files{
				"SHA256SUMS":               bytes.ReplaceAll(sums, []byte("widget_1"), []byte("widget_2")),
				"SHA256SUMS.sigstore.json": sign(bytes.ReplaceAll(sums, []byte("widget_1"), []byte("widget_2")), nil),
			}, reason: policy.NoEvidence,
		},
		"of a broken checksum file": {
			files:  files{"SHA256SUMS": []byte("x"), "SHA256SUMS.sigstore.json": sign([]byte("x"), nil)},
			reason: policy.NoEvidence,
		},
		"of a checksum file nobody signed": {files: files{"SHA256SUMS": sums}, reason: policy.NoEvidence},
		"a signature and a certificate": {
			files:  files{name + ".sig": []byte(take(t, good).Signature), name + ".pem": take(t, good).PEM()},
			reason: policy.NoLogProof,
		},

		// What could not be had might have been the evidence.
		"no answer to the first question": {
			files: files{name + ".sigstore.json": good}, down: set(name + ".sigstore.json"), reason: policy.EvidenceUnreachable,
		},
		"no answer, and other evidence": {
			files: files{name + ".sigstore.json": junk, name + ".bundle": good}, down: set(name + ".sigstore.json"),
			reason: policy.Allowed,
		},
		"no listing": {
			files: files{name + ".bundle": good}, down: set(""), reason: policy.EvidenceUnreachable,
		},
		"no listing, and no need of one": {
			files: files{name + ".sigstore.json": good}, down: set(""), reason: policy.Allowed,
		},
		"no listing, and a denial": {
			files: files{name + ".sigstore.json": branch}, down: set(""), reason: policy.EvidenceUnreachable,
		},
		"a checksum file not to be read": {
			files: files{"SHA256SUMS": sums, "SHA256SUMS.sigstore.json": sign(sums, nil)}, down: set("SHA256SUMS"),
			reason: policy.EvidenceUnreachable,
		},
		"a checksum file that is gone": {
			files: files{"SHA256SUMS": sums}, gone: set("SHA256SUMS"), reason: policy.NoEvidence,
		},
		"its evidence not to be read": {
			files: files{"SHA256SUMS": sums, "SHA256SUMS.sigstore.json": sign(sums, nil)}, down: set("SHA256SUMS.sigstore.json"),
			reason: policy.EvidenceUnreachable,
		},
		"listed, and not there": {
			files: files{name + ".bundle": good}, gone: set(name + ".bundle"), reason: policy.NoEvidence,
		},
		"no such release": {files: files{name + ".bundle": good}, gone: set(""), reason: policy.NoEvidence},
		"too large": {
			files: files{name + ".bundle": make([]byte, MaxPublishedBytes+1)}, reason: policy.EvidenceUnreachable,
		},
		"no answer, and yanked": {
			files: files{name + ".sigstore.json": good}, down: set(name+".bundle", ""), rule: "[[yanked]]\ntag = \"v1.2.3\"\n",
			reason: policy.YankedRelease,
		},

		"from a source":                         {source: documents(nil, good), reason: policy.Allowed},
		"from a source that is cut short":       {source: documents(errDown, good), reason: policy.Allowed},
		"a source has none":                     {source: documents(nil), reason: policy.NoEvidence},
		"a source has junk":                     {source: documents(nil, junk), reason: policy.BundleInvalid},
		"a source has another's":                {source: documents(nil, wrong), reason: policy.ArtifactMismatch},
		"a source gives no answer":              {source: documents(errDown), reason: policy.EvidenceUnreachable},
		"a source gives no answer and a denial": {source: documents(errDown, branch), reason: policy.EvidenceUnreachable},
		"a source is not needed": {
			files: files{name + ".sigstore.json": good}, source: documents(errDown), reason: policy.Allowed,
		},
	} {
		t.Run(what, func(t *testing.T) {
			newJudge := func(f *folder) *Judge {
				j := judge(pin(t, workflowRule+c.rule), parseRoot(t, inst, sigstoretest.RootOptions{}))
				if j.Release = f; c.source != nil {
					j.Sources = []Source{c.source}
				}
				return j
			}
			f := &folder{files: maps.Clone(c.files), down: c.down, gone: c.gone}
			dir := put(t, files{name: art})
			j := newJudge(f)
			res := run(j, dir+"/"+name)[0]
			if res.Decision.Reason != c.reason {
				t.Errorf("at hand: %s: %s", res.Decision.Reason, res.Decision.Detail)
			}
			if c.reason == policy.EvidenceUnreachable &&
				(res.Class() != policy.ClassUnavailable || !strings.Contains(res.Decision.Detail, "down") && what != "too large") {
				t.Errorf("%s: %s", res.Class(), res.Decision.Detail)
			}
			// Evidence that the user names replaces what is published.
			f.read = nil
			j = newJudge(f)
			j.Bundles = []string{dir + "/" + name}
			if res := run(j, dir+"/"+name)[0]; res.Class() == policy.ClassOK || len(f.read) > 0 {
				t.Errorf("%s, with %v", res.Decision.Reason, f.read)
			}

			f = &folder{files: maps.Clone(c.files), down: c.down, gone: c.gone, change: true}
			if f.files == nil {
				f.files = files{}
			}
			f.files[name] = art
			j = newJudge(f)
			one := j.Run(t.Context(), []*Artifact{{Arg: f.URL(name), Name: name, Place: f}})[0]
			if one.Decision.Reason != c.reason {
				t.Errorf("one file of the release: %s: %s", one.Decision.Reason, one.Decision.Detail)
			}
			if f.open[name] > 1 {
				t.Errorf("read %d times", f.open[name])
			}
			f.open = nil
			j = newJudge(f)
			all := j.Run(t.Context(), others(ExpandPlace(t.Context(), f)))
			// Junk that is called like evidence is a file of the release like any other.
			strict := string(c.files[name+".sigstore.json"]) != "{}"
			if want := c.reason == policy.Allowed && !c.down[""] && strict; (Class(all) == policy.ClassOK) != want {
				for _, r := range all {
					t.Errorf("the whole release: %s: %s %s", r.Artifact.Arg, r.Decision.Reason, r.Decision.Detail)
				}
			}
			if f.open[name] > 1 {
				t.Errorf("read %d times", f.open[name])
			}
		})
	}
}

func documents(err error, data ...[]byte) Source {
	return func(_ context.Context, w Wanted) ([]Document, error) {
		var out []Document
		for _, d := range data {
			out = append(out, Document{"https://source.example/" + w.Name, d})
		}
		return out, err
	}
}

// TestExpandPlace: whatever is not recognised as evidence is judged.
func TestExpandPlace(t *testing.T) {
	inst := sigstoretest.New(t)
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = []byte("a")
	good := inst.Sign(r)
	f := &folder{files: map[string][]byte{
		"a": nil, "a.sigstore.json": nil, "b.sigstore": nil, // by their names alone
		"a.bundle": good, "a.jsonl": []byte("junk"), "c.bundle": good, // by name and content
		"multiple.intoto.jsonl": []byte("{}"), "attestations.jsonl": append(bytes.ReplaceAll(good, []byte("\n"), nil), '\n'),
		"a.sig": []byte(take(t, good).Signature), "a.pem": take(t, good).PEM(),
		"e": nil, "e.sig": []byte("!junk"), "e.pem": take(t, good).PEM(), "g": nil, "g.sig": good,
		"d": nil, "d.bundle": good,
	}, down: map[string]bool{"d.bundle": true}}
	got := map[string]policy.Reason{}
	for _, a := range others(ExpandPlace(t.Context(), f)) {
		n := strings.TrimPrefix(a.Arg, f.URL(""))
		got[n] = ""
		if a.Err != nil {
			got[n] = a.Err.Reason
		}
	}
	want := map[string]policy.Reason{
		"a": "", "a.sigstore.json": "", "b.sigstore": "", "a.jsonl": "", "multiple.intoto.jsonl": "", "e": "", "e.sig": "",
		"e.pem": "", "d": "", "g": "",
		"d.bundle": policy.ReleaseUnreachable,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	for name, c := range map[string]struct {
		folder *folder
		reason policy.Reason
	}{
		"cannot be listed": {&folder{down: map[string]bool{"": true}}, policy.ReleaseUnreachable},
		"is not there":     {&folder{gone: map[string]bool{"": true}}, policy.ReleaseUnreachable},
		"is empty":         {&folder{}, policy.NoArtifacts},
	} {
		as := others(ExpandPlace(t.Context(), c.folder))
		if len(as) != 1 || as[0].Err == nil || as[0].Err.Reason != c.reason {
			t.Errorf("%s: %+v", name, as)
		}
	}
}

// TestNotPublished: nobody is asked about what has no name, about a tag or commit,
// or about a file that cannot be read.
func TestNotPublished(t *testing.T) {
	inst := sigstoretest.New(t)
	digests := digestBytes([]byte("x"))
	for name, c := range map[string]struct {
		artifact *Artifact
		reason   policy.Reason
		asks     bool // a source
	}{
		"a digest": {&Artifact{Arg: "sha256:x", Digests: digests}, policy.NoEvidence, true},
		"an image": {
			&Artifact{Arg: "oci://ghcr.io/acme/widget", Name: "ghcr.io/acme/widget", Digests: digests, found: []*candidate{}},
			policy.NoEvidence, true,
		},
		"a tag": {
			&Artifact{Arg: "refs/tags/v1.2.3", Name: "refs/tags/v1.2.3", Tag: "v1.2.3", Digests: digests}, policy.NoEvidence,
			false,
		},
		"a commit": {&Artifact{Arg: "gitCommit:x", Commit: "x", Digests: digests}, policy.NoEvidence, false},
		"no file":  {&Artifact{Arg: "x", Name: "x", Path: t.TempDir() + "/x"}, policy.ArtifactRead, false},
	} {
		asked := false
		f := &folder{
			files: map[string][]byte{"sha256-0000000000000000000000000000000000000000000000000000000000000000.jsonl": nil},
		}
		j := judge(pin(t, workflowRule), parseRoot(t, inst, sigstoretest.RootOptions{}))
		j.Release, j.Sources = f, []Source{func(_ context.Context, w Wanted) ([]Document, error) {
			if _, err := w.Digests(); err != nil {
				return nil, err
			}
			asked = true
			if w.Name != "" && name != "an image" {
				t.Errorf("%s: called %q", name, w.Name)
			}
			return nil, nil
		}}
		res := j.Run(t.Context(), []*Artifact{c.artifact})[0]
		if res.Decision.Reason != c.reason || asked != c.asks {
			t.Errorf("%s: %s: %s, asked %t", name, res.Decision.Reason, res.Decision.Detail, asked)
		}
		if len(f.read) > 0 && name != "no file" {
			t.Errorf("%s: read %v", name, f.read)
		}
	}
}

// TestSubject: what is served under a name must be signed under that name.
func TestSubject(t *testing.T) {
	inst := sigstoretest.New(t)
	art := []byte("tarball")
	r := alice()
	r.Statement = statement(subject("pkg:npm/widget@1.2.3", art))
	named := inst.Sign(r)
	r = alice()
	r.Artifact = art
	bare := inst.Sign(r)
	for _, c := range []struct {
		want   string
		bundle []byte
		reason policy.Reason
	}{
		{"pkg:npm/widget@1.2.3", named, policy.Allowed},
		{"", named, policy.NameDiffers},
		{"pkg:npm/widget@1.2.4", named, policy.NameDiffers},
		{"pkg:npm/gadget@1.2.3", named, policy.NameDiffers},
		{"pkg:npm/widget@1.2.3", bare, policy.NameDiffers},
	} {
		f := &folder{files: map[string][]byte{"w.tgz": art, "w.tgz.sigstore.json": c.bundle}}
		j := judge(pin(t, peopleRule), parseRoot(t, inst, sigstoretest.RootOptions{}))
		if res := j.Run(t.Context(), []*Artifact{
			{Arg: "x", Name: "w.tgz", Place: f, Subject: c.want},
		})[0]; res.Decision.Reason != c.reason {
			t.Errorf("%q: %s: %s", c.want, res.Decision.Reason, res.Decision.Detail)
		}
	}
}

// TestServedAs: a file of a release that is signed under another file's name is not
// that file, whoever serves it so.
func TestServedAs(t *testing.T) {
	inst := sigstoretest.New(t)
	art := []byte("debug build")
	for _, c := range []struct {
		served string
		signed []string
		reason policy.Reason
	}{
		{"widget_linux.tar.gz", []string{"widget_linux.tar.gz"}, policy.Allowed},
		{"widget_linux.tar.gz", []string{"widget_debug.tar.gz"}, policy.NameDiffers},
		{"widget_linux.tar.gz", []string{"widget_Linux.tar.gz"}, policy.NameDiffers},
		{"widget_linux.tar.gz", []string{"widget_linux.tar.gz/widget_debug.tar.gz"}, policy.NameDiffers},
		{"widget_linux.tar.gz", []string{"widget_debug.tar.gz", "widget_linux.tar.gz"}, policy.Allowed}, // the same bytes
		// as GitHub writes it
		{"widget_1.0.rc1.tar.gz", []string{"widget_1.0~rc1.tar.gz"}, policy.Allowed},
		{"widget_é.tar.gz", []string{"widget_é.tar.gz"}, policy.Allowed},
	} {
		r := sigstoretest.Workflow("v1.2.3")
		var subjects []string
		for _, name := range c.signed {
			subjects = append(subjects, subject(name, art))
		}
		r.Statement = statement(subjects...)
		f := &folder{files: map[string][]byte{c.served: art, c.served + ".sigstore.json": inst.Sign(r)}}
		j := judge(pin(t, workflowRule), parseRoot(t, inst, sigstoretest.RootOptions{}))
		for what, as := range map[string][]*Artifact{
			"one": {{Arg: "x", Name: c.served, Place: f}}, "all": others(ExpandPlace(t.Context(), f)),
		} {
			if res := j.Run(t.Context(), as)[0]; res.Decision.Reason != c.reason {
				t.Errorf("%s: %s as %s: %s: %s", what, c.signed, c.served, res.Decision.Reason, res.Decision.Detail)
			}
		}
	}
}

// TestPool: a statement about many files is asked for once for each worker at
// most, and one that is about another file serves no other.
func TestPool(t *testing.T) {
	inst := sigstoretest.New(t)
	var subjects []string
	f := &folder{files: map[string][]byte{"widget_x.tar.gz": []byte("not among them")}}
	for i := range 40 {
		name := fmt.Sprintf("widget_%d.tar.gz", i)
		f.files[name] = []byte(name)
		subjects = append(subjects, subject(name, f.files[name]))
	}
	r := sigstoretest.Workflow("v1.2.3")
	r.Statement = statement(subjects...)
	bundle := inst.Sign(r)
	var mu sync.Mutex
	asked := map[string]bool{}
	j := judge(pin(t, workflowRule), parseRoot(t, inst, sigstoretest.RootOptions{}))
	j.Sources = []Source{func(_ context.Context, w Wanted) ([]Document, error) {
		mu.Lock()
		defer mu.Unlock()
		asked[w.Name] = true
		if w.Name == "widget_x.tar.gz" {
			return nil, nil
		}
		return []Document{{"https://source.example/", bundle}}, nil
	}}
	for _, res := range j.Run(t.Context(), others(ExpandPlace(t.Context(), f))) {
		want := policy.Allowed
		if res.Artifact.Name == "widget_x.tar.gz" {
			want = policy.NoEvidence
		}
		if res.Decision.Reason != want {
			t.Errorf("%s: %s: %s", res.Artifact.Name, res.Decision.Reason, res.Decision.Detail)
		}
	}
	if !asked["widget_x.tar.gz"] || len(asked) > 1+runtime.GOMAXPROCS(0) {
		t.Errorf("asked for %v", asked)
	}
}

// zeros is a place with one large file, and the evidence for it.
type zeros struct {
	folder
	size int64
}

func (z *zeros) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(nothing{}, z.size)), nil
}

type nothing struct{}

func (nothing) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkLargeFile judges a file of 1 GiB out of a release, in every digest
// that evidence may name. The memory must not depend on the size.
func BenchmarkLargeFile(b *testing.B) {
	inst := sigstoretest.New(b)
	z := &zeros{size: 1 << 30}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(nothing{}, z.size)); err != nil {
		b.Fatal(err)
	}
	r := sigstoretest.Workflow("v1")
	r.Statement = statement(fmt.Sprintf(`{"name":"widget_1.tar.gz","digest":{"sha256":"%x"}}`, h.Sum(nil)))
	z.files = map[string][]byte{"widget_1.tar.gz": nil, "widget_1.tar.gz.sigstore.json": inst.Sign(r)}
	p, root := pin(b, workflowRule), parseRoot(b, inst, sigstoretest.RootOptions{})
	b.SetBytes(z.size)
	b.ReportAllocs()
	for b.Loop() {
		if res := judge(p, root).Run(b.Context(), others(ExpandPlace(b.Context(), z))); Class(res) != policy.ClassOK {
			b.Fatal(res[0].Decision)
		}
	}
}
