// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// ContradictionKind is what an evidence file claims (SPEC 12): "fork", "second-genesis" or
// "rollback".
type ContradictionKind string

// AcrossNames reports whether the statements may be about a repository under several names.
func (k ContradictionKind) AcrossNames() bool { return k == contradictionFork }

// The kinds.
const (
	contradictionFork     ContradictionKind = "fork"           // two versions after the same one
	contradictionGenesis  ContradictionKind = "second-genesis" // two versions 1 of one repository
	contradictionRollback ContradictionKind = "rollback"       // a version exists that was not served
)

// Finding is what an evidence file proves.
type Finding struct {
	Kind     ContradictionKind
	Versions []FoundVersion // in the order of the log, if that is known
	Ordered  bool
}

// FoundVersion is a version that was signed by a quorum and bound.
type FoundVersion struct {
	Statement  string // hex digest
	Number     int
	Repository policy.Locator
	Ids        policy.Ids
	Binding    policy.Entry // the first one
	Signers    []policy.Identity
}

// Contradiction checks that the history, which needs to hold no more than the
// statements in question and the one before them, proves what is claimed of the
// statements with the digests: each has its quorum, that of the version before
// included, and was bound by the repository.
func (h History) Contradiction(kind ContradictionKind, digests []string) (Finding, error) {
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
		a, b := f.Versions[0].Binding, f.Versions[1].Binding
		if e.before(b, a) {
			slices.Reverse(f.Versions)
			a, b = b, a
		}
		f.Ordered = e.before(a, b)
	}
	return f, nil
}

// contradict reports why the statements do not contradict each other.
func contradict(kind ContradictionKind, s []*Statement, v []FoundVersion) error {
	switch kind {
	case contradictionFork:
		switch {
		case s[0].version < 2 || s[0].version != s[1].version || s[0].previous != s[1].previous:
			return errors.New("the two statements do not follow the same one")
		case v[0].Repository.Host() != v[1].Repository.Host() || v[0].Ids.Repository != v[1].Ids.Repository:
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
func (e *evaluator) proven(s *Statement) (FoundVersion, error) {
	w := &walk{evaluator: e, subjects: map[signer]string{}, settled: map[*leaf]bool{}, owner: map[*leaf]bool{}}
	var prev *link
	if s.version > 1 {
		p := e.statements[s.previous]
		if p == nil || !follows(p, s) {
			return FoundVersion{}, errors.New("the statement before it is not among the bundles")
		}
		prev = &link{stmt: p}
	}
	sigs := w.countable(prev, s)
	v := FoundVersion{Statement: s.digest, Number: s.version, Repository: s.repository}
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
		if v.Binding.Log == "" || w.before(l.Entry, v.Binding) {
			v.Binding, v.Ids = l.Entry, policy.Ids{Repository: b.RepositoryID, Owner: b.OwnerID}
		}
	}
	if v.Binding.Log == "" {
		return FoundVersion{}, errors.New("no binding that a quorum precedes")
	}
	for _, sig := range sigs {
		if !slices.Contains(v.Signers, sig.Signer) {
			v.Signers = append(v.Signers, sig.Signer)
		}
	}
	return v, nil
}
