// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// sarifStandard returns the OASIS schema of SARIF 2.1.0 errata 01, which
// go-sarif carries as a constant.
func sarifStandard(t testing.TB) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	src, err := parser.ParseFile(
		token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "pkg/report/v210/sarif/schema.go"), nil, 0,
	)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	ast.Inspect(src, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && len(lit.Value) > len(text) {
			text = lit.Value
		}
		return true
	})
	if text, err = strconv.Unquote(text); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(report.SARIFSchema, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(report.SARIFSchema)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hostile are names and texts that mean something to a terminal, a runner, a
// Markdown or a URI reader.
var hostile = []string{
	"plain.tar.gz", "a b%0A::set-output name=verdict::OK", "::error::x", "##[add-mask]x", "x\n::add-mask::y\r",
	"<script>alert(1)</script>",
	"[link](javascript:alert(1))", "![i](https://evil.example/x.png)", "`code` | cell |",
	"\x1b[31mred\x1b]8;;https://evil.example\a", "\u202egnp.exe", "a\xffb",
	"{0} {x}", "https://evil.example/?q=1#f", "data:text/html,x", "../../etc/passwd", "/etc/passwd",
	"@octocat #1 user@example.com www.example.com", "a\\|b\\`c", "-->", "$(id)", "",
}

// synthetic returns one result for each reason, about the artifact of that name.
func synthetic(name, detail string, reasons ...policy.Reason) []repopolicy.Entry {
	var out []repopolicy.Entry
	for _, r := range reasons {
		d := policy.Decision{Reason: r, Detail: detail}
		if r.Class() == policy.ClassOK {
			d.Permitted, d.Rule, d.Tag = true, detail, name
		} else {
			d.Rules = []policy.RuleResult{
				{Rule: name, Mismatches: []policy.Mismatch{{Field: "ref", Kind: "differs", Want: detail, Got: name}}},
			}
		}
		out = append(out, repopolicy.Entry{Input: name, Fate: "judged", Result: &repopolicy.Result{
			Artifact: name, Decision: d, Digests: []policy.Digest{{Alg: "sha256", Hex: strings.Repeat("0a", 32)}},
			Evidence: &repopolicy.Evidence{
				Path: name, Decision: d, Signer: policy.Identity{Kind: policy.KindURI, Value: detail, Issuer: name},
			},
		}})
	}
	return out
}

func syntheticReport(name, detail string, reasons ...policy.Reason) *report.Report {
	sum := &report.Summary{Roots: []string{"public-good"}, AsOf: time.Unix(1e9, 0), Policy: &report.PolicySummary{
		Path: name, Digest: "sha256:" + strings.Repeat("0", 64), Repository: "https://github.com/acme/widget", Version: 3,
	}}
	entries := synthetic(name, detail, reasons...)
	var classes []policy.Class
	for _, e := range entries {
		classes = append(classes, e.Result.Class())
	}
	return report.New(sum, policy.Worst(classes...), slices.Values(entries), false, nil)
}

// TestSARIF holds what is written against the schema of the standard, a library
// that reads it, and the verdict.
func TestSARIF(t *testing.T) {
	schema := sarifStandard(t)
	env := place(t)
	all := policy.Reasons()
	outputs := map[string][]byte{}
	run := func(args string) {
		var out bytes.Buffer
		env.Stdout = &out
		exit := Main(append(strings.Fields(args), "--format", "sarif"), env)
		outputs[args] = out.Bytes()
		var log report.SARIF
		if err := json.Unmarshal(out.Bytes(), &log); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out.Bytes())
		}
		if got := log.Runs[0].Invocations[0].ExitCode; got != exit {
			t.Errorf("%s: exits %d, says %d", args, exit, got)
		}
	}
	run(
		"verify --policy policy.toml --trusted-root root.json widget_1 widget_2 refs/tags/v9 sha256:" + strings.Repeat(
			"0", 64,
		),
	)
	run("verify --policy policy.toml --trusted-root root.json widget_1")
	run("explain --policy policy.toml --trusted-root root.json widget_1")
	run(
		"verify --certificate-identity a@example.com --certificate-oidc-issuer https://b.example --trusted-root root.json " +
			"widget_1",
	)
	run("verify --policy policy.toml widget_1")
	run("check policy.toml")
	run("check bad.toml")
	for _, name := range hostile {
		var out bytes.Buffer
		p := report.NewPrinter(&out)
		r := syntheticReport(name, name, all...)
		r.Alarms = []string{name, "second-genesis"}
		if err := p.JSON(report.NewSARIF(r)); err != nil {
			t.Fatal(err)
		}
		outputs[name] = out.Bytes()
	}
	for what, out := range outputs {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Errorf("%q: %v", what, err)
			continue
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%q: %v", what, err)
		}
		if _, err := sarif.FromBytes(out); err != nil {
			t.Errorf("%q: go-sarif: %v", what, err)
		}
	}
}

