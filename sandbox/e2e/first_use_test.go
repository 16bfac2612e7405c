// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// TestFirstUse: two machines that share nothing find the same policy, from the
// files and the log, and nothing of it by the files alone.
func TestFirstUse(t *testing.T) {
	const repo = "acme/first-use"
	job := ci
	job.Repository = repo
	maintainer, runner := newMachine(t), newMachine(t)
	one := encode(t, policyText(repo, 1, 1, "alice"), "")
	files := maintainer.write(one, 1, alice)
	if len(files) != 2 || !bindings.IsSignatureName(files[0].Name) {
		t.Fatalf("%d files: %s", len(files), files[0].Name)
	}

	stranger := newMachine(t)
	before := stranger.resolve(repo, files, stranger.hint(), stranger.scan())
	if r := before.Chain.Reason(); r != policy.NoBinding {
		t.Fatalf("before it is bound: %s %+v", r, before)
	}
	files = append(files, runner.write(one, 1, job)...)

	var heads []string
	for range 2 {
		m := newMachine(t)
		res := m.resolve(repo, files, m.hint(), m.scan())
		if r := res.Chain.Reason(); r != "" || len(res.Failed) > 0 || len(res.Ignored) > 0 {
			t.Fatalf("%s %+v %+v %+v", r, res.Chain.Problems(), res.Failed, res.Ignored)
		}
		if res.Chain.Genesis() != policy.GenesisFirst || res.Chain.View().Completeness != chain.CompleteScanned && res.Chain.View().Completeness != chain.CompleteHinted {
			t.Errorf("genesis %s, completeness %s", res.Chain.Genesis(), res.Chain.View().Completeness)
		}
		vs := res.Chain.Versions()
		heads = append(heads, vs[len(vs)-1].Statement)
		// Asked again, with what was kept: the same.
		if again := m.resolve(repo, files, m.hint(), m.scan()); again.Chain.Reason() != "" {
			t.Errorf("again: %+v", again.Chain.Problems())
		}
		// The forge drops the signatures: what was seen is remembered.
		if gone := m.resolve(repo, nil, m.hint(), m.scan()); gone.Chain.Reason().Class() != policy.ClassAlarm && gone.Chain.Reason().Class() != policy.ClassUnavailable {
			t.Errorf("the files are gone: %s", gone.Chain.Reason())
		}
	}
	if heads[0] != heads[1] || heads[0] != spelling.Sum(one) {
		t.Errorf("heads %v", heads)
	}

	// A stranger to whom nothing is shown but what the log has cannot be told
	// that there is nothing.
	m := newMachine(t)
	for what, lookups := range map[string][]bindings.Lookup{"index": {m.hint()}, "tiles": {m.scan()}} {
		if r := m.resolve(repo, nil, lookups...).Chain.Reason(); r != policy.Undisclosed {
			t.Errorf("no files, %s: %s", what, r)
		}
	}
	// Files alone show a chain, and nothing of what else is bound.
	res := newMachine(t).resolve(repo, files)
	if res.Chain.View().Completeness != chain.CompleteNone {
		t.Errorf("files alone: %s", res.Chain.View().Completeness)
	}
	if d := decide(res.Chain); d != policy.BelowRequired {
		t.Errorf("files alone: %s", d)
	}
}

// decide judges a release that no rule could allow, to see what the chain says
// first.
func decide(c *chain.Chain) policy.Reason {
	d, _ := c.Trusted(chain.Demand{}).Precheck(policy.Request{Now: now()}, policy.Claims{})
	return d.Reason
}

// TestWrongBinders: entries by anyone but the repository's own workflow, run in
// a way that no branch can cause, bind nothing.
func TestWrongBinders(t *testing.T) {
	const repo = "acme/squatted"
	right := ci
	right.Repository = repo
	m := newMachine(t)
	one := encode(t, policyText(repo, 1, 1, "alice"), "")
	files := m.write(one, 1, alice)
	for what, change := range map[string]func(*claims.GitHub){
		"a push":               func(g *claims.GitHub) { g.Event = "push" },
		"a dispatched branch":  func(g *claims.GitHub) { g.Event = "workflow_dispatch" },
		"a pull request":       func(g *claims.GitHub) { g.Event = "pull_request_target" },
		"another workflow":     func(g *claims.GitHub) { g.Workflow = ".github/workflows/other.yml" },
		"another repository":   func(g *claims.GitHub) { g.Repository = "mallory/squatted" },
		"a reusable workflow":  func(g *claims.GitHub) { g.JobWorkflow = "mallory/x/.github/workflows/repopolicy.yml@refs/heads/main" },
		"a self-hosted runner": func(g *claims.GitHub) { g.Runner = "self-hosted" },
		"a tag":                func(g *claims.GitHub) { g.Ref = "refs/tags/v1" },
	} {
		job := right
		change(&job)
		bad := m.write(one, 1, job)
		s := newMachine(t)
		res := s.resolve(repo, append(slices.Clone(files), bad...), s.hint(), s.scan())
		if r := res.Chain.Reason(); r != policy.NoBinding {
			t.Errorf("%s: %s", what, r)
		}
	}
	files = append(files, m.write(one, 1, right)...)
	s := newMachine(t)
	if res := s.resolve(repo, files, s.hint(), s.scan()); res.Chain.Reason() != "" {
		t.Errorf("bound rightly in the end: %+v", res.Chain.Problems())
	}
}

