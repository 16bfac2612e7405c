// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// TestNamePattern: only the version of a name is left open, and a name is never left open as a whole.
func TestNamePattern(t *testing.T) {
	for _, c := range []struct{ name, tag, want string }{
		{"widget_1.2.3_linux.tar.gz", "v1.2.3", "widget_*_linux.tar.gz"},
		{"widget-1.2.3-1.2.3.zip", "widget@1.2.3", "widget-*-*.zip"},
		{"widget-1.2.3.zip", "pkg/v1.2.3", "widget-*.zip"},
		{"widget.zip", "v1.2.3", "widget.zip"},
		{"SHA256SUMS", "v2", "SHA256SUMS"},
		{"widget-2-x86_64.rpm", "v2", "widget-*-x86_64.rpm"},
		{"1.2.3", "v1.2.3", "1.2.3"},
		{"1.2.3-1.2.3", "1.2.3", "1.2.3-1.2.3"},
		{"1.2.3x1.2.3", "1.2.3", "1.2.3x1.2.3"},
		{"widget_nightly.zip", "nightly", "widget_nightly.zip"},
		{"a*b-1.0", "v1.0", "a*b-1.0"},
		{"", "v1", ""},
	} {
		if got := NamePattern(c.name, c.tag); got != c.want {
			t.Errorf("%s of %s: %s", c.name, c.tag, got)
		}
	}
}

// hostilePast is what a forge could make of the past.
func hostilePast() Past {
	const bad = "v1\"\n[[release]]\nname = \"x\"\r\u2028#"
	p := Past{
		Since:      map[string]time.Time{"release": time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), bad: time.Unix(1, 0)},
		Names:      []string{bad, "**", "*", "*a*", "gizmo-*.deb", "gizmo-*.deb", "widget_1"},
		Publishers: []string{bad, "x"},
		Former:     lab,
	}
	for i := range 60 {
		p.Adoptable = append(p.Adoptable, Adoptable{Tag: bad, Files: []AdoptableFile{
			{Name: bad, Digest: fmt.Sprintf("sha256:%064x", i)}, {Name: "b", Digest: fmt.Sprintf("sha256:%063x1", i)},
		}})
	}
	return p
}

// TestRemember: what the past suggests is comments. The policy says what it said without it.
func TestRemember(t *testing.T) {
	p := &Proposal{Rules: []Rule{{
		Name: "release", Workflow: ".github/workflows/release.yml", Tags: []string{"v*"}, Artifacts: []string{"widget_*"},
		GuessArtifacts: true,
	}}}
	before, err := policy.Parse([]byte(p.Policy(answers(widget))))
	if err != nil {
		t.Fatal(err)
	}
	p.Remember(hostilePast())
	text := p.Policy(answers(widget))
	after, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s\n%s", err, text)
	}
	if len(after.Content().Rules) != 1 || !after.Content().Rules[0].Since.IsZero() || after.Content().Adopted != nil ||
		after.Content().Repository != before.Content().Repository {
		t.Errorf("%+v", after.Content())
	}
	for _, want := range []string{
		"\n# since       = 2026-01-02T00:00:00Z\n", "\n# artifacts   = [\"gizmo-*.deb\"]\n",
		"\n# formerly   = \"https://gitlab.com/acme/widget\"\n",
		"\n# approvals   = { threshold = 1, from = \"maintainers\" }\n",
		"\n# … and 80 more files\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "sha256:"); n != maxAdopted {
		t.Errorf("%d digests", n)
	}
	for line := range strings.Lines(text) {
		if strings.ContainsAny(line, "\r\u2028") {
			t.Errorf("%q", line)
		}
	}
	want := []string{"releases from before", "a former name", "names of files", "120 files", "2 people"}
	for _, f := range p.Findings {
		want = slices.DeleteFunc(want, func(s string) bool { return strings.Contains(f.Found, s) })
	}
	if len(want) > 0 {
		t.Errorf("not said: %q in %v", want, p.Findings)
	}
}

