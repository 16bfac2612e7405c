// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/signlog"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	stateSchema   = rekor.SchemaBase + "state-v1.json"
	maxStateBytes = 64 << 20
)

// State is what a machine remembers between runs, in a directory of its own or another [Store]:
// chains, cursors of logs, what entries of indexes are. Whoever can write
// there can make the machine forget, which is then a first use again, overlook a
// binding, or refuse; nothing in it makes a signature or an entry count, since each
// is verified anew.
//
// A file that is malformed is an error, never a first use.
type State struct {
	store Store
	path  func(name string) string // how a name is called to people
}

// OpenState returns the state in a directory, which is made if it is not there.
// A link, or a directory that others may write to, is an error.
func OpenState(dir string) (*State, error) {
	if err := file.Private(dir); err != nil {
		return nil, err
	}
	f := folder(dir)
	return &State{f, f.path}, nil
}

// StateIn returns the state in a store.
func StateIn(s Store) *State { return &State{s, func(name string) string { return name }} }

// document is every file of the state.
type document[T any] struct {
	Schema string `json:"schema"`
	About  string `json:"about"` // repository or log, so that no file stands for another
	Value  *T     `json:"value"` // nil would be a first use
}

// stateRules: which of two chains a machine remembers must not be a matter of the parser.
var stateRules = strictjson.Rules{Null: true, Known: []string{
	"schema", "about", "value", "chain", "size", "root", "hashes", "checkpoint", "tree", "proven", "bindings", "asked",
	"narrow", "map", "keys", "index", "body", "earlier", "time", "draft", "v1", "v2", "more", "places", "why",
}}

// load reads a file; the zero value if there is none.
func load[T any](s *State, name, about string) (T, error) {
	value, _, err := read[T](s, name, about)
	return value, err
}

// read reads a file, and returns it as it is, too; nil if there is none.
func read[T any](s *State, name, about string) (zero T, data []byte, err error) {
	path := s.path(name)
	if data, err = s.store.Load(name); err != nil || data == nil {
		return zero, nil, err
	}
	if len(data) > maxStateBytes {
		return zero, nil, fmt.Errorf("%s has more than %d bytes", path, maxStateBytes)
	}
	var d document[T]
	if err := stateRules.Decode(data, &d); err != nil {
		return zero, nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.Schema != stateSchema || d.About != about {
		return zero, nil, fmt.Errorf(
			"%s: it is about %q, in the format %q", path, clip.Text(d.About), clip.Text(d.Schema),
		)
	}
	if d.Value == nil {
		return zero, nil, fmt.Errorf("%s: it holds nothing", path)
	}
	return *d.Value, data, nil
}

// swap stores next if old is what is stored.
func swap[T any](s *State, name, about string, old, next T) (bool, error) {
	now, before, err := read[T](s, name, about)
	if err != nil {
		return false, err
	}
	if !reflect.DeepEqual(now, old) {
		return false, nil
	}
	data, err := json.MarshalIndent(document[T]{stateSchema, about, &next}, "", " ")
	if err != nil {
		return false, err
	}
	if data = append(data, '\n'); len(data) > maxStateBytes {
		return false, fmt.Errorf(
			"what is to be kept of %s has %d bytes, at most %d are read", clip.Text(about), len(data), maxStateBytes,
		)
	}
	ok, err := s.store.Swap(name, before, data)
	if ok || err != nil {
		return ok, err
	}
	// Whoever is told that somebody else was here tries again, for ever if nobody was.
	after, err := s.store.Load(name)
	if err == nil && bytes.Equal(after, before) && (after == nil) == (before == nil) {
		err = fmt.Errorf("%s: what is to be kept is not taken, and nothing else was", s.path(name))
	}
	return false, err
}

func name(kind, about string) string { return kind + "/" + spelling.Sum([]byte(about)) + ".json" }

// Kept returns the chain that was kept of a repository; see [Keeper].
func (s *State) Kept(repo policy.Locator) (chain.Kept, error) {
	return load[chain.Kept](s, name("chains", repo.String()), repo.String())
}

// Keep stores a chain; see [Keeper].
func (s *State) Keep(repo policy.Locator, old, next chain.Kept) (bool, error) {
	if slices.Equal(old.Chain, next.Chain) {
		return true, nil
	}
	return swap(s, name("chains", repo.String()), repo.String(), old, next)
}

// Load returns the cursor of a log; see [Cursors].
func (s *State) Load(log string) (lookup.Cursor, error) {
	return load[lookup.Cursor](s, name("logs", log), log)
}

// Save stores a cursor; see [Cursors].
func (s *State) Save(log string, old, next lookup.Cursor) (bool, error) {
	return swap(s, name("logs", log), log, old, next)
}

// LoadHead returns the head of a Rekor v1 shard; see [Heads].
func (s *State) LoadHead(shard string) (rekor.Head, error) {
	return load[rekor.Head](s, name("heads", shard), shard)
}

// SaveHead stores the head of a Rekor v1 shard; see [Heads].
func (s *State) SaveHead(shard string, old, next rekor.Head) (bool, error) {
	return swap(s, name("heads", shard), shard, old, next)
}

// LoadFloor returns the latest time that was proven; see [Floors].
func (s *State) LoadFloor() (rekor.Floor, error) {
	return load[rekor.Floor](s, name("clock", rekor.AboutTime), rekor.AboutTime)
}

// SaveFloor stores the latest time that was proven; see [Floors].
func (s *State) SaveFloor(old, next rekor.Floor) (bool, error) {
	return swap(s, name("clock", rekor.AboutTime), rekor.AboutTime, old, next)
}

// FloorPath returns the path of the file with that time: without it, it is forgotten.
func (s *State) FloorPath() string { return s.path(name("clock", rekor.AboutTime)) }

// WriteEvidence stores a document that proves a log's misbehaviour, and returns
// its path.
func (s *State) WriteEvidence(kind string, data []byte) (string, error) {
	if strings.ContainsAny(kind, "/\\.") {
		return "", fmt.Errorf("%q is no kind of evidence", kind)
	}
	return s.kept("evidence/"+kind+"-"+spelling.Sum(data)[:16]+".json", data)
}

// WriteReceipt stores a directory's receipt, and returns its path.
func (s *State) WriteReceipt(origin string, r answers.Receipt, signed []byte) (string, error) {
	return s.kept("receipts/"+spelling.Sum([]byte(origin))[:16]+"-"+r.Statement+".note", signed)
}

// LoadEntry returns an unfinished signature; see [Journal].
func (s *State) LoadEntry(id string) (signlog.JournalEntry, error) {
	return load[signlog.JournalEntry](s, name("journal", id), id)
}

// SaveEntry stores an unfinished signature; see [Journal].
func (s *State) SaveEntry(id string, old, next signlog.JournalEntry) (bool, error) {
	return swap(s, name("journal", id), id, old, next)
}
