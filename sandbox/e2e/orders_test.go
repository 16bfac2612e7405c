// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// act is a command that ends by something public, and how to get in its way.
type act struct {
	args    []string
	flags   []string     // that make it wrong
	who     []string     // flags for the run of somebody who may not
	dir     string       // in which nothing changes before the consent
	log     command.Step // the last one that logs
	entries sizes        // that a whole run adds
	look    func() func()
	tree    string // a link there stands in the way of what is written first, and
	file    string // of what is written last
}

var acts = map[string]func(t *testing.T, name string) *act{
	"repopolicy init": func(t *testing.T, name string) *act {
		_, err := stack.Forge().Create(name)
		check(t, err)
		p := newProject2(t, name)
		return &act{
			args: []string{"init", "--git", p.dir, "--repo", "https://github.com/" + name, "--workflow", ".github/workflows/release.yml"}, flags: []string{"--tags", "**"},
			who: []string{"--expect-identity", "alice@example.com"}, dir: p.dir, log: command.StepV2, entries: sizes{1, 1},
			tree: filepath.Join(p.dir, ".repopolicy"), file: filepath.Join(p.dir, ".repopolicy", "signatures"),
		}
	},
	"repopolicy-trust sign": func(t *testing.T, _ string) *act {
		dir := t.TempDir()
		_, machine := keyPair(t, dir, "machine")
		root := filepath.Join(dir, "root")
		newComputer(t).must(policy.ClassOK, authorProgram, "init", root,
			"--identity", "alice@example.com=https://accounts.google.com", "--online-key", machine)
		staged := filepath.Join(root, "staged", "root.json")
		return &act{
			args: []string{authorProgram, "sign", root}, flags: []string{"--expect-identity", "nobody"},
			dir: root, log: command.StepV1, entries: sizes{2, 0}, file: staged,
			look: func() func() {
				data, err := os.ReadFile(staged)
				check(t, err)
				check(t, os.WriteFile(staged, []byte("{}"), 0o600))
				return func() { check(t, os.WriteFile(staged, data, 0o600)) }
			},
		}
	},
	"repopolicy-trust from-policy": func(t *testing.T, name string) *act {
		boundProject(t, name, approvedPolicy(name, 1, "alice", "bob"), nil)
		out := filepath.Join(t.TempDir(), "tuf")
		file := filepath.Join(out, "1.root.json")
		return &act{
			args:  []string{authorProgram, "from-policy", out, "--sign", "-R", name},
			flags: []string{"--policy", "policy.toml"},
			dir:   filepath.Dir(out), log: command.StepV1, entries: sizes{2, 0}, file: file,
		}
	},
}

// TestOrderTree does what TestOrder does for the verbs that also write what they sign:
// nobody who says no, or may not, finds anything changed, and the same command ends well
// when it is run again.
func TestOrderTree(t *testing.T) {
	for verb, begin := range acts {
		order := command.Orders[verb]
		for i, fails := range order {
			t.Run(verb+" "+string(fails), func(t *testing.T) {
				name := "acme/order-" + strings.ReplaceAll(verb, " ", "-") + "-" + string(fails)
				x := begin(t, name)
				good := append(slices.Clone(x.args), "--yes")
				args, mend := good, func() {}
				c := newComputer(t)
				seen := &steps{next: stack.Transport(), fails: fails}
				c.transport = seen
				token := func(who string) {
					var err error
					c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf(who))
					check(t, err)
				}
				token("alice")
				block := func(path string, at command.Step) {
					away := path + ".away"
					seen.before = func(s command.Step) {
						if _, err := os.Lstat(away); s != at || err == nil {
							return
						}
						check(t, os.MkdirAll(filepath.Dir(path), 0o700))
						if os.Rename(path, away) != nil {
							check(t, os.WriteFile(away, nil, 0o600))
						}
						check(t, os.Symlink(t.TempDir(), path))
					}
					mend = func() {
						check(t, os.Remove(path))
						if info, err := os.Stat(away); err == nil && info.Size() > 0 {
							check(t, os.Rename(away, path))
						} else {
							check(t, os.Remove(away))
						}
					}
				}
				switch fails {
				case command.StepFlags:
					args = append(slices.Clone(good), x.flags...)
				case command.StepLook:
					if x.look != nil {
						mend = x.look()
					}
				case command.StepToken:
					delete(c.env, "SIGSTORE_ID_TOKEN")
				case command.StepIdentity:
					token("mallory")
					args = append(slices.Clone(good), x.who...)
				case command.StepConsent:
					args, c.answers = x.args, "n\n"
				case command.StepTree:
					block(x.tree, command.StepLook)
				case command.StepFile:
					block(x.file, x.log)
				}
				was, before := digestOf(t, x.dir), logSizes(t)
				code, out := c.repopolicy(args...)
				if code == 0 || code == policy.ClassInternal.Exit() {
					t.Errorf("exit %d\n%s", code, out)
				}
				for _, s := range seen.taken {
					if slices.Index(order, s) > i {
						t.Errorf("%s was begun\n%s", s, out)
					}
				}
				if i <= slices.Index(order, command.StepConsent) && digestOf(t, x.dir) != was {
					t.Errorf("something was written\n%s", out)
				}
				if asked := strings.Contains(out, "becomes public for ever"); asked != (fails == command.StepConsent) {
					t.Errorf("asked: %v\n%s", asked, out)
				}
				now := logSizes(t)
				if logged := now != before; logged != (fails == command.StepFile || fails == command.StepV2) {
					t.Errorf("the logs had %v entries and have %v\n%s", before, now, out)
				}
				if fails == command.StepIdentity {
					token("alice")
					out := c.must(policy.ClassDeny, append(slices.Clone(good), "--expect-identity", "bob@example.com")...)
					if slices.Contains(seen.taken, command.StepCertificate) || digestOf(t, x.dir) != was {
						t.Errorf("alice was certified, or something written\n%s", out)
					}
				}
				mend()
				seen.before, seen.fails, c.transport, c.answers = nil, "", seen, ""
				token("alice")
				c.must(policy.ClassOK, good...)
				want := sizes{before.v1 + x.entries.v1, before.v2 + x.entries.v2}
				if got := logSizes(t); got != want {
					t.Errorf("the logs have %v entries, want %v", got, want)
				}
				// Whoever runs it once more changes nothing.
				was = digestOf(t, x.dir)
				c.must(policy.ClassOK, good...)
				if got := logSizes(t); got != want || digestOf(t, x.dir) != was {
					t.Errorf("once more: the logs have %v entries, want %v", got, want)
				}
			})
		}
	}
}

