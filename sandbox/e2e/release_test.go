// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// pushSelf puts this very tree onto the forge, without what tests it, and with
// release.yml using the action of its first commit.
func pushSelf(t *testing.T, name string) *project {
	t.Helper()
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	git(t, p.dir, "config", "http.postBuffer", "100000000") // in one piece, as CGI demands
	files := git(t, "../..", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for _, file := range strings.Split(strings.TrimSuffix(files, "\x00"), "\x00") {
		if strings.Contains(file, "testdata/") || strings.HasPrefix(file, "sandbox/") || strings.HasSuffix(file, "_test.go") || file == ".github/workflows/ci.yml" {
			continue
		}
		from := filepath.Join("../..", file)
		info, err := os.Lstat(from)
		if err != nil || !info.Mode().IsRegular() { // removed and not committed
			continue
		}
		data, err := os.ReadFile(from)
		check(t, err)
		to := filepath.Join(p.dir, file)
		check(t, os.MkdirAll(filepath.Dir(to), 0o700))
		check(t, os.WriteFile(to, data, info.Mode().Perm()))
	}
	p.push()
	first := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	const file = ".github/workflows/release.yml"
	data, err := os.ReadFile(filepath.Join(p.dir, file))
	check(t, err)
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if before, _, ok := strings.Cut(line, "repopolicy/repopolicy@"); ok {
			lines[i] = before + "repopolicy/repopolicy@" + first + " # v0"
		}
	}
	p.write(file, strings.Join(lines, "\n"))
	p.push()
	return p
}

// TestOwnRelease releases this program by its own workflows under its own policy,
// from the first binding to a stranger who verifies what was published.
func TestOwnRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	const name = "repopolicy/repopolicy"
	p := pushSelf(t, name)
	a := newActions(t, name)
	goTool, err := exec.LookPath("go")
	check(t, err)
	cache, err := exec.Command(goTool, "env", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB").Output()
	check(t, err)
	for i, value := range strings.Split(strings.TrimSuffix(string(cache), "\n"), "\n") {
		a.env[[]string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB"}[i]] = value
	}
	a.env["E2E_GO"], a.env["TARGETS"] = goTool, "linux/amd64"

	// Nothing is bound: the release is refused before anything is signed.
	git(t, p.dir, "tag", "v0.0.9")
	git(t, p.dir, "push", "-q", "origin", "v0.0.9")
	early := a.fire(forge.Event{Name: "push", Ref: "refs/tags/v0.0.9"})
	if d := cmp.Diff([]string{"build success", "sign failure"}, early); d != "" || !strings.Contains(a.out.String(), "NO_POLICY") {
		t.Fatalf("%s\n%s", d, a.out.String())
	}

	if d := cmp.Diff([]string{"quorum success", "dispatch success", "bind success", "publish success"}, a.trigger("push", "")); d != "" {
		t.Fatalf("%s\n%s", d, a.out.String())
	}
	git(t, p.dir, "tag", "v0.1.0")
	git(t, p.dir, "push", "-q", "origin", "v0.1.0")
	a.out.Reset()
	ended := a.fire(forge.Event{Name: "push", Ref: "refs/tags/v0.1.0"})
	if d := cmp.Diff([]string{"build success", "sign success", "draft success", "collect success", "check success", "publish success"}, ended); d != "" {
		t.Fatalf("%s\n%s", d, a.out.String())
	}
	for _, job := range []string{"sign", "check"} {
		if !strings.Contains(a.summaries[job], "repopolicy") {
			t.Errorf("%s wrote no summary: %q", job, a.summaries[job])
		}
	}
	stranger := newComputer(t)
	out := stranger.must(policy.ClassOK, "verify", "https://github.com/"+name+"/releases/tag/v0.1.0")
	for _, want := range []string{
		"repopolicy_0.1.0_linux_amd64.tar.gz", "repopolicy_0.1.0.cdx.json",
		"repopolicy-trust_0.1.0_linux_amd64.tar.gz", "repopolicy-trust_0.1.0.cdx.json", "SHA256SUMS",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	// Whoever may write changes the draft, before it is checked and after that.
	a.env["TARGETS"] = " " // nothing but the list of what is in the program
	for i, row := range []struct{ before, failed, says string }{
		{"collect", "check", "draft/SHA256SUMS: "}, {"publish", "publish", "the draft is not what was checked"},
	} {
		tag := fmt.Sprintf("v0.2.%d", i)
		git(t, p.dir, "tag", tag)
		git(t, p.dir, "push", "-q", "origin", tag)
		f := stack.Forge()
		a.before = map[string]func(){row.before: func() {
			check(t, f.Remove(name, tag, "SHA256SUMS"))
			_, err := f.Upload(name, tag, "SHA256SUMS", strings.NewReader("evil"))
			check(t, err)
		}}
		a.out.Reset()
		ended := a.fire(forge.Event{Name: "push", Ref: "refs/tags/" + tag})
		if last := ended[len(ended)-1]; last != row.failed+" failure" || !strings.Contains(a.out.String(), row.says) {
			t.Errorf("%v\n%s", ended, a.out.String())
		}
		if code, out := stranger.repopolicy("verify", "https://github.com/"+name+"/releases/tag/"+tag); code == 0 {
			t.Error(out)
		}
	}

	// Another project calls the workflow, as docs/ci.md says.
	commit := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	const caller = "acme/calls"
	other, b := ruled(t, "https://github.com/"+caller, at(pasted(t, "toml caller"), `signer-digest = "`, `signer-digest = "`+commit),
		map[string]string{".github/workflows/release.yml": at(pasted(t, "yaml caller"), "release.yml@", "release.yml@"+commit)})
	other.tag("v1.0.0")
	want := []string{"release/build success", "release/sign success", "release/draft success", "release/collect success", "release/check success", "release/publish success"}
	if d := cmp.Diff(want, b.fire(forge.Event{Name: "push", Ref: "refs/tags/v1.0.0"})); d != "" {
		t.Fatalf("%s\n%s", d, b.out.String())
	}
	stranger.must(policy.ClassOK, "verify", "https://github.com/"+caller+"/releases/tag/v1.0.0")
}
