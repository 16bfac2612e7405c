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
	End   time.Time `json:"end,omitzero"` // zero while it takes entries

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
	if !sh.End.IsZero() {
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

// AddShard ends the present shard of Rekor v2 and begins another one, as the
// public instance does every few months: the old shard is frozen, the trusted
// root ends its window where that of the new one begins, the signing
// configuration names the new one, and the TUF repository has both.
func (s *Stack) AddShard() error { return s.labelled(s.addShard) }

func (s *Stack) addShard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Second)
	if n := len(s.shards); n > 0 {
		s.shards[n-1].End = now
		s.shards[n-1].log.Freeze()
	}
	if err := s.runShard(&shard{Name: shardName(len(s.shards) + 1), Start: now}); err != nil {
		return err
	}
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

// current returns the shard that takes entries, or nil. The caller holds mu.
func (s *Stack) current() *shard {
	if len(s.shards) == 0 {
		return nil
	}
	return s.shards[len(s.shards)-1]
}
