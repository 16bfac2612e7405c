// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// ErrUnfinished is the error about a state whose maps are ahead of its newest leaf,
// since a build was cut off: there is no answer that agrees with both.
var ErrUnfinished = errors.New("a build was cut off; build again")

// agrees demands that the maps are those of the newest leaf, and returns them.
func agrees(tx *bolt.Tx, head *Head) ([]*Map, error) {
	leaf, err := answers.ParseDirectoryLeaf(head.Leaf)
	if err != nil {
		return nil, err
	}
	var out []*Map
	for _, in := range leaf.Maps {
		m, err := storedMap(tx, in.ID())
		if err != nil {
			return nil, err
		}
		root, err := m.tree(tx).root()
		if err != nil {
			return nil, err
		}
		if root != in.Hash {
			return nil, ErrUnfinished
		}
		out = append(out, m)
	}
	return out, nil
}

// Server answers from the newest state that was built, while the next one is made.
type Server struct {
	store *Store
	mu    sync.RWMutex // guards now; a request holds it for reading
	now   *snapshot
	fixed *http.ServeMux // what is not of one map
	maps  *http.ServeMux
	slots chan struct{} // of those who hand in
	// Intake takes what is handed in; nil takes nothing. It is set before anybody asks.
	Intake *Intake
}

// snapshot is a state, which changes no more.
type snapshot struct {
	mu   sync.Mutex // a transaction is for one goroutine at a time
	tx   *bolt.Tx
	head *Head
	maps map[string]*answerer
}

// NewServer returns a server that has nothing to answer yet. It is an error if the
// store was not opened for it: see [OpenStoreFor].
func NewServer(s *Store) (*Server, error) {
	if !s.served {
		return nil, errors.New("the state was not opened to be served")
	}
	srv := &Server{
		store: s, fixed: http.NewServeMux(), maps: http.NewServeMux(), slots: make(chan struct{}, handInsAtOnce),
	}
	srv.fixed.HandleFunc("GET /checkpoint", srv.answer(func(now *snapshot, _ *http.Request) (encoder, error) {
		return text(now.head.Checkpoint), nil
	}))
	srv.fixed.HandleFunc("GET /tile/{path...}", srv.tile)
	srv.fixed.HandleFunc("GET /statement/{digits}/{statement}", srv.answer(statementOf))
	srv.fixed.HandleFunc("GET /signature/{log}/{index}", srv.answer(signatureOf))
	srv.maps.HandleFunc("GET /{map}/disclosed/{index}", srv.answer(listOf))
	srv.maps.HandleFunc("GET /{map}/lookup/{digits}/{file}", srv.answer(lookupOf))
	srv.maps.HandleFunc("GET /{map}/absent/{file}", srv.answer(absenceOf))
	srv.maps.HandleFunc("GET /{map}/page/{digits}/{key}/{file}", srv.answer(pageOf))
	srv.maps.HandleFunc("GET /{map}/page/{digits}/{key}/{block}/{file}", srv.answer(pageOf))
	srv.fixed.HandleFunc("POST /"+answers.HandInPath, srv.handIn)
	srv.fixed.Handle("/", srv.maps)
	yield := func() { _ = srv.replace(nil) }
	s.yield.Store(&yield)
	return srv, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.fixed.ServeHTTP(w, r) }

// Limits of the path of a tile: https://c2sp.org/tlog-tiles.
const (
	maxTileSegments = 12
	maxTileSegment  = len("entries")
)

// tile answers with a file of the output log. What cannot be the name of one is not
// there; no directory is listed.
func (s *Server) tile(w http.ResponseWriter, r *http.Request) {
	segments := strings.Split(r.PathValue("path"), "/")
	for _, x := range segments {
		if x == "" || len(x) > maxTileSegment || x != "entries" && strings.Trim(x, "0123456789x.p") != "" ||
			strings.Trim(x, ".") == "" || len(segments) > maxTileSegments {
			http.NotFound(w, r)
			return
		}
	}
	root, err := os.OpenRoot(filepath.Join(s.store.dir, outputDir))
	if err != nil {
		http.NotFound(w, r) // nothing was built yet
		return
	}
	defer root.Close()
	f, err := file.OpenIn(root, filepath.Join(append([]string{"tile"}, segments...)...))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// Advance answers from the newest state from now on. The error is [ErrUnfinished]
// where a build was cut off.
func (s *Server) Advance() error {
	head, err := s.store.Head()
	if err != nil || head == nil {
		return err
	}
	tx, err := s.store.db.Begin(false)
	if err != nil {
		return err
	}
	all, err := agrees(tx, head)
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	next := &snapshot{tx: tx, head: head, maps: map[string]*answerer{}}
	for _, m := range all {
		next.maps[m.ID] = newAnswers(tx, head, m)
	}
	return s.replace(next)
}

// Idle reports whether there is nothing to answer from: before the first build, and when a
// step of a build could not be made beside it.
func (s *Server) Idle() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now == nil
}

// Close ends the state that is answered from.
func (s *Server) Close() error { return s.replace(nil) }

func (s *Server) replace(next *snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.now
	s.now = next
	if old == nil {
		return nil
	}
	return old.tx.Rollback()
}

// encoder makes an answer's bytes, which takes longer than to look it up.
type encoder func() ([]byte, error)