// TestRememberUncommented: each comment is right as it stands, once a person takes the sign away.
func TestRememberUncommented(t *testing.T) {
	p := &Proposal{Rules: []Rule{{
		Name: "release", Workflow: ".github/workflows/release.yml", Tags: []string{"v*"}, Artifacts: []string{"guess"},
		GuessArtifacts: true,
	}}}
	hex := strings.Repeat("ab", 32)
	p.Remember(Past{
		Since: map[string]time.Time{"release": time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}, Names: []string{"gizmo-*.deb"},
		Publishers: []string{"a", "b"}, Former: locator("https://github.com/acme/gadget"),
		Adoptable: []Adoptable{{"v1", []AdoptableFile{{"a\"b", "sha256:" + hex}, {"c", "sha256:" + hex[2:] + "00"}}}},
	})
	var out []string
	adopted := false
	for line := range strings.Lines(p.Policy(answers(widget))) {
		bare, comment := strings.CutPrefix(line, "# ")
		key, _, _ := strings.Cut(bare, " ")
		switch adopted = adopted || comment && strings.HasPrefix(bare, "[[adopted]]"); {
		case adopted && comment, comment && slices.Contains([]string{"since", "artifacts", "approvals", "formerly"}, key):
			out = append(out, bare)
		case !strings.HasPrefix(line, "artifacts"):
			out = append(out, line)
		}
	}
	doc, err := policy.Parse([]byte(strings.Join(out, "")))
	if err != nil {
		t.Fatalf("%s\n%s", err, strings.Join(out, ""))
	}
	c := doc.Content()
	r := c.Rules[0]
	if r.Since.Format(time.DateOnly) != "2026-01-02" || r.Approvals == nil || !r.Artifacts.Match("gizmo-1.deb") ||
		len(c.Adopted) != 1 || len(c.Adopted[0].Digests) != 2 || c.Formerly.IsZero() {
		t.Errorf("%+v", c)
	}
}

// TestRememberSince: what the person says is not said again, and a rule that allowed nothing gets
// no date.
func TestRememberSince(t *testing.T) {
	rules := func() []Rule {
		return []Rule{
			{Name: "a", Workflow: ".github/workflows/a.yml", Tags: []string{"v*"}, Artifacts: []string{"a"}},
			{Name: "b", Workflow: ".github/workflows/b.yml", Tags: []string{"v*"}, Artifacts: []string{"b"}},
		}
	}
	past := Past{Since: map[string]time.Time{"b": time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}}
	p := &Proposal{Rules: rules()}
	p.Remember(past)
	text := p.Policy(answers(widget))
	a, b, _ := strings.Cut(text, `name        = "b"`)
	if strings.Contains(a, "since") || !strings.Contains(b, "# since ") {
		t.Errorf("%s", text)
	}
	p = &Proposal{Rules: rules(), Since: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}
	p.Remember(past)
	if text := p.Policy(answers(widget)); strings.Contains(text, "# since") || strings.Count(text, "\nsince") != 2 {
		t.Errorf("%s", text)
	}
}

// FuzzNamePattern: a pattern that stands for a name matches it, or says nothing more than it.
func FuzzNamePattern(f *testing.F) {
	f.Add("widget_1.2.3_linux.tar.gz", "v1.2.3")
	f.Add("1", "1")
	f.Add("1*1", "v1")
	f.Fuzz(func(t *testing.T, name, tag string) {
		text := NamePattern(name, tag)
		pattern, err := policy.ParsePattern(text)
		if err != nil {
			return // it is left out
		}
		if !pattern.Match(name) && text != name {
			t.Fatalf("%q does not match %q", text, name)
		}
		if strings.Trim(text, "*.-_") == "" && text != name {
			t.Fatalf("%q matches everything", text)
		}
	})
}
