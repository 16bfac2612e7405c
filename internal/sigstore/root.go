// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxRootBytes is the largest trusted root that is read.
const MaxRootBytes = 4 << 20

// maxRootValues is how many JSON values it has at most; see maxValues.
const maxRootValues = 50_000

// Root is one Sigstore trusted root: certificate authorities, CT logs,
// transparency logs and time stamp authorities that belong together. Bundles
// are verified under one root alone, never under a union of several. A Root may
// be used by several goroutines.
type Root struct {
	name     string
	digest   policy.Digest
	data     []byte // its file
	material *root.TrustedRoot
	cas      []root.CertificateAuthority
	stampers []root.TimestampingAuthority
	private  *private // certificate authorities that are no Fulcio; nil without any
}

// ParseRoot reads a trusted_root.json. Name is how the root is called in
// messages. The error is an [*Error] with reason TrustRootInvalid.
func ParseRoot(name string, data []byte) (*Root, error) {
	if len(data) > MaxRootBytes {
		return nil, refuse(policy.TrustRootInvalid, "trusted root of %d bytes, at most %d are read", len(data), MaxRootBytes)
	}
	if n := strictjson.Size(data); n > maxRootValues {
		return nil, refuse(policy.TrustRootInvalid, "a trusted root of some %d values, at most %d are read", n, maxRootValues)
	}
	tr, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, &Error{policy.TrustRootInvalid, errors.New(cleanProto(err))}
	}
	sum := sha256.Sum256(data)
	r := &Root{
		name: name, digest: policy.Digest{Alg: "sha256", Hex: hex.EncodeToString(sum[:])}, data: bytes.Clone(data),
		material: tr,
	}
	for _, ca := range tr.FulcioCertificateAuthorities() {
		f, ok := ca.(*root.FulcioCertificateAuthority)
		if !ok {
			return nil, refuse(policy.TrustRootInvalid, "unknown kind of certificate authority %T", ca)
		}
		if f.Root == nil {
			return nil, refuse(policy.TrustRootInvalid, "a certificate authority without certificates")
		}
		r.cas = append(r.cas, newAuthority(f))
	}
	for _, a := range tr.TimestampingAuthorities() {
		if s, ok := a.(*root.SigstoreTimestampingAuthority); ok {
			a = &stamper{lib: s}
		}
		r.stampers = append(r.stampers, a)
	}
	return r, nil
}

// Name returns how the root is called.
func (r *Root) Name() string { return r.name }

// Digest returns the SHA-256 of the root's file.
func (r *Root) Digest() policy.Digest { return r.digest }

// Bytes returns the root's file, which must not be changed.
func (r *Root) Bytes() []byte { return r.data }

// Shares reports whether a key of a certificate authority is one of both roots: whoever has it
// certifies under either, so that they are no two that have to agree.
func (r *Root) Shares(other *Root) bool {
	keys := func(r *Root) map[string]bool {
		out := map[string]bool{}
		for _, a := range r.PKI().All() {
			for _, c := range a.Certificates() {
				out[string(c.RawSubjectPublicKeyInfo)] = true
			}
		}
		for _, ca := range r.cas {
			if a, ok := ca.(*authority); ok {
				for _, i := range a.issuers {
					out[string(i.cert.RawSubjectPublicKeyInfo)] = true
				}
			}
		}
		return out
	}
	theirs := keys(other)
	for k := range keys(r) {
		if theirs[k] {
			return true
		}
	}
	return false
}

// trusted is the root as sigstore-go sees it, with our authorities and, for a
// bundle signed with a bare key, that key.
type trusted struct {
	*root.TrustedRoot
	cas      []root.CertificateAuthority
	stampers []root.TimestampingAuthority
	key      *Key
	alg      keys.Algorithm // of the key, or of a certificate's that is not Fulcio's; else none
	private  bool           // a certificate that is not Fulcio's
}

func (t *trusted) FulcioCertificateAuthorities() []root.CertificateAuthority { return t.cas }
func (t *trusted) TimestampingAuthorities() []root.TimestampingAuthority     { return t.stampers }

func (t *trusted) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	if t.key == nil {
		return nil, errors.New("no key is trusted")
	}
	return t.key.expiring, nil
}

// authority verifies leaf certificates under one CA of a trusted root. It does
// what root.FulcioCertificateAuthority does, but verifies the issuers' own
// chain once instead of for every leaf: that chain never changes, and a P-384
// verification is most of the cost of a bundle.
type authority struct {
	ca      *root.FulcioCertificateAuthority
	issuers []*issuer
	plain   bool // name constraints: leave everything to the library
}