func text(s string) encoder { return func() ([]byte, error) { return []byte(s), nil } }

// errNothing is the error about a path at which there is nothing.
var errNothing = errors.New("not found")

// answer makes a handler of what looks an answer up.
func (s *Server) answer(f func(*snapshot, *http.Request) (encoder, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := s.look(f, r)
		switch {
		case errors.Is(err, errNothing):
			http.NotFound(w, r)
		case errors.Is(err, ErrUnfinished):
			http.Error(w, "a build is not done", http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, "internal error", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data) // the client went away
		}
	}
}

func (s *Server) look(f func(*snapshot, *http.Request) (encoder, error), r *http.Request) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.now == nil {
		return nil, ErrUnfinished
	}
	s.now.mu.Lock()
	encode, err := f(s.now, r)
	s.now.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return encode()
}

func (s *snapshot) of(r *http.Request) (*answerer, error) {
	a := s.maps[r.PathValue("map")]
	if a == nil {
		return nil, errNothing
	}
	return a, nil
}

func statementOf(s *snapshot, r *http.Request) (encoder, error) {
	name := r.PathValue("statement")
	payload := s.tx.Bucket(bucketStatements).Get([]byte(name))
	if payload == nil || s.tx.Bucket(bucketPublished).Get([]byte(name)) == nil ||
		name[:leastDigits] != r.PathValue("digits") {
		return nil, errNothing
	}
	return text(string(payload)), nil
}

func signatureOf(s *snapshot, r *http.Request) (encoder, error) {
	index, err := canonical.ParseNumber(r.PathValue("index"))
	if err != nil {
		return nil, errNothing
	}
	key := bundleKey(r.PathValue("log"), index)
	bundle := s.tx.Bucket(bucketBundles).Get(key)
	if bundle == nil {
		return nil, errNothing
	}
	return text(string(bundle)), nil
}

func listOf(s *snapshot, r *http.Request) (encoder, error) {
	index, err := canonical.ParseNumber(r.PathValue("index"))
	if _, ofErr := s.of(r); err != nil || ofErr != nil {
		return nil, errNothing
	}
	list := s.tx.Bucket(bucketLists).Get(number(uint64(index)))
	if list == nil {
		return nil, errNothing
	}
	return text(string(list)), nil
}

// hashOf reads the hash of a key in a path.
func hashOf(name, digits string) (h prefixmap.Hash, err error) {
	raw, err := hex.DecodeString(name)
	if err != nil || len(raw) != len(h) || strings.ToLower(name) != name || name[:leastDigits] != digits {
		return h, errNothing
	}
	return prefixmap.Hash(raw), nil
}

// lookupOf answers for any key, also that it has no record: then no second
// question is needed.
func lookupOf(s *snapshot, r *http.Request) (encoder, error) {
	a, err := s.of(r)
	if err != nil {
		return nil, err
	}
	name, ok := strings.CutSuffix(r.PathValue("file"), extension)
	if !ok {
		return nil, errNothing
	}
	hash, err := hashOf(name, r.PathValue("digits"))
	if err != nil {
		return nil, err
	}
	k, err := a.tree.key(hash)
	if err != nil {
		return nil, err
	}
	if k.count > 0 && !isLocator(k.name) {
		return nil, errNothing
	}
	out, there, err := a.lookup(k.name)
	if !there && err == nil {
		out, _, err = a.absent(hash)
	}
	return out.Encode, err
}

func absenceOf(s *snapshot, r *http.Request) (encoder, error) {
	a, err := s.of(r)
	if err != nil {
		return nil, err
	}
	digits, ok := strings.CutSuffix(r.PathValue("file"), extension)
	if !ok || len(digits) < leastDigits || len(digits) > 2*len(prefixmap.Hash{}) ||
		strings.Trim(digits, "0123456789abcdef") != "" {
		return nil, errNothing
	}
	want := digitsFor(a.tree.size())
	if many, err := a.splits(digits); err != nil {
		return nil, err
	} else if many {
		want = max(want, len(digits)+1)
	}
	if len(digits) < want {
		out := a.empty()
		out.Split = want
		return out.Encode, nil
	}
	out, err := a.nothing(digits)
	return out.Encode, err
}

func pageOf(s *snapshot, r *http.Request) (encoder, error) {
	a, err := s.of(r)
	if err != nil {
		return nil, err
	}
	name, ok := strings.CutSuffix(r.PathValue("file"), extension)
	records := int64(prefixmap.BlockSize)
	var numErr error
	if partial := r.PathValue("block"); partial != "" {
		if records, numErr = canonical.ParseNumber(name); numErr == nil {
			name, ok = strings.CutSuffix(partial, partialSuffix)
			ok = ok && records < prefixmap.BlockSize
		}
	}
	block, blockErr := canonical.ParseNumber(name)
	hash, err := hashOf(r.PathValue("key"), r.PathValue("digits"))
	if !ok || errors.Join(numErr, blockErr, err) != nil || block > maxBlock {
		return nil, errNothing
	}
	k, err := a.tree.key(hash)
	if err != nil {
		return nil, err
	}
	p, there, err := a.page(k.name, int(block), int(records))
	if err == nil && !there {
		err = errNothing
	}
	return p.Encode, err
}
