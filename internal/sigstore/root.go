// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxRootBytes is the largest trusted root that is read.
const MaxRootBytes = bundle.MaxRootBytes

// Root is one Sigstore trusted root: certificate authorities, CT logs,
// transparency logs and time stamp authorities that belong together. Bundles
// are verified under one root alone, never under a union of several. A Root may
// be used by several goroutines.
type Root struct {
	name     string
	digest   policy.Digest
	data     []byte             // its file
	logs, ct map[string]*logKey // by hex id
	cas      []*authority
	stampers []*stamper
	private  *private // certificate authorities that are no Fulcio; nil without any
}

const mediaTypeRoot = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"

// ParseRoot reads a trusted_root.json. Name is how the root is called in
// messages. The error is an [*Error] with reason TrustRootInvalid.
//
// Format: https://github.com/sigstore/protobuf-specs, TrustedRoot v0.1.
func ParseRoot(name string, data []byte) (*Root, error) {
	r, err := readRoot(data)
	if err != nil {
		return nil, &Error{policy.TrustRootInvalid, err}
	}
	sum := sha256.Sum256(data)
	r.name, r.data = name, bytes.Clone(data)
	r.digest = policy.Digest{Alg: "sha256", Hex: hex.EncodeToString(sum[:])}
	return r, nil
}

func readRoot(data []byte) (*Root, error) {
	form, err := bundle.ParseTrustedRoot(data)
	if err != nil {
		return nil, err
	}
	if form.MediaType != mediaTypeRoot {
		return nil, fmt.Errorf("trusted root of the media type %q", form.MediaType)
	}
	r := &Root{}
	if r.logs, err = readLogs(form.Logs); err != nil {
		return nil, err
	}
	if r.ct, err = readLogs(form.CTLogs); err != nil {
		return nil, err
	}
	for _, a := range form.Fulcio {
		ca, err := newAuthority(a)
		if err != nil {
			return nil, fmt.Errorf("certificate authority %s: %w", a.URI, err)
		}
		r.cas = append(r.cas, ca)
	}
	for _, a := range form.Stampers {
		s, err := newStamper(a)
		if err != nil {
			return nil, fmt.Errorf("time stamp authority %s: %w", a.URI, err)
		}
		r.stampers = append(r.stampers, s)
	}
	return r, nil
}

// authorityChain reads the certificates of an authority.
func authorityChain(a *bundle.Authority) (out []*x509.Certificate, err error) {
	if len(a.Chain) == 0 {
		return nil, errors.New("no certificates")
	}
	for _, raw := range a.Chain {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// window returns the bounds of a window, zero for none.
func window(w *bundle.Window) (start, end time.Time) {
	if w == nil {
		return start, end
	}
	return w.Start, w.End
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
		for _, a := range r.cas {
			for _, i := range a.issuers {
				out[string(i.cert.RawSubjectPublicKeyInfo)] = true
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

// authority verifies leaf certificates under one CA of a trusted root. It verifies the issuers' own
// chain once instead of for every leaf: that chain never changes, and a P-384
// verification is most of the cost of a bundle.
type authority struct {
	root       *x509.Certificate
	between    []*x509.Certificate
	start, end time.Time // zero for no bound
	issuers    []*issuer
	plain      bool // name constraints, which are applied to each leaf
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

// newAuthority reads a certificate authority of a trusted root, whose root is last.
func newAuthority(in *bundle.Authority) (*authority, error) {
	certs, err := authorityChain(in)
	if err != nil {
		return nil, err
	}
	a := &authority{root: certs[len(certs)-1], between: certs[:len(certs)-1]}
	a.start, a.end = window(in.Valid)
	for _, c := range certs {
		i := &issuer{cert: c, pool: x509.NewCertPool()}
		i.pool.AddCert(c)
		a.issuers = append(a.issuers, i)
		a.plain = a.plain ||
			len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains)+len(c.PermittedIPRanges)+len(c.ExcludedIPRanges)+
				len(c.PermittedEmailAddresses)+len(c.ExcludedEmailAddresses)+len(c.PermittedURIDomains)+
				len(c.ExcludedURIDomains) > 0
	}
	return a, nil
}

var codeSigning = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}

// Verify returns a path from a signer's certificate to the root that is as
// [checkProfile] and [pki.CheckPath] want it at t. Whoever builds a
// path, these look at it.
func (a *authority) Verify(leaf *x509.Certificate, t time.Time) ([]*x509.Certificate, error) {
	if err := checkProfile(leaf); err != nil {
		return nil, err
	}
	return a.path(leaf, t)
}

// path is Verify for a certificate whose profile was checked.
func (a *authority) path(leaf *x509.Certificate, t time.Time) ([]*x509.Certificate, error) {
	if !a.start.IsZero() && t.Before(a.start) {
		return nil, errors.New("signed before the certificate authority was trusted")
	}
	if !a.end.IsZero() && t.After(a.end) {
		return nil, errors.New("signed after the certificate authority was trusted")
	}
	paths, err := a.paths(leaf, t)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err = pki.CheckPath(p, t); err == nil {
			return p, nil
		}
	}
	return nil, err
}

// paths builds paths from the leaf to the root, by signatures that were verified.
func (a *authority) paths(leaf *x509.Certificate, t time.Time) ([][]*x509.Certificate, error) {
	if a.plain {
		return a.build(handled(leaf), t)
	}
	err := errors.New("issued by another certificate authority")
	for _, i := range a.issuers {
		if !bytes.Equal(leaf.RawIssuer, i.cert.RawSubject) {
			continue
		}
		chains, unusual := i.verified(a)
		if unusual != nil {
			return a.build(handled(leaf), t)
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

// build verifies a certificate and all above it at t (RFC 5280, section 6).
func (a *authority) build(cert *x509.Certificate, t time.Time) ([][]*x509.Certificate, error) {
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.root)
	for _, c := range a.between {
		inter.AddCert(c)
	}
	return cert.Verify(x509.VerifyOptions{CurrentTime: t, Roots: roots, Intermediates: inter, KeyUsages: codeSigning})
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
func (i *issuer) verified(a *authority) ([][]*x509.Certificate, error) {
	i.once.Do(func() {
		at := a.root.NotBefore
		if i.cert.NotBefore.After(at) {
			at = i.cert.NotBefore
		}
		i.chains, i.err = a.build(i.cert, at)
	})
	return i.chains, i.err
}
