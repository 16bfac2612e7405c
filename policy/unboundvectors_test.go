// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors/evidence"
	"github.com/repopolicy/repopolicy/policy"
)

// TestUnboundVectors judges releases of repositories without a policy (SPEC 9.3), and compares
// each with a second reading of that section.
func TestUnboundVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "unbound") {
		t.Run(v.Name, func(t *testing.T) {
			parts := v.Sections(t)
			for name := range parts {
				if !slices.Contains([]string{"repository", "evidence.json", "lock.json", "want.json"}, name) {
					t.Fatalf("section %s", name)
				}
			}
			repo, err := policy.ParseLocator(strings.TrimSpace(parts["repository"]))
			if err != nil {
				t.Fatal(err)
			}
			c := evidence.Read(t, parts["evidence.json"])
			var want decideWant
			if w, ok := parts["want.json"]; ok {
				vectors.Strict(t, w, &want)
			}
			p := repo.Unbound(c.Ids)
			var lock *unboundLock
			if text, ok := parts["lock.json"]; ok {
				lock = readLock(t, text, repo)
				if c.Ids != (policy.Ids{}) {
					t.Fatal("numbers beside a lock")
				}
				c.Ids, p = lock.ids(), repo.Unbound(lock.ids(), lock.workflows()...)
			}
			d := c.Decide(p)
			if string(d.Reason) != v.Header["reason"] || d.Reason.Class().String() != v.Header["expect"] ||
				d.Permitted != (v.Header["expect"] == "OK") {
				t.Errorf("%s (%s), permitted %v", d.Reason, d.Detail, d.Permitted)
			}
			compare(t, d, want)
			if c.Claims == nil {
				return
			}
			if again := unboundAllows(repo, c) && lock.allows(repo, c.Claims.Signer); again != d.Permitted {
				t.Errorf("permitted %v, by the second reading %v", d.Permitted, again)
			}
			pinned(t, repo, c)
			pre, final := p.Precheck(c.Request, *c.Claims)
			if pre.Permitted || final && d.Permitted {
				t.Errorf("refused early: %+v", pre)
			}
			if p.Genesis() == policy.GenesisPinned || p.AcceptsUnlogged() || p.Content() != nil {
				t.Error("it looks like a policy")
			}
			if d.Permitted {
				lessEvidence(t, p, c)
			}
		})
	}
}

// lessEvidence demands that what is allowed is not once a field that SPEC 9.3 names is gone.
func lessEvidence(t *testing.T, p *policy.Trusted, c evidence.Case) {
	t.Helper()
	fields := evidence.Extensions(&policy.Identity{})
	for ext := range fields {
		if !slices.Contains([]string{".9", ".11", ".12", ".14", ".15", ".17", ".18", ".20"}, ext) {
			continue
		}
		for _, value := range []string{"", "x"} {
			less := *c.Claims
			*evidence.Extensions(&less.Signer)[ext] = value
			if d := p.Decide(c.Request, less.Verified(*c.Verified)); d.Permitted {
				t.Errorf("allowed with %s %q", ext, value)
			}
		}
	}
}

