// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// maxEvidenceBundles is how many bundles an evidence file may hold.
const maxEvidenceBundles = 256

const evidenceSchema = rekor.SchemaBase + "evidence-v1.json"

// Evidence is a file that proves, by itself and for ever, that two statements
// contradict each other or that one exists: the bundles hold payloads,
// signatures, log entries and their proofs (SPEC 12). Nothing in it is verified
// before [Evidence.Judge].
type Evidence struct {
	Kind       string
	Repository policy.Locator
	Statements []string // hex digests of the statements in question
	bundles    []json.RawMessage
}

type evidenceDoc struct {
	Schema     string           `json:"schema"`
	Kind       string           `json:"kind"`
	Repository string           `json:"repository"`
	Statements []string         `json:"statements"`
	Bundles    []evidenceBundle `json:"bundles"`
}

type evidenceBundle struct {
	Bundle json.RawMessage `json:"bundle"`
}

// NewEvidence returns the evidence with the bundles, in JSON, of the statements
// in question and of the one before them.
func NewEvidence(
	kind string, repo policy.Locator, statements []string, bundles [][]byte,
) (*Evidence, error) {
	e := &Evidence{Kind: kind, Repository: repo}
	for _, b := range bundles {
		var compact bytes.Buffer
		if err := json.Compact(&compact, b); err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		e.bundles = append(e.bundles, compact.Bytes())
	}
	// The same evidence is the same file, so that a version may acknowledge it.
	arrange.By(e.bundles, func(a, b json.RawMessage) int { return cmp.Compare(spelling.Sum(a), spelling.Sum(b)) })
	e.bundles = slices.CompactFunc(e.bundles, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
	e.Statements = append([]string{}, statements...)
	slices.Sort(e.Statements)
	_, err := ParseEvidence(e.Bytes())
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Bytes returns the file.
func (e *Evidence) Bytes() []byte {
	doc := evidenceDoc{evidenceSchema, e.Kind, e.Repository.String(), e.Statements, nil}
	for _, b := range e.bundles {
		doc.Bundles = append(doc.Bundles, evidenceBundle{b})
	}
	return strictjson.Indented(doc)
}

// ParseEvidence reads an evidence file. Unknown, repeated and misspelt keys are
// errors.
func ParseEvidence(data []byte) (*Evidence, error) {
	var doc evidenceDoc
	known := []string{"schema", "kind", "repository", "statements", "bundles", strictjson.Bundle}
	if err := strictjson.Document(data, rekor.MaxEvidenceBytes, &doc, known...); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if doc.Schema != evidenceSchema {
		return nil, fmt.Errorf("schema %q is not %q", doc.Schema, evidenceSchema)
	}
	if len(doc.Bundles) == 0 || len(doc.Bundles) > maxEvidenceBundles {
		return nil, fmt.Errorf("%d bundles, 1 to %d are read", len(doc.Bundles), maxEvidenceBundles)
	}
	repo, err := policy.ParseLocator(doc.Repository)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	e := &Evidence{Kind: doc.Kind, Repository: repo, Statements: doc.Statements}
	for _, d := range doc.Statements {
		if _, err := policy.ParseDigest("sha256:" + d); err != nil {
			return nil, fmt.Errorf("statements: %w", err)
		}
	}
	for _, b := range doc.Bundles {
		e.bundles = append(e.bundles, b.Bundle)
	}
	return e, nil
}

// Judge verifies the evidence under one trusted root, without a network. It
// returns what is proven; whatever does not verify proves nothing.
func (e *Evidence) Judge(r *sigstore.Root, forges *Forges, now time.Time) (chain.Finding, error) {
	c := &Collection{Root: r, Forges: forges}
	var bundles []*sigstore.Bundle
	var last error
	for _, raw := range e.bundles {
		b, err := sigstore.ParseBundle(raw)
		if err == nil {
			_, err = c.Learn(b)
		}
		if err != nil {
			last = err
			continue
		}
		bundles = append(bundles, b)
	}
	for _, b := range bundles {
		if err := c.Add(b); err != nil {
			last = err
		}
	}
	f, err := c.History(e.Repository, now).Contradiction(e.Kind, e.Statements)
	if err != nil {
		return chain.Finding{}, errors.Join(err, last)
	}
	for _, v := range f.Versions {
		if of := v.Document.Content().Repository; of != e.Repository && !f.AcrossNames() {
			return chain.Finding{}, fmt.Errorf("it is about %s, not %s", of, e.Repository)
		}
	}
	return f, nil
}

// evidence returns what the bundles at hand prove of an alarm; nil if that is
// nothing by itself.
func (c *Collection) evidence(repo policy.Locator, a chain.Alarm, now time.Time) *Evidence {
	kind := a.Contradiction()
	if kind == "" {
		return nil
	}
	var bundles [][]byte
	for _, d := range a.Statements {
		s := c.statements[d]
		bundles = append(append(bundles, c.verified[d]...), c.verified[s.Previous()]...)
	}
	e, err := NewEvidence(kind, repo, a.Statements, bundles)
	if err != nil {
		return nil
	}
	if _, err := e.Judge(c.Root, c.Forges, now); err != nil {
		return nil
	}
	return e
}
