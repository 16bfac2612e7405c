// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/repopolicy/repopolicy/sandbox/internal/fulcio"
	"github.com/repopolicy/repopolicy/sandbox/internal/rekor"
	"github.com/repopolicy/repopolicy/sandbox/internal/tsa"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// Misbehave makes a service misbehave until undo is called. It is an error for a
// fault that the service cannot have.
func (s *Stack) Misbehave(service Service, f malice.Fault) (undo func() error, err error) {
	switch f := f.(type) {
	case malice.ExpiredKey:
		return s.expire(service)
	case malice.RotatedKey:
		return s.rotateKey(service)
	case malice.Fork:
		return s.fork(service, f.Victim)
	case malice.Aged:
		if service != Fulcio {
			return nil, fmt.Errorf("sandbox: %s issues no certificates", service)
		}
		s.fulcio.Age(f.By)
		return func() error { s.fulcio.Age(0); return nil }, nil
	case malice.Withhold:
		if service != Forge {
			return nil, fmt.Errorf("sandbox: %s has no refs", service)
		}
		return s.forge.Hide(f.Ref), nil
	}
	e, err := s.at(service)
	if err != nil {
		return nil, err
	}
	return e.misbehave(f)
}

func (s *Stack) at(service Service) (*endpoint, error) {
	if service == Rekor {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sh := s.current(); sh != nil {
			return sh.at, nil
		}
	}
	e, ok := s.endpoints[service]
	if !ok {
		return nil, fmt.Errorf("sandbox: no service %q", service)
	}
	return e, nil
}

func (s *Stack) expire(service Service) (func() error, error) {
	set := func(yes bool) error {
		if service == TUF {
			return s.tuf.Expire(yes)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expired[service] = yes
		return s.publish()
	}
	switch service {
	case TUF, Fulcio, TSA, CTLog, Rekor, RekorV1:
		return func() error { return set(false) }, set(true)
	}
	return nil, fmt.Errorf("sandbox: %s has no key that expires", service)
}

func (s *Stack) rotateKey(service Service) (func() error, error) {
	e, err := s.at(service)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	before := e.get()
	var after http.Handler
	switch service {
	case Fulcio:
		// A root of its own: the trusted one would vouch for any intermediate.
		der, err := fulcio.RootCertificate(key, s.epoch())
		if err != nil {
			return nil, err
		}
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		der, err = fulcio.IntermediateCertificate(root, key, key.Public(), s.epoch())
		if err != nil {
			return nil, err
		}
		intermediate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		// No SCT: the certificate transparency log knows the trusted root only.
		rogue, err := s.newFulcio(key, intermediate, root, "")
		if err != nil {
			return nil, err
		}
		after = rogue
	case TSA:
		rootDER, err := fulcio.RootCertificate(key, s.epoch())
		if err != nil {
			return nil, err
		}
		root, err := x509.ParseCertificate(rootDER)
		if err != nil {
			return nil, err
		}
		der, err := tsa.Certify(root, key, key.Public(), s.epoch(), s.root.NotAfter)
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		after = &tsa.TSA{Key: key, Certificate: cert, Root: root, Now: time.Now}
	case Rekor:
		_, logKey, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		if after, err = s.shadow(logKey, ""); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("sandbox: the key of %s cannot be rotated", service)
	}
	return func() error { return e.set(before) }, e.set(after)
}

// fork splits the view of the present shard of Rekor v2.
func (s *Stack) fork(service Service, victim func(*http.Request) bool) (func() error, error) {
	if service != Rekor || victim == nil {
		return nil, errors.New("sandbox: only Rekor v2 can be forked, for somebody")
	}
	e, err := s.at(service)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	sh := s.current()
	s.mu.Unlock()
	other, err := s.shadow(sh.key, sh.path)
	if err != nil {
		return nil, err
	}
	before := e.get()
	return func() error { return e.set(before) }, e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if victim(r) {
			other.ServeHTTP(w, r)
			return
		}
		before.ServeHTTP(w, r)
	}))
}

// shadow runs a log that no trusted root names, from a copy of another one's
// files where from is not empty. It ends with the stack.
func (s *Stack) shadow(key ed25519.PrivateKey, from string) (http.Handler, error) {
	dir, err := os.MkdirTemp(s.dir.Path(), "shadow-")
	if err != nil {
		return nil, err
	}
	if from != "" {
		if err := os.CopyFS(filepath.Join(dir, "tree"), os.DirFS(filepath.Join(from, "tree"))); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var log *rekor.Shard
	err = s.labelled(func() error {
		log, err = s.runLog(dir, key)
		return err
	})
	return log, err
}
