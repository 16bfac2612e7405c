// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// Limits of a leaf of the output log. What is larger would not fit into an entry
// of its tiles.
const (
	MaxDirectoryLeafBytes = 60 << 10
	maxMaps               = 64
	maxInputs             = 64
	maxClock              = 100 * 366 * 24 * time.Hour

	leafSchema = rekor.SchemaBase + "directory-leaf-v1.json"
)

// DirectoryLeaf is an entry of a directory's output log: the state of each of its
// maps after one build (SPEC 16.3).
type DirectoryLeaf struct {
	Time time.Time // when the build began, to the second
	// Clock is how long the directory has been at work: the time between its leaves, of
	// which none counts for more than [MaxLeafGap].
	Clock time.Duration
	Maps  []MapLeaf
}

// MapLeaf is the state of one map.
type MapLeaf struct {
	Function  int    // version of the map function; see [MapVersion]
	Root      string // hex SHA-256 of the trusted root
	Forges    string // hex SHA-256 of the forge table; "" for the one that is built in
	Labels    int64
	Hash      prefixmap.Hash // root of the map
	Inputs    []Input        // ascending by log, then origin
	Disclosed Published      // what this build first listed, the same for every map
}

// Input is a checkpoint up to which a log was read: a signed note that has the
// log's own signature and no other. A log of Rekor v1 has one for each shard.
type Input struct {
	Log        string `json:"log"` // hex id
	Checkpoint string `json:"checkpoint"`
	// Newest is the latest minute in which a certificate of the trusted root began that an
	// entry below the checkpoint carries; "" if nothing dates the log. RFC 3339, in UTC.
	Newest string `json:"newest,omitempty"`
}

// Dated returns [Input.Newest]; zero without one.
func (in *Input) Dated() time.Time {
	t, err := time.Parse(time.RFC3339, in.Newest)
	if err != nil {
		return time.Time{}
	}
	return t
}

// dates demands that what dates an input is a minute that is not after the leaf.
func (in *Input) dates(leaf time.Time) error {
	if in.Newest == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, in.Newest)
	if err != nil || t.UTC().Truncate(time.Minute).Format(time.RFC3339) != in.Newest {
		return errors.New("an input is dated by a minute in UTC")
	}
	if t.After(leaf) {
		return errors.New("an input is dated after the leaf")
	}
	return nil
}

// MaxLeafGap is how much the time between two leaves counts at most.
const MaxLeafGap = 24 * time.Hour

// Tick returns the clock of a leaf of that time that comes after l.
func (l DirectoryLeaf) Tick(at time.Time) time.Duration {
	return l.Clock + min(max(at.Sub(l.Time), 0), MaxLeafGap)
}

// Published is the list of the statements and signatures that a build first lists.
type Published struct {
	Count  int    `json:"count"`
	SHA256 string `json:"sha256"` // hex
}

// NewPublished returns the list's entry in a leaf, and the list: one line for each
// (see [ParseListed]), ascending, each with an LF.
func NewPublished(statements []string) (Published, []byte) {
	list := slices.Compact(slices.Sorted(slices.Values(statements)))
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s + "\n")
	}
	return Published{len(list), spelling.Sum([]byte(b.String()))}, []byte(b.String())
}

// ID returns the map's id: the beginning of its paths.
func (m *MapLeaf) ID() string { return bindings.MapID(m.Function, m.Root, m.Forges) }

type directoryLeafDoc struct {
	Schema string       `json:"schema"`
	Time   string       `json:"time"`
	Clock  int64        `json:"clock"` // seconds
	Maps   []mapLeafDoc `json:"maps"`
}

type mapLeafDoc struct {
	Function  int       `json:"function"`
	Root      string    `json:"root"`
	Forges    string    `json:"forges,omitempty"`
	Labels    int64     `json:"labels"`
	Map       string    `json:"map"`
	Inputs    []Input   `json:"inputs"`
	Disclosed Published `json:"disclosed"`
}

