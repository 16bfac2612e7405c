// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of Rekor v1's index, which anyone can fill under any key.
const (
	maxIndexReply  = 8 << 20
	maxEntriesV1   = 16 << 20
	entriesBatch   = 10  // as many as the service takes in one request
	maxUnknownUUID = 500 // that are fetched and classified
)

// ErrFlooded is the error of a look-up in an index with more unknown entries
// than are fetched: what else is there cannot be known.
var ErrFlooded = errors.New("index-flooded: the index lists more unknown entries for this repository than are looked at")

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
}

// Remembered is a set of hashes that outlives a run.
type Remembered interface {
	Has(hash string) bool
	Add(hashes []string) error
}

// Name returns the service's URL.
func (h *Hint) Name() string { return "index of " + h.Client.URL() }

// Find asks the index for the repository's anchor and fetches what is unknown.
func (h *Hint) Find(ctx context.Context, q Query) (Found, error) {
	found := Found{Completeness: policy.CompleteHinted, AsOf: h.Now()}
	body, err := json.Marshal(map[string]string{"hash": "sha256:" + q.Repository.Anchor()})
	if err != nil {
		return Found{}, err
	}
	reply, err := h.Client.Ask(ctx, "api/v1/index/retrieve", "application/json", body, maxIndexReply)
	if err != nil {
		return Found{}, err
	}
	uuids, err := parseIndex(reply)
	if err != nil {
		return Found{}, fmt.Errorf("%s: %w", h.Name(), err)
	}
	var unknown []string // names, each of another leaf
	listed := map[string]bool{}
	for _, u := range uuids {
		hash, _ := leafOfUUID(u)
		if !listed[hash] && !q.Known[hash] && !(h.Spam != nil && h.Spam.Has(hash)) {
			unknown = append(unknown, u)
		}
		listed[hash] = true
		if len(unknown) > maxUnknownUUID {
			return Found{}, ErrFlooded
		}
	}
	var spam []string
	for batch := range slices.Chunk(unknown, entriesBatch) {
		leaves, junk, err := h.fetch(ctx, batch)
		if err != nil {
			return Found{}, err
		}
		found.Leaves = append(found.Leaves, leaves...)
		spam = append(spam, junk...)
	}
	if h.Spam != nil && len(spam) > 0 {
		if err := h.Spam.Add(spam); err != nil {
			return Found{}, err
		}
	}
	return found, nil
}

// parseIndex reads the names of entries. Null is no list: that nothing is there
// has to be said.
func parseIndex(reply []byte) ([]string, error) {
	var uuids []string
	if err := json.Unmarshal(reply, &uuids); err != nil {
		return nil, err
	}
	if uuids == nil {
		return nil, errors.New("null is no list of entries")
	}
	for _, u := range uuids {
		if _, ok := leafOfUUID(u); !ok {
			return nil, fmt.Errorf("%q is not an entry's name", clip(u))
		}
	}
	return uuids, nil
}

// leafOfUUID returns the leaf hash in the name of an entry, which has 64 hex
// digits, after 16 of the tree's number in newer instances.
func leafOfUUID(u string) (string, bool) {
	if len(u) != 64 && len(u) != 80 || strings.Trim(u, "0123456789abcdef") != "" {
		return "", false
	}
	return u[len(u)-64:], true
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
	body, err := json.Marshal(map[string][]string{"entryUUIDs": uuids})
	if err != nil {
		return nil, nil, err
	}
	reply, err := h.Client.Ask(ctx, "api/v1/log/entries/retrieve", "application/json", body, maxEntriesV1)
	if err != nil {
		return nil, nil, err
	}
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(reply, &entries); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", h.Client.URL(), err)
	}
	got := map[string]bool{}
	for _, m := range entries {
		for _, raw := range m {
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
