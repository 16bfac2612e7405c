// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// schemaBase is below which the JSON Schemas of our documents are.
const SchemaBase = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/"

// MaxEvidenceBytes is the largest evidence file that is read.
const MaxEvidenceBytes = 32 << 20

const forkSchema = SchemaBase + "fork-v1.json"

// ErrLogFork is wrapped by the error about a log that shows another history than
// it did before, or than its own checkpoint says.
var ErrLogFork = errors.New("the log contradicts itself")

// Fork is the error about a fork, with the two checkpoints that prove it. A log
// that behaves can always prove one of its trees to be the beginning of another.
type Fork struct {
	Log  string
	Seen []byte // checkpoint that was kept; nil if the entries contradict New alone
	New  []byte
	// Proof is what the log answered when it was asked for a proof that the one
	// goes on from the other; nil if it was not asked.
	Proof []byte
	Why   string
}

type forkDoc struct {
	Schema string `json:"schema"`
	Log    string `json:"log"`
	Seen   string `json:"seen"`
	New    string `json:"new"`
	Proof  string `json:"proof,omitempty"`
	Why    string `json:"why"`
}

// Error says what contradicts what.
func (f *Fork) Error() string { return f.Log + ": " + f.Why }

// Unwrap returns [ErrLogFork].
func (f *Fork) Unwrap() error { return ErrLogFork }

// Bytes returns both checkpoints, and the proof, as JSON, to be kept as evidence.
func (f *Fork) Bytes() []byte {
	data, err := json.Marshal(forkDoc{forkSchema, f.Log, string(f.Seen), string(f.New), string(f.Proof), f.Why})
	if err != nil {
		return nil // text always encodes
	}
	return append(data, '\n')
}

// ParseFork reads evidence of a fork. Unknown, repeated and misspelt keys are
// errors; nothing in it is verified before [Fork.Judge].
func ParseFork(data []byte) (*Fork, error) {
	var doc forkDoc
	known := []string{"schema", "log", "seen", "new", "proof", "why"}
	if err := strictjson.Document(data, MaxEvidenceBytes, &doc, known...); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if doc.Schema != forkSchema {
		return nil, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), forkSchema)
	}
	return &Fork{doc.Log, []byte(doc.Seen), []byte(doc.New), []byte(doc.Proof), doc.Why}, nil
}

// Judge verifies the evidence under one trusted root, without a network, and
// returns the origin of the log. It proves a fork if the log signed two trees of
// one size. Two of different sizes are reason to ask the log, which alone can show
// whether they are of one history.
func (f *Fork) Judge(r *sigstore.Root) (origin string, err error) {
	seen, id, err := r.OpenAnyCheckpoint(f.Seen)
	if err != nil {
		return "", fmt.Errorf("seen: %w", err)
	}
	now, other, err := r.OpenAnyCheckpoint(f.New)
	if err != nil {
		return "", fmt.Errorf("new: %w", err)
	}
	switch {
	case id != other || seen.Origin != now.Origin:
		return "", fmt.Errorf("checkpoints of two logs, %s and %s", seen.Origin, now.Origin)
	case seen.Size != now.Size:
		return "", fmt.Errorf(
			"the log signed both checkpoints, of %d and %d entries; "+
				"whether the one is the beginning of the other only the log can show",
			seen.Size, now.Size,
		)
	case bytes.Equal(seen.Root, now.Root):
		return "", errors.New("the two checkpoints are of the same tree")
	}
	return now.Origin, nil
}
