// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// readOutputs is the reference reader of GITHUB_OUTPUT. It does what the runner
// does: lines end in LF, empty ones are skipped, "name=value" and
// "name<<delimiter" are told apart by which sign comes first, and everything
// else fails the step. A later value replaces an earlier one.
func readOutputs(s string) (map[string]string, error) {
	out := map[string]string{}
	lines := strings.Split(s, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "" {
			continue
		}
		eq, here := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case eq >= 0 && (here < 0 || eq < here):
			out[line[:eq]] = line[eq+1:]
		case here >= 0:
			name, delimiter := line[:here], line[here+2:]
			if name == "" || delimiter == "" {
				return nil, errors.New("no name or delimiter")
			}
			var value []string
			for i++; ; i++ {
				if i >= len(lines) {
					return nil, errors.New("the delimiter does not come")
				}
				if lines[i] == delimiter {
					break
				}
				value = append(value, lines[i])
			}
			out[name] = strings.Join(value, "\n")
		default:
			return nil, fmt.Errorf("line %q", line)
		}
	}
	return out, nil
}

// command is one workflow command as the runner reads it.
type runnerCommand struct {
	name, data string
	props      map[string]string
}

// readCommands is the reference reader of workflow commands: a line that begins
// with "::" after spaces, or that contains "##[" anywhere. It knows no names, so
// that any command at all is seen.
func readCommands(t *testing.T, out string) []runnerCommand {
	t.Helper()
	var cs []runnerCommand
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		trimmed := strings.TrimLeftFunc(line, unicode.IsSpace)
		if strings.Contains(line, "##[") {
			t.Fatalf("a command of the old form: %q", line)
		}
		if strings.ContainsAny(line, "\r\x00\x1b") || !utf8.ValidString(line) {
			t.Fatalf("control bytes: %q", line)
		}
		rest, ok := strings.CutPrefix(trimmed, "::")
		if !ok {
			continue
		}
		info, data, ok := strings.Cut(rest, "::")
		if !ok {
			continue
		}
		c := runnerCommand{
			data:  strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(data),
			props: map[string]string{},
		}
		name, props, _ := strings.Cut(info, " ")
		c.name = name
		for p := range strings.SplitSeq(props, ",") {
			if k, v, ok := strings.Cut(p, "="); ok {
				c.props[k] = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").
					Replace(v)
			}
		}
		cs = append(cs, c)
	}
	return cs
}

// runnerFiles names files of a runner in the environment and returns a function
// that reads them.
func runnerFiles(t *testing.T) func() (outputs map[string]string, summary string) {
	dir := t.TempDir()
	t.Setenv(report.EnvOutput, dir+"/output")
	t.Setenv(report.EnvSummary, dir+"/summary")
	return func() (map[string]string, string) {
		t.Helper()
		out, err := os.ReadFile(dir + "/output")
		if err != nil {
			t.Fatal(err)
		}
		m, err := readOutputs(string(out))
		if err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		md, _ := os.ReadFile(dir + "/summary")
		_ = os.Remove(dir + "/output")
		_ = os.Remove(dir + "/summary")
		return m, string(md)
	}
}

