// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	// maxFetched is how many entries that nobody has looked at are fetched in one look-up, and
	// maxAgain how many of those that were found to add nothing.
	maxFetched = 2000
	maxAgain   = 100
	// fetchers is how many requests for entries are on their way at once.
	fetchers = 4
	// rememberEvery is after how many entries what was found is remembered.
	rememberEvery = 500
	// hintTimeout is how long all questions to the index may take together.
	hintTimeout = 2 * time.Minute
)

// ErrFlooded is the error of a look-up in an index with more unknown entries
// than are fetched: what else is there cannot be known.
var ErrFlooded = errors.New(
	"index-flooded: the index lists more unknown entries for this repository than are looked at in one run",
)

// floodHint says what helps against [ErrFlooded].
const floodHint = "what was looked at is remembered, so that a later run gets further; " +
	"--directory or --staple need no index, and --lock FILE --require none judges by what is known"

// Hint looks up Rekor v1's index. The index is unauthenticated and written on a
// best-effort basis: that it lists nothing is its operator's word. What it does
// list is verified.
type Hint struct {
	Root   *sigstore.Root
	Forges *bindings.Forges
	Client *web.Client
	Now    func() time.Time
	// Entries remembers what the index listed; nil remembers nothing.
	Entries Remembered
	Log     string // id

	timeout time.Duration // 0 for hintTimeout
	limit   int           // 0 for maxFetched
}

// Name returns the service's URL.
func (h *Hint) Name() string { return "index of " + h.Client.URL() }

// Best says that an index is a hint.
func (h *Hint) Best() chain.Completeness { return chain.CompleteHinted }

// Find asks the index for the anchors of the repository's names and fetches what is unknown.
func (h *Hint) Find(ctx context.Context, q bindings.Query) (bindings.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(h.timeout, hintTimeout))
	defer cancel()
	if q.Generations[h.Log] == 2 {
		return bindings.Found{}, fmt.Errorf("%s: %w", h.Client.URL(), bindings.ErrNoIndex)
	}
	found := bindings.Found{Completeness: chain.CompleteHinted, AsOf: h.Now()}
	names, err := h.listed(ctx, q)
	if err != nil {
		return bindings.Found{}, err
	}
	todo := h.sort(names, q)
	found.Passed = todo.passed
	places := map[int64]string{}
	limit := cmp.Or(h.limit, maxFetched)
	fetch := slices.Concat(todo.unknown[:min(len(todo.unknown), limit)], todo.again[:min(len(todo.again), maxAgain)])
	for wave := range slices.Chunk(fetch, rememberEvery) {
		seen, leaves, err := h.fetch(ctx, wave)
		if twice := onePlaceEach(seen, places); twice != nil {
			return bindings.Found{}, fmt.Errorf("%s: %w", h.Client.URL(), twice)
		}
		if seen = h.news(seen, len(todo.again) > maxAgain); len(seen) > 0 { // also if something failed
			if err := h.Entries.Add(seen); err != nil {
				return bindings.Found{}, err
			}
		}
		if err != nil {
			return bindings.Found{}, err
		}
		found.Leaves = append(found.Leaves, leaves...)
	}
	if more := len(todo.unknown) - limit; more > 0 {
		return bindings.Found{}, fmt.Errorf("%w: %d more than %d; %s", ErrFlooded, more, limit, floodHint)
	}
	return found, nil
}

// news returns what is to be remembered: what is not so already, or all where some have to
// wait for their turn.
func (h *Hint) news(seen []Looked, turns bool) []Looked {
	if h.Entries == nil {
		return nil
	}
	return slices.DeleteFunc(seen, func(l Looked) bool {
		old, ok := h.Entries.Get(l.Name)
		return ok && !turns && old.same(l)
	})
}

// onePlaceEach demands that no binding is shown for two names with different shards: one of
// them would be another entry, which is withheld.
func onePlaceEach(seen []Looked, places map[int64]string) error {
	for _, l := range seen {
		if len(l.Keys) == 0 || len(l.Name) == rekor.NameDigits {
			continue
		}
		if other := places[l.Index]; other != "" && other != l.Name {
			return fmt.Errorf("the entries %s and %s are shown at one place", other, l.Name)
		}
		places[l.Index] = l.Name
	}
	return nil
}

// listed returns the names of the entries that the index lists, each once. One leaf may stand
// in several shards of a log, and only one of them may bind: the whole name tells them apart.
func (h *Hint) listed(ctx context.Context, q bindings.Query) ([]string, error) {
	var out []string
	once := map[string]bool{}
	for _, name := range q.Asked() {
		of, err := rekor.Search(ctx, h.Client, name.Anchor())
		if err != nil {
			return nil, err
		}
		for _, u := range of {
			if !once[u] {
				once[u], out = true, append(out, u)
			}
		}
	}
	return out, nil
}

