// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// Events that a rule may name, by forge. Everything else is always denied:
// pull_request*, issue_comment, workflow_run, fork and the like run for people
// who may not write to the repository, or with input from them (SPEC 5.4).
var (
	githubTriggers = []string{"push", "release", "workflow_dispatch", "schedule", "create", "deployment"}
	gitlabTriggers = []string{"push", "web", "schedule", "api", "trigger"}
)

// repositoryDispatch is the event that a rule may name only beside an environment: any token
// that may write starts it, those of other workflows too.
const repositoryDispatch = "repository_dispatch"

// onlyWorkflow are the keys that make sense only beside workflow.
var onlyWorkflow = []string{
	"refs", "caller", "signer-ref", "signer-digest", "issuer", "environment", "triggers", "runner", "preflight",
}

// rule decodes one [[release]] table (SPEC 3.4).
func (d *decoder) rule(n *node, repo Locator) Rule {
	r := Rule{
		Name:      n.name("name"),
		Tags:      n.patterns("tags", true, "any", "semver"),
		TagPrefix: n.tagPrefix("tag-prefix"),
		Artifacts: n.patterns("artifacts", true, "any"),
		Refs:      n.patterns("refs", false),
		Since:     n.time("since", false),
		Until:     n.time("until", false),
		SetOnly:   n.flag("set-only"),
		Unlogged:  n.flag("unlogged"),
		Overlaps:  n.flag("overlaps"),
	}
	if !n.has("name") {
		n.missing("name", "")
	}
	if !r.Since.IsZero() && !r.Until.IsZero() && !r.Since.Before(r.Until) {
		n.conflict("until", "", "must be after since")
	}
	for i, p := range r.Refs.list {
		if !strings.HasPrefix(p.text, "refs/heads/") && !strings.HasPrefix(p.text, "refs/tags/") {
			n.bad(item("refs", i), "", "must begin with refs/heads/ or refs/tags/")
		}
	}

	r.Identities = n.principals("identities")
	r.Keys, r.RootKeys = n.ruleKeys("keys")
	r.GitHubRelease = n.flag("github-release")
	r.Target = n.target("tuf")
	n.oneSigner()
	if n.has("workflow") {
		r.Workflow = d.workflow(n, repo, r.Refs.isZero())
		if t := n.table("preflight"); t != nil {
			r.Preflight = d.preflight(t)
		}
	} else {
		for _, k := range onlyWorkflow {
			if n.known = append(n.known, k); n.has(k) {
				n.conflict(k, "", "goes with workflow only: such evidence does not carry it")
			}
		}
	}
	n.known = append(n.known, "workflow")

	if t := n.table("approvals"); t != nil {
		r.Approvals = &Approvals{
			Threshold: int(t.integer("threshold", 1)), From: t.oneOf("from", true, "maintainers", "releasers"),
		}
		t.finish()
	}
	n.finish()
	return r
}

// oneSigner demands exactly one kind of signer, and none of the keys that say nothing beside it.
func (n *node) oneSigner() {
	kinds := 0
	for _, is := range []bool{
		n.has("workflow"), n.has("identities") || n.has("keys"), n.has("github-release"), n.has("tuf"),
	} {
		kinds += btoi(is)
	}
	const one = "a rule names a workflow, or identities and keys, or github-release, or tuf"
	switch at := "workflow"; {
	case kinds == 0:
		n.missing(at, one)
	case kinds > 1:
		for _, k := range []string{"tuf", "github-release", "workflow"} {
			if n.has(k) {
				at = k
			}
		}
		n.conflict(at, "write one rule for each", one)
	}
	if n.has("github-release") && n.has("tag-prefix") {
		n.conflict(
			"tag-prefix", "leave it out", "a release of GitHub names its tag itself, which nothing is put before",
		)
	}
	if n.has("tuf") {
		for k, why := range map[string]string{
			"tag-prefix": "the path of the target names the tag itself, which nothing is put before",
			"set-only":   "what a root lists is in no log", "unlogged": "what a root lists is in no log",
		} {
			if n.has(k) {
				n.conflict(k, "leave it out", "%s", why)
			}
		}
	}
}

// oneOf returns the word at k, which must be one of words.
func (n *node) oneOf(k string, required bool, words ...string) string {
	s := n.str(k, false)
	if !n.has(k) {
		if required {
			n.missing(k, "write"+strings.TrimPrefix(orWords(words), " or"))
		}
		return ""
	}
	if s != "" && !slices.Contains(words, s) {
		n.bad(k, "", "must be %s", strings.TrimPrefix(orWords(words), " or "))
		return ""
	}
	return s
}

