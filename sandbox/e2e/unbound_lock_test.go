// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
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

// change is another run than that of the release workflow for v1; nil for that one.
type change func(*claims.GitHub)

// signed returns a file with evidence by the workflow.
func (u *unruled) signed(c change) string {
	u.t.Helper()
	job := u.job
	if c != nil {
		c(&job)
	}
	return releaseFile(u.t, "widget_1.tar.gz", job)
}

// known are the ways of knowing that nothing is bound: a scan and a directory.
func (u *unruled) known() [][]string {
	return [][]string{{"--scan", "--trusted-root", u.tiles}, {"--directory", u.asked.descriptorFile}}
}

// lock writes a lock file by what was released.
func (u *unruled) lock(file string) string {
	u.t.Helper()
	out := filepath.Join(u.t.TempDir(), "widget.lock")
	newComputer(u.t).must(policy.ClassOK, locking(u.known()[0], "-R", u.url, "--tag", "v1", "-o", out, file)...)
	return out
}

// locking is the command line that writes down by whom a release without a policy is.
func locking(how []string, more ...string) []string {
	return slices.Concat([]string{"lock", "--unbound", "repository"}, how, more)
}

// byLock is the command line that judges a release without a policy by a lock.
func byLock(lock string, how []string, more ...string) []string {
	return slices.Concat([]string{"verify", "--lock", lock, "--unbound", "repository"}, how, more)
}

