// SPDX-License-Identifier: Apache-2.0

// Package export writes a policy in the forms that other verifiers and services read. An export
// is a snapshot of one version: the strictest rule that the target can express. What that cannot
// check stands in it as comments; a strict export, which allows at most what the policy allows, is
// refused instead.
package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Request says what to export.
type Request struct {
	Doc      *policy.Document
	Path     string // of the policy's file, for messages
	Rule     string // name of the one rule to export; "" for all
	Tag      string // the tag being verified; "" if not known
	Artifact string // file that the commands are about; "" if not known
	Now      time.Time
	Strict   bool // refuse what the target cannot check, instead of writing a comment
}

// Refusal is the error of an export that would allow more than the policy, with
// every field that is in the way.
type Refusal struct{ Problems []Problem }

// Problem is one field that a target cannot express.
type Problem struct {
	Pos  policy.Pos
	Path string // for example "release[0].environment"
	Msg  string
	Hint string // may be empty
}

// Error returns the first problem and how many others there are.
func (r *Refusal) Error() string {
	p := r.Problems[0]
	if n := len(r.Problems) - 1; n > 0 {
		return fmt.Sprintf("%s: %s: %s (and %d more)", p.Pos, p.Path, p.Msg, n)
	}
	return fmt.Sprintf("%s: %s: %s", p.Pos, p.Path, p.Msg)
}

// target is one form in which a policy is written.
type target struct {
	name string
	rule func(e *exporter) // writes the rule that e holds
	tail func(e *exporter) // writes what is about the whole policy; may be nil
	text bool              // it is no file in which a line that begins with # is a comment
}

func targets() []target {
	return []target{
		{name: "cosign", rule: (*exporter).cosign},
		{name: "gh", rule: (*exporter).gh},
		{name: "policy-controller", rule: (*exporter).policyController},
		{name: "kyverno", rule: (*exporter).kyverno},
		{name: "npm", rule: (*exporter).npm},
		{name: "pypi", rule: (*exporter).pypi},
		{name: "pylock", rule: (*exporter).pylock},
		{name: "aqua", rule: (*exporter).aqua, tail: (*exporter).aquaPackage},
		{name: "packslip", rule: (*exporter).packslip},
		{name: "github", rule: (*exporter).githubRule, tail: (*exporter).github},
		{name: "verify-md", rule: (*exporter).verifyRule, tail: (*exporter).verifyMD, text: true},
	}
}

// Targets returns the names of the targets.
func Targets() (out []string) {
	for _, t := range targets() {
		out = append(out, t.name)
	}
	return out
}

// Export returns the policy in the target's form. The error is a [*Refusal] if the target can
// express no rule of it, or of a strict export not everything.
func Export(name string, r Request) (string, error) {
	i := slices.IndexFunc(targets(), func(t target) bool { return t.name == name })
	if i < 0 {
		return "", fmt.Errorf("%q is no target", name)
	}
	f := r.Doc.Content()
	e := &exporter{Request: r, file: f, target: name, text: targets()[i].text}
	e.head()
	found := false
	for i := range f.Rules {
		if rule := &f.Rules[i]; r.Rule == "" || r.Rule == rule.Name {
			found = true
			e.one(rule, fmt.Sprintf("release[%d]", i), targets())
		}
	}
	switch {
	case !found && len(f.Rules) > 0:
		return "", fmt.Errorf("the policy has no rule %q", r.Rule)
	case len(f.Rules) == 0:
		e.refuse("release", "", "the policy has no rule, so nothing may be released")
	case !e.wrote:
		e.problems = append(e.problems, e.skipped...)
	}
	if len(e.problems) > 0 {
		return "", &Refusal{e.problems}
	}
	if tail := targets()[i].tail; tail != nil {
		tail(e)
	}
	return e.out.String(), nil
}

// exporter is the state of one export.
type exporter struct {
	Request
	file     *policy.File
	target   string
	text     bool
	rule     *policy.Rule
	at       string // path of the rule
	out      strings.Builder
	wrote    bool // something of a rule
	notes    []Problem
	skipped  []Problem
	skip     bool // the rule is left out
	problems []Problem
	signed   *signed  // by whom, for aqua
	page     []string // rows, for VERIFY.md
}