// workflow decodes the keys of a rule that go with workflow.
func (d *decoder) workflow(n *node, repo Locator, tagRefs bool) *Workflow {
	w := &Workflow{}
	var err error
	if s := n.asciiKey("workflow", false); s != "" {
		if w.Signer, w.Path, err = splitWorkflow(s, repo); err != nil {
			n.bad(
				"workflow",
				`write ".github/workflows/release.yml", or the full URL of a workflow in another repository`, "%s",
				err,
			)
		}
	}
	foreign := !w.Signer.IsZero()
	gitlab := w.Path != "" && !isGitHubWorkflow(w.Path)

	w.Caller = n.asciiKey("caller", false)
	switch {
	case w.Caller != "" && gitlab:
		n.conflict("caller", "", "a GitLab certificate names the pipeline's own configuration only")
	case w.Caller != "" && !isGitHubWorkflow(w.Caller):
		n.bad("caller", `write ".github/workflows/<file>.yml"`, "must be a workflow of this repository")
	case w.Caller == "" && foreign && !n.has("caller"):
		n.missing("caller", "name the workflow of this repository that may call the signer")
	case w.Caller == "":
		w.Caller = w.Path
	}

	w.SignerRef = n.str("signer-ref", false)
	if w.SignerRef != "" &&
		(!spelling.ValidRef(w.SignerRef) ||
			!strings.HasPrefix(w.SignerRef, "refs/heads/") && !strings.HasPrefix(w.SignerRef, "refs/tags/")) {
		n.bad("signer-ref", `write "refs/tags/v4"`, "must be an exact ref that begins with refs/heads/ or refs/tags/")
	}
	w.SignerDigest = n.str("signer-digest", false)
	if w.SignerDigest != "" && !spelling.IsHex(w.SignerDigest, 40) && !spelling.IsHex(w.SignerDigest, 64) {
		n.bad("signer-digest", "", "must be a full commit id in lower-case hex")
	}
	if foreign && !n.has("signer-ref") && !n.has("signer-digest") {
		n.missing("signer-ref", "a workflow of another repository must be pinned by signer-ref or signer-digest")
	}
	if gitlab && (n.has("signer-ref") || n.has("signer-digest")) {
		n.conflict("workflow", "", "signer-ref and signer-digest are not known for GitLab")
	}

	if n.has("issuer") {
		w.Issuer = n.issuer("issuer")
	} else {
		n.known = append(n.known, "issuer")
		if !w.setForge(repo.Host()) && repo.Host() != "" {
			n.missing("issuer", "name the OIDC issuer of this forge's CI")
		}
	}
	speaksFor := ""
	if w.Issuer == gitlabIssuer {
		speaksFor = "gitlab.com"
	} else if isCIIssuer(w.Issuer) {
		speaksFor = "github.com"
	}
	if speaksFor != "" && repo.Host() != "" && speaksFor != repo.Host() {
		n.conflict("issuer", "", "this issuer does not speak for %s", repo.Host())
	}

	w.Environment = n.asciiKey("environment", true)
	w.setDefaults(gitlab, tagRefs)
	if n.has("triggers") {
		w.Triggers = n.words("triggers")
		n.triggers(w.Triggers, gitlab, n.has("environment"))
	}
	n.known = append(n.known, "triggers")
	if r := n.oneOf("runner", false, "github-hosted", "gitlab-hosted", "self-hosted", "any"); r != "" {
		w.Runner = r
	}
	return w
}

// setForge sets the issuer of the host's CI, and reports whether it is known.
func (w *Workflow) setForge(host string) bool {
	switch host {
	case "github.com":
		w.Issuer = githubIssuer
	case "gitlab.com":
		w.Issuer = gitlabIssuer
	}
	return w.Issuer != ""
}

// setDefaults sets runner and events as they are where a rule does not name them (SPEC 5.4).
func (w *Workflow) setDefaults(gitlab, tagRefs bool) {
	w.Runner, w.Triggers = "github-hosted", []string{"push", "release"}
	if tagRefs || w.Environment != "" {
		w.Triggers = append(w.Triggers, "workflow_dispatch")
	}
	if gitlab {
		w.Runner, w.Triggers = "gitlab-hosted", []string{"push"}
	}
}

