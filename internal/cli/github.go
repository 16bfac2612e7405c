// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/policy"
)

// Where GitHub's runner takes a step's outputs and summary from. The environment
// says where to write, never what to believe.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
const (
	envOutput  = "GITHUB_OUTPUT"
	envSummary = "GITHUB_STEP_SUMMARY"

	// maxSummaryBytes is what a run adds to the job summary at most. Runners
	// drop a step's summary beyond 1 MiB, older ones beyond 128 KiB.
	maxSummaryBytes = 96 << 10
	// maxSummaryCell is the longest text in one place of the summary.
	maxSummaryCell = 512
)

// github prints the report as workflow commands and, where the runner says
// where, a job summary and the step's outputs.
func (a *app) github(r *report, more ...output) {
	allowed := 0
	for i := range r.Artifacts {
		x := &r.Artifacts[i]
		if x.permitted {
			allowed++
			for _, n := range x.Notes {
				if n.Code == "policy-expired" {
					a.annotate("warning", position{file: x.Artifact}, "repopolicy: "+n.Code, x.Artifact+": "+n.Text)
				}
			}
			continue
		}
		lines := []string{x.Artifact + ": " + x.Message, x.Detail}
		if x.Nearest != nil {
			for _, m := range x.Nearest.Mismatches {
				lines = append(lines, fmt.Sprintf("rule %s: %s is %s, the rule says %s", x.Nearest.Rule, m.Field, orMissing(m.Got), m.Want))
			}
		}
		a.annotate("error", position{file: x.Artifact}, fmt.Sprintf("repopolicy: %s [%s]", x.Verdict, x.Reason), append(lines, x.Hint)...)
	}
	for _, alarm := range r.Alarms {
		a.annotate("warning", position{}, "repopolicy: alarm", alarm)
	}
	total := fmt.Sprintf("%s: %d of %d %s allowed", r.Verdict, allowed, len(r.Artifacts), plural(len(r.Artifacts), "artifact"))
	level := "error"
	if r.Exit == 0 {
		level = "notice"
	}
	a.annotate(level, position{}, "repopolicy", total)
	outputs := append(append(more, verdictOutputs(r.Verdict, r.Exit)...),
		output{"allowed", strconv.Itoa(allowed)}, output{"judged", strconv.Itoa(len(r.Artifacts))})
	if p := r.Criteria.Policy; p != nil {
		outputs = append(outputs, output{"policy-digest", p.Digest}, output{"policy-version", strconv.Itoa(p.Version)})
	}
	a.writeRunnerFiles(outputs, summaryOf(r, total))
}

// checkGitHub prints what check found as annotations of the policy file.
func (a *app) checkGitHub(c *checkDoc) {
	for _, p := range c.Problems {
		a.annotate(p.Severity, position{c.File, p.Line, p.Column}, fmt.Sprintf("repopolicy check [%s]", p.Code), p.text(), p.Hint)
	}
	a.printCheckTotal(c)
	a.writeRunnerFiles(verdictOutputs(c.Verdict, c.Exit), "")
}

// githubFault tells the runner about a run that ended before any verdict.
func (a *app) githubFault(f *policy.Fault, more ...output) {
	class := f.Reason.Class()
	a.annotate("error", position{}, fmt.Sprintf("repopolicy: %s [%s]", class, f.Reason), f.Text, f.Hint)
	a.writeRunnerFiles(append(verdictOutputs(class.String(), class.Exit()), more...), "")
}

// githubBound tells the runner how bind ended; v is nil if nothing was to be bound.
func (a *app) githubBound(v *draftVersion, err error) {
	if f := faultOf(err); f != nil {
		a.githubFault(f)
		return
	}
	if err != nil || v == nil {
		return
	}
	version := strconv.Itoa(v.doc.Content().Version)
	a.annotate("notice", position{}, "repopolicy", "version "+version+" is bound")
	a.writeRunnerFiles(append(verdictOutputs(policy.ClassOK.String(), policy.ClassOK.Exit()),
		output{"policy-digest", v.doc.Digest().String()}, output{"policy-version", version}), "")
}

func verdictOutputs(verdict string, exit int) []output {
	return []output{{"verdict", verdict}, {"exit-code", strconv.Itoa(exit)}}
}

func orMissing(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}

// position is what an annotation points at.
type position struct {
	file         string
	line, column int
}

// annotate prints one workflow command. Lines that are empty are left out.
func (a *app) annotate(name string, at position, title string, lines ...string) {
	props := [][2]string{{"title", title}}
	if at.file != "" && isFile(at.file) {
		props = append(props, [2]string{"file", at.file})
		if at.line > 0 {
			props = append(props, [2]string{"line", strconv.Itoa(at.line)})
		}
		if at.column > 0 {
			props = append(props, [2]string{"col", strconv.Itoa(at.column)})
		}
	}
	a.out.raw(workflowCommand(name, props, lines))
}