type issuer struct {
	cert   *x509.Certificate
	pool   *x509.CertPool
	once   sync.Once
	chains [][]*x509.Certificate // issuer first, root last
	err    error

	mu     sync.Mutex
	issued map[[sha256.Size]byte]bool // certificates that were verified, by their hash
}

// maxIssued bounds what an issuer remembers: one certificate stands in the
// bundles of both generations of the log.
const maxIssued = 4096

func newAuthority(ca *root.FulcioCertificateAuthority) *authority {
	a := &authority{ca: ca}
	for _, c := range append(append([]*x509.Certificate{}, ca.Intermediates...), ca.Root) {
		i := &issuer{cert: c, pool: x509.NewCertPool()}
		i.pool.AddCert(c)
		a.issuers = append(a.issuers, i)
		a.plain = a.plain ||
			len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains)+len(c.PermittedIPRanges)+len(c.ExcludedIPRanges)+
				len(c.PermittedEmailAddresses)+len(c.ExcludedEmailAddresses)+len(c.PermittedURIDomains)+
				len(c.ExcludedURIDomains) > 0
	}
	return a
}

var codeSigning = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}

// Verify returns the paths from a signer's certificate to the root that are as
// [checkProfile] and [pki.CheckPath] want them at t, at least one. Whoever builds a
// path, these look at it.
func (a *authority) Verify(leaf *x509.Certificate, t time.Time) ([][]*x509.Certificate, error) {
	if err := checkProfile(leaf); err != nil {
		return nil, err
	}
	if s := a.ca.ValidityPeriodStart; !s.IsZero() && t.Before(s) {
		return nil, errors.New("signed before the certificate authority was trusted")
	}
	if e := a.ca.ValidityPeriodEnd; !e.IsZero() && t.After(e) {
		return nil, errors.New("signed after the certificate authority was trusted")
	}
	paths, err := a.paths(leaf, t)
	if err != nil {
		return nil, err
	}
	var out [][]*x509.Certificate
	for _, p := range paths {
		if err = pki.CheckPath(p, t); err == nil {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}

// paths builds paths from the leaf to the root, by signatures that were verified.
func (a *authority) paths(leaf *x509.Certificate, t time.Time) ([][]*x509.Certificate, error) {
	if a.plain {
		return a.ca.Verify(handled(leaf), t)
	}
	err := errors.New("issued by another certificate authority")
	for _, i := range a.issuers {
		if !bytes.Equal(leaf.RawIssuer, i.cert.RawSubject) {
			continue
		}
		chains, unusual := i.verified(a.ca)
		if unusual != nil {
			return a.ca.Verify(handled(leaf), t)
		}
		if err = i.verify(leaf, t); err != nil {
			continue
		}
		var out [][]*x509.Certificate
		for _, c := range chains {
			out = append(out, append([]*x509.Certificate{leaf}, c...))
		}
		return out, nil
	}
	return nil, err
}

// verify verifies that the issuer issued a certificate that is valid at t. Of
// one that was verified only that moment is another.
func (i *issuer) verify(leaf *x509.Certificate, t time.Time) error {
	sum := sha256.Sum256(leaf.Raw)
	i.mu.Lock()
	known := i.issued[sum]
	i.mu.Unlock()
	if known && !t.Before(leaf.NotBefore) && !t.After(leaf.NotAfter) {
		return nil
	}
	if _, err := handled(leaf).Verify(x509.VerifyOptions{
		CurrentTime: t, Roots: i.pool, KeyUsages: codeSigning,
	}); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.issued == nil || len(i.issued) >= maxIssued {
		i.issued = map[[sha256.Size]byte]bool{}
	}
	i.issued[sum] = true
	return nil
}

// verified returns the issuer's chains up to the root, verified once.
func (i *issuer) verified(ca *root.FulcioCertificateAuthority) ([][]*x509.Certificate, error) {
	i.once.Do(func() {
		roots, inter := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(ca.Root)
		at := ca.Root.NotBefore
		for _, c := range ca.Intermediates {
			inter.AddCert(c)
		}
		if i.cert.NotBefore.After(at) {
			at = i.cert.NotBefore
		}
		chains, err := i.cert.Verify(x509.VerifyOptions{
			CurrentTime: at, Roots: roots, Intermediates: inter, KeyUsages: codeSigning,
		})
		if err != nil {
			i.err = err
			return
		}
		i.chains = chains
	})
	return i.chains, i.err
}