// triggers reports events that cannot release (SPEC 5.4).
func (n *node) triggers(events []string, gitlab, environment bool) {
	allowed := githubTriggers
	if gitlab {
		allowed = gitlabTriggers
	}
	for i, t := range events {
		switch {
		case t == "" || slices.Contains(allowed, t):
		case t == repositoryDispatch && !gitlab && environment:
		case t == repositoryDispatch && !gitlab:
			n.bad(item("triggers", i), `create an environment with required reviewers and write environment = "…"`,
				"%q can release with an environment only: any token that may write starts it", t)
		default:
			hint := "the triggers that a rule may name are " + strings.Join(allowed, ", ")
			if !gitlab {
				hint = instead(t, hint)
			}
			n.bad(item("triggers", i), hint, "%q can never release", t)
		}
	}
}

// instead says why an event of GitHub never releases and what to change, where that is known;
// else what it was given.
func instead(event, otherwise string) string {
	switch {
	case event == "workflow_run":
		return "it follows runs that people without write access cause: let the first workflow call this one " +
			"(workflow_call), or start it by push, release or workflow_dispatch"
	case strings.HasPrefix(event, "pull_request"):
		return "it runs for people without write access: release after the merge, by push, release or workflow_dispatch"
	case event == "workflow_call":
		return "a called workflow has the event of its caller: name that"
	case event == repositoryDispatch:
		return "it releases under a rule that names it in triggers, beside an environment"
	}
	return otherwise
}

func (d *decoder) preflight(t *node) *Preflight {
	p := &Preflight{Actors: t.words("actors"), RefProtected: t.flag("ref-protected")}
	if len(t.m) == 0 {
		t.missing("actors", "an empty table demands nothing; leave it out")
	}
	t.finish()
	return p
}

func isGitHubWorkflow(path string) bool {
	file, ok := strings.CutPrefix(path, ".github/workflows/")
	return ok && !strings.Contains(file, "/") && isConfigPath(path)
}

// isConfigPath accepts relative paths of a YAML file without dot segments and
// without any character that a SAN gives a meaning to.
func isConfigPath(path string) bool {
	if !strings.HasSuffix(path, ".yml") && !strings.HasSuffix(path, ".yaml") {
		return false
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." ||
			strings.TrimSuffix(strings.TrimSuffix(seg, ".yml"), ".yaml") == "" {
			return false
		}
	}
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("@*?#%\\:\"<>|", c) >= 0 {
			return false
		}
	}
	return true
}

// splitWorkflow returns the repository and the path that a workflow value
// names; the zero Locator stands for repo itself.
func splitWorkflow(s string, repo Locator) (Locator, string, error) {
	signer := Locator{}
	path := s
	if strings.Contains(s, "://") {
		var base string
		if i := strings.Index(s, "/.github/workflows/"); i >= 0 {
			base, path = s[:i], s[i+1:]
		} else if rest, ok := strings.CutPrefix(s, "https://"); ok && strings.Contains(rest, "//") {
			i := strings.Index(rest, "//")
			base, path = "https://"+rest[:i], rest[i+2:]
		} else {
			return Locator{}, "", errors.New("is not the URL of a workflow")
		}
		var err error
		if signer, err = ParseLocator(base); err != nil {
			return Locator{}, "", fmt.Errorf("the workflow's repository: %w", err)
		}
		if signer == repo {
			signer = Locator{}
		}
	}
	switch {
	case !isConfigPath(path):
		return Locator{}, "", errors.New("is not the path of a workflow file")
	case strings.HasPrefix(path, ".github/") && !isGitHubWorkflow(path):
		return Locator{}, "", errors.New("workflows lie directly in .github/workflows")
	case repo.Host() == "github.com" && !isGitHubWorkflow(path):
		return Locator{}, "", errors.New("workflows on github.com lie in .github/workflows")
	case repo.Host() == "gitlab.com" && isGitHubWorkflow(path):
		return Locator{}, "", errors.New(
			"gitlab.com has no .github/workflows; name the pipeline's configuration, for example .gitlab-ci.yml",
		)
	case !signer.IsZero() && repo.Host() != "" && signer.Host() != repo.Host():
		return Locator{}, "", fmt.Errorf("a workflow on %s cannot be called from %s", signer.Host(), repo.Host())
	case !signer.IsZero() && !isGitHubWorkflow(path):
		return Locator{}, "", errors.New("a GitLab certificate names the pipeline's own configuration only")
	}
	return signer, path, nil
}
