// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// The kinds of contradictions.
const (
	contradictionFork     = "fork"           // two versions after the same one
	contradictionGenesis  = "second-genesis" // two versions 1 of one repository
	contradictionRollback = "rollback"       // a version exists that was not served
)

// Finding is what an evidence file proves.
type Finding struct {
	Kind     string    // that the file claims (SPEC 12): "fork", "second-genesis" or "rollback"
	Versions []Version // signed by a quorum and bound, in the order of the log if that is known
	Ordered  bool
}

// AcrossNames reports whether the statements may be about a repository under several names.
func (f Finding) AcrossNames() bool { return f.Kind == contradictionFork }

// Contradiction checks that the history, which needs to hold no more than the
// statements in question and the one before them, proves what is claimed of the
// statements with the digests: each has its quorum, that of the version before
// included, and was bound by the repository.
func (h History) Contradiction(kind string, digests []string) (Finding, error) {
	want := 2
	switch kind {
	case contradictionFork, contradictionGenesis:
	case contradictionRollback:
		want = 1
	default:
		return Finding{}, fmt.Errorf("%q is not a kind of evidence", kind)
	}
	if len(digests) != want || want == 2 && digests[0] == digests[1] {
		return Finding{}, fmt.Errorf("evidence of a %s is about %d statements", kind, want)
	}
	e := newEvaluator(&h, newOrder(h.Logs))
	f := Finding{Kind: kind}
	var found []*Statement
	for _, d := range digests {
		s := e.statements[d]
		if s == nil || s.doc == nil {
			return Finding{}, fmt.Errorf("statement sha256:%s is not among the bundles, or cannot be judged", d)
		}
		v, err := e.proven(s)
		if err != nil {
			return Finding{}, fmt.Errorf("statement sha256:%s: %w", d, err)
		}
		found, f.Versions = append(found, s), append(f.Versions, v)
	}
	if err := contradict(kind, found, f.Versions); err != nil {
		return Finding{}, err
	}
	if want == 2 {
		a, b := f.Versions[0].Bindings[0], f.Versions[1].Bindings[0]
		if e.before(b, a) {
			slices.Reverse(f.Versions)
			a, b = b, a
		}
		f.Ordered = e.before(a, b)
	}
	return f, nil
}

// contradict reports why the statements do not contradict each other.
func contradict(kind string, s []*Statement, v []Version) error {
	switch kind {
	case contradictionFork:
		switch {
		case s[0].version < 2 || s[0].version != s[1].version || s[0].previous != s[1].previous:
			return errors.New("the two statements do not follow the same one")
		case s[0].repository.Host() != s[1].repository.Host() || v[0].Ids.Repository != v[1].Ids.Repository:
			return errors.New("the two statements were bound by different repositories")
		}
	case contradictionGenesis:
		first := func(s *Statement) bool { return s.version == 1 && s.file().Recovers == "" }
		if !first(s[0]) || !first(s[1]) || s[0].repository != s[1].repository {
			return errors.New("they are not two first statements of one repository")
		}
	case contradictionRollback:
		if s[0].version < 2 {
			return errors.New("nothing comes before a version 1")
		}
	}
	return nil
}

// proven checks quorum and binding of one statement.
func (e *evaluator) proven(s *Statement) (Version, error) {
	w := &walk{evaluator: e, subjects: map[signer]string{}, settled: map[*leaf]bool{}, owner: map[*leaf]bool{}}
	var prev *link
	if s.version > 1 {
		p := e.statements[s.previous]
		if p == nil || !follows(p, s) {
			return Version{}, errors.New("the statement before it is not among the bundles")
		}
		prev = &link{stmt: p}
	}
	sigs := w.countable(prev, s)
	v := Version{Statement: s.digest, Number: s.version, Document: s.doc}
	var first policy.Entry
	for _, l := range w.bindings(s, sigs) {
		b := l.Binding
		if b.Repository != s.repository && (prev == nil || b.Repository != prev.stmt.repository) {
			continue
		}
		precedes := func(sig *signature) bool {
			return !w.before(l.Entry, sig.Entry)
		}
		if !w.quorum(prev, s, sigs, precedes) {
			continue
		}
		if first.Log == "" || w.before(l.Entry, first) {
			first, v.Ids = l.Entry, policy.Ids{Repository: b.RepositoryID, Owner: b.OwnerID}
		}
	}
	if first.Log == "" {
		return Version{}, errors.New("no binding that a quorum precedes")
	}
	v.Bindings = []policy.Entry{first}
	for _, sig := range sigs {
		if !slices.Contains(v.Signers, sig.Signer) {
			v.Signers = append(v.Signers, sig.Signer)
		}
	}
	return v, nil
}
