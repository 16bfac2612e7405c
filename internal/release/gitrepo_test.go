// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/scaffold/formstest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

const tagRule = `[[release]]
name       = "tags"
tags       = ["v*"]
artifacts  = ["refs/tags/v*"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const commitRule = `[[release]]
name       = "commits"
tags       = "any"
artifacts  = "any"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const tagWorkflowRule = `[[release]]
name      = "tags"
tags      = ["v*"]
artifacts = ["refs/tags/v*"]
workflow  = ".github/workflows/release.yml"
`

// gitRepo is a repository that the git program made.
type gitRepo struct {
	t   testing.TB
	dir string
}

func newGitRepo(t testing.TB) *gitRepo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := &gitRepo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

// git runs git without any configuration of the machine.
func (r *gitRepo) git(args ...string) string {
	r.t.Helper()
	return r.feed(nil, args...)
}

func (r *gitRepo) feed(in []byte, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = r.dir, bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=A U Thor", "GIT_AUTHOR_EMAIL=author@example.com", "GIT_COMMITTER_NAME=A U Thor",
		"GIT_COMMITTER_EMAIL=author@example.com")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// write stores an object as it is, good or bad.
func (r *gitRepo) write(typ git.Type, content []byte) git.ID {
	r.t.Helper()
	return git.ID(r.feed(content, "hash-object", "-t", string(typ), "--literally", "-w", "--stdin"))
}

func (r *gitRepo) commit(message string) git.ID {
	r.t.Helper()
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return git.ID(r.git("rev-parse", "HEAD"))
}

