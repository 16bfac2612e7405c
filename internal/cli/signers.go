// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// mostSigners is how many pieces of evidence are shown that nobody judged.
const mostSigners = 8

// signers says, where no policy is bound to a repository, what the evidence beside the files of
// this machine claims. Nothing of it was verified, and no command is made of it.
func (a *app) signers(ctx context.Context, o *verifyOptions, args []string, why error) {
	var f *policy.Fault
	if !errors.As(why, &f) || f.Reason != policy.NoBinding || o.quiet || o.format.Document() {
		return
	}
	files := filesAt(ctx, args, release.Options{Repo: o.Git.Value, IgnoreMissing: o.ignoreMissing})
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
			a.claimed(r.Artifact.Arg, ev)
		}
	}
}

// filesAt returns the artifacts that are on this machine: nothing is fetched for them.
func filesAt(ctx context.Context, args []string, how release.Options) (files []*release.Artifact) {
	for _, arg := range args {
		if _, err := os.Stat(arg); err != nil {
			continue
		}
		for _, x := range release.Expand(ctx, []string{arg}, how) {
			if !x.IsEvidence() && !x.Harmless {
				files = append(files, x.Artifact)
			}
		}
	}
	return files
}

// claimed prints what one piece of evidence claims.
func (a *app) claimed(artifact string, ev *release.Evidence) {
	s := report.NewSigner(ev.Signer)
	a.Err.Line("%s: evidence in %s claims, and nobody verified it:", artifact, ev.Path)
	who := s.Identity
	if s.Kind == policy.KindKey {
		who = "key sha256:" + who
	}
	for _, x := range [][2]string{
		{"signer", who}, {"issuer", s.Issuer}, {"repository", s.Repository}, {"ref", s.Ref},
	} {
		if x[1] != "" {
			text := clip.To(x[1], mostOfClaim)
			if text != x[1] {
				text += "…"
			}
			a.Err.Line("  %-10s %s", x[0], text)
		}
	}
}

// mostOfClaim is how many bytes of a claim are shown.
const mostOfClaim = 200
