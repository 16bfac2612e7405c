// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
)

func TestTake(t *testing.T) {
	b := New(100)
	for _, c := range []struct {
		take int64
		ok   bool
		used int64
	}{{60, true, 60}, {41, false, 60}, {40, true, 100}, {1, false, 100}, {0, true, 100}, {-5, true, 100}, {
		math.MaxInt64, false, 100,
	}} {
		err := b.Take(c.take)
		var e *Exceeded
		if (err == nil) != c.ok || err != nil && !errors.As(err, &e) || b.Used() != c.used {
			t.Errorf("%d: %v, %d used", c.take, err, b.Used())
		}
	}
	b.Give(100)
	b.Give(-7)
	if b.Used() != 0 {
		t.Errorf("%d used", b.Used())
	}
	if New(0).Limit() != Default || New(-1).Limit() != Default {
		t.Error("no limit")
	}
}

// TestNone: a run without a budget of its own is bounded all the same.
func TestNone(t *testing.T) {
	none := Of(context.Background())
	if none.Take(Default) != nil || none.Take(Default+1) == nil || none.Limit() != Default || none.Used() != 0 {
		t.Error("no bound")
	}
	b := New(5)
	if Of(With(context.Background(), b)) != b {
		t.Error("another budget")
	}
}

func TestRequest(t *testing.T) {
	b := New(0)
	for range MaxRequests {
		if err := b.Request(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if b.Request() == nil {
			t.Error("asked too often")
		}
	}
	var none *Budget
	if none.Request() != nil {
		t.Error("counts where nobody counts")
	}
	for _, of := range []*Budget{New(7), nil} {
		part := of.Part(1)
		if part.Limit() != of.Limit() || part.Request() != nil {
			t.Error("less than it was given")
		}
		if err := part.Request(); err == nil || !strings.Contains(err.Error(), "at most 1 things") {
			t.Errorf("asked too often: %v", err)
		}
	}
	half := New(100)
	if half.Take(60) != nil || half.Part(1).Limit() != 40 || half.Take(40) != nil || half.Part(1).Limit() != 1 {
		t.Error("more than is left")
	}
	if New(0).Part(MaxRequests+1).requests != MaxRequests {
		t.Error("more than a run")
	}
}

func TestSideBySide(t *testing.T) {
	b := New(1000)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 1000 {
				if b.Take(30) == nil {
					b.Give(30)
				}
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d used", b.Used())
	}
}
