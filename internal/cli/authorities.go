// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// lintAuthority is the code of advice about an issuer that no root of the user's names.
const lintAuthority policy.Reason = "lint-authority"

// unknownAuthorities says which certificate authorities of a policy none of the user's roots names,
// as far as this machine has them: a slip would otherwise be found when nobody can sign.
func (a *app) unknownAuthorities(ctx context.Context, d *policy.Document) []policy.Problem {
	wanted := authoritiesOf(d)
	if len(wanted) == 0 {
		return nil
	}
	known, roots := a.knownAuthorities(ctx)
	var out []policy.Problem
	for _, w := range wanted {
		if slices.Contains(known, w.issuer) {
			continue
		}
		p := policy.Problem{
			Pos: d.Pos(w.path), Path: w.path, Reason: lintAuthority,
			Msg: fmt.Sprintf("no trust root on this machine names the certificate authority %s", w.issuer),
			Hint: "list the root that does in trust.toml, and run `repopolicy trust update`; " +
				"the others judge by it only if theirs does, too",
		}
		if len(known) > 0 {
			p.Msg += fmt.Sprintf(": %s has %s", strings.Join(roots, ", "), strings.Join(known, ", "))
		}
		out = append(out, p)
	}
	return out
}

// placedIssuer is an issuer and where in a policy it stands.
type placedIssuer struct{ path, issuer string }

// authoritiesOf returns the certificate authorities that a policy names, in its order.
func authoritiesOf(d *policy.Document) []placedIssuer {
	var out []placedIssuer
	add := func(path string, all []policy.Principal) {
		for i, p := range all {
			if spelling.IsPKI(p.Issuer) {
				out = append(out, placedIssuer{fmt.Sprintf("%s.identities[%d]", path, i), p.Issuer})
			}
		}
	}
	for i, m := range d.Content().Maintainers.Members {
		add(fmt.Sprintf("maintainers.member[%d]", i), m.Identities)
	}
	for i, r := range d.Content().Rules {
		add(fmt.Sprintf("release[%d]", i), r.Identities)
	}
	return out
}

// knownAuthorities returns the issuers that roots of the user's name, by what is kept of those on
// this machine, and the names of the roots.
func (a *app) knownAuthorities(ctx context.Context) (issuers, roots []string) {
	c, err := a.Finder().TrustConfig((&trustOptions{}).Trust())
	if err != nil || c == nil {
		return nil, nil
	}
	for _, named := range c.Roots {
		r, err := a.Finder().Open(ctx, c, named.Name, trust.Options{Offline: true})
		if err != nil || r.Root == nil || r.PKI() == nil {
			continue
		}
		roots = append(roots, named.Name)
		for _, p := range r.PKI().All() {
			issuers = append(issuers, p.Issuer)
		}
	}
	return issuers, roots
}