// unboundAllows is SPEC 9.3 read a second time, field by field and without the matcher.
func unboundAllows(repo policy.Locator, c evidence.Case) bool {
	id, v, tag := c.Claims.Signer, c.Verified, c.Request.Tag
	if v == nil || len(v.Times) == 0 || !v.Logged || !v.Proven || tag == "" || !slices.Contains(c.Claims.Tags, tag) {
		return false
	}
	for _, at := range v.Times {
		if at.After(c.Request.Now.Add(c.Request.Skew)) {
			return false
		}
	}
	if n := c.Request.Narrow; n != nil && (n.Identity != id.Value || n.Issuer != id.Issuer) {
		return false
	}
	if x := c.Request.Commit; x != "" && x != id.SourceRepositoryDigest {
		return false
	}
	type forge struct {
		issuer, runner, before string
		events                 []string
	}
	f, ok := map[string]forge{
		"github.com": {
			"https://token.actions.githubusercontent.com", "github-hosted", "/.github/workflows/",
			[]string{"push", "release", "workflow_dispatch"},
		},
		"gitlab.com": {"https://gitlab.com", "gitlab-hosted", "//", []string{"push"}},
	}[repo.Host()]
	ref := "refs/tags/" + tag
	own := func(uri string) bool {
		before := repo.String() + f.before
		if len(uri) < len(before)+len("@"+ref) || !strings.EqualFold(uri[:len(repo.String())], repo.String()) ||
			uri[len(repo.String()):len(before)] != f.before || !strings.HasSuffix(uri, "@"+ref) {
			return false
		}
		file := uri[len(before) : len(uri)-len("@"+ref)]
		github := repo.Host() == "github.com"
		return (strings.HasSuffix(file, ".yml") || strings.HasSuffix(file, ".yaml")) && !strings.Contains(file, "@") &&
			!strings.Contains(file, "..") && (!github || !strings.Contains(file, "/"))
	}
	numbers := id.SourceRepositoryID != "" && id.SourceRepositoryOwnerID != "" &&
		(c.Ids.Repository == "" || c.Ids.Repository == id.SourceRepositoryID) &&
		(c.Ids.Owner == "" || c.Ids.Owner == id.SourceRepositoryOwnerID)
	return ok && id.Kind == policy.KindURI && id.Issuer == f.issuer && own(id.Value) && id.BuildSignerURI == id.Value &&
		own(id.BuildConfigURI) && strings.EqualFold(id.SourceRepositoryURI, repo.String()) &&
		id.SourceRepositoryRef == ref && numbers && id.RunnerEnvironment == f.runner &&
		slices.Contains(f.events, id.BuildTrigger)
}

// unboundLock is a lock file of a repository without a policy, as far as it says by whom releases are.
type unboundLock struct {
	Schema     string `json:"schema"`
	Repository string `json:"repository"`
	Unbound    struct {
		RepositoryID string `json:"repository_id"`
		OwnerID      string `json:"owner_id"`
		Workflows    []struct {
			Workflow string `json:"workflow"`
			Caller   string `json:"caller"`
		} `json:"workflows"`
	} `json:"unbound"`
}

func readLock(t *testing.T, text string, repo policy.Locator) *unboundLock {
	t.Helper()
	l := &unboundLock{}
	vectors.Strict(t, text, l)
	if l.Repository != repo.String() || len(l.Unbound.Workflows) == 0 {
		t.Fatal("the lock is not of the repository, or names no workflow")
	}
	return l
}

func (l *unboundLock) ids() policy.Ids {
	return policy.Ids{Repository: l.Unbound.RepositoryID, Owner: l.Unbound.OwnerID}
}

func (l *unboundLock) workflows() (out []policy.Workflow) {
	for _, w := range l.Unbound.Workflows {
		out = append(out, policy.Workflow{Path: w.Workflow, Caller: w.Caller})
	}
	return out
}

// allows is what a lock demands, read a second time; nil demands nothing.
func (l *unboundLock) allows(repo policy.Locator, id policy.Identity) bool {
	if l == nil {
		return true
	}
	slash := "/"
	if repo.Host() == "gitlab.com" {
		slash = "//"
	}
	is := func(uri, file string) bool { return strings.HasSuffix(uri, slash+file+"@"+id.SourceRepositoryRef) }
	return slices.ContainsFunc(l.workflows(), func(w policy.Workflow) bool {
		own := len(id.Value) == len(repo.String()+slash+w.Path+"@"+id.SourceRepositoryRef) &&
			len(id.BuildConfigURI) == len(repo.String()+slash+w.Caller+"@"+id.SourceRepositoryRef)
		return own && is(id.Value, w.Path) && is(id.BuildConfigURI, w.Caller)
	})
}

