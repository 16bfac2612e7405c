// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestMeterText: what a person reads about how far a run is.
func TestMeterText(t *testing.T) {
	t.Parallel()
	const mib, gib = 1 << 20, 1 << 30
	for _, row := range []struct {
		unit        Unit
		first, done int64
		total       int64
		after       time.Duration
		want        string
	}{
		{Bytes, 0, 1290 * mib, 40 * gib, 4 * time.Second, "1.3 of 40.0 GiB, 322 MiB/s, 2 min left"},
		{Bytes, 0, 300 * mib, 900 * mib, 3 * time.Second, "300 of 900 MiB, 100 MiB/s, 6 s left"},
		{Bytes, 0, 4 * mib, 5 * mib, 4 * time.Second, "4096 of 5120 KiB, 1024 KiB/s, 1 s left"},
		{Bytes, 0, 300 * mib, 0, 3 * time.Second, "300 MiB, 100 MiB/s"},
		{Bytes, 200 * mib, 300 * mib, 400 * mib, 10 * time.Second, "300 of 400 MiB, 10 MiB/s, 10 s left"},
		{Bytes, 0, 0, 900 * mib, 3 * time.Second, "0 of 900 MiB"},
		{Bytes, 0, 300 * mib, 900 * mib, time.Millisecond, "300 of 900 MiB"},
		{Entries, 0, 1000, 1 << 40, 10 * time.Second, "1000 of 1099511627776 entries, more than 99 h left"},
		{Entries, 0, 10, 1000, time.Minute, "10 of 1000 entries, 2 h left"},
		{Artifacts, 0, 3, 20, 6 * time.Second, "3 of 20 artifacts, 34 s left"},
		{Releases, 0, 0, 20, 6 * time.Second, "0 of 20 releases"},
		{Artifacts, 5, 3, 20, 6 * time.Second, "3 of 20 artifacts"}, // it went back
	} {
		began := time.Unix(1e9, 0)
		p := part{"x", row.unit, row.first, row.done, row.total, began}
		if got := p.text(began.Add(row.after)); got != "x: "+row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}

// meter returns one whose lines are kept, and whose time is what the test says.
func meter(over bool) (m *Meter, said func() []string, pass func(time.Duration)) {
	now := time.Unix(1e9, 0)
	var lines []string
	var mu sync.Mutex
	m = &Meter{every: time.Hour, over: over}
	m.now = func() time.Time { return now }
	m.say = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, text)
	}
	return m, func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := lines
		lines = nil
		return out
	}, func(d time.Duration) { now = now.Add(d) }
}

// TestMeter: the part that began first is told, until it is done; a terminal is left empty.
func TestMeter(t *testing.T) {
	t.Parallel()
	for _, over := range []bool{true, false} {
		m, said, pass := meter(over)
		want := func(lines ...string) {
			t.Helper()
			if got := said(); fmt.Sprint(got) != fmt.Sprint(lines) {
				t.Errorf("said %q, want %q", got, lines)
			}
		}
		m.show()
		want()
		m.Tell("judging", Artifacts, 0, 3)
		m.Tell("reading a", Bytes, 0, 20<<20)
		pass(2 * time.Second)
		m.Tell("judging", Artifacts, 1, 3)
		m.show()
		want("judging: 1 of 3 artifacts, 4 s left, and 1 more")
		m.Tell("judging", Artifacts, 3, 3)
		m.show()
		want("reading a: 0 of 20 MiB")
		m.Done("reading a")
		if over {
			want("")
		}
		want()
		m.Tell("reading b", Bytes, 5, 5) // too short to be told
		m.show()
		m.Stop()
		m.Stop()
		want()
		m.Tell("reading c", Entries, 7, 0)
		m.show()
		m.Stop()
		if over {
			want("reading c: 7 entries", "")
		} else {
			want("reading c: 7 entries")
		}
	}
	var none *Meter
	none.Tell("x", Bytes, 0, 1)
	none.Done("x")
	none.Stop()
}

// TestMeterTogether: several goroutines tell, while the meter ends and begins again.
func TestMeterTogether(t *testing.T) {
	t.Parallel()
	m, _, _ := meter(true)
	m.every = time.Microsecond
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range int64(200) {
				m.Tell(fmt.Sprint("part ", g), Bytes, i, 199)
				if i%50 == 0 {
					m.Stop()
				}
			}
		})
	}
	wg.Wait()
	m.Stop()
}
