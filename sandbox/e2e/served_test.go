// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
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
		"its new name": {fault: malice.Redirect{To: "https://api.github.com/repos/" + name + "#"},
			want: policy.ClassUnavailable},
		"another repository": {fault: malice.Redirect{To: "https://api.github.com/repos/" + other + "#"},
			want: policy.ClassUnavailable},
		"gone": {fault: malice.Status{Code: 404}, want: policy.ClassUnavailable},
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
		"a file":               {args: []string{"-R", name, here}, token: forge.ReadToken, want: policy.ClassDeny},
		"a file, with a token": {args: []string{show, "-R", name, here}, token: forge.ReadToken, want: policy.ClassOK},
		"a file, with a wrong one": {args: []string{show, "-R", name, here}, token: "wrong", want: policy.ClassUnavailable,
			says: "does not accept the token"},
		"a release": {args: []string{url}, want: policy.ClassUnavailable, says: "what is private, too: " +
			show},
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
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1",
		Environment: "release"}
	good := list(signStatement(t, purl, "sha512", sha512Hex("tarball"), job))
	rules := strings.Replace(string(policyText(name, 1, 1, "alice")), `"widget_*.tar.gz"`,
		`"pkg:npm/%40acme/packed@*", "packed-*.whl"`, 1)
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
		"a page": {answer: good, fault: malice.WrongType{}, want: policy.EvidenceUnreachable,
			says: "does a proxy want a login?"},
		"nothing":       {answer: good, fault: malice.Empty{}, want: policy.BundleInvalid},
		"half":          {answer: good, fault: malice.Half{}, want: policy.BundleInvalid},
		"cut":           {answer: good, fault: malice.Truncate{After: 50}, want: policy.EvidenceUnreachable},
		"without end":   {answer: good, fault: malice.Endless{}, want: policy.EvidenceUnreachable},
		"shut":          {answer: good, fault: malice.Status{Code: 403}, want: policy.EvidenceUnreachable},
		"wants a login": {answer: good, fault: malice.Status{Code: 401}, want: policy.EvidenceUnreachable},
		"gone":          {answer: good, fault: malice.Status{Code: 410}, want: policy.NoEvidence},
		"too many":      {answer: good, fault: malice.Status{Code: 429}, want: policy.EvidenceUnreachable},
		"sent on": {answer: good, fault: malice.Redirect{To: "https://evil.example"},
			want: policy.EvidenceUnreachable},
	} {
		t.Run(what, func(t *testing.T) {
			f.PublishNPM("@acme/packed", "1.0.0", []byte("tarball"), nil)
			f.PublishNPM("@acme/packed", "1.0.0", []byte("tarball"), c.answer)
			if c.fault != nil {
				defer misbehaves(t, at, c.fault)()
			}
			user, heard := listener(t)
			code, out := user.repopolicy("verify", "--policy", filepath.Join(dir, "policy.toml"), "--trusted-root", user.root,
				purl)
			reason := "[" + string(c.want) + "]"
			if c.want == policy.Allowed {
				reason = "released by "
			}
			if code != c.want.Class().Exit() || !strings.Contains(out, reason) || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %s and %q\n%s\nasked %s", code, c.want, c.says, out, heard.urls)
			}
			to := t.TempDir()
			code, _ = user.repopolicy("verify", "--download", to, "--policy", filepath.Join(dir, "policy.toml"),
				"--trusted-root", user.root, purl)
			if left, err := os.ReadDir(to); err != nil || (len(left) == 1) != (code == 0) {
				t.Errorf("exit %d: downloaded %v %v", code, left, err)
			}
		})
	}
}

