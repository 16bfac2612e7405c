// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// Foreign says that nothing in the bundle is of the instance that the root is about: neither a
// certificate authority nor a log of it. It is "" for a bundle of which something is, whatever
// is wrong with it. It is a hint for messages, as nothing is verified.
func (b *Bundle) Foreign(r *Root) string {
	for _, e := range b.entries {
		if r.material.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))] != nil {
			return ""
		}
	}
	if b.leaf == nil {
		if len(b.entries) == 0 {
			return ""
		}
		return "its log is not in the trusted root " + r.name
	}
	if slices.ContainsFunc(r.cas, func(ca root.CertificateAuthority) bool { return named(ca, b.leaf) }) {
		return ""
	}
	issuer := b.leaf.Issuer.CommonName
	if o := strings.Join(b.leaf.Issuer.Organization, " "); o != "" {
		issuer = strings.TrimSpace(o + " " + issuer)
	}
	return fmt.Sprintf("its certificate was issued by %q, which is not in the trusted root %s", clip.Text(issuer), r.name)
}

// named reports whether a certificate says that it was issued by the authority.
func named(ca root.CertificateAuthority, leaf *x509.Certificate) bool {
	a, ok := ca.(*authority)
	return ok && slices.ContainsFunc(a.issuers, func(i *issuer) bool {
		return bytes.Equal(i.cert.RawSubject, leaf.RawIssuer) &&
			(len(leaf.AuthorityKeyId) == 0 || bytes.Equal(i.cert.SubjectKeyId, leaf.AuthorityKeyId))
	})
}

// OfGitHub reports whether the bundle says that GitHub's own instance made it, which signs what
// GitHub records of releases and what private repositories attest.
func (b *Bundle) OfGitHub() bool {
	return b.leaf != nil && slices.Equal(b.leaf.Issuer.Organization, []string{"GitHub, Inc."})
}
