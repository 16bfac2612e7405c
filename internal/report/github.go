// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/policy"
)

// Where GitHub's runner takes a step's outputs and summary from. The environment
// says where to write, never what to believe.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
const (
	EnvOutput  = "GITHUB_OUTPUT"
	EnvSummary = "GITHUB_STEP_SUMMARY"

	// MaxSummaryBytes is what a run adds to the job summary at most. Runners
	// drop a step's summary beyond 1 MiB, older ones beyond 128 KiB.
	MaxSummaryBytes = 96 << 10
	// maxSummaryCell is the longest text in one place of the summary.
	maxSummaryCell = 512
)

// GitHub is a step of a workflow that hears of a run.
type GitHub struct {
	Out    *Printer
	Getenv func(string) string // returns where the runner wants output; nil knows of none
}

// Verdict prints a report as workflow commands and, where the runner says
// where, a job summary and the step's outputs.
func (a GitHub) Verdict(r *Report, more ...Output) {
	allowed := 0
	for i := range r.Artifacts {
		x := &r.Artifacts[i]
		if x.Permitted {
			allowed++
			for _, n := range x.Notes {
				if n.Code == "policy-expired" {
					a.annotate("warning", Position{file: x.Artifact}, "repopolicy: "+n.Code, x.Artifact+": "+n.Text)
				}
			}
			continue
		}
		lines := []string{x.Artifact + ": " + x.Message, x.Detail}
		if x.Nearest != nil {
			for _, m := range x.Nearest.Mismatches {
				lines = append(lines,
					fmt.Sprintf("rule %s: %s is %s, the rule says %s", x.Nearest.Rule, m.Field, OrMissing(m.Got), m.Want))
			}
		}
		a.annotate("error", Position{file: x.Artifact}, fmt.Sprintf("repopolicy: %s [%s]", x.Verdict, x.Reason),
			append(lines, x.Hint, x.Next)...)
	}
	for _, alarm := range r.Alarms {
		a.annotate("warning", Position{}, "repopolicy: alarm", alarm)
	}
	if u := r.Criteria.Unbound; u != nil {
		a.annotate("warning", Position{}, "repopolicy: no policy", u.Weaker())
	}
	total := fmt.Sprintf("%s: %d of %d %s allowed", r.Verdict, allowed, len(r.Artifacts),
		Plural(len(r.Artifacts), "artifact"))
	level := "error"
	if r.Exit == 0 {
		level = "notice"
	}
	a.annotate(level, Position{}, "repopolicy", total)
	outputs := append(append(more, VerdictOutputs(r.Verdict, r.Exit)...),
		Output{"allowed", strconv.Itoa(allowed)}, Output{"judged", strconv.Itoa(len(r.Artifacts))})
	if p := r.Criteria.Policy; p != nil {
		outputs = append(outputs, Output{"policy-digest", p.Digest}, Output{"policy-version", strconv.Itoa(p.Version)})
	}
	a.Outputs(outputs, JobSummary(r, total))
}

// Check prints what check found as annotations of the policy file.
func (a GitHub) Check(c *Check) {
	for _, p := range c.Problems {
		a.annotate(p.Severity, Position{c.File, p.Line, p.Column}, fmt.Sprintf("repopolicy check [%s]", p.Code), p.text(),
			p.Hint)
	}
	a.Out.checkTotal(c)
	a.Outputs(VerdictOutputs(c.Verdict, c.Exit), "")
}

// Fault tells the runner about a run that ended before any verdict.
func (a GitHub) Fault(f *policy.Fault, more ...Output) {
	class := f.Reason.Class()
	a.annotate("error", Position{}, fmt.Sprintf("repopolicy: %s [%s]", class, f.Reason), f.Text, f.Hint)
	a.Outputs(append(VerdictOutputs(class.String(), class.Exit()), more...), "")
}

// VersionBound tells the runner that a version was bound.
func (a GitHub) VersionBound(version int, digest policy.Digest) {
	n := strconv.Itoa(version)
	a.annotate("notice", Position{}, "repopolicy", "version "+n+" is bound")
	a.Outputs(append(VerdictOutputs(policy.ClassOK.String(), policy.ClassOK.Exit()),
		Output{"policy-digest", digest.String()}, Output{"policy-version", n}), "")
}

// VerdictOutputs are the outputs that every verdict has.
func VerdictOutputs(verdict string, exit int) []Output {
	return []Output{{"verdict", verdict}, {"exit-code", strconv.Itoa(exit)}}
}

// OrMissing returns a text, or a word for none.
func OrMissing(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}

// Position is what an annotation points at.
type Position struct {
	file         string
	line, column int
}

// annotate prints one workflow command. Lines that are empty are left out.
func (a GitHub) annotate(name string, at Position, title string, lines ...string) {
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
	a.Out.Raw(WorkflowCommand(name, props, lines))
}

// WorkflowCommand returns one line "::name key=value,…::data". What is shown is
// escaped as for a terminal first; line feeds are left only between lines.
func WorkflowCommand(name string, props [][2]string, lines []string) string {
	var kv, data []string
	for _, p := range props {
		kv = append(kv, p[0]+"="+propertyEscaper.Replace(Escape(p[1])))
	}
	for _, l := range lines {
		if l != "" {
			data = append(data, Escape(l))
		}
	}
	return "::" + name + " " + strings.Join(kv, ",") + "::" + dataEscaper.Replace(strings.Join(data, "\n")) + "\n"
}

