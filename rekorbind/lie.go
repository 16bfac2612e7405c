// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

const lieSchema = schemaBase + "directory-lie-v1.json"

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

// lie returns the error about what is not true: evidence, unless the answer is too large for that.
func (p *proving) lie(c *claim, bundle []byte, why string) error {
	if c.large {
		return fmt.Errorf("%s: %s (its answer is too large to be kept as evidence)", p.descriptor.URL, why)
	}
	return &Lie{Directory: p.descriptor.URL, Repository: p.repo, Answer: c.raw, Pages: c.pages, Bundle: bundle, Why: why}
}

// Error says what is not true.
func (l *Lie) Error() string { return l.Directory + ": " + l.Why }

// Bytes returns the evidence file.
func (l *Lie) Bytes() []byte {
	return indentedJSON(lieDoc{lieSchema, l.Directory, l.Repository.String(), l.Answer, l.Pages, l.Bundle, l.Why})
}

// ParseLie reads an evidence file. Unknown, repeated and misspelt keys are errors;
// nothing in it is verified before [Lie.Judge].
func ParseLie(data []byte) (*Lie, error) {
	var doc lieDoc
	if err := strictDoc(data, MaxEvidenceBytes, &doc, "schema", "directory", "repository", "answer", "pages", opaqueBundle, "why"); err != nil {
		return nil, err
	}
	if doc.Schema != lieSchema {
		return nil, fmt.Errorf("schema %q is not %q", clip(doc.Schema), lieSchema)
	}
	repo, err := policy.ParseLocator(doc.Repository)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	return &Lie{doc.Directory, repo, doc.Answer, doc.Pages, doc.Bundle, doc.Why}, nil
}

// Judge verifies the evidence without a network, and returns what is not true in
// what the directory signed. The trusted root and the forge table have to be those
// of its map.
func (l *Lie) Judge(d *Descriptor, root *sigstore.Root, forges *Forges) (string, error) {
	a, err := ParseAnswer(l.Answer)
	if err != nil {
		return "", err
	}
	p := &proving{root: root, forges: forges, descriptor: d, repo: l.Repository, page: func(key string, block, records int) ([]byte, error) {
		for _, raw := range l.Pages {
			if page, err := ParsePage(raw); err == nil && page.Key == key && page.Block == block && len(page.Records) == records {
				return raw, nil
			}
		}
		return nil, fmt.Errorf("page %d of %s is not there", block, clip(key))
	}}
	var held []Held
	if l.Bundle != nil {
		collected, ignored := Collect(root, forges, []File{{Name: opaqueBundle, Data: l.Bundle}})
		if len(ignored) > 0 {
			return "", errors.New(ignored[0].Why)
		}
		held, p.generations = collected.held, collected.entries
	}
	c, err := p.open(l.Answer, a)
	if err != nil {
		return "", err
	}
	for _, h := range held {
		if p.omits(c, h) {
			return omission(c, h), nil
		}
	}
	var lie *Lie
	if _, err := p.records(c); errors.As(err, &lie) {
		return lie.Why, nil
	} else if err != nil {
		return "", err
	}
	return "", errors.New("all of its records bind, and what is said to be omitted is there or was not read")
}

// omission says which binding is not shown.
func omission(c *claim, h Held) string {
	at := h.Leaf.Facts().Entry
	return fmt.Sprintf("it has read %d entries of the log %s, and does not show the binding at %d", c.sizes[at.Log], at.Log, at.Index)
}
