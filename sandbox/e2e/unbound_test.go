// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestUnbound: a repository without a policy is judged by its own workflows if the user says so
// and somebody who must know it says that there is none; until a policy is bound.
func TestUnbound(t *testing.T) {
	const name = "acme/unruled"
	url := "https://github.com/" + name
	p := newProject(t, name)
	p.push()
	repo, err := stack.Forge().Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1"}
	signed := func(change func(*claims.GitHub)) string {
		j := job
		change(&j)
		return releaseFile(t, "widget_1.tar.gz", j)
	}
	good := signed(func(*claims.GitHub) {})
	o := newOperator(t)
	o.build()
	tiles := filepath.Join(t.TempDir(), "v2.json")
	check(t, os.WriteFile(tiles, ofGeneration(t, 2), 0o600))
	scan := []string{"--scan", "--trusted-root", tiles}
	asked := []string{"--directory", o.descriptorFile}
	verify := func(c *computer, want policy.Class, how []string, file string, more ...string) string {
		t.Helper()
		args := append([]string{"verify", "-v", "-R", url, "--tag", "v1"}, how...)
		return c.must(want, append(append(args, more...), file)...)
	}
	shows := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
	}
	const unbound = "--unbound=repository"

	// Without the flag nothing is allowed, and the claims are shown.
	out := verify(newComputer(t), policy.ClassNoPolicy, scan, good)
	shows(out, "claims, and nobody verified it", "release.yml@refs/tags/v1")
	// An index promises nothing, also beside a scan of what it does not list.
	for _, how := range [][]string{nil, {"--scan"}} {
		shows(verify(newComputer(t), policy.ClassNoPolicy, how, good, unbound), "known is hinted")
	}
	knows := newComputer(t)
	for _, how := range [][]string{scan, asked} {
		out := verify(knows, policy.ClassOK, how, good, unbound)
		shows(out, "allowed-unbound", "genesis    none")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "no policy says who may release "+url) {
			t.Errorf("the last line is %q", last)
		}
		for what, change := range map[string]func(*claims.GitHub){
			"a fork": func(g *claims.GitHub) {
				g.Repository, g.RepositoryID, g.OwnerID = "mallory/unruled", 0, 0
			},
			"a foreign workflow": func(g *claims.GitHub) {
				g.JobWorkflow = "mallory/x/.github/workflows/release.yml@refs/tags/v1"
			},
			"a self-hosted runner":  func(g *claims.GitHub) { g.Runner = "self-hosted" },
			"a pull request":        func(g *claims.GitHub) { g.Event = "pull_request_target" },
			"another tag":           func(g *claims.GitHub) { g.Ref = "refs/tags/v2" },
			"a branch":              func(g *claims.GitHub) { g.Ref = "refs/heads/v1" },
			"dispatched, no tag":    func(g *claims.GitHub) { g.Event, g.Ref = "workflow_dispatch", "refs/heads/main" },
			"what ran for workflow": func(g *claims.GitHub) { g.Event = "workflow_run" },
		} {
			out := verify(newComputer(t), policy.ClassDeny, how, signed(change), unbound)
			if strings.Contains(out, "allowed-unbound") {
				t.Errorf("%s: %s", what, out)
			}
		}
		newComputer(t).must(policy.ClassDeny, append([]string{"verify", "-R", url, unbound, good}, how...)...)
	}
	var report struct {
		Criteria struct {
			Policy  any
			Unbound struct{ Genesis, Completeness string }
		}
		Artifacts []struct{ Reason string }
	}
	out = verify(newComputer(t), policy.ClassOK, asked, good, unbound, "--format", "json")
	check(t, json.Unmarshal([]byte(out), &report))
	var document any
	check(t, json.Unmarshal([]byte(out), &document))
	check(t, vectors.Schema(t, "verdict-v1.json").Validate(document))
	if c := report.Criteria; c.Policy != nil || c.Unbound.Genesis != "none" || c.Unbound.Completeness != "signed" ||
		report.Artifacts[0].Reason != "allowed-unbound" {
		t.Errorf("%+v", report)
	}
	shows(verify(newComputer(t), policy.ClassOK, asked, good, unbound, "--format", "sarif"), "no policy says")
	out = verify(newComputer(t), policy.ClassOK, asked, good, unbound, "--format", "github")
	shows(out, "::warning title=repopolicy%3A no policy")
	verify(newComputer(t), policy.ClassUsage, asked, good, unbound, "--format", "vsa")

	// The library: another word means nothing, and no run is authorised without a policy.
	client := &repopolicy.Client{
		TrustedRoots: []string{tiles}, StateDir: t.TempDir(), HTTP: stack.Transport(), Scan: true, Unbound: "Repository",
	}
	fails := func(err error, want policy.Reason) {
		t.Helper()
		var f *policy.Fault
		if !errors.As(err, &f) || f.Reason != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err = client.Find(t.Context(), name)
	fails(err, policy.Usage)
	client.Unbound = "repository"
	found, err := client.Find(t.Context(), name)
	check(t, err)
	if k := found.Knowledge(); k.Genesis != "none" || k.Completeness != "scanned" || found.Document() != nil {
		t.Errorf("%+v", k)
	}
	_, err = client.Authorize(t.Context(), found, "token", good)
	fails(err, policy.NoBinding)

	// Off-line, pinned, old: nothing.
	git(t, p.dir, "fetch", "-q", "origin")
	for _, more := range [][]string{
		{"--offline", "--git", p.dir, "--require", "none"}, {"--require", "first,hinted", "--scan"},
	} {
		shows(verify(newComputer(t), policy.ClassNoPolicy, nil, good, append(more, unbound)...), "does not apply")
	}
	verify(newComputer(t), policy.ClassUnavailable, asked, good, unbound, "--pin", "sha256:"+strings.Repeat("a", 64))
	verify(newComputer(t), policy.ClassStale, asked, good, unbound, "--max-age", "1ns")
	undo, err := stack.Misbehave(sandbox.RekorV1, malice.Status{Code: 503})
	check(t, err)
	byDirectory := append([]string{"verify", "-R", url, "--tag", "v1", unbound, good}, asked...)
	if code, out := newComputer(t).repopolicy(byDirectory...); code == 0 {
		t.Errorf("the index gave no answer: %s", out)
	}
	check(t, undo())

	// A policy is bound; the directory was asked before, and its operator keeps silent.
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	maintainer := newComputer(t)
	p.signAs(maintainer, "alice")
	if code, out := newComputer(t).repopolicy(byDirectory...); code == 0 {
		t.Errorf("the directory does not know it yet, the index does: %s", out)
	}
	if out := verify(newComputer(t), policy.ClassDeny, scan, good, unbound); !strings.Contains(out, "rule-mismatch") {
		t.Error(out)
	}
	verify(knows, policy.ClassDeny, scan, good, unbound)
	// Who saw the policy is not led back, whatever the forge and the directory show.
	p.forget()
	for _, c := range []*computer{knows, newComputer(t)} {
		for _, how := range [][]string{scan, asked} {
			args := append([]string{"verify", "-R", url, "--tag", "v1", unbound, good}, how...)
			if code, out := c.repopolicy(args...); code == 0 {
				t.Errorf("%v: %s", how, out)
			}
		}
	}
}