func TestGitHub(t *testing.T) {
	env := place(t)
	files := runnerFiles(t)
	digest := "sha256:" + report.Sum256([]byte(testPolicy))
	const verify = "verify --trusted-root root.json --format github "
	judged := func(verdict, exit, allowed, n string) map[string]string {
		return map[string]string{
			"verdict": verdict, "exit-code": exit, "allowed": allowed, "judged": n,
			"policy-digest": digest, "policy-version": "1",
		}
	}
	for _, c := range []struct {
		args     string
		exit     int
		outputs  map[string]string
		commands []string // name, title, file
	}{
		{verify + "--policy policy.toml widget_1", 0, judged("OK", "0", "1", "1"), []string{"notice|repopolicy|"}},
		{
			verify + "--policy policy.toml --tag v9 widget_1", 1, judged("DENY", "1", "0", "1"),
			[]string{"error|repopolicy: DENY [tag-mismatch]|widget_1", "error|repopolicy|"},
		},
		{
			verify + "--policy policy.toml widget_1 sha256:" + strings.Repeat("0", 64), 1, judged("DENY", "1", "1", "2"),
			[]string{"error|repopolicy: DENY [no-evidence]|", "error|repopolicy|"},
		},
		{
			verify + "--policy policy.toml widget_2", 6, judged("INVALID", "6", "0", "1"),
			[]string{"error|repopolicy: INVALID [bundle-invalid]|widget_2", "error|repopolicy|"},
		},
		{
			"verify --format github --policy policy.toml widget_1", 3, judged("UNAVAILABLE", "3", "0", "1"),
			[]string{"error|repopolicy: UNAVAILABLE [trusted-root-unavailable]|widget_1", "error|repopolicy|"},
		},
		{verify + "--certificate-identity a@example.com --certificate-oidc-issuer https://b.example widget_1", 1,
			map[string]string{"verdict": "DENY", "exit-code": "1", "allowed": "0", "judged": "1"},
			[]string{"error|repopolicy: DENY [identity-flags-mismatch]|widget_1", "error|repopolicy|"},
		},
		{
			verify + "--policy bad.toml widget_1", 6, map[string]string{"verdict": "INVALID", "exit-code": "6"},
			[]string{"error|repopolicy: INVALID [policy-unknown-key]|"},
		},
		{
			verify + "widget_1", 2, map[string]string{"verdict": "USAGE", "exit-code": "2"},
			[]string{"error|repopolicy: USAGE [usage]|"},
		},
		{"check --format github policy.toml", 0, map[string]string{"verdict": "OK", "exit-code": "0"}, nil},
		{
			"check --format github bad.toml", 6, map[string]string{"verdict": "INVALID", "exit-code": "6"},
			[]string{"error|repopolicy check [policy-unknown-key]|bad.toml"},
		},
	} {
		var out bytes.Buffer
		env.Stdout = &out
		if exit := Main(strings.Fields(c.args), env); exit != c.exit {
			t.Errorf("%s: exit %d", c.args, exit)
		}
		outputs, _ := files()
		if d := cmp.Diff(c.outputs, outputs); d != "" {
			t.Errorf("%s: outputs %s", c.args, d)
		}
		var got []string
		for _, cmd := range readCommands(t, out.String()) {
			if cmd.props["title"] != "" && cmd.name != "warning" {
				got = append(got, cmd.name+"|"+cmd.props["title"]+"|"+cmd.props["file"])
			}
		}
		if d := cmp.Diff(c.commands, got); d != "" {
			t.Errorf("%s: commands %s\n%s", c.args, d, out.String())
		}
	}
	// Without a runner nothing is written.
	t.Setenv(report.EnvOutput, "")
	t.Setenv(report.EnvSummary, "")
	if exit := Main(strings.Fields(verify+"--policy policy.toml widget_1"), env); exit != 0 {
		t.Errorf("exit %d", exit)
	}
	// What the runner cannot be told was not said.
	t.Setenv(report.EnvOutput, "no/such/directory/output")
	if exit := Main(strings.Fields(verify+"--policy policy.toml widget_1"), env); exit != 3 {
		t.Errorf("outputs that cannot be written: exit %d", exit)
	}
	if exit := Main(strings.Fields(verify+"--policy policy.toml --tag v9 widget_1"), env); exit != 1 {
		t.Errorf("a denial whose outputs cannot be written: exit %d", exit)
	}
}

// TestRunnerFilesAppend: what other commands of the step wrote stays, also a line
// that they left open.
func TestRunnerFilesAppend(t *testing.T) {
	files := runnerFiles(t)
	if err := os.WriteFile(os.Getenv(report.EnvOutput), []byte("mine=1"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{&command.Run{Env: command.Env{Getenv: os.Getenv}, Out: report.NewPrinter(&bytes.Buffer{})}}
	a.github().Outputs([]report.Output{{Name: "verdict", Value: "OK"}}, "summary")
	got, md := files()
	if d := cmp.Diff(map[string]string{"mine": "1", "verdict": "OK"}, got); d != "" || md != "summary" ||
		a.Out.Err() != nil {
		t.Errorf("%s %q %v", d, md, a.Out.Err())
	}
}

// FuzzOutput: whatever the value, the reference reader finds exactly one output
// more, with exactly that value, also if the random source repeats itself.
func FuzzOutput(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, "X")
	}
	f.Add("a\nrepopolicy_X\nverdict=OK", "X")
	f.Add("\nrepopolicy_\n", "")
	f.Fuzz(func(t *testing.T, value, first string) {
		if strings.ContainsAny(first, "\n=<") || strings.Contains(value, "repopolicy_Z") {
			t.Skip("not what a random source gives")
		}
		draws := []string{first, "Z"}
		random := func() string { s := draws[0]; draws = append(draws[1:], "Z"); return s }
		got, err := readOutputs(
			"before=1\n" + report.Heredoc(report.Output{Name: "key", Value: value}, random) + "after=2\n",
		)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[string]string{"before": "1", "key": value, "after": "2"}, got); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzWorkflowCommand: one line is one command with the name and keys that were
// meant, and nothing in it is active on a terminal.
func FuzzWorkflowCommand(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, hostile[len(hostile)-1-i])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		out := report.WorkflowCommand("error", [][2]string{{"title", a}, {"file", b}}, []string{b, a})
		cs := readCommands(t, out)
		if strings.Count(out, "\n") != 1 || len(cs) != 1 {
			t.Fatalf("%q", out)
		}
		var data []string
		for _, s := range []string{b, a} {
			if s != "" {
				data = append(data, report.Escape(s))
			}
		}
		want := runnerCommand{
			"error",
			strings.Join(data, "\n"),
			map[string]string{"title": report.Escape(a), "file": report.Escape(b)},
		}
		if d := cmp.Diff(want, cs[0], cmp.AllowUnexported(runnerCommand{})); d != "" {
			t.Fatal(d)
		}
		// A line of text output is never a command.
		var text bytes.Buffer
		p := report.NewPrinter(&text)
		p.Line("%s", a)
		p.Line("  %s%s", a, b)
		if cs := readCommands(t, text.String()); len(cs) != 0 {
			t.Fatalf("%q is %v", text.String(), cs)
		}
	})
}

