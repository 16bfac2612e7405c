// SPDX-License-Identifier: Apache-2.0

// Package export writes a policy in the forms that other verifiers read. An
// export is a snapshot of one version and allows at most what the policy allows:
// what a target cannot express is refused, never left out.
package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

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

// targets write the rules that e holds, one after another.
var targets = map[string]func(e *exporter){
	"cosign":            (*exporter).cosign,
	"gh":                (*exporter).gh,
	"policy-controller": (*exporter).policyController,
	"kyverno":           (*exporter).kyverno,
}

// Targets returns the names of the targets.
func Targets() []string { return []string{"cosign", "gh", "policy-controller", "kyverno"} }

// Export returns the policy in the target's form. The error is a [*Refusal] if
// the target cannot express it.
func Export(target string, r Request) (string, error) {
	write, ok := targets[target]
	if !ok {
		return "", fmt.Errorf("%q is no target", target)
	}
	f := r.Doc.Content()
	e := &exporter{Request: r, file: f, target: target}
	e.head()
	found := false
	for i := range f.Rules {
		if rule := &f.Rules[i]; r.Rule == "" || r.Rule == rule.Name {
			found = true
			e.rule, e.at = rule, fmt.Sprintf("release[%d]", i)
			e.common()
			write(e)
		}
	}
	if !found && len(f.Rules) > 0 {
		return "", fmt.Errorf("the policy has no rule %q", r.Rule)
	}
	if len(f.Rules) == 0 {
		e.refuse("release", "", "the policy has no rule, so nothing may be released")
	}
	if len(e.problems) > 0 {
		return "", &Refusal{e.problems}
	}
	return e.out.String(), nil
}

// exporter is the state of one export.
type exporter struct {
	Request
	file     *policy.File
	target   string
	rule     *policy.Rule
	at       string // path of the rule
	out      strings.Builder
	problems []Problem
}

// refuse records a field that is in the way, at its place in the file.
func (e *exporter) refuse(path, hint, format string, args ...any) {
	e.problems = append(e.problems, Problem{e.Doc.Pos(path), path, fmt.Sprintf(format, args...), hint})
}

// no refuses a field of the rule that the target does not know.
func (e *exporter) no(field, format string, args ...any) {
	hint := ""
	if w := e.rule.Workflow; w != nil && e.target != "gh" && e.file.Repository.Host() == "github.com" &&
		w.Environment == "" {
		hint = "`--to gh` can express it"
	}
	e.refuse(e.at+"."+field, hint, "%s cannot express %s", e.target, fmt.Sprintf(format, args...))
}

func (e *exporter) comment(format string, args ...any) {
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
		e.no("github-release", "an attestation of GitHub's about a release")
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
	// A tag is known only where it is the ref that a certificate must name.
	tag, known := strings.CutPrefix(e.ref(), "refs/tags/")
	if e.Tag != "" && (!known || tag != e.Tag) && r.Tags.Any() {
		e.refuse(e.at+".tags", "leave out --tag", "%s cannot tell which tag this evidence is about", e.target)
	}
	for i, y := range f.Yanked {
		if y.Tag == "" || y.Tag == tag || !known {
			e.refuse(fmt.Sprintf("yanked[%d]", i), "", "%s cannot leave out what is yanked", e.target)
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

// people refuses what a target that knows names and keys only cannot express,
// and returns those of the rule.
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
	for i, k := range keys {
		if k.PEM == "" {
			e.no(fmt.Sprintf("keys[%d]", i), "a key of which only the digest is known")
		}
	}
	if len(ids)+len(keys) == 0 && !e.rule.GitHubRelease {
		e.refuse(e.at, "", "everybody whom the rule %s names is revoked", e.rule.Name)
	}
	return ids, keys
}

// workflow refuses a workflow for targets that compare the certificate's name
// and the extensions .1 to .6 only.
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
