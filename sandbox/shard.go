// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/repopolicy/repopolicy/sandbox/internal/rekor"
)

// shard is one log of Rekor v2 and its place in the trusted root.
type shard struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end,omitzero"` // zero while no other has followed
	// Waiting says that the signing configuration does not name it yet, Frozen that it takes
	// no entries any more.
	Waiting bool `json:"waiting,omitempty"`
	Frozen  bool `json:"frozen,omitempty"`

	key  ed25519.PrivateKey
	log  *rekor.Shard
	at   *endpoint
	path string
}

const shardsFile = "shards.json"

func (s *Stack) startShards() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known []*shard
	data, err := os.ReadFile(s.dir.Path(shardsFile))
	switch {
	case err == nil:
		err = json.Unmarshal(data, &known)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
		if !s.options.NoRekorV2 {
			known = append(known, &shard{Name: shardName(1), Start: s.epoch()})
		}
	}
	if err != nil {
		return err
	}
	for _, sh := range known {
		if err := s.runShard(sh); err != nil {
			return err
		}
	}
	return s.saveShards()
}

func shardName(n int) string { return fmt.Sprintf("rekor-v2-%d", n) }

func (s *Stack) saveShards() error {
	data, err := json.MarshalIndent(s.shards, "", "  ")
	if err != nil {
		return err
	}
	return s.dir.Write(shardsFile, append(data, '\n'))
}

// runShard starts a shard and appends it. The caller holds mu.
func (s *Stack) runShard(sh *shard) (err error) {
	if sh.key, err = s.dir.Ed25519(sh.Name); err != nil {
		return err
	}
	if sh.at, err = s.open(Service(sh.Name)); err != nil {
		return err
	}
	sh.path = s.dir.Path(sh.Name)
	if sh.log, err = s.runLog(sh.path, sh.key); err != nil {
		return err
	}
	if sh.Frozen {
		sh.log.Freeze()
	}
	s.shards = append(s.shards, sh)
	return sh.at.set(sh.log)
}

func (s *Stack) runLog(path string, key ed25519.PrivateKey) (*rekor.Shard, error) {
	log, err := rekor.Start(s.ctx, path, key, s.WitnessPolicy())
	if err != nil {
		return nil, err
	}
	for _, w := range s.witnesses {
		w.Add(log.Verifier())
	}
	s.closers = append(s.closers, bounded(log.Drain))
	s.release = append(s.release, log.Close)
	return log, nil
}

// overlap is how long after the start of a shard the window of the one before ends: what
// was begun with the old one can be logged there.
const overlap = 14 * 24 * time.Hour

// Rotation is how a shard of Rekor v2 follows another one. The zero value does what
// Sigstore's playbook does first; [Stack.SwitchShard] and [Stack.FreezeShards] do the rest.
type Rotation struct {
	// Overlap is how long the windows of both shards overlap; 0 for 14 days.
	Overlap time.Duration
	// AtOnce does everything in one step, as no public instance can: the old window ends
	// where the new one begins, clients are sent to the new shard, the old one is frozen.
	AtOnce bool
}

// AddShard begins a shard of Rekor v2 and puts it into the trusted root. The window of the
// one before ends when both have overlapped; until [Stack.SwitchShard] clients sign there.
func (s *Stack) AddShard(r Rotation) error { return s.labelled(func() error { return s.addShard(r) }) }

func (s *Stack) addShard(r Rotation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.shards); n > 0 { // clients take the newest by its start, in seconds
		time.Sleep(time.Until(s.shards[n-1].Start.Add(time.Second)))
	}
	now := time.Now().UTC().Truncate(time.Second)
	next := &shard{Name: shardName(len(s.shards) + 1), Start: now}
	if n := len(s.shards); n > 0 {
		old := s.shards[n-1]
		switch {
		case r.AtOnce:
			old.End = now
			s.freeze()
		case r.Overlap != 0:
			old.End, next.Waiting = now.Add(r.Overlap), true
		default:
			old.End, next.Waiting = now.Add(overlap), true
		}
	}
	if err := s.runShard(next); err != nil {
		return err
	}
	return s.resharded()
}

// SwitchShard makes the signing configuration name the newest shard.
func (s *Stack) SwitchShard() error {
	return s.labelled(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, sh := range s.shards {
			sh.Waiting = false
		}
		return s.resharded()
	})
}

// FreezeShards makes all shards refuse entries but the one that clients are sent to, and
// those that wait to be that. What they have stays readable.
func (s *Stack) FreezeShards() error {
	return s.labelled(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		present := s.current()
		for _, sh := range s.shards {
			if sh == present {
				break
			}
			sh.Frozen = true
			sh.log.Freeze()
		}
		return s.saveShards()
	})
}

// freeze freezes all shards. The caller holds mu.
func (s *Stack) freeze() {
	for _, sh := range s.shards {
		sh.Frozen, sh.Waiting = true, false
		sh.log.Freeze()
	}
}

// resharded keeps what is known of the shards and publishes it. The caller holds mu.
func (s *Stack) resharded() error {
	if err := s.saveShards(); err != nil {
		return err
	}
	return s.publish()
}

// Shards returns the URLs of all shards of Rekor v2, the oldest first.
func (s *Stack) Shards() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	urls := make([]string, len(s.shards))
	for i, sh := range s.shards {
		urls[i] = sh.at.url
	}
	return urls
}

// current returns the shard that clients are sent to, or nil. The caller holds mu.
func (s *Stack) current() *shard {
	for i := len(s.shards) - 1; i >= 0; i-- {
		if !s.shards[i].Waiting {
			return s.shards[i]
		}
	}
	return nil
}
