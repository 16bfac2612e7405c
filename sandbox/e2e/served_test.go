// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestRenamedInWorld: a release is judged under the name that its repository had. GitHub's API tells
// the number that the policy is bound to, or nothing is judged.
func TestRenamedInWorld(t *testing.T) {
	const old, name, other, file = "acme/served-before", "acme/served-after", "acme/served-other", "widget_1.tar.gz"
	bound(t, old)
	f := stack.Forge()
	check(t, f.Release(old, "v1", map[string]string{file: "one"}))
	attest(t, old, "v1", file, "one")
	before, err := f.Find(old)
	check(t, err)
	foreign, err := f.Create(other)
	check(t, err)
	_, err = f.Commit(other, "main", map[string]string{"README": "x"})
	check(t, err)
	check(t, f.Release(other, "v1", map[string]string{file: "one"}))
	check(t, f.Move(old, name))
	const url = "https://github.com/" + old + "/releases/tag/v1"
	to := func(address string, number int64) malice.Fault {
		return malice.Redirect{To: fmt.Sprintf("%s/%d", address, number)}
	}
	const api = "https://api.github.com/repositories"
	for what, c := range map[string]struct {
		fault malice.Fault // of the API at the old name
		store bool
		limit int
		want  policy.Class
		says  string
	}{
		"as GitHub does":      {want: policy.ClassOK, says: fmt.Sprint("repository number ", before.ID)},
		"and at an address":   {store: true, want: policy.ClassOK, says: fmt.Sprint("repository number ", before.ID)},
		"asked too often":     {limit: 3, want: policy.ClassUnavailable, says: "--github-token"},
		"another number":      {fault: to(api, foreign.ID), want: policy.ClassUnavailable},
		"a number of nothing": {fault: to(api, 1), want: policy.ClassUnavailable},
		"another host":        {fault: to("https://evil.example/repositories", before.ID), want: policy.ClassUnavailable},
		"http":                {fault: to("http://api.github.com/repositories", before.ID), want: policy.ClassUnavailable},
		"its new name":        {fault: malice.Redirect{To: "https://api.github.com/repos/" + name + "#"}, want: policy.ClassUnavailable},
		"another repository":  {fault: malice.Redirect{To: "https://api.github.com/repos/" + other + "#"}, want: policy.ClassUnavailable},
		"gone":                {fault: malice.Status{Code: 404}, want: policy.ClassUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			m := forge.Manner{}
			if c.store {
				m.Stored = &forge.Storage{}
			}
			if c.limit > 0 {
				m.Limit = &forge.Limit{Requests: c.limit, Status: 403, Header: map[string][]string{"X-Ratelimit-Remaining": {"0"}}}
			}
			defer f.Behave(m)()
			if c.fault != nil {
				defer misbehaves(t, "/repos/"+old+"/", c.fault)()
			}
			user, heard := listener(t)
			code, out := user.repopolicy("verify", url)
			if code != c.want.Exit() || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %s and %q\n%s\nasked %s", code, c.want, c.says, out, heard.urls)
			}
		})
	}

	// Whoever makes a repository of the old name has another number, and no policy.
	_, err = f.Create(old)
	check(t, err)
	_, err = f.Commit(old, "main", map[string]string{"README": "x"})
	check(t, err)
	check(t, f.Release(old, "v1", map[string]string{file: "one"}))
	user, _ := listener(t)
	if code, out := user.repopolicy("verify", url); code == 0 {
		t.Errorf("the name was taken by another repository:\n%s", out)
	}
}

// TestPrivateInWorld: what is private is seen by who shows a token, and nobody else is told that
// there is something.
func TestPrivateInWorld(t *testing.T) {
	const name, file = "acme/served-private", "widget_1.tar.gz"
	bound(t, name)
	f := stack.Forge()
	check(t, f.Release(name, "v1", map[string]string{file: "one"}))
	attest(t, name, "v1", file, "one")
	here := filepath.Join(t.TempDir(), file)
	check(t, os.WriteFile(here, []byte("one"), 0o600))
	check(t, f.SetVisibility(name, "private"))
	const url, show = "https://github.com/" + name + "/releases/tag/v1", "--github-token"
	for what, c := range map[string]struct {
		args  []string
		token string
		want  policy.Class
		says  string
	}{
		"a file":                   {args: []string{"-R", name, here}, token: forge.ReadToken, want: policy.ClassDeny},
		"a file, with a token":     {args: []string{show, "-R", name, here}, token: forge.ReadToken, want: policy.ClassOK},
		"a file, with a wrong one": {args: []string{show, "-R", name, here}, token: "wrong", want: policy.ClassUnavailable, says: "does not accept the token"},
		"a release":                {args: []string{url}, want: policy.ClassUnavailable, says: "what is private, too: " + show},
		"a release, with a token": {
			args: []string{show, url}, token: forge.ReadToken, want: policy.ClassUnavailable, says: "`gh release download`",
		},
		"a file of it, with a token": {
			args: []string{show, "https://github.com/" + name + "/releases/download/v1/" + file}, token: forge.ReadToken,
			want: policy.ClassUnavailable, says: "`gh release download`",
		},
		"a release, with a wrong token": {
			args: []string{show, url}, token: "wrong", want: policy.ClassUnavailable, says: "does not accept the token",
		},
	} {
		t.Run(what, func(t *testing.T) {
			user, heard := listener(t)
			user.env["GITHUB_TOKEN"] = c.token
			code, out := user.repopolicy(append([]string{"verify"}, c.args...)...)
			if code != c.want.Exit() || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %s and %q\n%s\nasked %s", code, c.want, c.says, out, heard.urls)
			}
		})
	}
}

