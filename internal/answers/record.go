// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/spelling"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Record is one of the values of a key in a directory's map (SPEC 16.1): exactly
// one of its three kinds. Nothing of it is verified.
type Record struct {
	At        chain.Shown // the leaf of the output log that first shows it
	Binding   *BindingRecord
	Disclosed *DisclosedRecord
	Signature *bindings.SignatureRecord
}

// BindingRecord is a log entry that binds.
type BindingRecord struct {
	Log   string // hex id
	Index int64
	// Body is the canonical body of an entry of Rekor v2, Entry the whole entry as
	// Rekor v1 answers it: one of both is set.
	Body  string
	Entry json.RawMessage
	// Inclusion is the proof that the entry stands in the tree of Checkpoint, or of
	// the leaf's input if that is empty. An entry of Rekor v1 has none: its promise
	// covers the index.
	Inclusion  [][]byte
	Checkpoint string
}

// LeafHash returns the hex hash of the log's leaf (RFC 6962, section 2.1).
func (b *BindingRecord) LeafHash() (string, error) {
	if b.Body != "" {
		return sigstore.LeafHash([]byte(b.Body)), nil
	}
	e, err := sigstore.ParseEntryV1(b.Entry)
	if e.LeafHash == "" {
		return "", err
	}
	return e.LeafHash, nil
}

// DisclosedRecord says that a statement was handed in to the directory.
type DisclosedRecord struct {
	Payload, PAE string // hex digests, of the payload and of its pre-authentication encoding
}

// Text returns the record's line, of which the map holds the SHA-256.
func (r Record) Text() (string, error) {
	kinds := 0
	for _, is := range []bool{r.Binding != nil, r.Disclosed != nil, r.Signature != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return "", errors.New("a record is of a binding, a statement or a signature")
	}
	at, err := momentText(r.At)
	if err != nil {
		return "", err
	}
	line, err := r.line()
	return line + " " + at + "\n", err
}

// momentText returns the end of a record: index, time and clock of the leaf.
func momentText(s chain.Shown) (string, error) {
	at, clock := s.Time.Unix(), int64(s.Clock/time.Second)
	if s.Leaf < 0 || at < 0 || clock < 0 || !s.Time.Equal(time.Unix(at, 0)) ||
		s.Clock != time.Duration(clock)*time.Second {
		return "", fmt.Errorf("a moment of leaf %d, %s, %s", s.Leaf, s.Time, s.Clock)
	}
	return fmt.Sprintf("%d %d %d", s.Leaf, at, clock), nil
}

// line returns the record's line without its moment.
func (r Record) line() (string, error) {
	switch {
	case r.Binding != nil:
		hash, err := r.Binding.LeafHash()
		if err != nil {
			return "", err
		}
		if !spelling.IsHash(r.Binding.Log) || r.Binding.Index < 0 {
			return "", fmt.Errorf("an entry %d of the log %q", r.Binding.Index, clip.Text(r.Binding.Log))
		}
		return fmt.Sprintf("binding %s %d %s", r.Binding.Log, r.Binding.Index, hash), nil
	case r.Disclosed != nil:
		return r.Disclosed.Line()
	}
	return r.Signature.Line()
}

// Line returns the record without its moment, which is also the line of the list of a leaf.
func (r DisclosedRecord) Line() (string, error) {
	if !spelling.IsHash(r.Payload) || !spelling.IsHash(r.PAE) {
		return "", fmt.Errorf("%q is no statement", clip.Text(r.Payload))
	}
	return "disclosed " + r.Payload + " " + r.PAE, nil
}

// BindingText returns the record of a binding: its log's hex id, its index there
// and the hex hash of its leaf.
func BindingText(log string, index int64, leafHash string, at chain.Shown) (string, error) {
	moment, err := momentText(at)
	return fmt.Sprintf("binding %s %d %s %s\n", log, index, leafHash, moment), err
}

// ParseListed reads a line of the list of a leaf: one of both is set.
func ParseListed(line string) (*DisclosedRecord, *bindings.SignatureRecord, error) {
	f := strings.Split(line, " ")
	var again string
	var err error
	switch {
	case len(f) == 3 && f[0] == "disclosed":
		d := &DisclosedRecord{f[1], f[2]}
		if again, err = d.Line(); err == nil && again == line {
			return d, nil, nil
		}
	case len(f) == 4 && f[0] == "signature":
		index, numErr := canonical.ParseNumber(f[3])
		s := &bindings.SignatureRecord{Payload: f[1], Log: f[2], Index: index}
		if again, err = s.Line(); err == nil && numErr == nil && again == line {
			return nil, s, nil
		}
	}
	return nil, nil, fmt.Errorf("%q is no line of a list", clip.Text(line))
}

// ParseRecordText reads a record's line; of a binding it returns the hash of its leaf, too.
func ParseRecordText(text string) (r Record, leafHash string, err error) {
	f := strings.Fields(text)
	if len(f) < 6 {
		return r, "", fmt.Errorf("%q is no record", clip.Text(text))
	}
	var n [3]int64
	for i := range n {
		if n[i], err = canonical.ParseNumber(f[len(f)-3+i]); err != nil {
			return r, "", err
		}
	}
	r.At = chain.Shown{Leaf: n[0], Time: time.Unix(n[1], 0).UTC(), Clock: time.Duration(n[2]) * time.Second}
	if line := strings.Join(f[:len(f)-3], " "); f[0] != "binding" {
		r.Disclosed, r.Signature, err = ParseListed(line)
		return r, "", err
	}
	index, err := canonical.ParseNumber(f[2])
	r.Binding = &BindingRecord{Log: f[1], Index: index}
	return r, f[3], err
}

// Value returns what the map holds of a record's text.
func Value(text string) prefixmap.Hash { return sha256.Sum256([]byte(text)) }
