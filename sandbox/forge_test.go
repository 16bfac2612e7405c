// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

func runGit(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@localhost", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@localhost")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := runGit(t, dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

func create(t *testing.T, f *forge.Forge, path string) forge.Repository {
	t.Helper()
	r, err := f.Create(path)
	check(t, err)
	return r
}

func commitFiles(t *testing.T, f *forge.Forge, path, branch string, files map[string]string) string {
	t.Helper()
	hash, err := f.Commit(path, branch, files)
	check(t, err)
	return hash
}

// TestForgeGit clones, pushes, renames, transfers, deletes and creates again
// with the real Git.
func TestForgeGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startIn(t, dir, sandbox.Options{})
	f := s.Forge()
	created := create(t, f, "acme/widget")
	hash := commitFiles(t, f, "acme/widget", "main", map[string]string{"README": "one\n", "a/b": "two\n"})
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "-q", f.CloneURL("acme/widget"), work)
	if got := mustGit(t, work, "rev-parse", "HEAD"); got != hash {
		t.Errorf("cloned %s, want %s", got, hash)
	}
	mustGit(t, work, "commit", "-q", "--allow-empty", "-m", "empty")
	mustGit(t, work, "push", "-q", "origin", "HEAD:main", "HEAD:refs/tags/v1")
	pushed := mustGit(t, work, "rev-parse", "HEAD")
	shallow := filepath.Join(t.TempDir(), "shallow")
	mustGit(t, ".", "clone", "-q", "--depth=1", "--branch=v1", f.CloneURL("acme/widget"), shallow)
	if got := mustGit(t, shallow, "rev-parse", "HEAD"); got != pushed {
		t.Errorf("cloned %s, want %s", got, pushed)
	}

	// A rename keeps the number and redirects; a transfer changes the owner's.
	check(t, f.Move("acme/widget", "acme/gadget"))
	mustGit(t, work, "fetch", "-q", "origin")
	check(t, f.Move("acme/gadget", "umbrella/gadget"))
	moved, err := f.Find("acme/widget")
	check(t, err)
	if moved.ID != created.ID || moved.Path != "umbrella/gadget" || moved.OwnerID == created.OwnerID {
		t.Errorf("%+v became %+v", created, moved)
	}
	mustGit(t, work, "fetch", "-q", "origin")
	// The old path, created again, is another repository.
	again := create(t, f, "acme/widget")
	if again.ID == created.ID || again.OwnerID != created.OwnerID {
		t.Errorf("%+v was created again as %+v", created, again)
	}
	if got := mustGit(t, ".", "ls-remote", f.CloneURL("acme/widget")); got != "" {
		t.Errorf("the new repository holds %s", got)
	}
	check(t, f.Delete("umbrella/gadget"))
	if out, err := runGit(t, ".", "ls-remote", f.CloneURL("umbrella/gadget")); err == nil {
		t.Errorf("a deleted repository holds %s", out)
	}
	for _, bad := range []string{"widget", "a/b/c", "../x", "a/.git", "a/b.git", "a/-x", "/x", "a/"} {
		if _, err := f.Create(bad); err == nil {
			t.Errorf("created %q", bad)
		}
	}
	if _, err := f.Create("acme/widget"); err == nil {
		t.Error("created twice")
	}

	// What github.com tells about a repository, and a file of it.
	commitFiles(t, f, "acme/widget", "trunk", map[string]string{".repopolicy/policy.toml": "x\n"})
	check(t, f.SetDefaultBranch("acme/widget", "trunk"))
	check(t, f.SetVisibility("acme/widget", "private"))
	client := &http.Client{Transport: s.Transport()}
	token := ""
	get := func(address string) (int, string) {
		req, err := http.NewRequest(http.MethodGet, address, nil)
		check(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		check(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		return resp.StatusCode, string(body)
	}
	for _, path := range []string{"repos/acme/widget", fmt.Sprintf("repositories/%d", again.ID)} {
		if got, body := get("https://api.github.com/" + path); got != 404 {
			t.Errorf("what is private is shown to everybody: %d %q", got, body)
		}
	}
	token = forge.ReadToken
	_, body := get("https://api.github.com/repos/acme/widget")
	var info struct {
		ID            int64
		DefaultBranch string `json:"default_branch"`
		Private       bool
		Owner         struct{ ID int64 }
	}
	check(t, json.Unmarshal([]byte(body), &info))
	if info.ID != again.ID || info.DefaultBranch != "trunk" || !info.Private || info.Owner.ID != again.OwnerID {
		t.Errorf("%+v", info)
	}
	if _, byID := get(fmt.Sprintf("https://api.github.com/repositories/%d", again.ID)); byID != body {
		t.Errorf("by number: %s", byID)
	}
	for address, want := range map[string]int{
		"https://raw.githubusercontent.com/acme/widget/HEAD/.repopolicy/policy.toml":             200,
		"https://raw.githubusercontent.com/acme/widget/refs/heads/trunk/.repopolicy/policy.toml": 200,
		"https://raw.githubusercontent.com/acme/widget/HEAD/nothing":                             404,
		"https://raw.githubusercontent.com/acme/widget/HEAD/../../../etc/passwd":                 404,
		"https://raw.githubusercontent.com/acme/nothing/HEAD/x":                                  404,
		"https://github.com/acme/nothing.git/info/refs?service=git-upload-pack":                  404,
		"https://github.com/acme/widget.git/info/refs?service=git-upload-pack":                   200,
	} {
		if got, body := get(address); got != want {
			t.Errorf("%s: %d %q", address, got, body)
		}
	}

	// Everything survives a restart.
	check(t, s.Close())
	s = startIn(t, dir, sandbox.Options{})
	kept, err := s.Forge().Find("acme/widget")
	check(t, err)
	if diff := cmp.Diff(forge.Repository{ID: again.ID, Path: "acme/widget", OwnerID: again.OwnerID, DefaultBranch: "trunk", Visibility: "private"}, kept); diff != "" {
		t.Error(diff)
	}
}

// TestForgeReleases makes releases as people and jobs do, and downloads them.
func TestForgeReleases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startIn(t, dir, sandbox.Options{})
	create(t, s.Forge(), "acme/widget")
	head := commitFiles(t, s.Forge(), "acme/widget", "main", map[string]string{"README": "one\n"})
	ask := func(method, address, token, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		check(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := (&http.Client{Transport: s.Transport()}).Do(req)
		check(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		check(t, err)
		return resp.StatusCode, string(data)
	}
	want := func(method, address, token, body string, code int) string {
		t.Helper()
		got, text := ask(method, address, token, body)
		if got != code {
			t.Errorf("%s %s: %d, want %d: %s", method, address, got, code, text)
		}
		return text
	}
	const (
		api      = "https://api.github.com/repos/acme/widget/releases"
		download = "https://github.com/acme/widget/releases/download/v1.2.3/"
		write    = "sandbox-contents-write"
	)
	want("POST", api, "sandbox-contents-read", `{"tag_name":"v1.2.3","draft":true}`, 403)
	var rel struct {
		ID     int64
		Draft  bool
		Assets []struct{ Name, Digest string }
	}
	check(t, json.Unmarshal([]byte(want("POST", api, write, `{"tag_name":"v1.2.3","draft":true}`, 201)), &rel))
	one := fmt.Sprintf("%s/%d", api, rel.ID)
	uploads := strings.Replace(one, "api.", "uploads.", 1) + "/assets?name="
	want("POST", uploads+"widget.tar.gz", write, "content", 201)
	want("POST", uploads+"widget.tar.gz", write, "again", 422)
	want("POST", uploads+"..%2Fwidget", write, "outside", 422)
	// Nobody sees a draft.
	want("GET", api+"/tags/v1.2.3", "", "", 404)
	want("GET", download+"widget.tar.gz", "", "", 404)
	want("PATCH", one, write, `{"draft":false}`, 200)
	check(t, json.Unmarshal([]byte(want("GET", api+"/tags/v1.2.3", "", "", 200)), &rel))
	if len(rel.Assets) != 1 || rel.Assets[0].Name != "widget.tar.gz" || rel.Draft || rel.Assets[0].Digest != "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73" {
		t.Errorf("%+v", rel)
	}
	if got := want("GET", download+"widget.tar.gz", "", "", 200); got != "content" {
		t.Errorf("downloaded %q", got)
	}
	want("GET", download+"nothing", "", "", 404)
	want("GET", "https://release-assets.githubusercontent.com/github-production-release-asset/1/1", "", "", 403)
	if got := mustGit(t, ".", "ls-remote", s.Forge().CloneURL("acme/widget"), "refs/tags/v1.2.3"); !strings.HasPrefix(got, head) {
		t.Errorf("publishing made the tag %q", got)
	}
	// The forge's own address has everything under one host, and a rename leads on.
	check(t, s.Forge().Move("acme/widget", "acme/gadget"))
	base := s.URL(sandbox.Forge)
	if got := want("GET", base+"/acme/widget/releases/download/v1.2.3/widget.tar.gz", "", "", 200); got != "content" {
		t.Errorf("downloaded %q", got)
	}
	want("GET", base+"/api/v1/repos/acme/gadget/releases/tags/v1.2.3", "", "", 200)
	const attestations = "/repos/acme/gadget/attestations/sha256:00"
	want("GET", "https://api.github.com"+attestations, "", "", 404)
	check(t, s.Forge().Attest("acme/gadget", "sha256:00", []byte(`{"mediaType":"x"}`)))
	if got := want("GET", "https://api.github.com"+attestations, "", "", 200); !strings.Contains(got, `{"mediaType":"x"}`) {
		t.Error(got)
	}
	check(t, s.Close())
	s = startIn(t, dir, sandbox.Options{})
	if got := want("GET", "https://github.com/acme/gadget/releases/download/v1.2.3/widget.tar.gz", "", "", 200); got != "content" {
		t.Errorf("after a restart %q", got)
	}
	check(t, s.Forge().Remove("acme/gadget", "v1.2.3", "widget.tar.gz"))
	want("GET", "https://github.com/acme/gadget/releases/download/v1.2.3/widget.tar.gz", "", "", 404)
}

// TestWithheldStatement logs a statement and hides the ref that holds it.
func TestWithheldStatement(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	f := s.Forge()
	create(t, f, "acme/widget")
	commitFiles(t, f, "acme/widget", "main", map[string]string{"README": "x\n"})
	b := mustSign(t, s, dsse([]byte("secret")), signing{})
	data, err := b.MarshalJSON()
	check(t, err)
	commitFiles(t, f, "acme/widget", "repopolicy", map[string]string{"1.sigstore.json": string(data)})
	undo, err := s.Misbehave(sandbox.Forge, malice.Withhold{Ref: "refs/heads/repopolicy"})
	check(t, err)
	if refs := mustGit(t, ".", "ls-remote", f.CloneURL("acme/widget")); strings.Contains(refs, "repopolicy") || !strings.Contains(refs, "refs/heads/main") {
		t.Errorf("refs: %s", refs)
	}
	client := &http.Client{Transport: s.Transport()}
	const file = "https://raw.githubusercontent.com/acme/widget/refs/heads/repopolicy/1.sigstore.json"
	resp, err := client.Get(file)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the file: %s", resp.Status)
	}
	if _, err := fetcher(t, s).ReadEntryBundle(t.Context(), 0, 1); err != nil {
		t.Errorf("the log has no entry: %v", err)
	}
	check(t, undo())
	if refs := mustGit(t, ".", "ls-remote", f.CloneURL("acme/widget")); !strings.Contains(refs, "refs/heads/repopolicy") {
		t.Errorf("refs: %s", refs)
	}
}
