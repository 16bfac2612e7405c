// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// advice says what to do about a denial. A command to type is made of what was typed and of what was
// verified, and has no flag by which this very denial would not be one.
func (a *app) advice(ctx context.Context, q *question, v *repopolicy.Verdict, full bool) report.Advice {
	typed := q.options.typed
	if typed == nil {
		return nil
	}
	var signed map[string]string // tags of artifacts, by name
	return func(res *repopolicy.Result) (string, []string) {
		switch res.Decision.Reason {
		case policy.RuleMismatch:
			if !full {
				return "", typed.Verb("verify", "explain").Words()
			}
		case policy.TagMismatch:
			if signed == nil {
				signed = q.signedTags(ctx, v.Policy(), len(v.Entries()))
			}
			return q.otherTag(signed[res.Artifact])
		case policy.NoEvidence:
			return q.noEvidence(res.Artifact)
		case policy.TrustRootMissing:
			return a.noRoot(ctx, q), nil
		case policy.ReleaseUnreachable:
			return "check its address, and try again; nothing is kept that could stand in: files that you have verify with " +
				"-R and --tag", nil
		}
		return "", nil
	}
}

// mostAsked is of how many artifacts it is found out which tag they are of: not of so many that it
// takes long, nor of what would be downloaded again.
const mostAsked = 8

// signedTags judges once more without the tag that was asked for, and returns the tags of what is
// allowed then: those that verified evidence names. Nothing is written, and no verdict comes of it.
func (q *question) signedTags(ctx context.Context, p *repopolicy.Policy, judged int) map[string]string {
	out := map[string]string{}
	elsewhere := func(arg string) bool {
		return fetch.IsURL(arg) || fetch.IsImage(arg) || strings.HasPrefix(arg, "pkg:")
	}
	if !q.options.tag.Given || judged > mostAsked || slices.ContainsFunc(q.args, elsewhere) {
		return out
	}
	c := *q.client
	c.Progress, c.Log = nil, nil
	v, err := c.Verify(ctx, p, append(slices.Clip(q.judged), repopolicy.Tag(""), repopolicy.Download(""))...)
	if err != nil {
		return out
	}
	for _, e := range v.Entries() {
		if r := e.Result; r != nil && r.Class() == policy.ClassOK && r.Evidence != nil && r.Evidence.Verified {
			out[r.Artifact] = r.Decision.Tag
		}
	}
	return out
}

// otherTag says what to do about what is of another tag than was asked for: of which, if it was
// verified.
func (q *question) otherTag(signed string) (string, []string) {
	if signed == "" {
		return "", nil
	}
	if isSpelling(signed, q.tag) {
		return "without --tag the evidence verifies, and names " + signed + ": did you mean that?",
			q.options.typed.With("tag", signed).Words()
	}
	hint := fmt.Sprintf("without --tag the evidence verifies: the file is of the release %s, not of %s", signed, q.tag)
	if page, ok := q.page(q.tag); ok {
		return hint + ", whose files are at its own address", q.judgePage(page)
	}
	return hint, nil
}

// isSpelling reports whether two tags differ in nothing but the "v" that some projects write. What
// else stands before a version may name another part of a project.
func isSpelling(signed, asked string) bool {
	return strings.TrimPrefix(signed, "v") == strings.TrimPrefix(asked, "v")
}

// page returns the URL of a release of the repository, where its forge is known.
func (q *question) page(tag string) (string, bool) {
	repo, err := policy.NormalizeLocator(q.repo)
	if err != nil || q.client.Offline {
		return "", false
	}
	forge := fetch.GitHub
	switch host := repo.Host(); {
	case q.options.published.forge.Given:
		forge = fetch.Forge(q.options.published.forge.Value)
	case host == "gitlab.com":
		forge = fetch.GitLab
	case host != "github.com":
		return "", false
	}
	page := fetch.Address{Repository: repo, Tag: tag}.Page(forge)
	at, err := fetch.ParseAddress(page)
	return page, err == nil && at.Tag == tag && at.Repository == repo && at.File == ""
}

// judgePage returns the command that judges a whole release by its address.
func (q *question) judgePage(page string) []string {
	t := q.options.typed
	// The page says what it is, and these are about files here.
	for _, flag := range []string{"repo", "tag", "name", "bundle", "ignore-missing"} {
		t = t.Without(flag)
	}
	return t.Arguments(page).Words()
}

// noEvidence says where evidence for a file may be, if nothing beside it is any.
func (q *question) noEvidence(artifact string) (string, []string) {
	if q.repo == "" || fetch.IsURL(artifact) || fetch.IsImage(artifact) || strings.HasPrefix(artifact, "pkg:") ||
		strings.HasPrefix(artifact, "refs/") || len(q.options.bundles) > 0 {
		return "", nil
	}
	if q.tag != "" {
		if page, ok := q.page(q.tag); ok {
			return "neither beside it nor in the release " + q.tag + " is any: judge what that release has",
				q.judgePage(page)
		}
		return "", nil
	}
	if page, ok := q.page("TAG"); ok {
		return "say of which release it is, where its evidence is looked for then: add --tag TAG, or give the address of " +
			"the release, " + page, nil
	}
	return "say of which release it is with --tag TAG, or name the evidence with -b", nil
}

// noRoot says whether a trusted root that was kept allows to go on, and what that gives up.
func (a *app) noRoot(ctx context.Context, q *question) string {
	o := q.options
	if len(o.TrustedRoots) > 0 || o.TrustRoot.Given || q.client.Offline {
		return ""
	}
	const file = "--trusted-root FILE names one that you have from somebody you trust"
	if _, err := a.Finder().Public(ctx, trust.Options{Offline: true}); err != nil {
		return "try again; this machine has kept no root, so nothing goes on without an answer; " + file
	}
	more := ""
	if q.repo != "" {
		more = " and --git DIR, a clone"
	}
	return "try again; this machine has kept a root: --offline" + more + " goes on with it, and does not see which " +
		"keys were withdrawn since; " + file
}

// helped returns an error with what to do about it, where that depends on this machine.
func (a *app) helped(ctx context.Context, q *question, err error) error {
	f, ok := err.(*policy.Fault)
	if !ok || f.Hint != "" {
		return err
	}
	more := *f
	switch f.Reason {
	case policy.TrustRootMissing:
		more.Hint = a.noRoot(ctx, q)
	case policy.ChainForked, policy.GenesisConflict, policy.RepositoryChanged, policy.OwnerChanged, policy.AlarmRaised:
		more.Hint = strings.TrimPrefix(f.Reason.Hint()+"; ", "; ") + "`repopolicy log -R " + spelling.ShellWord(q.repo) +
			"` lists the versions"
	}
	return &more
}
