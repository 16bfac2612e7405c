// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// Names of the answers (SPEC 16.4).
const (
	extension      = ".json.gz"
	checkpointFile = "checkpoint"
	tileDir        = "tile"
	statementDir   = "statement"
	signatureDir   = "signature"
	leastDigits    = 2
	mostDigits     = 16
	partialSuffix  = ".p"
	maxBlock       = answers.MaxKeyRecords / prefixmap.BlockSize
)

func lookupPath(id string, hash prefixmap.Hash) string {
	h := hex.EncodeToString(hash[:])
	return path.Join(id, "lookup", h[:leastDigits], h+extension)
}

func absentPath(id, digits string) string { return path.Join(id, "absent", digits+extension) }

// pagePath is the path of a block: a full one, or one with so many records.
func pagePath(id string, hash prefixmap.Hash, block, records int) string {
	h := hex.EncodeToString(hash[:])
	name := fmt.Sprint(block)
	if records < prefixmap.BlockSize {
		name += partialSuffix + "/" + fmt.Sprint(records)
	}
	return path.Join(id, "page", h[:leastDigits], h, name+extension)
}

func statementPath(statement string) string {
	return path.Join(statementDir, statement[:leastDigits], statement)
}

func signaturePath(log string, index int64) string {
	return path.Join(signatureDir, log, strconv.FormatInt(index, 10))
}

// Publish writes the newest state into a directory that a web server serves. Each
// file is replaced in one step, those that never change are left alone, and the
// output log's checkpoint comes last. It can be cut off and done again. The error is
// [ErrUnfinished] where a build was cut off. What cannot be answered is left out, and warn is
// told: no repository keeps the others from being published.
func (s *Store) Publish(site string, warn func(format string, args ...any)) error {
	head, err := s.Head()
	if err != nil {
		return err
	}
	if head == nil {
		return errors.New("nothing was built yet")
	}
	if err := behind(site, head); err != nil {
		return err
	}
	w := &siteWriter{dir: site, made: map[string]bool{}, warn: warn}
	w.group.SetLimit(2 * runtime.GOMAXPROCS(0))
	err = s.db.View(func(tx *bolt.Tx) error { return w.state(tx, head) })
	if err := errors.Join(err, w.group.Wait()); err != nil {
		return err
	}
	if err := w.tiles(filepath.Join(s.dir, outputDir)); err != nil {
		return err
	}
	w.file(checkpointFile, func() ([]byte, error) { return []byte(head.Checkpoint), nil })
	return w.group.Wait()
}

// behind refuses to replace a site by what is older: clients would be told less than
// they have seen.
func behind(site string, head *Head) error {
	shown, err := os.ReadFile(filepath.Join(site, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	was, err := checkpointSize(string(shown))
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(site, checkpointFile), err)
	}
	if was > head.Index+1 {
		return &Diverged{fmt.Sprintf("the site shows %d entries, and the state %d", was, head.Index+1)}
	}
	return nil
}

// siteWriter writes the files of a site. What a file holds is computed by one
// goroutine, and encoded and written by several.
type siteWriter struct {
	dir   string
	made  map[string]bool // directories
	group errgroup.Group
	mu    sync.Mutex // guards warn
	warn  func(format string, args ...any)
}

