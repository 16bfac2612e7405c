// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Resolver finds the policy of a repository: the chain that its files and the
// log show together.
type Resolver struct {
	Root    *sigstore.Root
	Forges  *Forges
	Lookups []Lookup // in any order; none leaves the completeness at "none"
	// Trees demands that what is shown of a log is of one history; nil demands nothing.
	Trees *rekor.Trees
	// Clock takes the times that are proven; nil takes none.
	Clock *rekor.Clock
	// Keeper remembers chains between runs; nil remembers nothing.
	Keeper Keeper
	// DefaultRefs are the refs that the forge advertises as the default branch.
	DefaultRefs []string
	Pin, Anchor string     // digest of statement 1, hex; "" without
	Ids         policy.Ids // numbers of the repository that bound it; zero for any
	Now         time.Time
	Index       bool     // an index is asked also if a directory proved what exists
	Beside      []string // see [Query.Beside]
}

// Keeper remembers the chain of each repository.
type Keeper interface {
	Kept(repo policy.Locator) (chain.Kept, error)
	// Keep stores next if old is still what is stored, and reports whether it
	// did.
	Keep(repo policy.Locator, old, next chain.Kept) (bool, error)
}

// Resolution is a chain and how it was found.
type Resolution struct {
	Chain   *chain.Chain
	Ignored []Ignored
	// Failed are the look-ups that gave no answer, by name.
	Failed map[string]error
	Fork   *rekor.Fork // evidence that a log contradicts itself; nil without
	Lie    *Lie        // evidence that a directory lied; nil without
	// Evidence are the evidence files about alarms of the chain, by the hex SHA-256
	// of their bytes.
	Evidence map[string]*Evidence

	history chain.History
	trees   []rekor.Seen // that look-ups rest on
}

// Standing returns who signed a statement that wants to be the next version of
// the chain; see [chain.Chain.Standing].
func (r *Resolution) Standing(payload []byte) (chain.Standing, error) {
	s, err := rekorbind.ParseStatement(payload)
	if err != nil {
		return chain.Standing{}, err
	}
	h := r.history
	h.Statements = append(slices.Clone(h.Statements), s)
	return chain.Evaluate(h).Standing(h, s.Digest())
}

// Named returns the repositories that statements of that version at hand are
// about, whoever signed them: where to look for the chain of a repository that
// is about to take up another name.
func (r *Resolution) Named(version int) []policy.Locator {
	var out []policy.Locator
	for i := range r.history.Statements {
		if s := &r.history.Statements[i]; s.Err() == nil && s.Version() == version &&
			!slices.Contains(out, s.Repository()) {
			out = append(out, s.Repository())
		}
	}
	return out
}

// BoundBy reports whether anything that was found was bound by the repository of that number,
// under whichever name.
func (r *Resolution) BoundBy(number string) bool {
	return slices.ContainsFunc(r.history.Leaves, func(l chain.Leaf) bool {
		b := l.Facts().Binding
		return b.RepositoryID == number && b.Repository.Host() == r.history.Repository.Host()
	})
}

// maxNames is how many names of one repository are asked for.
const maxNames = 16

