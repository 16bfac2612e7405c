// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

// TestReferences: what texts of the shell become with the values of variables.
func TestReferences(t *testing.T) {
	env := map[string][]string{"A": {"x/Y/z"}, "B": {"1", "2"}, "D": {"$A"}}
	for text, want := range map[string]string{
		"a": "a", "$A": "x/Y/z", "${A}b": "x/Y/zb", "$A$B": "x/Y/z1 x/Y/z2", "${A,,}": "x/y/z", "${A#*/}": "Y/z",
		"${A##*/}": "z", "${A%/*}": "x/Y", "${A%%/*}": "x", "${A^^}": "x/Y/z", "${A:-b}": "x/Y/z",
		"$C": "\ufffd", "${C}": "\ufffd", "${C:-b}": "b", "${C-b}": "b", "${C:-}": "\ufffd", "${C:-${B}}": "1 2",
		`${C:-"b"}`: "b", "${C:=b}": "\ufffd", "${C:?b}": "\ufffd", "$": "\ufffd", "${": "\ufffd", "${A": "x/Y/z", "$D": "A",
	} {
		if d := cmp.Diff(want, strings.Join(substitute([]string{text}, env), " ")); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	many := strings.Repeat("$B", 20)
	if n := len(substitute([]string{many}, env)); n > maxSubstituted {
		t.Error(n)
	}
}

// TestMakefile: what a Makefile says, as far as it is written out.
func TestMakefile(t *testing.T) {
	m := newMakefile()
	included := m.read(`
A = 1
export B ?= $(A)-$(shell date)$$x # why
override C := a/$(patsubst x,y,$(call z)):b
A += 2
D::=d
ifeq ($(A),1)
endif
-include a.mk b.mk
$(X): y
.PHONY: all
all: one two ## what it does
	echo $(A) \
	  more
all: three
	@echo $$HOME
`)
	if d := cmp.Diff([]string{"a.mk", "b.mk"}, included); d != "" {
		t.Error(d)
	}
	fixed := map[string][]string{"A": {"1", "2"}, "C": {"a/\ufffd:b"}, "D": {"d"}}
	defaults := map[string][]string{"B": {"${A}-\ufffd$x"}}
	if d := cmp.Diff(fixed, m.fixed) + cmp.Diff(defaults, m.defaults); d != "" {
		t.Error(d)
	}
	want := recipe{"echo $(A)  \t  more\n@echo $$HOME\n", []string{"one", "two", "three"}}
	if d := cmp.Diff(want, m.recipes["all"], cmp.AllowUnexported(recipe{})); d != "" {
		t.Error(d)
	}
	for text, want := range map[string]string{
		"$(A)": "${A}", "$$A": "$A", "$(shell b $(C))": "$(b ${C})", "$(call f,$(A))": "$(call f,${A})", "$": "$",
		"$(A": "$(A", "$@": "$@",
	} {
		if got := shellOf(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// FuzzScripts: whatever scripts and Makefiles hold, commands have words, and variables few values
// in which no variable is left.
func FuzzScripts(f *testing.F) {
	f.Add("A=${B:-$C}; for x in $A \"$(y)\"; do make $x; done", "C ?= $(A)\nx: y\n\t./s.sh $(C)\ny:\n\t$(MAKE) x\n")
	f.Add("A=(a b) B+=c export D=\"${A[@]}\"", "include Makefile\nA=$(A)\n")
	f.Fuzz(func(t *testing.T, script, makefile string) {
		follow := newFollower(clone.New(tree{"Makefile": makefile, "s.sh": script}))
		for _, c := range follow.commands(ci.Step{Run: "make x\n" + script}) {
			for name, values := range c.env {
				if len(values) > maxSubstituted*maxSubstituted || strings.Contains(strings.Join(values, ""), "$") {
					t.Fatalf("%s: %q", name, values)
				}
			}
		}
	})
}
