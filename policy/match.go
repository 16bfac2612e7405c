// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// match returns every field in which rule r and the evidence differ (SPEC 5). The reason is set if
// whether the first of them differs is what no trust root said (SPEC 5.12).
func (t *Trusted) match(r *Rule, req Request, c *Claims, v *Verification) (ms []Mismatch, open Reason) {
	tags, asked := r.judged(req, c)
	switch {
	case r.Target != nil || c.Target != nil:
		ms = t.matchTarget(r, req, c)
	case r.Workflow != nil:
		ms = t.matchWorkflow(r, req, &c.Signer, tags)
	case r.GitHubRelease:
		ms = t.matchGitHubRelease(c)
	default:
		ms, open = t.matchSigner(r, req, &c.Signer, v)
	}
	if m := r.tagMismatch(req, tags, asked); m != nil {
		ms = append(ms, *m)
	}
	if !r.Artifacts.any {
		if len(req.Names) == 0 {
			ms = append(
				ms,
				Mismatch{
					Field: "artifact", Kind: "missing", Want: r.Artifacts.String(),
					Hint: "the artifact has no name: give the file, or a checksum file that lists it",
				},
			)
		}
		for _, name := range req.Names {
			if !r.Artifacts.Match(name) {
				ms = append(ms, Mismatch{Field: "artifact", Kind: "differs", Want: r.Artifacts.String(), Got: name})
			}
		}
	}
	if v != nil {
		ms = append(ms, r.matchTime(v)...)
		if m := logMismatch(r.SetOnly, r.Unlogged, v); m != nil && c.Target == nil { // what a root lists is in no log
			ms = append(ms, *m)
		}
		// Approvals are of a release that was verified to be what it claims.
		if m := t.approvalsMismatch(r, req, c); m != nil {
			ms = append(ms, *m)
		}
	}
	return ms, open
}

// matchTime compares the trusted times with since and until.
func (r *Rule) matchTime(v *Verification) []Mismatch {
	var ms []Mismatch
	differs := func(want string, bound, got time.Time) {
		ms = append(
			ms,
			Mismatch{Field: "time", Kind: "differs", Want: want + spelling.Stamp(bound), Got: spelling.Stamp(got)},
		)
	}
	lower, upper := v.Bounds()
	if !r.Since.IsZero() && lower.Before(r.Since) {
		differs("since ", r.Since, lower)
	}
	if !r.Until.IsZero() && !upper.Before(r.Until) {
		differs("until ", r.Until, upper)
	}
	return ms
}

func logMismatch(setOnly, unlogged bool, v *Verification) *Mismatch {
	switch {
	case !v.Logged && !unlogged:
		return &Mismatch{
			Field: "log", Kind: "missing", Want: "a transparency log entry", Got: "the evidence is in no log",
			Hint: "a rule may say unlogged = true",
		}
	case v.Logged && !v.Proven && !setOnly:
		return &Mismatch{
			Field: "log", Kind: "differs", Want: "a proof of inclusion",
			Got: "the log only promised to include the entry", Hint: "a rule may say set-only = true",
		}
	}
	return nil
}

// matchSigner compares an identity or key exactly, a key also with those of trust roots. The reason
// is set if the one mismatch is that a root could not be asked.
func (t *Trusted) matchSigner(r *Rule, req Request, id *Identity, v *Verification) ([]Mismatch, Reason) {
	ms := matchPeople(r, id)
	if len(ms) == 0 || id.Kind != KindKey || len(r.RootKeys) == 0 {
		return ms, ""
	}
	ok, near := t.matchRootKeys(r, req, id.Value, v)
	switch {
	case ok:
		return nil, ""
	case near.why.Kind == "differs":
		return ms, "" // which names the others, too
	}
	return []Mismatch{near.why}, near.open
}

// matchPeople compares an identity or key exactly, with those that the policy itself names.
func matchPeople(r *Rule, id *Identity) []Mismatch {
	if id.Kind == KindKey {
		if slices.ContainsFunc(r.Keys, func(k Key) bool { return k.ID == id.Value }) {
			return nil
		}
		return []Mismatch{{Field: "key", Kind: "differs", Want: r.people(), Got: id.describe()}}
	}
	best := Mismatch{Field: "identity", Kind: "differs", Want: r.people(), Got: id.describe()}
	for _, p := range r.Identities {
		switch {
		case p.Kind != id.Kind || p.Value != id.Value:
			if p.Issuer == id.Issuer && spelling.EqualFold(p.Value, id.Value) {
				best.Hint = "identities are compared exactly, upper and lower case too"
			}
		case p.Issuer != id.Issuer:
			best = Mismatch{
				Field: "issuer", Extension: ".8", Kind: "differs", Want: p.Issuer, Got: id.Issuer,
				Hint: "the same name from another issuer is another person",
			}
		case p.Subject != "" && id.TokenSubject == "":
			best = Mismatch{Field: "subject", Extension: ".24", Kind: "missing", Want: p.Subject}
		case p.Subject != "" && p.Subject != id.TokenSubject:
			best = Mismatch{
				Field: "subject", Extension: ".24", Kind: "differs", Want: p.Subject, Got: id.TokenSubject,
				Hint: "the account behind this name is another one",
			}
		default:
			return nil
		}
	}
	return []Mismatch{best}
}

