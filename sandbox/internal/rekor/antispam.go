// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"go.etcd.io/bbolt"
)

// antispam is Tessera's memory of what a log holds, so that a repeated entry is
// found also after a restart. Tessera's own store for files cannot be closed: it
// keeps its goroutines and its lock until the process ends.
type antispam struct {
	db   *bbolt.DB
	hash func([]byte) ([][]byte, error)
}

const (
	followInterval = 50 * time.Millisecond
	followWorkers  = 2
)

var (
	entriesBucket = []byte("entries") // identity hash to index
	stateBucket   = []byte("state")
	nextKey       = []byte("next")
)

func openAntispam(file string) (*antispam, error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(entriesBucket)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(stateBucket)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &antispam{db: db}, nil
}

func (a *antispam) Close() error { return a.db.Close() }

// Decorator answers with the index of an entry that is known.
func (a *antispam) Decorator() func(tessera.AddFn) tessera.AddFn {
	return func(add tessera.AddFn) tessera.AddFn {
		return func(ctx context.Context, e *tessera.Entry) tessera.IndexFuture {
			var index *uint64
			err := a.db.View(func(tx *bbolt.Tx) error {
				if v := tx.Bucket(entriesBucket).Get(e.Identity()); len(v) == 8 {
					i := binary.BigEndian.Uint64(v)
					index = &i
				}
				return nil
			})
			switch {
			case err != nil:
				return func() (tessera.Index, error) { return tessera.Index{}, err }
			case index != nil:
				return func() (tessera.Index, error) { return tessera.Index{Index: *index, IsDup: true}, nil }
			}
			return add(ctx, e)
		}
	}
}

// Follower returns what fills the store from the log.
func (a *antispam) Follower(hash func([]byte) ([][]byte, error)) tessera.Follower {
	a.hash = hash
	return a
}

// Name names the follower.
func (a *antispam) Name() string { return "bbolt antispam" }

// EntriesProcessed returns how much of the log is known.
func (a *antispam) EntriesProcessed(context.Context) (uint64, error) {
	var next uint64
	err := a.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(stateBucket).Get(nextKey); len(v) == 8 {
			next = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	return next, err
}

// Follow reads the log until the context ends. An error of one round is retried
// in the next: the store only lags behind.
func (a *antispam) Follow(ctx context.Context, log tessera.LogReader) {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = a.catchUp(ctx, log)
		}
	}
}

func (a *antispam) catchUp(ctx context.Context, log tessera.LogReader) error {
	next, err := a.EntriesProcessed(ctx)
	if err != nil {
		return err
	}
	size, err := log.IntegratedSize(ctx)
	if errors.Is(err, os.ErrNotExist) || err == nil && size <= next {
		return nil
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the fetchers when the loop below ends early
	sizeNow := func(context.Context) (uint64, error) { return size, nil }
	bundles := client.EntryBundles(ctx, followWorkers, sizeNow, log.ReadEntryBundle, next, size-next)
	return a.db.Update(func(tx *bbolt.Tx) error {
		entries := tx.Bucket(entriesBucket)
		for e, err := range client.Entries(bundles, a.hash) {
			if err != nil {
				return err
			}
			if entries.Get(e.Entry) == nil {
				if err := entries.Put(e.Entry, binary.BigEndian.AppendUint64(nil, e.Index)); err != nil {
					return err
				}
			}
			next = e.Index + 1
		}
		return tx.Bucket(stateBucket).Put(nextKey, binary.BigEndian.AppendUint64(nil, next))
	})
}
