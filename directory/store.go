// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	stateFile   = "state.db"
	stateFormat = "repopolicy directory state v2"
	lockWait    = time.Second
)

// ErrInUse is wrapped by the error about a state that another process has open.
var ErrInUse = errors.New("another process is using it")

// Store is the state of a directory: what was read of the logs, the maps, the
// leaves of the output log and what is on its way to become one. Each step is one
// transaction.
type Store struct {
	db  *bolt.DB
	dir string
	// served says that the file can grow while it is read.
	served bool
	// yield ends the server's transaction, which may keep a writer waiting; nil without one.
	yield atomic.Pointer[func()]
	// patience is how long a step may take before that; 0 for writeWait.
	patience time.Duration
	// asking counts the builds that are asking the logs how far to read.
	asking atomic.Int32
	fn     MapFn // of a test, for all maps; nil for the one there is
}

// The buckets. What a map needs of the logs is kept beside the maps, since it does
// not depend on the trusted root: see [reading].
var (
	bucketMeta       = []byte("meta")
	bucketReadings   = []byte("readings")
	bucketMaps       = []byte("maps")
	bucketLeaves     = []byte("leaves")     // of the output log: index → leaf
	bucketLists      = []byte("lists")      // index → list of statements
	bucketPublished  = []byte("published")  // statement, by each name → its names and when it was listed
	bucketSignatures = []byte("signatures") // statement, log, index → who signed, and when it was listed
	bucketStatements = []byte("statements") // statement, by each name → payload
	bucketBundles    = []byte("bundles")    // log, index → bundle of a signature
	bucketWanted     = []byte("wanted")     // statement, NUL, repository → how often it was looked for there
	bucketFound      = []byte("found")      // lines of the list of the build on its way
	bucketWaiting    = []byte("waiting")    // statement → that it was handed in, for a build to list it
	bucketHandedIn   = []byte("handed-in")  // statement → payload; statement, log, index → signature and bundle
)

var (
	keyFormat  = []byte("format")
	keyPending = []byte("pending")
	keyHead    = []byte("head")
)

// OpenStore opens the state in a directory, which is made if it is not there. The
// error wraps [ErrInUse] if it is open elsewhere.
func OpenStore(dir string) (*Store, error) { return openStore(dir, 0) }

// serveMap is how large a state may become at least while it is served, and mapTimes how
// often its own size: a transaction that reads does not let the file be mapped anew. It is
// address space, not memory. Beyond that the transaction of the server has to end: see
// [Store.update].
const (
	serveMap = 1 << (30 + 8*(^uint(0)>>63))
	mapTimes = 4
	maxMap   = 1 << (30 + 15*(^uint(0)>>63))
	// writeWait is how long a step may wait for the server, or take, before that.
	writeWait = 30 * time.Second
)

// OpenStoreFor does the same for a [Server].
func OpenStoreFor(dir string) (*Store, error) {
	size := int64(0)
	if info, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		size = info.Size()
	}
	return openStore(dir, reserve(size))
}

func reserve(size int64) int { return int(min(max(serveMap, mapTimes*size), maxMap)) }

// update makes one step. Should the file have to be mapped anew for it, which nobody may be
// reading then, the server gives its state up: it answers again when the build is done. No
// step waits for ever.
func (s *Store) update(f func(*bolt.Tx) error) error {
	done := make(chan struct{})
	defer close(done)
	if s.served {
		go s.insist(done)
	}
	return s.db.Update(f)
}

func (s *Store) insist(done chan struct{}) {
	tick := time.NewTicker(cmp.Or(s.patience, writeWait))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if yield := s.yield.Load(); yield != nil {
				(*yield)()
			}
		}
	}
}

func openStore(dir string, size int) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, stateFile)
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: lockWait, FreelistType: bolt.FreelistMapType, InitialMmapSize: size,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Store{db: db, dir: dir, served: size > 0}
	if err := db.Update(s.prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return s, nil
}

func (s *Store) prepare(tx *bolt.Tx) error {
	for _, name := range [][]byte{
		bucketMeta, bucketReadings, bucketMaps, bucketLeaves, bucketLists, bucketPublished, bucketSignatures,
		bucketStatements, bucketBundles, bucketWanted, bucketFound, bucketWaiting, bucketHandedIn,
	} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketMaps).ForEachBucket(func(id []byte) error { // of before there were places
		_, err := tx.Bucket(bucketMaps).Bucket(id).CreateBucketIfNotExists(bucketPlaces)
		return err
	}); err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	switch format := meta.Get(keyFormat); {
	case format == nil:
		return meta.Put(keyFormat, []byte(stateFormat))
	case string(format) != stateFormat:
		return fmt.Errorf("it is in the format %q, not %q", format, stateFormat)
	}
	return nil
}

// Close closes the state, which a server then answers from no longer.
func (s *Store) Close() error {
	if yield := s.yield.Load(); yield != nil {
		(*yield)()
	}
	return s.db.Close()
}

// get reads a JSON value; v stays what it is, and false is returned, if there is
// none.
func get(b *bolt.Bucket, key []byte, v any) (bool, error) {
	data := b.Get(key)
	if data == nil {
		return false, nil
	}
	return true, unmarshal(key, data, v)
}

func unmarshal(key, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("state: %q: %w", key, err)
	}
	return nil
}

func put(b *bolt.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// number is a key that sorts as its number does.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// leaves returns how many leaves of the output log are done.
func leaves(tx *bolt.Tx) int64 {
	last, _ := tx.Bucket(bucketLeaves).Cursor().Last()
	if last == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(last)) + 1
}
