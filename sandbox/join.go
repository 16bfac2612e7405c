// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"time"
)

// The libraries' goroutines end some time after their context, without saying
// when, and may write to the directory until then. So everything that a stack
// starts carries a profiler label, and Close waits until no goroutine has it.

const (
	label       = "sandbox-stack"
	joinTimeout = 10 * time.Second
	joinPoll    = 2 * time.Millisecond
)

var stacks atomic.Int64

func nextLabel() string { return strconv.FormatInt(stacks.Add(1), 10) }

// labelled runs f so that the goroutines that it starts belong to the stack.
func (s *Stack) labelled(f func() error) (err error) {
	pprof.Do(context.Background(), pprof.Labels(label, s.label), func(context.Context) { err = f() })
	return err
}

// join waits for the stack's goroutines.
func (s *Stack) join() error {
	want := fmt.Appendf(nil, "%q:%q", label, s.label)
	deadline := time.NewTimer(joinTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(joinPoll)
	defer tick.Stop()
	for {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			return err
		}
		if !bytes.Contains(b.Bytes(), want) {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			for record := range bytes.SplitSeq(b.Bytes(), []byte("\n\n")) {
				if bytes.Contains(record, want) {
					return fmt.Errorf("goroutines of the stack go on:\n%s", record)
				}
			}
			return errors.New("goroutines of the stack go on")
		}
	}
}
