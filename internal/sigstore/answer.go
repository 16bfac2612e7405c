// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// What a log answers is read here before a library sees it: a part that is missing is
// an error, not a nil somewhere below.

// strictV1 hands on no answer of Rekor v1 that is not one whole entry.
type strictV1 struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s strictV1) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return resp, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	uuid, err := answerV1(data)
	if err != nil {
		return nil, fmt.Errorf("%s answered no log entry: %w", r.URL.Host, err)
	}
	// The library looks the entry up by the header, which has to name it.
	resp.Header.Set("ETag", uuid)
	resp.Header.Set("Content-Type", "application/json")
	resp.Header.Del("Content-Length")
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return resp, nil
}

// answerV1 demands one entry of Rekor v1, whole: its body, place, time, signed entry
// timestamp and inclusion proof with a checkpoint. What they say is verified later,
// with the bundle that is made of it. It returns the entry's name.
//
// https://github.com/sigstore/rekor/blob/main/openapi.yaml (LogEntry)
func answerV1(data []byte) (string, error) {
	var all map[string]*entryV1
	if err := json.Unmarshal(data, &all); err != nil {
		return "", errors.New("it is malformed")
	}
	if len(all) != 1 {
		return "", fmt.Errorf("it has %d entries", len(all))
	}
	for uuid, e := range all {
		if uuid == "" || strings.Trim(uuid, "0123456789abcdef") != "" {
			return "", errors.New("the entry has no name")
		}
		return uuid, e.check()
	}
	return "", nil // not reached
}

// entryV1 is an entry of Rekor v1. What an answer leaves out is nil.
type entryV1 struct {
	Body           *string `json:"body"`
	IntegratedTime *int64  `json:"integratedTime"`
	LogID          *string `json:"logID"`
	LogIndex       *int64  `json:"logIndex"`
	Verification   *struct {
		Promise *string  `json:"signedEntryTimestamp"`
		Proof   *proofV1 `json:"inclusionProof"`
	} `json:"verification"`
}

type proofV1 struct {
	Checkpoint *string   `json:"checkpoint"`
	Hashes     []*string `json:"hashes"`
	LogIndex   *int64    `json:"logIndex"`
	RootHash   *string   `json:"rootHash"`
	TreeSize   *int64    `json:"treeSize"`
}

// check says what an entry lacks.
func (e *entryV1) check() error {
	switch {
	case e == nil || !isBase64(e.Body):
		return errors.New("it has no body")
	case !isFrom(e.IntegratedTime, 1) || !isFrom(e.LogIndex, 0) || !isSHA256(e.LogID):
		return errors.New("its place in the log is missing")
	case e.Verification == nil || !isBase64(e.Verification.Promise):
		return errors.New("it has no signed entry timestamp")
	}
	return e.Verification.Proof.check()
}

func (p *proofV1) check() error {
	missing := errors.New("it has no inclusion proof")
	switch {
	case p == nil || p.Checkpoint == nil || *p.Checkpoint == "" || !isSHA256(p.RootHash):
		return missing
	case !isFrom(p.LogIndex, 0) || !isFrom(p.TreeSize, 1) || *p.TreeSize <= *p.LogIndex:
		return missing
	case len(p.Hashes) > maxProofHashes:
		return errors.New("its inclusion proof is too long")
	case slices.ContainsFunc(p.Hashes, func(h *string) bool { return !isSHA256(h) }):
		return missing
	}
	return nil
}

func isFrom(n *int64, least int64) bool { return n != nil && *n >= least }

func isSHA256(s *string) bool {
	if s == nil {
		return false
	}
	raw, err := hex.DecodeString(*s)
	return err == nil && len(raw) == sha256.Size
}

func isBase64(s *string) bool {
	if s == nil {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(*s)
	return err == nil && len(raw) > 0
}

// legible keeps the beginning of what a service says of an error: the clients of Fulcio and
// of time stamp authorities close such an answer, to ask again, and then read it.
type legible struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l legible) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil || resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return resp, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxServiceText))
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// answerV2 demands an entry of Rekor v2, whole.
func answerV2(e *protorekor.TransparencyLogEntry) error {
	p := e.GetInclusionProof()
	switch {
	case len(e.GetCanonicalizedBody()) == 0 || len(e.GetLogId().GetKeyId()) == 0 || e.GetKindVersion() == nil ||
		e.GetLogIndex() < 0:
		return errors.New("the answer is no log entry")
	case p == nil || p.GetCheckpoint().GetEnvelope() == "" || len(p.GetRootHash()) == 0 || p.GetLogIndex() < 0 ||
		p.GetTreeSize() <= p.GetLogIndex() || len(p.GetHashes()) > maxProofHashes:
		return errors.New("the answer has no inclusion proof")
	}
	return nil
}

// guarded turns a panic of a library over what a service answered into an error: it is
// the service's fault, and the draft that is kept can be logged again.
func guarded(service string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("what %s answered cannot be read: %v", service, p)
		}
	}()
	return f()
}

// stamped returns why the time stamps of a draft would not verify, before the
// signature is public.
func (r *Root) stamped(d *Draft) error {
	sig := d.signature()
	for _, s := range d.pb.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		err := errors.New("the trusted root names no time stamp authority")
		for _, a := range r.stampers {
			if _, err = a.Verify(s.GetSignedTimestamp(), sig); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("the time stamp does not verify: %w", err)
		}
	}
	return nil
}

// Check returns why a draft could never verify under the root: it is asked before the
// draft is kept or logged.
func (r *Root) Check(d *Draft, now time.Time) error {
	cert, err := d.Certificate()
	if err != nil {
		return err
	}
	if r.privateOf(cert) != nil {
		if _, err := r.Certified(cert.Raw, now); err != nil {
			return err
		}
	} else if cert != nil {
		if err := r.certified(cert, cert.NotBefore); err != nil {
			return fmt.Errorf("the certificate does not verify: %w", err)
		}
	}
	return r.stamped(d)
}
