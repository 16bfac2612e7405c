// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// bothBound returns a chain of two versions that alice and bob sign.
func bothBound(t testing.TB, first, second string) (*Chain, History) {
	t.Helper()
	h := longChain(t, 1)
	one := statementOf(t, first, "")
	h.Statements = []Statement{one, statementOf(t, second, one.digest)}
	h.Leaves, h.Signatures = nil, nil
	for i, s := range h.Statements {
		for k, who := range []string{"alice", "bob"} {
			e := policy.Entry{Log: "v2", Index: int64(10*i + k)}
			h.Signatures = append(h.Signatures, SignatureFacts{
				Statement: s.digest, Signer: person(who + "@example.com"), Entry: e,
			}.Verified())
		}
		h.Leaves = append(h.Leaves, LeafFacts{
			PAE: s.pae, Binding: Binding{Repository: h.Repository, RepositoryID: "1", OwnerID: "2"},
			Entry: policy.Entry{Log: "v2", Index: int64(10*i + 5)},
		}.Verified())
	}
	c := Evaluate(h)
	if c.Reason() != "" || len(c.Versions()) != 2 {
		t.Fatal(c.Problems())
	}
	return c, h
}

// TestTrustedNobody: what nobody made says nothing and allows nothing.
func TestTrustedNobody(t *testing.T) {
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	ev := carol(policy.Entry{Log: "v2", Index: 7, NotBefore: now.Add(-time.Hour)})
	req := policy.Request{Now: now, Digests: []policy.Digest{{Alg: "sha256", Hex: strings.Repeat("a", 64)}}}
	for name, p := range map[string]*Trusted{"nil": nil, "zero": {}} {
		if d := p.Decide(req, ev); d.Permitted || d.Reason != policy.Internal {
			t.Errorf("%s: %s", name, d.Reason)
		}
		if d := p.Decide(req, policy.Evidence{}); d.Permitted || d.Reason != policy.Internal {
			t.Errorf("%s, nobody's evidence: %s", name, d.Reason)
		}
		if d, final := p.Precheck(req, ev.Claims()); d.Reason != policy.Internal || !final {
			t.Errorf("%s: precheck %s %v", name, d.Reason, final)
		}
		if d, ok := p.DecideAdopted(req); ok || d.Permitted {
			t.Errorf("%s: adopted %s", name, d.Reason)
		}
		if p.Genesis() != "" || p.Digest() != (policy.Digest{}) || p.Content() != nil || p.Chain() != nil ||
			p.AcceptsUnlogged() || p.DemandsApprovals() || len(p.Keys()) > 0 || len(p.ApprovalKeys()) > 0 ||
			len(p.DigestAlgorithms()) > 0 || p.MayApprove(1, ev.Claims().Signer, "v1") {
			t.Errorf("%s says something", name)
		}
	}
}

// TestChainAdopted: the newest version alone says what was adopted, and only of a chain that
// is decided.
func TestChainAdopted(t *testing.T) {
	digest := policy.Digest{Alg: "sha512", Hex: strings.Repeat("b", 128)}
	adopted := "[[adopted]]\ntag = \"v0\"\ndigests = [\"" + digest.String() + "\"]\n"
	one, two := fmt.Sprintf(chainPolicy, 1), fmt.Sprintf(chainPolicy, 2)
	for name, x := range map[string]struct {
		first, second string
		demand        Demand
		want          policy.Reason // "" if nothing is said
	}{
		"the newest": {one, two + adopted, Demand{}, policy.Adopted},
		"no longer":  {one + adopted, two, Demand{}, ""},
		"too little": {one, two + adopted, Demand{Completeness: CompleteProven}, policy.BelowRequired},
	} {
		c, h := bothBound(t, x.first, x.second)
		d, ok := c.Trusted(x.demand).DecideAdopted(policy.Request{Now: h.Now, Digests: []policy.Digest{digest}})
		if d.Reason != x.want || ok != (x.want != "") || (d.Permitted) != (x.want == policy.Adopted) {
			t.Errorf("%s: %v %s", name, ok, d.Reason)
		}
	}
}