// TestUnboundRoots: what several trusted roots know is not joined to that there is no policy.
func TestUnboundRoots(t *testing.T) {
	other, err := sandbox.Start(context.WithoutCancel(t.Context()), t.TempDir(), sandbox.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	const name = "acme/unruled-twice"
	newProject(t, name).push()
	file := releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: name, Ref: "refs/tags/v1"})
	scope := "\n[[scope]]\nrepositories = [\"https://github.com/" + name + "\"]\nroots = [%s]\n%s\n"
	for _, scopes := range []string{
		fmt.Sprintf(scope, `"first", "second"`, "threshold = 1"), fmt.Sprintf(scope, `"first", "second"`, "threshold = 2"),
		fmt.Sprintf(scope, `"second"`, "continue = true") + fmt.Sprintf(scope, `"first"`, ""),
	} {
		c := newComputer(t)
		c.config = trustConfig(t, other, scopes)
		out := c.must(policy.ClassNoPolicy, "verify", "-R", name, "--tag", "v1", "--unbound", "repository", file)
		if !strings.Contains(out, "several trusted roots were asked") {
			t.Errorf("%s\n%s", scopes, out)
		}
	}
}

// forget takes all that the repository shows of its policy away.
func (p *project) forget() {
	p.t.Helper()
	check(p.t, os.RemoveAll(filepath.Join(p.dir, ".repopolicy")))
	git(p.t, p.dir, "add", "-A")
	git(p.t, p.dir, "commit", "-q", "-m", "gone")
	git(p.t, p.dir, "push", "-q", "origin", "HEAD:main")
	git(p.t, p.dir, "push", "-q", "origin", ":repopolicy")
}

// TestUnboundRenamed: who renames a repository and removes what shows its policy has not got rid
// of it: what its number bound under the old name is asked for.
func TestUnboundRenamed(t *testing.T) {
	const old, name = "acme/ruled", "acme/unruled-now"
	p, _ := bound(t, old)
	check(t, stack.Forge().Move(old, name))
	p.name = name
	git(t, p.dir, "remote", "set-url", "origin", stack.Forge().CloneURL(name))
	p.forget()
	repo, err := stack.Forge().Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1"}
	file := releaseFile(t, "widget_1.tar.gz", job)
	job.RepositoryID++ // of a repository that never had a policy
	other := releaseFile(t, "widget_1.tar.gz", job)
	o := newOperator(t)
	o.build()
	tiles := filepath.Join(t.TempDir(), "v2.json")
	check(t, os.WriteFile(tiles, ofGeneration(t, 2), 0o600))
	for _, how := range [][]string{{"--scan", "--trusted-root", tiles}, {"--directory", o.descriptorFile}} {
		args := append([]string{"verify", "-R", name, "--tag", "v1", "--unbound", "repository"}, how...)
		code, out := newComputer(t).repopolicy(append(args, file)...)
		if code == 0 {
			t.Errorf("%v: %s", how, out)
		}
		newComputer(t).must(policy.ClassOK, append(args, other)...)
	}
}
