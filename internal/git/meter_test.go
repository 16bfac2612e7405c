// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"testing"

	"github.com/repopolicy/repopolicy/internal/budget"
)

// TestCacheGivesWay: what only makes reading faster is the first to go.
func TestCacheGivesWay(t *testing.T) {
	b := budget.New(1000 << 10)
	m := newMeter(budget.With(context.Background(), b), 1000)
	c, p := newCache(m), &packFile{}
	for at := range int64(10) {
		c.put(p, at, Blob, make([]byte, 50<<10))
	}
	if c.order.Len() != 4 || c.bytes != b.Used() || c.get(p, 9) == nil || c.get(p, 0) != nil {
		t.Errorf("%d objects, %d bytes, %d held", c.order.Len(), c.bytes, b.Used())
	}
	if err := m.hold(900 << 10); err != nil || c.get(p, 9) == nil || c.get(p, 6) != nil {
		t.Errorf("%v, %d objects", err, c.order.Len())
	}
	if err := m.hold(101 << 10); !errors.As(err, new(*budget.Exceeded)) || c.order.Len() != 0 {
		t.Errorf("%v, %d objects", err, c.order.Len())
	}
	m.give(900 << 10)
	if b.Used() != 0 || c.bytes != 0 {
		t.Errorf("%d held", b.Used())
	}
	if err := m.work(1001); !errors.Is(err, ErrTooMuchWork) {
		t.Error(err)
	}
}

// TestIDSet: every id once, in order, and all of it given back.
func TestIDSet(t *testing.T) {
	b := budget.New(0)
	s := newIDSet(newMeter(budget.With(context.Background(), b), 1000))
	id := func(i int) oid { return oid{byte(i), byte(i >> 8), byte(i >> 16)} }
	for range 2 {
		for i := range 50_000 {
			if err := s.add(id(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.n != 50_000 || !s.has(id(49_999)) || s.has(id(50_000)) || s.at(77) != id(77) {
		t.Errorf("%d ids", s.n)
	}
	if used := b.Used(); used < 50_000*20 || used > 50_000*40 || used != s.held {
		t.Errorf("%d bytes", used)
	}
	s.free()
	if b.Used() != 0 {
		t.Errorf("%d held", b.Used())
	}
	small := newIDSet(newMeter(budget.With(context.Background(), budget.New(100<<10)), 1000))
	if err := small.add(id(1)); !errors.As(err, new(*budget.Exceeded)) {
		t.Error(err)
	}
}
