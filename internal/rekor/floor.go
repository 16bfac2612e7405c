// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"fmt"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// Leeway is how far this machine's clock may be behind those of others.
const Leeway = 5 * time.Minute

const (
	// floorStep is by how much a floor has to be later than the kept one to be kept: no run
	// has to write for seconds.
	floorStep = time.Minute
	AboutTime = "time"
)

// Floor is the latest time that was proven under a trusted root, and what proves it
// (SPEC 9.2).
type Floor struct {
	Time time.Time `json:"time"`
	Why  string    `json:"why"`
}

// Floors keeps the floor between runs.
type Floors interface {
	// LoadFloor returns the floor that was kept; the zero value for none.
	LoadFloor() (Floor, error)
	// SaveFloor stores next if old is still what is stored, and reports whether it did.
	SaveFloor(old, next Floor) (bool, error)
}

// Behind is the error that this machine's clock is behind a time that was proven.
type Behind struct {
	Floor
	Now  time.Time
	Kept bool // by an earlier run
}

// Error says by what.
func (b *Behind) Error() string {
	kept := ""
	if b.Kept {
		kept = ", which an earlier run saw"
	}
	return fmt.Sprintf(
		"this machine's clock says %s; %s proves that it is %s or later%s", b.Now.UTC().Format(time.RFC3339), b.Why,
		b.Time.UTC().Format(time.RFC3339), kept,
	)
}

// Clock compares this machine's clock with the times that are proven under a trusted root:
// none of them can be in the future. It may be used by several goroutines.
type Clock struct {
	Now func() time.Time

	mu    sync.Mutex
	floor Floor
	kept  Floor
	// latest are the latest time of each time stamp authority. One alone may be wrong.
	latest map[string]time.Time
}

// Load takes what an earlier run kept.
func (c *Clock) Load(f Floors) error {
	kept, err := f.LoadFloor()
	if err == nil {
		c.kept = kept
	}
	return err
}

// Prove takes a time that was proven by one who is believed alone: a log, its witnesses, a
// directory.
func (c *Clock) Prove(at time.Time, why string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prove(at, why)
}

func (c *Clock) prove(at time.Time, why string) {
	if at.After(c.floor.Time) {
		c.floor = Floor{at.UTC(), why}
	}
}

// Date takes the times that a verified bundle proves: that of a log, that of a certificate
// that is logged, and those of time stamp authorities, of which two have to agree.
func (c *Clock) Date(v *sigstore.Verified) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range v.Entries {
		c.prove(e.Time, "an entry of the log "+e.LogID)
		c.prove(v.NotBefore, "a certificate in the log "+e.LogID)
	}
	for _, t := range v.Times {
		if t.Source == "tsa" {
			c.stamped(t.Time, t.URI)
		}
	}
}

func (c *Clock) stamped(at time.Time, by string) {
	if c.latest == nil {
		c.latest = map[string]time.Time{}
	}
	if at.After(c.latest[by]) {
		c.latest[by] = at
	}
	for other, latest := range c.latest {
		if other != by && !latest.IsZero() {
			both := latest
			if at.Before(both) {
				both = at
			}
			c.prove(both, "a time stamp by "+by+" and one by "+other)
		}
	}
}

// Check returns a [*Behind] if a time was proven that this machine's clock has not reached,
// within what clocks differ by.
func (c *Clock) Check() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Now()
	for _, f := range []Floor{c.floor, c.kept} {
		if f.Time.After(now.Add(Leeway)) {
			return &Behind{f, now, f == c.kept}
		}
	}
	return nil
}

// Save keeps the latest time that was proven, unless it is ahead of this machine's clock: a
// log with a wrong clock stops nobody for longer than it is wrong.
func (c *Clock) Save(f Floors) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.floor.Time.After(c.Now()) && c.floor.Time.Sub(c.kept.Time) >= floorStep {
		ok, err := f.SaveFloor(c.kept, c.floor)
		if err != nil {
			return err
		}
		if ok {
			c.kept = c.floor
			return nil
		}
		if c.kept, err = f.LoadFloor(); err != nil { // another process was here
			return err
		}
	}
	return nil
}
