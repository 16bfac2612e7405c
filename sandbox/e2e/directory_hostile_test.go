// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// hostile is a directory of the sandbox's log that holds its own key and signs
// whatever it is told.
type hostile struct {
	*directorytest.Directory
	t      testing.TB
	file   string // descriptor
	log    string
	bodies [][]byte
	note   []byte
}

// newHostile returns one that has read the log and is honest so far, with a leaf
// before.
func newHostile(t testing.TB) *hostile {
	t.Helper()
	h := &hostile{Directory: directorytest.New(t, "hostile.example/directory"), t: t, file: filepath.Join(t.TempDir(), "directory.json")}
	h.Witness = directorytest.NewWitness(t, "witness.example")
	m := newMachine(t)
	for _, l := range m.root.Logs() {
		if l.Generation == 2 {
			h.log = l.ID
		}
	}
	client := m.client(stack.URL(sandbox.Rekor))
	var err error
	h.note, err = client.Get(t.Context(), "api/v2/checkpoint", 1<<16)
	check(t, err)
	cp, err := m.root.OpenCheckpoint(h.log, h.note)
	check(t, err)
	tiles := rekor.NewTiles(t.Context(), client)
	for int64(len(h.bodies)) < cp.Size {
		entries, err := tiles.Entries(int64(len(h.bodies)), cp.Size)
		check(t, err)
		h.bodies = append(h.bodies, entries...)
	}
	h.Read(m.root, h.log, h.bodies, h.note)
	h.Build(time.Now().Add(-time.Hour))
	h.Build(time.Now().Add(-time.Minute))
	check(t, os.WriteFile(h.file, h.Descriptor(h.Serve()).Bytes(), 0o600))
	return h
}

// TestHostileDirectory: whatever a directory says, with its key or without, no
// verdict changes to OK, and what it signed convicts it.
func TestHostileDirectory(t *testing.T) {
	const name = "acme/slandered"
	url := "https://github.com/" + name
	p, good := bound(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 2, 1, "alice")))
	p.push()
	git(t, p.dir, "fetch", "-q", "origin")
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	bound(t, "acme/somebody")

	honest := newHostile(t)
	var number string
	for key, records := range honest.Records {
		if strings.Contains(key, "#15:") && slices.ContainsFunc(records, func(r answers.Record) bool { return r.Binding == honest.Records[url][0].Binding }) {
			number = key
		}
	}
	if len(honest.Records[url]) != 2 || number == "" {
		t.Fatalf("%d bindings, number %q", len(honest.Records[url]), number)
	}
	both := func(h *hostile, f func([]answers.Record) []answers.Record) {
		for _, k := range []string{url, number} {
			h.Records[k] = f(slices.Clone(h.Records[k]))
		}
	}
	drop := func(n int) func([]answers.Record) []answers.Record {
		return func(r []answers.Record) []answers.Record { return slices.Delete(r, n, n+1) }
	}
	reverse := func(r []answers.Record) []answers.Record { slices.Reverse(r); return r }
	for what, x := range map[string]struct {
		// map changes what is built and signed, answer what an answer says of it.
		records func(h *hostile)
		answer  func(h *hostile, a *answers.Answer)
	}{
		"honest": {},
		"drops the first": {func(h *hostile) { both(h, drop(0)) }, func(_ *hostile, a *answers.Answer) {
			for i := range a.Keys {
				a.Keys[i].Records = a.Keys[i].Records[1:]
			}
		}},
		"drops the last": {func(h *hostile) { both(h, drop(1)) }, func(_ *hostile, a *answers.Answer) {
			for i := range a.Keys {
				a.Keys[i].Records = a.Keys[i].Records[:1]
			}
		}},
		"claims none": {func(h *hostile) { delete(h.Records, url); delete(h.Records, number) }, func(h *hostile, a *answers.Answer) {
			*a = h.Absence(url, 2)
		}},
		"adds one": {func(h *hostile) {
			both(h, func(r []answers.Record) []answers.Record {
				return append(r, h.Records["https://github.com/acme/somebody"][0])
			})
		}, func(h *hostile, a *answers.Answer) {
			for i := range a.Keys {
				a.Keys[i].Records = append(a.Keys[i].Records, h.Records["https://github.com/acme/somebody"][0])
			}
		}},
		"reorders": {func(h *hostile) { both(h, reverse) }, func(_ *hostile, a *answers.Answer) {
			for i := range a.Keys {
				a.Keys[i].Records = reverse(slices.Clone(a.Keys[i].Records))
			}
		}},
		"shows the leaf before": {nil, func(h *hostile, a *answers.Answer) { a.Leaf, a.Index = h.Leaf(-2) }},
	} {
		for _, keyed := range []bool{true, false} {
			if keyed && x.records == nil && what != "honest" {
				continue
			}
			h := newHostile(t)
			want := policy.ClassOK
			switch {
			case what == "honest":
			case keyed:
				x.records(h)
				h.Build(time.Now())
				want = policy.ClassAlarm
			default:
				h.Change = func(a *answers.Answer) { x.answer(h, a) }
				want = policy.ClassUnavailable
			}
			c := newComputer(t)
			code, out := c.repopolicy("verify", "-R", url, "--directory", h.file, good)
			if code != want.Exit() {
				t.Errorf("%s, with its key %v: exit %d, want %s\n%s", what, keyed, code, want, out)
				continue
			}
			if want != policy.ClassAlarm {
				continue
			}
			if !strings.Contains(out, policy.DirectoryLied.Text()) {
				t.Errorf("%s: %s", what, out)
			}
			c.convicts(h, policy.ClassOK)
			// Not without the descriptor, and no other directory.
			c.convicts(nil, policy.ClassDeny)
			c.convicts(honest, policy.ClassDeny)
		}
	}
}

