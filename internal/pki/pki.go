// SPDX-License-Identifier: Apache-2.0

// Package pki judges certificates of certificate authorities that a trust root names beside
// Fulcio: an organisation's own (SPEC 17.5). Bytes and a moment in, values out.
package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// The targets of a trust root, and how much of them is read.
const (
	Target      = "repopolicy/pki.json"
	CRLTargets  = "repopolicy/crl/" // and the name of a list of revoked certificates
	MaxBytes    = 1 << 20
	MaxCRLBytes = 4 << 20
	maxCRLSum   = 8 << 20

	maxAuthorities  = 16
	maxCertificates = 16
	maxCRLs         = 16
	maxDomains      = 256
	maxDERBytes     = 64 << 10

	schema = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/pki-v1.json"
)

// Error is why a certificate counts for nothing.
type Error struct {
	Reason policy.Reason
	Err    error
}

// Error returns the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(r policy.Reason, format string, args ...any) *Error {
	return &Error{r, fmt.Errorf(format, args...)}
}

// document is the target, as pki-v1.json describes it.
type document struct {
	Schema      string      `json:"schema"`
	Authorities []authority `json:"authorities"`
}

type authority struct {
	Issuer       string   `json:"issuer"`
	Certificates string   `json:"certificates"` // PEM
	Names        []string `json:"names"`
	Domains      []string `json:"domains"`
	Revocation   string   `json:"revocation"`
	CRLs         []string `json:"crls"`
	KeepsExpired bool     `json:"keeps-expired"`
	Since        string   `json:"since"`
	Until        string   `json:"until"`
}

// Authorities are the certificate authorities of a trust root. Of their lists of revoked
// certificates nothing is known; see [Authorities.Current].
type Authorities struct {
	list []*Authority
	data []byte
}

// Authority is one certificate authority, which certifies under one issuer.
type Authority struct {
	Issuer string // "pki:" and a name

	certs        []*x509.Certificate // the roots first
	roots        int                 // how many of them those are
	rootPool     *x509.CertPool
	between      *x509.CertPool
	kinds        []policy.Kind
	domains      []string
	since, until time.Time // zero for no bound
	unrevoked    bool      // it revokes nothing, as the trust root says
	keepsExpired bool
	crls         []string // names
	lists        []*list  // those that count now
	faults       []string // why others do not
}

// Parse reads the target [Target]. Unknown, repeated and misspelt members, an issuer that stands
// twice, certificates that are not of one authority or that cannot be judged, and a key that two
// authorities share are errors: the document is taken as a whole or not at all.
func Parse(data []byte) (*Authorities, error) {
	var doc document
	if err := strictjson.Document(data, MaxBytes, &doc, "schema", "authorities", "issuer", "certificates", "names",
		"domains", "revocation", "crls", "keeps-expired", "since", "until"); err != nil {
		return nil, err
	}
	if doc.Schema != schema {
		return nil, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), schema)
	}
	if n := len(doc.Authorities); n == 0 || n > maxAuthorities {
		return nil, fmt.Errorf("%d authorities, 1 to %d are read", n, maxAuthorities)
	}
	out := &Authorities{data: bytes.Clone(data)}
	crls := map[string]bool{}
	for i, d := range doc.Authorities {
		a, err := d.read()
		if err == nil {
			err = out.add(a, crls)
		}
		if err != nil {
			return nil, fmt.Errorf("authorities[%d] %q: %w", i, clip.Text(d.Issuer), err)
		}
	}
	return out, nil
}

// add adds an authority that has nothing in common with those before it.
func (l *Authorities) add(a *Authority, crls map[string]bool) error {
	for _, o := range l.list {
		if o.Issuer == a.Issuer {
			return errors.New("the issuer stands twice")
		}
		for _, c := range a.certs {
			if o.has(c) {
				return fmt.Errorf("the key of %q is one of %s, too: two issuers that one key speaks for are one",
					clip.Text(c.Subject.String()), o.Issuer)
			}
		}
	}
	for _, name := range a.crls {
		if crls[name] {
			return fmt.Errorf("the list %q stands twice", name)
		}
		crls[name] = true
	}
	l.list = append(l.list, a)
	return nil
}

