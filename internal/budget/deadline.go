// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultTimeout is how long a run may take that was given no other time.
const DefaultTimeout = 10 * time.Minute

// Late is the cause of a context that ended because its run took too long.
type Late struct{ Timeout time.Duration }

// Error says how long the run was allowed to take, and what would allow more.
func (e *Late) Error() string {
	return fmt.Sprintf(
		"the run took longer than %s, not counting the content of artifacts; --timeout allows more", e.Timeout,
	)
}

// clock ends a run when its time is used up. While it is paused no time is used.
type clock struct {
	mu     sync.Mutex
	left   time.Duration
	since  time.Time // it runs since; meaningless while it is paused
	paused int
	timer  *time.Timer
}

type clockKey struct{}

// WithTimeout returns a context that ends, with a [*Late] as its cause, when the run has
// used so much time; [DefaultTimeout] if that is not positive. Whoever calls it calls
// stop in the end.
func WithTimeout(ctx context.Context, d time.Duration) (_ context.Context, stop func()) {
	if d <= 0 {
		d = DefaultTimeout
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &clock{left: d, since: time.Now()}
	c.timer = time.AfterFunc(d, func() { cancel(&Late{d}) })
	return context.WithValue(ctx, clockKey{}, c), func() {
		c.timer.Stop()
		cancel(nil)
	}
}

// Timed reports whether a context ends by itself: after a time of [WithTimeout], or at a moment.
func Timed(ctx context.Context) bool {
	_, has := ctx.Value(clockKey{}).(*clock)
	_, ends := ctx.Deadline()
	return has || ends
}

// Pause stops the time of the run until resume is called: for content that streams,
// which has a rate of its own, and for people. Several may pause it at a time.
func Pause(ctx context.Context) (resume func()) {
	c, _ := ctx.Value(clockKey{}).(*clock)
	if c == nil {
		return func() {}
	}
	c.pause()
	return sync.OnceFunc(c.resume)
}

func (c *clock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused++; c.paused == 1 && c.timer.Stop() {
		c.left -= time.Since(c.since)
	}
}

func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused--; c.paused == 0 {
		c.since = time.Now()
		c.timer.Reset(max(c.left, 0))
	}
}
