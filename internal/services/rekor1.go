// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

const entriesV1 = "api/v1/log/entries"

// integrationPoll is between two questions for an entry that waits.
const integrationPoll = 500 * time.Millisecond

// LogV1 logs a signature in Rekor v1 and returns the entry. It is the one that the log has
// already, if there is one: then it is waited for, as the log may have taken it a moment ago.
//
// Protocol: https://github.com/sigstore/rekor/blob/main/openapi.yaml.
func (s Service) LogV1(ctx context.Context, p *Proposal) (*bundle.Entry, error) {
	body, err := p.v1()
	if err != nil {
		return nil, err
	}
	a, err := s.ask(ctx, question{path: entriesV1, body: body, kind: jsonType})
	if err != nil {
		return nil, err
	}
	switch a.status {
	case http.StatusCreated:
		return entryV1(a.body)
	case http.StatusConflict:
		return s.existingV1(ctx, a.header.Get("Location"))
	}
	return nil, fmt.Errorf("unexpected answer: %d: %s", a.status, a.said())
}

// v1 returns what is posted.
func (p *Proposal) v1() ([]byte, error) {
	type proposed struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       any    `json:"spec"`
	}
	if p.Envelope != nil {
		type content struct {
			Envelope  string   `json:"envelope"`
			Verifiers [][]byte `json:"verifiers"`
		}
		return strictjson.Compact(proposed{"0.0.1", "dsse", map[string]content{
			"proposedContent": {string(p.Envelope.JSON()), [][]byte{p.pem()}},
		}}), nil
	}
	name, ok := map[int]string{32: "sha256", 48: "sha384", 64: "sha512"}[len(p.Digest)]
	if !ok {
		return nil, fmt.Errorf("a digest of %d bytes", len(p.Digest))
	}
	type hash struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	}
	type key struct {
		Content []byte `json:"content"`
	}
	type signature struct {
		Content   []byte `json:"content"`
		PublicKey key    `json:"publicKey"`
	}
	return strictjson.Compact(proposed{"0.0.1", "hashedrekord", map[string]any{
		"data":      map[string]hash{"hash": {name, hex.EncodeToString(p.Digest)}},
		"signature": signature{p.Signature, key{p.pem()}},
	}}), nil
}

// existingV1 returns the entry at a location that the log named. Until it is integrated, which
// takes seconds, the log answers that there is none.
func (s Service) existingV1(ctx context.Context, location string) (*bundle.Entry, error) {
	u, err := url.Parse(location)
	if err != nil || !isName(path.Base(u.Path)) {
		return nil, errors.New("the entry is in the log already, but the log does not say where")
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	for {
		a, err := s.ask(ctx, question{path: entriesV1 + "/" + path.Base(u.Path)})
		switch {
		case err != nil:
			return nil, fmt.Errorf("the entry is in the log already: %w", err)
		case a.status == http.StatusOK:
			return entryV1(a.body)
		case a.status != http.StatusNotFound:
			return nil, fmt.Errorf("the entry is in the log already, which answers %d: %s", a.status, a.said())
		}
		if pause(ctx, integrationPoll) != nil {
			return nil, errors.New("the entry is in the log already, but not in its tree yet; try again")
		}
	}
}

// isName reports whether text is the name of an entry: lower-case hex.
func isName(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// sum is a SHA-256 in lower-case hex.
type sum []byte

// UnmarshalJSON implements [json.Unmarshaler]. Null is no sum.
func (s *sum) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != text {
		return errors.New("not a SHA-256 in hex")
	}
	*s = raw
	return nil
}

// logEntry is a LogEntry of Rekor v1. What an answer leaves out is nil.
type logEntry struct {
	Body         canonical.Bytes
	Time         *canonical.Number `json:"integratedTime"`
	LogID        sum
	LogIndex     *canonical.Number
	Verification *struct {
		Promise canonical.Bytes `json:"signedEntryTimestamp"`
		Proof   *logProof       `json:"inclusionProof"`
	}
}

type logProof struct {
	Checkpoint string
	Hashes     []sum
	LogIndex   *canonical.Number
	RootHash   sum
	TreeSize   *canonical.Number
}

// entryV1 demands one entry, whole: its body, place, time, signed entry timestamp and inclusion
// proof with a checkpoint. What they say is verified later, with the bundle that is made of it.
func entryV1(data []byte) (*bundle.Entry, error) {
	e, err := readV1(data)
	if err != nil {
		return nil, fmt.Errorf("the answer is no log entry: %w", err)
	}
	return e, nil
}

func readV1(data []byte) (*bundle.Entry, error) {
	if err := (strictjson.Rules{Null: true}).Check(data); err != nil {
		return nil, err
	}
	var all map[string]*logEntry
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("it has %d entries", len(all))
	}
	for name, e := range all {
		if !isName(name) {
			return nil, errors.New("the entry has no name")
		}
		if err := e.whole(); err != nil {
			return nil, err
		}
		return e.entry()
	}
	return nil, errors.New("no entry") // not reached
}

// whole says what an entry lacks.
func (e *logEntry) whole() error {
	switch {
	case e == nil || len(e.Body) == 0:
		return errors.New("it has no body")
	case e.Time == nil || *e.Time < 1 || e.LogIndex == nil || e.LogID == nil:
		return errors.New("its place in the log is missing")
	case e.Verification == nil || len(e.Verification.Promise) == 0:
		return errors.New("it has no signed entry timestamp")
	}
	switch p := e.Verification.Proof; {
	case p == nil || p.Checkpoint == "" || p.RootHash == nil || p.LogIndex == nil || p.TreeSize == nil ||
		*p.TreeSize <= *p.LogIndex:
		return errors.New("it has no inclusion proof")
	case len(p.Hashes) > bundle.MaxProofHashes:
		return errors.New("its inclusion proof is too long")
	}
	return nil
}

func (e *logEntry) entry() (*bundle.Entry, error) {
	var body struct{ Kind, APIVersion string }
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return nil, fmt.Errorf("its body: %w", err)
	}
	p := e.Verification.Proof
	out := &bundle.Entry{
		Index: int64(*e.LogIndex), LogID: e.LogID, Kind: body.Kind, Version: body.APIVersion, Time: int64(*e.Time),
		Promise: e.Verification.Promise, Body: e.Body,
		Proof: &bundle.Proof{
			Index: int64(*p.LogIndex), Root: p.RootHash, Size: int64(*p.TreeSize), Checkpoint: p.Checkpoint,
		},
	}
	for _, h := range p.Hashes {
		out.Proof.Hashes = append(out.Proof.Hashes, h)
	}
	return out, nil
}
