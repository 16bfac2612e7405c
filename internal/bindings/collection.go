// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Collection turns bundles into what a chain is evaluated from. All of them are
// verified under one trusted root.
type Collection struct {
	Root   *sigstore.Root
	Forges *Forges // nil for the table that is built in

	statements map[string]chain.Statement
	signatures []signed
	held       []Held         // bindings
	entries    map[string]int // generation of each log, as its entries show it
	known      map[string][]policy.Entry
	placed     map[string]map[string]bool     // names of entries of Rekor v1, by log
	verified   map[string][][]byte            // bundles in JSON, by statement
	trees      map[treeOf]sigstore.Checkpoint // that verified entries show
	dated      map[treeOf]sigstore.Checkpoint // that place proofs show
	moments    map[treeOf][]policy.Moment     // of those
	times      []*sigstore.Verified           // bundles, for the times that they prove
	fork       *rekor.Fork                    // two of them that contradict each other; nil without
}

// signed is a signature that was verified, and its file.
type signed struct {
	chain.SignatureFacts
	data []byte
}

// treeOf is what there can be one tree of.
type treeOf struct {
	log, origin string
	size        int64
}

// Known returns the places of the log leaves that were verified, by their hex hash.
func (c *Collection) Known() map[string][]policy.Entry { return c.known }

// Generations says of each log that showed an entry of which generation it is.
func (c *Collection) Generations() map[string]int { return c.entries }

// Held returns the bindings that were verified and whose files are at hand.
func (c *Collection) Held() []Held { return c.held }

// Learn takes the statement of a bundle without verifying a signature: it is
// addressed by its content. Keys of its maintainers are then known to [Add].
func (c *Collection) Learn(b *sigstore.Bundle) (chain.Statement, error) {
	payload := b.Payload()
	if payload == nil {
		return chain.Statement{}, errors.New("the bundle has no statement")
	}
	if s, known := c.statements[spelling.Sum(payload)]; known {
		return s, s.Err()
	}
	s, err := rekorbind.ParseStatement(payload)
	_ = c.learn(s)
	return s, err
}

// learn takes a statement and returns why it can never be part of a chain.
func (c *Collection) learn(s chain.Statement) error {
	if c.statements == nil {
		c.statements, c.entries, c.known = map[string]chain.Statement{}, map[string]int{}, map[string][]policy.Entry{}
	}
	c.statements[s.Digest()] = s
	return s.Err()
}

// Add verifies a bundle whose statement was learnt and takes what it proves: a
// binding, if its certificate proves that a repository spoke, else a signature.
func (c *Collection) Add(b *sigstore.Bundle) error {
	s, err := c.Learn(b)
	if err != nil {
		return err
	}
	v, err := c.verify(b)
	if err != nil {
		c.doubt(&s, err, nil)
		return err
	}
	return c.take(&s, v, nil)
}

// doubt takes a signature that counts for nothing, or may, because of what an authority says of
// its certificate today: what it would complete is not to be undone in silence (SPEC 8.9).
func (c *Collection) doubt(s *chain.Statement, err error, data []byte) {
	v := sigstore.Doubted(err)
	if v == nil {
		return
	}
	why := policy.RevocationUnknown
	var e *sigstore.Error
	if errors.As(err, &e) && e.Reason == policy.CertificateRevoked {
		why = e.Reason
	}
	for _, e := range v.Entries {
		if e.Proven {
			c.signatures = append(c.signatures, signed{chain.SignatureFacts{
				Statement: s.Digest(), Signer: v.Signer, Entry: v.Place(e), Doubt: why, Why: err.Error(), Body: e.Body,
			}, data})
		}
	}
}

// take takes what a verified bundle over a statement proves. Data is its file.
func (c *Collection) take(s *chain.Statement, v *sigstore.Verified, data []byte) error {
	c.times = append(c.times, v)
	signer := v.Signer
	binding, unauthorized := c.Forges.Authority(signer)
	for _, e := range v.Entries {
		if !e.Proven {
			continue
		}
		if unauthorized == nil && !e.Readable {
			return errors.New(
				"a binding that those who read the log cannot see: it has to be dsse or hashedrekord, by a P-256 key",
			)
		}
		if g, twice := c.entries[e.LogID]; twice && g != e.Generation {
			return fmt.Errorf("the log %s has entries of two generations", e.LogID)
		}
		c.entries[e.LogID] = e.Generation
		if at := v.Place(e); at.Index >= 0 { // without a place it proves less than the log can show
			c.known[e.LeafHash] = append(c.known[e.LeafHash], at)
			c.place(e)
		}
		c.show(e)
		if unauthorized != nil {
			c.signatures = append(
				c.signatures,
				signed{chain.SignatureFacts{Statement: s.Digest(), Signer: signer, Entry: v.Place(e)}, data},
			)
			continue
		}
		c.held = append(
			c.held,
			Held{
				chain.LeafFacts{
					Payload: s.Digest(), PAE: s.PAE(), Body: e.Body, Binding: binding, Entry: v.Place(e),
				}.Verified(),
				data,
			},
		)
	}
	return nil
}

