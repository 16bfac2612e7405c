// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// mostSigners is how many pieces of evidence are shown that nobody judged.
const mostSigners = 8

// signers says, where no policy is bound to a repository, who signed: of what is published, as far
// as it verifies; of the files of this machine, what the evidence beside them claims, of which nothing was
// verified. No command is made of either.
func (a *app) signers(ctx context.Context, q *question, args []string) {
	o := q.options
	if !o.talks() {
		return
	}
	var here, published []string
	for _, arg := range args {
		if _, err := os.Stat(arg); err == nil {
			here = append(here, arg)
		} else {
			published = append(published, arg)
		}
	}
	a.claims(ctx, o, here)
	if len(published) > 0 && !q.client.Offline {
		a.signed(ctx, q, published)
	}
}

// claims says what the evidence beside files of this machine claims. Nothing is fetched for it.
func (a *app) claims(ctx context.Context, o *verifyOptions, here []string) {
	var files []*release.Artifact
	for _, arg := range here {
		how := release.Options{Repo: o.Git.Value, IgnoreMissing: o.ignoreMissing}
		for _, x := range release.Expand(ctx, []string{arg}, how) {
			if !x.IsEvidence() && !x.Harmless {
				files = append(files, x.Artifact)
			}
		}
	}
	shown := 0
	// A judge without a policy verifies nothing, and gets as far as what the evidence claims.
	for _, r := range (&release.Judge{Bundles: o.bundles, Now: a.Now()}).Run(ctx, files) {
		for _, ev := range append([]*release.Evidence{r.Evidence}, r.Others...) {
			if ev == nil || ev.Decision.Reason != policy.Internal || ev.Signer.Value == "" {
				continue // it is about something else, or malformed
			}
			if shown++; shown > mostSigners { // anybody may put more beside an artifact
				a.Err.Line("there is more evidence, which is not shown")
				return
			}
			a.Err.Line("%s: evidence in %s claims, and nobody verified it:", r.Artifact.Arg, ev.Path)
			a.signer(ev.Signer)
		}
	}
}

// signed says who signed what is published: what verifies under the trusted roots, and nothing
// else.
func (a *app) signed(ctx context.Context, q *question, published []string) {
	results, err := q.client.Signed(
		ctx, q.repo, repopolicy.Artifact(published...), repopolicy.Tag(q.options.tag.Value),
		repopolicy.Bundle(q.options.bundles...), repopolicy.Worktree(q.options.Git.Value),
	)
	if err != nil {
		a.Err.Line("note: who signed is not known: %s", clipped(err.Error()))
		return
	}
	type piece struct {
		ev    *repopolicy.Evidence
		of    string // artifact that it is about
		count int    // of artifacts that the same signer signed
	}
	var shown []*piece
	for _, r := range results {
		var mine []policy.Identity
		for _, ev := range append([]*repopolicy.Evidence{r.Evidence}, r.Others...) {
			if ev == nil || !ev.Verified || slices.Contains(mine, ev.Signer) {
				continue
			}
			mine = append(mine, ev.Signer)
			i := slices.IndexFunc(shown, func(p *piece) bool { return p.ev.Signer == ev.Signer })
			if i >= 0 {
				shown[i].count++
				continue
			}
			shown = append(shown, &piece{ev, r.Artifact, 1})
		}
	}
	for i, p := range shown {
		if i == mostSigners {
			a.Err.Line("there are more signers, who are not shown")
			return
		}
		more := ""
		if p.count > 1 {
			more = fmt.Sprintf(" and %d more", p.count-1)
		}
		a.Err.Line("%s%s: verified to be signed by the following; no policy says whether it may:", clipped(p.of), more)
		a.signer(p.ev.Signer)
		for _, t := range p.ev.Times[:min(len(p.ev.Times), 1)] {
			a.Err.Line("  time       %s", t.Time.UTC().Format(time.RFC3339))
		}
	}
	if len(shown) == 0 {
		a.Err.Line("note: %s", whyNobody(results))
	}
}

// whyNobody says why nobody is known to have signed what is published.
func whyNobody(results []*repopolicy.Result) string {
	for _, r := range results {
		if d := r.Decision; d.Reason.Class() == policy.ClassUnavailable {
			return "who signed is not known: " + d.Reason.Text() + ": " + clipped(d.Detail)
		}
	}
	return "no evidence that verifies was found for what is published"
}

// signer prints who signed.
func (a *app) signer(id policy.Identity) {
	s := report.NewSigner(id)
	who := s.Identity
	if s.Kind == policy.KindKey {
		who = "key sha256:" + who
	}
	for _, x := range [][2]string{
		{"signer", who}, {"issuer", s.Issuer}, {"repository", s.Repository}, {"number", s.RepoID},
		{"owner", s.OwnerID}, {"ref", s.Ref},
	} {
		if x[1] != "" {
			a.Err.Line("  %-10s %s", x[0], clipped(x[1]))
		}
	}
}

// clipped shortens a text of somebody else.
func clipped(s string) string {
	text := clip.To(s, mostOfClaim)
	if text != s {
		text += "…"
	}
	return text
}

// mostOfClaim is how many bytes are shown of a text of somebody else.
const mostOfClaim = 200
