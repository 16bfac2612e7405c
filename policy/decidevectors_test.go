// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors/evidence"
	"github.com/repopolicy/repopolicy/policy"
)

// decideWant is what a vector says beyond class and reason; a nil field is not
// compared.
type decideWant struct {
	Rule       *string  `json:"rule"`
	Tag        *string  `json:"tag"`
	Notes      []string `json:"notes"`
	Mismatches []string `json:"mismatches"`
}

// decideInput is a vector as the package takes it.
type decideInput struct {
	evidence.Case
	text  string // of the policy
	want  decideWant
	facts []policy.RootFact
}

func readDecide(t testing.TB, v vectors.Vector) decideInput {
	t.Helper()
	parts := v.Sections(t)
	in := decideInput{Case: evidence.Read(t, parts["evidence.json"]), text: parts["policy.toml"]}
	in.Approve(t, map[string]string{"": in.text})
	in.facts = evidence.Roots(t, parts["roots.json"])
	if w, ok := parts["want.json"]; ok {
		vectors.Strict(t, w, &in.want)
	}
	return in
}

func (in *decideInput) pin(t testing.TB) *policy.Trusted {
	t.Helper()
	doc, err := policy.Parse([]byte(in.text))
	if err != nil {
		t.Fatal(err)
	}
	p := doc.Pin(in.Ids).Knowing(in.facts)
	if in.Among != nil {
		p = p.Among(*in.Among)
	}
	return p
}

func TestDecideVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "decide") {
		t.Run(v.Name, func(t *testing.T) {
			in := readDecide(t, v)
			p := in.pin(t)
			d := in.Decide(p)
			if string(d.Reason) != v.Header["reason"] || d.Reason.Class().String() != v.Header["expect"] {
				t.Errorf(
					"got %s %s (%s), want %s %s", d.Reason.Class(), d.Reason, d.Detail, v.Header["expect"],
					v.Header["reason"],
				)
			}
			if (d.Permitted) != (v.Header["expect"] == "OK") {
				t.Errorf("permitted %v", d.Permitted)
			}
			compare(t, d, in.want)
			for range 3 {
				if again := in.Decide(p); !reflect.DeepEqual(d, again) {
					t.Fatal("another decision the second time")
				}
			}
		})
	}
}

// compare compares a decision with what a vector says beyond class and reason.
func compare(t *testing.T, d policy.Decision, want decideWant) {
	t.Helper()
	if w := want.Rule; w != nil && d.Rule != *w {
		t.Errorf("rule %q, want %q", d.Rule, *w)
	}
	if w := want.Tag; w != nil && d.Tag != *w {
		t.Errorf("tag %q, want %q", d.Tag, *w)
	}
	if w := want.Notes; w != nil {
		got := []string{}
		for _, n := range d.Notes {
			got = append(got, n.Code)
		}
		if !slices.Equal(w, got) {
			t.Errorf("notes %q, want %q", got, w)
		}
	}
	if w := want.Mismatches; w != nil {
		near, ok := d.Nearest()
		var got []string
		for _, m := range near.Mismatches {
			got = append(got, m.Code())
			if m.Want == "" {
				t.Errorf("%s does not say what the rule wants", m.Code())
			}
		}
		slices.Sort(got)
		if !ok || !slices.Equal(w, got) {
			t.Errorf("the nearest rule %q differs in %q, want %q", near.Rule, got, w)
		}
	}
}

// TestPrecheckAgrees: what is refused early is refused after verification too,
// whatever the verification finds; and nothing is ever allowed early.
func TestPrecheckAgrees(t *testing.T) {
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	var results []policy.Verification
	for _, ts := range [][]time.Time{
		nil, {{}}, {at("2020-01-01T00:00:00Z")}, {at("2026-06-01T12:00:00Z")},
		{at("2026-06-01T11:00:00Z"), at("2026-06-01T13:00:00Z")},
		{at("2026-12-31T23:59:59Z")}, {at("2030-01-01T00:00:00Z")},
	} {
		for i := range 4 {
			results = append(results, policy.Verification{Times: ts, Logged: i&1 != 0, Proven: i&2 != 0})
		}
	}
	for _, v := range vectors.Read(t, "decide") {
		in := readDecide(t, v)
		if in.Claims == nil {
			continue
		}
		p := in.pin(t)
		pre, final := p.Precheck(in.Request, *in.Claims)
		if pre.Permitted || final != (pre.Reason != "") ||
			final && pre.Reason.Class() == policy.ClassOK {
			t.Errorf("%s: precheck %+v", v.Name, pre)
		}
		if final && v.Header["expect"] == "OK" {
			t.Errorf("%s: refused early as %s", v.Name, pre.Reason)
		}
		for _, r := range results {
			if d := p.Decide(in.Request, in.Claims.Verified(r)); final && d.Permitted {
				t.Errorf("%s: refused early as %s, allowed with %+v", v.Name, pre.Reason, r)
			}
		}
	}
}