// look asks the look-ups under every name of the repository, until nothing new appears.
func (r *Resolver) look(ctx context.Context, c *Collection, h *chain.History, out *Resolution) error {
	files, asked, again := *h, 0, 0
	var names []policy.Locator // what one round showed and the next does not is asked for, too
	var numbers, passed []string
	for {
		shown, ids := h.Horizon()
		for _, n := range shown {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		numbers = slices.Compact(slices.Sorted(slices.Values(append(numbers, ids...))))
		mine := Query{Repository: h.Repository, Names: names, Numbers: numbers}.LookKeys()
		if slices.ContainsFunc(passed, func(k string) bool { return mine[k] }) {
			asked, again = 0, again+1 // it was the repository's after all
		}
		switch {
		case len(names)+again > maxNames:
			// What is under the others cannot be known.
			h.View = chain.View{Completeness: chain.CompleteNone}
			out.Failed["names"] = fmt.Errorf(
				"%d names of the repository, at most %d are asked for", len(names)+again, maxNames,
			)
			return nil
		case len(names) == asked:
			return nil
		}
		asked = len(names)
		// What is found under more names is all of it: one answer counts, not two.
		*h, out.Failed = files, map[string]error{}
		var listed []File
		listed, passed = r.ask(ctx, c, names, numbers, h, out)
		files.LogForks, files.Lies = h.LogForks, h.Lies // what was shown once stays
		if len(listed) > 0 {
			ignored, err := c.collect(budget.Of(ctx), listed)
			if err != nil {
				return err
			}
			out.Ignored = append(out.Ignored, ignored...)
			now := c.History(h.Repository, h.Now)
			h.Statements, h.Signatures = now.Statements, now.Signatures
			files.Statements, files.Signatures = now.Statements, now.Signatures
		}
		if ctx.Err() != nil { // what the names that were found since would show is not known
			h.View = chain.View{Completeness: chain.CompleteNone}
			return nil
		}
	}
}

// ask asks each look-up once, and takes over what it found. It returns signature files that
// were not at hand, and keys of bindings that were passed over.
//
// An index promises nothing that a directory did not prove: it is asked if none did.
func (r *Resolver) ask(
	ctx context.Context, c *Collection, names []policy.Locator, numbers []string, h *chain.History, out *Resolution,
) (files []File, passed []string) {
	silent, twice := false, false // an index gave no answer; two directories gave one
	var oldest time.Time
	h.Leaves, h.LogForks, h.Lies = slices.Clip(h.Leaves), slices.Clip(h.LogForks), slices.Clip(h.Lies)
	for _, l := range r.Lookups {
		index := l.Best() == chain.CompleteHinted
		if index && !r.Index && h.View.Completeness.Beats(chain.CompleteScanned) {
			continue
		}
		found, err := l.Find(ctx, Query{
			Repository: h.Repository, Names: names, Numbers: numbers, Beside: r.Beside,
			Known: c.Known(), Placed: c.placed, Held: c.held, Trees: c.Trees(), Generations: c.entries,
		})
		if err != nil {
			out.Failed[l.Name()] = err
			var behind *rekor.Behind
			if errors.As(err, &behind) {
				r.Clock.Prove(behind.Time, behind.Why)
			}
			if errors.As(err, &out.Fork) {
				h.LogForks = append(h.LogForks, err.Error())
			}
			if errors.As(err, &out.Lie) {
				h.Lies = append(h.Lies, err.Error())
			}
			silent = silent || index && !errors.Is(err, ErrNoIndex)
			continue
		}
		h.Leaves, files, passed = append(
			h.Leaves,
			found.Leaves...), append(
			files,
			found.Files...), append(
			passed,
			found.Passed...)
		if found.Completeness.Beats(h.View.Completeness) {
			h.View = chain.View{Completeness: found.Completeness, AsOf: found.AsOf, Inputs: found.Inputs}
		}
		if oldest.IsZero() || found.AsOf.Before(oldest) {
			oldest = found.AsOf
		}
		out.trees = append(out.trees, found.Trees...)
		r.Clock.Prove(found.Floor.Time, found.Floor.Why)
		for _, leaf := range found.Leaves {
			e := leaf.Facts().Entry
			r.Clock.Prove(e.Time, "an entry of the log "+e.Log)
			r.Clock.Prove(e.NotBefore, "a certificate in the log "+e.Log)
		}
		switch {
		case found.Directory != nil && h.Directory != nil: // each has a clock of its own
			out.Failed[l.Name()] = errors.New("another directory answered: a run has one")
			twice = true
		case found.Directory != nil:
			h.Directory = found.Directory
		}
	}
	if twice {
		h.View = chain.View{Completeness: chain.CompleteNone}
	}
	if silent && h.View.Completeness == chain.CompleteHinted { // each log has its own index
		h.View = chain.View{Completeness: chain.CompleteNone}
	}
	if oldest.Before(h.View.AsOf) { // one log may be frozen while another answers
		h.View.AsOf = oldest
	}
	return files, passed
}

// maxDated is of how many trees of place proofs it is proven that they are of one history
// with others; what further ones prove is not taken.
const maxDated = 256

// oneTree demands that the checkpoints of each log are of one history: those of the policy's
// signatures, and what the look-ups rest on. A place proof of which that cannot be shown is as
// if it were not there.
func (r *Resolver) oneTree(ctx context.Context, c *Collection, h *chain.History, out *Resolution) error {
	for _, seen := range slices.Concat(out.trees, c.seen(c.trees)) {
		unproven, err := r.same(ctx, seen, h, out)
		if unproven != nil {
			h.Unproven = append(h.Unproven, unproven.Error())
		}
		if err != nil || out.Fork != nil {
			return err
		}
	}
	for i, seen := range c.seen(c.dated) {
		unproven, err := error(nil), error(nil)
		if i < maxDated {
			unproven, err = r.same(ctx, seen, h, out)
		}
		if i >= maxDated || unproven != nil {
			delete(c.moments, treeOf{seen.Log, seen.Origin, seen.Size})
		}
		if err != nil || out.Fork != nil {
			return err
		}
	}
	h.Moments = c.History(h.Repository, h.Now).Moments
	return nil
}

// same demands of one checkpoint what [Trees.Same] does. What nobody was asked about is no
// obstacle, and noted.
func (r *Resolver) same(ctx context.Context, seen rekor.Seen, h *chain.History, out *Resolution) (unproven, err error) {
	err = r.Trees.Same(ctx, seen)
	var fork *rekor.Fork
	var u *rekor.Unproven
	switch {
	case errors.As(err, &fork):
		out.Fork = fork
		h.LogForks = append(h.LogForks, err.Error())
	case errors.As(err, &u) && u.Unasked:
		h.Unasked = append(h.Unasked, err.Error())
	case errors.As(err, &u):
		return err, nil
	default:
		return nil, err
	}
	return nil, nil
}

// Resolve returns the chain of the repository. A look-up that fails leaves less
// known and never an error: what the chain then allows is for the demand to say.
// The error is about the machine's own state, or wraps a [*budget.Exceeded].
func (r *Resolver) Resolve(ctx context.Context, repo policy.Locator, files []File) (*Resolution, error) {
	out := &Resolution{Failed: map[string]error{}, Evidence: map[string]*Evidence{}}
	c, ignored, err := collect(budget.Of(ctx), r.Root, r.Forges, files)
	if err != nil {
		return nil, err
	}
	out.Ignored = ignored
	h := c.History(repo, r.Now)
	h.DefaultRefs, h.Pin, h.Anchor, h.Ids = r.DefaultRefs, r.Pin, r.Anchor, r.Ids
	h.View = chain.View{Completeness: chain.CompleteNone}
	if err := r.look(ctx, c, &h, out); err != nil {
		return nil, err
	}
	if c.fork != nil { // also by what a directory gave
		out.Fork = c.fork
		h.LogForks = append(h.LogForks, c.fork.Error())
	}
	for _, v := range c.times {
		r.Clock.Date(v)
	}
	if err := r.oneTree(ctx, c, &h, out); err != nil {
		return nil, err
	}
	if r.Keeper != nil {
		var err error
		if h.Kept, err = r.Keeper.Kept(repo); err != nil {
			return nil, fmt.Errorf("what was kept of %s: %w", repo, err)
		}
	}
	out.Chain, out.history = chain.Evaluate(h), h
	out.Chain.Acknowledge(func(a chain.Alarm) string {
		e := c.evidence(repo, a, r.Now)
		if e == nil {
			return ""
		}
		digest := spelling.Sum(e.Bytes())
		out.Evidence[digest] = e
		return digest
	})
	if r.Keeper != nil {
		next := out.Chain.Keep()
		if ok, err := r.Keeper.Keep(repo, h.Kept, next); err != nil {
			return nil, fmt.Errorf("keeping the chain of %s: %w", repo, err)
		} else if !ok { // another process kept more, which this chain was not judged by
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("keeping the chain of %s: %w", repo, err)
			}
			return r.Resolve(ctx, repo, files)
		}
	}
	return out, nil
}