// one writes one rule, and before it what the target does not check of it.
func (e *exporter) one(rule *policy.Rule, at string, all []target) {
	e.rule, e.at, e.notes, e.skip = rule, at, nil, false
	before := e.out.String()
	e.out.Reset()
	e.common()
	all[slices.IndexFunc(all, func(t target) bool { return t.name == e.target })].rule(e)
	written := e.out.String()
	e.out.Reset()
	e.out.WriteString(before)
	if e.text {
		e.out.WriteString(written)
	} else {
		for _, n := range e.notes {
			e.comment("not checked: %s (%s)", n.Msg, n.Path)
		}
		if e.skip {
			e.comment("rule %s is left out", rule.Name)
		} else {
			e.out.WriteString(written)
		}
	}
	e.wrote = e.wrote || !e.skip
}

// cannot records what the target does not check: a note, or in a strict export a refusal.
func (e *exporter) cannot(path, hint, format string, args ...any) {
	if e.Strict {
		e.refuse(path, hint, format, args...)
		return
	}
	e.notes = append(e.notes, Problem{e.Doc.Pos(path), path, fmt.Sprintf(format, args...), hint})
}

// leave leaves the rule out: nothing of it can be expressed without allowing strangers.
func (e *exporter) leave(path, hint, format string, args ...any) {
	if e.Strict {
		e.refuse(path, hint, format, args...)
		return
	}
	p := Problem{e.Doc.Pos(path), path, fmt.Sprintf(format, args...), hint}
	e.notes, e.skipped, e.skip = append(e.notes, p), append(e.skipped, p), true
}

// refuse records a field that is in the way, at its place in the file.
func (e *exporter) refuse(path, hint, format string, args ...any) {
	e.problems = append(e.problems, Problem{e.Doc.Pos(path), path, fmt.Sprintf(format, args...), hint})
}

// no records a field of the rule that the target does not know.
func (e *exporter) no(field, format string, args ...any) {
	hint := ""
	if w := e.rule.Workflow; w != nil && e.target != "gh" && e.file.Repository.Host() == "github.com" &&
		w.Environment == "" {
		hint = "`--to gh` can express it"
	}
	e.cannot(e.at+"."+field, hint, "%s cannot express %s", e.target, fmt.Sprintf(format, args...))
}

func (e *exporter) comment(format string, args ...any) {
	if e.text {
		return
	}
	fmt.Fprintf(&e.out, "# "+format+"\n", args...)
}

// head says what the export is a snapshot of, and refuses what has ended.
func (e *exporter) head() {
	f := e.file
	e.comment("%s, policy version %d, %s", f.Repository, f.Version, e.Doc.Digest())
	e.comment("A snapshot, valid until %s: export again when the policy changes.", f.Expires.Format(time.DateOnly))
	if f.Tombstone {
		e.refuse("tombstone", "", "the policy is a tombstone: nothing may be released")
	}
	if !e.Now.Before(f.Expires) {
		e.refuse("expires", "get the current policy", "the policy has expired")
	}
}

// common refuses what no target can express.
func (e *exporter) common() {
	r, f := e.rule, e.file
	if r.GitHubRelease {
		e.leave(e.at+".github-release", "", "%s cannot express an attestation of GitHub's about a release", e.target)
	}
	if r.Target != nil && !e.text {
		e.leave(e.at+".tuf", "`repopolicy verify --tuf` asks a root of your trust.toml",
			"%s cannot express what a trust root lists", e.target)
	}
	if r.Approvals != nil {
		e.no("approvals", "approvals of the very digests")
	}
	if !r.Since.IsZero() {
		e.no("since", "the time of a signature")
	}
	if !r.Until.IsZero() {
		e.no("until", "the time of a signature")
	}
	for i, x := range f.Revoked {
		if x.Rule == r.Name {
			e.refuse(fmt.Sprintf("revoked[%d]", i), "", "the rule %s is revoked", r.Name)
		}
	}
	e.known()
}

// known refuses a tag that is yanked, and one that evidence would not show.
func (e *exporter) known() {
	r, f := e.rule, e.file
	// A tag is known only where it is the ref that a certificate must name.
	tag, known := strings.CutPrefix(e.ref(), "refs/tags/")
	if e.Tag != "" && (!known || tag != e.Tag) && r.Tags.Any() {
		e.refuse(e.at+".tags", "leave out --tag", "%s cannot tell which tag this evidence is about", e.target)
	}
	for i, y := range f.Yanked {
		path := fmt.Sprintf("yanked[%d]", i)
		switch {
		case known && y.Tag == tag:
			e.refuse(path, "", "%s cannot leave out what is yanked", e.target)
		case y.Tag == "" || !known:
			e.cannot(path, "", "%s cannot leave out what is yanked", e.target)
		}
	}
}

