// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// payloadType is the DSSE payload type of every statement.
const payloadType = "application/vnd.in-toto+json"

// paeDigest returns the hex SHA-256 of the DSSE pre-authentication encoding of
// the payload: what a Rekor v2 entry shows of it.
// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
func paeDigest(payload []byte) string {
	head := "DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " "
	return spelling.Sum(append([]byte(head), payload...))
}

// Predicate is what a statement says.
type Predicate struct {
	Repository string
	Version    int
	Previous   string // hex SHA-256 of the previous statement's payload; "" for version 1
	Formerly   string // name that the repository had, or ""
	Policy     string // the policy file's exact text
}

// Statement is one version of a policy as it is signed. It is addressed by its
// content: whoever has the digest of a statement can check the statement itself.
// Nobody vouches for what it says; that is what a [Chain] is about.
type Statement struct {
	digest, pae string
	previous    string
	version     int
	repository  policy.Locator
	formerly    policy.Locator   // zero without
	doc         *policy.Document // nil if the statement cannot be judged
	newer       bool             // because its policy has a newer format
	err         error
}

// Statement returns the statement with the given payload, which must be the
// canonical encoding of p. A statement that can never be part of a chain,
// because its policy is invalid or says something else than the predicate, is
// returned together with an error: its log entries are then known to be void.
// A policy of a newer format is no error.
//
// A payload that is not the encoding of any predicate is unread for a reason: its statement can
// never be part of a chain, either.
func (p Predicate) Statement(payload []byte, unread error) (Statement, error) {
	if unread != nil {
		return Statement{digest: spelling.Sum(payload), pae: paeDigest(payload), err: unread}, unread
	}
	s := Statement{digest: spelling.Sum(payload), pae: paeDigest(payload), previous: p.Previous, version: p.Version}
	s.err = s.read(p)
	if s.err != nil {
		s.doc, s.newer = nil, false
	}
	return s, s.err
}

func (s *Statement) read(p Predicate) error {
	var err error
	if s.repository, err = policy.ParseLocator(p.Repository); err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	switch {
	case p.Version < 1:
		return fmt.Errorf("version %d", p.Version)
	case p.Version == 1 && p.Previous != "":
		return errors.New("version 1 with a previous statement")
	case p.Version > 1 && !spelling.IsHex(p.Previous, sha256.Size*2):
		return errors.New("the digest of the previous statement is missing or malformed")
	}
	if p.Formerly != "" {
		if s.formerly, err = policy.ParseLocator(p.Formerly); err != nil {
			return fmt.Errorf("formerly: %w", err)
		}
	}
	doc, err := policy.Parse([]byte(p.Policy))
	var pe *policy.ParseError
	if errors.As(err, &pe) && pe.Reason() == policy.PolicyNewerFormat {
		s.newer = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	switch {
	case doc.Content().Repository != s.repository:
		return fmt.Errorf("the policy is about %s, the statement about %s", doc.Content().Repository, s.repository)
	case doc.Content().Formerly != s.formerly:
		return fmt.Errorf(
			"the policy says that it was formerly %q, the statement %q", doc.Content().Formerly, s.formerly)
	case doc.Content().Version != s.version:
		return fmt.Errorf("the policy has version %d, the statement %d", doc.Content().Version, s.version)
	}
	s.doc = doc
	return nil
}

// Digest returns the hex SHA-256 of the payload.
func (s *Statement) Digest() string { return s.digest }

// PAE returns the hex SHA-256 of the payload's pre-authentication encoding.
func (s *Statement) PAE() string { return s.pae }

// Version returns the version that the statement claims.
func (s *Statement) Version() int { return s.version }

// Previous returns the digest of the statement before; "" for version 1.
func (s *Statement) Previous() string { return s.previous }

// Repository returns the repository that the statement claims to be about.
func (s *Statement) Repository() policy.Locator { return s.repository }

// Document returns the policy; nil if it is invalid or of a newer format.
func (s *Statement) Document() *policy.Document { return s.doc }

// Err returns why the statement can never be part of a chain; nil if it can.
func (s *Statement) Err() error { return s.err }

func (s *Statement) file() *policy.File { return s.doc.Content() }
