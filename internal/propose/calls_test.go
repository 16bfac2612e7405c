// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCalls: as which workflows the runs of a project can sign.
func TestCalls(t *testing.T) {
	const (
		sign   = "permissions: {id-token: write}\n"
		job    = "    runs-on: ubuntu-latest\n    steps: [{run: make}]\n"
		pushed = "on: {push: {tags: ['v*']}}\n"
		called = "jobs:\n  j:\n    uses: acme/ci/.github/workflows/build.yml@v4\n"
	)
	const byRelease = "https://github.com/acme/ci/.github/workflows/build.yml; by: release.yml; at: "
	commit := strings.Repeat("a", 40)
	for what, c := range map[string]struct {
		tree tree
		want []string
	}{
		"nothing": {tree{}, nil},
		"a tag":   {tree{release: pushed + sign + called}, []string{byRelease + "refs/tags/v4"}},
		"a commit, for a branch": {
			tree{release: "on: {push: {branches: [main]}}\n" + sign + strings.Replace(called, "v4", commit, 1)},
			[]string{byRelease + commit + "; refs: refs/heads/main"},
		},
		"a tag and a branch": {
			tree{release: "on: {push: {tags: ['v*'], branches: [main]}}\n" + sign + called},
			[]string{byRelease + "refs/tags/v4"},
		},
		"permissions that are not said": {
			tree{release: pushed + called}, []string{byRelease + "refs/tags/v4"},
		},
		"permissions without ID tokens": {tree{release: pushed + "permissions: {contents: read}\n" + called}, nil},
		"a pull request":                {tree{release: "on: [pull_request]\n" + sign + called}, nil},
		"a condition": {
			tree{release: pushed + sign + called + "    if: github.ref == 'refs/heads/main'\n"}, nil,
		},
		"a test": {tree{".github/workflows/test.yml": pushed + sign + called}, nil},
		"a ref that is none": {
			tree{release: pushed + sign + strings.Replace(called, "v4", "v4..5", 1)}, nil,
		},
		"a workflow of its own": {
			tree{release: pushed + sign + "jobs:\n  j:\n" + job}, []string{"release.yml; by: release.yml"},
		},
		"a called one, within": {
			tree{
				release: pushed + sign + "jobs:\n  j:\n    uses: ./.github/workflows/sign.yml\n",
				".github/workflows/sign.yml": "on: {workflow_call: {}}\njobs:\n  a:\n" + job +
					"  b:\n    uses: acme/ci/.github/workflows/build.yml@v4\n",
			},
			[]string{"sign.yml; by: release.yml", byRelease + "refs/tags/v4"},
		},
		"a called one, at a ref": {
			tree{
				release: pushed + sign + "jobs:\n  j:\n    uses: acme/widget/.github/workflows/sign.yml@main\n",

				".github/workflows/sign.yml": "on: {workflow_call: {}}\njobs:\n  a:\n" + job,
			},
			[]string{"sign.yml; by: release.yml; at: refs/heads/main"},
		},
	} {
		rules := Calls(Project{Repository: widget, Default: "main", Tags: []string{"v1.0.0"}, Files: c.tree})
		var got []string
		for i := range rules {
			got = append(got, short(&rules[i]))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
}

// BenchmarkEnvironments looks at a workflow of 6,000 jobs in environments of their own, more than a
// policy has rules: it took minutes when overlaps were looked for rule by rule.
func BenchmarkEnvironments(b *testing.B) {
	var w strings.Builder
	w.WriteString("on: {push: {tags: ['v*']}}\npermissions: {id-token: write}\njobs:\n")
	for i := range 6000 {
		fmt.Fprintf(&w, "  j%d:\n    runs-on: x\n    environment: e%d\n    steps:\n"+
			"    - {uses: actions/attest@v2, with: {subject-path: 'w%d_*'}}\n", i, i, i)
	}
	p := Project{Repository: widget, Default: "main", Files: tree{release: w.String()}}
	for b.Loop() {
		if n := len(From(p, Options{}).Rules); n != 6000 {
			b.Fatal(n)
		}
	}
}
