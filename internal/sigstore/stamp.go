// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto/x509"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// stamper verifies time stamps of one authority of a trusted root. It does what
// root.SigstoreTimestampingAuthority does, but verifies the chain of the
// authority's own certificate once instead of for every stamp: the trusted root
// names that certificate, and beside its chain's windows nothing about it depends
// on the moment.
type stamper struct {
	lib  *root.SigstoreTimestampingAuthority
	once sync.Once
	// direct ends the chain at the authority's certificate; nil if its chain is
	// for the library to judge.
	direct              *root.SigstoreTimestampingAuthority
	notBefore, notAfter time.Time // of the whole chain
}

var timeStamping = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}

// Verify implements root.TimestampingAuthority. What the short way does not take
// is decided by the library.
func (s *stamper) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	s.once.Do(s.build)
	if s.direct != nil {
		if t, err := s.direct.Verify(stamp, signature); err == nil && !t.Time.Before(s.notBefore) &&
			!t.Time.After(s.notAfter) {
			return t, nil
		}
	}
	return s.lib.Verify(stamp, signature)
}

func (s *stamper) build() {
	if s.lib.Leaf == nil || s.lib.Root == nil {
		return
	}
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(s.lib.Root)
	at := s.lib.Leaf.NotBefore
	for _, c := range append([]*x509.Certificate{s.lib.Root}, s.lib.Intermediates...) {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	for _, c := range s.lib.Intermediates {
		inter.AddCert(c)
	}
	chains, err := s.lib.Leaf.Verify(x509.VerifyOptions{
		CurrentTime: at, Roots: roots, Intermediates: inter, KeyUsages: timeStamping,
	})
	if err != nil {
		return
	}
	s.notBefore, s.notAfter = s.lib.Leaf.NotBefore, s.lib.Leaf.NotAfter
	for _, c := range chains[0] {
		if c.NotBefore.After(s.notBefore) {
			s.notBefore = c.NotBefore
		}
		if c.NotAfter.Before(s.notAfter) {
			s.notAfter = c.NotAfter
		}
	}
	direct := *s.lib
	direct.Root, direct.Intermediates = s.lib.Leaf, nil
	s.direct = &direct
}
