// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// How often a person is told how far a long run is: on a terminal in one line that is written
// over, elsewhere in lines of their own.
const (
	statusEvery = time.Second
	linesEvery  = 10 * time.Second
)

// Unit is what a meter counts.
type Unit string

// The units.
const (
	Bytes     Unit = "bytes"
	Entries   Unit = "entries"
	Artifacts Unit = "artifacts"
	Releases  Unit = "releases"

	Repositories Unit = "repositories"
)

// Meter tells a person how far the parts of a long run are, how fast they are, and how long they
// still take. Its methods may be called from several goroutines; those of nil do nothing.
type Meter struct {
	every time.Duration
	now   func() time.Time
	say   func(text string) // "" takes back what a terminal shows
	over  bool              // what was said is written over

	mu    sync.Mutex
	parts []*part
	shown bool          // something stands on the terminal
	ends  chan struct{} // nil while nothing was told
	gone  chan struct{}
}

// part is one part of a run that takes its time.
type part struct {
	what        string
	unit        Unit
	first, done int64 // when it began, and now
	total       int64 // 0 if it is not known
	began       time.Time
}

// Meter returns the meter that tells whoever runs the program, on standard error; nil for a run
// that is to be quiet.
func (r *Run) Meter() *Meter {
	if r.Quiet {
		return nil
	}
	r.metered.Do(func() { r.meter = r.newMeter() })
	return r.meter
}

func (r *Run) newMeter() *Meter {
	over := r.Terminal && !r.dumb()
	m := &Meter{every: linesEvery, now: time.Now, over: over, say: func(text string) { r.Err.Line("%s", text) }}
	if over {
		m.every, m.say = statusEvery, func(text string) { r.Err.Status("%s", text) }
	}
	return m
}

// Tell says how far a part is; what names it: "reading big.iso". A total of 0 is not known. A part
// that is done is not told of any more.
func (m *Meter) Tell(what string, unit Unit, done, total int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.parts, func(p *part) bool { return p.what == what })
	switch {
	case total > 0 && done >= total:
		if i >= 0 {
			m.parts = slices.Delete(m.parts, i, i+1)
			m.clear()
		}
		return
	case i < 0:
		m.parts = append(m.parts, &part{what: what, unit: unit, first: done, done: done, total: total, began: m.now()})
	default:
		m.parts[i].done, m.parts[i].total = done, total
	}
	if m.ends == nil {
		m.ends, m.gone = make(chan struct{}), make(chan struct{})
		go m.run(m.ends, m.gone)
	}
}

// Done says that a part has ended, however far it came.
func (m *Meter) Done(what string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts = slices.DeleteFunc(m.parts, func(p *part) bool { return p.what == what })
	m.clear()
}

// clear takes back what a terminal shows once no part is left.
func (m *Meter) clear() {
	if len(m.parts) == 0 && m.shown {
		m.say("")
		m.shown = false
	}
}

// Stop ends the meter, and takes back what a terminal shows. It may be used again.
func (m *Meter) Stop() {
	if m == nil {
		return
	}
	m.mu.Lock()
	ends, gone := m.ends, m.gone
	m.ends, m.gone, m.parts = nil, nil, nil
	m.clear()
	m.mu.Unlock()
	if ends != nil {
		close(ends)
		<-gone
	}
}

func (m *Meter) run(ends, gone chan struct{}) {
	defer close(gone)
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		select {
		case <-ends:
			return
		case <-tick.C:
			m.show()
		}
	}
}

// show says how far the run is.
func (m *Meter) show() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if text := m.text(); text != "" {
		m.say(text)
		m.shown = m.over
	}
}

// text says how far the part is that takes longest, which is the one that began first.
func (m *Meter) text() string {
	if len(m.parts) == 0 {
		return ""
	}
	text := m.parts[0].text(m.now())
	if n := len(m.parts) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

func (p *part) text(now time.Time) string {
	text := p.what + ": " + p.unit.amount(p.done, p.total)
	took := now.Sub(p.began)
	rate := float64(p.done-p.first) / took.Seconds()
	if took < time.Second || rate <= 0 {
		return text
	}
	if p.unit == Bytes {
		text += fmt.Sprintf(", %s/s", size(int64(rate), int64(rate)))
	}
	if p.total > 0 {
		text += ", " + left(float64(p.total-p.done)/rate)
	}
	return text
}

// amount says how much of a total is done: "3 of 20 artifacts".
func (u Unit) amount(done, total int64) string {
	switch {
	case u == Bytes && total > 0:
		return strings.Fields(size(done, total))[0] + " of " + size(total, total)
	case u == Bytes:
		return size(done, done)
	case total > 0:
		return fmt.Sprintf("%d of %d %s", done, total, u)
	}
	return fmt.Sprintf("%d %s", done, u)
}

// size writes n bytes in the unit that suits another number of bytes.
func size(n, as int64) string {
	switch {
	case as >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case as >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// left says how long something still takes, in seconds, no more exactly than anybody can know.
func left(seconds float64) string {
	switch {
	case seconds < 90:
		return fmt.Sprintf("%.0f s left", max(1, seconds))
	case seconds < 90*60:
		return fmt.Sprintf("%.0f min left", seconds/60)
	case seconds < 99*60*60:
		return fmt.Sprintf("%.0f h left", seconds/60/60)
	}
	return "more than 99 h left"
}
