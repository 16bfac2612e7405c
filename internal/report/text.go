// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// Verdict prints a report for people: a line for each artifact that is allowed, a few for one that
// is not, and once by which versions of the policy was judged and how sure those are. With full it
// prints all that is known of each artifact. What weakens a verdict is printed always.
func (p *Printer) Verdict(r *Report, full bool) {
	allowed := 0
	var brief []*Artifact
	var alike alike
	for i := range r.Artifacts {
		x := &r.Artifacts[i]
		if x.Permitted {
			allowed++
		}
		switch {
		case full || x.Rules != nil:
			p.block(x)
		case x.Permitted:
			brief = append(brief, x)
			p.Head(Good, x.Verdict, "%s%s%s  %s", pad(x.Verdict), Named(x.Artifact), x.calledOtherwise(), x.released())
		default:
			brief = append(brief, x)
			if !alike.has(x) {
				p.denied(x)
			}
		}
	}
	p.alike(&alike)
	p.remarks(brief)
	p.notJudged(r.NotJudged, full)
	p.judgedBy(r)
	if len(r.Artifacts) != 1 || r.Artifacts[0].Verdict != r.Verdict {
		p.Head(of(r.Verdict), r.Verdict, ": %d of %d %s allowed", allowed, len(r.Artifacts),
			Plural(len(r.Artifacts), "artifact"))
	}
}

// of returns the style of a verdict.
func of(verdict string) Style {
	if verdict == policy.ClassOK.String() {
		return Good
	}
	return Bad
}

// pad returns what sets a verdict apart from what it is about.
func pad(verdict string) string { return strings.Repeat(" ", max(0, len("DENY")-len(verdict))+2) }

// Named returns a name as one word: what has blanks in it must not look like more of a line.
func Named(name string) string {
	if strings.ContainsAny(name, " '\"") {
		return spelling.ShellWord(name)
	}
	return name
}

// row prints a line about what a line before it named; none where there is nothing to say.
func (p *Printer) row(name, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		p.Line("  %-12s %s", name, text)
	}
}