// place takes the name of a verified entry of Rekor v1: a tree holds a leaf once, and the log
// signed which tree it is.
func (c *Collection) place(e sigstore.LogEntry) {
	name := rekor.EntryName(sigstore.TreeID(e.Origin), e.LeafHash)
	if name == "" {
		return
	}
	if c.placed == nil {
		c.placed = map[string]map[string]bool{}
	}
	if c.placed[e.LogID] == nil {
		c.placed[e.LogID] = map[string]bool{}
	}
	c.placed[e.LogID][name] = true
}

// show takes the checkpoint of a verified entry.
func (c *Collection) show(e sigstore.LogEntry) {
	if e.Checkpoint == nil {
		return
	}
	if c.trees == nil {
		c.trees = map[treeOf]sigstore.Checkpoint{}
	}
	of := treeOf{e.LogID, e.Origin, e.Checkpoint.Size}
	c.compare(of, *e.Checkpoint)
	if _, twice := c.trees[of]; !twice {
		c.trees[of] = *e.Checkpoint
	}
}

// compare demands that there is one tree of a size.
func (c *Collection) compare(of treeOf, now sigstore.Checkpoint) {
	for _, seen := range []map[treeOf]sigstore.Checkpoint{c.trees, c.dated} {
		if old, ok := seen[of]; ok && c.fork == nil && !bytes.Equal(old.Root, now.Root) {
			c.fork = &rekor.Fork{
				Log: of.log, Seen: old.Note, New: now.Note, Why: fmt.Sprintf("two trees of %d entries", of.size),
			}
		}
	}
}

// Trees returns the checkpoints that verified entries show, by log, one of each tree:
// by origin, the newest first.
func (c *Collection) Trees() map[string][]sigstore.Checkpoint {
	out := map[string][]sigstore.Checkpoint{}
	for of, cp := range c.trees {
		out[of.log] = append(out[of.log], cp)
	}
	for _, cps := range out {
		arrange.By(cps, func(a, b sigstore.Checkpoint) int {
			return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(b.Size, a.Size))
		})
	}
	return out
}

// seen returns the checkpoints among them, of each log the smallest first.
func (c *Collection) seen(trees map[treeOf]sigstore.Checkpoint) []rekor.Seen {
	var out []rekor.Seen
	for of, cp := range trees {
		out = append(out, rekor.Seen{Log: of.log, Generation: c.generation(of.log), Checkpoint: cp})
	}
	arrange.By(out, func(a, b rekor.Seen) int {
		return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Size, b.Size))
	})
	return out
}

// generation returns that of a log, as its entries show it, or else its id.
func (c *Collection) generation(log string) int {
	if g := c.entries[log]; g != 0 {
		return g
	}
	for _, l := range c.Root.Logs() {
		if l.ID == log {
			return l.Generation
		}
	}
	return 0
}

// verify verifies the bundle, with each key that a statement names if it is
// signed by one.
func (c *Collection) verify(b *sigstore.Bundle) (*sigstore.Verified, error) {
	digest := b.Statement().Subjects[0].Digests[0]
	if b.Signer().Kind != policy.KindKey {
		return b.Verify(c.Root, digest, nil, sigstore.Options{})
	}
	err := errors.New("signed by a key that no statement names")
	for _, pem := range c.keys() {
		key, keyErr := sigstore.ParseKey([]byte(pem), time.Time{}, time.Time{})
		if keyErr != nil {
			continue
		}
		v, verifyErr := b.Verify(c.Root, digest, key, sigstore.Options{})
		if verifyErr == nil {
			return v, nil
		}
		err = verifyErr
	}
	return nil, err
}

func (c *Collection) keys() []string {
	var out []string
	for _, s := range c.statements {
		if s.Document() == nil {
			continue
		}
		for _, m := range s.Document().Content().Maintainers.Members {
			for _, k := range m.Keys {
				if k.PEM != "" {
					out = append(out, k.PEM)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// History returns what was collected, for the repository. The caller adds what
// it kept, pins and knows about completeness.
func (c *Collection) History(repo policy.Locator, now time.Time) chain.History {
	h := chain.History{Repository: repo, MaintainersBind: c.Forges.MaintainersBind(repo), Now: now}
	for _, all := range c.moments {
		h.Moments = append(h.Moments, all...)
	}
	for _, s := range c.signatures {
		h.Signatures = append(h.Signatures, s.SignatureFacts.Verified())
	}
	for _, l := range c.held {
		h.Leaves = append(h.Leaves, l.Leaf)
	}
	for _, s := range c.statements {
		h.Statements = append(h.Statements, s)
	}
	for _, l := range c.Root.Logs() {
		if g := c.entries[l.ID]; g != 0 {
			l.Generation = g
		}
		h.Logs = append(h.Logs, l.Log)
	}
	return h
}
