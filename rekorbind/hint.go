// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	maxUnknownUUID = 500 // that are fetched and classified
	// hintTimeout is how long all questions to the index may take together.
	hintTimeout = 2 * time.Minute
)

// ErrFlooded is the error of a look-up in an index with more unknown entries
// than are fetched: what else is there cannot be known.
var ErrFlooded = errors.New("index-flooded: the index lists more unknown entries for this repository than are looked at")

// ErrNoIndex is the error of asking the index of a log that the trusted root's id
// takes for one of Rekor v1, and whose entries show that it is one of Rekor v2.
var ErrNoIndex = errors.New("a log of Rekor v2, which has no index; its tiles can be read (--scan)")

// Hint looks up Rekor v1's index. The index is unauthenticated and written on a
// best-effort basis: that it lists nothing is its operator's word. What it does
// list is verified.
type Hint struct {
	Root   *sigstore.Root
	Forges *Forges
	Client *web.Client
	Now    func() time.Time
	// Spam remembers the hashes of leaves that were found to bind nothing; nil
	// remembers nothing.
	Spam Remembered
	Log  string // id

	timeout time.Duration // 0 for hintTimeout
}

// Remembered is a set of hashes that outlives a run.
type Remembered interface {
	Has(hash string) bool
	Add(hashes []string) error
}

// Name returns the service's URL.
func (h *Hint) Name() string { return "index of " + h.Client.URL() }

// Find asks the index for the anchors of the repository's names and fetches what is unknown.
func (h *Hint) Find(ctx context.Context, q Query) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(h.timeout, hintTimeout))
	defer cancel()
	if q.Generations[h.Log] == 2 {
		return Found{}, fmt.Errorf("%s: %w", h.Client.URL(), ErrNoIndex)
	}
	found := Found{Completeness: policy.CompleteHinted, AsOf: h.Now()}
	unknown, err := h.unknown(ctx, q)
	if err != nil {
		return Found{}, err
	}
	for batch := range slices.Chunk(unknown, entriesBatch) {
		leaves, spam, err := h.fetch(ctx, batch)
		if err != nil {
			return Found{}, err
		}
		found.Leaves = append(found.Leaves, leaves...)
		if h.Spam != nil && len(spam) > 0 { // also if a later batch fails
			if err := h.Spam.Add(spam); err != nil {
				return Found{}, err
			}
		}
	}
	return found, nil
}

// unknown returns the names of the entries that the index lists, each of another
// leaf, and that nobody has looked at.
func (h *Hint) unknown(ctx context.Context, q Query) ([]string, error) {
	var uuids []string
	for _, name := range q.names() {
		of, err := search(ctx, h.Client, name.Anchor())
		if err != nil {
			return nil, err
		}
		uuids = append(uuids, of...)
	}
	var unknown []string
	listed := map[string]bool{}
	for _, u := range uuids {
		hash, _ := leafOfUUID(u)
		if !listed[hash] && len(q.Known[hash]) == 0 && !(h.Spam != nil && h.Spam.Has(hash)) {
			unknown = append(unknown, u)
		}
		listed[hash] = true
		if len(unknown) > maxUnknownUUID {
			return nil, ErrFlooded
		}
	}
	return unknown, nil
}

// fetch returns the bindings among some entries, and the hashes of those that can
// be none. An entry that claims to be one and does not verify is an error: an
// index that could pass off bindings as junk would hide them for ever.
func (h *Hint) fetch(ctx context.Context, uuids []string) (leaves []policy.Leaf, spam []string, err error) {
	var hashes []string
	for _, u := range uuids {
		hash, _ := leafOfUUID(u)
		hashes = append(hashes, hash)
	}
	entries, err := retrieve(ctx, h.Client, uuids)
	if err != nil {
		return nil, nil, err
	}
	got := map[string]bool{}
	for _, raw := range entries {
		// The hash is that of the body, whatever the service calls it.
		e, why := sigstore.ParseEntryV1(raw)
		if !slices.Contains(hashes, e.LeafHash) {
			return nil, nil, fmt.Errorf("%s: an entry that was not asked for", h.Client.URL())
		}
		got[e.LeafHash] = true
		if why == nil {
			_, why = h.Forges.Authority(e.Signer)
		}
		if why != nil { // whoever says so: the body alone shows it
			spam = append(spam, e.LeafHash)
			continue
		}
		leaf, err := h.leaf(e)
		switch {
		case err == nil:
			leaves = append(leaves, leaf)
		case !foreign(err):
			return nil, nil, fmt.Errorf("%s: an entry that does not verify: %w", h.Client.URL(), err)
		}
	}
	for _, hash := range hashes {
		if !got[hash] {
			return nil, nil, fmt.Errorf("%s: the entry %s is listed and withheld", h.Client.URL(), hash)
		}
	}
	return leaves, spam, nil
}

func (h *Hint) leaf(e *sigstore.EntryV1) (policy.Leaf, error) {
	l, err := h.Root.VerifyV1(e)
	if err != nil {
		return policy.Leaf{}, err
	}
	b, err := h.Forges.Authority(l.Signer)
	if err != nil {
		return policy.Leaf{}, err
	}
	return newLeaf(l, b), nil
}

// foreign reports whether an entry does not count because its certificate is not
// one of the trusted root, rather than because the service lies about it.
func foreign(err error) bool {
	var e *sigstore.Error
	return errors.As(err, &e) && (e.Reason == policy.CertificateChain || e.Reason == policy.SCTInvalid)
}

// newLeaf returns a verified entry as a binding.
func newLeaf(l *sigstore.Leaf, b policy.Binding) policy.Leaf {
	return policy.NewLeaf(policy.LeafFacts{Payload: l.Payload, PAE: l.PAE, Body: l.Body, Binding: b, Entry: l.Place})
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80]
	}
	return s
}
