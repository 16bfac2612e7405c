// SPDX-License-Identifier: Apache-2.0

package find

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

var unboundNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// unboundCase is what a look-up found of a repository without a policy.
type unboundCase struct {
	found   *Found
	history chain.History
}

func newUnboundCase(t *testing.T) *unboundCase {
	t.Helper()
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	return &unboundCase{
		&Found{
			Repository: repo, Demand: chain.Demand{MaxAge: DefaultMaxAge}, query: &Query{Repository: repo},
			Resolution: &bindings.Resolution{Failed: map[string]error{}},
		},
		chain.History{
			Repository: repo, Now: unboundNow,
			View: chain.View{Completeness: chain.CompleteScanned, AsOf: unboundNow.Add(-time.Hour)},
		},
	}
}

// TestUnbound: what is known of a repository decides whether it may be judged without a policy,
// and everything that leaves a doubt leaves it at that there is none.
func TestUnbound(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*unboundCase)
		why    string // "" where it may be judged
	}{
		{"scanned", func(*unboundCase) {}, ""},
		{"signed", func(c *unboundCase) { c.history.View.Completeness = chain.CompleteSigned }, ""},
		{"proven", func(c *unboundCase) { c.history.View.Completeness = chain.CompleteProven }, ""},
		{"a log without an index, which was read", func(c *unboundCase) {
			c.found.Resolution.Failed["index"] = bindings.ErrNoIndex
		}, ""},
		{"hinted", func(c *unboundCase) { c.history.View.Completeness = chain.CompleteHinted }, "an index promises nothing"},
		{"none, as demanded", func(c *unboundCase) {
			c.history.View.Completeness, c.found.Demand.Completeness = chain.CompleteNone, chain.CompleteNone
		}, "an index promises nothing"},
		{"less than demanded", func(c *unboundCase) { c.found.Demand.Completeness = chain.CompleteProven }, "not decided"},
		{"of any age", func(c *unboundCase) { c.found.Demand.MaxAge = 0 }, "may be of any age"},
		{"undated", func(c *unboundCase) { c.history.View.AsOf = time.Time{} }, "not decided"},
		{"too old", func(c *unboundCase) {
			c.history.View.AsOf = unboundNow.Add(-DefaultMaxAge - time.Second)
		}, "not decided"},
		{"of inputs that are too old", func(c *unboundCase) {
			c.history.View.Inputs = unboundNow.Add(-DefaultMaxAge - time.Second)
		}, "not decided"},
		{"seen before", func(c *unboundCase) {
			c.history.Kept.Chain = []string{strings.Repeat("a", 64)}
		}, "has seen a policy"},
		{"a log that forked", func(c *unboundCase) { c.history.LogForks = []string{"two trees"} }, "not decided"},
		{"a directory that lied", func(c *unboundCase) { c.history.Lies = []string{"another map"} }, "not decided"},
		{"a log that is not proven", func(c *unboundCase) { c.history.Unproven = []string{"no proof"} }, "not decided"},
		{"somebody gave no answer", func(c *unboundCase) {
			c.found.Resolution.Failed["index of a log"] = errors.New("503")
		}, "no answer from the index of a log"},
		{"an alarm", func(c *unboundCase) {
			other, err := policy.ParseLocator("https://github.com/acme/other")
			if err != nil {
				t.Fatal(err)
			}
			at := unboundNow.Add(-24 * time.Hour)
			c.history.Logs = []policy.Log{{ID: "a", Generation: 2, Start: at.Add(-time.Hour)}}
			c.history.Leaves = []chain.Leaf{chain.LeafFacts{
				PAE:     strings.Repeat("b", 64),
				Binding: chain.Binding{Repository: other, RepositoryID: "9", OwnerID: "9"},
				Entry:   policy.Entry{Log: "a", NotBefore: at, NotAfter: at.Add(10 * time.Minute)},
			}.Verified()}
			c.history.Moments = []policy.Moment{policy.Log{ID: "a"}.Seen(1, at.Add(-time.Minute), "tsa")}
		}, "there is an alarm: stamps"},
		{"pinned", func(c *unboundCase) { c.found.query.Pin = strings.Repeat("a", 64) }, "a pin, lock or anchor"},
		{"locked", func(c *unboundCase) { c.found.query.Lock = &Lock{} }, "a pin, lock or anchor"},
		{"locked to a policy", func(c *unboundCase) {
			c.found.query.Lock = &Lock{lockSchema, unboundRepo.String(), []string{strings.Repeat("a", 64)}, nil}
		}, "a pin, lock or anchor"},
		{"locked to no policy", func(c *unboundCase) { c.found.query.Lock = unboundLock(t) }, ""},
		{"locked to no policy, and seen before", func(c *unboundCase) {
			c.found.query.Lock, c.history.Kept.Chain = unboundLock(t), []string{strings.Repeat("a", 64)}
		}, "has seen a policy"},
		{"locked to no policy, and pinned", func(c *unboundCase) {
			c.found.query.Lock, c.found.query.Pin = unboundLock(t), strings.Repeat("a", 64)
		}, "a pin, lock or anchor"},
		{"locked to no policy, off-line", func(c *unboundCase) {
			c.found.query.Lock, c.found.query.Offline = unboundLock(t), true
		}, "off-line"},
		{"locked to no policy, carried", func(c *unboundCase) {
			c.found.query.Lock, c.found.query.Carried = unboundLock(t), &airgap.Bundle{}
		}, "off-line"},
		{"locked to no policy, and hinted", func(c *unboundCase) {
			c.found.query.Lock, c.history.View.Completeness = unboundLock(t), chain.CompleteHinted
		}, "an index promises nothing"},
		{"locked to another repository", func(c *unboundCase) {
			c.found.query.Lock = unboundLock(t)
			c.found.query.Lock.Repository += "-2"
		}, "the lock is not of the repository"},
		{"locked to nobody", func(c *unboundCase) {
			c.found.query.Lock = unboundLock(t)
			c.found.query.Lock.Unbound.Workflows = nil
		}, "the lock is not of the repository"},
		{"anchored", func(c *unboundCase) { c.found.AnchoredBy = "super" }, "a pin, lock or anchor"},
		{"off-line", func(c *unboundCase) { c.found.query.Offline = true }, "off-line"},
		{"carried", func(c *unboundCase) { c.found.query.Carried = &airgap.Bundle{} }, "off-line"},
		{"another forge", func(c *unboundCase) {
			other, err := policy.ParseLocator("https://codeberg.org/acme/widget")
			if err != nil {
				t.Fatal(err)
			}
			c.found.Repository, c.history.Repository = other, other
		}, "for github.com and gitlab.com"},
		{"a policy that nothing binds", func(c *unboundCase) {
			c.history.Statements = []chain.Statement{unboundStatement(t)}
		}, "a policy is there, but nothing binds it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newUnboundCase(t)
			row.change(c)
			c.found.Resolution.Chain = chain.Evaluate(c.history)
			u, err := c.found.Unbound(unboundNow)
			switch {
			case row.why == "" && (err != nil || u == nil || u.Genesis() != "none"):
				t.Errorf("%v %v", u, err)
			case row.why != "" && (u != nil || err == nil || !strings.Contains(err.Error(), row.why)):
				t.Errorf("%v %v, want %q", u, err, row.why)
			}
		})
	}
}

