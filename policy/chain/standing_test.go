// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

func TestStanding(t *testing.T) {
	h := longChain(t, 2)
	head := h.Statements[1]
	next := statementOf(
		t, strings.Replace(fmt.Sprintf(chainPolicy, 3), "threshold = 2", "threshold = 1", 1), head.digest,
	)
	skipped := statementOf(t, fmt.Sprintf(chainPolicy, 4), next.digest)
	other := statementOf(t, "# other\n"+fmt.Sprintf(chainPolicy, 1), "")
	invalid, _ := Predicate{
		Repository: "https://github.com/acme/widget", Version: 1, Policy: "format = 1",
	}.Statement([]byte("x"), nil)
	sign := func(s Statement, who string) Signature {
		return SignatureFacts{
			Statement: s.digest, Signer: person(who + "@example.com"), Entry: policy.Entry{Log: "v2", Index: 500},
		}.Verified()
	}
	c := Evaluate(h)
	h.Statements = append(slices.Clone(h.Statements), next, skipped, other, invalid)
	half := &Standing{
		false, 1, []string{"bob"}, []string{"alice"}, &Standing{false, 2, []string{"bob"}, []string{"alice"}, nil},
	}
	for name, x := range map[string]struct {
		digest string
		signed []string
		want   *Standing
		met    bool
	}{
		"nobody": {
			next.digest, nil,
			&Standing{false, 1, nil, []string{"alice", "bob"}, &Standing{false, 2, nil, []string{"alice", "bob"}, nil}}, false,
		},
		"one":       {next.digest, []string{"bob"}, half, false},
		"one twice": {next.digest, []string{"bob", "bob"}, half, false},
		"both": {
			next.digest, []string{"bob", "alice"},
			&Standing{false, 1, []string{"alice", "bob"}, nil, &Standing{false, 2, []string{"alice", "bob"}, nil, nil}}, true,
		},
		"a stranger":   {next.digest, []string{"mallory", "bob"}, half, false},
		"not the next": {skipped.digest, []string{"alice", "bob"}, nil, false},
		"the head":     {head.digest, nil, nil, false},
		"a genesis":    {other.digest, []string{"alice", "bob"}, nil, false},
		"invalid":      {invalid.digest, []string{"alice", "bob"}, nil, false},
		"unknown":      {strings.Repeat("0", 64), nil, nil, false},
	} {
		with := h
		with.Signatures = slices.Clone(h.Signatures)
		for _, who := range x.signed {
			for _, s := range h.Statements {
				if s.digest == x.digest {
					with.Signatures = append(with.Signatures, sign(s, who))
				}
			}
		}
		got, err := c.Standing(with, x.digest)
		if (err == nil) != (x.want != nil) || got.Met() != x.met {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		if x.want != nil {
			if d := cmp.Diff(*x.want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
	}
	// Where there is no chain yet, a version 1 may found one, and nothing else.
	empty := h
	empty.Leaves, empty.Signatures = nil, []Signature{sign(other, "alice")}
	none := Evaluate(empty)
	if got, err := none.Standing(empty, other.digest); err != nil || got.Before != nil || got.Met() ||
		!slices.Equal(got.Signed, []string{"alice"}) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := none.Standing(empty, next.digest); err == nil {
		t.Error("a version 3 cannot found a chain")
	}
	secret := h
	secret.Leaves = append(slices.Clone(h.Leaves), LeafFacts{
		Payload: strings.Repeat("5", 64), Body: "x", Binding: h.Leaves[0].Facts().Binding,
		Entry: policy.Entry{Log: "v2", Index: 400},
	}.Verified())
	secret.Signatures = append(slices.Clone(h.Signatures), sign(next, "alice"), sign(next, "bob"))
	if c := Evaluate(secret); c.Reason() != policy.Undisclosed {
		t.Errorf("%s", c.Reason())
	} else if _, err := c.Standing(secret, next.digest); err == nil {
		t.Error("a version that says nothing of a binding that is not at hand")
	}
	// A version that declares it void can be signed, or nothing could repair it.
	repair := statementOf(
		t, fmt.Sprintf(chainPolicy, 3)+"\n[[void]]\nleaf = \"sha256:"+strings.Repeat("5", 64)+"\"\n", head.digest,
	)
	secret.Statements = append(slices.Clone(h.Statements), repair)
	secret.Signatures = append(slices.Clone(h.Signatures), sign(repair, "alice"), sign(repair, "bob"))
	if got, err := Evaluate(secret).Standing(secret, repair.digest); err != nil || !got.Met() {
		t.Errorf("beside a binding that it declares void: %+v %v", got, err)
	}
	undecided := h
	undecided.Kept = Kept{[]string{strings.Repeat("0", 64)}}
	if _, err := Evaluate(undecided).Standing(h, next.digest); err == nil {
		t.Error("an undecided chain")
	}
	top, _, _ := strings.Cut(fmt.Sprintf(chainPolicy, 1), "[maintainers]")
	byWorkflow := statementOf(t, top+"[maintainers]\nthreshold = 1\nrepository = true\n", "")
	empty.Statements = []Statement{byWorkflow}
	if got, err := none.Standing(empty, byWorkflow.digest); err != nil || !got.Met() {
		t.Errorf("%+v %v", got, err)
	}
	recovery := strings.Replace(
		fmt.Sprintf(chainPolicy, 1), "\n[maintainers]", "recovers = \"sha256:"+head.digest+"\"\n\n[maintainers]", 1,
	)
	lost := statementOf(t, recovery, "")
	h.Statements = append(h.Statements, lost)
	if _, err := c.Standing(h, lost.digest); err == nil {
		t.Error("a recovery that the head does not allow")
	}
}

// TestAwaits: a statement that is bound in part can still be signed and bound; a
// chain that is undecided for any other reason cannot be continued.
func TestAwaits(t *testing.T) {
	full := longChain(t, 2)
	first, second := full.Statements[0].digest, full.Statements[1].digest
	stranger := LeafFacts{
		Payload: spelling.Sum([]byte("unpublished")), Body: spelling.Sum([]byte("x")),
		Binding: Binding{Repository: full.Repository, RepositoryID: "1001", OwnerID: "2002"},
		Entry:   policy.Entry{Log: "v2", Index: 900, NotBefore: full.Now, NotAfter: full.Now},
	}.Verified()
	for name, x := range map[string]struct {
		digest   string
		leaf     func(i int) bool // whether a binding is there
		more     []Leaf
		unsigned bool
		awaits   bool
	}{
		"bound in v1 alone":             {first, func(i int) bool { return i == 0 }, nil, false, true},
		"the next, bound in v1 alone":   {second, func(i int) bool { return i < 3 }, nil, false, true},
		"bound without a quorum":        {second, func(int) bool { return true }, nil, true, true},
		"another one is":                {first, func(i int) bool { return i < 3 }, nil, false, false},
		"bound as it should":            {second, func(int) bool { return true }, nil, false, false},
		"nothing":                       {first, func(int) bool { return false }, nil, false, false},
		"nothing, of nothing":           {"", func(int) bool { return false }, nil, false, false},
		"an unpublished one beside":     {first, func(i int) bool { return i == 0 }, []Leaf{stranger}, false, false},
		"an unpublished one alone":      {first, func(int) bool { return false }, []Leaf{stranger}, false, false},
		"an unpublished one, of no one": {"", func(int) bool { return false }, []Leaf{stranger}, false, false},
	} {
		h := full
		h.Leaves = slices.Clone(x.more)
		for i, l := range full.Leaves {
			if x.leaf(i) {
				h.Leaves = append(h.Leaves, l)
			}
		}
		if x.unsigned {
			h.Signatures = slices.Clone(full.Signatures[:4])
		}
		c := Evaluate(h)
		if got := c.Awaits(x.digest); got != x.awaits {
			t.Errorf("%s: %v %+v", name, got, c.Problems())
		}
		if st, err := c.Standing(h, x.digest); x.awaits && (err != nil || st.Met() == x.unsigned) {
			t.Errorf("%s: %+v %v", name, st, err)
		}
	}
}
