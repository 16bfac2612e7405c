// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// authorizeMaxAge is how old what is known about the policy may be before a release, where
// the client does not say.
const authorizeMaxAge = 24 * time.Hour

// Authorization is the answer to a run that asks to release. Only [Client.Authorize] makes one
// that is OK.
type Authorization struct {
	class policy.Class

	Repository string
	Version    int             // of the policy in force
	Caller     policy.Identity // as a certificate would name the run
	Tag        string          // "" if there is none
	Commit     string          // "" if it is not known
	Releases   []Release       // one for each name, or one for the run if none was named
}

// Release is the answer about one thing that is to be released.
type Release struct {
	Name     string // as it was given; "" where none was
	Digests  []policy.Digest
	Decision policy.Decision
}

// OK reports whether everything may be released.
func (a *Authorization) OK() bool { return a != nil && a.class == policy.ClassOK }

// Class returns the class of the answer, that of its worst decision.
func (a *Authorization) Class() policy.Class { return a.class }

// Authorize asks whether a run may sign a release, by the ID token that it has for the audience
// "repopolicy": it is verified with its issuer's keys, and the identity that a certificate would
// name is judged. Names are files, which are judged by name and digest, names of files that
// are not there yet, and package URLs.
//
// Whoever shows the token is taken for its run: the environment is not looked at, and no work
// tree. The command repopolicy authorize, which runs in the job itself, compares both.
//
// The policy, which must be one that [Client.Find] found under one root, is asked for anew:
// nothing that is at hand stands for an answer, and what is known must not be older than 24
// hours, or [Client.MaxAge].
func (c *Client) Authorize(ctx context.Context, p *Policy, token string, names ...string) (*Authorization, error) {
	switch {
	case !p.made():
		return nil, errZero
	case p.again == nil:
		return nil, policy.Faultf(policy.Usage,
			"a run is authorised by the policy that its repository bound, and by no other")
	case p.under[0].unbound != nil:
		return nil, policy.Faultf(policy.NoBinding, "%s: %s", p.Repository(), policy.NoBinding.Text())
	case len(p.under) != 1:
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "several roots judge " + p.Repository() + ", and a run is authorised under one",
			Hint: "name it with --trust-root",
		}
	case c.Offline || p.carried() != nil:
		return nil, policy.Faultf(policy.Usage, "--offline: whether a run may release is not known without asking")
	}
	ctx, done := within(ctx)
	defer done()
	t, err := identity.ParseToken(token)
	if err == nil {
		err = t.For(oidc.Audience)
	}
	if err != nil {
		return nil, gate.Refusal(fmt.Errorf("the ID token: %w", err))
	}
	p, err = p.again(ctx, func(q *find.Query) {
		q.Fresh, q.MaxAge = true, cmp.Or(q.MaxAge, authorizeMaxAge)
	})
	if err != nil {
		return nil, err
	}
	f := p.under[0].Found
	if p.under[0].unbound != nil { // by now
		return nil, policy.Faultf(policy.NoBinding, "%s: %s", p.Repository(), policy.NoBinding.Text())
	}
	f.Demand.Strict = true
	g := &gate.Gate{Finder: c.finder(ctx), Elsewhere: true, Ignored: c.ignored}
	g.Finder.Inform(ctx, f)
	verified, err := g.Verify(ctx, t, f, oidc.Audience, "")
	if err != nil {
		return nil, err
	}
	z, err := g.Authorize(ctx, f, verified, gate.Asked{Stage: policy.StageSign, Narrow: p.signer}, names)
	if err != nil {
		return nil, err
	}
	a := &Authorization{
		class: z.Class(), Repository: p.Repository(), Version: z.Version.Number,
		Caller: z.Run.Identity(), Tag: z.Tag, Commit: z.Commit,
	}
	for i, d := range z.Decisions {
		r := Release{Decision: d}
		if i < len(z.Subjects) {
			r.Name, r.Digests = z.Subjects[i].Arg, z.Subjects[i].Digests
		}
		a.Releases = append(a.Releases, r)
	}
	return a, nil
}
