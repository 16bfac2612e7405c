// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"testing"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// TestHorizon: names and numbers to ask for come from bindings that were verified, on one host,
// and from what their statements take up.
func TestHorizon(t *testing.T) {
	text := func(name, more string) string {
		return fmt.Sprintf(
			"format = \"repopolicy/v1\"\nrepository = %q\nversion = 1\nexpires = 2099-01-01T00:00:00Z\n"+
				"%s[maintainers]\nthreshold = 1\n[[maintainers.member]]\nname = \"alice\"\n"+
				"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n",
			name, more,
		)
	}
	at := func(s *Statement, name, number string) Leaf {
		f := LeafFacts{PAE: spelling.Sum([]byte(name + number)), Binding: Binding{
			Repository: nameLocator(name), RepositoryID: number, OwnerID: "9",
		}}
		if s != nil {
			f.PAE = s.pae
		}
		return f.Verified()
	}
	renamed := statementOf(t, text("https://github.com/acme/b", "formerly = \"https://github.com/acme/old\"\n"), "")
	over := statementOf(t, text("https://github.com/acme/c", "")+"[handover]\nrepository-id = \"7\"\n", "")
	elsewhere := statementOf(t, text("https://gitlab.com/acme/d", ""), "")
	for _, s := range []Statement{renamed, over, elsewhere} {
		if s.err != nil {
			t.Fatal(s.err)
		}
	}
	unverified := at(nil, "a", "666")
	unverified.verified = false
	for name, x := range map[string]struct {
		leaves         []Leaf
		names, numbers []string
	}{
		"nothing":           {nil, []string{"a"}, nil},
		"its number":        {[]Leaf{at(nil, "a", "1")}, []string{"a"}, []string{"1"}},
		"another's":         {[]Leaf{at(nil, "x", "5")}, []string{"a"}, nil},
		"unverified":        {[]Leaf{unverified}, []string{"a"}, nil},
		"without authority": {[]Leaf{LeafFacts{PAE: renamed.pae}.Verified()}, []string{"a"}, nil},
		"by its number": {
			[]Leaf{at(nil, "x", "1"), at(nil, "a", "1"), at(nil, "x", "2")}, []string{"a", "x"}, []string{"1", "2"},
		},
		"a rename":     {[]Leaf{at(&renamed, "a", "1")}, []string{"a", "b", "old"}, []string{"1"}},
		"a hand-over":  {[]Leaf{at(&over, "a", "1"), at(nil, "y", "7")}, []string{"a", "c", "y"}, []string{"1", "7"}},
		"another host": {[]Leaf{at(&elsewhere, "a", "1")}, []string{"a"}, []string{"1"}},
	} {
		h := History{Repository: nameLocator("a"), Statements: []Statement{renamed, over, elsewhere}, Leaves: x.leaves}
		names, numbers := h.Horizon()
		var got []string
		for _, n := range names {
			got = append(got, n.String()[len("https://github.com/acme/"):])
		}
		if !slices.Equal(got, x.names) || !slices.Equal(numbers, x.numbers) {
			t.Errorf("%s: %v %v, want %v %v", name, got, numbers, x.names, x.numbers)
		}
	}
}

// TestShownTwice: what a directory lists twice was shown when it was shown first.
func TestShownTwice(t *testing.T) {
	early, late := Shown{Leaf: 1, Clock: 1}, Shown{Leaf: 9, Clock: 9}
	l := &leaf{LeafFacts: LeafFacts{PAE: "p", Entry: policy.Entry{Log: "a", Index: 3}, Binding: Binding{
		Repository: nameLocator("a"), RepositoryID: "1",
	}}}
	for _, order := range [][]Shown{{early, late}, {late, early}} {
		d := &Directory{Latest: late, Bindings: map[Position]Shown{{"a", 3}: early}}
		for _, s := range order {
			d.Statements = append(d.Statements, Listed{"s", "p", Position{}, s}, Listed{"other", "", Position{}, s})
			d.Signatures = append(d.Signatures, Listed{"s", "", Position{"a", 1}, s})
		}
		e := &evaluator{h: &History{Directory: d}}
		w := e.watcher([]*leaf{l})
		if got, ok := w.listed(l); !ok || got != early || w.shown["s"][Position{"a", 1}] != early ||
			w.since[l.number()] != early.Clock {
			t.Errorf("%+v: %v %v %v", order, got, w.shown, w.since)
		}
		if _, named := w.statements[""]; named {
			t.Error("a statement without a name")
		}
	}
}