// TestSARIFResults: kind, level, place and fingerprint of results.
func TestSARIFResults(t *testing.T) {
	r := syntheticReport(
		"dist/a b#1.tar.gz", "", policy.Allowed, policy.RuleMismatch, policy.TrustRootMissing, policy.Internal,
	)
	run := report.NewSARIF(r).Runs[0]
	type row struct{ rule, kind, level, uri string }
	var got []row
	for _, x := range run.Results {
		if run.Tool.Driver.Rules[x.RuleIndex].ID != x.RuleID {
			t.Errorf("%s: rule index %d", x.RuleID, x.RuleIndex)
		}
		got = append(got, row{x.RuleID, x.Kind, x.Level, x.Locations[0].Physical.Artifact.URI})
	}
	const uri = "dist/a%20b%231.tar.gz"
	want := []row{
		{"allowed", "pass", "none", uri}, {"rule-mismatch", "fail", "error", uri},
		{"trusted-root-unavailable", "fail", "warning", uri}, {"internal", "fail", "error", uri},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(row{})); d != "" {
		t.Error(d)
	}
	again := report.NewSARIF(syntheticReport(
		"dist/a b#1.tar.gz", "another detail", policy.RuleMismatch,
	)).Runs[0].Results[0]
	if again.Fingerprints[report.FingerprintName] != run.Results[1].Fingerprints[report.FingerprintName] {
		t.Error("the fingerprint depends on the detail")
	}
	if run.Results[0].Fingerprints[report.FingerprintName] == run.Results[1].Fingerprints[report.FingerprintName] {
		t.Error("two reasons have the same fingerprint")
	}
	// A result whose reason says OK without being permitted is no pass.
	r.Artifacts[0].Permitted = false
	if x := report.NewSARIF(r).Runs[0].Results[0]; x.Kind != "fail" || x.Level != "error" {
		t.Errorf("not permitted is %s, %s", x.Kind, x.Level)
	}
	for class, want := range map[policy.Class]bool{
		policy.ClassOK: true, policy.ClassDeny: true, policy.ClassInvalid: true, policy.ClassStale: true,
		policy.ClassAlarm: true, policy.ClassNoPolicy: true,
		policy.ClassUnavailable: false, policy.ClassAuth: false, policy.ClassUsage: false, policy.ClassInternal: false,
	} {
		if got := report.NewSARIFRun(class, nil).Invocations[0].Successful; got != want {
			t.Errorf("executionSuccessful of %s is %v", class, got)
		}
	}
}

// FuzzSARIF: a valid document in ASCII whose URIs read back as the name and
// whose results agree with the exit class.
func FuzzSARIF(f *testing.F) {
	for i, name := range hostile {
		f.Add(name, hostile[len(hostile)-1-i], uint8(i), uint8(0))
	}
	reasons := policy.Reasons()
	f.Fuzz(func(t *testing.T, name, detail string, a, b uint8) {
		r := syntheticReport(name, detail, reasons[int(a)%len(reasons)], reasons[int(b)%len(reasons)])
		var out bytes.Buffer
		p := report.NewPrinter(&out)
		if err := p.JSON(report.NewSARIF(r)); err != nil {
			t.Fatal(err)
		}
		var log report.SARIF
		if err := json.Unmarshal(out.Bytes(), &log); err != nil {
			t.Fatal(err)
		}
		run := log.Runs[0]
		fails := slices.ContainsFunc(run.Results, func(x report.SARIFResult) bool { return x.Kind != "pass" })
		if len(run.Results) != 2 || run.Invocations[0].ExitCode != r.Exit || fails != (r.Exit != 0) {
			t.Fatalf("exit %d, %+v", r.Exit, run.Results)
		}
		for _, x := range run.Results {
			if strings.Contains(x.Message.Text, "](") {
				t.Fatalf("a link: %q", x.Message.Text)
			}
			for _, c := range x.Message.Text {
				if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
					t.Fatalf("%U in a message", c)
				}
			}
			loc := x.Locations[0]
			if loc.Physical == nil {
				continue
			}
			u, err := url.Parse(loc.Physical.Artifact.URI)
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.ToSlash(name)
			if strings.HasPrefix(want, "/") {
				want = "/" + strings.TrimLeft(want, "/")
			}
			if u.Path != want || u.Host != "" || u.RawQuery != "" || u.Fragment != "" ||
				u.Scheme != "" && u.Scheme != "file" {
				t.Fatalf("%q became %q", name, loc.Physical.Artifact.URI)
			}
		}
	})
}
