// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"sync/atomic"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// What parsing evidence takes in memory at most, by measurement: six times its text,
// some hundred bytes for each JSON value, however short, and a few thousand for each
// bundle.
const (
	bytesPerByte  = 6
	bytesPerValue = 128
	bytesPerPiece = 4 << 10

	bytesPerVouch    = 1 << 10 // of what is kept of an input that is evidence
	bytesPerResult   = 2 << 10 // of a verdict, with what is printed of it
	bytesPerEvidence = 3 << 10 // of what was found for it
	bytesPerShared   = 900     // of a verdict by evidence that others have, too
	bytesPerRule     = 200     // of what a rule says of it
	bytesPerMismatch = 500
)

// hold is what somebody has taken of a run's budget and gives back at once. A nil hold
// counts nothing.
type hold struct {
	budget *budget.Budget
	taken  atomic.Int64
}

func (h *hold) take(n int64) *Failure {
	if h == nil {
		return nil
	}
	if err := h.budget.Take(n); err != nil {
		return exceeded(err)
	}
	h.taken.Add(n)
	return nil
}

// give returns everything.
func (h *hold) give() {
	if h != nil {
		h.budget.Give(h.taken.Swap(0))
	}
}

// text takes what parsing a file of evidence needs.
func (h *hold) text(data []byte) *Failure {
	if h == nil {
		return nil
	}
	return h.take(bytesPerPiece + bytesPerByte*int64(len(data)) + bytesPerValue*int64(strictjson.Size(data)))
}

// exceeded is the failure of what does not fit into the budget.
func exceeded(err error) *Failure {
	var e *budget.Exceeded
	if errors.As(err, &e) {
		return failf(policy.BudgetExceeded, "%s", e)
	}
	return failf(policy.Internal, "%s", err)
}
