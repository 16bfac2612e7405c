// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// nameStep is a version of a chain that may rename, hand over, or both, and how it is bound.
type nameStep struct {
	name     string // a, b or c
	handover string // a number; "" without
	under    string // name in the certificate
	number   string // in the certificate
}

func nameLocator(name string) policy.Locator {
	l, err := policy.ParseLocator("https://github.com/acme/" + name)
	if err != nil {
		panic(err)
	}
	return l
}

// nameHistory is a chain of versions, each of which allows a releaser of its own, and a fork of
// the last one, that nobody binds.
func nameHistory(steps []nameStep) (statements []Statement, leaves []Leaf, sigs []Signature) {
	prev := ""
	for i, s := range steps {
		var b strings.Builder
		fmt.Fprintf(
			&b, "format = \"repopolicy/v1\"\nrepository = %q\nversion = %d\nexpires = 2099-01-01T00:00:00Z\n",
			nameLocator(s.name), i+1,
		)
		fmt.Fprintf(
			&b,
			"[maintainers]\nthreshold = 1\n[[maintainers.member]]\nname = \"alice\"\n"+
				"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n",
		)
		fmt.Fprintf(
			&b,
			"[[release]]\nname = \"r\"\ntags = \"any\"\nartifacts = \"any\"\n"+
				"identities = [{ email = \"r%d@example.com\", issuer = \"https://accounts.google.com\" }]\n",
			i,
		)
		if s.handover != "" {
			fmt.Fprintf(&b, "[handover]\nrepository-id = %q\n", s.handover)
		}
		st := statementOf(panicker{}, b.String(), prev)
		if st.err != nil {
			panic(st.err)
		}
		prev = st.digest
		at := func(n int) policy.Entry {
			d := day(float64(2*i) + float64(n)/2)
			return policy.Entry{Log: "a", Index: int64(2*i + n), NotBefore: d, NotAfter: d.Add(600e9)}
		}
		statements = append(statements, st)
		f := SignatureFacts{Statement: st.digest, Signer: person("alice@example.com"), Entry: at(0)}
		sigs = append(sigs, f.Verified())
		leaves = append(leaves, LeafFacts{
			PAE: st.pae, Body: spelling.Sum([]byte(fmt.Sprint("leaf ", i))),
			Binding: Binding{Repository: nameLocator(s.under), RepositoryID: s.number, OwnerID: "9"}, Entry: at(1),
		}.Verified())
	}
	return statements, leaves, sigs
}

// TestNames: of a chain that renames and hands over, whoever withholds versions makes no OK that
// all of them would not give, whatever name is asked for. A view finds the bindings under every
// name and number of what is at hand, until nothing new appears (SPEC 8.7).
func TestNames(t *testing.T) {
	var options []nameStep
	for _, name := range []string{"a", "b", "c"} {
		for _, over := range []string{"", "2"} {
			for _, under := range []string{"before", "own"} {
				for _, number := range []string{"before", "over"} {
					options = append(options, nameStep{name, over, under, number})
				}
			}
		}
	}
	var chains [][]nameStep
	var extend func(steps []nameStep, left int)
	extend = func(steps []nameStep, left int) {
		if len(steps) > 1 {
			chains = append(chains, steps)
		}
		if left == 0 {
			return
		}
		last := steps[len(steps)-1]
		number := last.number
		if last.handover != "" {
			number = last.handover
		}
		for _, o := range options {
			if o.number == "over" && o.handover == "" || o.handover == number ||
				o.under == "own" && o.name == last.name {
				continue
			}
			next := nameStep{o.name, o.handover, last.name, number}
			if o.under == "own" {
				next.under = o.name
			}
			if o.number == "over" {
				next.number = o.handover
			}
			extend(append(slices.Clone(steps), next), left-1)
		}
	}
	extend([]nameStep{{"a", "", "a", "1"}}, 2)
	two := len(chains)
	extend([]nameStep{{"a", "", "a", "1"}}, 3)
	r := rand.New(rand.NewPCG(1, 1))
	some, _ := long(t, 400)
	more := chains[two:]
	r.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
	chains = append(chains[:two:two], more[:min(some, len(more))]...)
	views, oks := 0, 0
	for _, steps := range chains {
		statements, leaves, sigs := nameHistory(steps)
		n := len(steps)
		after := day(float64(2*n) + 5)
		evidence := func(i int) policy.Evidence {
			e := policy.Entry{Log: "a", Index: 1000, NotBefore: after, NotAfter: after.Add(600e9)}
			return modelRelease(i, e)
		}
		base := History{
			Logs: []policy.Log{{ID: "a", Generation: 2, Start: day(-9)}}, Now: day(100),
			View: View{Completeness: CompleteScanned, AsOf: day(100)}, Signatures: sigs,
		}
		asked := map[string]bool{}
		for _, s := range steps {
			asked[s.name] = true
		}
		for name := range asked {
			full := base
			full.Repository, full.Statements, full.Leaves = nameLocator(name), statements, leaves
			all := Evaluate(full).Trusted(Demand{})
			for hidden := range 1 << n {
				part := base
				part.Repository = full.Repository
				for i := range n {
					if hidden>>i&1 == 0 {
						part.Statements = append(part.Statements, statements[i])
					}
				}
				for {
					names, numbers := part.Horizon()
					var found []Leaf
					for _, l := range leaves {
						if b := l.Facts().Binding; slices.Contains(names, b.Repository) ||
							slices.Contains(numbers, b.RepositoryID) {
							found = append(found, l)
						}
					}
					if len(found) == len(part.Leaves) {
						break
					}
					part.Leaves = found
				}
				views++
				less := Evaluate(part).Trusted(Demand{})
				for i := range n {
					got := less.Decide(policy.Request{Now: part.Now}, evidence(i)).Permitted
					want := all.Decide(policy.Request{Now: part.Now}, evidence(i)).Permitted
					if got {
						oks++
					}
					if got && !want {
						t.Fatalf(
							"asked for %s, hidden %b: r%d is allowed, with all it is not: %s\nless %q %v, all %q %v\n"+
								"%+v",
							name, hidden, i, Evaluate(full).Reason(), less.Chain().Reason(), digestsOf(less.Chain()),
							all.Chain().Reason(), digestsOf(all.Chain()), steps,
						)
					}
				}
			}
		}
	}
	t.Logf("%d chains, %d views, %d OKs", len(chains), views, oks)
	if oks == 0 {
		t.Error("nothing was looked at")
	}
}
