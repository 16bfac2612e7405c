// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	maxRoots      = 32  // that are followed in a run; one version of a policy names fewer
	maxKeyTargets = 400 // that are asked for in a run
)

// Targets asks trust roots for the targets that rules name (SPEC 5.12, 5.13), and follows each
// root once. Its methods may be called from several goroutines.
type Targets struct {
	finder *Finder
	query  *Query
	began  time.Time // of the run, or the moment as of which what is carried is judged

	mu     sync.Mutex
	fresh  map[string]bool // roots whose word of now counts
	roots  map[string]*askedRoot
	facts  map[policy.RootTarget]policy.RootFact
	byName bool // roots are named as in the user's map
}

// askedRoot is a root that was followed, or why it was not.
type askedRoot struct {
	targets *trust.Targets
	fresh   bool // nothing kept stands for an answer
	err     error
}

// Targets returns what asks the roots that policies name by the digest of their first metadata,
// as the query says: off-line, or of what is carried.
func (f *Finder) Targets(q *Query) *Targets {
	t := &Targets{
		finder: f, query: q, began: f.Now(), fresh: map[string]bool{}, roots: map[string]*askedRoot{},
		facts: map[policy.RootTarget]policy.RootFact{},
	}
	if q.Carried != nil && !q.Moment.IsZero() {
		t.began = q.Moment
	}
	return t
}

// TargetsOf returns what asks the roots of the user's map by their names.
func (f *Finder) TargetsOf(q *Query) *Targets {
	t := f.Targets(q)
	t.byName = true
	return t
}

// Inform lets a policy judge by what trust roots say of the targets that its rules take keys from,
// asked as the policy was. Without such rules nobody is asked. Nobody else may use it at that time.
func (f *Finder) Inform(ctx context.Context, found *Found) {
	t := f.Targets(found.query)
	defer t.Close()
	found.Know(t.Facts(ctx, found.Trusted().KeyTargets(), found.Trusted().Content()))
}

// Close ends the use of the roots.
func (t *Targets) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.roots {
		if r.targets != nil {
			r.targets.Close()
		}
	}
	t.roots = map[string]*askedRoot{}
}

// Facts returns what trust roots say of the targets from which rules take keys. Rules by which
// artifacts are listed are asked of later: of their roots nothing that is kept stands for an
// answer.
func (t *Targets) Facts(ctx context.Context, keys []policy.RootTarget, newest *policy.File) []policy.RootFact {
	t.mu.Lock()
	defer t.mu.Unlock()
	if newest != nil {
		for _, r := range newest.Rules {
			if r.Target != nil {
				t.fresh[r.Target.Root] = true
			}
		}
	}
	var out []policy.RootFact
	for _, k := range keys {
		at := policy.RootTarget{Root: k.Root, Path: k.Path}
		fact, known := t.facts[at]
		if !known {
			fact = t.fact(ctx, k)
			t.facts[at] = fact
		}
		out = append(out, fact)
	}
	return out
}

func (t *Targets) fact(ctx context.Context, of policy.RootTarget) policy.RootFact {
	if len(t.facts) >= maxKeyTargets {
		return of.Unknown(policy.TrustRootMissing, fmt.Sprintf("at most %d keys of trust roots are asked for", maxKeyTargets))
	}
	r := t.root(ctx, of)
	if r.err != nil {
		return of.Unknown(reasonOf(r.err), r.err.Error())
	}
	return r.targets.Key(ctx, of)
}

// Listed returns what a trust root says now of a target; nil if it lists none.
func (t *Targets) Listed(ctx context.Context, want policy.RootTarget) (*release.Listed, error) {
	t.mu.Lock()
	t.fresh[want.Root] = true
	r := t.root(ctx, want)
	t.mu.Unlock()
	if r.err != nil {
		return nil, &release.Failure{Reason: reasonOf(r.err), Detail: r.err.Error()}
	}
	l, err := r.targets.Find(ctx, want.Path)
	if err != nil {
		return nil, &release.Failure{Reason: reasonOf(err), Detail: err.Error()}
	}
	if l == nil {
		return nil, nil
	}
	return &release.Listed{
		Role: l.Role, Version: l.Version, Expires: l.Expires, Length: l.Length, Digests: l.Digests, At: t.began,
	}, nil
}

