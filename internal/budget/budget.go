// SPDX-License-Identifier: Apache-2.0

// Package budget counts what one run holds in memory of what strangers sent, against
// one limit for all of it. Caps of single items alone do not bound a run: their sum
// does not fit. What streams, such as the content of artifacts, is not counted.
package budget

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Default is the limit, in bytes, of a run that was given no other. With the program
// itself and what the garbage collector has not returned yet it stays within 256 MiB of
// resident memory.
const Default = 96 << 20

// MaxRequests is how often a run asks anybody for anything.
const MaxRequests = 200_000

// Budget is the memory of one run. Its methods may be called from several goroutines.
// A nil Budget is [Default] for whoever asks it, and counts nothing between calls.
type Budget struct {
	limit    int64
	requests int64
	used     atomic.Int64
	asked    atomic.Int64
}

// New returns an unused budget of so many bytes; [Default] if that is not positive.
func New(limit int64) *Budget {
	if limit <= 0 {
		limit = Default
	}
	return &Budget{limit: limit, requests: MaxRequests}
}

// Part returns a budget of its own for a part of a run: as much memory as the run has left, and
// at most n requests. What it takes is given back when the part ends.
func (b *Budget) Part(n int64) *Budget {
	part := New(max(b.Limit()-b.Used(), 1))
	part.requests = min(n, MaxRequests)
	return part
}

// Exceeded is the error of a run that would hold more than it may.
type Exceeded struct {
	Need, Limit int64 // bytes
}

// Error says how much was needed, and what would allow it.
func (e *Exceeded) Error() string {
	return fmt.Sprintf(
		"%d MiB of memory would be held, and a run may hold %d; --memory allows more", (e.Need+1<<20-1)>>20,
		e.Limit>>20,
	)
}

// Take counts n more bytes. The error is an [*Exceeded], and then nothing is counted.
func (b *Budget) Take(n int64) error {
	if b == nil {
		if n > Default {
			return &Exceeded{n, Default}
		}
		return nil
	}
	if n < 0 {
		n = 0
	}
	if used := b.used.Add(n); used > b.limit || used < 0 {
		b.used.Add(-n)
		return &Exceeded{used, b.limit}
	}
	return nil
}

// TooMany is the error of a run that would ask too often.
type TooMany struct{ Limit int64 }

// Error says how often a run may ask.
func (t TooMany) Error() string {
	return fmt.Sprintf("a run asks for at most %d things over the network; judge fewer at once", t.Limit)
}

// Request counts one more request to whomever. The error is [TooMany].
func (b *Budget) Request() error {
	if b != nil && b.asked.Add(1) > b.requests {
		return TooMany{b.requests}
	}
	return nil
}

// Give counts n bytes less, which were taken and are held no longer.
func (b *Budget) Give(n int64) {
	if b != nil && n > 0 {
		b.used.Add(-n)
	}
}

// Used returns how many bytes are held.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Limit returns how many bytes may be held.
func (b *Budget) Limit() int64 {
	if b == nil {
		return Default
	}
	return b.limit
}

type key struct{}

// With returns a context whose run has this budget.
func With(ctx context.Context, b *Budget) context.Context { return context.WithValue(ctx, key{}, b) }

// Of returns the budget of the run, nil if the context has none.
func Of(ctx context.Context) *Budget {
	b, _ := ctx.Value(key{}).(*Budget)
	return b
}
