// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what [Client.Signed] looks at: a person reads it, and it decides nothing.
const (
	mostSigned      = 8        // artifacts, the first ones
	mostSignedBytes = 64 << 20 // of each
	mostSignedTime  = time.Minute
)

// Signed says who signed what the options name, for a person to see who asks about a repository
// without a policy: evidence that is verified under the trusted roots is so marked, and nothing is
// allowed. Of many artifacts it looks at the first few. An error is a [*policy.Fault], or one of
// this machine.
func (c *Client) Signed(ctx context.Context, repository string, options ...VerifyOption) ([]*Result, error) {
	ctx, done := within(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, mostSignedTime)
	defer cancel()
	repo, err := policy.NormalizeLocator(withScheme(repository))
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	req, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	req.download = ""
	little := *c
	little.Sources.MaxBytes = min(cmp.Or(c.Sources.MaxBytes, mostSignedBytes), mostSignedBytes)
	q := &find.Query{Repository: repo, Trust: c.trust(), Offline: c.Offline}
	p, err := little.underRoots(ctx, &Policy{repo: repo}, q, func(context.Context, *found) error { return nil })
	if err != nil {
		return nil, err
	}
	pub, err := little.published(p, req)
	if err != nil {
		return nil, err
	}
	inputs, err := pub.inputs(ctx)
	if err != nil {
		return nil, err
	}
	var artifacts []*release.Artifact
	for _, in := range inputs {
		if !in.IsEvidence() && !in.Harmless {
			artifacts = append(artifacts, in.Artifact)
		}
	}
	if n := len(artifacts); n > mostSigned {
		c.say(fmt.Sprintf("note: of %d artifacts the first %d are looked at", n, mostSigned))
		artifacts = artifacts[:mostSigned]
	}
	j := &release.Judge{
		Policy: noPolicy{}, Roots: plain(p.everyRoot), Bundles: req.bundles, Tag: req.tag, Release: pub.place,
		Sources: pub.sources,
	}
	j.Now, j.Skew = c.asOf()
	var out []*Result
	for _, r := range j.Run(ctx, artifacts) {
		out = append(out, newResult(r))
	}
	return out, nil
}

// everyRoot opens the roots that speak for the repository, each of which is tried alone.
func (p *Policy) everyRoot(ctx context.Context) (out []trust.Root, err error) {
	for _, f := range p.under {
		roots, err := f.open(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, roots...)
	}
	return out, nil
}

// noPolicy is what evidence is verified for where there is nothing to judge by. It allows nothing.
type noPolicy struct{ *policy.Trusted }

// Precheck knows nothing in advance.
func (noPolicy) Precheck(policy.Request, policy.Claims) (policy.Decision, bool) {
	return policy.Decision{}, false
}

// Decide denies.
func (noPolicy) Decide(policy.Request, policy.Evidence) policy.Decision {
	return policy.Decision{Reason: policy.NoBinding}
}