// answer replaces a file by what can be encoded; what cannot is taken away.
func (w *siteWriter) answer(name string, encode encoder) {
	w.file(name, func() ([]byte, error) {
		data, err := encode()
		if err == nil {
			return data, nil
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.warn("%s is left out: %s", name, err)
		return nil, os.RemoveAll(filepath.Join(w.dir, filepath.FromSlash(name)))
	})
}

// file replaces a file.
func (w *siteWriter) file(name string, data func() ([]byte, error)) {
	full := filepath.Join(w.dir, filepath.FromSlash(name))
	if dir := filepath.Dir(full); !w.made[dir] {
		w.made[dir] = true
		if err := os.MkdirAll(dir, 0o755); err != nil {
			w.group.Go(func() error { return err })
			return
		}
	}
	w.group.Go(func() error {
		content, err := data()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if content == nil {
			return nil
		}
		return replace(full, content)
	})
}

// replace writes a file in one step. It is not forced to the disk: the state is,
// and the site can be written from it again.
func replace(name string, data []byte) error {
	// One that was cut off is written over.
	fresh := filepath.Join(filepath.Dir(name), ".new-"+filepath.Base(name))
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // never through a link
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

// once writes a file that never changes, unless it is there.
func (w *siteWriter) once(name string, data func() ([]byte, error)) {
	if _, err := os.Lstat(filepath.Join(w.dir, filepath.FromSlash(name))); err == nil {
		return
	}
	w.file(name, data)
}

// state writes all answers.
func (w *siteWriter) state(tx *bolt.Tx, head *Head) error {
	all, err := agrees(tx, head)
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketStatements).ForEach(func(statement, payload []byte) error {
		if tx.Bucket(bucketPublished).Get(statement) != nil {
			w.once(statementPath(string(statement)), func() ([]byte, error) { return payload, nil })
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketSignatures).ForEach(func(key, _ []byte) error {
		at := key[len(key)-8:]
		log := string(key[len(key)-9-64 : len(key)-9])
		bundle := tx.Bucket(bucketBundles).Get(key[len(key)-9-64:])
		w.once(signaturePath(log, int64(binary.BigEndian.Uint64(at))), func() ([]byte, error) { return bundle, nil })
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := w.lists(tx, m.ID); err != nil {
			return err
		}
		if err := w.answers(newAnswers(tx, head, m)); err != nil {
			return err
		}
	}
	return w.group.Wait() // before the transaction ends, whose memory they read
}

func storedMap(tx *bolt.Tx, id string) (*Map, error) {
	b := tx.Bucket(bucketMaps).Bucket([]byte(id))
	if b == nil {
		return nil, fmt.Errorf("state: there is no map %s", id)
	}
	var stored mapping
	if _, err := get(b, keyMapping, &stored); err != nil {
		return nil, err
	}
	return newMap(stored)
}

// lists writes the lists of statements of all leaves that have the map.
func (w *siteWriter) lists(tx *bolt.Tx, id string) error {
	return tx.Bucket(bucketLists).ForEach(func(k, list []byte) error {
		w.once(path.Join(id, "disclosed", fmt.Sprint(binary.BigEndian.Uint64(k))), func() ([]byte, error) {
			return list, nil
		})
		return nil
	})
}

// answers writes the answers of one map.
func (w *siteWriter) answers(a *answerer) error {
	err := a.keys(func(key string, hash prefixmap.Hash, count uint64) error {
		if err := w.pages(a, key, hash, count); err != nil || !isLocator(key) {
			return err
		}
		return w.lookup(a, key, hash)
	})
	if err != nil {
		return err
	}
	return w.absences(a, digitsFor(a.tree.size()))
}

// pages writes the full blocks of a key, which never change. What an answer showed of one
// before it was full is in no new answer.
func (w *siteWriter) pages(a *answerer, key string, hash prefixmap.Hash, count uint64) error {
	if count > answers.MaxKeyRecords {
		return nil
	}
	for block := range int(count / prefixmap.BlockSize) {
		fresh, err := w.page(a, key, hash, block, prefixmap.BlockSize)
		if err != nil {
			return err
		}
		if !fresh {
			continue
		}
		partial := strings.TrimSuffix(pagePath(a.m.ID, hash, block, prefixmap.BlockSize), extension) + partialSuffix
		if err := os.RemoveAll(filepath.Join(w.dir, filepath.FromSlash(partial))); err != nil {
			return err
		}
	}
	return nil
}

// page writes a block, unless it is there.
func (w *siteWriter) page(a *answerer, key string, hash prefixmap.Hash, block, records int) (fresh bool, err error) {
	name := pagePath(a.m.ID, hash, block, records)
	if _, err := os.Lstat(filepath.Join(w.dir, filepath.FromSlash(name))); err == nil {
		return false, nil
	}
	p, ok, err := a.page(key, block, records)
	if err == nil && !ok {
		err = fmt.Errorf("state: no block %d of %s", block, key)
	}
	if err == nil {
		w.answer(name, p.Encode)
	}
	return true, err
}

// lookup writes the answer about a locator, and the blocks that only it shows.
func (w *siteWriter) lookup(a *answerer, key string, hash prefixmap.Hash) error {
	answer, _, err := a.lookup(key)
	if err != nil {
		return err
	}
	for _, k := range answer.Keys {
		if k.Rest > 0 {
			if _, err := w.page(a, k.Key, prefixmap.KeyHash(k.Key), len(k.Blocks)-1, k.Rest); err != nil {
				return err
			}
		}
	}
	w.answer(lookupPath(a.m.ID, hash), answer.Encode)
	return nil
}

// absences writes the answers about keys that have no records.
func (w *siteWriter) absences(a *answerer, digits int) error {
	out := absentWriter{w: w, a: a, written: map[string]bool{}}
	if digits > leastDigits {
		for n := range 1 << (4 * leastDigits) {
			out.split(fmt.Sprintf("%0*x", leastDigits, n), digits)
		}
	}
	for n := range 1 << (4 * digits) {
		if err := out.below(fmt.Sprintf("%0*x", digits, n)); err != nil {
			return err
		}
	}
	if err := w.group.Wait(); err != nil {
		return err
	}
	return out.removeOthers()
}

// absentWriter writes the answers of one map about keys that have no records.
type absentWriter struct {
	w       *siteWriter
	a       *answerer
	written map[string]bool // names of files
}

func (o *absentWriter) write(prefix string, answer answers.Answer) {
	name := absentPath(o.a.m.ID, prefix)
	o.written[path.Base(name)] = true
	o.w.answer(name, answer.Encode)
}

// split writes that the answers are under prefixes of so many digits.
func (o *absentWriter) split(prefix string, digits int) {
	answer := o.a.empty()
	answer.Split = digits
	o.write(prefix, answer)
}

// below writes the answer about a prefix, or those about the prefixes below it.
func (o *absentWriter) below(prefix string) error {
	many, err := o.a.splits(prefix)
	if err != nil {
		return err
	}
	if !many || len(prefix) == mostDigits {
		answer, err := o.a.nothing(prefix)
		o.write(prefix, answer)
		return err
	}
	o.split(prefix, len(prefix)+1)
	for n := range 16 {
		if err := o.below(fmt.Sprintf("%s%x", prefix, n)); err != nil {
			return err
		}
	}
	return nil
}

// removeOthers removes answers about prefixes of another length, which were right once.
func (o *absentWriter) removeOthers() error {
	dir := filepath.Join(o.w.dir, o.a.m.ID, "absent")
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if !o.written[e.Name()] && strings.HasSuffix(e.Name(), extension) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// tiles copies the output log's, which never change. Partial ones are not needed any
// more where the full one is there.
func (w *siteWriter) tiles(log string) error {
	err := fs.WalkDir(os.DirFS(log), tileDir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		w.once(name, func() ([]byte, error) { return os.ReadFile(filepath.Join(log, filepath.FromSlash(name))) })
		return nil
	})
	if err := errors.Join(err, w.group.Wait()); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(w.dir, tileDir), func(name string, d fs.DirEntry, err error) error {
		full, partial := strings.CutSuffix(name, ".p")
		if err != nil || !d.IsDir() || !partial {
			return err
		}
		if _, err := os.Lstat(full); err != nil {
			return nil
		}
		return cmp.Or(os.RemoveAll(name), fs.SkipDir)
	})
}