// TestRotation: a second version needs both quorums, and dropping one of its
// signatures is not a way back to the first.
func TestRotation(t *testing.T) {
	const repo = "acme/rotated"
	job := ci
	job.Repository = repo
	m := newMachine(t)
	one := encode(t, policyText(repo, 1, 1, "alice"), "")
	files := append(m.write(one, 1, alice), m.write(one, 1, job)...)
	two := encode(t, policyText(repo, 2, 2, "alice", "bob"), spelling.Sum(one))
	byAlice, byBob := m.write(two, 2, alice), m.write(two, 2, bob)
	bound := m.write(two, 2, job)
	all := slices.Concat(files, byAlice, byBob, bound)
	s := newMachine(t)
	res := s.resolve(repo, all, s.hint(), s.scan())
	if res.Chain.Reason() != "" || len(res.Chain.Versions()) != 2 {
		t.Fatalf("%+v", res.Chain.Problems())
	}
	for what, files := range map[string][]bindings.File{
		"without bob":              slices.Concat(files, byAlice, bound),
		"without alice's second":   slices.Concat(files, byBob, bound),
		"without any of version 2": files,
	} {
		for who, s := range map[string]*machine{"a stranger": newMachine(t), "one who knew": s} {
			if r := s.resolve(repo, files, s.hint(), s.scan()).Chain.Reason(); r != policy.Undisclosed && r != policy.ChainRollback {
				t.Errorf("%s, %s: %s", what, who, r)
			}
		}
	}
	if res := newMachine(t).resolve(repo, files); res.Chain.View().Completeness != chain.CompleteNone {
		t.Error("files alone must not be complete")
	}
}

// TestForkInBothLogs: who was removed binds another version 2 in both generations
// of the log. It lost, but its entry in Rekor v1 is in no order with the binding that
// won: it could be all that is shown of an earlier one. So nothing is decided until
// the quorum declares it void.
func TestForkInBothLogs(t *testing.T) {
	const repo = "acme/forked-twice"
	job := ci
	job.Repository = repo
	m := newMachine(t)
	one := encode(t, policyText(repo, 1, 1, "alice", "bob"), "")
	two := encode(t, policyText(repo, 2, 1, "alice"), spelling.Sum(one))
	other := encode(t, policyText(repo, 2, 1, "bob"), spelling.Sum(one))
	files := slices.Concat(m.write(one, 1, alice), m.write(one, 1, job), m.write(two, 2, alice), m.write(two, 2, job))
	if res := newMachine(t).resolve(repo, files, m.hint(), m.scan()); res.Chain.Reason() != "" {
		t.Fatalf("%+v", res.Chain.Problems())
	}
	files = append(files, m.write(other, 2, bob)...)
	lost := m.write(other, 2, job)
	files = append(files, lost...)
	res := newMachine(t).resolve(repo, files, m.hint(), m.scan())
	if len(res.Chain.Alarms()) != 1 || res.Chain.Alarms()[0].Code != "fork" || res.Chain.Reason() != policy.Undisclosed {
		t.Errorf("%+v %+v", res.Chain.Problems(), res.Chain.Alarms())
	}
	text := policyText(repo, 3, 1, "alice")
	for _, f := range lost {
		var b struct {
			VerificationMaterial struct {
				TlogEntries []struct{ CanonicalizedBody []byte }
			}
		}
		check(t, json.Unmarshal(f.Data, &b))
		text = fmt.Appendf(text, "\n[[void]]\nleaf = \"sha256:%s\"\n", spelling.Sum(b.VerificationMaterial.TlogEntries[0].CanonicalizedBody))
	}
	three := encode(t, text, spelling.Sum(two))
	files = slices.Concat(files, m.write(three, 3, alice), m.write(three, 3, job))
	if res = newMachine(t).resolve(repo, files, m.hint(), m.scan()); res.Chain.Reason() != policy.Undisclosed {
		t.Errorf("declared void too soon: %+v", res.Chain.Problems())
	}
	later := func() time.Time { return time.Now().Add(chain.Grace + time.Hour) }
	hint, scan := m.hint(), m.scan()
	hint.Now, scan.Now = later, later
	res = newMachine(t).resolve(repo, files, hint, scan)
	if vs := res.Chain.Versions(); res.Chain.Reason() != "" || len(vs) != 3 || vs[1].Statement != spelling.Sum(two) {
		t.Errorf("declared void: %+v %d", res.Chain.Problems(), len(vs))
	}
}

// TestVoid: who may bind for a minute stops all verdicts with a version that nobody
// sees. The message names the leaf, a version that declares it void can be signed and
// bound, and verdicts come again when it is as old as there is time to show it.
func TestVoid(t *testing.T) {
	const name = "acme/poisoned"
	url := "https://github.com/" + name
	p, good := bound(t, name)
	repo, err := stack.Forge().Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
	newMachine(t).write(encode(t, policyText(name, 2, 1, "mallory"), spelling.Sum([]byte("nobody knows"))), 2, job)
	c := newComputer(t)
	out := c.must(policy.ClassUnavailable, "verify", "-R", url, good)
	_, leaf, _ := strings.Cut(out, "(leaf sha256:")
	leaf, _, _ = strings.Cut(leaf, ")")
	if len(leaf) != 64 {
		t.Fatalf("no leaf in\n%s", out)
	}
	p.write(".repopolicy/policy.toml", string(policyText(name, 2, 1, "alice"))+"\n[[void]]\nleaf = \"sha256:"+leaf+"\"\n")
	p.push()
	git(t, p.dir, "fetch", "-q", "origin")
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	// There is time left in which somebody may show it.
	newComputer(t).must(policy.ClassUnavailable, "verify", "-R", url, good)
	later := newComputer(t)
	later.ahead = chain.Grace + time.Hour
	if out := later.must(policy.ClassOK, "verify", "-R", url, good); !strings.Contains(out, "alarm: void") {
		t.Error(out)
	}
}
