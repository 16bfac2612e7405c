// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// sign lets a workflow of a repository sign a statement into the log of Rekor v2.
func sign(inst *sigstoretest.Instance, repo, event string, payload []byte, at time.Time) {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com", At: at, Log: sigstoretest.LogV2,
		TSA: true,
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf, 20: event,
		},
	})
}

const policyText = `format = "repopolicy/v1"
repository = %q
version = 1
expires = 2099-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name = %q
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name = "ci"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

func statement(t testing.TB, repo, who string) []byte {
	t.Helper()
	payload, err := rekorbind.Encode(fmt.Appendf(nil, policyText, repo, who), "")
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// handIn returns the signature file of a statement, signed by its one member. It is in no
// log that the directory reads.
func handIn(inst *sigstoretest.Instance, payload []byte) []bindings.File {
	return []bindings.File{{Name: "alice.sigstore.json", Data: inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2,
		TSA: true,
		Mutate: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].LogId.KeyId = bytes.Repeat([]byte{2}, 32)
		},
	})}}
}

// signatureLine returns the line about the one signature in a file.
func signatureLine(t testing.TB, inst *sigstoretest.Instance, files []bindings.File) string {
	t.Helper()
	root, err := sigstore.ParseRoot("test", testRoot(inst))
	if err != nil {
		t.Fatal(err)
	}
	offers := bindings.Offers(root, nil, files, nil)
	if len(offers) != 1 || len(offers[0].Signatures) != 1 {
		t.Fatalf("%+v", offers)
	}
	line, err := offers[0].Signatures[0].Line()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func repoName(n int) string { return fmt.Sprintf("https://github.com/acme/r%d", n) }

// linesOf returns them without their moments, which depend on the builds that there were.
func linesOf(t testing.TB, s *Store) map[string][]string {
	t.Helper()
	out := keysOf(t, s)
	for key, texts := range out {
		for i, text := range texts {
			f := strings.Fields(text)
			out[key][i] = strings.Join(f[:len(f)-3], " ")
		}
	}
	return out
}

// keysOf returns all records of the one map, by key.
func keysOf(t testing.TB, s *Store) map[string][]string {
	t.Helper()
	all, err := s.Maps()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	err = s.db.View(func(tx *bolt.Tx) error {
		tr := all[0].tree(tx)
		return tr.keys.ForEach(func(hash, data []byte) error {
			k, err := decodeKeyNode(hash, data)
			if err != nil {
				return err
			}
			out[k.name], err = tr.texts(prefixmap.Hash(hash), 0, k.count)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBuild builds over a log that grows and is shown up to places within tiles,
// with forges that publish late, never, not at all or something else: the records
// are those of the definition, whatever the steps.
func TestBuild(t *testing.T) {
	inst := sigstoretest.New(t)
	base := len(inst.BodiesV2()) // of the instance's own
	statements := map[string][]byte{}
	for i := range 300 {
		repo := repoName(i % 7)
		if statements[repo] == nil {
			statements[repo] = statement(t, repo, "alice")
		}
		event := "push" // which binds nothing
		if i%10 == 3 {
			event = "schedule"
		}
		sign(inst, repo, event, statements[repo], sigstoretest.Now.Add(time.Duration(i)*time.Second))
	}
	log := newTestLog(t, inst, inst.BodiesV2()[base:])
	b := testBuilder(t, log, t.TempDir(), nil)
	publishes := map[string]bool{repoName(1): true}
	down := map[string]bool{repoName(2): true}
	files := map[string][]bindings.File{}
	for name, payload := range statements {
		files[name] = handIn(inst, payload)
	}
	other := handIn(inst, statement(t, "https://github.com/acme/other", "bob"))
	b.Forge = func(_ context.Context, repo policy.Locator) ([]bindings.File, error) {
		switch name := repo.String(); {
		case down[name]:
			return nil, errors.New("down")
		case publishes[name]:
			return append([]bindings.File{{Name: "x.sigstore.json", Data: []byte("something else")}}, files[name]...), nil
		}
		return other, nil
	}
	var moments []chain.Shown
	var lists []int
	for i, n := range []int{0, 1, 100, 256, 257, 300, 300} {
		log.show(n)
		if i == 4 { // in time for the fifth leaf, after leaf 3 had read all of them
			publishes[repoName(2)], publishes[repoName(3)], down[repoName(2)] = true, true, false
		}
		head, err := b.Build(t.Context())
		if err != nil {
			t.Fatalf("%d entries: %v", n, err)
		}
		leaf, err := answers.ParseDirectoryLeaf(head.Leaf)
		if err != nil || head.Index != int64(i) {
			t.Fatalf("leaf %d: %v", head.Index, err)
		}
		moments = append(moments, chain.Shown{Leaf: int64(i), Time: leaf.Time, Clock: leaf.Clock})
		lists = append(lists, leaf.Maps[0].Disclosed.Count)
		want := oracle(keysOf(t, b.Store))
		if leaf.Maps[0].Hash != want.root() {
			t.Errorf("leaf %d: not the root of its records", i)
		}
	}
	if d := cmp.Diff([]int{0, 0, 2, 0, 4, 0, 0}, lists); d != "" {
		t.Errorf("statements published (-want +got):\n%s", d)
	}

	// What the definition says, from the entries alone.
	want := map[string][]string{}
	id := strings.Repeat("02", 32)
	moment := func(i int) string {
		return fmt.Sprintf(" %d %d %d\n", i, moments[i].Time.Unix(), int64(moments[i].Clock/time.Second))
	}
	published := map[string][]string{}
	for _, name := range []string{repoName(1), repoName(2), repoName(3)} {
		n := names(statements[name])
		published[name] = []string{"disclosed " + n[1] + " " + n[0], signatureLine(t, inst, files[name])}
	}
	number := "https://github.com#15:1001"
	ends, done := []int{0, 1, 100, 256, 257, 300}, map[string]bool{}
	for i := 1; i < len(ends); i++ {
		for at := ends[i-1]; at < ends[i]; at++ {
			if at%10 != 3 {
				continue
			}
			text := fmt.Sprintf("binding %s %d %s", id, at, leafHash(log.bodies[at])) + moment(i)
			for _, key := range []string{repoName(at % 7), number} {
				want[key] = append(want[key], text)
			}
		}
		var due []string
		for _, name := range slices.Sorted(maps.Keys(published)) {
			if (name == repoName(1) && i >= 2 || i >= 4) && len(want[name]) > 0 && !done[name] {
				done[name] = true
				for _, line := range published[name] {
					want[name] = append(want[name], line+moment(i))
					due = append(due, line+moment(i))
				}
			}
		}
		slices.Sort(due) // under the number in the order of the statements
		want[number] = append(want[number], due...)
	}
	if d := cmp.Diff(want, keysOf(t, b.Store)); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

// TestBuildCutOff ends builds after one, two and more steps of reading: what is built
// in the end has the same records as what was never cut off.
func TestBuildCutOff(t *testing.T) {
	inst := sigstoretest.New(t)
	var bodies [][]byte
	for i := range 10_000 {
		bodies = append(bodies, syntheticBody(i, 50))
	}
	log := newTestLog(t, inst, bodies)
	whole := testBuilder(t, log, t.TempDir(), synthetic{})
	if _, err := whole.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := linesOf(t, whole.Store)
	dir := t.TempDir()
	cut := testBuilder(t, log, dir, synthetic{})
	for steps := 0; ; steps++ {
		ctx, cancel := context.WithCancel(t.Context())
		left := steps
		// Every step asks the log for something.
		cut.Progress = func(string, int64, int64) {
			if left--; left < 0 {
				cancel()
			}
		}
		_, err := cut.Build(ctx)
		cancel()
		if err == nil {
			break
		}
		if steps > 20 {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(want, linesOf(t, cut.Store)); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

// TestOutputDiverged: a state and an output log of different moments are refused:
// to go on would contradict what was published.
func TestOutputDiverged(t *testing.T) {
	inst := sigstoretest.New(t)
	log := newTestLog(t, inst, [][]byte{syntheticBody(0, 1)})
	for what, change := range map[string]func(dir, old string) error{
		"an older state": func(dir, old string) error {
			return copyFile(filepath.Join(old, stateFile), filepath.Join(dir, stateFile))
		},
		"an older output log": func(dir, old string) error {
			if err := os.RemoveAll(filepath.Join(dir, outputDir)); err != nil {
				return err
			}
			return os.CopyFS(filepath.Join(dir, outputDir), os.DirFS(filepath.Join(old, outputDir)))
		},
		"no output log": func(dir, _ string) error { return os.RemoveAll(filepath.Join(dir, outputDir)) },
		"no state":      func(dir, _ string) error { return os.Remove(filepath.Join(dir, stateFile)) },
	} {
		t.Run(what, func(t *testing.T) {
			dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
			signer, _, err := Keygen("directory.example")
			if err != nil {
				t.Fatal(err)
			}
			build := func() error {
				s, err := OpenStore(dir)
				if err != nil {
					return err
				}
				defer s.Close()
				if _, err := s.AddMap(testRoot(inst), nil, nil); err != nil {
					return err
				}
				out, err := OpenOutput(dir, []byte(signer), "", 5*time.Second, nil)
				if err != nil {
					return err
				}
				defer out.Close()
				b := &Builder{Store: s, Output: out, Transport: log.transport(t), Agent: "test", Now: time.Now}
				_, err = b.Build(t.Context())
				return err
			}
			if err := build(); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := build(); err != nil {
					t.Fatal(err)
				}
			}
			if err := change(dir, old); err != nil {
				t.Fatal(err)
			}
			var d *Diverged
			if err := build(); !errors.As(err, &d) {
				t.Errorf("%v", err)
			}
		})
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// TestPublish: a site is complete, is the same when it is written again, and holds
// nothing of an older one.
func TestPublish(t *testing.T) {
	inst := sigstoretest.New(t)
	var bodies [][]byte
	for i := range 3000 {
		bodies = append(bodies, syntheticBody(i, 20))
	}
	log := newTestLog(t, inst, bodies)
	log.show(100)
	dir := t.TempDir()
	b := testBuilder(t, log, dir, synthetic{})
	site := filepath.Join(dir, "site")
	if err := b.Store.Publish(site, noWarn); err == nil {
		t.Error("published before anything was built")
	}
	full := filepath.Join(site, tileDir, "0", "000")
	for _, n := range []int{100, 3000} {
		log.show(n)
		if n == 3000 { // as if the first tile were full
			if err := os.WriteFile(full, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Store.Publish(site, noWarn); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(full + ".p"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("partial tiles beside the full one: %v", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	newer, err := b.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ahead := t.TempDir()
	if err := os.WriteFile(filepath.Join(ahead, checkpointFile),
		[]byte(strings.Replace(newer.Checkpoint, "\n3\n", "\n4\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var d *Diverged
	if err := b.Store.Publish(ahead, noWarn); !errors.As(err, &d) {
		t.Errorf("over a site that is ahead: %v", err)
	}
	if err := b.Store.Publish(site, noWarn); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again")
	if err := b.Store.Publish(again, noWarn); err != nil {
		t.Fatal(err)
	}
	files := func(dir string) map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if strings.HasPrefix(d.Name(), ".") {
				t.Errorf("%s", path)
			}
			data, err := os.ReadFile(path)
			name, _ := filepath.Rel(dir, path)
			if !strings.Contains(name, ".p/") { // of an older tree
				out[name] = spelling.Sum(data)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if d := cmp.Diff(files(again), files(site)); d != "" {
		t.Errorf("a site written again (-again +site):\n%s", d)
	}
	// 20 repositories of 150 bindings each: two blocks and the rest.
	pages, err := filepath.Glob(filepath.Join(site, "*", "page", "*", "*", "*.json.gz"))
	if err != nil || len(pages) != 2*20*2 {
		t.Errorf("%d pages, %v", len(pages), err)
	}
	lookups, err := filepath.Glob(filepath.Join(site, "*", "lookup", "*", "*.json.gz"))
	if err != nil || len(lookups) != 20 {
		t.Errorf("%d answers, %v", len(lookups), err)
	}
	absent, err := filepath.Glob(filepath.Join(site, "*", "absent", "*.json.gz"))
	if err != nil || len(absent) != 256 {
		t.Errorf("%d answers about nothing, %v", len(absent), err)
	}
	if _, err := OpenStore(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("the state is open twice: %v", err)
	}
}

// BenchmarkFollow reads a log through all that is verified: of entries that bind
// nothing, as most of a log, and of bindings, each with a certificate of its own.
//
//	go test -C directory -run '^$' -bench Follow -cpu 1
func BenchmarkFollow(b *testing.B) {
	const n = 2048
	for _, event := range []string{"push", "schedule"} {
		inst := sigstoretest.New(b)
		payload := statement(b, repoName(0), "alice")
		for i := range n {
			sign(inst, repoName(i%10), event, payload, sigstoretest.Now.Add(time.Duration(i)*time.Second))
		}
		log := newTestLog(b, inst, inst.BodiesV2())
		b.Run(map[string]string{"push": "foreign", "schedule": "bindings"}[event], func(b *testing.B) {
			for b.Loop() {
				if _, err := testBuilder(b, log, b.TempDir(), nil).Build(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// TestFollows: a state that is older than the site, or another one, is not gone on
// with.
func TestFollows(t *testing.T) {
	inst := sigstoretest.New(t)
	log := newTestLog(t, inst, [][]byte{syntheticBody(0, 1)})
	ours, others := testBuilder(t, log, t.TempDir(), nil), testBuilder(t, log, t.TempDir(), nil)
	site := t.TempDir()
	show := func(h *Head) error {
		t.Helper()
		if err := os.WriteFile(filepath.Join(site, checkpointFile), []byte(h.Checkpoint), 0o600); err != nil {
			t.Fatal(err)
		}
		now, err := ours.Store.Head()
		if err != nil {
			t.Fatal(err)
		}
		return ours.Output.Follows(t.Context(), now, site)
	}
	if err := ours.Output.Follows(t.Context(), nil, site); err != nil {
		t.Errorf("a new site: %v", err)
	}
	var heads []*Head
	for range 3 {
		h, err := ours.Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, h)
	}
	for i, h := range heads {
		if err := show(h); err != nil {
			t.Errorf("a site of %d leaves: %v", i+1, err)
		}
	}
	var d *Diverged
	if err := ours.Output.Follows(t.Context(), heads[1], site); !errors.As(err, &d) {
		t.Errorf("a state of 2 leaves, and a site of 3: %v", err)
	}
	if err := ours.Output.Follows(t.Context(), nil, site); !errors.As(err, &d) {
		t.Errorf("no state: %v", err)
	}
	h, err := others.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := show(h); !errors.As(err, &d) {
		t.Errorf("the site of another key: %v", err)
	}
}

// TestSecondMap: the map of another trusted root is made of what was read already,
// and begins with all that was published.
func TestSecondMap(t *testing.T) {
	inst := sigstoretest.New(t)
	base := len(inst.BodiesV2())
	payload := statement(t, repoName(0), "alice")
	for i := range 600 {
		sign(inst, repoName(0), []string{"push", "schedule"}[i%2], payload,
			sigstoretest.Now.Add(time.Duration(i)*time.Second))
	}
	log := newTestLog(t, inst, inst.BodiesV2()[base:])
	b := testBuilder(t, log, t.TempDir(), nil)
	files := handIn(inst, payload)
	b.Forge = func(context.Context, policy.Locator) ([]bindings.File, error) { return files, nil }
	var asked atomic.Int64
	log.change = func(path string, data []byte) []byte {
		if strings.Contains(path, "/tile/") {
			asked.Add(1)
		}
		return data
	}
	log.show(500)
	if _, err := b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := asked.Load()
	if _, err := b.Store.AddMap(testRootUntil(inst, sigstoretest.Now.AddDate(1, 0, 0)), nil, nil); err != nil {
		t.Fatal(err)
	}
	head, err := b.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again := asked.Load() - first; first == 0 || again != 0 {
		t.Errorf("%d tiles were read, and %d for the second map", first, again)
	}
	leaf, err := answers.ParseDirectoryLeaf(head.Leaf)
	if err != nil || len(leaf.Maps) != 2 || leaf.Maps[0].Hash != leaf.Maps[1].Hash || leaf.Maps[0].Labels != 2*250+4 {
		t.Errorf("%+v %v", leaf, err)
	}
	// From then on both read what is new, once.
	log.show(600)
	if head, err = b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if leaf, err = answers.ParseDirectoryLeaf(head.Leaf); err != nil || leaf.Maps[0].Hash != leaf.Maps[1].Hash ||
		leaf.Maps[0].Labels != 2*300+4 {
		t.Errorf("%+v %v", leaf, err)
	}
}

// TestClock: the time of leaves never runs backwards, and a gap counts for a day at most.
func TestClock(t *testing.T) {
	log := newTestLog(t, sigstoretest.New(t), nil)
	b := testBuilder(t, log, t.TempDir(), synthetic{})
	var got, clocks []time.Duration
	for _, at := range []time.Duration{0, time.Hour, -time.Hour, 2 * time.Hour, 100 * time.Hour, 124 * time.Hour} {
		b.Now = func() time.Time { return sigstoretest.Now.Add(at) }
		head, err := b.Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := answers.ParseDirectoryLeaf(head.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		got, clocks = append(got, leaf.Time.Sub(sigstoretest.Now)), append(clocks, leaf.Clock)
	}
	if d := cmp.Diff([]time.Duration{0, time.Hour, time.Hour, 2 * time.Hour, 100 * time.Hour, 124 * time.Hour},
		got); d != "" {
		t.Errorf("times (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]time.Duration{0, time.Hour, time.Hour, 2 * time.Hour, 26 * time.Hour, 50 * time.Hour},
		clocks); d != "" {
		t.Errorf("clocks (-want +got):\n%s", d)
	}
}
