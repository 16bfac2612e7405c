// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// stepCandidates is how many candidates are verified and mapped in one transaction:
// each may touch ten pages of the state, which are in memory until it ends.
const stepCandidates = 1024

// mapping says under what a map is made. It is kept with the map, so that the map
// goes on beside a newer one.
type mapping struct {
	Function int    `json:"function"`
	Root     []byte `json:"root"`             // trusted_root.json
	Forges   []byte `json:"forges,omitempty"` // forge table; none for the built-in one
	// PKI names certificate authorities beside Fulcio (SPEC 17.5), whose certificates sign statements. No binding
	// depends on it, so that it may change.
	PKI     []byte `json:"pki,omitempty"`
	Retired bool   `json:"retired,omitempty"`
}

// Map is one map of a directory.
type Map struct {
	mapping
	ID     string
	root   *sigstore.Root
	forges *bindings.Forges
	fn     MapFn
}

var (
	keyMapping    = []byte("mapping")
	bucketTree    = []byte("tree")
	bucketMapped  = []byte("mapped")     // source → entries that were mapped
	bucketBound   = []byte("statements") // statement, hash of a key that has a binding of it → key
	bucketNumbers = []byte("numbers")    // key → other keys of its bindings
	bucketPlaces  = []byte("places")     // statement, NUL, repository → its first binding there
	bucketDue     = []byte("due")        // key, NUL, line: what is listed and has to be recorded
)

func newMap(m mapping) (*Map, error) {
	if m.Function != bindings.MapVersion {
		return nil, fmt.Errorf("the map function %d is not known", m.Function)
	}
	root, err := sigstore.ParseRoot("trusted root", m.Root)
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	if len(m.PKI) > 0 {
		all, err := pki.Parse(m.PKI)
		if err == nil {
			root, err = root.WithPKI(all)
		}
		if err != nil {
			return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: fmt.Errorf("%s: %w", pki.Target, err)}
		}
	}
	out := &Map{mapping: m, root: root}
	if len(m.Forges) > 0 {
		if out.forges, err = bindings.ParseForges(m.Forges); err != nil {
			return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err}
		}
	}
	out.ID = bindings.MapID(m.Function, root.Digest().Hex, out.forges.Digest())
	out.fn = Function{root, out.forges}
	return out, nil
}

// function names the readings that the map can use: the entries that may bind.
func (m *Map) function() string {
	return fmt.Sprintf("%d %s", m.Function, cmp.Or(m.forges.Digest(), "-"))
}

// logs returns the logs that the map is made of, in its order: those of Rekor v2,
// or of Rekor v1 if there is no other.
func (m *Map) logs() []sigstore.Log {
	all := m.root.Logs()
	newest := 0
	for _, l := range all {
		newest = max(newest, l.Generation)
	}
	return slices.DeleteFunc(all, func(l sigstore.Log) bool { return l.Generation != newest })
}

// AddMap makes the map of a trusted root and a forge table, beside those there are,
// unless there is that one, and takes the certificate authorities beside Fulcio that the root
// names. The error is a [*sigstore.Error] if it cannot be read.
func (s *Store) AddMap(root, forges, pki []byte) (*Map, error) {
	m, err := newMap(mapping{Function: bindings.MapVersion, Root: root, Forges: forges, PKI: pki})
	if err != nil {
		return nil, err
	}
	if len(m.logs()) == 0 {
		return nil, &sigstore.Error{
			Reason: policy.TrustRootInvalid, Err: errors.New("the trusted root has no transparency log"),
		}
	}
	return m, s.update(func(tx *bolt.Tx) error {
		b, err := tx.Bucket(bucketMaps).CreateBucketIfNotExists([]byte(m.ID))
		if err != nil {
			return err
		}
		for _, name := range [][]byte{bucketTree, bucketMapped, bucketBound, bucketNumbers, bucketPlaces, bucketDue} {
			if _, err := b.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if err := makeTree(b.Bucket(bucketTree)); err != nil {
			return err
		}
		var old mapping
		if _, err := get(b, keyMapping, &old); err != nil {
			return err
		}
		if old.Retired { // what was published since is not in it
			return fmt.Errorf("the map %s was retired", m.ID)
		}
		return put(b, keyMapping, m.mapping)
	})
}

// Retire ends a map: no further leaf has it. Its beginning is kept.
func (s *Store) Retire(id string) error {
	return s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketMaps).Bucket([]byte(id))
		if b == nil {
			return fmt.Errorf("there is no map %q", id)
		}
		var m mapping
		if _, err := get(b, keyMapping, &m); err != nil {
			return err
		}
		m.Retired = true
		return put(b, keyMapping, m)
	})
}

// Maps returns the maps that are kept, in the order of their ids.
func (s *Store) Maps() ([]*Map, error) {
	var out []*Map
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMaps).ForEachBucket(func(id []byte) error {
			var stored mapping
			if _, err := get(tx.Bucket(bucketMaps).Bucket(id), keyMapping, &stored); err != nil {
				return err
			}
			if stored.Retired {
				return nil
			}
			m, err := newMap(stored)
			if err == nil && m.ID != string(id) {
				err = fmt.Errorf("it is the map %s", m.ID)
			}
			if err != nil {
				return fmt.Errorf("state: map %s: %w", id, err)
			}
			if s.fn != nil {
				m.fn = s.fn
			}
			out = append(out, m)
			return nil
		})
	})
	return out, err
}