// has reports whether the key of a certificate is one of the authority.
func (a *Authority) has(c *x509.Certificate) bool {
	return slices.ContainsFunc(a.certs, func(o *x509.Certificate) bool { return keys.Same(o.PublicKey, c.PublicKey) })
}

// read returns what the document says of one authority.
func (d *authority) read() (*Authority, error) {
	a := &Authority{Issuer: d.Issuer, keepsExpired: d.KeepsExpired, crls: d.CRLs}
	if err := spelling.CheckPKI(d.Issuer); err != nil {
		return nil, err
	}
	if err := a.speaksFor(d.Names, d.Domains); err != nil {
		return nil, err
	}
	if err := a.revokes(d); err != nil {
		return nil, err
	}
	var err error
	if a.since, err = moment("since", d.Since); err != nil {
		return nil, err
	}
	if a.until, err = moment("until", d.Until); err != nil {
		return nil, err
	}
	if !a.since.IsZero() && !a.until.IsZero() && !a.since.Before(a.until) {
		return nil, errors.New("since is not before until")
	}
	certs, err := certificates([]byte(d.Certificates))
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return a, a.arrange(certs)
}

// moment reads a bound in RFC 3339; zero for none.
func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || spelling.Stamp(t) != text {
		return time.Time{}, fmt.Errorf("%s: %q is not a time such as 2026-11-22T00:00:00Z", name, clip.Text(text))
	}
	return t, nil
}

// revokes reads how the authority says which of its certificates count no more.
func (a *Authority) revokes(d *authority) error {
	switch d.Revocation {
	case "none":
		if len(d.CRLs) > 0 || d.KeepsExpired {
			return errors.New(`revocation "none" has neither crls nor keeps-expired`)
		}
		a.unrevoked = true
	case "crl":
		if n := len(d.CRLs); n == 0 || n > maxCRLs {
			return fmt.Errorf(`revocation "crl" has %d crls, 1 to %d are read`, n, maxCRLs)
		}
	default:
		return errors.New(`revocation is "crl", with crls, or "none"`)
	}
	for i, name := range d.CRLs {
		if name == "" || len(name) > 128 || name[0] == '.' || slices.Contains(d.CRLs[:i], name) ||
			bytes.ContainsFunc([]byte(name), func(r rune) bool { return !nameRune(r) }) {
			return fmt.Errorf("crls: %q is no name of a target below %s, or stands twice", clip.Text(name), CRLTargets)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

// All returns the authorities in the order of the document; none of nil.
func (l *Authorities) All() []*Authority {
	if l == nil {
		return nil
	}
	return l.list
}

// Bytes returns the document, which must not be changed; nil without one.
func (l *Authorities) Bytes() []byte {
	if l == nil {
		return nil
	}
	return l.data
}

// Certificates returns those of the authority, the roots first. They must not be changed.
func (a *Authority) Certificates() []*x509.Certificate { return a.certs }

// CRLs returns the targets with the authority's lists of revoked certificates.
func (a *Authority) CRLs() []string {
	var out []string
	for _, name := range a.crls {
		out = append(out, CRLTargets+name)
	}
	return out
}

// Of returns the authority whose key signed a certificate; nil if none did. Whether the
// certificate counts is another question: see [Authority.Identity] and [Authority.Paths].
func (l *Authorities) Of(leaf *x509.Certificate) *Authority {
	for _, a := range l.All() {
		if slices.ContainsFunc(a.certs, func(c *x509.Certificate) bool { return signed(c, leaf) }) {
			return a
		}
	}
	return nil
}

// signed reports whether the key of one certificate signed another that names it as its issuer.
func signed(issuer, c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, issuer.RawSubject) &&
		issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}