// passes reports whether the program allows anything, or fails.
func passes(t *testing.T, args []string) (bool, string) {
	t.Helper()
	code, out := newComputer(t).repopolicy(args...)
	return code == 0 || code == policy.ClassInternal.Exit() || strings.Contains(out, "allowed-unbound"), out
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

// Other runs.
var (
	anew    change = func(g *claims.GitHub) { g.RepositoryID++ }
	sold    change = func(g *claims.GitHub) { g.OwnerID++ }
	publish change = func(g *claims.GitHub) { g.Workflow = ".github/workflows/publish.yml" }
	ruledBy change = func(g *claims.GitHub) { g.Environment = "release" }
)

// TestUnboundLockWritten: lock judges a repository without a policy as verify does, and only then
// writes who signed.
func TestUnboundLockWritten(t *testing.T) {
	u := newUnruled(t, "acme/unruled-lock")
	good, made := u.signed(nil), filepath.Join(t.TempDir(), "made.lock")
	lock := func(want policy.Class, how []string, more ...string) string {
		t.Helper()
		return newComputer(t).must(want, locking(how, append(more, "-R", u.url, "--tag", "v1", "-o", made)...)...)
	}
	scan := u.known()[0]
	scanned := func(c change, more ...string) []string { return slices.Concat(scan, more, []string{u.signed(c)}) }
	for what, args := range map[string][]string{
		"by an index":     {good},
		"off-line":        {"--offline", "--git", u.cloned(), good},
		"pinned":          append(u.known()[1], "--pin", "sha256:"+strings.Repeat("a", 64), good),
		"too old":         append(u.known()[1], "--max-age", "1ns", good),
		"a fork":          scanned(func(g *claims.GitHub) { g.Repository, g.RepositoryID = "mallory/x", 0 }),
		"a branch":        scanned(func(g *claims.GitHub) { g.Ref = "refs/heads/v1" }),
		"another tag":     scanned(func(g *claims.GitHub) { g.Ref = "refs/tags/v2" }),
		"two numbers":     scanned(anew, good),
		"two owners":      scanned(sold, good),
		"a file too many": scanned(nil, u.tiles),
	} {
		code, out := newComputer(t).repopolicy(locking(args, "-R", u.url, "--tag", "v1", "-o", made)...)
		_, err := os.Stat(made)
		if code == 0 || code == policy.ClassInternal.Exit() || err == nil || strings.Contains(out, "wrote") {
			t.Errorf("%s: exit %d, %v\n%s", what, code, err, out)
		}
	}
	for _, how := range u.known() {
		out := lock(policy.ClassOK, how, good)
		numbers := fmt.Sprintf("number %d of the owner %d", u.job.RepositoryID, u.job.OwnerID)
		for _, w := range []string{"signed by " + strings.TrimPrefix(u.url, "https://github.com/") + " v1", numbers, ".github/workflows/release.yml"} {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
		data, err := os.ReadFile(made)
		check(t, err)
		var document any
		check(t, json.Unmarshal(data, &document))
		check(t, vectors.Schema(t, "lock-v1.json").Validate(document))
	}

	// With the old file the numbers stay, and workflows are added.
	out := lock(policy.ClassOK, scanned(publish), "--lock", made)
	if !strings.Contains(out, "publish.yml, which the old file does not name") {
		t.Error(out)
	}
	before, err := os.ReadFile(made)
	check(t, err)
	for _, file := range []string{u.signed(publish), good} {
		newComputer(t).must(policy.ClassOK, byLock(made, scan, "--tag", "v1", file)...)
	}
	lock(policy.ClassDeny, scanned(anew), "--lock", made)
	lock(policy.ClassDeny, scanned(sold), "--lock", made)
	other := u.edited(made, u.name, "acme/unruled-other")
	lock(policy.ClassUsage, scanned(nil), "--lock", other)
	if after, err := os.ReadFile(made); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed by what was refused: %v\n%s", err, after)
	}
	full := locking(scan, "-R", u.url, "--tag", "v1", "-o", "/dev/full", good)
	if _, err := os.Stat("/dev/full"); err == nil {
		newComputer(t).must(policy.ClassUnavailable, full...)
	}
}

// TestUnboundLock: what lock saw of a repository without a policy is demanded of its next releases,
// and lets nothing pass that would not pass without it.
func TestUnboundLock(t *testing.T) {
	u := newUnruled(t, "acme/unruled-locked")
	good := u.signed(nil)
	made := u.lock(good)
	verify := func(want policy.Class, file string, more ...string) string {
		t.Helper()
		out := ""
		for _, how := range u.known() {
			args := byLock(made, how, append(more, file)...)
			if !slices.Contains(more, "--tag") {
				args = append(args, "--tag", "v1")
			}
			out = newComputer(t).must(want, args...)
		}
		return out
	}
	if out := verify(policy.ClassOK, good); !strings.Contains(out, "a workflow that the lock file names") {
		t.Error(out)
	}
	verify(policy.ClassOK, good, "-R", u.url)
	verify(policy.ClassOK, u.signed(func(g *claims.GitHub) { g.Ref = "refs/tags/v2" }), "--tag", "v2")
	var document map[string]any
	check(t, json.Unmarshal([]byte(verify(policy.ClassOK, good, "--format", "json")), &document))
	check(t, vectors.Schema(t, "verdict-v1.json").Validate(document))
	if c, _ := document["criteria"].(map[string]any)["unbound"].(map[string]any); c["locked"] != true {
		t.Errorf("%v", c)
	}
	called := func(file string) string { return u.name + "/.github/workflows/" + file + "@refs/tags/v1" }
	for what, c := range map[string]change{
		"made anew":          anew,
		"handed on":          sold,
		"a renamed workflow": publish,
		"another caller":     func(g *claims.GitHub) { publish(g); g.JobWorkflow = called("release.yml") },
		"what others call":   func(g *claims.GitHub) { g.JobWorkflow = called("publish.yml") },
		"a self-hosted one":  func(g *claims.GitHub) { g.Runner = "self-hosted" },
		"a fork":             func(g *claims.GitHub) { g.Repository = "mallory/unruled" },
		"in upper case":      func(g *claims.GitHub) { g.Workflow = ".github/workflows/Release.yml" },
	} {
		if out := verify(policy.ClassDeny, u.signed(c)); !strings.Contains(out, "[unbound-denied]") {
			t.Errorf("%s: %s", what, out)
		}
	}
	// A lock of this kind is never a pass by itself.
	for _, how := range append(u.known(), []string{}) {
		args := append([]string{"verify", "--lock", made, "--tag", "v1", good}, how...)
		out := newComputer(t).must(policy.ClassNoPolicy, args...)
		if !strings.Contains(out, "hint: the lock file is of a repository without a policy") {
			t.Error(out)
		}
	}
	x := filepath.Join(t.TempDir(), "x")
	for _, verb := range [][]string{{"show"}, {"log"}, {"lock", "-o", x}, {"export-bundle", "-o", x}} {
		newComputer(t).must(policy.ClassNoPolicy, append(verb, "-R", u.url, "--lock", made)...)
	}
	// Nor across an air gap or off-line.
	for _, how := range [][]string{
		{"--airgap", u.empty()}, {"--airgap", u.empty(), "--require", "first,none"},
		{"-R", u.url, "--offline", "--git", u.cloned(), "--require", "first,none"},
	} {
		if passed, out := passes(t, byLock(made, how, "--tag", "v1", good)); passed {
			t.Errorf("%v: %s", how, out)
		}
	}
	// Nor where somebody gives no answer.
	undo, err := stack.Misbehave(sandbox.RekorV1, malice.Status{Code: 503})
	check(t, err)
	if passed, out := passes(t, byLock(made, u.known()[1], "--tag", "v1", good)); passed {
		t.Error(out)
	}
	check(t, undo())

	// Edited by hand.
	number, owner := fmt.Sprintf("%q", fmt.Sprint(u.job.RepositoryID)), fmt.Sprintf("%q", fmt.Sprint(u.job.OwnerID))
	swapped := u.edited(u.edited(u.edited(made, number, `"x"`), owner, number), `"x"`, owner)
	huge := `"` + strings.Repeat("9", 1<<20) + `"`
	for what, c := range map[string]struct {
		lock string
		want policy.Class
	}{
		"another number":     {u.edited(made, number, `"7"`), policy.ClassDeny},
		"another owner":      {u.edited(made, owner, `"7"`), policy.ClassDeny},
		"swapped":            {swapped, policy.ClassDeny},
		"zero":               {u.edited(made, number, `"0"`), policy.ClassUsage},
		"a leading zero":     {u.edited(made, number, `"0`+number[1:]), policy.ClassUsage},
		"text":               {u.edited(made, number, `"x"`), policy.ClassUsage},
		"huge":               {u.edited(made, number, huge), policy.ClassUsage},
		"another workflow":   {u.edited(made, "release.yml", "publish.yml"), policy.ClassDeny},
		"a workflow outside": {u.edited(made, "workflows/release.yml", "workflows/../x/release.yml"), policy.ClassUsage},
		"another repository": {u.edited(made, u.name, "acme/unruled-other"), policy.ClassUsage},
	} {
		for _, how := range u.known() {
			code, out := newComputer(t).repopolicy(byLock(c.lock, how, "-R", u.url, "--tag", "v1", good)...)
			if code != c.want.Exit() {
				t.Errorf("%s: exit %d\n%.2000s", what, code, out)
			}
		}
	}
	// The library: two locks are none, and a lock without the word for it lets nothing pass.
	client := &repopolicy.Client{
		TrustedRoots: []string{u.tiles}, StateDir: t.TempDir(), HTTP: stack.Transport(), Scan: true,
	}
	data, err := os.ReadFile(made)
	check(t, err)
	locked := repopolicy.Lock(data)
	_, err = client.Find(t.Context(), u.name, locked)
	isFault(t, err, policy.NoBinding)
	client.Unbound = "repository"
	_, err = client.Find(t.Context(), u.name, locked, locked)
	isFault(t, err, policy.Usage)
	_, err = client.Find(t.Context(), u.name, locked)
	check(t, err)
}

func isFault(t *testing.T, err error, want policy.Reason) {
	t.Helper()
	var f *policy.Fault
	if !errors.As(err, &f) || f.Reason != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestUnboundLockThenBound: a policy that was bound since the lock judges alone, of the same numbers
// or not at all; and nothing leads back.
func TestUnboundLockThenBound(t *testing.T) {
	u := newUnruled(t, "acme/unruled-then-ruled")
	before := u.signed(ruledBy)
	lock := u.lock(before)
	otherNumber := u.edited(lock, fmt.Sprintf("%q", fmt.Sprint(u.job.RepositoryID)), `"7"`)
	otherOwner := u.edited(lock, fmt.Sprintf("%q", fmt.Sprint(u.job.OwnerID)), `"7"`)
	u.write(".repopolicy/policy.toml", string(policyText(u.name, 1, 1, "alice")))
	u.push()
	maintainer := newComputer(t)
	u.signAs(maintainer, "alice")
	good, ruled := u.signed(nil), u.signed(ruledBy)
	if passed, out := passes(t, byLock(lock, u.known()[1], "--tag", "v1", good)); passed {
		t.Errorf("the directory does not know it yet, the index does: %s", out)
	}
	u.asked.build()
	for _, how := range append(u.known(), []string{}) {
		for _, unbound := range [][]string{nil, {"--unbound", "repository"}} {
			run := func(want policy.Class, lock, file string) string {
				t.Helper()
				args := []string{"verify", "--lock", lock, "--tag", "v1", file}
				return newComputer(t).must(want, slices.Concat(args, how, unbound)...)
			}
			for file, why := range map[string]string{good: "[rule-mismatch]", before: "[before-genesis]"} {
				if out := run(policy.ClassDeny, lock, file); !strings.Contains(out, why) {
					t.Error(out)
				}
			}
			if out := run(policy.ClassOK, lock, ruled); !strings.Contains(out, "released by ") {
				t.Error(out)
			}
			for bad, why := range map[string]string{otherNumber: "bound version 1", otherOwner: "owned it"} {
				for _, file := range []string{good, ruled} {
					out := run(policy.ClassAlarm, bad, file)
					if !strings.Contains(out, why) || !strings.Contains(out, "a new lock file pins their policy") {
						t.Error(out)
					}
				}
			}
		}
	}
	u.lockOfPolicy(lock, otherNumber, good, ruled)
	// Across an air gap the policy alone counts as well, of the numbers.
	carried := filepath.Join(t.TempDir(), "widget.airgap")
	newComputer(t).must(policy.ClassOK, "export-bundle", "-R", u.url, "--lock", lock, "-o", carried)
	across := []string{"--airgap", carried, "--require", "none"}
	for l, want := range map[string]policy.Class{
		lock: policy.ClassOK, otherNumber: policy.ClassAlarm, otherOwner: policy.ClassAlarm,
	} {
		newComputer(t).must(want, append([]string{"verify", "--lock", l, "--tag", "v1", ruled}, across...)...)
		newComputer(t).must(want, byLock(l, across, "--tag", "v1", ruled)...)
	}

	// The policy ends its releases, and then everything that shows it is taken away. What it allowed before
	// stays allowed by it, and nothing without it.
	ends, _, _ := strings.Cut(string(policyText(u.name, 2, 1, "alice")), "\n[[release]]")
	u.write(".repopolicy/policy.toml", strings.Replace(ends, "expires ", "tombstone  = true\nexpires ", 1))
	u.push()
	u.signAs(maintainer, "alice")
	for _, how := range [][]string{u.known()[0], {}} {
		out := newComputer(t).must(policy.ClassDeny, byLock(lock, how, "--tag", "v1", good)...)
		if !strings.Contains(out, "policy-ended") {
			t.Error(out)
		}
	}
	u.asked.build()
	u.forget()
	late := u.signed(ruledBy)
	for _, how := range append(u.known(), []string{}) {
		for _, file := range []string{good, ruled, late} {
			code, out := newComputer(t).repopolicy(byLock(lock, how, "--tag", "v1", file)...)
			if code == 0 && file != ruled || strings.Contains(out, "allowed-unbound") {
				t.Errorf("%v: %s", how, out)
			}
			args := locking(how, "-R", u.url, "--tag", "v1", "-o", filepath.Join(t.TempDir(), "x"), file)
			if passed, out := passes(t, args); passed {
				t.Errorf("%v: %s", how, out)
			}
		}
	}
}

// lockOfPolicy: a lock of before the policy becomes one of the policy, and it is never written that
// nothing is bound.
func (u *unruled) lockOfPolicy(lock, otherNumber, good, ruled string) {
	t, scan := u.t, u.known()[0]
	t.Helper()
	made := filepath.Join(t.TempDir(), "made.lock")
	for _, args := range [][]string{
		locking(scan, "-R", u.url, "--tag", "v1", "-o", made, ruled),
		locking(scan, "--lock", lock, "--tag", "v1", "-o", made, ruled),
	} {
		out := newComputer(t).must(policy.ClassUsage, args...)
		if !strings.Contains(out, "has bound a policy, which alone counts") {
			t.Error(out)
		}
	}
	for _, verb := range [][]string{{"show"}, {"log"}, {"lock", "-o", made}, {"export-bundle", "-o", made}} {
		newComputer(t).must(policy.ClassAlarm, append(verb, "-R", u.url, "--lock", otherNumber)...)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("a lock file was written")
	}
	newComputer(t).must(policy.ClassOK, "lock", "--lock", lock, "-o", made)
	newComputer(t).must(policy.ClassOK, byLock(made, nil, "--tag", "v1", ruled)...)
	newComputer(t).must(policy.ClassDeny, byLock(made, nil, "--tag", "v1", good)...)
	newComputer(t).must(policy.ClassUsage, locking(scan, "--lock", made, "--tag", "v1", "-o", made, ruled)...)
}

// TestUnboundLockMoved: a lock goes with the name and the numbers, whoever takes the name over.
func TestUnboundLockMoved(t *testing.T) {
	const name, now = "acme/unruled-moves", "acme/unruled-moved"
	u := newUnruled(t, name)
	lock := u.lock(u.signed(nil))
	verify := func(want policy.Class, repo, lock, file string) string {
		t.Helper()
		return newComputer(t).must(want, byLock(lock, u.known()[0], "-R", repo, "--tag", "v1", file)...)
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
	ruled := u.signed(ruledBy)
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1", ruled)
	verify(policy.ClassAlarm, name, lock, ruled)
	newComputer(t).must(policy.ClassAlarm, "verify", "--lock", lock, "--tag", "v1", ruled)

	// The repository goes to another owner.
	const gone = "mallory/unruled-moved"
	check(t, stack.Forge().Move(now, gone))
	u.ids(gone)
	u.job.Repository = now
	if out := verify(policy.ClassDeny, now, relocked, u.signed(nil)); !strings.Contains(out, "owner-id") {
		t.Error(out)
	}
}

// TestUnboundPublished: the release of a repository without a policy by its address: who signed it is
// said, and no command is made of that; it can be locked and judged.
func TestUnboundPublished(t *testing.T) {
	u := newUnruled(t, "acme/unruled-published")
	f := stack.Forge()
	sign := func(text string, who claims.Claims) string { return string(signBlob(t, []byte(text), who)) }
	one := sign("one", u.job)
	check(t, f.Release(u.name, "v1", map[string]string{
		"widget_1.tar.gz": "one", "widget_1.tar.gz.sigstore.json": one,
		"widget_2.tar.gz": "two", "widget_2.tar.gz.sigstore.json": sign("two", u.job),
	}))
	page := u.url + "/releases/tag/v1"
	says := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
		for _, never := range []string{"--certificate-identity", "verify -R", "allowed", "claims"} {
			if strings.Contains(out, never) {
				t.Errorf("%q in\n%s", never, out)
			}
		}
	}
	number := fmt.Sprintf("number     %d", u.job.RepositoryID)
	for _, how := range append(u.known(), []string{}, []string{"--unbound", "repository"}) { // the last knows too little
		out := newComputer(t).must(policy.ClassNoPolicy, append([]string{"verify", page}, how...)...)
		says(out, ".tar.gz and 1 more: verified to be signed by the following; no policy says whether it may", number,
			u.name+"/.github/workflows/release.yml@refs/tags/v1", fmt.Sprintf("owner      %d", u.job.OwnerID), "time ")
	}
	out := newComputer(t).must(policy.ClassNoPolicy, "explain", u.url+"/releases/download/v1/widget_2.tar.gz")
	says(out, "widget_2.tar.gz: verified to be signed by", number)
	for _, more := range [][]string{{"--format", "json"}, {"--format", "sarif"}, {"-q"}} {
		out := newComputer(t).must(policy.ClassNoPolicy, append([]string{"verify", page}, more...)...)
		if strings.Contains(out, "to be signed by") {
			t.Error(out)
		}
	}
	// What does not verify is not shown: changed bytes, a changed signature.
	check(t, f.Release(u.name, "v2", map[string]string{
		"widget_1.tar.gz": "changed", "widget_1.tar.gz.sigstore.json": one,
		"widget_2.tar.gz": "one", "widget_2.tar.gz.sigstore.json": changedSignature(t, one),
	}))
	out = newComputer(t).must(policy.ClassNoPolicy, "verify", u.url+"/releases/tag/v2")
	says(out, "no evidence that verifies was found")
	if strings.Contains(out, "release.yml@") {
		t.Error(out)
	}
	// Whoever signed is shown, and of many the first.
	files := map[string]string{}
	for i := range 12 {
		name, text := fmt.Sprintf("widget_%02d.tar.gz", i), fmt.Sprint(i)
		who := claims.Email{Address: fmt.Sprintf("somebody-%d@example.com", i)}
		files[name], files[name+".sigstore.json"] = text, sign(text, who)
	}
	check(t, f.Release(u.name, "v3", files))
	out = newComputer(t).must(policy.ClassNoPolicy, "verify", u.url+"/releases/tag/v3")
	says(out, "of 12 artifacts the first 8 are looked at", "somebody-")
	if n := strings.Count(out, "verified to be signed by"); n != 8 {
		t.Errorf("%d signers\n%s", n, out)
	}
	// A forge that gives no answer, or no end of it, changes nothing but what is shown.
	for _, fault := range []malice.Fault{
		malice.Status{Code: 503}, malice.Reset{}, malice.WrongType{}, malice.GzipBomb{Size: 64 << 20},
	} {
		for _, path := range []string{"/repos/", "/" + u.name + "/releases/", "/github-production-release-asset/"} {
			undo, err := stack.Misbehave(sandbox.Forge, malice.On{Path: path, Fault: fault})
			check(t, err)
			start := time.Now()
			out := newComputer(t).must(policy.ClassNoPolicy, "verify", page)
			if took := time.Since(start); took > 90*time.Second {
				t.Errorf("%T at %s: it took %s", fault, path, took)
			}
			_, none := fault.(malice.Status)
			unknown := strings.Contains(out, "note: who signed is not known")
			if none && (strings.Contains(out, "verified to be signed by") || !unknown) {
				t.Errorf("%T at %s: %s", fault, path, out)
			}
			check(t, undo())
		}
	}

	// It can be locked by its address, and judged by that.
	lock := filepath.Join(t.TempDir(), "widget.lock")
	newComputer(t).must(policy.ClassOK, locking(u.known()[1], "-o", lock, page)...)
	newComputer(t).must(policy.ClassOK, byLock(lock, u.known()[1], page)...)
	newComputer(t).must(policy.ClassDeny, byLock(lock, u.known()[1], u.url+"/releases/tag/v3")...)
}

// changedSignature returns a bundle whose signature has another byte.
func changedSignature(t *testing.T, bundle string) string {
	t.Helper()
	var b map[string]any
	check(t, json.Unmarshal([]byte(bundle), &b))
	m := b["messageSignature"].(map[string]any)
	s := []byte(m["signature"].(string))
	s[len(s)/2] = map[bool]byte{true: 'B', false: 'A'}[s[len(s)/2] == 'A']
	m["signature"] = string(s)
	data, err := json.Marshal(b)
	check(t, err)
	return string(data)
}
