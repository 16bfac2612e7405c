// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"encoding/json"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

const lieSchema = rekor.SchemaBase + "directory-lie-v1.json"

// Lie is the error about an answer that a directory signed and that is not true: it
// omits a binding from below the size to which it says to have read the log, or
// holds what binds nothing. It is evidence that anyone can judge who has the
// directory's descriptor and the trusted root; of an omission, unless the log showed
// the directory another history than the one that the bundle is from.
type Lie struct {
	Directory  string // URL
	Repository policy.Locator
	Answer     []byte
	Pages      [][]byte
	Bundle     []byte // of the binding that is omitted; nil if the answer alone shows it
	Why        string
}

type lieDoc struct {
	Schema     string          `json:"schema"`
	Directory  string          `json:"directory"`
	Repository string          `json:"repository"`
	Answer     []byte          `json:"answer"`
	Pages      [][]byte        `json:"pages,omitempty"`
	Bundle     json.RawMessage `json:"bundle,omitempty"`
	Why        string          `json:"why"`
}

// Error says what is not true.
func (l *Lie) Error() string { return l.Directory + ": " + l.Why }

// Bytes returns the evidence file.
func (l *Lie) Bytes() []byte {
	return strictjson.Indented(
		lieDoc{lieSchema, l.Directory, l.Repository.String(), l.Answer, l.Pages, l.Bundle, l.Why},
	)
}

// ParseLie reads an evidence file. Unknown, repeated and misspelt keys are errors;
// nothing in it is verified before somebody judged it by the descriptor.
func ParseLie(data []byte) (*Lie, error) {
	var doc lieDoc
	err := strictjson.Document(
		data, rekor.MaxEvidenceBytes, &doc, "schema", "directory", "repository", "answer", "pages", strictjson.Bundle, "why",
	)
	if err != nil {
		return nil, err
	}
	if doc.Schema != lieSchema {
		return nil, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), lieSchema)
	}
	repo, err := policy.ParseLocator(doc.Repository)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	return &Lie{doc.Directory, repo, doc.Answer, doc.Pages, doc.Bundle, doc.Why}, nil
}