// TestMonotone damages every part of the evidence of every vector: a denial
// never becomes a permission by removing something, and no permission survives
// the loss of a field that its rule compares.
func TestMonotone(t *testing.T) {
	for _, v := range vectors.Read(t, "decide") {
		in := readDecide(t, v)
		if in.Claims == nil || in.Verified == nil {
			continue
		}
		p := in.pin(t)
		allowed := v.Header["expect"] == "OK"
		try := func(what string, c policy.Claims, x policy.Verification, ids policy.Ids) {
			changed := in
			changed.Ids = ids
			q := p
			if ids != in.Ids {
				q = changed.pin(t)
			}
			if d := q.Decide(in.Request, c.Verified(x)); d.Permitted && !allowed {
				t.Errorf("%s: allowed after %s", v.Name, what)
			}
		}
		for ext := range evidence.Extensions(&in.Claims.Signer) {
			// What no certificate authority ever signed: a certificate of today
			// with the extensions of 2022, and a yanked commit taken out.
			if v.Name == "legacy-in-part" && ext == ".23" || v.Name == "yanked-commit-of-run" && ext == ".13" {
				continue
			}
			c := *in.Claims
			f := evidence.Extensions(&c.Signer)[ext]
			if *f == "" {
				continue
			}
			*f = ""
			try("removing "+ext, c, *in.Verified, in.Ids)
		}
		c := *in.Claims
		c.Signer.Issuer = ""
		if c.GitHubRelease == nil {
			try("removing the issuer", c, *in.Verified, in.Ids)
		}
		c = *in.Claims
		c.Signer.Kind = ""
		try("removing the kind", c, *in.Verified, in.Ids)
		c = *in.Claims
		c.GitHubRelease = nil
		try("removing the predicate", c, *in.Verified, in.Ids)
		if in.Claims.Tags != nil && v.Header["reason"] != string(policy.YankedRelease) &&
			!strings.Contains(in.text, `tags = "any"`) {
			c = *in.Claims
			c.Tags = nil
			try("removing the tags", c, *in.Verified, in.Ids)
		}
		x := *in.Verified
		x.Times = nil
		try("removing the times", *in.Claims, x, in.Ids)
		x = *in.Verified
		x.Proven = false
		if v.Header["source"] != "SPEC 5.9" {
			try("removing the proof", *in.Claims, x, in.Ids)
		}
		if in.Ids == (policy.Ids{}) {
			try("pinning another repository id", *in.Claims, *in.Verified, policy.Ids{Repository: "31337"})
		}
	}
}

// TestAddingNeverHelps takes every denied vector and gives each field of its
// certificate a value that nobody asked for.
func TestAddingNeverHelps(t *testing.T) {
	for _, v := range vectors.Read(t, "decide") {
		in := readDecide(t, v)
		if in.Claims == nil || in.Verified == nil || v.Header["expect"] == "OK" {
			continue
		}
		p := in.pin(t)
		for ext := range evidence.Extensions(&in.Claims.Signer) {
			for _, add := range []string{"x", "refs/heads/nowhere", "*", strings.Repeat("f", 40)} {
				c := *in.Claims
				f := evidence.Extensions(&c.Signer)[ext]
				if v.Header["reason"] != string(policy.RuleMismatch) && (*f != "" || ext == ".24") {
					continue // it may be what was revoked or yanked
				}
				*f += add
				if d := p.Decide(in.Request, c.Verified(*in.Verified)); d.Permitted {
					t.Errorf("%s: allowed after adding %q to %s", v.Name, add, ext)
				}
			}
		}
	}
}

// TestWithheldRoots: whoever keeps a trust root from answering can make a verdict undecided, and
// no other one of it.
func TestWithheldRoots(t *testing.T) {
	open := 0
	for _, v := range vectors.Read(t, "decide") {
		in := readDecide(t, v)
		if len(in.facts) == 0 {
			continue
		}
		before := in.Decide(in.pin(t))
		all := in.facts
		for i := range all {
			for what, facts := range map[string][]policy.RootFact{
				"kept back":   slices.Concat(all[:i], all[i+1:]),
				"unreachable": slices.Concat(all[:i], evidence.Withheld(all[i:i+1]), all[i+1:]),
				"all of them": evidence.Withheld(all),
				"none":        nil,
			} {
				in.facts = facts
				d := in.Decide(in.pin(t))
				switch {
				case d.Open() && !d.Permitted:
					open++
				case d.Permitted != before.Permitted || d.Reason.Class() != before.Reason.Class() && !before.Open():
					t.Errorf("%s, %s: %s, was %s", v.Name, what, d.Reason, before.Reason)
				}
			}
		}
	}
	if open == 0 {
		t.Error("nothing became undecided")
	}
}