// TestGitTags judges tags of a repository.
func TestGitTags(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	mallory := alice()
	mallory.SAN = "mallory@example.com"
	workflow := func(tag string, commit git.ID) sigstoretest.Request {
		r := sigstoretest.Workflow(tag)
		r.Extensions[13] = string(commit)
		return r
	}
	type state struct {
		*gitRepo
		commit git.ID
	}
	tag := func(s state, name string, r sigstoretest.Request, o cmsOptions) {
		s.git("update-ref", "refs/tags/v1", string(s.write(git.Tag, tagObject(t, inst, r, name, s.commit, o))))
	}
	for _, c := range []struct {
		what string
		make func(s state)
		rule string
		arg  string
		want policy.Reason
	}{
		{"signed", func(s state) { tag(s, "v1", alice(), cmsOptions{}) }, tagRule, "refs/tags/v1", policy.Allowed},
		{"signed and packed",
			func(s state) { tag(s, "v1", alice(), cmsOptions{}); s.git("pack-refs", "--all"); s.git("gc", "-q") },
			tagRule, "refs/tags/v1", policy.Allowed},
		{"signed by somebody else", func(s state) { tag(s, "v1", mallory, cmsOptions{}) }, tagRule, "refs/tags/v1",
			policy.RuleMismatch},
		{"not signed", func(s state) { s.git("tag", "-m", "x", "v1") }, tagRule, "refs/tags/v1", policy.NoEvidence},
		{"lightweight (case 273)", func(s state) { s.git("tag", "v1") }, tagRule, "refs/tags/v1", policy.NoEvidence},
		{"without its log entry", func(s state) { tag(s, "v1", alice(), cmsOptions{NoEntry: true}) }, tagRule,
			"refs/tags/v1", policy.NoLogProof},
		{"under another name (case 269)", func(s state) { tag(s, "v2", alice(), cmsOptions{}) }, tagRule,
			"refs/tags/v1", policy.TagMismatch},
		{"not there", func(state) {}, tagRule, "refs/tags/v1", policy.GitIncomplete},
		{"no name for a tag (case 295)", func(state) {}, tagRule, "refs/tags/../../config", policy.Usage},
		{"no name for a tag either (case 295)", func(state) {}, tagRule, "refs/tags/a..b", policy.Usage},
		{"a lock (case 295)", func(state) {}, tagRule, "refs/tags/v1.lock", policy.Usage},
		{"of a blob (case 272)", func(s state) { s.git("tag", "v1", string(s.write(git.Blob, []byte("x")))) },
			tagRule, "refs/tags/v1", policy.GitInvalid},
		{"of a tree (case 272)", func(s state) { s.git("tag", "-m", "x", "v1", "HEAD^{tree}") }, tagRule,
			"refs/tags/v1", policy.GitInvalid},
		{"of a tag", func(s state) { s.git("tag", "-m", "x", "v0"); s.git("tag", "-m", "x", "v1", "v0") }, tagRule,
			"refs/tags/v1", policy.GitInvalid},
		{"of a commit that is not there", func(s state) {
			s.commit = "1111111111111111111111111111111111111111"
			tag(s, "v1", alice(), cmsOptions{})
		}, tagRule, "refs/tags/v1", policy.GitIncomplete},
		{"of something else that calls itself a commit", func(s state) {
			s.commit = s.write(git.Blob, []byte("x"))
			tag(s, "v1", alice(), cmsOptions{})
		}, tagRule, "refs/tags/v1", policy.GitInvalid},
		{"by a workflow", func(s state) { tag(s, "v1", workflow("v1", s.commit), cmsOptions{}) }, tagWorkflowRule,
			"refs/tags/v1", policy.Allowed},
		{"by a workflow for another tag (case 277)",
			func(s state) { tag(s, "v1", workflow("v2", s.commit), cmsOptions{}) }, tagWorkflowRule, "refs/tags/v1",
			policy.TagMismatch},
		{"by a workflow for another commit (case 276)",
			func(s state) { tag(s, "v1", workflow("v1", "2222222222222222222222222222222222222222"), cmsOptions{}) },
			tagWorkflowRule, "refs/tags/v1", policy.CommitMismatch},
		{"moved after it was signed (case 269)", func(s state) {
			content := tagObject(t, inst, alice(), "v1", s.commit, cmsOptions{})
			moved := bytes.Replace(content, []byte(s.commit), []byte(s.gitRepo.commit("other")), 1)
			s.git("update-ref", "refs/tags/v1", string(s.write(git.Tag, moved)))
		}, tagRule, "refs/tags/v1", policy.SignatureInvalid},
		{"replaced (refs/replace)", func(s state) {
			tag(s, "v1", mallory, cmsOptions{})
			bad := s.git("rev-parse", "refs/tags/v1")
			good := s.write(git.Tag, tagObject(t, inst, alice(), "v1", s.commit, cmsOptions{}))
			s.git("update-ref", "refs/replace/"+bad, string(good))
		}, tagRule, "refs/tags/v1", policy.RuleMismatch},
		{"a ref that is a link", func(s state) {
			tag(s, "v1", alice(), cmsOptions{})
			path := filepath.Join(s.dir, ".git/refs/tags/v1")
			target := filepath.Join(t.TempDir(), "x")
			if err := os.Rename(path, target); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
		}, tagRule, "refs/tags/v1", policy.GitInvalid},
		{"a symbolic ref", func(s state) {
			tag(s, "v0", alice(), cmsOptions{})
			s.git("symbolic-ref", "refs/tags/v1", "refs/heads/main")
		}, tagRule, "refs/tags/v1", policy.GitInvalid},
		{"two taggers (case 291)", func(s state) {
			content := fmt.Appendf(nil, "object %s\ntype commit\ntag v1\ntagger %s\ntagger %s\n\nx\n", s.commit,
				formstest.Thor, formstest.Thor)
			s.git("update-ref", "refs/tags/v1", string(s.write(git.Tag, content)))
		}, tagRule, "refs/tags/v1", policy.GitInvalid},
		{"a disguised tree (case 294)", func(s state) {
			blob := s.write(git.Blob, []byte("x"))
			raw := make([]byte, 20)
			if _, err := fmt.Sscanf(string(blob), "%x", &raw); err != nil {
				t.Fatal(err)
			}
			var tree []byte
			for _, name := range []string{".GIT", "..", ".g\u200cit", "git~1"} {
				tree = append(append(tree, "100644 "+name+"\x00"...), raw...)
			}
			id := s.write(git.Tree, tree)
			s.commit = s.write(git.Commit,
				fmt.Appendf(nil, "tree %s\nauthor %s\ncommitter %s\n\nx\n", id, formstest.Thor, formstest.Thor))
			tag(s, "v1", alice(), cmsOptions{})
		}, tagRule, "refs/tags/v1", policy.Allowed},
	} {
		s := state{gitRepo: newGitRepo(t)}
		s.commit = s.gitRepo.commit("release")
		c.make(s)
		artifacts := others(Expand(t.Context(), []string{c.arg}, Options{Repo: s.dir}))
		res := judge(pin(t, c.rule), root).Run(t.Context(), artifacts)[0]
		if res.Decision.Reason != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, res.Decision.Reason, res.Decision.Detail, c.want)
		}
		if c.want == policy.Allowed && res.Decision.Tag != "v1" {
			t.Errorf("%s: tag %q", c.what, res.Decision.Tag)
		}
		j := judge(pin(t, c.rule), root)
		if j.Tag = "v9"; j.Run(t.Context(), artifacts)[0].Class() == policy.ClassOK {
			t.Errorf("%s: allowed for another --tag", c.what)
		}
	}
}