// people lists whom the rule names.
func (r *Rule) people() string {
	var s []string
	for _, p := range r.Identities {
		s = append(s, p.Value+" by "+p.Issuer)
	}
	for _, k := range r.Keys {
		s = append(s, "key sha256:"+k.ID)
	}
	for _, k := range r.RootKeys {
		s = append(s, "the key "+k.From.String())
	}
	if r.Target != nil {
		s = append(s, "the target "+r.Target.String())
	}
	return strings.Join(s, ", ")
}

// releaseIdentity is the SAN of the certificates with which GitHub signs
// immutable releases. They have no issuer extension.
const releaseIdentity = "https://dotcom.releases.github.com"

// SignsReleases reports whether an identity is the one with which GitHub signs immutable
// releases, and with which nothing but a rule for these is met (SPEC 5.6).
func (id *Identity) SignsReleases() bool {
	return id.Kind == KindURI && id.Value == releaseIdentity && id.Issuer == ""
}

func (t *Trusted) matchGitHubRelease(c *Claims) []Mismatch {
	var ms []Mismatch
	if id := &c.Signer; !id.SignsReleases() {
		ms = append(ms, Mismatch{Field: "signer", Kind: "differs", Want: releaseIdentity, Got: id.describe()})
	}
	rel := c.GitHubRelease
	if rel == nil {
		return append(ms, Mismatch{Field: "predicate", Kind: "missing", Want: "a GitHub release attestation"})
	}
	if t.file.Repository.Host() != "github.com" ||
		!t.file.Repository.equalRepository("https://github.com/"+rel.Repository) {
		ms = append(
			ms,
			Mismatch{
				Field: "repository", Kind: "differs", Want: t.file.Repository.String(),
				Got: "https://github.com/" + rel.Repository,
			},
		)
	}
	return append(ms, t.matchIds(rel.RepositoryID, rel.OwnerID)...)
}

// matchIds compares the numbers of repository and owner with those that the
// genesis pinned, if it did.
func (t *Trusted) matchIds(repository, owner string) []Mismatch {
	var ms []Mismatch
	if w := t.ids.Repository; w != "" && w != repository {
		ms = append(ms, extension("repository-id", ".15", w, repository))
	}
	if w := t.ids.Owner; w != "" && w != owner {
		ms = append(ms, extension("owner-id", ".17", w, owner))
	}
	return ms
}

// extension returns the mismatch of an extension that has another value than
// wanted, or none.
func extension(field, ext, want, got string) Mismatch {
	m := Mismatch{Field: field, Extension: ext, Kind: "differs", Want: want, Got: got}
	if got == "" {
		m.Kind = "missing"
	}
	return m
}

// matchWorkflow compares one certificate with a workflow rule on all fields
// together (SPEC 5.3).
func (t *Trusted) matchWorkflow(r *Rule, req Request, id *Identity, tags []string) []Mismatch {
	w := r.Workflow
	repo := t.file.Repository
	var ms []Mismatch
	add := func(m Mismatch) { ms = append(ms, m) }

	if id.Kind != KindURI {
		return []Mismatch{{Field: "signer", Kind: "differs", Want: "a CI workflow", Got: id.describe()}}
	}
	if id.Issuer != w.Issuer {
		add(extension("issuer", ".8", w.Issuer, id.Issuer))
	}
	legacy := id.legacy()
	if legacy && !t.legacy {
		add(
			Mismatch{
				Field: "certificate", Kind: "forbidden", Want: "a certificate with the extensions .9 to .22",
				Got: "one from before April 2023",
			},
		)
	}
	ref := id.Ref()

	// Who asked.
	if legacy {
		if !repo.equalRepository("https://" + repo.Host() + "/" + id.WorkflowRepository) {
			add(extension("repository", ".5", repo.Path(), id.WorkflowRepository))
		}
	} else {
		if !repo.equalRepository(id.SourceRepositoryURI) {
			add(extension("repository", ".12", repo.String(), id.SourceRepositoryURI))
		}
		ms = append(ms, t.matchIds(id.SourceRepositoryID, id.SourceRepositoryOwnerID)...)
	}

	// Which workflow signed, and which one started.
	if !w.signedBy(repo, id.Value, ref) {
		add(
			Mismatch{
				Field: "signer-workflow", Extension: "SAN", Kind: "differs", Want: w.signerText(repo, ref),
				Got: id.Value,
			},
		)
	}
	if !legacy {
		if id.BuildSignerURI != id.Value {
			add(extension("signer-workflow", ".9", id.Value, id.BuildSignerURI))
		}
		if caller := w.slash(w.Caller) + "@" + ref; !repo.equalPath(id.BuildConfigURI, caller) {
			add(extension("caller", ".18", repo.String()+caller, id.BuildConfigURI))
		}
	}
	if w.SignerDigest != "" && id.BuildSignerDigest != w.SignerDigest {
		add(extension("signer-digest", ".10", w.SignerDigest, id.BuildSignerDigest))
	}

	// For which ref and commit.
	ext := ".14"
	if legacy {
		ext = ".6"
	}
	switch {
	case ref == "":
		add(extension("ref", ext, w.refText(r, tags), ""))
	case !spelling.ValidRef(ref) || !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/tags/"):
		add(
			Mismatch{
				Field: "ref", Extension: ext, Kind: "forbidden", Want: w.refText(r, tags), Got: ref,
				Hint: "only branches and tags can release",
			},
		)
	case r.Refs.isZero() && (tagOfRef(ref) == "" || !slices.Contains(tags, tagOfRef(ref))),
		!r.Refs.isZero() && !r.Refs.Match(ref):
		add(extension("ref", ext, w.refText(r, tags), ref))
	}
	if req.Commit != "" && id.Commit() != req.Commit {
		add(extension("commit", ".13", req.Commit, id.Commit()))
	}

	// How.
	trigger, ext := id.Trigger(), ".20"
	if legacy {
		ext = ".2"
	}
	switch {
	case slices.Contains(w.Triggers, trigger) && (trigger != repositoryDispatch || w.Environment != ""):
	case trigger != "" && !slices.Contains(w.allTriggers(), trigger):
		add(Mismatch{
			Field: "trigger", Extension: ext, Kind: "forbidden", Want: strings.Join(w.Triggers, ", "), Got: trigger,
			Hint: w.forbidden(trigger),
		})
	default:
		add(extension("trigger", ext, strings.Join(w.Triggers, ", "), trigger))
	}
	if w.Runner != "any" && id.RunnerEnvironment != w.Runner && !legacy {
		add(extension("runner", ".11", w.Runner, id.RunnerEnvironment))
	}
	if w.Environment != "" && !w.sameEnvironment(id.DeploymentEnvironment) {
		add(extension("environment", ".23", w.Environment, id.DeploymentEnvironment))
	}
	return ms
}