var (
	dataEscaper     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscaper = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// Output is one output of a step.
type Output struct{ Name, Value string }

// Outputs appends the outputs and the summary to the files that the
// runner named, if it did. What cannot be written counts like standard output
// that cannot: the verdict was not given.
func (a GitHub) Outputs(outputs []Output, summary string) {
	if a.Getenv == nil {
		return
	}
	var b strings.Builder
	for _, o := range outputs {
		b.WriteString(Heredoc(o, rand.Text))
	}
	for _, f := range []struct{ path, text string }{{a.Getenv(EnvOutput), b.String()}, {a.Getenv(EnvSummary), summary}} {
		if f.path != "" && f.text != "" && a.Out.err == nil {
			a.Out.err = appendFile(f.path, f.text)
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

// Heredoc writes an output in the form for values of several lines. The
// delimiter is random and does not occur in the value, so that no value can end
// itself and begin another output.
func Heredoc(o Output, random func() string) string {
	delimiter := "repopolicy_" + random()
	for strings.Contains(o.Value, delimiter) {
		delimiter = "repopolicy_" + random()
	}
	return o.Name + "<<" + delimiter + "\n" + o.Value + "\n" + delimiter + "\n"
}

// JobSummary returns the report as Markdown for the job summary, what is denied
// first.
func JobSummary(r *Report, total string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### repopolicy: %s\n\n", total)
	if p := r.Criteria.Policy; p != nil {
		fmt.Fprintf(&b, "Policy of %s, newest version %d, %s, genesis %s, completeness %s.\n\n",
			Code(p.Repository), p.Version, Code(p.Digest), Code(p.Genesis), Code(p.Completeness))
	} else if u := r.Criteria.Unbound; u != nil {
		fmt.Fprintf(&b, "**No policy** is bound to %s, genesis %s, completeness %s: nobody says who may release it.\n\n",
			Code(u.Repository), Code(u.Genesis), Code(u.Completeness))
	} else {
		demanded := "the signer demanded is " + Code(r.Criteria.Identity)
		if r.Criteria.TUF != "" {
			demanded = "the trust root that has to list the files is " + Code(r.Criteria.TUF)
		}
		fmt.Fprintf(&b, "No policy was consulted; %s.\n\n", demanded)
	}
	if roots := r.Criteria.Roots; len(roots) > 0 {
		fmt.Fprintf(&b, "Trusted root: %s.\n\n", Code(strings.Join(roots, "; ")))
	}
	b.WriteString("| verdict | artifact | reason | rule | tag | signer |\n|---|---|---|---|---|---|\n")
	order := make([]*Artifact, len(r.Artifacts))
	for i := range r.Artifacts {
		order[i] = &r.Artifacts[i]
	}
	arrange.By(order, func(x, y *Artifact) int { return rank(x) - rank(y) })
	for i, x := range order {
		signer := "-"
		if ev := x.Evidence; ev != nil {
			signer = Code(ev.Signer.Identity)
			if !ev.Verified {
				signer = "claims " + signer
			}
			if t := ev.Target; t != nil {
				signer = "none; " + Code(strings.TrimSpace(t.Root+" "+t.Role))
			}
		}
		reason := x.Reason.Text()
		if x.Detail != "" {
			reason += ": " + Code(x.Detail)
		}
		rule := Code(x.Rule)
		if by := inForce(x.JudgedBy); by != "" {
			rule += ", " + by
		}
		row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", x.Verdict, Code(x.Artifact), reason, rule, Code(x.Tag),
			signer)
		if b.Len()+len(row) > MaxSummaryBytes {
			fmt.Fprintf(&b, "\n%d more are in the log.\n", len(order)-i)
			break
		}
		b.WriteString(row)
	}
	differences(&b, order)
	return b.String()
}

// differences adds a table of what the nearest rule wanted of each artifact that was denied, what it
// got, and the command that helps.
func differences(b *strings.Builder, order []*Artifact) {
	const head = "\n| artifact | rule | field | wanted | got |\n|---|---|---|---|---|\n"
	begun := false
	for _, x := range order {
		if x.Permitted || x.Nearest == nil {
			continue
		}
		for _, m := range x.Nearest.Mismatches {
			row := fmt.Sprintf("| %s | %s | %s | %s | %s |\n", Code(x.Artifact), Code(x.Nearest.Rule), Code(m.Field),
				Code(m.Want),
				Code(OrMissing(m.Got)))
			if b.Len()+len(head)+len(row) > MaxSummaryBytes {
				return // the log has all of them
			}
			if !begun {
				b.WriteString(head)
				begun = true
			}
			b.WriteString(row)
		}
	}
	for _, x := range order {
		if row := "\nNext: " + Code(x.Next) + "\n"; x.Next != "" && b.Len()+len(row) <= MaxSummaryBytes {
			b.WriteString(row)
			return // of the first: the others are in the log
		}
	}
}

func rank(x *Artifact) int {
	if x.Permitted {
		return 1
	}
	return 0
}

// Code returns a text that somebody else wrote as a code span of Markdown, in
// which nothing is active. What could end the span or a cell of a table is
// written in the notation of escape.
func Code(s string) string {
	if s == "" {
		return "-"
	}
	s = Escape(s)
	if len(s) > maxSummaryCell {
		s = strings.ToValidUTF8(s[:maxSummaryCell], "") + "…"
	}
	return "`" + codeEscaper.Replace(s) + "`"
}

var codeEscaper = strings.NewReplacer("`", `\x60`, "|", `\x7c`)