// ref returns the one ref for which a workflow's certificate must be; "" if that
// is not known.
func (e *exporter) ref() string {
	r := e.rule
	refs, tags := r.Refs.Patterns(), r.Tags.Patterns()
	exact := func(p []policy.Pattern) bool { return len(p) == 1 && !strings.Contains(p[0].String(), "*") }
	switch {
	case r.Workflow == nil:
		return ""
	case exact(refs):
		return refs[0].String()
	case len(refs) > 0 || r.Refs.Any():
		return ""
	case e.Tag != "":
		return "refs/tags/" + e.Tag
	case exact(tags):
		return "refs/tags/" + tags[0].String()
	}
	return ""
}

// identities returns the rule's people without those that are revoked at all: a
// target does not compare times, so that none of their signatures may pass.
func (e *exporter) identities() []policy.Principal {
	return slices.DeleteFunc(slices.Clone(e.rule.Identities), func(p policy.Principal) bool {
		return slices.ContainsFunc(e.file.Revoked, func(x policy.Withdrawal) bool {
			return x.Identity != nil && x.Identity.Kind == p.Kind && x.Identity.Value == p.Value &&
				x.Identity.Issuer == p.Issuer
		})
	})
}

// keys is identities for keys.
func (e *exporter) keys() []policy.Key {
	return slices.DeleteFunc(slices.Clone(e.rule.Keys), func(k policy.Key) bool {
		return slices.ContainsFunc(e.file.Revoked, func(x policy.Withdrawal) bool { return x.Key == k.ID })
	})
}

// people records what a target that knows names and keys only does not check, and returns those
// of the rule; for a workflow none.
func (e *exporter) people() ([]policy.Principal, []policy.Key) {
	if w := e.rule.Workflow; w != nil {
		e.workflow(w)
		return nil, nil
	}
	if !e.rule.Tags.Any() {
		e.no("tags", "the tag that evidence is about, which a person's certificate does not name")
	}
	ids, keys := e.identities(), e.keys()
	for i, p := range ids {
		if p.Subject != "" {
			e.no(fmt.Sprintf("identities[%d].subject", i), "the token's subject (.24)")
		}
	}
	private := func(p policy.Principal) bool { return spelling.IsPKI(p.Issuer) }
	if i := slices.IndexFunc(ids, private); i >= 0 {
		if ids = slices.DeleteFunc(ids, private); len(ids)+len(keys) == 0 {
			e.leave(e.at+".identities", "`repopolicy verify` judges under the root that names the authority",
				"%s cannot express a certificate of a trust root's own authority", e.target)
			return nil, nil
		}
		e.no(fmt.Sprintf("identities[%d]", i), "a certificate of a trust root's own authority")
	}
	for i, k := range keys {
		if k.PEM == "" {
			e.no(fmt.Sprintf("keys[%d]", i), "a key of which only the digest is known")
		}
	}
	keys = slices.DeleteFunc(keys, func(k policy.Key) bool { return k.PEM == "" })
	switch fromRoots := len(e.rule.RootKeys); {
	case e.rule.Target != nil || e.rule.GitHubRelease: // left out
	case fromRoots > 0 && len(ids)+len(keys) == 0:
		e.leave(e.at+".keys", "name the key itself in a rule of its own",
			"%s cannot express a key that a trust root may withdraw", e.target)
	case fromRoots > 0:
		e.no("keys", "a key that a trust root may withdraw")
	case len(ids)+len(keys) == 0:
		e.refuse(e.at, "", "everybody whom the rule %s names is revoked", e.rule.Name)
	}
	return ids, keys
}

// workflow records what targets do not check that compare the certificate's name and the
// extensions .1 to .6 only.
func (e *exporter) workflow(w *policy.Workflow) {
	e.no("caller", "which workflow called the one that signed (.18)")
	if w.Runner != "any" {
		e.no("runner", "the runner (.11)")
	}
	if w.Environment != "" {
		e.no("environment", "the environment (.23)")
	}
	if w.SignerDigest != "" {
		e.no("signer-digest", "the signer's commit (.10)")
	}
}
