// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
)

// longExpiry is the life of a policy beyond which Lint advises a shorter one.
const longExpiry = 400 * 24 * time.Hour

// Lint returns advice about a valid policy, in the order of the file: what is
// allowed but weaker than it could be, or probably not meant. The Reason of a
// piece of advice is one of the codes "lint-…".
func (d *Document) Lint(now time.Time) []Problem {
	l := linter{d: d, f: &d.file}
	l.top(now)
	l.maintainers()
	for i := range l.f.Rules {
		l.rule(i)
		for j := range i {
			l.overlap(j, i)
		}
	}
	arrange.By(l.out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return l.out
}

type linter struct {
	d   *Document
	f   *File
	out []Problem
}

func (l *linter) say(path string, code Reason, hint, format string, args ...any) {
	l.out = append(l.out, Problem{l.d.Pos(path), path, code, fmt.Sprintf(format, args...), hint})
}

func (l *linter) top(now time.Time) {
	switch f := l.f; {
	case now.After(f.Expires):
		l.say("expires", "lint-expired", "publish a new version", "the policy has expired")
	case f.Expires.Sub(now) > longExpiry:
		l.say(
			"expires", "lint-expires-late", "12 months are usual", "the policy expires in %d days",
			int(f.Expires.Sub(now).Hours()/24),
		)
	}
	if len(l.f.Rules) == 0 && !l.f.Tombstone {
		l.say("version", "lint-no-rules", "add a [[release]] rule", "nothing may be released under this policy")
	}
	anyTag := slices.IndexFunc(l.f.Rules, func(r Rule) bool { return r.Tags.any })
	for i, y := range l.f.Yanked {
		if y.Tag != "" && anyTag >= 0 {
			l.say(
				fmt.Sprintf("yanked[%d]", i), "lint-yank-by-tag", "yank the digests too",
				"rule %q also takes evidence that names no tag, which a yanked tag does not stop",
				l.f.Rules[anyTag].Name,
			)
		}
	}
}

// freeMail are issuers and domains behind which one consumer account stands.
var freeMail = []string{
	"gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "yahoo.com", "icloud.com", "proton.me",
	"protonmail.com",
}

func (l *linter) maintainers() {
	m := l.f.Maintainers
	if m.Threshold == 1 && len(m.Members) > 1 {
		l.say(
			"maintainers.threshold", "lint-threshold", "demand two",
			"one of %d maintainers alone can change the policy", len(m.Members),
		)
	}
	if m.Repository {
		l.say(
			"maintainers.repository", "lint-repository-only", "name people",
			"whoever can push to the default branch can change the policy",
		)
	}
	names := map[string]string{} // by what is left without the case of letters
	for i, x := range m.Members {
		if other, twice := names[strings.ToLower(x.Name)]; twice {
			l.say(
				fmt.Sprintf("maintainers.member[%d].name", i), "lint-member-case", "give them different names",
				"the members %q and %q differ in the case of letters only", other, x.Name,
			)
		}
		names[strings.ToLower(x.Name)] = x.Name
		for j, id := range x.Identities {
			path := fmt.Sprintf("maintainers.member[%d].identities[%d]", i, j)
			if other, twice := names["\x00"+strings.ToLower(id.Value)+"\x00"+id.Issuer]; twice && other != id.Value {
				l.say(
					path, "lint-member-case", "compare with what the issuer's certificates say",
					"the identities %q and %q differ in the case of letters only: they are two, "+
						"and one of them probably signs nothing",
					other, id.Value,
				)
			}
			names["\x00"+strings.ToLower(id.Value)+"\x00"+id.Issuer] = id.Value
			l.issuer(path, id.Issuer)
		}
	}
	if len(m.Members) == 1 {
		for i, id := range m.Members[0].Identities {
			if _, domain, ok := strings.Cut(id.Value, "@"); ok && slices.Contains(freeMail, strings.ToLower(domain)) {
				l.say(
					fmt.Sprintf("maintainers.member[0].identities[%d]", i), "lint-free-mail",
					"add a second maintainer or a key",
					"a consumer mail account is the sole maintainer: who takes it over owns the policy",
				)
			}
		}
	}
}

// issuer reports an issuer that is written as no token says it: issuers are compared to the byte.
func (l *linter) issuer(path, issuer string) {
	odd := ""
	switch rest := strings.TrimPrefix(issuer, "https://"); {
	case strings.HasSuffix(issuer, "/"):
		odd = "ends with a slash"
	case strings.HasSuffix(rest, ":443") || strings.Contains(rest, ":443/"):
		odd = "names the port 443"
	case strings.HasSuffix(rest, "/.") || strings.Contains(rest, "/./") ||
		strings.HasSuffix(rest, "/..") || strings.Contains(rest, "/../"):
		odd = "has a dot for a path segment"
	default:
		return
	}
	l.say(
		path, "lint-issuer", "write it as the iss claim of its tokens",
		"the issuer %q %s; issuers are compared to the byte", issuer, odd,
	)
}

func (l *linter) rule(i int) {
	r := &l.f.Rules[i]
	path := func(k string) string { return fmt.Sprintf("release[%d].%s", i, k) }
	for j, id := range r.Identities {
		l.issuer(fmt.Sprintf("release[%d].identities[%d]", i, j), id.Issuer)
	}
	if w := r.Workflow; w != nil {
		l.issuer(path("issuer"), w.Issuer)
		if w.Environment == "" {
			l.say(
				path("name"), "lint-no-environment",
				`create an environment with required reviewers and write environment = "…"`,
				"rule %q has no environment: everybody with write access can release", r.Name,
			)
		}
		if w.Runner == "self-hosted" || w.Runner == "any" {
			l.say(
				path("runner"), "lint-runner", "",
				"a self-hosted runner keeps state between jobs of different branches",
			)
		}
		if slices.Contains(w.Triggers, "workflow_dispatch") && !r.Refs.isZero() && w.Environment == "" {
			l.say(
				path("triggers"), "lint-dispatch", "demand an environment, or leave out refs",
				"workflow_dispatch runs the file of any branch that refs allows",
			)
		}
		l.branchEvents(i)
		if w.SignerRef != "" && strings.HasPrefix(w.SignerRef, "refs/heads/") && w.SignerDigest == "" {
			l.say(
				path("signer-ref"), "lint-signer-branch", "pin a protected tag or a commit",
				"the signer may change with every push to its branch",
			)
		}
	}
	l.fromRoots(i)
	l.tagNames(i)
	if r.Tags.any {
		l.say(path("tags"), "lint-any-tag", "", "rule %q allows evidence for every tag and for none", r.Name)
	}
	if r.Artifacts.any {
		l.say(path("artifacts"), "lint-any-artifact", "", "rule %q allows every artifact name", r.Name)
	}
	if r.Unlogged {
		l.say(
			path("unlogged"), "lint-unlogged", "", "rule %q takes evidence that no log and so no monitor shows",
			r.Name,
		)
	}
	if r.SetOnly {
		l.say(path("set-only"), "lint-set-only", "", "rule %q takes a log's promise for a proof", r.Name)
	}
}

// fromRoots reports what can never count of keys and targets of trust roots.
func (l *linter) fromRoots(i int) {
	r := &l.f.Rules[i]
	path := func(k string) string { return fmt.Sprintf("release[%d].%s", i, k) }
	if a := r.Approvals; a != nil && a.From == "releasers" &&
		slices.ContainsFunc(l.f.Rules, func(o Rule) bool { return len(o.RootKeys) > 0 }) {
		l.say(
			path("approvals"), "lint-root-key-approves", "name who approves by identity or by a key in PEM",
			"releasers approve with identities and keys that stand in the policy: a key of a trust root approves nothing",
		)
	}
	for _, k := range r.RootKeys {
		if k.From.Root != publicRoot && k.From.URL == "" {
			l.say(
				path("keys"), "lint-root-url", `add url = "https://…"`,
				"the policy does not say where the root %s is: only who lists it in trust.toml can judge by it", k.From.Root,
			)
		}
	}
	t := r.Target
	switch {
	case t == nil:
		return
	case t.Root != publicRoot && t.URL == "":
		l.say(
			path("tuf"), "lint-root-url", `add url = "https://…"`,
			"the policy does not say where the root %s is: only who lists it in trust.toml can judge by it", t.Root,
		)
	}
	if !t.namesTag() && !r.Tags.any {
		l.say(path("tags"), "lint-tag-never", `put {tag} into the path, or write tags = "any"`,
			"the path of the target names no tag, which only tags = \"any\" takes")
	}
}

// branchEvents reports events that run for the default branch alone where refs name no branch,
// and a rule for runs that are dispatched, as they are for a branch, without refs.
func (l *linter) branchEvents(i int) {
	r := &l.f.Rules[i]
	if w := r.Workflow; w.IsGitHub() && r.Refs.isZero() && slices.Equal(w.Triggers, []string{"workflow_dispatch"}) {
		l.say(
			fmt.Sprintf("release[%d].triggers[0]", i), "lint-trigger-ref",
			`name the branch, as in refs = ["refs/heads/main"], or start it by the push of a tag`,
			"workflow_dispatch runs for the branch that is chosen, and no refs are named: "+
				"only a run that is dispatched for a tag can release",
		)
	}
	for j, event := range r.Workflow.Triggers {
		if (event == "schedule" || event == repositoryDispatch) && r.Workflow.IsGitHub() && !r.branches() {
			l.say(
				fmt.Sprintf("release[%d].triggers[%d]", i, j), "lint-trigger-ref",
				`name it, as in refs = ["refs/heads/main"]`,
				"%s runs for the default branch, which refs do not name: no such run can release", event,
			)
		}
	}
}

// tagNames reports tags that the evidence of the rule can never name, and a tag-prefix
// without effect.
func (l *linter) tagNames(i int) {
	r := &l.f.Rules[i]
	at := fmt.Sprintf("release[%d].", i)
	const runs = "a run for a branch names no tag but the version in a package URL"
	for j, p := range r.Tags.list {
		tag := fmt.Sprintf("%stags[%d]", at, j)
		switch {
		case strings.HasPrefix(p.text, "refs/"):
			l.say(tag, "lint-tag-never", "leave out refs/tags/",
				"a tag is called v1 and never refs/tags/v1: %q matches none", p.text)
		case p.text == "semver" || p.text == "any":
			l.say(tag, "lint-tag-never", fmt.Sprintf("write the word alone: tags = %q", p.text),
				"in a list, %q is the one tag of that name", p.text)
		}
	}
	switch {
	case r.TagPrefix != "" && !r.namesVersions():
		l.say(at+"tag-prefix", "lint-tag-prefix", "leave it out, or let refs name a branch",
			"tag-prefix has no effect: a run for a tag names that tag, and nothing is put before it")
	case r.TagPrefix != "" && r.versions().isZero():
		l.say(at+"tag-prefix", "lint-tag-prefix", "begin a pattern of tags with the tag-prefix",
			"tags match nothing that begins with %q, so that no version of a package URL can match", r.TagPrefix)
	case r.TagPrefix == "" && r.branchesOnly():
		if p := r.noVersion(); p != "" {
			l.say(at+"tags", "lint-tag-never", "write what stands before the version as tag-prefix",
				"%s, and none begins as in %q: only a signed statement that names the tag can match", runs, p)
		}
	}
}

// overlap reports that rules i and j allow the same artifact of the same tag,
// unless the laxer of the two says that this is meant.
func (l *linter) overlap(i, j int) {
	a, b := &l.f.Rules[i], &l.f.Rules[j]
	of := "tags"
	if !a.Tags.overlaps(b.Tags) {
		of = "versions of package URLs"
	}
	if !a.sameTags(b) || !a.Artifacts.overlaps(b.Artifacts) {
		return
	}
	if !a.Since.IsZero() && !b.Until.IsZero() && !a.Since.Before(b.Until) ||
		!b.Since.IsZero() && !a.Until.IsZero() && !b.Since.Before(a.Until) {
		return
	}
	sa, sb := a.strictness(), b.strictness()
	if sa <= sb && a.Overlaps || sb <= sa && b.Overlaps {
		return
	}
	l.say(
		fmt.Sprintf("release[%d].tags", j), "lint-overlap",
		"write overlaps = true in the laxer rule if this is meant",
		"rules %q and %q allow the same artifacts of the same %s; the laxer one decides", a.Name, b.Name, of,
	)
}

// strictness counts the constraints of a rule.
func (r *Rule) strictness() int {
	n := btoi(
		!r.Tags.any,
	) + btoi(
		!r.Artifacts.any,
	) + btoi(
		!r.Refs.isZero(),
	) + btoi(
		r.Approvals != nil,
	) + btoi(
		!r.SetOnly,
	) + btoi(
		!r.Unlogged,
	)
	if w := r.Workflow; w != nil {
		n += btoi(
			w.Environment != "",
		) + btoi(
			w.SignerDigest != "",
		) + btoi(
			w.Runner != "any" && w.Runner != "self-hosted",
		)
	}
	return n
}
