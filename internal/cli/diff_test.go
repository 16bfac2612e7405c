// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

func versionN(t *testing.T, n int, more string) *policy.Document {
	t.Helper()
	d, err := policy.Parse(
		fmt.Appendf(
			nil,
			"format = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = %d\n"+
				"expires = 203%d-01-01T00:00:00Z\n%s%s",
			n, n, bumpTail, more,
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSides: which two policies a diff is about.
func TestSides(t *testing.T) {
	var versions []chain.Version
	for n := range 3 {
		versions = append(versions, chain.Version{Number: n + 1, Document: versionN(t, n+1, "")})
	}
	draft, same := side{versionN(t, 4, ""), false}, side{versionN(t, 3, ""), false}
	for _, c := range []struct {
		chain   []chain.Version
		draft   side
		numbers []int
		want    string
	}{
		{versions, draft, nil, "3 4 draft"},
		{versions, same, nil, "3 3"},
		{versions, draft, []int{1}, "1 4 draft"},
		{versions, draft, []int{1, 2}, "1 2"},
		{versions, draft, []int{3, 1}, "3 1"},
		{versions, draft, []int{4}, "there is no version 4"},
		{versions, draft, []int{1, 4}, "there is no version 4"},
		{nil, draft, nil, "0 4 draft"},
		{nil, draft, []int{1}, "there is no version 1"},
		{versions, side{}, nil, "2 3"},
		{versions, side{}, []int{1}, "1 3"},
		{versions, side{}, []int{2, 1}, "2 1"},
		{versions, side{}, []int{4}, "there is no version 4"},
		{versions[:1], side{}, nil, "only one version"},
		{nil, side{}, []int{1}, "there is no version"},
	} {
		before, after, err := sides(c.chain, c.draft, c.numbers)
		got := ""
		if err != nil {
			if got = err.Error(); !strings.Contains(got, c.want) {
				t.Errorf("%d %v: %s", len(c.chain), c.numbers, got)
			}
			continue
		}
		n := 0
		if before.doc != nil {
			if n = before.doc.Content().Version; !before.bound {
				t.Errorf("%v: the old side is not bound", c.numbers)
			}
		}
		if got = fmt.Sprintf("%d %d", n, after.doc.Content().Version); !after.bound {
			got += " draft"
		}
		if got != c.want {
			t.Errorf("%d %v: %s, want %s", len(c.chain), c.numbers, got, c.want)
		}
	}
}

// TestDiffOutput: text and JSON come from one value, and the JSON is what the
// schema says.
func TestDiffOutput(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../schema/diff-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	const rule = "[[release]]\nname = \"r\"\ntags = [\"v*\"]\nartifacts = [\"w*\"]\n" +
		"workflow = \".github/workflows/release.yml\"\n"
	one, two := side{versionN(t, 1, ""), true}, side{versionN(t, 2, rule), false}
	for _, c := range []struct {
		before, after side
		loosens       bool
		text          []string
	}{
		{
			one, two, true,
			[]string{
				"from version 1 to version 2, as committed", "~ expires: 2032-01-01T00:00:00Z, was 2031-01-01T00:00:00Z\n",
				"+ release: r: .github/workflows/release.yml for w* of tags v* (loosens)", "\n-version = 1\n", "\n+version = 2\n",
			},
		},
		{two, one, false, []string{"- release: r\n"}},
		{side{}, one, true, []string{"from nothing to version 1\n", "+ maintainers.repository: true (loosens)"}},
		{one, one, false, []string{"  the same\n"}},
	} {
		var out bytes.Buffer
		a := &app{&command.Run{Out: report.NewPrinter(&out)}}
		if err := a.printDiff(&find.Found{Repository: repo}, c.before, c.after, false); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.text {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out.String())
			}
		}
		out.Reset()
		if err := a.printDiff(&find.Found{Repository: repo}, c.before, c.after, true); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
		if v.(map[string]any)["loosens"] != c.loosens {
			t.Error(out.String())
		}
	}
}