// pinned demands of any numbers and workflows that are pinned that they let nothing pass that does not
// pass without them, and of those of the evidence itself that they let pass what does.
func pinned(t *testing.T, repo policy.Locator, c evidence.Case) {
	t.Helper()
	id := c.Claims.Signer
	free := c.Decide(repo.Unbound(policy.Ids{}))
	file := policy.Workflow{Path: ".github/workflows/x.yml", Caller: ".github/workflows/x.yml"}
	if repo.Host() == "gitlab.com" {
		file = policy.Workflow{Path: "x.yml", Caller: "x.yml"}
	}
	own, ok := repo.WorkflowOf(id)
	if !ok {
		own = file
	}
	same := policy.Ids{Repository: id.SourceRepositoryID, Owner: id.SourceRepositoryOwnerID}
	for _, ids := range []policy.Ids{
		{}, same, {Repository: "7", Owner: "8"}, {Repository: same.Owner, Owner: same.Repository},
	} {
		for _, by := range [][]policy.Workflow{
			nil, {own}, {file}, {file, own}, {{Path: own.Path, Caller: file.Path}}, {{Path: file.Path, Caller: own.Caller}},
		} {
			d := c.Decide(repo.Unbound(ids, by...))
			if d.Permitted && !free.Permitted {
				t.Errorf("%+v by %+v is allowed, and is not without them", ids, by)
			}
			is := func(w policy.Workflow) bool { return w.Path == own.Path && w.Caller == own.Caller }
			fits := (ids == policy.Ids{} || ids == same) && (by == nil || slices.ContainsFunc(by, is))
			if free.Permitted && ok && d.Permitted != fits {
				t.Errorf("%+v by %+v: permitted %v (%s)", ids, by, d.Permitted, d.Reason)
			}
		}
	}
}

// TestUnboundWorkflows: only files of the repository itself are named by an identity, and can be pinned.
func TestUnboundWorkflows(t *testing.T) {
	const github, gitlab = "https://github.com/acme/widget", "https://gitlab.com/acme/widget"
	const other = "https://codeberg.org/acme/widget"
	const file, ref = ".github/workflows/a.yml", "refs/tags/v1"
	const san = github + "/" + file + "@" + ref
	for _, row := range []struct {
		repo, san, caller, ref string
		want                   policy.Workflow
		ok                     bool
	}{
		{github, san, san, ref, policy.Workflow{Path: file, Caller: file}, true},
		{github, san, github + "-2/" + file + "@" + ref, ref, policy.Workflow{Path: file}, false},
		{github, san, "", ref, policy.Workflow{Path: file}, false},
		{github, "alice@example.com", san, ref, policy.Workflow{Caller: file}, false},
		{github, san, san, "refs/tags/v2", policy.Workflow{}, false},
		{github, github + "/" + file + "@", github + "/" + file + "@", "", policy.Workflow{}, false},
		{github, github + "/" + file, github + "/" + file, ref, policy.Workflow{}, false},
		{github, github + "/" + file, github + "/" + file, "", policy.Workflow{}, false},
		{github, github + "/a.yml@" + ref, github + "/a.yml@" + ref, ref, policy.Workflow{}, false},
		{github, github + "//" + file + "@" + ref, github + "//" + file + "@" + ref, ref, policy.Workflow{}, false},
		{
			gitlab, gitlab + "//a.yml@" + ref, gitlab + "//a.yml@" + ref, ref,
			policy.Workflow{Path: "a.yml", Caller: "a.yml"}, true,
		},
		{gitlab, gitlab + "/a.yml@" + ref, gitlab + "/a.yml@" + ref, ref, policy.Workflow{}, false},
		{gitlab, gitlab + "//" + file + "@" + ref, gitlab + "//" + file + "@" + ref, ref, policy.Workflow{}, false},
		{other, other + "/" + file + "@" + ref, other + "/" + file + "@" + ref, ref, policy.Workflow{}, false},
	} {
		repo, err := policy.ParseLocator(row.repo)
		if err != nil {
			t.Fatal(err)
		}
		id := policy.Identity{Value: row.san, BuildConfigURI: row.caller, SourceRepositoryRef: row.ref}
		got, ok := repo.WorkflowOf(id)
		if got.Path != row.want.Path || got.Caller != row.want.Caller || ok != row.ok {
			t.Errorf("%+v: %+v %v", row, got, ok)
		}
		if pinned := repo.Unbound(policy.Ids{}, got) != nil; pinned != row.ok {
			t.Errorf("%+v can be pinned: %v", got, pinned)
		}
		both := []policy.Workflow{{Path: file, Caller: file}, got}
		if row.repo == github && (repo.Unbound(policy.Ids{}, both...) != nil) != row.ok {
			t.Errorf("%+v can be pinned beside another", got)
		}
	}
}
