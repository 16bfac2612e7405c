// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNext(t *testing.T) {
	base := longChain(t, 2)
	genesis, head := base.Statements[0], base.Statements[1]
	next := statementOf(t, strings.Replace(fmt.Sprintf(chainPolicy, 3), "threshold = 2", "threshold = 1", 1), head.digest)
	skipped := statementOf(t, fmt.Sprintf(chainPolicy, 4), next.digest)
	other := statementOf(t, "# other\n"+fmt.Sprintf(chainPolicy, 1), "")
	invalid, _ := NewStatement([]byte("x"), Predicate{Repository: "https://github.com/acme/widget", Version: 1, Policy: "format = 1"})
	newer := statementOf(t, strings.Replace(fmt.Sprintf(chainPolicy, 3), "policy/v1", "policy/v2", 1), head.digest)
	recovers := func(d string) Statement {
		return statementOf(t, strings.Replace(fmt.Sprintf(chainPolicy, 1), "\n[maintainers]", "recovers = \"sha256:"+d+"\"\n\n[maintainers]", 1), "")
	}
	lost, older := recovers(head.digest), recovers(genesis.digest)
	sign := func(s Statement, who string) Signature {
		return NewSignature(SignatureFacts{s.digest, Identity{Kind: KindEmail, Value: who + "@example.com", Issuer: "https://accounts.google.com"}, Entry{Log: "v2", Index: 500}})
	}
	all := []Statement{next, skipped, other, invalid, newer, lost, older}
	with := func(h History, s Statement, who ...string) History {
		h.Statements = append(slices.Clone(h.Statements), all...)
		h.Signatures = slices.Clone(h.Signatures)
		for _, w := range who {
			h.Signatures = append(h.Signatures, sign(s, w))
		}
		return h
	}
	for name, x := range map[string]struct {
		s      Statement
		signed []string
		want   *Signed
	}{
		"nobody":                 {next, nil, &Signed{next.digest, 3, nil, []string{"alice", "bob"}, 2}},
		"one":                    {next, []string{"bob"}, &Signed{next.digest, 3, []string{"bob"}, []string{"alice"}, 1}},
		"one twice":              {next, []string{"bob", "bob"}, &Signed{next.digest, 3, []string{"bob"}, []string{"alice"}, 1}},
		"a stranger":             {next, []string{"bob", "mallory"}, &Signed{next.digest, 3, []string{"bob"}, []string{"alice"}, 1}},
		"both":                   {next, []string{"alice", "bob"}, &Signed{next.digest, 3, []string{"alice", "bob"}, nil, 0}},
		"in force":               {head, nil, nil},
		"an old one":             {genesis, nil, nil},
		"not the next":           {skipped, []string{"alice", "bob"}, nil},
		"a second genesis":       {other, []string{"alice", "bob"}, nil},
		"invalid":                {invalid, []string{"alice", "bob"}, nil},
		"newer":                  {newer, []string{"alice", "bob"}, nil},
		"a recovery not allowed": {lost, []string{"alice", "bob"}, nil},
		"a recovery of another":  {older, []string{"alice", "bob"}, nil},
		"a statement nobody has": {statementOf(t, "# nobody\n"+fmt.Sprintf(chainPolicy, 3), head.digest), nil, nil},
	} {
		c := Evaluate(with(base, x.s, x.signed...))
		got, err := c.Next(x.s.digest)
		if (err == nil) != (x.want != nil) {
			t.Errorf("%s: %v", name, err)
		} else if x.want != nil {
			if d := cmp.Diff(*x.want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		if c.Reason() != "" || len(c.Versions()) != 2 {
			t.Errorf("%s: asking changed the chain: %v", name, c.Problems())
		}
	}
	empty := base
	empty.Leaves, empty.Signatures, empty.Statements = nil, nil, nil
	none := Evaluate(with(empty, other, "alice"))
	if got, err := none.Next(other.digest); err != nil || got.Need != 1 || !slices.Equal(got.By, []string{"alice"}) {
		t.Errorf("%+v %v", got, err)
	}
	for _, s := range []Statement{next, lost} {
		if _, err := none.Next(s.digest); err == nil {
			t.Errorf("version %d cannot found a chain", s.version)
		}
	}
	if _, err := (&Chain{}).Next(next.digest); err == nil {
		t.Error("a chain that nobody evaluated")
	}
}
