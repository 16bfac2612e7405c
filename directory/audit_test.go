// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// liar is a directory of which the third leaf, or what goes with it, is changed
// before it is published.
type liar struct {
	t     *testing.T
	log   *testLog
	b     *Builder
	key   string // signer
	dir   string
	site  string
	state string // of the auditor

	payloads  map[string][]byte // that repositories publish
	files     map[string][]bindings.File
	statement [3]string // digests of the payloads
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	inst := sigstoretest.New(t)
	base := len(inst.BodiesV2())
	l := &liar{
		t: t, payloads: map[string][]byte{}, files: map[string][]bindings.File{}, dir: t.TempDir(), state: t.TempDir(),
	}
	l.site = filepath.Join(l.dir, "site")
	for i := range 3 { // bound at 10, 20, 30
		for n := range 10 {
			event := "push"
			if n == 9 {
				event = "schedule"
			}
			payload := statement(t, repoName(i), "alice")
			sign(inst, repoName(i), event, payload, sigstoretest.Now.Add(time.Duration(10*i+n)*time.Second))
			l.statement[i] = names(payload)[1]
		}
	}
	l.log = newTestLog(t, inst, inst.BodiesV2()[base:])
	l.reopen()
	for i, n := range []int{10, 20} {
		l.log.show(n)
		if i == 1 {
			l.publishes(0)
		}
		if _, err := l.b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.b.Store.Publish(l.site, noWarn); err != nil {
		t.Fatal(err)
	}
	l.log.show(30)
	l.publishes(1) // late, and the third at once
	l.publishes(2)
	return l
}

func (l *liar) reopen() {
	l.b = testBuilder(l.t, l.log, l.dir, nil)
	data, err := os.ReadFile(filepath.Join(l.dir, "key"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.key = string(data)
	l.b.Forge = func(_ context.Context, repo policy.Locator) ([]bindings.File, error) {
		if f := l.files[repo.String()]; f != nil {
			return f, nil
		}
		return nil, errors.New("nothing there")
	}
}

// line returns the line about the statement of a repository.
func (l *liar) line(n int) string {
	names := names(statement(l.t, repoName(n), "alice"))
	return "disclosed " + names[1] + " " + names[0]
}

func (l *liar) publishes(n int) {
	l.payloads[repoName(n)] = statement(l.t, repoName(n), "alice")
	l.files[repoName(n)] = handIn(l.log.inst, l.payloads[repoName(n)])
}

// build makes the third leaf with a change, and publishes what an auditor reads.
func (l *liar) build(change func(p *pending)) {
	l.t.Helper()
	p, err := l.b.begin(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.b.prepare(l.t.Context(), p); err != nil {
		l.t.Fatal(err)
	}
	if change != nil {
		change(p)
	}
	head, err := l.b.append(l.t.Context(), p)
	if err != nil {
		l.t.Fatal(err)
	}
	w := &siteWriter{dir: l.site, made: map[string]bool{}}
	all, err := l.b.Store.Maps()
	if err != nil {
		l.t.Fatal(err)
	}
	w.file(filepath.Join(all[0].ID, "disclosed", "2"), func() ([]byte, error) { return p.List, nil })
	for name, payload := range l.payloads {
		w.file(statementPath(names(payload)[1]), func() ([]byte, error) { return payload, nil })
		for _, f := range l.files[name] {
			_, sig, err := answers.ParseListed(signatureLine(l.t, l.log.inst, l.files[name]))
			if err != nil {
				l.t.Fatal(err)
			}
			w.file(signaturePath(sig.Log, sig.Index), func() ([]byte, error) { return f.Data, nil })
		}
	}
	if err := errors.Join(w.tiles(filepath.Join(l.dir, outputDir)), w.group.Wait()); err != nil {
		l.t.Fatal(err)
	}
	if err := replace(filepath.Join(l.site, checkpointFile), []byte(head.Checkpoint)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *liar) audit() (int64, error) {
	l.t.Helper()
	s, err := OpenStore(l.state)
	if err != nil {
		l.t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.AddMap(testRoot(l.log.inst), nil, nil); err != nil {
		l.t.Fatal(err)
	}
	signer, vkey, err := ParseKey([]byte(l.key))
	if err != nil {
		l.t.Fatal(err)
	}
	site, err := web.New("http://localhost", http.NewFileTransport(http.Dir(l.site)), "test")
	if err != nil {
		l.t.Fatal(err)
	}
	a := &Auditor{
		Store: s, Site: site, Descriptor: &answers.Descriptor{Key: vkey}, Key: signer, Transport: l.log.transport(l.t),
		Agent: "test", Now: time.Now,
	}
	return a.Audit(l.t.Context())
}

// doc changes the leaf.
func doc(f func(l *answers.DirectoryLeaf)) func(*pending) {
	return func(p *pending) {
		d, err := answers.ParseDirectoryLeaf(p.Leaf)
		if err != nil {
			panic(err)
		}
		f(&d)
		p.Leaf = d.Bytes()
	}
}

// listing changes the list of statements, and the leaf with it.
func listing(f func(lines []string) []string) func(*pending) {
	return func(p *pending) {
		lines := f(strings.Split(strings.TrimSuffix(string(p.List), "\n"), "\n"))
		var pub answers.Published
		pub, p.List = answers.NewPublished(lines)
		doc(func(l *answers.DirectoryLeaf) { l.Maps[0].Disclosed = pub })(p)
	}
}

// TestAudit: an auditor who has audited two leaves signs that it disagrees with the
// third if anything in it, or beside it, is not what its inputs give.
func TestAudit(t *testing.T) {
	for what, c := range map[string]struct {
		change func(l *liar) func(*pending)
		after  func(l *liar) error
		why    string // "" if nothing is wrong
	}{
		"honest": {},
		"another root": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) { l.Maps[0].Hash = prefixmap.Empty() })
		}, why: "has the root"},
		"another number of labels": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) { l.Maps[0].Labels++ })
		}, why: "labels, its inputs give"},
		"a time before the last": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) { l.Time = l.Time.Add(-time.Hour) })
		}, why: "before the leaf before"},
		"an older input": {change: func(l *liar) func(*pending) {
			return doc(func(d *answers.DirectoryLeaf) {
				l.log.show(19)
				d.Maps[0].Inputs[0].Checkpoint = string(l.log.note)
				l.log.show(30)
			})
		}, why: "it has 19 entries, and the leaf before 20"},
		"an input before all entries": {change: func(l *liar) func(*pending) {
			return doc(func(d *answers.DirectoryLeaf) {
				l.log.show(29)
				d.Maps[0].Inputs[0].Checkpoint = string(l.log.note)
				l.log.show(30)
			})
		}, why: "no entry binds it"},
		"an input that nobody signed": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) {
				cp := l.Maps[0].Inputs[0].Checkpoint
				l.Maps[0].Inputs[0].Checkpoint = strings.Replace(cp, "\n30\n", "\n31\n", 1)
			})
		}, why: "input 0202"},
		"an input of another log": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) { l.Maps[0].Inputs[0].Log = strings.Repeat("03", 32) })
		}, why: "0 inputs are of the log 0202"},
		"an input twice": {change: func(l *liar) func(*pending) {
			return doc(func(d *answers.DirectoryLeaf) {
				other := d.Maps[0].Inputs[0]
				l.log.show(29)
				other.Checkpoint = string(l.log.note)
				l.log.show(30)
				d.Maps[0].Inputs = append(d.Maps[0].Inputs, other)
				if d.Maps[0].Inputs[0].Checkpoint > other.Checkpoint {
					d.Maps[0].Inputs[0], d.Maps[0].Inputs[1] = d.Maps[0].Inputs[1], d.Maps[0].Inputs[0]
				}
			})
		}, why: "2 inputs are of the log"},
		"one more input": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) {
				l.Maps[0].Inputs = append(l.Maps[0].Inputs, answers.Input{
					Log: strings.Repeat("03", 32), Checkpoint: l.Maps[0].Inputs[0].Checkpoint,
				})
			})
		}, why: "an input is of no log of the trusted root"},
		"a log that is dated later": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) {
				l.Maps[0].Inputs[0].Newest = l.Time.Truncate(time.Minute).Format(time.RFC3339)
			})
		}, why: "its entries give"},
		"no leaf": {change: func(*liar) func(*pending) {
			return func(p *pending) { p.Leaf = []byte("{}") }
		}, why: "leaf of the directory"},
		"another list": {change: func(*liar) func(*pending) {
			return func(p *pending) { p.List = []byte(strings.Repeat("0", 64) + "\n") }
		}, why: "the list of statements is not that of the leaf"},
		"a list without one": {change: func(*liar) func(*pending) {
			return listing(func(lines []string) []string { return lines[:len(lines)-1] })
		}, why: "has the root"},
		"a statement that is listed already": {change: func(l *liar) func(*pending) {
			return listing(func(lines []string) []string { return append(lines, l.line(0)) })
		}, why: "it was listed before"},
		"a signature that is listed already": {change: func(l *liar) func(*pending) {
			return listing(func(lines []string) []string {
				return append(lines, signatureLine(l.t, l.log.inst, l.files[repoName(0)]))
			})
		}, why: "it was listed before"},
		"a signature over what is not listed": {change: func(l *liar) func(*pending) {
			l.payloads["other"] = statement(l.t, repoName(9), "alice")
			l.files["other"] = handIn(l.log.inst, l.payloads["other"])
			return listing(func(lines []string) []string {
				return append(lines, signatureLine(l.t, l.log.inst, l.files["other"]))
			})
		}, why: "its statement is not listed"},
		"a statement twice": {change: func(l *liar) func(*pending) {
			return func(p *pending) { p.List = append(p.List, l.line(2)+"\n"...) }
		}, why: "the list of statements is not that of the leaf"},
		"a statement that nobody bound": {change: func(l *liar) func(*pending) {
			l.payloads["other"] = []byte("{}")
			n := names([]byte("{}"))
			return listing(func(lines []string) []string { return append(lines, "disclosed "+n[1]+" "+n[0]) })
		}, why: "no entry binds it"},
		"a line that is none": {change: func(*liar) func(*pending) {
			return listing(func(lines []string) []string { return append(lines, "x") })
		}, why: "the list has the line"},
		"a clock that stands still": {change: func(*liar) func(*pending) {
			return doc(func(l *answers.DirectoryLeaf) { l.Time = l.Time.Add(time.Hour) })
		}, why: "its clock is"},
		"another signature": {after: func(l *liar) error {
			_, sig, err := answers.ParseListed(signatureLine(l.t, l.log.inst, l.files[repoName(2)]))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(l.site, signaturePath(sig.Log, sig.Index)), l.files[repoName(1)][0].Data, 0o600)
		}, why: "is none by a member"},
		"another statement": {after: func(l *liar) error {
			return os.WriteFile(filepath.Join(l.site, statementPath(l.statement[2])), []byte("{}"), 0o600)
		}, why: "is another one"},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLiar(t)
			if n, err := l.audit(); err != nil || n != 2 {
				t.Fatalf("%d leaves: %v", n, err)
			}
			var change func(*pending)
			if c.change != nil {
				change = c.change(l)
			}
			l.build(change)
			if c.after != nil {
				if err := c.after(l); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // what was found is found again
				n, err := l.audit()
				if c.why == "" {
					if err != nil || n != 3 {
						t.Fatalf("%d leaves: %v", n, err)
					}
					continue
				}
				var d *Disagreement
				if !errors.As(err, &d) || d.Index != 2 || !strings.Contains(d.Why, c.why) {
					t.Fatalf("%v, not %q", err, c.why)
				}
				_, vkey, err := ParseKey([]byte(l.key))
				if err != nil {
					t.Fatal(err)
				}
				v, err := note.NewVerifier(vkey)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := note.Open(d.Note, note.VerifierList(v)); err != nil ||
					!strings.HasPrefix(n.Text, fmt.Sprintf("repopolicy directory audit v1\n%s\n2 ", v.Name())) {
					t.Errorf("%v\n%s", err, d.Note)
				}
			}
		})
	}
}