func (m *Map) bucket(tx *bolt.Tx) *bolt.Bucket { return tx.Bucket(bucketMaps).Bucket([]byte(m.ID)) }

func (m *Map) tree(tx *bolt.Tx) *tree { return openTree(m.bucket(tx).Bucket(bucketTree)) }

// want says that a statement of which not all that is needed is listed is looked for in
// a repository that bound it. Each repository is looked at for itself: whoever binds
// another's statement must not keep it from being found there.
type want struct {
	// Tries is how often it was looked for, Last the leaf for which it was.
	Tries int   `json:"tries,omitempty"`
	Last  int64 `json:"last,omitempty"`
}

func wantName(statement, repository string) []byte { return []byte(statement + "\x00" + repository) }

func eachWant(tx *bolt.Tx, statement string, f func(name []byte, w want) error) error {
	prefix := wantName(statement, "")
	c := tx.Bucket(bucketWanted).Cursor()
	for name, data := c.Seek(prefix); bytes.HasPrefix(name, prefix); name, data = c.Next() {
		var w want
		if err := unmarshal(name, data, &w); err != nil {
			return err
		}
		if err := f(name, w); err != nil {
			return err
		}
	}
	return nil
}

// unwant ends the search for a statement.
func unwant(tx *bolt.Tx, statement string) error {
	var names [][]byte
	if err := eachWant(tx, statement, func(name []byte, _ want) error {
		names = append(names, bytes.Clone(name))
		return nil
	}); err != nil {
		return err
	}
	for _, name := range names {
		if err := tx.Bucket(bucketWanted).Delete(name); err != nil {
			return err
		}
	}
	return nil
}

// advance maps what was read of a source and is not mapped yet, for the leaf to come.
func (s *Store) advance(m *Map, src source, now chain.Shown) error {
	for {
		done, err := s.mapStep(m, src, now)
		if err != nil || done {
			return err
		}
	}
}

// mapStep maps some candidates, and reports whether it was the last ones.
func (s *Store) mapStep(m *Map, src source, now chain.Shown) (bool, error) {
	from, to, all, err := s.unmapped(m, src)
	if err != nil || from == to {
		return true, err
	}
	if from > to {
		return true, &Stale{Log: src.log.URL, Seen: from, Size: to}
	}
	bound, faults := make([]*Bound, len(all)), make([]error, len(all))
	parallel(len(all), func(i int) {
		bound[i], faults[i] = m.fn.Bind(src.log.Generation, src.log.ID, src.base+all[i].index, all[i].Body)
	})
	if err := errors.Join(faults...); err != nil {
		return true, fmt.Errorf("%s: %w", src.log.URL, err)
	}
	err = s.update(func(tx *bolt.Tx) error {
		var records []addition
		covers, err := coverage(tx, src.log.ID, now)
		if err != nil {
			return err
		}
		for i, b := range bound {
			if b == nil {
				continue
			}
			at := chain.Position{Log: src.log.ID, Index: src.base + all[i].index}
			added, err := m.bind(tx, b, at, covers)
			if err != nil {
				return err
			}
			records = append(records, added...)
		}
		if err := m.tree(tx).add(records); err != nil {
			return err
		}
		return put(m.bucket(tx).Bucket(bucketMapped), []byte(src.name()), to)
	})
	return to == src.cp.Size, err
}

// unmapped returns some candidates that are not mapped yet, and from which index to which they
// are all.
func (s *Store) unmapped(m *Map, src source) (from, to int64, all []found, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if _, err := get(m.bucket(tx).Bucket(bucketMapped), []byte(src.name()), &from); err != nil {
			return err
		}
		b, err := readingBucket(tx, m.function(), src.name())
		if err != nil || b == nil {
			return cmp.Or(err, errors.New("state: a log that was not read"))
		}
		to = src.cp.Size
		return candidates(b, from, to, func(index int64, c candidate) (bool, error) {
			if len(all) == stepCandidates {
				to = index
				return false, nil
			}
			all = append(all, found{index, c})
			return true, nil
		})
	})
	return from, to, all, err
}