// sameEnvironment compares names of deployment environments, which GitHub
// treats without regard to case.
func (w *Workflow) sameEnvironment(got string) bool {
	return got == w.Environment || isGitHubWorkflow(w.Path) && spelling.EqualFold(got, w.Environment)
}

// IsGitHub reports whether the workflow is one of GitHub Actions, or of a forge
// that names them alike, rather than a GitLab pipeline.
func (w *Workflow) IsGitHub() bool { return isGitHubWorkflow(w.Path) }

// forbidden says why an event does not release, and what to change.
func (w *Workflow) forbidden(event string) string {
	const never = "this event can never release"
	if !w.IsGitHub() {
		return never
	}
	why := instead(event, "")
	switch {
	case why == "":
		return never
	case event == repositoryDispatch:
		return why
	}
	return never + ": " + why
}

func (w *Workflow) allTriggers() []string {
	if isGitHubWorkflow(w.Path) {
		return githubTriggers
	}
	return gitlabTriggers
}

// slash returns the separator and path as they follow a repository's URL in a
// certificate: one slash on GitHub, two on GitLab.
func (w *Workflow) slash(path string) string {
	if isGitHubWorkflow(w.Path) {
		return "/" + path
	}
	return "//" + path
}

// signedBy reports whether san is exactly the workflow of the rule, run for ref.
// The name is constructed and compared, never searched.
func (w *Workflow) signedBy(repo Locator, san, ref string) bool {
	signer := w.signer(repo)
	if w.SignerRef != "" {
		return signer.equalPath(san, w.slash(w.Path)+"@"+w.SignerRef)
	}
	if w.SignerDigest == "" {
		return ref != "" && signer.equalPath(san, w.slash(w.Path)+"@"+ref)
	}
	// Pinned by commit: what follows '@' is any ref or commit by which the
	// caller named it.
	head := len(signer.text) + len(w.slash(w.Path)) + 1
	if len(san) <= head || !signer.equalPath(san[:head], w.slash(w.Path)+"@") {
		return false
	}
	tail := san[head:]
	return spelling.ValidRef(tail) || spelling.IsHex(tail, 40) || spelling.IsHex(tail, 64)
}

func (w *Workflow) signer(repo Locator) Locator {
	if w.Signer.IsZero() {
		return repo
	}
	return w.Signer
}

func (w *Workflow) signerText(repo Locator, ref string) string {
	s := w.signer(repo).String() + w.slash(w.Path)
	switch {
	case w.SignerRef != "":
		return s + "@" + w.SignerRef
	case w.SignerDigest != "" || ref == "":
		return s
	}
	return s + "@" + ref
}

func (w *Workflow) refText(r *Rule, tags []string) string {
	switch {
	case !r.Refs.isZero():
		return r.Refs.String()
	case len(tags) > 0:
		return "refs/tags/" + tags[0]
	}
	return "the tag being verified"
}

// tagOfRef returns the tag that a full ref names, "" if it is not a tag.
func tagOfRef(ref string) string {
	tag, ok := strings.CutPrefix(ref, "refs/tags/")
	if !ok || !spelling.ValidTag(tag) {
		return ""
	}
	return tag
}
