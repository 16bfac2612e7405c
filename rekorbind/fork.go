// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"encoding/json"
	"errors"
)

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

// Error says what contradicts what.
func (f *Fork) Error() string { return f.Log + ": " + f.Why }

// Bytes returns both checkpoints, and the proof, as JSON, to be kept as evidence.
func (f *Fork) Bytes() []byte {
	doc := struct {
		Schema string `json:"schema"`
		Log    string `json:"log"`
		Seen   string `json:"seen"`
		New    string `json:"new"`
		Proof  string `json:"proof,omitempty"`
		Why    string `json:"why"`
	}{schemaBase + "fork-v1.json", f.Log, string(f.Seen), string(f.New), string(f.Proof), f.Why}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil // text always encodes
	}
	return append(data, '\n')
}

// Unwrap returns [ErrLogFork].
func (f *Fork) Unwrap() error { return ErrLogFork }
