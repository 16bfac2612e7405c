// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	policyPath    = ".repopolicy/policy.toml"
)

// statement is the in-toto statement v1 over one policy version (SPEC 6.1).
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     predicate `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	Repository string `json:"repository"`
	Version    int    `json:"version"`
	Previous   string `json:"previous,omitempty"`
	Formerly   string `json:"formerly,omitempty"`
	Policy     string `json:"policy"`
}

// Encode returns the payload that every signer of the policy signs: RFC 8785
// JSON, a pure function of the policy's bytes and the digest of the previous
// statement, which is "" for version 1. The error is that of a policy that
// cannot be read, or of a digest that does not fit its version.
func Encode(text []byte, previous string) ([]byte, error) {
	doc, err := policy.Parse(text)
	if err != nil {
		return nil, err
	}
	f := doc.Content()
	p := chain.Predicate{
		Repository: f.Repository.String(), Version: f.Version, Previous: previous, Formerly: f.Formerly.String(),
		Policy: string(text),
	}
	payload, err := encode(p, f.Repository, f.Formerly)
	if err != nil {
		return nil, err
	}
	if _, err := p.Statement(payload, nil); err != nil {
		return nil, err
	}
	return payload, nil
}

func encode(p chain.Predicate, repo, formerly policy.Locator) ([]byte, error) {
	subjects := []subject{
		{policyPath, map[string]string{"sha256": spelling.Sum([]byte(p.Policy))}},
		{repo.String(), map[string]string{"sha256": repo.Anchor()}},
	}
	if !formerly.IsZero() { // so that an index lists it under that name, too
		subjects = append(subjects, subject{formerly.String(), map[string]string{"sha256": formerly.Anchor()}})
	}
	raw, err := json.Marshal(statement{
		Type: statementType, Subject: subjects,
		PredicateType: spelling.StatementPredicate,
		Predicate:     predicate(p),
	})
	if err != nil {
		return nil, err
	}
	out := jsontext.Value(raw)
	err = out.Canonicalize()
	return out, err
}

// ParseStatement reads the payload of a statement. Only the predicate is looked
// at: everything else must be what [Encode] makes of it, byte for byte, so that
// two readings of one payload cannot differ. The statement is also returned
// beside an error, since its digest is known; it can then never be part of a
// chain.
func ParseStatement(payload []byte) (chain.Statement, error) {
	bad := func(err error) (chain.Statement, error) {
		return chain.Predicate{}.Statement(payload, err)
	}
	if len(payload) > spelling.MaxStatementBytes {
		return bad(fmt.Errorf("statement of %d bytes, at most %d are read", len(payload), spelling.MaxStatementBytes))
	}
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return bad(fmt.Errorf("not a statement: %w", err))
	}
	p := chain.Predicate(s.Predicate)
	repo, err := policy.ParseLocator(p.Repository)
	if err != nil {
		return bad(fmt.Errorf("repository: %w", err))
	}
	var formerly policy.Locator
	if p.Formerly != "" {
		if formerly, err = policy.ParseLocator(p.Formerly); err != nil {
			return bad(fmt.Errorf("formerly: %w", err))
		}
	}
	canonical, err := encode(p, repo, formerly)
	if err != nil {
		return bad(err)
	}
	if !bytes.Equal(canonical, payload) {
		return bad(errors.New("not the canonical encoding of its predicate"))
	}
	return p.Statement(payload, nil)
}
