// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/timestamp"
)

// stamper verifies time stamps of one authority of a trusted root. The chain of the certificate that
// the root names is verified once instead of for every stamp: beside its windows nothing about it
// depends on the moment.
type stamper struct {
	uri        string
	root, leaf *x509.Certificate // nil if the trusted root does not name them
	between    []*x509.Certificate
	start, end time.Time // zero for no bound

	once                sync.Once
	chained             bool      // the chain of the leaf verifies within these:
	notBefore, notAfter time.Time // of the whole chain
}

var (
	timeStamping = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}
	oidEKU       = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// newStamper reads an authority of a trusted root: its own certificate first, if it is no authority
// over certificates, its root last.
func newStamper(a *bundle.Authority) (*stamper, error) {
	certs, err := authorityChain(a)
	if err != nil {
		return nil, err
	}
	s := &stamper{uri: a.URI}
	s.start, s.end = window(a.Valid)
	for i, c := range certs {
		switch {
		case i == 0 && !c.IsCA:
			s.leaf = c
		case i == len(certs)-1:
			s.root = c
		default:
			s.between = append(s.between, c)
		}
	}
	return s, nil
}

// Verify returns the time of a stamp (DER of a TimeStampResp) that the authority made of data.
func (s *stamper) Verify(stamp, data []byte) (time.Time, error) {
	t, err := timestamp.Parse(stamp)
	if err != nil {
		return time.Time{}, err
	}
	return s.verify(t, data)
}

func (s *stamper) verify(t *timestamp.Token, data []byte) (time.Time, error) {
	none := time.Time{}
	if s.root == nil {
		return none, errors.New("the trusted root does not name the root of the authority")
	}
	signer, others, err := s.signer(t)
	if err != nil {
		return none, err
	}
	if err := checkStamper(signer); err != nil {
		return none, err
	}
	if err := t.Verify(signer, data); err != nil {
		return none, err
	}
	if err := s.chain(signer, others, t.Time); err != nil {
		return none, err
	}
	if !s.start.IsZero() && t.Time.Before(s.start) || !s.end.IsZero() && t.Time.After(s.end) {
		return none, errors.New("stamped when the authority was not trusted")
	}
	return t.Time, nil
}

// signer returns the certificate that signed: the one that the trusted root names, which is also
// that of the stamp if it carries any, or else the stamp's own. Others are those that the stamp
// carries and the root does not name.
func (s *stamper) signer(t *timestamp.Token) (signer *x509.Certificate, others []*x509.Certificate, err error) {
	named := s.leaf != nil && len(t.Certificates) == 0
	for _, raw := range t.Certificates {
		if s.leaf != nil && bytes.Equal(raw, s.leaf.Raw) {
			named = true
			continue
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, nil, err
		}
		others = append(others, c)
	}
	if s.leaf != nil {
		if !named || slices.ContainsFunc(others, t.By) {
			return nil, nil, errors.New("stamped with another certificate than the trusted root names")
		}
		return s.leaf, others, nil
	}
	if i := slices.IndexFunc(others, t.By); i >= 0 {
		return others[i], others, nil
	}
	return nil, nil, errors.New("the certificate of the authority is missing")
}

// checkStamper refuses a certificate that is not one for time stamps alone (RFC 3161, section 2.3).
func checkStamper(c *x509.Certificate) error {
	critical := slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidEKU) && e.Critical })
	if c.IsCA || !critical || len(c.UnknownExtKeyUsage) > 0 || !slices.Equal(c.ExtKeyUsage, timeStamping) {
		return errors.New("the certificate of the authority is not one for time stamps alone")
	}
	return nil
}

// chain verifies the path from the signer to the root at the moment of the stamp.
func (s *stamper) chain(signer *x509.Certificate, others []*x509.Certificate, at time.Time) error {
	if signer == s.leaf {
		s.once.Do(s.build)
		if s.chained && !at.Before(s.notBefore) && !at.After(s.notAfter) {
			return nil
		}
	}
	_, err := s.paths(signer, others, at)
	return err
}

func (s *stamper) paths(
	signer *x509.Certificate, others []*x509.Certificate, at time.Time,
) ([][]*x509.Certificate, error) {
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(s.root)
	for _, c := range slices.Concat(s.between, others) {
		inter.AddCert(c)
	}
	return signer.Verify(x509.VerifyOptions{
		CurrentTime: at, Roots: roots, Intermediates: inter, KeyUsages: timeStamping,
	})
}

func (s *stamper) build() {
	at := s.leaf.NotBefore
	for _, c := range append([]*x509.Certificate{s.root}, s.between...) {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	chains, err := s.paths(s.leaf, nil, at)
	if err != nil {
		return
	}
	s.chained, s.notBefore, s.notAfter = true, s.leaf.NotBefore, s.leaf.NotAfter
	for _, c := range chains[0] {
		if c.NotBefore.After(s.notBefore) {
			s.notBefore = c.NotBefore
		}
		if c.NotAfter.Before(s.notAfter) {
			s.notAfter = c.NotAfter
		}
	}
}

// name tells the authorities of a root apart, which may be two by one address: one that
// lies says nothing about another.
func (s *stamper) name() string {
	cert := s.leaf
	if cert == nil {
		cert = s.root
	}
	return strings.TrimSpace(s.uri + " (certificate " + spelling.Sum(cert.Raw)[:12] + ")")
}

// stampOver returns the time that a stamp proves, and which authority of the root says so.
func (r *Root) stampOver(stamp, data []byte) (time.Time, *stamper, error) {
	if len(r.stampers) == 0 {
		return time.Time{}, nil, errors.New("the trusted root names no time stamp authority")
	}
	t, err := timestamp.Parse(stamp)
	if err != nil {
		return time.Time{}, nil, err
	}
	for _, s := range r.stampers {
		var at time.Time
		if at, err = s.verify(t, data); err == nil {
			return at, s, nil
		}
	}
	return time.Time{}, nil, err
}