// Bytes returns the leaf's JSON, the same for the same leaf.
func (l DirectoryLeaf) Bytes() []byte {
	doc := directoryLeafDoc{leafSchema, l.Time.UTC().Format(time.RFC3339), int64(l.Clock / time.Second), []mapLeafDoc{}}
	for _, m := range l.Maps {
		doc.Maps = append(
			doc.Maps,
			mapLeafDoc{
				m.Function, m.Root, m.Forges, m.Labels, hex.EncodeToString(m.Hash[:]), append([]Input{}, m.Inputs...),
				m.Disclosed,
			},
		)
	}
	return strictjson.Compact(doc)
}

// ParseDirectoryLeaf reads a leaf. It has to be exactly what [DirectoryLeaf.Bytes]
// makes of it.
func ParseDirectoryLeaf(data []byte) (DirectoryLeaf, error) {
	l, err := parseDirectoryLeaf(data)
	if err == nil && string(l.Bytes()) != string(data) { // the time can be written in other ways
		err = errors.New("not in canonical form")
	}
	if err != nil {
		return DirectoryLeaf{}, fmt.Errorf("leaf of the directory: %w", err)
	}
	return l, nil
}

func parseDirectoryLeaf(data []byte) (l DirectoryLeaf, err error) {
	doc, err := strictjson.Canonical[directoryLeafDoc](data, MaxDirectoryLeafBytes)
	if err != nil {
		return l, err
	}
	if doc.Schema != leafSchema {
		return l, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), leafSchema)
	}
	if l.Time, err = time.Parse(time.RFC3339, doc.Time); err != nil {
		return l, fmt.Errorf("time: %w", err)
	}
	l.Time = l.Time.UTC()
	if doc.Clock < 0 || doc.Clock > int64(maxClock/time.Second) {
		return l, fmt.Errorf("a clock of %d seconds", doc.Clock)
	}
	l.Clock = time.Duration(doc.Clock) * time.Second
	if len(doc.Maps) == 0 || len(doc.Maps) > maxMaps {
		return l, fmt.Errorf("%d maps, 1 to %d are read", len(doc.Maps), maxMaps)
	}
	ids := map[string]bool{}
	for _, d := range doc.Maps {
		m, err := d.leaf()
		if err != nil {
			return l, err
		}
		for i := range m.Inputs {
			if err := m.Inputs[i].dates(l.Time); err != nil {
				return l, err
			}
		}
		if ids[m.ID()] {
			return l, errors.New("a map stands twice")
		}
		ids[m.ID()] = true
		l.Maps = append(l.Maps, m)
	}
	return l, nil
}

func (d *mapLeafDoc) leaf() (MapLeaf, error) {
	m := MapLeaf{d.Function, d.Root, d.Forges, d.Labels, prefixmap.Hash{}, d.Inputs, d.Disclosed}
	root, err := hex.DecodeString(d.Map)
	switch {
	case err != nil || !spelling.IsHash(d.Map) || !spelling.IsHash(d.Root) ||
		d.Forges != "" && !spelling.IsHash(d.Forges) || !spelling.IsHash(d.Disclosed.SHA256):
		return m, errors.New("not a SHA-256 in lower-case hex")
	case d.Function < 1 || d.Labels < 0 || d.Disclosed.Count < 0:
		return m, errors.New("a negative number")
	case len(d.Inputs) == 0 || len(d.Inputs) > maxInputs:
		return m, fmt.Errorf("%d inputs, 1 to %d are read", len(d.Inputs), maxInputs)
	}
	for i, in := range d.Inputs {
		if !spelling.IsHash(in.Log) || in.Checkpoint == "" {
			return m, errors.New("an input is a log's id and its checkpoint")
		}
		if i > 0 &&
			cmp.Or(cmp.Compare(d.Inputs[i-1].Log, in.Log), cmp.Compare(d.Inputs[i-1].Checkpoint, in.Checkpoint)) >= 0 {
			return m, errors.New("the inputs are not in ascending order")
		}
	}
	m.Hash = prefixmap.Hash(root)
	return m, nil
}