// TestChainStrict: a strict demand refuses what only the newest version's expiry speaks
// against, whichever version judges.
func TestChainStrict(t *testing.T) {
	c, h := bothBound(t, fmt.Sprintf(chainPolicy, 1), fmt.Sprintf(chainPolicy, 2))
	ev := carol(policy.Entry{Log: "v2", Index: 7, NotBefore: h.Now.AddDate(-1, 0, 0)})
	for name, x := range map[string]struct {
		demand Demand
		now    time.Time
		want   policy.Reason
	}{
		"before":          {Demand{Strict: true}, time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), policy.Allowed},
		"expired":         {Demand{Strict: true}, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), policy.PolicyExpired},
		"expired, lax":    {Demand{}, time.Date(2027, 1, 1, 0, 0, 1, 0, time.UTC), policy.Allowed},
		"for long, lax":   {Demand{}, time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC), policy.PolicyStale},
		"lax once more":   {Demand{}, h.Now, policy.Allowed},
		"strict, in time": {Demand{Strict: true}, h.Now, policy.Allowed},
	} {
		if d := c.Trusted(x.demand).Decide(policy.Request{Now: x.now}, ev); d.Reason != x.want {
			t.Errorf("%s: %s %s", name, d.Reason, d.Detail)
		}
	}
}