// markdownKinds are the nodes of which a summary may consist.
var markdownKinds = map[ast.NodeKind]bool{
	ast.KindDocument: true, ast.KindHeading: true, ast.KindParagraph: true, ast.KindText: true, ast.KindCodeSpan: true,
	east.KindTable: true, east.KindTableHeader: true, east.KindTableRow: true, east.KindTableCell: true,
}

// checkMarkdown reads a summary as GitHub does and fails on any other node than
// a heading, paragraphs, two tables of three rows and two, and code with the texts
// wanted.
func checkMarkdown(t *testing.T, md string, want []string) {
	t.Helper()
	rows := 3 + 2 // of what differs, for each that is denied
	got := []string{}
	src := []byte(md)
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(src))
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		if !markdownKinds[n.Kind()] {
			return ast.WalkStop, fmt.Errorf("%s", n.Kind())
		}
		switch n.Kind() {
		case east.KindTableRow:
			rows--
			if c := n.ChildCount(); c != 6 && c != 5 {
				return ast.WalkStop, fmt.Errorf("a row of %d cells", n.ChildCount())
			}
		case ast.KindCodeSpan:
			var b strings.Builder
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				b.Write(c.(*ast.Text).Segment.Value(src))
			}
			got = append(got, b.String())
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	if err != nil || rows != 0 {
		t.Fatalf("%v, %d rows missing, in\n%s", err, rows, md)
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == "-" })
	for i := range want {
		if want[i] = strings.Trim(want[i], "`"); strings.Trim(want[i], " ") != "" && want[i][0] == ' ' &&
			want[i][len(want[i])-1] == ' ' {
			want[i] = want[i][1 : len(want[i])-1] // a code span's padding
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	for _, r := range md {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r)) ||
			r == utf8.RuneError {
			t.Fatalf("%U in %q", r, md)
		}
	}
}

// FuzzSummary: no text from outside is active Markdown or HTML, and each
// artifact is one row.
func FuzzSummary(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, hostile[len(hostile)-1-i])
	}
	f.Add("", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		r := syntheticReport(a, b, policy.Allowed, policy.RuleMismatch, policy.BundleInvalid)
		r.Criteria.Policy.Repository = b
		r.Criteria.Roots = []string{a, b}
		x, y, none := report.Code(a), report.Code(b), "-"
		roots := report.Code(a + "; " + b)
		rows := []string{x, y, none, none, y, x, y, none, none, y, x, y, y, x, y}
		for range 2 {
			rows = append(rows, x, x, "ref", y, report.Code(report.OrMissing(a)))
		}
		checkMarkdown(
			t, report.JobSummary(r, "DENY: 1 of 3 artifacts allowed"),
			append([]string{y, report.Code(r.Criteria.Policy.Digest), none, none, roots}, rows...),
		)
		r.Criteria.Policy, r.Criteria.Identity = nil, a
		checkMarkdown(t, report.JobSummary(r, "DENY: 1 of 3 artifacts allowed"), append([]string{x, roots}, rows...))
	})
}

// TestSummaryLimit: a long run stays within what a runner takes, and what is
// denied is in it.
func TestSummaryLimit(t *testing.T) {
	var reasons []policy.Reason
	for range 5000 {
		reasons = append(reasons, policy.Allowed)
	}
	r := syntheticReport(
		strings.Repeat("\u202e", 4096),
		strings.Repeat("x", 4096),
		append(reasons, policy.RuleMismatch)...)
	md := report.JobSummary(r, "total")
	if len(md) > report.MaxSummaryBytes+100 || !strings.Contains(md, "| DENY |") {
		t.Errorf("%d bytes", len(md))
	}
	if m := regexp.MustCompile(`\n(\d+) more are in the log\.\n$`).FindStringSubmatch(md); m == nil {
		t.Errorf("ends %q", md[len(md)-80:])
	}
}
