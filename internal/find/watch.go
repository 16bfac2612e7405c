// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// Watch is what a run knows of the logs of a trusted root and of time, beside the policy.
type Watch struct {
	trees    *rekor.Trees
	clock    *rekor.Clock
	state    *memory.State
	staple   *bindings.Found // on which the policy rests; nil without
	ask      bool            // the directory, about what is beyond it
	beyond   atomic.Bool     // there was evidence that is
	oneLog   bool            // is demanded
	timeless bool            // the user says as of when
	trust    Trust           // by which evidence of a fork is judged
}

// NewWatch returns what watches a root: it asks the logs, unless off-line.
func (f *Finder) NewWatch(q *Query, root trust.Root, state *memory.State) (*Watch, error) {
	trees, err := f.newTrees(q, root, state)
	if err != nil {
		return nil, err
	}
	timeless := q.Timeless || !q.Moment.IsZero()
	w := &Watch{trees: trees, clock: &rekor.Clock{Now: f.Now}, state: state, timeless: timeless, trust: q.Trust}
	return w, w.clock.Load(state)
}

// carry takes the proofs that a file brings. One that counts for nothing is as if it were not
// there; one that shows a fork decides.
func (w *Watch) carry(ctx context.Context, b *airgap.Bundle) error {
	for _, name := range slices.Sorted(maps.Keys(b.Logs)) {
		g, err := rekor.ParseGrowth(b.Logs[name])
		if err != nil {
			return policy.Faultf(policy.Usage, "--airgap: logs/%s: %s", name, err)
		}
		if err = w.trees.Carry(ctx, g); errors.Is(err, rekor.ErrLogFork) {
			return policy.Faultf(policy.LogForked, "%s", w.forked(err).Detail)
		}
	}
	return nil
}

// Proofs puts into a file that each log is of one history, as far as the policy and the
// evidence in it show trees of it.
func (w *Watch) Proofs(ctx context.Context, b *airgap.Bundle, evidence []string) error {
	for _, path := range evidence {
		err := w.trees.Show(ctx, release.Checkpoints(path))
		var u *rekor.Unproven
		switch {
		case errors.Is(err, rekor.ErrLogFork):
			return policy.Faultf(policy.LogForked, "%s: %s", path, w.forked(err).Detail)
		case errors.As(err, &u):
			return policy.Faultf(policy.LogUnproven, "%s: %s", path, err)
		case err != nil:
			return err
		}
	}
	all, err := w.trees.Growth(ctx)
	if err != nil {
		return policy.Faultf(policy.LogUnproven, "%s", err)
	}
	for i, g := range all {
		b.Logs[fmt.Sprintf("%d.json", i+1)] = g.Bytes()
	}
	return nil
}

// Beyond reports whether there was evidence about which the staple cannot say anything.
func (w *Watch) Beyond() bool { return w.beyond.Load() }

// Date takes the times that evidence proves; see [release.Watch].
func (w *Watch) Date(v *sigstore.Verified) { w.clock.Date(v) }

// Same compares what evidence shows of logs with what is known of them; see [release.Watch].
func (w *Watch) Same(ctx context.Context, v *sigstore.Verified) (notes []policy.Note, f *release.Failure) {
	if at, covered := w.covers(v); !covered && w.ask {
		w.beyond.Store(true)
		return nil, &release.Failure{Reason: policy.ViewStale, Detail: beyondStaple(at)}
	} else if !covered {
		notes = append(notes, policy.Note{Code: "beyond-staple", Text: beyondStaple(at)})
	}
	for _, e := range v.Entries {
		if e.Checkpoint == nil {
			continue
		}
		err := w.trees.Same(ctx, rekor.Seen{Log: e.LogID, Generation: e.Generation, Checkpoint: *e.Checkpoint})
		var u *rekor.Unproven
		switch {
		case err == nil:
		case errors.Is(err, rekor.ErrLogFork):
			return nil, w.forked(err)
		case errors.As(err, &u) && u.Unasked && !w.oneLog:
			notes = append(notes, policy.Note{Code: string(policy.LogUnproven), Text: err.Error()})
		case errors.As(err, &u):
			return nil, &release.Failure{Reason: policy.LogUnproven, Detail: err.Error()}
		default:
			return nil, &release.Failure{Reason: policy.Internal, Detail: err.Error()}
		}
	}
	return notes, nil
}

// covers reports whether the policy is known as it was when evidence was logged, and as of
// when it is known.
func (w *Watch) covers(v *sigstore.Verified) (time.Time, bool) {
	s := w.staple
	if s == nil {
		return time.Time{}, true
	}
	for _, e := range v.Entries {
		if !s.Covers(v.Place(e)) {
			return s.AsOf, false
		}
	}
	unlogged := len(v.Entries) == 0
	return s.AsOf, !unlogged || !slices.ContainsFunc(v.Times, func(t sigstore.Time) bool { return t.Time.After(s.AsOf) })
}

func beyondStaple(at time.Time) string {
	return "the evidence is younger than what the staple shows, as of " + at.UTC().Format(time.RFC3339)
}

// Verdict returns what is in the way of every verdict; see [release.Watch].
func (w *Watch) Verdict() *release.Failure {
	if fork := w.trees.Fork(); fork != nil {
		return w.forked(fork)
	}
	if err := w.behind(); err != nil {
		return &release.Failure{Reason: policy.ClockBehind, Detail: err.Error()}
	}
	if err := w.clock.Save(w.state); err != nil {
		return &release.Failure{Reason: policy.Internal, Detail: err.Error()}
	}
	return nil
}

// forked keeps the evidence of a fork, and says by which command it is judged.
func (w *Watch) forked(why error) *release.Failure {
	out := &release.Failure{Reason: policy.LogForked, Detail: why.Error()}
	if fork := w.trees.Fork(); fork != nil {
		if path, err := w.state.WriteEvidence("fork", fork.Bytes()); err == nil {
			out.Detail += "; evidence: " + w.trust.judges(path)
		}
	}
	return out
}

// behind returns that the clock of this machine is behind what was proven.
func (w *Watch) behind() error {
	if w.timeless {
		return nil
	}
	return w.clock.Check()
}

// check returns the fault that the clock is behind, with what to do.
func (w *Watch) check() error {
	err := w.behind()
	var b *rekor.Behind
	if !errors.As(err, &b) {
		return err
	}
	hint := "set the clock, or say as of when to judge with --as-of"
	if b.Kept {
		hint += "; if what was kept is wrong, remove " + w.state.FloorPath()
	}
	return &policy.Fault{Reason: policy.ClockBehind, Text: err.Error(), Hint: hint}
}