// TestChainKeysAndApprovals: what any version wants is to be had, none of it twice.
func TestChainKeysAndApprovals(t *testing.T) {
	key := func(x string) string {
		return "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEA" + x + "\\n-----END PUBLIC KEY-----\\n"
	}
	// Keys of RFC 8032, section 7.1.
	a, b := key("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), key("PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=")
	with := func(version int, key string, more string) string {
		return strings.Replace(
			fmt.Sprintf(chainPolicy, version), "\n[[release]]", "keys = [\""+key+"\"]\n\n[[release]]", 1,
		) + more
	}
	const approvals = "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n"
	rule := func(key string) string {
		return "[[release]]\nname = \"k\"\ntags = \"any\"\nartifacts = \"any\"\nkeys = [\"" + key + "\"]\n"
	}
	c, h := bothBound(t, with(1, a, approvals+rule(a)), with(2, b, rule(a)))
	p := c.Trusted(Demand{})
	ids := func(from []policy.Key) (out []string) {
		for _, k := range from {
			out = append(out, k.ID)
		}
		return out
	}
	first, err := keys.Parse([]byte(strings.ReplaceAll(a, "\\n", "\n")))
	if err != nil {
		t.Fatal(err)
	}
	second, err := keys.Parse([]byte(strings.ReplaceAll(b, "\\n", "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(p.Keys()); !slices.Equal(got, []string{first.ID}) {
		t.Errorf("keys %v", got)
	}
	if got := ids(p.ApprovalKeys()); !slices.Equal(got, []string{first.ID, second.ID}) {
		t.Errorf("keys of approvals %v", got)
	}
	if !p.DemandsApprovals() || !slices.Equal(p.DigestAlgorithms(), []string{"sha256"}) {
		t.Errorf("approvals that version 1 wants: %v", p.DigestAlgorithms())
	}
	// An approval counts where its signer was a maintainer, for a version of the chain alone,
	// and by the account that the chain knows.
	digest := policy.Digest{Alg: "sha256", Hex: strings.Repeat("0", 64)}
	approval := func(version policy.Digest, id policy.Identity, index int64) policy.Approval {
		f := policy.ApprovalFacts{
			Repository: h.Repository, Tag: "v1", Policy: version, Digests: []policy.Digest{digest},
		}
		return f.Verified(id, policy.Verification{
			Times: []time.Time{h.Now}, Logged: true, Proven: true, Entries: []policy.Entry{{Log: "v2", Index: index}},
		})
	}
	own := c.Versions()[0].Document.Digest()
	renamed := person("alice@example.com")
	renamed.TokenSubject = "2"
	c.walk.subjects[signerOf(&renamed)] = "1"
	known := renamed
	known.TokenSubject = "1"
	for name, x := range map[string]struct {
		approval policy.Approval
		want     policy.Reason
	}{
		"a maintainer":      {approval(own, person("bob@example.com"), 8), policy.Allowed},
		"the known account": {approval(own, known, 8), policy.Allowed},
		"another account":   {approval(own, renamed, 8), policy.RuleMismatch},
		"before version 1":  {approval(own, person("bob@example.com"), 3), policy.RuleMismatch},
		"of a newer version": {
			approval(c.Versions()[1].Document.Digest(), person("bob@example.com"), 8), policy.RuleMismatch,
		},
		"of no version of it": {approval(digest, person("bob@example.com"), 8), policy.RuleMismatch},
		"of nobody":           {approval(own, person("mallory@example.com"), 8), policy.RuleMismatch},
	} {
		req := policy.Request{Now: h.Now, Digests: []policy.Digest{digest}, Approvals: []policy.Approval{x.approval}}
		d := p.Decide(req, carol(policy.Entry{Log: "v2", Index: 7, NotBefore: h.Now.AddDate(-1, 0, 0)}))
		if d.Reason != x.want || (d.Permitted) != (x.want == policy.Allowed) {
			t.Errorf("%s: %s %v", name, d.Reason, d.Rules)
		}
	}
}

// TestChainRefuses: what time may cure is not final, and what a verdict rests on is said of
// what is allowed alone.
func TestChainRefuses(t *testing.T) {
	c, h := bothBound(t, fmt.Sprintf(chainPolicy, 1), fmt.Sprintf(chainPolicy, 2))
	claims, late := carol(policy.Entry{}).Claims(), policy.Request{Now: h.Now.Add(2 * time.Hour)}
	if d, final := c.Trusted(Demand{MaxAge: time.Hour}).Precheck(late, claims); final || d.Reason != "" {
		t.Errorf("an old view is final: %s", d.Reason)
	}
	if d, final := c.Trusted(Demand{Completeness: CompleteProven}).Precheck(late, claims); !final ||
		d.Reason != policy.BelowRequired {
		t.Errorf("too little is known: %v %s", final, d.Reason)
	}
	h.Unasked = []string{"x"}
	p := Evaluate(h).Trusted(Demand{})
	for who, want := range map[string]bool{"carol": true, "mallory": false} {
		run := policy.RunFacts{}.Verified(person(who + "@example.com"))
		d := p.Authorize(run, policy.StageSign, policy.Request{Now: h.Now}, nil, "")
		if (d.Permitted) != want || slices.Contains(d.Notes, unshown("x")) != want {
			t.Errorf("%s: %s %v", who, d.Reason, d.Notes)
		}
		if !slices.Equal(d.Numbers(), []int{2}) {
			t.Errorf("%s: by %v", who, d.Versions)
		}
	}
}

// TestChainApprovedBefore: before publishing, an approval may be for an older version of the
// chain, and for nothing else.
func TestChainApprovedBefore(t *testing.T) {
	const approvals = "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n"
	c, h := bothBound(t, fmt.Sprintf(chainPolicy, 1)+approvals, fmt.Sprintf(chainPolicy, 2)+approvals)
	digest := policy.Digest{Alg: "sha256", Hex: strings.Repeat("0", 64)}
	for name, x := range map[string]struct {
		of    policy.Digest
		stage policy.Stage
		want  policy.Reason
	}{
		"for the newest":  {c.Versions()[1].Document.Digest(), policy.StagePublish, policy.Allowed},
		"for an older":    {c.Versions()[0].Document.Digest(), policy.StagePublish, policy.Allowed},
		"for nothing":     {digest, policy.StagePublish, policy.RuleMismatch},
		"not yet needed":  {digest, policy.StageSign, policy.Allowed},
		"for no document": {policy.Digest{}, policy.StagePublish, policy.RuleMismatch},
	} {
		f := policy.ApprovalFacts{Repository: h.Repository, Policy: x.of, Digests: []policy.Digest{digest}}
		a := f.Verified(person("bob@example.com"), policy.Verification{
			Times: []time.Time{h.Now}, Logged: true, Proven: true, Entries: []policy.Entry{{Log: "v2", Index: 18}},
		})
		req := policy.Request{Now: h.Now, Digests: []policy.Digest{digest}, Approvals: []policy.Approval{a}}
		d := c.Trusted(Demand{}).Authorize(
			policy.RunFacts{}.Verified(person("carol@example.com")), x.stage, req, nil, "")
		if d.Reason != x.want || (d.Permitted) != (x.want == policy.Allowed) {
			t.Errorf("%s: %s %v", name, d.Reason, d.Rules)
		}
	}
}