// todo is what is to be done about the entries that an index lists.
type todo struct {
	unknown []string // to be fetched
	// again may be fetched once more: they add nothing by what the service showed before.
	again  []string
	passed []string // keys of bindings of other repositories, as [lookKey] gives them
}

// sort decides by what is remembered. What only the body and the trusted root decide is
// final: the name has the body's hash in it. At which place of the log an entry stands is
// not in its name, so that a service which lied once must not be believed for ever.
func (h *Hint) sort(names []string, q bindings.Query) (out todo) {
	wanted := q.LookKeys()
	for _, name := range names {
		if q.Placed[h.Log][name] { // what was verified from this very place says all that the service could
			continue
		}
		var l Looked
		seen := false
		if h.Entries != nil {
			l, seen = h.Entries.Get(name)
		}
		hash, _ := rekor.LeafOfUUID(name)
		here := func(e policy.Entry) bool { return e.Log == h.Log && e.Index == l.Index }
		switch {
		case !seen:
			out.unknown = append(out.unknown, name)
		case len(l.Keys) == 0: // it binds nothing
		case !slices.ContainsFunc(l.Keys, func(k string) bool { return wanted[k] }):
			out.passed = append(out.passed, l.Keys...)
		case l.Late || slices.ContainsFunc(q.Known[hash], here):
			out.again = append(out.again, name)
		default:
			out.unknown = append(out.unknown, name)
		}
	}
	if h.Entries != nil { // those first that were not looked at for the longest time
		arrange.By(
			out.again, func(a, b string) int { return cmp.Compare(h.Entries.Age(b), h.Entries.Age(a)) },
		)
	}
	return out
}

// fetch returns what some entries are, and the bindings among them. An entry that claims to
// be one and that the log does not vouch for is an error: an index that could pass off
// bindings as junk would hide them for ever. What was found beside an error is returned.
func (h *Hint) fetch(ctx context.Context, names []string) (seen []Looked, leaves []chain.Leaf, err error) {
	batches := slices.Collect(slices.Chunk(names, rekor.EntriesBatch))
	type result struct {
		seen   []Looked
		leaves []chain.Leaf
	}
	results := make([]result, len(batches))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for i, batch := range batches {
		group.Go(func() (err error) {
			results[i].seen, results[i].leaves, err = h.batch(within, batch)
			return err
		})
	}
	err = group.Wait()
	for _, r := range results {
		seen, leaves = append(seen, r.seen...), append(leaves, r.leaves...)
	}
	return seen, leaves, err
}

// batch does the same for as many as are asked for at once.
func (h *Hint) batch(ctx context.Context, names []string) (seen []Looked, leaves []chain.Leaf, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	entries, err := rekor.RetrieveSome(ctx, h.Client, names)
	if err != nil {
		return nil, nil, err
	}
	entries, err = rekor.Assign(names, entries)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", h.Client.URL(), err)
	}
	for i, name := range names {
		l, leaf, err := h.judge(name, entries[i].Data)
		if err != nil {
			return seen, nil, fmt.Errorf("%s: an entry that does not verify: %w", h.Client.URL(), err)
		}
		seen = append(seen, l)
		if leaf != nil {
			leaves = append(leaves, *leaf)
		}
	}
	return seen, leaves, nil
}

// judge returns what an entry is, and the binding that it is.
func (h *Hint) judge(name string, data []byte) (Looked, *chain.Leaf, error) {
	var by chain.Binding
	e, why := sigstore.ParseEntryV1(data)
	if why == nil {
		by, why = h.Forges.Authority(e.Signer)
	}
	if why == nil {
		why = h.Root.Issued(e)
	}
	if why != nil { // whoever says so: the body and the trusted root alone show it
		return Looked{Name: name}, nil, nil
	}
	out := Looked{Name: name}
	for _, k := range bindings.Keys(by) {
		out.Keys = append(out.Keys, bindings.LookKey(k))
	}
	out.Index = e.Index()
	l, err := h.Root.VerifyV1(e)
	if late(err) {
		out.Late = true
		return out, nil, nil
	}
	if err != nil {
		return Looked{}, nil, err
	}
	leaf := bindings.NewLeaf(l, by)
	return out, &leaf, nil
}

// late reports whether an entry that the log vouches for came when its certificate, or the
// log's key, did not count.
func late(err error) bool {
	var e *sigstore.Error
	return errors.As(err, &e) && (e.Reason == policy.CertificateChain || e.Reason == policy.TimeInvalid)
}
