// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/policy"
)

// Grace is how long what a binding binds can be handed in to a directory after that has
// read it (SPEC 8.3). It is counted by the directory's own clock; see [Shown].
const Grace = 8 * 24 * time.Hour

// Position is a place in a log.
type Position struct {
	Log   string
	Index int64
}

func positionOf(e policy.Entry) Position { return Position{e.Log, e.Index} }

// Shown names a leaf of a directory's output log: the first that shows something.
type Shown struct {
	Leaf int64
	Time time.Time
	// Clock is how long the directory had been at work by then: the time between its
	// leaves, of which none counts for more than a day.
	Clock time.Duration
}

// Directory is what a directory proved about the logs that it follows, up to one leaf of
// its output log. What it was not asked about is not in it.
type Directory struct {
	Latest     Shown              // the leaf
	Sizes      map[string]int64   // how many entries of each log it has read
	Bindings   map[Position]Shown // all bindings that it read, and the first leaf that covers each
	Statements []Listed
	Signatures []Listed
}

// Listed is what was handed in to a directory, where anybody can have it: a statement, or a
// signature over one, by its entry in a log.
type Listed struct {
	Payload string // hex digest of the statement's payload
	PAE     string // of a statement, of its pre-authentication encoding
	Position
	Shown
}

// watch is whether a directory says by when what a binding binds was handed in.
type watch uint8

const (
	watchNone watch = iota // it says nothing: the log's order stands
	watchOpen              // there is time left
	watchOver              // there is none: what was not handed in never counts
)

// watcher applies what a directory proved to the bindings that it read.
type watcher struct {
	*Directory
	statements map[string]Shown              // by either digest
	since      map[string]time.Duration      // by number: from when on the directory takes part for a repository
	shown      map[string]map[Position]Shown // the same
}

func (e *evaluator) watcher(leaves []*leaf) *watcher {
	d := e.h.Directory
	if d == nil {
		return nil
	}
	w := &watcher{d, map[string]Shown{}, map[string]time.Duration{}, map[string]map[Position]Shown{}}
	first := func(m map[string]Shown, key string, s Shown) {
		if old, twice := m[key]; key != "" && (!twice || s.Clock < old.Clock) {
			m[key] = s
		}
	}
	for _, s := range d.Statements {
		first(w.statements, s.Payload, s.Shown)
		first(w.statements, s.PAE, s.Shown)
	}
	for _, s := range d.Signatures {
		at := w.shown[s.Payload]
		if at == nil {
			at = map[Position]Shown{}
			w.shown[s.Payload] = at
		}
		if old, twice := at[s.Position]; !twice || s.Clock < old.Clock {
			at[s.Position] = s.Shown
		}
	}
	for _, l := range leaves {
		cover, read := d.Bindings[positionOf(l.Entry)]
		listed, ok := w.listed(l)
		if !read || !ok {
			continue
		}
		from := max(cover.Clock, listed.Clock)
		if old, twice := w.since[l.number()]; !twice || from < old {
			w.since[l.number()] = from
		}
	}
	return w
}

// number names the repository whatever its name is.
func (l *leaf) number() string { return l.Binding.Repository.Host() + " " + l.Binding.RepositoryID }

// listed returns the leaf that first shows the statement of a binding.
func (w *watcher) listed(l *leaf) (Shown, bool) {
	digests := []string{l.Payload, l.PAE}
	if l.statement != nil {
		digests = []string{l.statement.digest, l.statement.pae}
	}
	for _, d := range digests {
		if s, ok := w.statements[d]; ok && d != "" {
			return s, true
		}
	}
	return Shown{}, false
}

// look says of a binding what the directory shows of it, and whether it has lapsed: whatever
// it binds was not handed in in time.
func (w *watcher) look(l *leaf) (lapsed bool) {
	if w == nil {
		return false
	}
	cover, read := w.Bindings[positionOf(l.Entry)]
	since, part := w.since[l.number()]
	if !read || !part {
		return false
	}
	l.watch, l.deadline = watchOpen, max(cover.Clock, since)+Grace
	if w.Latest.Clock > l.deadline {
		l.watch = watchOver
	}
	shown, ok := w.listed(l)
	l.shown = shown
	l.pending = !ok || shown.Clock > l.deadline
	return l.pending && l.watch == watchOver
}

// beyond reports whether a version rests on bindings that the directory has not read, although
// it takes part: they may still lapse.
func (w *watcher) beyond(l *link) bool {
	all := l.effect.possible
	return w != nil && len(all) > 0 &&
		!slices.ContainsFunc(all, func(b *leaf) bool { return b.watch != watchNone }) &&
		slices.ContainsFunc(all, func(b *leaf) bool { _, part := w.since[b.number()]; return part })
}

// holes are the statements of which a signature that the directory shows, in time for one of
// their bindings, is not at hand: they are as if they were not at hand themselves.
func (w *watcher) holes(sigs []Signature, leaves []*leaf) map[string]bool {
	out := map[string]bool{}
	if w == nil {
		return out
	}
	until := map[*Statement]time.Duration{}
	for _, l := range leaves {
		if l.statement != nil && l.watch != watchNone {
			until[l.statement] = max(until[l.statement], l.deadline)
		}
	}
	ends := map[string]time.Duration{}
	for s, end := range until {
		ends[s.digest] = end
	}
	have := map[string]map[Position]bool{}
	for _, s := range sigs {
		if s.verified {
			at := have[s.facts.Statement]
			if at == nil {
				at = map[Position]bool{}
				have[s.facts.Statement] = at
			}
			at[positionOf(s.facts.Entry)] = true
		}
	}
	for _, s := range w.Signatures {
		if end, bound := ends[s.Payload]; bound && s.Clock <= end && !have[s.Payload][s.Position] {
			out[s.Payload] = true
		}
	}
	return out
}

// handedIn says of the signatures over a statement when the directory showed them. Those that
// it does not show say nothing where it takes part.
func (w *watcher) handedIn(digest string, sigs []*signature, leaves []*leaf) []*signature {
	if w == nil {
		return sigs
	}
	beyond := !slices.ContainsFunc(leaves, func(l *leaf) bool { return l.watch != watchNone }) ||
		slices.ContainsFunc(leaves, func(l *leaf) bool { return l.watch == watchNone })
	return slices.DeleteFunc(sigs, func(sig *signature) bool {
		sig.shown, sig.listed = w.shown[digest][positionOf(sig.Entry)]
		return !sig.listed && !beyond
	})
}

// countsFor reports whether the signature was handed in in time for the binding.
func (s *signature) countsFor(l *leaf) bool {
	return l.watch == watchNone || s.listed && s.shown.Clock <= l.deadline
}

// disclosed returns when the directory first showed a binding's statement with its quorum;
// zero where it does not take part.
func (w *walk) disclosed(prev *link, s *Statement, sigs []*signature, l *leaf) time.Time {
	if l.watch == watchNone {
		return time.Time{}
	}
	all := []Shown{l.shown}
	for _, sig := range sigs {
		if sig.listed && sig.shown.Clock > l.shown.Clock {
			all = append(all, sig.shown)
		}
	}
	arrange.By(all, func(a, b Shown) int { return int(a.Leaf - b.Leaf) })
	may := w.mayPrecede(l)
	for _, at := range all {
		if w.quorum(prev, s, sigs, func(sig *signature) bool { return may(sig) && sig.shown.Clock <= at.Clock }) {
			return at.Time
		}
	}
	return w.h.Now
}
