// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// trustConfig writes a configuration that names both stacks' TUF repositories, each
// pinned to its first root, and what else is said.
func trustConfig(t testing.TB, other *sandbox.Stack, scopes string) string {
	t.Helper()
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString("format = \"repopolicy-trust/v1\"\n")
	for name, s := range map[string]*sandbox.Stack{"first": stack, "second": other} {
		root, err := s.TUFRoot()
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, name+".root.json"), root, 0o600))
		fmt.Fprintf(&text, "\n[[root]]\nname = %q\nurl = %q\ninitial = %q\n", name, s.URL(sandbox.TUF),
			name+".root.json")
	}
	check(t, os.WriteFile(filepath.Join(dir, "trust.toml"), []byte(text.String()+scopes), 0o600))
	return dir
}

// TestRoots: one repository whose policy is bound and whose releases are signed at two
// instances of Sigstore, under what users may say about them.
func TestRoots(t *testing.T) {
	other, err := sandbox.Start(context.WithoutCancel(t.Context()), t.TempDir(), sandbox.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	const name = "acme/two-roots"
	url := "https://github.com/" + name
	both := "\n[[scope]]\nrepositories = [\"" + url + "\"]\nroots = [\"first\", \"second\"]\nthreshold = 2\n"
	either := strings.Replace(both, "threshold = 2", "threshold = 1", 1)
	user := func(scopes string) *computer {
		c := newComputer(t)
		c.config = trustConfig(t, other, scopes)
		return c
	}
	k := newKeeper(t)
	listed := artifact(t, "widget_1.zip")
	k.do("add", "widget/v1/widget_1.zip="+listed)
	k.publish()
	foundation := fmt.Sprintf("\n[[root]]\nname = \"foundation\"\nurl = %q\ninitial = %q\n", filepath.Join(k.dir,
		"repository"), filepath.Join(k.config, "1.root.json"))
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1,
		"alice"))+fmt.Sprintf("\n[[release]]\nname = \"tuf\"\ntags = [\"v*\"]\nartifacts = [\"*.zip\"]\n"+
		"tuf = { root = %q, role = \"targets\", path = \"widget/{tag}/{name}\" }\n", k.name()))
	p.push()
	repo, err := stack.Forge().Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID,
		Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
	maintainer, made := user(either), t.TempDir()
	for name, s := range map[string]*sandbox.Stack{"first": stack, "second": other} {
		maintainer.env["SIGSTORE_ID_TOKEN"], err = s.Token(alice)
		check(t, err)
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes", "--trust-root", name)
	}
	p.push()
	for name, s := range map[string]*sandbox.Stack{"first": stack, "second": other} {
		maintainer.env["SIGSTORE_ID_TOKEN"], err = s.Token(job)
		check(t, err)
		maintainer.must(policy.ClassOK, "bind", "--git", p.dir, "--output", made, "--trust-root", name)
	}
	maintainer.must(policy.ClassUsage, "bind", "--git", p.dir) // under which of them?
	branch := filepath.Join(t.TempDir(), "branch")
	git(t, ".", "clone", "-q", stack.Forge().CloneURL(name), branch)
	git(t, branch, "switch", "-q", "--orphan", "repopolicy")
	check(t, os.CopyFS(branch, os.DirFS(made)))
	git(t, branch, "add", "-A")
	git(t, branch, "commit", "-q", "-m", "bound")
	git(t, branch, "push", "-q", "origin", "HEAD:refs/heads/repopolicy")

	release := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1",
		Environment: "release"}
	const content = "widget"
	at := func(bundles ...[]byte) string {
		path := filepath.Join(t.TempDir(), "widget_1.tar.gz")
		check(t, os.WriteFile(path, []byte(content), 0o600))
		check(t, os.WriteFile(path+".sigstore.jsonl", append(bytes.Join(bundles, []byte("\n")), '\n'), 0o600))
		return path
	}
	first, second := signBlobAt(t, stack, stack, []byte(content), release), signBlobAt(t, other, other,
		[]byte(content), release)
	// What passes under a union of both roots and under neither of them.
	mixed, mixed2 := signBlobAt(t, stack, other, []byte(content), release), signBlobAt(t, other, stack,
		[]byte(content), release)

	for what, row := range map[string]struct {
		scopes  string
		bundles [][]byte
		want    policy.Class
	}{
		"both of two":                        {both, [][]byte{first, second}, policy.ClassOK},
		"the first of two":                   {both, [][]byte{first}, policy.ClassDeny},
		"the second of two":                  {both, [][]byte{second}, policy.ClassDeny},
		"one of either":                      {either, [][]byte{second}, policy.ClassOK},
		"one and nobody else's":              {either, [][]byte{first}, policy.ClassOK},
		"a certificate of one, a log of two": {either, [][]byte{mixed}, policy.ClassDeny},
		"the other way around":               {either, [][]byte{mixed2}, policy.ClassDeny},
		"both ways and one that is whole":    {both, [][]byte{mixed, mixed2, first}, policy.ClassDeny},
	} {
		out := user(row.scopes).must(row.want, "verify", "-v", "-R", url, "--tag", "v1", at(row.bundles...))
		if row.want == policy.ClassOK && !strings.Contains(out, "of first, second, each alone") {
			t.Errorf("%s: the verdict does not say under what\n%s", what, out)
		}
	}
	// A root that is none of the two speaks for one, but not for both.
	for scopes, want := range map[string]policy.Class{either: policy.ClassOK, both: policy.ClassDeny} {
		out := user(scopes+foundation).must(want, "verify", "-R", url, "--tag", "v1", listed)
		if want == policy.ClassDeny && !strings.Contains(out, "each by itself") {
			t.Errorf("the denial does not say why\n%s", out)
		}
	}
	swapped := strings.Replace(either, `"first", "second"`, `"second"`, 1)
	user(swapped).must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", at(second))
	user(swapped).must(policy.ClassDeny, "verify", "-R", url, "--tag", "v1", at(first))

	// By itself a root of the user's speaks for no repository of a public host.
	for _, args := range [][]string{{"--trust-root", "second"}, {"--trust-root", "first"}} {
		out := user("").must(policy.ClassUsage, append([]string{"verify", "-R", url, at(second)}, args...)...)
		if !strings.Contains(out, "does not speak for") {
			t.Error(out)
		}
	}
	user(either).must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", "--trust-root", "second", at(second))
	user(either).must(policy.ClassUsage, "verify", "-R", url, "--trust-root", "third", at(second))

	// A scope that is left where nothing is bound, for the public instance's root.
	const elsewhere = "acme/two-roots-later"
	q := newProject(t, elsewhere)
	q.write(".repopolicy/policy.toml", string(policyText(elsewhere, 1, 1, "alice")))
	q.push()
	c := newComputer(t)
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", q.dir, "--yes")
	q.push()
	check(t, q.dispatch("repository_dispatch"))
	repo, err = stack.Forge().Find(elsewhere)
	check(t, err)
	good := releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: elsewhere, RepositoryID: repo.ID,
		OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"})
	only := "\n[[scope]]\nrepositories = [\"https://github.com/acme/*\"]\nroots = [\"second\"]\n"
	user(only).must(policy.ClassNoPolicy, "verify", "-R", "https://github.com/"+elsewhere, "--tag", "v1", good)
	user(only+"continue = true\n").must(policy.ClassOK, "verify", "-R", "https://github.com/"+elsewhere, "--tag",
		"v1", good)

	// A root that gives no answer might know a policy, and one that knows one does not
	// leave the scope because another knows none.
	down := "\n[[root]]\nname = \"down\"\nurl = \"https://down.invalid\"\ninitial = \"first.root.json\"\n"
	for _, order := range []string{`"second", "down"`, `"down", "second"`} {
		user(down+strings.Replace(only,
			`"second"`, order, 1)+"threshold = 1\ncontinue = true\n").must(policy.ClassUnavailable, "verify", "-R", "https://github.com/"+elsewhere, "--tag", "v1", good)
	}
	user(strings.Replace(only,
		`"second"`, `"second", "first"`, 1)+"threshold = 2\ncontinue = true\n").must(policy.ClassNoPolicy, "verify", "-R", "https://github.com/"+elsewhere, "--tag", "v1", good)

	// Nor does an answer of any age leave it.
	away := filepath.Join(t.TempDir(), "clone")
	git(t, ".", "clone", "-q", "--no-single-branch", stack.Forge().CloneURL(elsewhere), away)
	known := user(only + "continue = true\n")
	args := []string{"verify", "-R", "https://github.com/" + elsewhere, "--tag", "v1", "--git", away, good}
	known.must(policy.ClassOK, args...) // and trusted roots are cached
	args = append(args, "--offline", "--require", "none")
	if out := known.must(policy.ClassNoPolicy, args...); !strings.Contains(out, "--trust-root") {
		t.Error(out)
	}
	known.must(policy.ClassOK, append(args, "--trust-root", "public-good")...)

	// Whoever pinned the first root follows a rotation, also with an old cache and, from
	// then on, without a network.
	known = user(swapped)
	known.must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", at(second))
	check(t, other.RotateTUFRoot())
	known.must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", at(second))
	late := newComputer(t)
	late.config = known.config // pinned before
	late.must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", at(second))
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, ".", "clone", "-q", "--no-single-branch", stack.Forge().CloneURL(name), clone)
	late.must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", "--offline", "--git", clone, "--require", "none",
		at(second))
}