// digestOf returns the digest of all files below a directory, and their names.
func digestOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		all.WriteString(path + "\n")
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			check(t, err)
			all.Write(data)
		}
		return nil
	}))
	return spelling.Sum([]byte(all.String()))
}

// TestSecondRole: of several documents the one that was signed and logged is kept when
// the next one fails, and is not signed again.
func TestSecondRole(t *testing.T) {
	for _, verb := range []string{"repopolicy-trust sign", "repopolicy-trust from-policy"} {
		for _, fails := range []command.Step{command.StepCertificate, command.StepV1} {
			x := acts[verb](t, "acme/second-"+strings.ReplaceAll(verb, " ", "-")+"-"+string(fails))
			c := newComputer(t)
			seen := &steps{next: stack.Transport(), fails: fails, after: 1}
			c.transport = seen
			var err error
			c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
			check(t, err)
			before, args := logSizes(t), append(slices.Clone(x.args), "--yes")
			if code, out := c.repopolicy(args...); code == 0 {
				t.Errorf("%s: exit %d\n%s", verb, code, out)
			}
			if got, want := logSizes(t), (sizes{before.v1 + 1, before.v2}); got != want {
				t.Fatalf("%s, %s: the logs have %v entries, want %v", verb, fails, got, want)
			}
			seen.fails = ""
			c.must(policy.ClassOK, args...)
			if got, want := logSizes(t), (sizes{before.v1 + 2, before.v2}); got != want {
				t.Errorf("%s, %s: the logs have %v entries, want %v", verb, fails, got, want)
			}
		}
	}
}

// TestOrdersWalked: every verb of the table is walked through.
func TestOrdersWalked(t *testing.T) {
	walked := []string{"sign", "approve", "sign-release", "bind"} // in order_test.go
	for verb := range command.Orders {
		if acts[verb] == nil && !slices.Contains(walked, strings.TrimPrefix(verb, "repopolicy ")) {
			t.Errorf("%s: nobody walks through its steps", verb)
		}
	}
}

// TestInitStranger: init signs what it wrote itself, and nothing that was there: neither
// a policy that somebody put into the tree before, nor one that takes its place meanwhile.
func TestInitStranger(t *testing.T) {
	for _, when := range []string{"before", "meanwhile", "own"} {
		x := acts["repopolicy init"](t, "acme/stranger-"+when)
		args := append(slices.Clone(x.args), "--yes")
		c := newComputer(t)
		var err error
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		path := filepath.Join(x.dir, ".repopolicy", "policy.toml")
		evil := []byte(strings.ReplaceAll(string(policyText("acme/stranger-"+when, 1, 1, "alice")), "release.yml", "evil.yml"))
		put := func() {
			check(t, os.MkdirAll(filepath.Dir(path), 0o700))
			check(t, os.WriteFile(path, evil, 0o600))
		}
		seen := &steps{next: stack.Transport()}
		c.transport = seen
		want := policy.ClassOK
		switch when {
		case "before":
			put()
		case "meanwhile":
			want = policy.ClassUsage
			seen.before = func(s command.Step) {
				if _, err := os.Lstat(path); err != nil {
					put()
				}
			}
		}
		before := logSizes(t)
		out := c.must(want, args...)
		if when == "own" {
			continue
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != string(evil) {
			t.Errorf("%s: it was replaced: %v\n%s", when, err, out)
		}
		if logSizes(t) != before || slices.Contains(seen.taken, command.StepCertificate) {
			t.Errorf("%s: a stranger's policy was signed\n%s", when, out)
		}
	}
}