// bind keeps a binding, and returns what it adds to the map.
func (m *Map) bind(
	tx *bolt.Tx, b *Bound, at chain.Position, covers func(index int64) (chain.Shown, error),
) (records []addition, err error) {
	if err := m.number(tx, b.Keys); err != nil {
		return nil, err
	}
	covered, err := covers(at.Index)
	if err != nil {
		return nil, err
	}
	text, err := answers.BindingText(at.Log, at.Index, b.LeafHash, covered)
	if err != nil {
		return nil, err
	}
	if err := m.place(tx, b, at); err != nil {
		return nil, err
	}
	for _, key := range b.Keys {
		records = append(records, addition{key, text})
		if err := m.binds(tx, key, b); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// place notes where a repository first bound a statement.
func (m *Map) place(tx *bolt.Tx, b *Bound, at chain.Position) error {
	places, name := m.bucket(tx).Bucket(bucketPlaces), wantName(b.Statement, b.Repository.String())
	if places.Get(name) != nil {
		return nil
	}
	return put(places, name, at)
}

// places returns where repositories first bound a statement.
func (m *Map) places(tx *bolt.Tx, d *answers.DisclosedRecord) (map[string]chain.Position, error) {
	out := map[string]chain.Position{}
	for _, name := range []string{d.PAE, d.Payload} {
		prefix := wantName(name, "")
		c := m.bucket(tx).Bucket(bucketPlaces).Cursor()
		for k, data := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, data = c.Next() {
			var at chain.Position
			if err := unmarshal(k, data, &at); err != nil {
				return nil, err
			}
			out[string(k[len(prefix):])] = at
		}
	}
	return out, nil
}

// number notes, of each key of a binding, the others.
func (m *Map) number(tx *bolt.Tx, keys []string) error {
	b := m.bucket(tx).Bucket(bucketNumbers)
	for _, key := range keys {
		var have []string
		if _, err := get(b, []byte(key), &have); err != nil {
			return err
		}
		others := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == key })
		next := slices.Compact(slices.Sorted(slices.Values(slices.Concat(have, others))))
		if len(next) == len(have) {
			continue
		}
		if err := put(b, []byte(key), next); err != nil {
			return err
		}
	}
	return nil
}

// binds notes that a key has a binding of a statement: what is listed of that is due to be
// recorded, and as long as something may be missing it is wanted.
func (m *Map) binds(tx *bolt.Tx, key string, b *Bound) error {
	hash := prefixmap.KeyHash(key)
	index := append([]byte(b.Statement), hash[:]...)
	statements := m.bucket(tx).Bucket(bucketBound)
	if statements.Get(index) == nil {
		if err := statements.Put(index, []byte(key)); err != nil {
			return err
		}
		lines, err := listed(tx, b.Statement)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if err := m.due(tx, key, line); err != nil {
				return err
			}
		}
	}
	done, err := complete(tx, b.Statement)
	if err != nil || done {
		return err
	}
	name := wantName(b.Statement, b.Repository.String())
	if tx.Bucket(bucketWanted).Get(name) != nil {
		return nil
	}
	return put(tx.Bucket(bucketWanted), name, want{})
}

// due makes a line that is listed due under a key; a signature only if the map's root knows
// its log.
func (m *Map) due(tx *bolt.Tx, key, line string) error {
	_, sig, err := answers.ParseListed(line)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if sig != nil && !slices.ContainsFunc(m.root.Logs(), func(l sigstore.Log) bool { return l.ID == sig.Log }) {
		return nil
	}
	return m.bucket(tx).Bucket(bucketDue).Put([]byte(key+"\x00"+line), []byte{})
}

// publish makes a line about a statement due under each key that has a binding of it.
func (m *Map) publish(tx *bolt.Tx, p published, line string) error {
	for _, name := range []string{p.PAE, p.Payload} {
		c := m.bucket(tx).Bucket(bucketBound).Cursor()
		for k, key := c.Seek([]byte(name)); k != nil && strings.HasPrefix(string(k), name); k, key = c.Next() {
			if err := m.due(tx, string(key), line); err != nil {
				return err
			}
		}
	}
	return nil
}

// bound reports whether any key of the map has a binding of the statement.
func (m *Map) bound(tx *bolt.Tx, d *answers.DisclosedRecord) bool {
	for _, name := range []string{d.PAE, d.Payload} {
		if k, _ := m.bucket(tx).Bucket(bucketBound).Cursor().Seek([]byte(name)); strings.HasPrefix(string(k), name) {
			return true
		}
	}
	return false
}

// settle records the publications that are due, in their order, some in each
// transaction.
func (s *Store) settle(m *Map) error {
	for {
		left := false
		err := s.update(func(tx *bolt.Tx) (err error) {
			left, err = m.settleStep(tx)
			return err
		})
		if err != nil || !left {
			return err
		}
	}
}

// settleStep records some publications, and reports whether there may be more.
func (m *Map) settleStep(tx *bolt.Tx) (bool, error) {
	due := m.bucket(tx).Bucket(bucketDue)
	var done [][]byte
	var records []addition
	c := due.Cursor()
	for k, _ := c.First(); k != nil && len(done) < stepCandidates; k, _ = c.Next() {
		key, line, _ := strings.Cut(string(k), "\x00")
		text, err := recordOf(tx, line)
		if err != nil {
			return false, err
		}
		records = append(records, addition{key, text})
		done = append(done, bytes.Clone(k))
	}
	if err := m.tree(tx).add(records); err != nil {
		return false, err
	}
	for _, k := range done {
		if err := due.Delete(k); err != nil {
			return false, err
		}
	}
	return len(done) == stepCandidates, nil
}