// TestPackagesInWorld: registries of packages that have nothing, or a page where they should have
// something.
func TestPackagesInWorld(t *testing.T) {
	const name = "acme/packed"
	_, err := stack.Forge().Create(name)
	check(t, err)
	const purl = "pkg:npm/%40acme/packed@1.0.0"
	const wheel = "packed-1.0.0-py3-none-any.whl"
	f := stack.Forge()
	list := func(bundle []byte) []byte {
		data, err := json.Marshal(map[string]any{"attestations": []any{map[string]any{"bundle": json.RawMessage(bundle)}}})
		check(t, err)
		return data
	}
	repo, err := f.Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"}
	good := list(signStatement(t, purl, "sha512", sha512Hex("tarball"), job))
	rules := strings.Replace(string(policyText(name, 1, 1, "alice")), `"widget_*.tar.gz"`, `"pkg:npm/%40acme/packed@*", "packed-*.whl"`, 1)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "policy.toml"), []byte(rules), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, wheel), []byte("a wheel"), 0o600))
	const at = "/-/npm/v1/attestations/"
	for what, c := range map[string]struct {
		answer []byte // of the registry about attestations; nil for none
		fault  malice.Fault
		want   policy.Reason
		says   string
	}{
		"its provenance":           {answer: good, want: policy.Allowed},
		"none":                     {want: policy.NoEvidence, says: "the registry"},
		"an empty list":            {answer: []byte(`{"attestations":[]}`), want: policy.NoEvidence, says: "the registry"},
		"an empty list and a word": {answer: []byte(`{"attestations":[],"total":1}`), want: policy.BundleInvalid},
		"null":                     {answer: []byte(`{"attestations":null}`), want: policy.BundleInvalid},
		"a page":                   {answer: good, fault: malice.WrongType{}, want: policy.EvidenceUnreachable, says: "does a proxy want a login?"},
		"nothing":                  {answer: good, fault: malice.Empty{}, want: policy.BundleInvalid},
		"half":                     {answer: good, fault: malice.Half{}, want: policy.BundleInvalid},
		"cut":                      {answer: good, fault: malice.Truncate{After: 50}, want: policy.EvidenceUnreachable},
		"without end":              {answer: good, fault: malice.Endless{}, want: policy.EvidenceUnreachable},
		"shut":                     {answer: good, fault: malice.Status{Code: 403}, want: policy.EvidenceUnreachable},
		"wants a login":            {answer: good, fault: malice.Status{Code: 401}, want: policy.EvidenceUnreachable},
		"gone":                     {answer: good, fault: malice.Status{Code: 410}, want: policy.NoEvidence},
		"too many":                 {answer: good, fault: malice.Status{Code: 429}, want: policy.EvidenceUnreachable},
		"sent on":                  {answer: good, fault: malice.Redirect{To: "https://evil.example"}, want: policy.EvidenceUnreachable},
	} {
		t.Run(what, func(t *testing.T) {
			f.PublishNPM("@acme/packed", "1.0.0", []byte("tarball"), nil)
			f.PublishNPM("@acme/packed", "1.0.0", []byte("tarball"), c.answer)
			if c.fault != nil {
				defer misbehaves(t, at, c.fault)()
			}
			user, heard := listener(t)
			code, out := user.repopolicy("verify", "--policy", filepath.Join(dir, "policy.toml"), "--trusted-root", user.root, purl)
			reason := "[" + string(c.want) + "]"
			if c.want == policy.Allowed {
				reason = "allowed by rule binaries"
			}
			if code != c.want.Class().Exit() || !strings.Contains(out, reason) || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %s and %q\n%s\nasked %s", code, c.want, c.says, out, heard.urls)
			}
			to := t.TempDir()
			code, _ = user.repopolicy("verify", "--download", to, "--policy", filepath.Join(dir, "policy.toml"), "--trusted-root", user.root, purl)
			if left, err := os.ReadDir(to); err != nil || (len(left) == 1) != (code == 0) {
				t.Errorf("exit %d: downloaded %v %v", code, left, err)
			}
		})
	}
}
