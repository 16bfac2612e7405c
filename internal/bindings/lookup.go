// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"context"
	"errors"
	"time"

	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Query is what a look-up is asked.
type Query struct {
	Repository policy.Locator
	// Names are those under which it is asked for: its own, and what the chain at hand has
	// taken up or left (SPEC 8.7).
	Names []policy.Locator
	// Numbers are those of the repository that the chain at hand shows, as its host gives them.
	Numbers []string
	// Beside are numbers of the repository that releases show, of which nothing at hand speaks:
	// an answer has what they bound under any name, or says that it is nothing. An index lists
	// no numbers.
	Beside []string
	// Known are the places of the log leaves that are at hand already, by hex hash.
	Known map[string][]policy.Entry
	// Placed are the entries of Rekor v1 among them whose shard a checkpoint shows, by log:
	// their whole names, as an index lists them.
	Placed map[string]map[string]bool
	// Held are the bindings among them: what an answer has to show.
	Held []Held
	// Trees are the checkpoints that are at hand, by log: of each origin, the newest
	// first. They have to be of the same history as what is found.
	Trees map[string][]sigstore.Checkpoint
	// Generations says of which generation a log is whose entries are at hand;
	// its id does not always.
	Generations map[string]int
}

// Asked returns the names to ask for.
func (q Query) Asked() []policy.Locator {
	if len(q.Names) == 0 {
		return []policy.Locator{q.Repository}
	}
	return q.Names
}

// lookKeys returns those under which bindings are the repository's, as [lookKey] gives them.
func (q Query) LookKeys() map[string]bool {
	out := map[string]bool{}
	for _, n := range q.Asked() {
		out[LookKey(n.String())] = true
	}
	for _, id := range q.Numbers {
		out[LookKey(numberKey(q.Repository.Host(), id))] = true
	}
	return out
}

// BesideKeys returns the keys of the numbers in Beside.
func (q Query) BesideKeys() []string {
	var out []string
	for _, id := range q.Beside {
		out = append(out, numberKey(q.Repository.Host(), id))
	}
	return out
}

// Held is a binding that is at hand, with the bundle in JSON that proves it.
type Held struct {
	Leaf   chain.Leaf
	Bundle []byte
}

// Found is what a look-up found.
type Found struct {
	Leaves       []chain.Leaf // bindings that are not among the known
	Completeness chain.Completeness
	AsOf         time.Time
	Directory    *chain.Directory // nil unless a directory answered
	// Inputs is when the newest of what the answer rests on was made, of the open log of which
	// that is the longest ago; zero if nothing says so.
	Inputs time.Time
	// Floor is the latest time that the answer proves; zero for none (SPEC 9.2).
	Floor rekor.Floor
	// Trees are the checkpoints that the answer rests on.
	Trees []rekor.Seen
	// Files are signature files that it lists and that were not at hand. Nothing of them is
	// verified.
	Files []File
	// Passed are keys of bindings that were passed over because they are none of the query's,
	// as [lookKey] gives them.
	Passed []string
}

// Lookup finds the log entries by which a repository bound versions of its
// policy, those included that nobody has published. Several can be asked: what
// any of them finds counts, and the best of them says how complete that is.
type Lookup interface {
	// Name says what is asked, for messages.
	Name() string
	// Best is the most that it can say of how complete its answers are.
	Best() chain.Completeness
	// Find returns what is in the log. An error is an answer that was not to be
	// had or that proves itself wrong, never an empty one.
	Find(ctx context.Context, q Query) (Found, error)
}

// newLeaf returns a verified entry as a binding.
func NewLeaf(l *sigstore.Leaf, b chain.Binding) chain.Leaf {
	return chain.LeafFacts{Payload: l.Payload, PAE: l.PAE, Body: l.Body, Binding: b, Entry: l.Place}.Verified()
}

type Verified struct {
	Leaf *sigstore.Leaf
	By   chain.Binding
}

// keyDigits are as many of a hash as tell keys apart.
const KeyDigits = 32

// lookKey is a key of a directory's map as it is remembered: of a fixed length.
func LookKey(key string) string { return spelling.Sum([]byte(key))[:KeyDigits] }

// ErrNoIndex is the error of asking the index of a log that the trusted root's id
// takes for one of Rekor v1, and whose entries show that it is one of Rekor v2.
var ErrNoIndex = errors.New("a log of Rekor v2, which has no index; its tiles can be read (--scan)")

// Covers reports whether an answer knows what the chain was when an entry was logged: the log
// had been read up to there, or else, where the log is not read, the answer is younger.
func (f *Found) Covers(e policy.Entry) bool {
	if f.Directory != nil { // nil where it leaves out what the repository has
		if size, read := f.Directory.Sizes[e.Log]; read && e.Index >= 0 {
			return e.Index < size
		}
	}
	at := e.Time
	if at.IsZero() {
		at = e.NotBefore
	}
	return !at.IsZero() && !at.After(f.AsOf)
}