// convicts judges, off-line, the evidence that a computer kept.
func (c *computer) convicts(h *hostile, want policy.Class) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.state, "state", "*", "evidence", "*.json"))
	if err != nil || len(files) != 1 {
		c.t.Fatalf("%v %v", files, err)
	}
	args := []string{"evidence", "show", "--offline", files[0]}
	if h != nil {
		args = append(args, "--directory", h.file)
	}
	c.must(want, args...)
}

// TestDirectoryForks: an output log that shows another history than before is an
// alarm, and two of one size convict it; a fork of one that was never seen is not
// seen, but its witnesses would have to take part.
func TestDirectoryForks(t *testing.T) {
	const name = "acme/equivocated"
	url := "https://github.com/" + name
	_, good := bound(t, name)
	for what, longer := range map[string]bool{"of the same size": false, "longer": true} {
		h := newHostile(t)
		fork := h.Fork()
		h.Build(time.Now().Add(time.Second))
		fork.Build(time.Now())
		if longer {
			fork.Build(time.Now().Add(2 * time.Second))
		}
		c := newComputer(t)
		c.must(policy.ClassOK, "verify", "-R", url, "--directory", h.file, good)
		h.Tamper = func(path string, _ []byte) []byte { return fork.File(path) }
		if out := c.must(policy.ClassAlarm, "verify", "-R", url, "--directory", h.file, good); !strings.Contains(out, policy.LogForked.Text()) {
			t.Errorf("%s: %s", what, out)
		}
		want := policy.ClassOK
		if longer {
			want = policy.ClassDeny // reason to ask, and no proof
		}
		c.convicts(h, want)
	}
	// An old answer is old, wherever it comes from, and no way back.
	h := newHostile(t)
	old := h.Fork()
	old.Cosigned = time.Now().AddDate(0, 0, -8)
	h.Build(time.Now())
	knows := newComputer(t)
	knows.must(policy.ClassOK, "verify", "-R", url, "--directory", h.file, good)
	h.Tamper = func(path string, _ []byte) []byte { return old.File(path) }
	newComputer(t).must(policy.ClassStale, "verify", "-R", url, "--directory", h.file, good)
	if out := knows.must(policy.ClassUnavailable, "verify", "-R", url, "--directory", h.file, good); !strings.Contains(out, "stale: ") {
		t.Error(out)
	}
	// Beside the tiles of today, which show that it is the beginning of what was seen, it
	// is as old as it is: files of two builds are side by side for a while.
	beside := func(path string, own []byte) []byte {
		if strings.HasPrefix(path, "/tile/") {
			return own
		}
		return old.File(path)
	}
	h.Tamper = beside
	knows.must(policy.ClassStale, "verify", "-R", url, "--directory", h.file, good)
	old.Cosigned = time.Time{}
	for range 2 { // and takes nothing back
		h.Tamper = beside
		knows.must(policy.ClassOK, "verify", "-R", url, "--directory", h.file, good)
		h.Tamper = nil
		knows.must(policy.ClassOK, "verify", "-R", url, "--directory", h.file, good)
	}
}
