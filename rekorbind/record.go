// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Record is one of the values of a key in a directory's map (SPEC 16.1): exactly
// one of both is set. Nothing of it is verified.
type Record struct {
	Binding   *BindingRecord
	Disclosed *DisclosedRecord
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

// DisclosedRecord is when a directory first found a statement published.
type DisclosedRecord struct {
	Statement string           // hex; what entries show of it
	Sizes     map[string]int64 // of each log, by hex id; none if nobody withheld it
}

// Text returns the record's line, of which the map holds the SHA-256.
func (r Record) Text() (string, error) {
	switch {
	case r.Binding != nil && r.Disclosed == nil:
		hash, err := r.Binding.LeafHash()
		if err != nil {
			return "", err
		}
		if !isHash(r.Binding.Log) || r.Binding.Index < 0 {
			return "", fmt.Errorf("an entry %d of the log %q", r.Binding.Index, clip(r.Binding.Log))
		}
		return BindingText(r.Binding.Log, r.Binding.Index, hash), nil
	case r.Disclosed != nil && r.Binding == nil:
		return DisclosedText(r.Disclosed.Statement, r.Disclosed.Sizes)
	}
	return "", errors.New("a record is of a binding or of a publication")
}

// BindingText returns the record of a binding: its log's hex id, its index there
// and the hex hash of its leaf.
func BindingText(log string, index int64, leafHash string) string {
	return fmt.Sprintf("binding %s %d %s\n", log, index, leafHash)
}

// DisclosedText returns the record of a first publication; without sizes it moves
// no binding.
func DisclosedText(statement string, sizes map[string]int64) (string, error) {
	if !isHash(statement) {
		return "", fmt.Errorf("%q is no statement", clip(statement))
	}
	if len(sizes) > maxInputs {
		return "", fmt.Errorf("sizes of %d logs, at most %d are read", len(sizes), maxInputs)
	}
	var b strings.Builder
	b.WriteString("disclosed " + statement)
	for _, log := range slices.Sorted(maps.Keys(sizes)) {
		if !isHash(log) || sizes[log] < 0 {
			return "", fmt.Errorf("a size %d of the log %q", sizes[log], clip(log))
		}
		fmt.Fprintf(&b, " %s:%d", log, sizes[log])
	}
	b.WriteByte('\n')
	return b.String(), nil
}

// Value returns what the map holds of a record's text.
func Value(text string) prefixmap.Hash { return sha256.Sum256([]byte(text)) }

// Binds verifies one entry of a Rekor v2 log as a binding (SPEC 7): that its
// certificate belongs to the trusted root and proves that a repository spoke. That
// the body is at that index is for the caller to prove. The error says why it is no
// binding. It is the map function of a directory, and what a scan does.
//
// Whom the certificate claims to be for is looked at first, since most entries of a
// log are not about policies.
func Binds(root *sigstore.Root, forges *Forges, log string, index int64, body []byte) (*sigstore.Leaf, policy.Binding, error) {
	e, err := sigstore.ParseEntryV2(body)
	if err != nil {
		return nil, policy.Binding{}, err
	}
	by, err := forges.Authority(e.Signer)
	if err != nil {
		return nil, policy.Binding{}, err
	}
	leaf, err := root.VerifyV2(log, index, e)
	if err != nil {
		return nil, policy.Binding{}, err
	}
	return leaf, by, nil
}

// BindsV1 does the same for an entry as Rekor v1 answers it, whose promise covers
// its index. Log and place are those of the leaf.
func BindsV1(root *sigstore.Root, forges *Forges, entry []byte) (*sigstore.Leaf, policy.Binding, error) {
	e, err := sigstore.ParseEntryV1(entry)
	if err != nil {
		return nil, policy.Binding{}, err
	}
	by, err := forges.Authority(e.Signer)
	if err != nil {
		return nil, policy.Binding{}, err
	}
	leaf, err := root.VerifyV1(e)
	if err != nil {
		return nil, policy.Binding{}, err
	}
	return leaf, by, nil
}

// isHash reports whether s is a SHA-256 in lower-case hex.
func isHash(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}