// TestAuditOutput: an output log that is older than was audited is stale, another
// one of the same key a fork, and a site without what belongs to it no answer.
func TestAuditOutput(t *testing.T) {
	l := newLiar(t)
	older, err := os.ReadFile(filepath.Join(l.site, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	l.build(nil)
	if _, err := l.audit(); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(filepath.Join(l.site, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.site, checkpointFile), older, 0o600); err != nil {
		t.Fatal(err)
	}
	var stale *Stale
	if _, err := l.audit(); !errors.As(err, &stale) {
		t.Errorf("an older output log: %v", err)
	}
	if err := os.WriteFile(filepath.Join(l.site, checkpointFile), now, 0o600); err != nil {
		t.Fatal(err)
	}

	// The same key signs another log, of the same size and then of a larger one.
	other := newLiar(t)
	if err := os.WriteFile(filepath.Join(other.dir, "key"), []byte(l.key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.b.Output.Close(), other.b.Store.Close(), os.RemoveAll(filepath.Join(other.dir, outputDir)),
		os.RemoveAll(other.site), os.Remove(filepath.Join(other.dir, stateFile))); err != nil {
		t.Fatal(err)
	}
	other.reopen()
	other.state = l.state
	for i := range 4 {
		if _, err := other.b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			continue
		}
		if err := other.b.Store.Publish(other.site, noWarn); err != nil {
			t.Fatal(err)
		}
		var fork *rekor.Fork
		if _, err := other.audit(); !errors.As(err, &fork) {
			t.Errorf("another output log of %d entries: %v", i+1, err)
		}
	}

	l.state = t.TempDir()
	if err := os.Remove(filepath.Join(l.site, statementPath(l.statement[0]))); err != nil {
		t.Fatal(err)
	}
	var status *web.StatusError
	if _, err := l.audit(); !errors.As(err, &status) {
		t.Errorf("a statement that is missing: %v", err)
	}
}