// TestReleasesInWorld judges releases as projects publish them, of which GitHub's API knows the
// evidence: lists that nobody signed, builds that no tag started, many files, another Sigstore.
func TestReleasesInWorld(t *testing.T) {
	const name = "acme/served-releases"
	bound(t, name)
	f := stack.Forge()
	repo, err := f.Find(name)
	check(t, err)
	dispatched := claims.GitHub{
		Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/heads/main", Event: "workflow_dispatch",
		Environment: "release",
	}
	foreign := sigstoretest.Workflow("v-of-another-Sigstore")
	as := strings.NewReplacer("acme/widget", name, "1001", fmt.Sprint(repo.ID), "2002", fmt.Sprint(repo.OwnerID))
	foreign.SAN = as.Replace(foreign.SAN)
	for n, v := range foreign.Extensions {
		foreign.Extensions[n] = as.Replace(v)
	}
	foreign.Statement = fmt.Appendf(nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",`+
			`"predicate":{},"subject":[{"name":"widget_1.tar.gz","digest":{"sha256":%q}}]}`, sha("foreign"))
	const archive, sidecar = "widget_1.tar.gz", "widget_1.tar.gz.sha256"
	const sides = "--side-files=checksums"
	line := func(content, name string) string { return sha(content) + "  " + name + "\n" }
	type files = map[string]string
	many := files{}
	for i := range 30 {
		many[fmt.Sprintf("widget_%d.tar.gz", i)] = fmt.Sprint("many", i)
	}
	for tag, c := range map[string]struct {
		files    files
		attested []string // what the release workflow attested at the tag
		bundles  map[string][]byte
		limit    int
		args     []string
		want     policy.Reason // of the worst
		says     string
	}{
		"an archive": {files: files{archive: "a"}, attested: []string{archive}, want: policy.Allowed},
		"a list": {
			files: files{archive: "b", "checksums.txt": line("b", archive)}, attested: []string{archive},
			want: policy.NoEvidence,
			says: "--side-files checksums lets it lie beside them",
		},
		"a list, let": {
			files: files{archive: "c", "checksums.txt": line("c", archive)}, attested: []string{archive}, args: []string{sides},
			want: policy.Allowed, says: "not judged: 1, side files",
		},
		"a list with another line": {
			files:    files{archive: "d", "checksums.txt": line("d", archive) + line("d", "widget_2.tar.gz")},
			attested: []string{archive},
			args:     []string{sides}, want: policy.NoEvidence, says: "widget_2.tar.gz is not among what is allowed",
		},
		"a list with another digest": {
			files: files{archive: "e", "checksums.txt": line("x", archive)}, attested: []string{archive}, args: []string{sides},
			want: policy.NoEvidence, says: "has another digest",
		},
		"cargo-dist": {
			files: files{archive: "f", sidecar: line("f", archive), "sha256.sum": line("f", archive),
				"dist-manifest.json": `{"v":"f"}`},
			attested: []string{archive}, args: []string{sides}, want: policy.NoEvidence,
		},
		"cargo-dist, its manifest attested": { // no artifact of the policy's
			files: files{archive: "g", sidecar: line("g", archive), "sha256.sum": line("g", archive),
				"dist-manifest.json": `{"v":"g"}`},
			attested: []string{archive, "dist-manifest.json"}, args: []string{sides}, want: policy.RuleMismatch,
		},
		"cargo-dist without a manifest": {
			files:    files{archive: "h", sidecar: line("h", archive), "sha256.sum": line("h", archive)},
			attested: []string{archive},
			args:     []string{sides}, want: policy.Allowed, says: "not judged: 2, side files",
		},
		"a script that is a list": {
			files: files{archive: "i", "checksums.txt": "#!/bin/sh\n# id\n" + line("i", archive)}, attested: []string{archive},
			args: []string{sides}, want: policy.NoEvidence,
		},
		"the list alone attested": {
			files: files{archive: "j", "checksums.txt": line("j", archive)}, attested: []string{"checksums.txt"},
			args: []string{sides},
			want: policy.RuleMismatch, // the policy's rule has no such name
		},
		"dispatched": {
			files: files{archive: "k"}, bundles: map[string][]byte{"k": signStatement(t, archive, "sha256", sha("k"),
				dispatched)},
			want: policy.TagUnknown, says: "download the file, and verify it with -R and without --tag",
		},
		"of another Sigstore": {
			files: files{archive: "foreign"}, bundles: map[string][]byte{"foreign": sigstoretest.New(t).Sign(foreign)},
			want: policy.LogInvalid, says: "trusted root",
		},
		"one of many": {files: many, attested: []string{"widget_7.tar.gz"}, want: policy.NoEvidence},
		"many, asked too often": {
			files: files{archive: "l", "widget_2.tar.gz": "m", "widget_3.tar.gz": "n", "widget_4.tar.gz": "o",
				"widget_5.tar.gz": "p"},
			limit: 1, want: policy.EvidenceUnreachable, says: "--github-token",
		},
	} {
		t.Run(tag, func(t *testing.T) {
			as := strings.NewReplacer(" ", "-", ",", "").Replace("v-" + tag)
			check(t, f.Release(name, as, c.files))
			for _, file := range c.attested {
				attest(t, name, as, file, c.files[file])
			}
			for content, bundle := range c.bundles {
				check(t, f.Attest(name, "sha256:"+sha(content), bundle))
			}
			m := forge.Manner{EmptyList: true}
			if c.limit > 0 {
				m.Limit = &forge.Limit{Requests: c.limit, Status: 403, Header: map[string][]string{
					"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"4102444800"},
				}}
			}
			defer f.Behave(m)()
			user, heard := listener(t)
			code, out := user.repopolicy(append([]string{"verify", "https://github.com/" + name + "/releases/tag/" + as},
				c.args...)...)
			reason := "[" + string(c.want) + "]"
			if c.want == policy.Allowed {
				reason = "OK    https://"
			}
			if code != c.want.Class().Exit() || !strings.Contains(out, reason) || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, want %s and %q\n%s", code, c.want, c.says, out)
			}
			if n := heard.of("api.github.com"); n > 1+len(c.files) || c.limit > 0 && n > c.limit+4 {
				t.Errorf("%d requests", n)
			}
			if code == 0 {
				to := t.TempDir()
				user.must(policy.ClassOK, append([]string{"verify", "--download", to, "https://github.com/" + name +
					"/releases/tag/" + as}, c.args...)...)
				if left, err := os.ReadDir(to); err != nil || len(left) != 1 || left[0].Name() != archive {
					t.Errorf("downloaded %v %v", left, err)
				}
			}
		})
	}
}
