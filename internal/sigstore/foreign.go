// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// Foreign says that nothing in the bundle is of the instance that the root is about: neither a
// certificate authority nor a log of it. It is "" for a bundle of which something is, whatever
// is wrong with it. It is a hint for messages, as nothing is verified.
func (b *Bundle) Foreign(r *Root) string {
	for _, e := range b.entries {
		if r.logs[e.log] != nil {
			return ""
		}
	}
	if b.leaf == nil {
		if len(b.entries) == 0 {
			return ""
		}
		return "its log is not in the trusted root " + r.name
	}
	if slices.ContainsFunc(r.cas, func(a *authority) bool { return a.named(b.leaf) }) {
		return ""
	}
	issuer := b.leaf.Issuer.CommonName
	if o := strings.Join(b.leaf.Issuer.Organization, " "); o != "" {
		issuer = strings.TrimSpace(o + " " + issuer)
	}
	return fmt.Sprintf("its certificate was issued by %q, which is not in the trusted root %s", clip.Text(issuer), r.name)
}

// named reports whether a certificate says that it was issued by the authority.
func (a *authority) named(leaf *x509.Certificate) bool {
	return slices.ContainsFunc(a.issuers, func(i *issuer) bool {
		return bytes.Equal(i.cert.RawSubject, leaf.RawIssuer) &&
			(len(leaf.AuthorityKeyId) == 0 || bytes.Equal(i.cert.SubjectKeyId, leaf.AuthorityKeyId))
	})
}

// OfGitHub reports whether the bundle says that GitHub's own instance made it, which signs what
// GitHub records of releases and what private repositories attest.
func (b *Bundle) OfGitHub() bool {
	return b.leaf != nil && slices.Equal(b.leaf.Issuer.Organization, []string{"GitHub, Inc."})
}
