// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/policy"
)

// ahead is a repository that is fetched while its trust root is followed: only the name of the staple,
// which is among the last things that are fetched, depends on the root.
type ahead struct {
	stop  context.CancelFunc
	known chan struct{} // closed when staple is set
	done  chan struct{} // closed when the rest is

	staple   string
	waited   bool // for the root
	snapshot *git.Snapshot
	err      error
	panicked any
}

// fetchAhead begins to fetch the repository of a question, if its server is to be asked and a root to
// be followed; nil else. Usage has been checked.
func (f *Finder) fetchAhead(ctx context.Context, q *Query) *ahead {
	if len(q.Files) > 0 || q.Clone != "" || q.From != nil || q.Carried != nil || q.Offline || f.Repositories != nil {
		return nil
	}
	if q.Root == nil {
		if _, _, err := f.RootOf(&q.Trust, q.Repository); err != nil {
			return nil // begin says it
		}
	}
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{stop: stop, known: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer func() { a.panicked = recover() }()
		a.snapshot, a.err = f.fetched(ctx, q.Repository, func() string { return a.wait(ctx) })
	}()
	return a
}

// wait returns the name of the staple when the root is known, "" if it never will be.
func (a *ahead) wait(ctx context.Context) string {
	select {
	case <-a.known:
		return a.staple
	default:
		a.waited = true
	}
	select {
	case <-a.known:
		return a.staple
	case <-ctx.Done():
		return ""
	}
}

// end ends what nobody wants any more.
func (a *ahead) end() {
	if a != nil {
		a.stop()
		<-a.done
	}
}

// take returns what was fetched, and fetches it once more if that failed while it waited for the root: the
// time that a server has is not for that. What was fetched is read later, so that its context goes on.
func (a *ahead) take(ctx context.Context, f *Finder, repo policy.Locator, staple string) (*git.Snapshot, error) {
	if a == nil {
		return f.fetched(ctx, repo, func() string { return staple })
	}
	a.staple = staple
	close(a.known)
	<-a.done
	if a.panicked != nil {
		panic(a.panicked)
	}
	if a.err != nil && a.waited && ctx.Err() == nil {
		return f.fetched(ctx, repo, func() string { return staple })
	}
	return a.snapshot, a.err
}
