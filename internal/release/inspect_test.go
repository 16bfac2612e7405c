// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// TestInspectPlace: what is in a release is shown once, and what could not be had is said.
func TestInspectPlace(t *testing.T) {
	inst := sigstoretest.New(t)
	root, err := sigstore.ParseRoot("root", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(data string) []byte {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = []byte(data)
		return inst.Sign(r)
	}
	approval := sigstoretest.Request{
		SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2, TSA: true,
		Statement: []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":` +
			`"` + sha256Of([]byte("a")) + `"}}],"predicateType":"` + spelling.ApprovalPredicate + `","predicate":{}}`),
	}
	full := map[string][]byte{
		"a": []byte("a"), "a.sigstore.json": sign("a"), "b": []byte("b"), "c.sigstore.json": sign("nothing that is here"),
		"v1.approval.sigstore.json": inst.Sign(approval),
	}
	for name, c := range map[string]struct {
		down []string
		want map[string]string // by input: how many pieces, and why there is no more
	}{
		"all": {nil, map[string]string{"a": "++", "b": "no-evidence", "c.sigstore.json": "+"}},
		"no listing": {[]string{""}, map[string]string{
			"": "release-unreachable",
		}},
		"no bundle": {[]string{"a.sigstore.json"}, map[string]string{
			"a": "-+", "a.sigstore.json": "release-unreachable", "b": "no-evidence", "c.sigstore.json": "+",
		}},
		"no file": {[]string{"b"}, map[string]string{
			"a": "++", "b": "release-unreachable", "c.sigstore.json": "+",
		}},
	} {
		p := &folder{files: full, down: map[string]bool{}}
		for _, d := range c.down {
			p.down[d] = true
		}
		roots := func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{root}, nil }
		j := &Judge{Roots: roots, Now: sigstoretest.Now}
		got := map[string]string{}
		for _, x := range j.Inspect(t.Context(), ExpandPlace(t.Context(), p)) {
			text := ""
			for _, e := range x.Pieces {
				if e.Verified != nil && e.Decision.Reason == "" {
					text += "+"
				} else {
					text += "-"
				}
			}
			if x.Why != nil && text == "" {
				text = string(x.Why.Reason)
			}
			got[x.Artifact.Name] = text
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", name, got)
		}
		for k, want := range c.want {
			if got[k] != want {
				t.Errorf("%s: %s: %q, want %q (%v)", name, k, got[k], want, got)
			}
		}
	}
}

// TestInspectLimits: what is held of strangers' evidence counts against the run's budget, a run that ends shows
// nothing half, and a judge that inspected allows nothing.
func TestInspectLimits(t *testing.T) {
	t.Chdir(t.TempDir())
	inst := sigstoretest.New(t)
	root, err := sigstore.ParseRoot("root", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = []byte("a")
	err = errors.Join(os.WriteFile("a", r.Artifact, 0o600), os.WriteFile("a.sigstore.json", inst.Sign(r), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	roots := func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{root}, nil }
	small := budget.With(t.Context(), budget.New(20_000))
	got := (&Judge{Roots: roots, Now: sigstoretest.Now}).Inspect(small, Expand(t.Context(), []string{"a"}, Options{}))
	if len(got) != 1 || !slices.ContainsFunc(got[0].Pieces, func(p *Inspected) bool {
		return p.Verified == nil && p.Decision.Reason == policy.BudgetExceeded
	}) {
		t.Errorf("%+v", got[0])
	}
	ended, end := context.WithCancel(t.Context())
	end()
	both := Expand(t.Context(), []string{"a", "a.sigstore.json"}, Options{})
	got = (&Judge{Roots: roots, Now: sigstoretest.Now}).Inspect(ended, both)
	for _, x := range got {
		if x.Why == nil || x.Why.Reason != policy.Interrupted || len(x.Pieces) > 0 {
			t.Errorf("%+v", x)
		}
	}
	j := &Judge{Roots: roots, Now: sigstoretest.Now}
	in := Expand(t.Context(), []string{"a"}, Options{})
	j.Inspect(t.Context(), in)
	if res := j.Run(t.Context(), []*Artifact{in[0].Artifact}); res[0].Decision.Permitted || Class(res) == policy.ClassOK {
		t.Errorf("a judge that has no policy allows: %+v", res[0].Decision)
	}
}
