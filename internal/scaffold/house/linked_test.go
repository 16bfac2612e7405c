// SPDX-License-Identifier: Apache-2.0

package house

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const linkedDoc = "docs/design/012-what-is-linked.md"

// TestLinked: no program and no library links more modules than before, and docs/design says of
// each what it is for. Whoever links fewer writes the new number here; .ci/run has the sizes.
func TestLinked(t *testing.T) {
	all := map[string]bool{}
	for pkg, most := range map[string]int{"./cmd/repopolicy": 29, "./cmd/repopolicy-trust": 35, ".": 23} {
		out, err := exec.Command("go", "list", "-deps",
			"-f", "{{if .Module}}{{if not .Module.Main}}{{.Module.Path}}{{end}}{{end}}", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		modules := map[string]bool{}
		for m := range strings.FieldsSeq(string(out)) {
			modules[m], all[m] = true, true
		}
		switch n := len(modules); {
		case n > most:
			t.Errorf("%s links %d modules, %d before; the number only falls:\n%s", pkg, n, most,
				strings.Join(slices.Sorted(maps.Keys(modules)), "\n"))
		case n < most:
			t.Logf("%s: write %d instead of %d", pkg, n, most)
		}
	}
	said := map[string]bool{}
	rows := regexp.MustCompile("(?m)^\\| `([^` ]+)` \\|")
	for _, row := range rows.FindAllStringSubmatch(string(read(t, linkedDoc)), -1) {
		said[row[1]] = true
	}
	for m := range all {
		if !said[m] {
			t.Errorf("%s does not say what %s is for", linkedDoc, m)
		}
	}
	for m := range said {
		if !all[m] {
			t.Errorf("%s has a row for %s, which nothing links", linkedDoc, m)
		}
	}
}