// workflowCommand returns one line "::name key=value,…::data". What is shown is
// escaped as for a terminal first; line feeds are left only between lines.
func workflowCommand(name string, props [][2]string, lines []string) string {
	var kv, data []string
	for _, p := range props {
		kv = append(kv, p[0]+"="+propertyEscaper.Replace(escape(p[1])))
	}
	for _, l := range lines {
		if l != "" {
			data = append(data, escape(l))
		}
	}
	return "::" + name + " " + strings.Join(kv, ",") + "::" + dataEscaper.Replace(strings.Join(data, "\n")) + "\n"
}

var (
	dataEscaper     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscaper = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// output is one output of a step.
type output struct{ name, value string }

// writeRunnerFiles appends the outputs and the summary to the files that the
// runner named, if it did. What cannot be written counts like standard output
// that cannot: the verdict was not given.
func (a *app) writeRunnerFiles(outputs []output, summary string) {
	if a.Getenv == nil {
		return
	}
	var b strings.Builder
	for _, o := range outputs {
		b.WriteString(heredoc(o, rand.Text))
	}
	for _, f := range []struct{ path, text string }{{a.Getenv(envOutput), b.String()}, {a.Getenv(envSummary), summary}} {
		if f.path != "" && f.text != "" && a.out.err == nil {
			a.out.err = appendFile(f.path, f.text)
		}
	}
}

func appendFile(path, text string) error {
	return file.Append(path, 0o600, func(f *os.File) error {
		// A line that somebody else left open is ended first.
		if end, err := f.Seek(0, io.SeekEnd); err == nil && end > 0 {
			var last [1]byte
			if _, err := f.ReadAt(last[:], end-1); err != nil || last[0] != '\n' {
				text = "\n" + text
			}
		}
		_, err := f.WriteString(text)
		return err
	})
}

// heredoc writes an output in the form for values of several lines. The
// delimiter is random and does not occur in the value, so that no value can end
// itself and begin another output.
func heredoc(o output, random func() string) string {
	delimiter := "repopolicy_" + random()
	for strings.Contains(o.value, delimiter) {
		delimiter = "repopolicy_" + random()
	}
	return o.name + "<<" + delimiter + "\n" + o.value + "\n" + delimiter + "\n"
}

// summaryOf returns the report as Markdown for the job summary, what is denied
// first.
func summaryOf(r *report, total string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### repopolicy: %s\n\n", total)
	if p := r.Criteria.Policy; p != nil {
		fmt.Fprintf(&b, "Policy of %s, version %d, %s, genesis %s, completeness %s.\n\n",
			code(p.Repository), p.Version, code(p.Digest), code(p.Genesis), code(p.Completeness))
	} else {
		fmt.Fprintf(&b, "No policy was consulted; the signer demanded is %s.\n\n", code(r.Criteria.Identity))
	}
	b.WriteString("| verdict | artifact | reason | rule | tag | signer |\n|---|---|---|---|---|---|\n")
	order := make([]*artifactReport, len(r.Artifacts))
	for i := range r.Artifacts {
		order[i] = &r.Artifacts[i]
	}
	slices.SortStableFunc(order, func(x, y *artifactReport) int { return rank(x) - rank(y) })
	for i, x := range order {
		signer := "-"
		if ev := x.Evidence; ev != nil {
			signer = code(ev.Signer.Identity)
			if !ev.Verified {
				signer = "claims " + signer
			}
		}
		reason := x.Reason.Info().Text
		if x.Detail != "" {
			reason += ": " + code(x.Detail)
		}
		row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", x.Verdict, code(x.Artifact), reason, code(x.Rule), code(x.Tag), signer)
		if b.Len()+len(row) > maxSummaryBytes {
			fmt.Fprintf(&b, "\n%d more are in the log.\n", len(order)-i)
			break
		}
		b.WriteString(row)
	}
	return b.String()
}

func rank(x *artifactReport) int {
	if x.permitted {
		return 1
	}
	return 0
}

// code returns a text that somebody else wrote as a code span of Markdown, in
// which nothing is active. What could end the span or a cell of a table is
// written in the notation of escape.
func code(s string) string {
	if s == "" {
		return "-"
	}
	s = escape(s)
	if len(s) > maxSummaryCell {
		s = strings.ToValidUTF8(s[:maxSummaryCell], "") + "…"
	}
	return "`" + codeEscaper.Replace(s) + "`"
}

var codeEscaper = strings.NewReplacer("`", `\x60`, "|", `\x7c`)
