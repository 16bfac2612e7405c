// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"

	"github.com/repopolicy/repopolicy/internal/budget"
)

// Limits of the work that one repository or one fetch may cause, in bytes that are
// inflated, copied by deltas or walked over. Time is the deadline's affair; this ends
// what no honest repository needs when there is none.
const (
	maxWork      = 16 << 30
	maxFetchWork = 4 << 30
	entryWork    = 256 // of an object, however small
	workStep     = 64 << 10
)

// ErrTooMuchWork is the error of a repository whose objects take more work to read
// than a run may do.
var ErrTooMuchWork = errors.New("reading the objects takes more work than a run may do")

// meter counts what reading a repository holds and does, and ends it with its run.
type meter struct {
	ctx    context.Context
	budget *budget.Budget
	left   int64  // of the work
	cache  *cache // gives way to what must be held; nil for none
}

// newMeter returns the meter of a run. One that has no budget gets one of its own.
func newMeter(ctx context.Context, work int64) *meter {
	b := budget.Of(ctx)
	if b == nil {
		b = budget.New(0)
	}
	return &meter{ctx: ctx, budget: b, left: work}
}

// during returns a meter of the same run whose work ends with another context.
func (m *meter) during(ctx context.Context) *meter {
	return &meter{ctx: ctx, budget: m.budget, left: m.left}
}

// work counts n bytes of work. The error is that of the context, or
// [ErrTooMuchWork].
func (m *meter) work(n int64) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	if m.left -= n; m.left < 0 {
		return ErrTooMuchWork
	}
	return nil
}

// Fatal reports whether an error ends the run, and says nothing about the repository: the
// context's, [ErrTooMuchWork] and [*budget.Exceeded].
func Fatal(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, ErrTooMuchWork) || errors.As(err, new(*budget.Exceeded))
}

// hold counts n more bytes that are kept; the error is a [*budget.Exceeded].
func (m *meter) hold(n int64) error {
	for {
		err := m.budget.Take(n)
		if err == nil || m.cache == nil || m.cache.order.Len() == 0 {
			return err
		}
		m.cache.evict()
	}
}

// give counts n bytes less.
func (m *meter) give(n int64) { m.budget.Give(n) }
