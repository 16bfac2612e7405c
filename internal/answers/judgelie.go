// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/bindings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// lie returns the error about what is not true: evidence, unless the answer is too large for that.
func (p *proving) lie(c *claim, bundle []byte, why string) error {
	if c.large {
		return fmt.Errorf("%s: %s (its answer is too large to be kept as evidence)", p.descriptor.URL, why)
	}
	return &bindings.Lie{
		Directory: p.descriptor.URL, Repository: p.repo, Answer: c.raw, Pages: c.pages, Bundle: bundle, Why: why,
	}
}

// JudgeLie verifies the evidence without a network, and returns what is not true in
// what the directory signed. The trusted root and the forge table have to be those
// of its map.
func (d *Descriptor) JudgeLie(l *bindings.Lie, root *sigstore.Root, forges *bindings.Forges) (string, error) {
	a, err := ParseAnswer(l.Answer)
	if err != nil {
		return "", err
	}
	p := &proving{
		root:       root,
		forges:     forges,
		descriptor: d,
		repo:       l.Repository,
		page: func(key string, block, records int) ([]byte, error) {
			for _, raw := range l.Pages {
				if page, err := ParsePage(raw); err == nil && page.Key == key && page.Block == block &&
					len(page.Records) == records {
					return raw, nil
				}
			}
			return nil, fmt.Errorf("page %d of %s is not there", block, clip.Text(key))
		},
	}
	var held []bindings.Held
	if l.Bundle != nil {
		collected, ignored := bindings.Collect(root, forges, []bindings.File{{Name: strictjson.Bundle, Data: l.Bundle}})
		if len(ignored) > 0 {
			return "", errors.New(ignored[0].Why)
		}
		held, p.generations = collected.Held(), collected.Generations()
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
	var lie *bindings.Lie
	if _, err := p.records(c); errors.As(err, &lie) {
		return lie.Why, nil
	} else if err != nil {
		return "", err
	}
	return "", errors.New("all of its records bind, and what is said to be omitted is there or was not read")
}

// omission says which binding is not shown.
func omission(c *claim, h bindings.Held) string {
	at := h.Leaf.Facts().Entry
	return fmt.Sprintf(
		"it has read %d entries of the log %s, and does not show the binding at %d", c.sizes[at.Log], at.Log,
		at.Index,
	)
}
