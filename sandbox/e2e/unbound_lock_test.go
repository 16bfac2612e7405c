// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// unruled is a repository without a policy, somebody who can say so, and what its workflow signs.
type unruled struct {
	*project
	t     *testing.T
	url   string
	job   claims.GitHub // for the tag v1
	tiles string        // trusted root without Rekor v1
	asked *operator     // of a directory
}

func newUnruled(t *testing.T, name string) *unruled {
	t.Helper()
	u := &unruled{project: newProject(t, name), t: t, url: "https://github.com/" + name, asked: newOperator(t)}
	u.push()
	u.ids(name)
	u.asked.build()
	u.tiles = filepath.Join(t.TempDir(), "v2.json")
	check(t, os.WriteFile(u.tiles, ofGeneration(t, 2), 0o600))
	return u
}

// ids takes the numbers that the forge gives to the repository of that name.
func (u *unruled) ids(name string) {
	u.t.Helper()
	repo, err := stack.Forge().Find(name)
	check(u.t, err)
	u.job = claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1"}
}

// signed returns a file with evidence by the workflow, changed.
func (u *unruled) signed(change func(*claims.GitHub)) string {
	u.t.Helper()
	job := u.job
	if change != nil {
		change(&job)
	}
	return releaseFile(u.t, "widget_1.tar.gz", job)
}

// known are the ways of knowing that nothing is bound.
func (u *unruled) known() [][]string {
	return [][]string{{"--scan", "--trusted-root", u.tiles}, {"--directory", u.asked.descriptorFile}}
}

// lock writes a lock file by what was released.
func (u *unruled) lock(files ...string) string {
	u.t.Helper()
	out := filepath.Join(u.t.TempDir(), "widget.lock")
	args := []string{"lock", "-R", u.url, "--unbound", "repository", "--tag", "v1", "-o", out}
	newComputer(u.t).must(policy.ClassOK, slices.Concat(args, u.known()[0], files)...)
	return out
}

// edited returns a lock file in which a text is replaced.
func (u *unruled) edited(lock, old, new string) string {
	u.t.Helper()
	data, err := os.ReadFile(lock)
	check(u.t, err)
	if !strings.Contains(string(data), old) {
		u.t.Fatalf("no %q in %s", old, data)
	}
	out := filepath.Join(u.t.TempDir(), "edited.lock")
	check(u.t, os.WriteFile(out, []byte(strings.ReplaceAll(string(data), old, new)), 0o600))
	return out
}

// cloned returns a clone of the repository.
func (u *unruled) cloned() string {
	u.t.Helper()
	dir := filepath.Join(u.t.TempDir(), "clone")
	git(u.t, ".", "clone", "-q", stack.Forge().CloneURL(u.name), dir)
	return dir
}

