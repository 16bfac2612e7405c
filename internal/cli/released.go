// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// released is what a policy makes of a release that a forge lists.
type released struct {
	at     fetch.Address
	page   string        // URL of the release
	reason policy.Reason // why it is not allowed; "" if it is
	text   string        // the same for a person
	// unread says that it was not judged: what the forge lists cannot be asked for, or not now.
	unread  bool
	empty   bool               // the release has no files
	entries []repopolicy.Entry // of the verdict, if there is one
}

// judgeRelease judges a release as verify judges its URL.
func judgeRelease(
	ctx context.Context, c *repopolicy.Client, p *repopolicy.Policy, at fetch.Address, f fetch.Forge,
) released {
	r := released{at: at, page: at.Page(f), text: "the policy allows it"}
	if named, err := fetch.ParseAddress(r.page); err == nil && named != at {
		r.reason, r.text, r.unread = policy.DoctorUnread, "its tag reads like the address of something else", true
		return r
	}
	r.judge(ctx, c, p, repopolicy.Artifact(r.page))
	return r
}

// judge judges what the options name.
func (r *released) judge(
	ctx context.Context, c *repopolicy.Client, p *repopolicy.Policy, options ...repopolicy.VerifyOption,
) {
	v, err := c.Verify(ctx, p, options...)
	if err != nil {
		r.fail(err)
		return
	}
	if r.entries = v.Entries(); v.OK() {
		return
	}
	r.reason, r.text = policy.NoEvidence, "nothing of it was judged"
	for _, e := range r.entries {
		if e.Result != nil && e.Result.Class() == v.Class() {
			r.reason, r.text = e.Result.Decision.Reason, why(e.Result.Artifact, e.Result)
			break
		}
	}
	r.empty = r.reason == policy.NoArtifacts
	if r.reason.Class() == policy.ClassUsage {
		r.reason = policy.DoctorUnread
	}
	r.unread = r.reason.Class() == policy.ClassUnavailable
}

// fail says that an error was in the way.
func (r *released) fail(err error) {
	fault := command.FaultOf(err)
	r.reason, r.text, r.unread, r.entries = fault.Reason, fault.Text, true, nil
	if fault.Reason.Class() == policy.ClassUsage {
		r.reason = policy.DoctorUnread
	}
}

// why says why an artifact is denied: where no rule matches, how the nearest one differs.
func why(name string, r *repopolicy.Result) string {
	d := r.Decision
	out := strings.TrimSuffix(name+": "+d.Reason.Text()+": "+d.Detail, ": ")
	nearest, ok := d.Nearest()
	if d.Reason != policy.RuleMismatch || !ok {
		return out
	}
	for i, m := range nearest.Mismatches {
		if i == 0 {
			out += ": under rule " + nearest.Rule
		}
		out += fmt.Sprintf(", %s is %s and has to be %s", m.Field, report.OrMissing(m.Got), m.Want)
	}
	return out
}

// explain returns a command that explains what was judged. What a forge says becomes part of a
// command only if a shell does nothing with it.
func (r *released) explain() string {
	page := r.page
	if !plainWord(page) {
		page = r.at.Repository.String() + "/releases/tag/TAG"
	}
	return "repopolicy explain " + page
}

// plainWord reports whether a text is one word to every shell, and nothing else.
func plainWord(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(
		s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/:@+",
	) == ""
}

// checkForge refuses a kind of forge that there is not.
func checkForge(s repopolicy.Sources) error {
	if f := fetch.Forge(s.Forge); f != "" && f != fetch.GitHub && f != fetch.GitLab && f != fetch.Forgejo {
		return policy.Faultf(policy.Usage, "--forge: none of github, gitlab and forgejo")
	}
	return nil
}

// forgeOf returns the kind of forge at a repository's host.
func forgeOf(repo policy.Locator, s repopolicy.Sources) fetch.Forge {
	return cmp.Or(fetch.Forge(s.Forge), fetch.ForgeOf(repo.Host()))
}

// netOf returns how the forge is asked.
func (a *app) netOf(s repopolicy.Sources) fetch.Net {
	return fetch.Net{Transport: a.Transport, Agent: command.UserAgent(), Token: s.GitHubToken}
}
