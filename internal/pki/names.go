// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// speaksFor reads which kinds of names the authority certifies, and in which domains.
func (a *Authority) speaksFor(names, domains []string) error {
	for _, n := range names {
		k := policy.Kind(n)
		if k != policy.KindEmail && k != policy.KindURI || slices.Contains(a.kinds, k) {
			return fmt.Errorf(`names: %q is not "email" or "uri", or stands twice`, clip.Text(n))
		}
		a.kinds = append(a.kinds, k)
	}
	for _, d := range domains {
		if err := spelling.CheckHost(strings.TrimPrefix(d, ".")); err != nil {
			return fmt.Errorf("domains: %q: %w; .acme.example stands for what is below acme.example", clip.Text(d), err)
		}
		if slices.Contains(a.domains, d) {
			return fmt.Errorf("domains: %q stands twice", d)
		}
		a.domains = append(a.domains, d)
	}
	if len(a.kinds) == 0 || len(a.domains) == 0 || len(a.domains) > maxDomains {
		return fmt.Errorf("an authority has names, and 1 to %d domains", maxDomains)
	}
	return nil
}

// covers refuses a name that the authority may not certify.
func (a *Authority) covers(kind policy.Kind, name string) error {
	if !slices.Contains(a.kinds, kind) {
		return fmt.Errorf("%s does not certify names of the kind %s", a.Issuer, kind)
	}
	host, err := hostOf(kind, name)
	if err != nil {
		return err
	}
	for _, d := range a.domains {
		if below, ok := strings.CutPrefix(d, "."); ok && strings.HasSuffix(host, d) && host != below || host == d {
			return nil
		}
	}
	return fmt.Errorf("%s does not speak for the domain %s", a.Issuer, clip.Text(host))
}

// hostOf returns the host of a name in lower case.
func hostOf(kind policy.Kind, name string) (string, error) {
	host, why := "", errors.New("a URI with a scheme, a host and no user information")
	if kind == policy.KindEmail {
		local, domain, _ := strings.Cut(name, "@")
		if host, why = domain, errors.New("an e-mail address"); local == "" {
			host = ""
		}
	} else if scheme, rest, ok := strings.Cut(name, "://"); ok && scheme != "" {
		host = rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			host = rest[:i]
		}
		if before, port, ok := strings.Cut(host, ":"); ok && port != "" && strings.Trim(port, "0123456789") == "" {
			host = before
		}
	}
	host = spelling.LowerASCII(host)
	if spelling.CheckHost(host) != nil {
		return "", fmt.Errorf("the name %q is not %w", clip.Text(name), why)
	}
	return host, nil
}
