// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a run.
const (
	// defaultMemory is what a run holds in memory at most, with the program itself.
	defaultMemory = 256 << 20
	minMemory     = 128 << 20
	// outside is what of it the program, its stacks and the operating system's
	// bookkeeping take.
	outside = 64 << 20

	// grace is how long a run has to end after a signal, or after its time was up.
	grace = 900 * time.Millisecond
)

var errSignal = errors.New("interrupted")

// limits are the flags that every verb has.
type limits struct {
	memory, timeout Once
	color           Format
}

func (l *limits) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	l.memory.Kind, l.timeout.Kind = "BYTES", "DURATION"
	l.color.Allowed = []string{"auto", "always", "never"}
	f.Var(&l.color, "color",
		"whether text has colours; by default on a terminal, unless NO_COLOR is set or it is a dumb one")
	f.Var(&l.memory, "memory", "the most memory to use, such as 1G; by default 256M")
	f.Var(&l.timeout, "timeout",
		"how long the run may take, without the content of artifacts and without waiting for a person; by default 10m")
}

// time returns how long the run may take, 0 if the flag says no such thing.
func (l *limits) time() time.Duration {
	if !l.timeout.Given {
		return budget.DefaultTimeout
	}
	d, err := time.ParseDuration(l.timeout.Value)
	if err != nil {
		return 0
	}
	return d
}

// apply gives a run its budget and its time. Stop ends both.
func (l *limits) apply(ctx context.Context) (_ context.Context, stop func(), err error) {
	memory := int64(defaultMemory)
	if l.memory.Given {
		if memory, err = ParseSize(l.memory.Value); err != nil || memory < minMemory {
			return ctx, nil, &policy.Fault{
				Reason: policy.Usage, Text: "--memory: at least 128M",
				Hint: "write it like 512M or 1G",
			}
		}
	}
	timeout := l.time()
	if timeout <= 0 {
		return ctx, nil, &policy.Fault{
			Reason: policy.Usage,
			Text:   "--timeout: not a duration",
			Hint:   "write it like 10m",
		}
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory - outside)
	}
	ctx = budget.With(ctx, budget.New(int64(float64(budget.Default)/defaultMemory*float64(memory))))
	ctx, stop = budget.WithTimeout(ctx, timeout)
	return ctx, stop, nil
}

// Part returns a context for a part of a run, with as much memory as the run has left, and so
// many requests. What it does not come to in its time is left undone; the run goes on.
func Part(ctx context.Context, d time.Duration, requests int64) (context.Context, context.CancelFunc) {
	ctx = budget.With(ctx, budget.Of(ctx).Part(requests))
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("it took longer than %s", d))
}

// interruptible returns a context that the first signal ends. A run that is stuck, so
// that it does not look at it, ends all the same: after a moment, or with a second
// signal.
func interruptible(exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-signals:
		}
		cancel(errSignal)
		select {
		case <-done:
		case <-signals:
			exit(policy.Interrupted.Class().Exit())
		case <-time.After(grace):
			exit(policy.Interrupted.Class().Exit())
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// overdue ends a run that is stuck when its time is up.
func overdue(ctx context.Context, timeout time.Duration, exit func(int)) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		if late := new(budget.Late); !errors.As(context.Cause(ctx), &late) {
			return
		}
		select {
		case <-done:
		case <-time.After(max(grace, timeout/20)):
			exit(policy.Interrupted.Class().Exit())
		}
	}()
	return func() { close(done) }
}

// stopped returns the fault of a run that was ended from outside, nil for another.
func stopped(ctx context.Context) *policy.Fault {
	if ctx == nil {
		return nil
	}
	cause := context.Cause(ctx)
	var late *budget.Late
	switch {
	case errors.As(cause, &late):
		return &policy.Fault{Reason: policy.Interrupted, Text: late.Error()}
	case errors.Is(cause, errSignal):
		return &policy.Fault{Reason: policy.Interrupted, Text: "the run was interrupted"}
	}
	return nil
}

// ParseSize reads a number of bytes, with K, M, G or T for powers of 1024.
func ParseSize(s string) (int64, error) {
	digits, shift := s, 0
	if i := strings.IndexAny(s, "KMGT"); i >= 0 && i == len(s)-1 {
		digits, shift = s[:i], 10*(1+strings.IndexByte("KMGT", s[i]))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%s is not a number of bytes, such as 500M", s)
	}
	return n << shift, nil
}