func unboundLock(t *testing.T) *Lock {
	t.Helper()
	l, err := NewUnboundLock(unboundRepo, []policy.Identity{workflowIdentity("1", "2", "release.yml", "release.yml")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unboundStatement(t *testing.T) chain.Statement {
	t.Helper()
	payload, err := rekorbind.Encode([]byte(`format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`), "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := rekorbind.ParseStatement(payload)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestUnboundGrowsOld: who holds on to the answer that there is no policy cannot judge by it for
// longer than it may be old; and it never allows what the policies' matcher does not.
func TestUnboundGrowsOld(t *testing.T) {
	c := newUnboundCase(t)
	c.found.Resolution.Chain = chain.Evaluate(c.history)
	u, err := c.found.Unbound(unboundNow)
	if err != nil {
		t.Fatal(err)
	}
	const san = "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1"
	claims := policy.Claims{
		Signer: policy.Identity{
			Kind: policy.KindURI, Value: san, Issuer: "https://token.actions.githubusercontent.com", BuildSignerURI: san,
			BuildConfigURI: san, RunnerEnvironment: "github-hosted", SourceRepositoryURI: "https://github.com/acme/widget",
			SourceRepositoryRef: "refs/tags/v1", SourceRepositoryID: "1", SourceRepositoryOwnerID: "2", BuildTrigger: "push",
		},
		Tags: []string{"v1"}, TagSource: "certificate",
	}
	ev := claims.Verified(policy.Verification{
		Times: []time.Time{unboundNow.Add(-time.Hour)}, Logged: true, Proven: true,
	})
	req := policy.Request{Tag: "v1", Now: unboundNow}
	for range 2 {
		d := u.Decide(req, ev)
		if d.Permitted || d.Reason != policy.UnboundDenied || !slices.Equal(u.Unasked(), []string{"1"}) {
			t.Fatalf("nobody was asked about the number: %+v, %q", d, u.Unasked())
		}
	}
	c.found.query.Beside = []string{"1"}
	if d := u.Decide(req, ev); !d.Permitted || d.Reason != policy.AllowedUnbound {
		t.Fatalf("%+v", d)
	}
	for n := range 2 * maxNumbers {
		more := claims
		more.Signer.SourceRepositoryID = strconv.Itoa(n + 2)
		if d := u.Decide(req, more.Verified(ev.Verification())); d.Permitted || len(u.Unasked()) > maxNumbers {
			t.Errorf("number %d: %+v", n, d)
		}
	}
	if _, final := u.Precheck(req, claims); final {
		t.Error("refused early")
	}
	if d := u.Decide(req, policy.Evidence{}); d.Permitted {
		t.Error("what nobody verified is allowed")
	}
	if _, said := u.DecideAdopted(req); said {
		t.Error("something is adopted without a policy")
	}
	late := req
	late.Now = unboundNow.Add(DefaultMaxAge)
	if d := u.Decide(late, ev); d.Permitted || d.Reason != policy.ViewStale {
		t.Errorf("later: %+v", d)
	}
	other := claims
	other.Signer.RunnerEnvironment = "self-hosted"
	if d, final := u.Precheck(req, other); !final || d.Reason != policy.UnboundDenied {
		t.Errorf("another runner: %+v", d)
	}
}

// TestUnboundLocked: by a lock of a repository without a policy no other number, owner or workflow
// passes, and none of another number is asked for.
func TestUnboundLocked(t *testing.T) {
	c := newUnboundCase(t)
	c.found.query.Lock, c.found.query.Beside = unboundLock(t), []string{"1"}
	c.found.Resolution.Chain = chain.Evaluate(c.history)
	u, err := c.found.Unbound(unboundNow)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		id    policy.Identity
		field string // "" if it is allowed
	}{
		{workflowIdentity("1", "2", "release.yml", "release.yml"), ""},
		{workflowIdentity("3", "2", "release.yml", "release.yml"), "repository-id"},
		{workflowIdentity("1", "3", "release.yml", "release.yml"), "owner-id"},
		{workflowIdentity("2", "1", "release.yml", "release.yml"), "repository-id"},
		{workflowIdentity("1", "2", "publish.yml", "publish.yml"), "signer-workflow"},
		{workflowIdentity("1", "2", "release.yml", "publish.yml"), "caller"},
	} {
		row.id.Issuer, row.id.RunnerEnvironment, row.id.BuildTrigger = "https://token.actions.githubusercontent.com",
			"github-hosted", "push"
		claims := policy.Claims{Signer: row.id, Tags: []string{"v1"}, TagSource: "certificate"}
		req := policy.Request{Tag: "v1", Now: unboundNow}
		d := u.Decide(req, claims.Verified(policy.Verification{
			Times: []time.Time{unboundNow.Add(-time.Hour)}, Logged: true, Proven: true,
		}))
		_, final := u.Precheck(req, claims)
		if row.field == "" {
			if !d.Permitted || final {
				t.Errorf("%+v", d)
			}
			continue
		}
		n, _ := d.Nearest()
		if d.Permitted || !final || d.Reason != policy.UnboundDenied || !slices.ContainsFunc(n.Mismatches,
			func(m policy.Mismatch) bool { return m.Field == row.field }) {
			t.Errorf("%s: %+v", row.field, d)
		}
	}
	if len(u.Unasked()) > 0 {
		t.Errorf("asked for %q", u.Unasked())
	}
}
