// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

var kills = flag.Int("kills", 30, "how often TestKill kills a process")

// TestKill: sign and bind are killed at any moment, and run again until they end:
// then there is one signature with one entry in each log, and nothing that is half
// written was taken for whole. A hidden temporary file may be left, which nobody
// reads.
func TestKill(t *testing.T) {
	const attempts = 4 // of one signature
	at := map[string]int{}
	span := map[string]time.Duration{}
	for i, killed := 0, 0; killed < *kills; i++ {
		verb := []string{"sign", "bind"}[i%2]
		a := newAttempt(t, verb, fmt.Sprintf("acme/killed-%d", i), t.TempDir(), t.TempDir())
		if span[verb] == 0 {
			begin := time.Now()
			a.finish()
			span[verb] = time.Since(begin)
			continue
		}
		for range attempts {
			code, out := a.on.run(1+rand.N(span[verb]), a.args...)
			if code == 0 {
				break
			} else if code != -1 {
				t.Fatalf("%s: exit %d\n%s", verb, code, out)
			}
			killed++
			at[verb+", "+lastStep(out)]++
		}
		a.finish()
		if t.Failed() {
			return
		}
	}
	t.Logf("killed %v, within %v", at, span)
}

// TestTerminated: a run that is asked to end while it waits for a service ends at once,
// not with OK, and leaves no file, nor a half of one. The next run finishes.
func TestTerminated(t *testing.T) {
	for i, service := range []sandbox.Service{sandbox.Fulcio, sandbox.RekorV1, sandbox.Rekor} {
		for j, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			t.Run(fmt.Sprintf("%s %s", service, sig), func(t *testing.T) {
				a := newAttempt(t, "sign", fmt.Sprintf("acme/ended-%d-%d", i, j), t.TempDir(), t.TempDir())
				before := filesBelow(t, a.dir)
				undo, err := stack.Misbehave(service, malice.Drop{})
				check(t, err)
				var out bytes.Buffer
				cmd := a.on.command(&out, a.args...)
				check(t, cmd.Start())
				time.Sleep(time.Second) // by then it waits
				begin := time.Now()
				check(t, cmd.Process.Signal(sig))
				_ = cmd.Wait() // the code says it
				check(t, undo())
				if code := cmd.ProcessState.ExitCode(); code <= 0 || time.Since(begin) > 5*time.Second {
					t.Errorf("exit %d after %s\n%s", code, time.Since(begin), out.String())
				}
				if after := filesBelow(t, a.dir); !slices.Equal(before, after) {
					t.Errorf("files %v, before %v", after, before)
				}
				a.finish()
			})
		}
	}
}

// filesBelow returns the names of the files of a work tree, those of Git aside.
func filesBelow(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == ".git" {
			return fs.SkipDir
		}
		out = append(out, path)
		return err
	}))
	return out
}

// TestKillReader: a look-up is killed at any moment, and what it remembers is whole
// all the same.
func TestKillReader(t *testing.T) {
	const name = "acme/killed-reader"
	_, good := bound(t, name)
	on := newProcess(t, t.TempDir(), nil)
	begin := time.Now()
	if code, out := newProcess(t, t.TempDir(), nil).run(0, "verify", "-R", name, "--scan", good); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	span := time.Since(begin)
	killed := 0
	for range 30 {
		switch code, out := on.run(1+rand.N(span), "verify", "-R", name, "--scan", good); code {
		case 0:
			on = newProcess(t, t.TempDir(), nil) // nothing is left to write
		case -1:
			killed++
		default:
			t.Fatalf("exit %d\n%s", code, out)
		}
	}
	if code, out := on.run(0, "verify", "-R", name, "--scan", good); code != 0 || killed == 0 {
		t.Errorf("%d killed, then exit %d\n%s", killed, code, out)
	}
	t.Logf("%d of 30 killed within %s", killed, span)
}

// TestKillSteps: init, sign and bind are killed after each step that anybody can
// see, and run again.
func TestKillSteps(t *testing.T) {
	for _, verb := range []string{"init", "sign", "bind"} {
		t.Run(verb, func(t *testing.T) {
			steps := 0
			for n := 1; ; n++ {
				if steps++; steps > 40 {
					t.Fatal("it never ends")
				}
				a := newAttempt(t, verb, fmt.Sprintf("acme/killed-%s-%d", verb, n), t.TempDir(), t.TempDir())
				doomed := process{t, append([]string{fmt.Sprintf("%s=%d", killAtLine, n)}, a.on.env...)}
				code, out := doomed.run(0, a.args...)
				a.finish()
				if code == 0 {
					t.Logf("%d steps", steps-1)
					return
				}
				lines := strings.Count(out, "\n")
				if code != -1 || lines < n {
					t.Fatalf("exit %d after %d lines, not killed after %d\n%s", code, lines, n, out)
				}
				n = lines // what is written at once is one step
			}
		})
	}
}

// TestLostRunner: a run that binds is lost after any step, with the machine that it
// ran on. Another machine goes on from what the log shows or makes an entry of its
// own, and what the first one left is in nobody's way.
func TestLostRunner(t *testing.T) {
	for n, step := range []string{signlog.StepDraft, signlog.StepV1, signlog.StepV2} {
		name := fmt.Sprintf("acme/lost-runner-%d", n)
		p := newProject(t, name)
		repo, err := stack.Forge().Find(name)
		check(t, err)
		previous, maintainer := "", newComputer(t)
		for version := 1; version <= 2; version++ {
			text := policyText(name, version, 1, "alice")
			p.write(".repopolicy/policy.toml", string(text))
			p.push()
			statement := encode(t, text, previous)
			previous = sum(statement)
			maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
			check(t, err)
			git(t, p.dir, "fetch", "-q", "origin")
			maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
			p.push()

			ctx, lost := context.WithCancel(t.Context())
			w := newMachine(t).writer(func(s string) {
				if s == step {
					lost()
				}
			})
			job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
			_, err := w.Write(ctx, signlog.Request{Statement: statement, Version: version, Signature: signlog.Signature{Who: "ci", Token: func(context.Context) (string, error) { return stack.Token(job) }}})
			if (err == nil) != (step == signlog.StepV2) {
				t.Fatalf("%s: %v", step, err)
			}
			lost()
			// Whoever asks meanwhile is not told that nothing is bound.
			if code, out := newComputer(t).repopolicy("show", "-R", name); step != signlog.StepDraft && code != policy.ClassUnavailable.Exit() {
				t.Errorf("%s: exit %d\n%s", step, code, out)
			}
			check(t, p.dispatch("repository_dispatch"))
			if out := newComputer(t).must(policy.ClassOK, "show", "-R", name); !strings.Contains(out, fmt.Sprintf("version %d, expires", version)) {
				t.Error(out)
			}
		}
	}
}