// TestUnboundLock: what lock saw of a repository without a policy is demanded of its next releases,
// and lets nothing pass that would not pass without it.
func TestUnboundLock(t *testing.T) {
	u := newUnruled(t, "acme/unruled-locked")
	good := u.signed(nil)
	publish := func(g *claims.GitHub) { g.Workflow = ".github/workflows/publish.yml" }
	made := filepath.Join(t.TempDir(), "made.lock")
	lock := func(c *computer, want policy.Class, more ...string) string {
		t.Helper()
		args := []string{"lock", "-R", u.url, "--unbound", "repository", "--tag", "v1", "-o", made}
		return c.must(want, append(args, more...)...)
	}
	// It judges as verify does, and writes nothing else.
	for what, args := range map[string][]string{
		"by an index":     {good},
		"off-line":        {"--offline", "--git", u.cloned(), good},
		"pinned":          slices.Concat(u.known()[1], []string{"--pin", "sha256:" + strings.Repeat("a", 64), good}),
		"too old":         slices.Concat(u.known()[1], []string{"--max-age", "1ns", good}),
		"a fork":          slices.Concat(u.known()[0], []string{u.signed(func(g *claims.GitHub) { g.Repository, g.RepositoryID = "mallory/x", 0 })}),
		"a branch":        slices.Concat(u.known()[0], []string{u.signed(func(g *claims.GitHub) { g.Ref = "refs/heads/v1" })}),
		"another tag":     slices.Concat(u.known()[0], []string{u.signed(func(g *claims.GitHub) { g.Ref = "refs/tags/v2" })}),
		"two numbers":     slices.Concat(u.known()[0], []string{good, u.signed(func(g *claims.GitHub) { g.RepositoryID++ })}),
		"two owners":      slices.Concat(u.known()[0], []string{good, u.signed(func(g *claims.GitHub) { g.OwnerID++ })}),
		"a file too many": slices.Concat(u.known()[0], []string{good, u.tiles}),
	} {
		args = append([]string{"lock", "-R", u.url, "--unbound", "repository", "--tag", "v1", "-o", made}, args...)
		code, out := newComputer(t).repopolicy(args...)
		if _, err := os.Stat(made); code == 0 || code == policy.ClassInternal.Exit() || err == nil || strings.Contains(out, "wrote") {
			t.Errorf("%s: exit %d, %v\n%s", what, code, err, out)
		}
	}
	var document map[string]any
	for _, how := range u.known() {
		out := lock(newComputer(t), policy.ClassOK, append(how, good)...)
		for _, w := range []string{"allowed-unbound", fmt.Sprintf("number %d of the owner %d", u.job.RepositoryID, u.job.OwnerID), ".github/workflows/release.yml"} {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
		data, err := os.ReadFile(made)
		check(t, err)
		check(t, json.Unmarshal(data, &document))
		check(t, vectors.Schema(t, "lock-v1.json").Validate(document))
	}
	verify := func(want policy.Class, lock string, more ...string) string {
		t.Helper()
		out := ""
		for _, how := range u.known() {
			args := slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository"}, how, more)
			if !slices.Contains(more, "--tag") {
				args = append(args, "--tag", "v1")
			}
			out = newComputer(t).must(want, args...)
		}
		return out
	}
	if out := verify(policy.ClassOK, made, good); !strings.Contains(out, "a workflow that the lock file names") {
		t.Error(out)
	}
	verify(policy.ClassOK, made, "-R", u.url, good)
	verify(policy.ClassOK, made, "--tag", "v2", u.signed(func(g *claims.GitHub) { g.Ref = "refs/tags/v2" }))
	out := verify(policy.ClassOK, made, good, "--format", "json")
	document = nil
	check(t, json.Unmarshal([]byte(out), &document))
	check(t, vectors.Schema(t, "verdict-v1.json").Validate(document))
	if c, _ := document["criteria"].(map[string]any)["unbound"].(map[string]any); c["locked"] != true {
		t.Errorf("%v", c)
	}
	for what, change := range map[string]func(*claims.GitHub){
		"made anew":          func(g *claims.GitHub) { g.RepositoryID++ },
		"handed on":          func(g *claims.GitHub) { g.OwnerID++ },
		"a renamed workflow": publish,
		"another caller": func(g *claims.GitHub) {
			publish(g)
			g.JobWorkflow = u.name + "/.github/workflows/release.yml@refs/tags/v1"
		},
		"what others call":    func(g *claims.GitHub) { g.JobWorkflow = u.name + "/.github/workflows/publish.yml@refs/tags/v1" },
		"a self-hosted one":   func(g *claims.GitHub) { g.Runner = "self-hosted" },
		"a fork":              func(g *claims.GitHub) { g.Repository = "mallory/unruled" },
		"in the upper case":   func(g *claims.GitHub) { g.Workflow = ".github/workflows/Release.yml" },
		"a branch like a tag": func(g *claims.GitHub) { g.Ref = "refs/heads/v1" },
	} {
		if out := verify(policy.ClassDeny, made, u.signed(change)); !strings.Contains(out, "unbound-denied") && what != "a branch like a tag" {
			t.Errorf("%s: %s", what, out)
		}
	}
	// A lock of this kind is never a pass by itself.
	for _, how := range append(u.known(), []string{}) {
		out := newComputer(t).must(policy.ClassNoPolicy, slices.Concat([]string{"verify", "--lock", made, "--tag", "v1", good}, how)...)
		if !strings.Contains(out, "hint: the lock file is of a repository without a policy") {
			t.Error(out)
		}
	}
	for _, verb := range [][]string{{"show"}, {"log"}, {"lock", "-o", filepath.Join(t.TempDir(), "x")}, {"export-bundle", "-o", filepath.Join(t.TempDir(), "x")}} {
		newComputer(t).must(policy.ClassNoPolicy, append(verb, "-R", u.url, "--lock", made)...)
	}
	// Nor across an air gap or off-line.
	for _, args := range [][]string{
		{"--airgap", u.empty()}, {"--airgap", u.empty(), "--require", "first,none"},
		{"-R", u.url, "--offline", "--git", u.cloned(), "--require", "first,none"},
	} {
		args = append([]string{"verify", "--lock", made, "--unbound", "repository", "--tag", "v1", good}, args...)
		if code, out := newComputer(t).repopolicy(args...); code == 0 || code == policy.ClassInternal.Exit() {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
	// Edited by hand.
	number, owner := fmt.Sprint(u.job.RepositoryID), fmt.Sprint(u.job.OwnerID)
	for what, c := range map[string]struct {
		lock string
		want policy.Class
	}{
		"another number":     {u.edited(made, `"`+number+`"`, `"1`+number+`"`), policy.ClassDeny},
		"swapped":            {u.edited(u.edited(made, `"`+number+`"`, `"0"`), `"0"`, `"`+owner+`"`), policy.ClassDeny},
		"zero":               {u.edited(made, `"`+number+`"`, `"0"`), policy.ClassUsage},
		"a leading zero":     {u.edited(made, `"`+number+`"`, `"0`+number+`"`), policy.ClassUsage},
		"huge":               {u.edited(made, `"`+number+`"`, `"`+strings.Repeat("9", 1<<20)+`"`), policy.ClassUsage},
		"another workflow":   {u.edited(made, "release.yml", "publish.yml"), policy.ClassDeny},
		"a workflow outside": {u.edited(made, "workflows/release.yml", "workflows/../x/release.yml"), policy.ClassUsage},
		"another repository": {u.edited(made, u.name, "acme/unruled-other"), policy.ClassUsage},
	} {
		for _, how := range u.known() {
			args := []string{"verify", "-R", u.url, "--lock", c.lock, "--unbound", "repository", "--tag", "v1", good}
			if code, out := newComputer(t).repopolicy(append(args, how...)...); code != c.want.Exit() {
				t.Errorf("%s: exit %d\n%.2000s", what, code, out)
			}
		}
	}
	// With the old file the numbers stay, and workflows are added.
	out = lock(newComputer(t), policy.ClassOK, slices.Concat(u.known()[0], []string{"--lock", made, u.signed(publish)})...)
	if !strings.Contains(out, "publish.yml, which the old file does not name") {
		t.Error(out)
	}
	verify(policy.ClassOK, made, u.signed(publish))
	verify(policy.ClassOK, made, good)
	before, err := os.ReadFile(made)
	check(t, err)
	lock(newComputer(t), policy.ClassDeny, slices.Concat(u.known()[0], []string{"--lock", made, u.signed(func(g *claims.GitHub) { g.RepositoryID++ })})...)
	lock(newComputer(t), policy.ClassDeny, slices.Concat(u.known()[0], []string{"--lock", made, u.signed(func(g *claims.GitHub) { g.OwnerID++ })})...)
	if after, err := os.ReadFile(made); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed by what was refused: %v\n%s", err, after)
	}
	// The library: two locks are none, and a lock without the word for it lets nothing pass.
	client := &repopolicy.Client{TrustedRoots: []string{u.tiles}, StateDir: t.TempDir(), HTTP: stack.Transport(), Scan: true}
	if _, err := client.Find(t.Context(), u.name, repopolicy.Lock(before)); classOfFault(err) != policy.ClassNoPolicy {
		t.Error(err)
	}
	client.Unbound = "repository"
	if _, err := client.Find(t.Context(), u.name, repopolicy.Lock(before), repopolicy.Lock(before)); classOfFault(err) != policy.ClassUsage {
		t.Error(err)
	}
	// Who gives no answer.
	undo, err := stack.Misbehave(sandbox.RekorV1, malice.Status{Code: 503})
	check(t, err)
	args := slices.Concat([]string{"verify", "--lock", made, "--unbound", "repository", "--tag", "v1", good}, u.known()[1])
	if code, out := newComputer(t).repopolicy(args...); code == 0 {
		t.Error(out)
	}
	check(t, undo())
}

// empty returns a file for an air gap about the repository, which carries nothing.
func (u *unruled) empty() string {
	u.t.Helper()
	b := airgap.New()
	var err error
	b.Repository, err = policy.ParseLocator(u.url)
	check(u.t, err)
	b.Made, b.Default = time.Now(), "refs/heads/main"
	data, err := b.Encode()
	check(u.t, err)
	path := filepath.Join(u.t.TempDir(), "widget.airgap")
	check(u.t, os.WriteFile(path, data, 0o600))
	return path
}

// TestUnboundLockThenBound: a policy that was bound since the lock judges alone, of the same numbers or
// not at all; and nothing leads back.
func TestUnboundLockThenBound(t *testing.T) {
	u := newUnruled(t, "acme/unruled-then-ruled")
	before := u.signed(func(g *claims.GitHub) { g.Environment = "release" })
	lock := u.lock(before)
	number, owner := fmt.Sprint(u.job.RepositoryID), fmt.Sprint(u.job.OwnerID)
	otherNumber, otherOwner := u.edited(lock, `"`+number+`"`, `"7`+number+`"`), u.edited(lock, `"`+owner+`"`, `"7`+owner+`"`)
	u.write(".repopolicy/policy.toml", string(policyText(u.name, 1, 1, "alice")))
	u.push()
	maintainer := newComputer(t)
	u.signAs(maintainer, "alice")
	good, ruled := u.signed(nil), u.signed(func(g *claims.GitHub) { g.Environment = "release" })
	old := u.known()[1] // a directory that does not know it yet
	if code, out := newComputer(t).repopolicy(slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository", "--tag", "v1", good}, old)...); code == 0 {
		t.Errorf("the directory does not know it yet, the index does: %s", out)
	}
	u.asked.build()
	for _, how := range append(u.known(), []string{}) {
		for _, unbound := range [][]string{nil, {"--unbound", "repository"}} {
			run := func(want policy.Class, lock, file string) string {
				t.Helper()
				return newComputer(t).must(want, slices.Concat([]string{"verify", "--lock", lock, "--tag", "v1", file}, how, unbound)...)
			}
			if out := run(policy.ClassDeny, lock, good); !strings.Contains(out, "rule-mismatch") {
				t.Error(out)
			}
			if out := run(policy.ClassDeny, lock, before); !strings.Contains(out, "before-genesis") {
				t.Error(out)
			}
			if out := run(policy.ClassOK, lock, ruled); !strings.Contains(out, "by rule binaries") || strings.Contains(out, "allowed-unbound") {
				t.Error(out)
			}
			for bad, why := range map[string]string{otherNumber: "bound version 1", otherOwner: "owned it when version 1 was bound"} {
				for _, file := range []string{good, ruled} {
					if out := run(policy.ClassAlarm, bad, file); !strings.Contains(out, why) || !strings.Contains(out, "a new lock file pins their policy") {
						t.Error(out)
					}
				}
			}
		}
	}
	// A lock of before becomes one of the policy; it is never written that nothing is bound.
	made := filepath.Join(t.TempDir(), "made.lock")
	out := newComputer(t).must(policy.ClassUsage, slices.Concat([]string{"lock", "-R", u.url, "--unbound", "repository", "--tag", "v1", "-o", made, ruled}, u.known()[0])...)
	if !strings.Contains(out, "has bound a policy, which alone counts") {
		t.Error(out)
	}
	newComputer(t).must(policy.ClassUsage, slices.Concat([]string{"lock", "--lock", lock, "--unbound", "repository", "--tag", "v1", "-o", made, ruled}, u.known()[0])...)
	newComputer(t).must(policy.ClassAlarm, "lock", "-R", u.url, "--lock", otherNumber, "-o", made)
	if _, err := os.Stat(made); err == nil {
		t.Error("a lock file was written")
	}
	newComputer(t).must(policy.ClassOK, "lock", "-R", u.url, "--lock", lock, "-o", made)
	newComputer(t).must(policy.ClassOK, "verify", "--lock", made, "--unbound", "repository", "--tag", "v1", ruled)
	newComputer(t).must(policy.ClassDeny, "verify", "--lock", made, "--unbound", "repository", "--tag", "v1", good)
	newComputer(t).must(policy.ClassUsage, slices.Concat([]string{"lock", "--lock", made, "--unbound", "repository", "--tag", "v1", "-o", made, ruled}, u.known()[0])...)
	// Across an air gap the policy alone counts as well, of the numbers.
	carried := filepath.Join(t.TempDir(), "widget.airgap")
	newComputer(t).must(policy.ClassOK, "export-bundle", "-R", u.url, "--lock", lock, "-o", carried)
	for l, want := range map[string]policy.Class{lock: policy.ClassOK, otherNumber: policy.ClassAlarm, otherOwner: policy.ClassAlarm} {
		newComputer(t).must(want, "verify", "--lock", l, "--airgap", carried, "--require", "none", "--tag", "v1", ruled)
		newComputer(t).must(want, "verify", "--lock", l, "--airgap", carried, "--require", "none", "--unbound", "repository", "--tag", "v1", ruled)
	}

	// The policy ends its releases, and then everything that shows it is taken away. What it allowed before stays
	// allowed by it, and nothing without it.
	ends, _, _ := strings.Cut(string(policyText(u.name, 2, 1, "alice")), "\n[[release]]")
	u.write(".repopolicy/policy.toml", strings.Replace(ends, "expires ", "tombstone  = true\nexpires ", 1))
	u.push()
	u.signAs(maintainer, "alice")
	for _, how := range [][]string{u.known()[0], {}} {
		if out := newComputer(t).must(policy.ClassDeny, slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository", "--tag", "v1", good}, how)...); !strings.Contains(out, "policy-ended") {
			t.Error(out)
		}
	}
	u.asked.build()
	u.forget()
	late := u.signed(func(g *claims.GitHub) { g.Environment = "release" })
	for _, how := range append(u.known(), []string{}) {
		for _, file := range []string{good, ruled, late} {
			code, out := newComputer(t).repopolicy(slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository", "--tag", "v1", file}, how)...)
			if code == 0 && file != ruled || strings.Contains(out, "allowed-unbound") {
				t.Errorf("%v: %s", how, out)
			}
			args := slices.Concat([]string{"lock", "-R", u.url, "--unbound", "repository", "--tag", "v1", "-o", filepath.Join(t.TempDir(), "x"), file}, how)
			if code, out := newComputer(t).repopolicy(args...); code == 0 {
				t.Errorf("%v: %s", how, out)
			}
		}
	}
}

// TestUnboundLockMoved: a lock goes with the name and the numbers, whoever takes the name over.
func TestUnboundLockMoved(t *testing.T) {
	const name, now = "acme/unruled-moves", "acme/unruled-moved"
	u := newUnruled(t, name)
	lock := u.lock(u.signed(nil))
	verify := func(want policy.Class, repo, lock, file string) string {
		t.Helper()
		args := []string{"verify", "-R", repo, "--lock", lock, "--unbound", "repository", "--tag", "v1", file}
		return newComputer(t).must(want, append(args, u.known()[0]...)...)
	}
	check(t, stack.Forge().Move(name, now))
	u.ids(now)
	renamed := u.signed(nil)
	verify(policy.ClassUsage, now, lock, renamed) // the name is part of it
	verify(policy.ClassDeny, name, lock, renamed)
	u.url = "https://github.com/" + now
	relocked := u.lock(renamed)
	verify(policy.ClassOK, now, relocked, renamed)

	// Somebody takes the old name.
	next := newProject(t, name)
	next.push()
	u.ids(name)
	taken := u.signed(nil)
	if out := verify(policy.ClassDeny, name, lock, taken); !strings.Contains(out, "repository-id") {
		t.Error(out)
	}
	args := []string{"verify", "-R", name, "--unbound", "repository", "--tag", "v1", taken}
	newComputer(t).must(policy.ClassOK, append(args, u.known()[0]...)...) // without the lock it passes
	// And binds a policy there: it judges whoever has no lock, and alarms whoever has one.
	next.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	next.push()
	next.signAs(newComputer(t), "alice")
	ruled := u.signed(func(g *claims.GitHub) { g.Environment = "release" })
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1", ruled)
	verify(policy.ClassAlarm, name, lock, ruled)
	newComputer(t).must(policy.ClassAlarm, "verify", "--lock", lock, "--tag", "v1", ruled)

	// The repository goes to another owner, under a name that nobody had.
	const gone = "mallory/unruled-moved"
	check(t, stack.Forge().Move(now, gone))
	u.ids(now)
	u.job.Repository = now
	verify(policy.ClassDeny, now, relocked, u.signed(nil))
}

// TestUnboundPublished: the release of a repository without a policy by its address: who signed it is
// said, and no command is made of that; it can be locked and judged.
func TestUnboundPublished(t *testing.T) {
	u := newUnruled(t, "acme/unruled-published")
	f := stack.Forge()
	one := string(signBlob(t, []byte("one"), u.job))
	check(t, f.Release(u.name, "v1", map[string]string{
		"widget_1.tar.gz": "one", "widget_1.tar.gz.sigstore.json": one,
		"widget_2.tar.gz": "two", "widget_2.tar.gz.sigstore.json": string(signBlob(t, []byte("two"), u.job)),
	}))
	page := u.url + "/releases/tag/v1"
	says := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
		for _, never := range []string{"--certificate-identity", "verify -R", "allowed"} {
			if strings.Contains(out, never) {
				t.Errorf("%q in\n%s", never, out)
			}
		}
	}
	number := fmt.Sprintf("number     %d", u.job.RepositoryID)
	for _, how := range append(u.known(), []string{}, []string{"--unbound", "repository"}) { // the last knows too little
		out := newComputer(t).must(policy.ClassNoPolicy, append([]string{"verify", page}, how...)...)
		says(out, ".tar.gz and 1 more: this signed it, which verifies; nobody says whether it may", number,
			u.name+"/.github/workflows/release.yml@refs/tags/v1", fmt.Sprintf("owner      %d", u.job.OwnerID), "time ")
		if strings.Contains(out, "claims") {
			t.Error(out)
		}
	}
	says(newComputer(t).must(policy.ClassNoPolicy, "explain", u.url+"/releases/download/v1/widget_2.tar.gz"), "widget_2.tar.gz: this signed it", number)
	for _, form := range []string{"json", "sarif"} {
		if out := newComputer(t).must(policy.ClassNoPolicy, "verify", page, "--format", form); strings.Contains(out, "signed it") {
			t.Error(out)
		}
	}
	if out := newComputer(t).must(policy.ClassNoPolicy, "verify", page, "-q"); strings.Contains(out, "signed it") {
		t.Error(out)
	}
	// What does not verify is not shown: changed bytes, another's evidence, a key that nobody knows.
	check(t, f.Release(u.name, "v2", map[string]string{
		"widget_1.tar.gz": "changed", "widget_1.tar.gz.sigstore.json": one,
		"widget_3.tar.gz": "three", "widget_3.tar.gz.sigstore.json": strings.Replace(one, "MEUCIQ", "MEUCIA", 1),
	}))
	out := newComputer(t).must(policy.ClassNoPolicy, "verify", u.url+"/releases/tag/v2")
	says(out, "no evidence that verifies was found")
	if strings.Contains(out, "release.yml@") {
		t.Error(out)
	}
	// Whoever signed is shown, and of many the first.
	files := map[string]string{}
	for i := range 12 {
		who := claims.Email{Address: fmt.Sprintf("somebody-%d@example.com", i)}
		name, text := fmt.Sprintf("widget_%02d.tar.gz", i), fmt.Sprint(i)
		files[name], files[name+".sigstore.json"] = text, string(signBlob(t, []byte(text), who))
	}
	check(t, f.Release(u.name, "v3", files))
	out = newComputer(t).must(policy.ClassNoPolicy, "verify", u.url+"/releases/tag/v3")
	says(out, "of 12 artifacts the first 8 are looked at", "somebody-")
	if n := strings.Count(out, "this signed it"); n != 8 {
		t.Errorf("%d signers\n%s", n, out)
	}
	// A forge that gives no answer, or no end of it, changes nothing but what is shown.
	for _, fault := range []malice.Fault{malice.Status{Code: 503}, malice.Reset{}, malice.WrongType{}, malice.GzipBomb{Size: 64 << 20}} {
		for _, path := range []string{"/repos/", "/" + u.name + "/releases/", "/github-production-release-asset/"} {
			undo, err := stack.Misbehave(sandbox.Forge, malice.On{Path: path, Fault: fault})
			check(t, err)
			start := time.Now()
			out := newComputer(t).must(policy.ClassNoPolicy, "verify", page)
			if took := time.Since(start); took > 90*time.Second {
				t.Errorf("%T at %s: it took %s", fault, path, took)
			}
			_, none := fault.(malice.Status)
			if none && path != "/repos/" && strings.Contains(out, "this signed it") {
				t.Errorf("%T at %s: %s", fault, path, out)
			}
			check(t, undo())
		}
	}

	// It can be locked by its address, and judged by that.
	lock := filepath.Join(t.TempDir(), "widget.lock")
	newComputer(t).must(policy.ClassOK, slices.Concat([]string{"lock", "--unbound", "repository", "-o", lock, page}, u.known()[1])...)
	newComputer(t).must(policy.ClassOK, slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository", page}, u.known()[1])...)
	newComputer(t).must(policy.ClassDeny, slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository", u.url + "/releases/tag/v3"}, u.known()[1])...)
}

// classOfFault returns the class of a fault; INTERNAL for another error and for none.
func classOfFault(err error) policy.Class {
	if f, ok := err.(*policy.Fault); ok {
		return f.Reason.Class()
	}
	return policy.ClassInternal
}
