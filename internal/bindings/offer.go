// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Offer is a statement that somebody hands in to a directory, with those signatures over it
// that can count: by members of it or of the statement that it follows (SPEC 16.1).
type Offer struct {
	Payload    []byte
	Statement  chain.Statement
	Signatures []OfferedSignature // ascending by log, then index
	Bindings   []OfferedBinding   // the same; empty for a statement that is refused
}

// OfferedBinding is a binding of the statement that was verified.
type OfferedBinding struct {
	chain.Binding
	chain.Position
	Body   []byte // of the entry, as the bundle says
	Bundle []byte
}

// OfferedSignature is a signature that was verified, by one of its log entries. Whether its
// certificate was revoked is for those to say who judge by it: what was shown stays shown.
type OfferedSignature struct {
	SignatureRecord
	Signer policy.Identity
	Bundle []byte
}

// Offers returns what signature files offer under a trusted root, in the order of the
// statements' digests. Earlier are payloads of statements that are known already. A file that
// proves nothing offers nothing.
func Offers(root *sigstore.Root, forges *Forges, files []File, earlier [][]byte) []Offer {
	c := &Collection{Root: root, Forges: forges, verified: map[string][][]byte{}}
	for _, payload := range earlier {
		s, _ := rekorbind.ParseStatement(payload)
		_ = c.learn(s)
	}
	_, _ = c.collect(nil, files) // without a budget nothing exceeds it
	by := map[string]*Offer{}
	for _, f := range files {
		b, err := sigstore.ParseBundle(f.Data)
		if err != nil || b.Statement() == nil || b.Statement().PredicateType != spelling.StatementPredicate {
			continue
		}
		s, _ := rekorbind.ParseStatement(b.Payload())
		if by[s.Digest()] == nil {
			by[s.Digest()] = &Offer{Payload: b.Payload(), Statement: s}
		}
	}
	for _, s := range c.signatures {
		o := by[s.Statement]
		if o == nil || s.Entry.Index < 0 || !c.counts(&o.Statement, s.Signer) {
			continue
		}
		o.Signatures = append(
			o.Signatures,
			OfferedSignature{SignatureRecord{s.Statement, s.Entry.Log, s.Entry.Index}, s.Signer, s.data},
		)
	}
	for _, h := range c.held {
		f := h.Leaf.Facts()
		o := by[f.Payload]
		b, err := sigstore.ParseBundle(h.Bundle)
		if o == nil || err != nil || f.Entry.Index < 0 {
			continue
		}
		o.Bindings = append(
			o.Bindings,
			OfferedBinding{
				f.Binding, chain.Position{Log: f.Entry.Log, Index: f.Entry.Index}, b.Body(f.Entry.Log), h.Bundle,
			},
		)
	}
	var out []Offer
	for _, o := range by {
		arrange.By(o.Bindings, func(a, b OfferedBinding) int {
			return cmp.Or(cmp.Compare(a.Position.Log, b.Position.Log), cmp.Compare(a.Index, b.Index))
		})
		arrange.By(o.Signatures, func(a, b OfferedSignature) int {
			return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Index, b.Index))
		})
		o.Signatures = slices.CompactFunc(
			o.Signatures, func(a, b OfferedSignature) bool { return a.SignatureRecord == b.SignatureRecord },
		)
		out = append(out, *o)
	}
	arrange.By(out, func(a, b Offer) int { return cmp.Compare(a.Statement.Digest(), b.Statement.Digest()) })
	return out
}

// counts reports whether a signature by that identity over the statement can count.
func (c *Collection) counts(s *chain.Statement, id policy.Identity) bool {
	named := func(s *chain.Statement) bool {
		return s.Document() != nil && s.Document().Content().Maintainers.Names(id)
	}
	before, known := c.statements[s.Previous()]
	return named(s) || known && named(&before)
}

// SignatureRecord says that a signature over a statement was, by its log entry.
type SignatureRecord struct {
	Payload string // hex digest of the statement's payload
	Log     string // hex id
	Index   int64
}

// bundles returns the files of an offer, each once, those first that show that the statement
// is bound.
func (o *Offer) Bundles() [][]byte {
	var out [][]byte
	add := func(data []byte) {
		if !slices.ContainsFunc(out, func(b []byte) bool { return bytes.Equal(b, data) }) {
			out = append(out, data)
		}
	}
	for _, b := range o.Bindings {
		add(b.Bundle)
	}
	for _, s := range o.Signatures {
		add(s.Bundle)
	}
	return out
}

// Line does the same.
func (r SignatureRecord) Line() (string, error) {
	if !spelling.IsHash(r.Payload) || !spelling.IsHash(r.Log) || r.Index < 0 {
		return "", fmt.Errorf("a signature at %d of the log %q", r.Index, clip.Text(r.Log))
	}
	return fmt.Sprintf("signature %s %s %d", r.Payload, r.Log, r.Index), nil
}