// TestCanary is case 299: nothing that a repository configures is ever run, and
// nothing of it changes the verdict.
func TestCanary(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	r := newGitRepo(t)
	commit := r.commit("release")
	canary := filepath.Join(t.TempDir(), "ran")
	script := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch "+canary+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	id := r.write(git.Tag, tagObject(t, inst, alice(), "v1", commit, cmsOptions{}))
	r.git("update-ref", "refs/tags/v1", string(id))
	for _, kv := range [][2]string{
		{"core.fsmonitor", script}, {"core.sshCommand", script}, {"core.pager", script}, {"core.editor", script},
		{"core.hooksPath", filepath.Dir(script)},
		{"credential.helper", script}, {"gpg.program", script}, {"gpg.x509.program", script},
		{"filter.x.smudge", script}, {"filter.x.clean", script},
		{"alias.cat-file", "!" + script}, {"uploadpack.packObjectsHook", script}, {"diff.external", script},
		{"include.path", script},
	} {
		r.git("config", kv[0], kv[1])
	}
	for _, f := range []struct{ path, text string }{
		{".git/info/attributes", "* filter=x\n"},
		{".git/info/grafts", string(commit) + " 1111111111111111111111111111111111111111\n"},
		{".git/objects/info/alternates", "/nonexistent\n"}, {".gitattributes", "* filter=x\n"},
	} {
		path := filepath.Join(r.dir, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, arg := range []string{"refs/tags/v1", "gitCommit:" + string(commit)} {
		res := judge(pin(t, tagRule), root).Run(t.Context(),
			others(Expand(t.Context(), []string{arg}, Options{Repo: r.dir})))[0]
		if want := policy.Allowed; strings.HasPrefix(arg, "refs/") && res.Decision.Reason != want {
			t.Errorf("%s: %s (%s)", arg, res.Decision.Reason, res.Decision.Detail)
		}
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a program of the repository was run")
	}
}

// TestGitCommits judges commits of a repository.
func TestGitCommits(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	r := newGitRepo(t)
	first := r.commit("first")
	r.git("branch", "first")
	tree := git.ID(r.git("rev-parse", "HEAD^{tree}"))
	signed := r.write(git.Commit, commitObject(t, inst, alice(), tree, cmsOptions{}))
	imposter := r.write(git.Commit, commitObject(t, inst, alice(), tree, cmsOptions{}))
	r.git("update-ref", "refs/heads/main", string(signed))
	noted := r.commit("noted")
	att := alice()
	att.Statement = statement(fmt.Sprintf(`{"digest":{"gitCommit":%q}}`, noted))
	note := inst.Sign(att)
	r.feed(append([]byte("a note of somebody\n"), append(note, '\n')...), "notes", "add", "-F", "-", string(noted))

	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth", "1", "--no-tags", "file://"+r.dir, clone)
	judgeIn := func(dir string, id git.ID) *Result {
		return judge(pin(t, commitRule), root).Run(t.Context(),
			others(Expand(t.Context(), []string{"gitCommit:" + string(id)}, Options{Repo: dir})))[0]
	}
	for _, c := range []struct {
		what string
		dir  string
		id   git.ID
		want policy.Reason
	}{
		{"signed", r.dir, signed, policy.Allowed},
		{"not signed", r.dir, first, policy.NoEvidence},
		{"with a note", r.dir, noted, policy.Allowed},
		{"that no branch leads to (case 274)", r.dir, imposter, policy.CommitUnreachable},
		{"not in a shallow clone (case 275)", clone, first, policy.GitIncomplete},
		{"a tree", r.dir, tree, policy.GitInvalid},
		{"not there", r.dir, "1111111111111111111111111111111111111111", policy.GitIncomplete},
		{"no repository", t.TempDir(), signed, policy.ArtifactRead},
	} {
		if res := judgeIn(c.dir, c.id); res.Decision.Reason != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, res.Decision.Reason, res.Decision.Detail, c.want)
		}
	}
	// In a shallow clone a commit may be there and its branch be cut off before.
	r2 := filepath.Join(clone, ".git")
	objects := filepath.Join(r2, "objects", string(first[:2]))
	if err := os.MkdirAll(objects, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(r.dir, ".git/objects", string(first[:2]), string(first[2:])))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(objects, string(first[2:])), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if res := judgeIn(clone, first); res.Decision.Reason != policy.GitIncomplete {
		t.Errorf("a commit beyond the shallow end: %s", res.Decision.Reason)
	}
}