// calledOtherwise returns the name that the signed content gives to what has another one here.
func (x *Artifact) calledOtherwise() string {
	if x.Evidence == nil || x.Evidence.Name == "" {
		return ""
	}
	file := x.Artifact[strings.LastIndexAny(x.Artifact, `/\`)+1:]
	if signed := x.Evidence.Name; file != path.Base(signed) {
		return " (signed as " + Named(signed) + ")"
	}
	return ""
}

// released says who released an artifact that is allowed, where, and when.
func (x *Artifact) released() string {
	ev := x.Evidence
	if ev == nil {
		return x.Message
	}
	if t := ev.Target; t != nil {
		return fmt.Sprintf("listed by the role %s of the trust root %s, as %s", t.Role, t.Root, t.Path)
	}
	verb := "released by "
	if x.Reason != policy.Allowed || x.Rule == "" { // nobody says that the signer may release
		verb = "signed by "
	}
	text := verb + ev.Signer.who(x.Tag)
	if len(ev.Times) > 0 {
		text += ", " + ev.Times[0].Time.UTC().Format(time.DateOnly)
	}
	return text
}

// who names a signer and the tag: a workflow by its repository and file, a person by the identity,
// a key by its digest.
func (s *Signer) who(tag string) string {
	switch {
	case s.Kind == policy.KindKey:
		return strings.TrimSpace("key sha256:" + s.Identity + " " + tag)
	case s.Repository == "":
		return strings.TrimSpace(s.Identity+" "+tag) + " (" + s.Issuer + ")"
	}
	start := cmp.Or(s.Config, s.Identity)
	how := workflowName(s.Repository, start)
	if s.Identity != start {
		how += ", signed in " + short(s.Identity)
	}
	if s.Environment != "" {
		how += ", environment " + s.Environment
	}
	tag = cmp.Or(tag, strings.TrimPrefix(strings.TrimPrefix(s.Ref, "refs/tags/"), "refs/heads/"))
	return strings.TrimSpace(short(s.Repository)+" "+tag) + " (" + how + ")"
}

// workflowName returns the name of a repository's workflow: without the directory in which GitHub
// has all of them, and without the ref. The ref is that of the run.
func workflowName(repository, uri string) string {
	file, ok := strings.CutPrefix(uri, repository+"/")
	if !ok {
		return short(uri)
	}
	file, _, _ = strings.Cut(file, "@")
	file = strings.TrimPrefix(file, "/") // GitLab separates by two
	if dir, name := path.Split(file); dir == ".github/workflows/" {
		return name
	}
	return file
}

// short returns a URL as people write it: without the scheme, and without the host that -R takes
// for granted.
func short(url string) string {
	return strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "github.com/")
}

// denied prints why an artifact is not allowed: what differs, what was wanted, what to type next.
func (p *Printer) denied(x *Artifact) {
	p.Head(Bad, x.Verdict, "%s%s  %s [%s]", pad(x.Verdict), Named(x.Artifact), x.Message, x.Reason)
	if n := x.Nearest; n != nil && len(n.Mismatches) > 0 && (x.Reason == policy.RuleMismatch || x.Detail == "") {
		m := n.Mismatches[0]
		more := ""
		if k := len(n.Mismatches) - 1; k > 0 {
			more = fmt.Sprintf(", and %d more %s", k, Plural(k, "field"))
		}
		p.row("differs", "%s is %s%s", m.field(), OrMissing(m.Got), more)
		by := ", by the nearest rule " + n.Rule
		if n.Rule == "" { // of a repository without a policy
			by = ""
		}
		p.row("wanted", "%s%s", m.Want, by)
		p.row("", "%s", m.Hint)
	} else {
		p.row("because", "%s", x.Detail)
	}
	if ev := x.Evidence; ev != nil && ev.Target == nil && ev.Signer.Identity != "" {
		switch who := ev.Signer.who(""); {
		case ev.Verified:
			p.row("signed by", "%s", who)
		case ev.Checked:
			p.row("claims", "%s; that did not verify", who)
		default:
			p.row("claims", "%s; not checked yet", who)
		}
	}
	p.others(x.Others, x.Reason, x.Detail, mostOthers)
	p.advice(x)
}

// mostOthers is how many further pieces of evidence a short denial names.
const mostOthers = 3

// others prints what further evidence was seen, at most so many lines; 0 for all of it. What was
// said already is the same.
func (p *Printer) others(all []Other, said policy.Reason, detail string, most int) {
	alike := map[string]int{} // evidence of which the same is said, as of copies
	var lines []string
	for _, o := range all {
		line := o.line()
		if o.Reason == said && o.Detail == detail {
			line = itemOf(o.Path, o.Item) + ": the same"
		}
		if alike[line]++; alike[line] == 1 {
			lines = append(lines, line)
		}
	}
	for i, line := range lines {
		if n := alike[line]; n > 1 {
			line = fmt.Sprintf("%s (%d times)", line, n)
		}
		if i == most && most > 0 {
			p.row("also seen", "%d more, which -v names", len(lines)-i)
			return
		}
		p.row("also seen", "%s", line)
	}
}

// advice says what to do about a denial, and which command to type.
func (p *Printer) advice(x *Artifact) {
	if x.Permitted {
		return
	}
	p.row("hint", "%s", x.Hint)
	if len(x.next) > 0 {
		p.Command(fmt.Sprintf("  %-12s ", "next"), x.next)
	}
}

// field returns the field with the extension of the certificate that has it.
func (m *Mismatch) field() string {
	if m.Extension == "" {
		return m.Field
	}
	return m.Field + " (" + m.Extension + ")"
}

// remarks prints what verdicts rest on where that is less than usual: each once, and whom it is about
// if that is not everything.
func (p *Printer) remarks(artifacts []*Artifact) {
	about := map[Note][]string{}
	var order []Note
	for _, x := range artifacts {
		for _, n := range x.Notes {
			if about[n] == nil {
				order = append(order, n)
			}
			about[n] = append(about[n], x.Artifact)
		}
	}
	for _, n := range order {
		which := ""
		if len(about[n]) < len(artifacts) {
			which = these(about[n]) + ": "
		}
		p.Head(Bold, "note:", " %s%s", which, n.Text)
	}
}

// briefAfter is the number of names that are listed; of more it is said how many they are.
const briefAfter = 5

// these names artifacts, or says how many they are.
func these(names []string) string {
	if len(names) > briefAfter {
		return strconv.Itoa(len(names)) + " artifacts"
	}
	var out []string
	for _, n := range names {
		out = append(out, Named(n))
	}
	return strings.Join(out, ", ")
}

// judgedBy prints by which versions of the policy was judged, how sure it is that they are the
// repository's, and what is not known.
func (p *Printer) judgedBy(r *Report) {
	s := r.Criteria
	switch k, u := s.Policy, s.Unbound; {
	case u != nil:
		p.Line("policy none; %s%s", assurance(u.Genesis, u.Completeness, u.KnownAsOf, u.InputsOf, s.AsOf), s.under())
		p.Head(Alert, "no policy", "%s", strings.TrimPrefix(u.Weaker(), "no policy"))
	case k == nil:
	case k.Path != "":
		p.Line("policy version %d of %s, which you named (pinned); whether the repository bound it was not asked%s",
			k.Version, Named(k.Path), s.under())
	default:
		sure := assurance(k.Genesis, k.Completeness, k.KnownAsOf, k.InputsOf, s.AsOf) + s.under()
		groups := groupsOf(r.Artifacts, k.Version)
		if len(groups) == 1 {
			p.Line("policy %s; %s", groups[0].versions, sure)
			break
		}
		for _, g := range groups {
			p.Line("policy %s: %s", g.versions, these(g.names))
		}
		p.Line("policy of %s: %s", short(k.Repository), sure)
	}
	if n := len(r.Alarms); n > 0 {
		p.Head(Alert, "alarm:", " %s", strings.Join(r.Alarms, "; "))
	}
	for _, what := range s.Unknown {
		p.Head(Alert, "not known:", " %s", what)
	}
}

// under says which roots are trusted, where that is not Sigstore's public instance alone.
func (s *Summary) under() string {
	if len(s.Roots) == 0 || len(s.Roots) == 1 && s.Roots[0] == string(trust.PublicGood) {
		return ""
	}
	return "; trust: " + strings.Join(s.Roots, ", ")
}

// group is what was judged by the same versions of the policy.
type group struct {
	versions string
	names    []string
}

// groupsOf returns the artifacts by the versions that judged them. What none judged, such as a file
// that is not there, is with what the newest did.
func groupsOf(artifacts []Artifact, newest int) (out []group) {
	for i := range artifacts {
		x := &artifacts[i]
		by := inForce(x.JudgedBy)
		if by == "" {
			continue
		}
		at := slices.IndexFunc(out, func(g group) bool { return g.versions == by })
		if at < 0 {
			at = len(out)
			out = append(out, group{versions: by})
		}
		out[at].names = append(out[at].names, x.Artifact)
	}
	if len(out) == 0 {
		return []group{{versions: fmt.Sprintf("version %d, the newest", newest)}}
	}
	return out
}

// inForce says by which versions something was judged, and when they were in force; "" for none.
func inForce(by []InForce) string {
	if len(by) == 0 {
		return ""
	}
	first, last := &by[0], &by[len(by)-1]
	span := period(first.From, last.Until)
	switch {
	case len(by) > 1:
		var names []string
		for _, v := range by {
			names = append(names, map[bool]string{true: "none", false: strconv.Itoa(v.Version)}[v.Version == 0])
		}
		return fmt.Sprintf("version %s of %d: which was in force when it was logged is not known, so each has to allow "+
			"(%d in force %s)", strings.Join(names, " or "), last.Newest, last.Version, period(last.From, last.Until))
	case first.Version == 0:
		return fmt.Sprintf("version 1 of %d, which reaches back to before it was bound (%s)", first.Newest, span)
	case first.Version < first.Newest:
		return fmt.Sprintf("version %d of %d, in force when it was logged (%s)", first.Version, first.Newest, span)
	}
	return fmt.Sprintf("version %d of %d, in force %s", first.Version, first.Newest, span)
}

// period says from when until when, to the day or, within one, to the second.
func period(from, until *time.Time) string {
	layout := time.DateOnly
	if from != nil && until != nil && until.Sub(*from) < 48*time.Hour {
		layout = time.RFC3339
	}
	at := func(t *time.Time) string { return t.UTC().Format(layout) }
	switch {
	case from != nil && until != nil:
		return at(from) + " - " + at(until)
	case from != nil:
		return "since " + at(from)
	case until != nil:
		return "until " + at(until)
	}
	return "at a time that nothing shows"
}