// Reach returns why a root cannot be followed that a rule names; nil if it can.
func (t *Targets) Reach(ctx context.Context, want policy.RootTarget) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return RootFault(t.root(ctx, want).err)
}

// Carry reads what roots say of the targets that rules name, as the policy was asked, so that it is
// recorded. A root that cannot be followed is an error: what is carried would be judged as if it
// were still unknown.
func (f *Finder) Carry(ctx context.Context, found *Found) error {
	t := f.Targets(found.query)
	defer t.Close()
	trusted := found.Trusted()
	for _, fact := range t.Facts(ctx, trusted.KeyTargets(), trusted.Content()) {
		if state, _, why := fact.State(); state == "unknown" {
			return policy.Faultf(policy.TrustRootMissing, "%s: %s", fact.Of(), why)
		}
	}
	return t.Record(ctx, trusted.Content())
}

// Record reads all metadata of the roots by which rules say that artifacts are listed, so that it
// is recorded.
func (t *Targets) Record(ctx context.Context, newest *policy.File) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, rule := range newest.Rules {
		if rule.Target == nil {
			continue
		}
		r := t.root(ctx, *rule.Target)
		if r.err != nil {
			return RootFault(r.err)
		}
		if err := r.targets.Walk(ctx); err != nil {
			return RootFault(err)
		}
	}
	return nil
}

// root follows a root once, and keeps what came of it. One whose kept metadata stood for an answer
// is asked after all when that may not be: the keys of another root's policy were asked for first.
func (t *Targets) root(ctx context.Context, want policy.RootTarget) *askedRoot {
	before := t.roots[want.Root]
	if before != nil && (before.fresh || !t.fresh[want.Root]) {
		return before
	}
	r := &askedRoot{fresh: t.fresh[want.Root]}
	if before == nil && len(t.roots) >= maxRoots {
		r.err = policy.Faultf(policy.TrustRootMissing, "at most %d trust roots are asked that rules name", maxRoots)
		return r
	}
	if before != nil && before.targets != nil {
		before.targets.Close()
	}
	t.roots[want.Root] = r
	config, err := t.finder.TrustConfig(&t.query.Trust)
	if err != nil {
		r.err = err
		return r
	}
	how := t.how(want.Root)
	if files, ok := how.Source.(carriedTrust); ok && len(files.metadata) == 0 {
		r.err = policy.Faultf(policy.TrustRootMissing, "the file of --airgap carries nothing of the root %s", want.Root)
		return r
	}
	if want.Root == string(trust.PublicGood) {
		how = t.finder.Followed(how)
	} else {
		how = t.finder.Named(config, how)
	}
	if t.byName {
		r.targets, r.err = config.CurrentOf(ctx, want.Root, how)
	} else {
		r.targets, r.err = config.Current(ctx, want.Root, want.URL, how)
	}
	return r
}

// how says how a root is followed.
func (t *Targets) how(root string) trust.Options {
	q := t.query
	how := trust.Options{Offline: q.Offline, Now: t.finder.Now}
	how.Fresh = !how.Offline && (q.Fresh || t.fresh[root])
	if record := q.RecordTargets; record != nil {
		how.Record = func(target bool, name string, data []byte) { record(root, target, name, data) }
	}
	if b := q.Carried; b != nil {
		files := b.Roots[airgap.RootName(root)]
		how.Offline, how.Now = true, func() time.Time { return t.began }
		how.Source = carriedTrust{files.Metadata, files.Targets}
	}
	return how
}

// reasonOf returns the reason for which a root could not be had.
func reasonOf(err error) policy.Reason {
	var f *policy.Fault
	if errors.As(RootFault(err), &f) && f.Reason == policy.TrustRootInvalid {
		return policy.TrustRootInvalid
	}
	var se *sigstore.Error
	if errors.As(err, &se) && se.Reason == policy.TrustRootInvalid {
		return policy.TrustRootInvalid
	}
	return policy.TrustRootMissing
}
