// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	trunk  = "refs/heads/trunk"
	master = "refs/heads/master"
)

// branched returns a chain whose versions were bound from these refs; one with "own " before the ref is
// maintained by the repository, one with "hand " hands over to the number 1001 that it has.
func branched(t testing.TB, refs ...string) History {
	t.Helper()
	h := longChain(t, len(refs))
	h.DefaultRefs = []string{trunk}
	h.Statements = nil
	old := map[string]string{}
	prev := ""
	for i, ref := range refs {
		text := fmt.Sprintf(chainPolicy, i+1)
		before := statementOf(t, text, "").digest
		if i > 0 {
			before = statementOf(t, text, old[fmt.Sprint(i)]).digest
		}
		old[fmt.Sprint(i+1)] = before
		switch {
		case strings.HasPrefix(ref, "own "):
			a, rest, _ := strings.Cut(text, "threshold")
			_, z, _ := strings.Cut(rest, "[[release]]")
			text = a + "threshold = 1\nrepository = true\n\n[[release]]" + z
		case strings.HasPrefix(ref, "hand "):
			text = strings.Replace(text, "[maintainers]", "[handover]\nrepository-id = \"1001\"\n\n[maintainers]", 1)
		}
		s := statementOf(t, text, prev)
		prev = s.digest
		h.Statements = append(h.Statements, s)
		for k := range h.Signatures {
			if h.Signatures[k].facts.Statement == before {
				h.Signatures[k].facts.Statement = s.digest
			}
		}
		for k := range h.Leaves {
			if f := &h.Leaves[k].facts; f.Payload == before {
				f.Payload, f.Binding.Ref = s.digest, ref[strings.LastIndex(ref, " ")+1:]
			}
		}
	}
	return h
}

// again binds a statement once more, in every log.
func again(h History, s *Statement, number, ref string, n int) History {
	h.Leaves = slices.Clone(h.Leaves)
	at := h.Now.Add(-100*time.Hour + time.Duration(n)*time.Hour)
	for _, log := range []string{"v1", "v2"} {
		e := policy.Entry{Log: log, Index: int64(5000 + n), NotBefore: at, NotAfter: at.Add(10 * time.Minute)}
		if log == "v1" {
			e.Time = at.Add(time.Minute)
		}
		h.Leaves = append(h.Leaves, LeafFacts{
			Payload: s.digest, Body: spelling.Sum(fmt.Append(nil, log, n, "again")),
			Binding: Binding{Repository: h.Repository, RepositoryID: number, OwnerID: "2002", Ref: ref}, Entry: e,
		}.Verified())
	}
	return h
}

// TestAsides: what has to be bound again after the default branch got another name, and that a
// run that does that, and may end anywhere, never shows a chain that ends too early.
func TestAsides(t *testing.T) {
	for name, x := range map[string]struct {
		refs []string
		of   int   // version that is committed; 0 for the newest
		want []int // versions to bind again
	}{
		"nothing was renamed":                {[]string{trunk, trunk}, 0, nil},
		"a version alone":                    {[]string{master}, 0, []int{1}},
		"versions with a quorum count":       {[]string{master, master, master}, 0, []int{1}},
		"a later one is from today's branch": {[]string{master, trunk}, 0, []int{1}},
		"the committed one is older":         {[]string{master, "own " + master, master}, 1, []int{1}},
		"repository-maintained":              {[]string{master, "own " + master}, 0, []int{2, 1}},
		"after repository-maintained":        {[]string{master, "own " + master, master}, 0, []int{3, 2, 1}},
		"bound since":                        {[]string{master, "own " + trunk, master, master}, 0, []int{3, 1}},
		"hand-over":                          {[]string{master, "hand " + master, master}, 0, []int{2, 1}},
		"the first counts":                   {[]string{trunk, "own " + master}, 0, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			h := branched(t, x.refs...)
			if x.of == 0 {
				x.of = len(x.refs)
			}
			digest := h.Statements[x.of-1].digest
			asides := h.Asides(digest)
			var got []int
			for _, a := range asides {
				got = append(got, a.Statement.version)
			}
			if !slices.Equal(got, x.want) {
				t.Fatalf("versions %v, want %v", got, x.want)
			}
			first := Evaluate(h)
			before := len(first.links)
			if (before == 0) != slices.Contains(x.want, 1) {
				t.Errorf("%d versions before, %v", before, first.Problems())
			}
			if p := first.Problems(); before == 0 && (len(p) == 0 || p[0].Ref != master ||
				first.Reason() == policy.NoBinding && !strings.Contains(p[0].Detail, master)) {
				t.Errorf("before: %+v", p)
			}
			for i, a := range asides {
				h = again(h, a.Statement, a.Number, trunk, i)
				c := Evaluate(h)
				if left := h.Asides(digest); len(left) != len(asides)-i-1 {
					t.Errorf("after %d there are %d left", i+1, len(left))
				}
				if i < len(asides)-1 && len(c.links) > before {
					t.Errorf("after %d a chain of %d versions", i+1, len(c.links))
				}
			}
			if c := Evaluate(h); c.Reason() != "" || x.of == len(x.refs) && len(c.links) != x.of {
				t.Errorf("bound again: %d versions, %v", len(c.links), c.Problems())
			}
		})
	}
}

// TestAsidesNot: nothing is bound again of what would not be the chain on any branch, for
// another number, or where the statement that is committed does not rest on it with its quorum.
func TestAsidesNot(t *testing.T) {
	h := branched(t, master, master)
	next := statementOf(t, fmt.Sprintf(chainPolicy, 3), h.Statements[1].digest)
	h.Statements = append(h.Statements, next)
	count := func(h History, digest string) int { return len(h.Asides(digest)) }
	if n := count(h, next.digest); n != 0 {
		t.Errorf("unsigned: %d", n)
	}
	signed := h
	for k, who := range []string{"alice", "bob"} {
		signed.Signatures = append(slices.Clone(signed.Signatures), SignatureFacts{
			Statement: next.digest, Signer: person(who + "@example.com"), Entry: policy.Entry{Log: "v2", Index: int64(500 + k)},
		}.Verified())
	}
	if n := count(signed, next.digest); n != 1 {
		t.Errorf("signed: %d", n)
	}
	if n := count(h, strings.Repeat("0", 64)); n != 0 {
		t.Errorf("unknown: %d", n)
	}
	host := h
	host.MaintainersBind = true
	if n := count(host, h.Statements[1].digest); n != 0 {
		t.Errorf("on another host: %d", n)
	}
	gap := h
	gap.Statements = gap.Statements[1:2]
	if n := count(gap, h.Statements[1].digest); n != 0 {
		t.Errorf("without version 1: %d", n)
	}
	unsigned := h
	unsigned.Signatures = nil
	if n := count(unsigned, h.Statements[1].digest); n != 0 {
		t.Errorf("without signatures: %d", n)
	}
	// Another number that binds it again is no help, and an earlier binding is none.
	if c := Evaluate(again(h, &h.Statements[0], "1002", trunk, 0)); c.Reason() == "" {
		t.Error("bound again by another number")
	}
	early := again(h, &h.Statements[0], "1001", trunk, 0)
	for i := range early.Leaves[len(early.Leaves)-2:] {
		early.Leaves[len(early.Leaves)-2+i].facts.Entry.Index = 0
	}
	if c := Evaluate(early); len(c.links) > 0 && slices.Contains(c.Versions()[0].Bindings, h.Leaves[1].facts.Entry) {
		t.Error("an earlier binding from today's branch made a later one count")
	}
}