// Again is a statement that has to be bound again.
type Again struct {
	Payload []byte
	Version int
	Number  string // of the repository that has to do it
}

// Asides returns what has to be bound again from the default branch of today, so that the
// chain reaches the policy with this text; see [chain.History.Asides]. The error says that statements
// with the same text rest on different ones.
func (r *Resolution) Asides(text []byte) ([]Again, error) {
	var out []Again
	var root string
	for i := range r.history.Statements {
		s := &r.history.Statements[i]
		if d := s.Document(); d == nil || !bytes.Equal(d.Text(), text) {
			continue
		}
		asides := r.history.Asides(s.Digest())
		if len(asides) == 0 {
			continue
		}
		first := asides[len(asides)-1].Statement.Digest()
		if root != "" && first != root {
			return nil, fmt.Errorf("the policy rests on the statements sha256:%s and sha256:%s alike", root, first)
		}
		root, out = first, nil
		for _, x := range asides {
			payload, err := rekorbind.Encode(x.Statement.Document().Text(), x.Statement.Previous())
			if err != nil || spelling.Sum(payload) != x.Statement.Digest() {
				return nil, fmt.Errorf(
					"the statement sha256:%s is not what its policy gives: %w", x.Statement.Digest(), err,
				)
			}
			out = append(out, Again{payload, x.Statement.Version(), x.Number})
		}
	}
	return out, nil
}
