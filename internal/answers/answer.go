// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Limits of what a directory answers.
const (
	// MaxAnswerBytes is the largest answer, or page, that is read, as it is sent.
	MaxAnswerBytes = 1 << 20
	// MaxAnswerKeys is of how many keys an answer tells: the locator, numbers of the
	// repository, and other names that it had. MaxKeyRecords is how many records of one are
	// shown, a power of two. What is beyond is left out (SPEC 16.4).
	MaxAnswerKeys = 32
	MaxKeyRecords = 1 << 15
	// MaxAbsentItems is how many keys an answer about absence lists.
	MaxAbsentItems = 1 << 10

	maxInflated   = 4 << 20 // of JSON
	maxKeyBytes   = 1 << 10
	maxKeyBlocks  = MaxKeyRecords / prefixmap.BlockSize
	maxKeyRecords = 2 * prefixmap.BlockSize // beside the blocks
	maxSplit      = 16                      // digits
	answerSchema  = rekor.SchemaBase + "directory-answer-v1.json"
	pageSchema    = rekor.SchemaBase + "directory-page-v1.json"
)

// Answer is what a directory says about a key, complete in itself (SPEC 16.4).
// Nothing of it is verified before [Directory] does.
type Answer struct {
	Checkpoint string   // of the output log, with all signatures
	Leaf       []byte   // the newest leaf of that tree; see [ParseDirectoryLeaf]
	Index      int64    // its index
	Inclusion  [][]byte // its inclusion proof
	// Exactly one of these is set: what the directory has for the locator and the
	// numbers of its bindings, that it has nothing, or of how many hex digits the
	// prefixes are under which it says the latter.
	Keys   []KeyAnswer
	Absent *Absence
	Split  int
}

// KeyAnswer is all that a map holds of one key.
type KeyAnswer struct {
	Key  string
	Path prefixmap.Path
	// Blocks are the hashes of the oldest records, BlockSize each, of which each is
	// a [Page]; Records are those after them. If Rest is not 0 they are a page, too, of which the
	// hash is the last block: of so many records.
	Blocks  []prefixmap.Hash
	Records []Record
	Rest    int
	// Top, if it is set, is all that the answer has of the key: the node of its records, of
	// which there are more than MaxKeyRecords.
	Top *prefixmap.Subtree
}

// PageRecords returns how many records a block's page has.
func (k *KeyAnswer) PageRecords(block int) int {
	if k.Rest > 0 && block == len(k.Blocks)-1 {
		return k.Rest
	}
	return prefixmap.BlockSize
}

// Absence proves that keys have no record: Items are the topmost nodes of all keys
// with the same first Depth bits, Other is a node beside which they would stand.
// Without both the map is empty.
type Absence struct {
	Path  prefixmap.Path
	Depth int
	Items []prefixmap.Subtree
	Other *prefixmap.Subtree
}

// Page is a block of records of one key, a full one or the newest.
type Page struct {
	Key     string
	Block   int
	Records []Record
}

// errNull is the error about what is null and has to be a list.
var errNull = errors.New("null is no list")

type answerDoc struct {
	Schema     string      `json:"schema"`
	Checkpoint string      `json:"checkpoint"`
	Leaf       string      `json:"leaf"`
	Index      int64       `json:"index"`
	Inclusion  [][]byte    `json:"inclusion"`
	Keys       []keyDoc    `json:"keys,omitempty"`
	Absent     *absenceDoc `json:"absent,omitempty"`
	Split      int         `json:"split,omitempty"`
}

type keyDoc struct {
	Key     string      `json:"key"`
	Path    []stepDoc   `json:"path"`
	Blocks  [][]byte    `json:"blocks,omitempty"`
	Records []recordDoc `json:"records"`
	Rest    int         `json:"rest,omitempty"`
	Top     *topDoc     `json:"top,omitempty"`
}

// topDoc is the node of all records of a key.
type topDoc struct {
	Depth int    `json:"depth"`
	Left  []byte `json:"left"`
	Right []byte `json:"right"`
}

type pageDoc struct {
	Schema  string      `json:"schema"`
	Key     string      `json:"key"`
	Block   int         `json:"block"`
	Records []recordDoc `json:"records"`
}

type stepDoc struct {
	Depth int    `json:"depth"`
	Hash  []byte `json:"hash"`
}

type absenceDoc struct {
	Path  []stepDoc    `json:"path"`
	Depth int          `json:"depth,omitempty"`
	Items []subtreeDoc `json:"items,omitempty"`
	Other *subtreeDoc  `json:"other,omitempty"`
}

// subtreeDoc is a node. Its label is that of the first value of a key: every node
// that holds values of one key alone holds this one, and of others only the bits
// above it matter.
type subtreeDoc struct {
	Key   []byte `json:"key"`
	Depth int    `json:"depth"`
	Left  []byte `json:"left"`
	Right []byte `json:"right,omitempty"`
}

// recordDoc is a record. A binding that stands in the document already, under
// another key, is given by its number among the bindings there.
type recordDoc struct {
	At         []int64         `json:"at"` // index, time in seconds since 1970 and clock in seconds of the leaf
	Log        string          `json:"log,omitempty"`
	Index      int64           `json:"index,omitempty"`
	Body       string          `json:"body,omitempty"`
	Entry      json.RawMessage `json:"entry,omitempty"`
	Inclusion  [][]byte        `json:"inclusion,omitempty"`
	Checkpoint string          `json:"checkpoint,omitempty"`
	Same       *int            `json:"same,omitempty"`
	Disclosed  string          `json:"disclosed,omitempty"`
	PAE        string          `json:"pae,omitempty"`
	Signature  string          `json:"signature,omitempty"`
}

// Encode returns the answer's file, the same for the same answer.
func (a Answer) Encode() ([]byte, error) {
	doc := answerDoc{
		Schema: answerSchema, Checkpoint: a.Checkpoint, Leaf: string(a.Leaf), Index: a.Index,
		Inclusion: append([][]byte{}, a.Inclusion...), Split: a.Split,
	}
	seen := map[string]int{}
	for _, k := range a.Keys {
		records, err := recordDocs(k.Records, seen)
		if err != nil {
			return nil, err
		}
		d := keyDoc{Key: k.Key, Path: stepDocs(k.Path), Blocks: hashDocs(k.Blocks), Records: records, Rest: k.Rest}
		if k.Top != nil {
			d.Top = &topDoc{k.Top.Depth, k.Top.Left[:], k.Top.Right[:]}
		}
		doc.Keys = append(doc.Keys, d)
	}
	if x := a.Absent; x != nil {
		doc.Absent = &absenceDoc{Path: stepDocs(x.Path), Depth: x.Depth}
		for _, it := range x.Items {
			doc.Absent.Items = append(doc.Absent.Items, newSubtreeDoc(it))
		}
		if x.Other != nil {
			other := newSubtreeDoc(*x.Other)
			doc.Absent.Other = &other
		}
	}
	return deflate(strictjson.Compact(doc))
}

// ParseAnswer reads an answer. What [Answer.Encode] would write in another way, and
// whatever exceeds a limit, is an error.
func ParseAnswer(data []byte) (*Answer, error) {
	a, err := parseAnswer(data)
	if err != nil {
		return nil, fmt.Errorf("answer of the directory: %w", err)
	}
	return a, nil
}

func parseAnswer(data []byte) (*Answer, error) {
	text, err := inflate(data)
	if err != nil {
		return nil, err
	}
	doc, err := strictjson.Canonical[answerDoc](text, maxInflated)
	if err != nil {
		return nil, err
	}
	if doc.Schema != answerSchema {
		return nil, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), answerSchema)
	}
	forms := 0
	for _, is := range []bool{len(doc.Keys) > 0, doc.Absent != nil, doc.Split != 0} {
		if is {
			forms++
		}
	}
	switch {
	case doc.Inclusion == nil:
		return nil, errNull
	case forms != 1:
		return nil, errors.New("exactly one of keys, absent and split has to be there")
	case len(doc.Inclusion) > rekor.MaxProofHashes || len(doc.Keys) > MaxAnswerKeys || doc.Split < 0 ||
		doc.Split > 0 && doc.Split <= firstSplit || doc.Split > maxSplit:
		return nil, errors.New("beyond the limits of an answer")
	}
	a := &Answer{
		Checkpoint: doc.Checkpoint, Leaf: []byte(doc.Leaf), Index: doc.Index, Inclusion: doc.Inclusion,
		Split: doc.Split,
	}
	if err := hashes(doc.Inclusion); err != nil {
		return nil, err
	}
	var seen []*BindingRecord
	for i := range doc.Keys {
		k, err := doc.Keys[i].key(&seen)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", clip.Text(doc.Keys[i].Key), err)
		}
		if slices.ContainsFunc(a.Keys, func(o KeyAnswer) bool { return o.Key == k.Key }) {
			return nil, fmt.Errorf("the key %q stands twice", k.Key)
		}
		a.Keys = append(a.Keys, k)
	}
	if doc.Absent != nil {
		if a.Absent, err = doc.Absent.absence(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Encode returns the page's file, the same for the same page.
func (p Page) Encode() ([]byte, error) {
	records, err := recordDocs(p.Records, map[string]int{})
	if err != nil {
		return nil, err
	}
	return deflate(strictjson.Compact(pageDoc{pageSchema, p.Key, p.Block, records}))
}

// ParsePage reads a page.
func ParsePage(data []byte) (*Page, error) {
	fail := func(err error) (*Page, error) { return nil, fmt.Errorf("page of the directory: %w", err) }
	text, err := inflate(data)
	if err != nil {
		return fail(err)
	}
	doc, err := strictjson.Canonical[pageDoc](text, maxInflated)
	if err != nil {
		return fail(err)
	}
	switch {
	case doc.Schema != pageSchema:
		return fail(fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), pageSchema))
	case len(doc.Records) == 0 || len(doc.Records) > prefixmap.BlockSize:
		return fail(fmt.Errorf("%d records, a page has at most %d", len(doc.Records), prefixmap.BlockSize))
	case doc.Key == "" || len(doc.Key) > maxKeyBytes || doc.Block < 0 || doc.Block >= maxKeyBlocks:
		return fail(errors.New("beyond the limits of a page"))
	}
	p := &Page{Key: doc.Key, Block: doc.Block}
	var seen []*BindingRecord
	if p.Records, err = records(doc.Records, &seen); err != nil {
		return fail(err)
	}
	return p, nil
}

func (d *keyDoc) key(seen *[]*BindingRecord) (k KeyAnswer, err error) {
	if d.Records == nil {
		return k, errNull
	}
	if d.Key == "" || len(d.Key) > maxKeyBytes || len(d.Blocks) > maxKeyBlocks || len(d.Records) > maxKeyRecords ||
		(len(d.Records)+len(d.Blocks) == 0) != (d.Top != nil) {
		return k, fmt.Errorf("%d blocks and %d records", len(d.Blocks), len(d.Records))
	}
	if d.Rest < 0 || d.Rest >= prefixmap.BlockSize || d.Rest > 0 && (len(d.Blocks) == 0 || len(d.Records) > 0) {
		return k, fmt.Errorf("%d blocks, %d records and %d more", len(d.Blocks), len(d.Records), d.Rest)
	}
	k.Key, k.Rest = d.Key, d.Rest
	if t := d.Top; t != nil {
		if err := hashes([][]byte{t.Left, t.Right}); err != nil {
			return k, err
		}
		k.Top = &prefixmap.Subtree{
			Label: prefixmap.NewLabel(prefixmap.KeyHash(k.Key), 0), Depth: t.Depth, Left: prefixmap.Hash(t.Left),
			Right: prefixmap.Hash(t.Right),
		}
	}
	if k.Path, err = pathOf(d.Path); err != nil {
		return k, err
	}
	if err := hashes(d.Blocks); err != nil {
		return k, err
	}
	for _, b := range d.Blocks {
		k.Blocks = append(k.Blocks, prefixmap.Hash(b))
	}
	k.Records, err = records(d.Records, seen)
	return k, err
}

func (d *absenceDoc) absence() (*Absence, error) {
	if len(d.Items) > MaxAbsentItems {
		return nil, fmt.Errorf("%d items, at most %d are read", len(d.Items), MaxAbsentItems)
	}
	if len(d.Items) > 0 && d.Other != nil {
		return nil, errors.New("both items and another node")
	}
	a := &Absence{Depth: d.Depth}
	var err error
	if a.Path, err = pathOf(d.Path); err != nil {
		return nil, err
	}
	for i := range d.Items {
		it, err := d.Items[i].subtree()
		if err != nil {
			return nil, err
		}
		a.Items = append(a.Items, it)
	}
	if d.Other != nil {
		other, err := d.Other.subtree()
		if err != nil {
			return nil, err
		}
		a.Other = &other
	}
	return a, nil
}

func newSubtreeDoc(s prefixmap.Subtree) subtreeDoc {
	d := subtreeDoc{Depth: s.Depth, Left: s.Left[:]}
	key := s.Label.Key()
	d.Key = key[:]
	if s.Depth < prefixmap.LabelBits {
		d.Right = s.Right[:]
	}
	return d
}

func (d *subtreeDoc) subtree() (s prefixmap.Subtree, err error) {
	if err := hashes([][]byte{d.Key, d.Left}); err != nil {
		return s, err
	}
	if d.Depth < 0 || d.Depth > prefixmap.LabelBits {
		return s, fmt.Errorf("a node at depth %d", d.Depth)
	}
	s = prefixmap.Subtree{
		Label: prefixmap.NewLabel(prefixmap.Hash(d.Key), 0), Depth: d.Depth, Left: prefixmap.Hash(d.Left),
	}
	switch {
	case (d.Depth == prefixmap.LabelBits) != (len(d.Right) == 0):
		return s, errors.New("an inner node has two sides, a leaf has a value")
	case len(d.Right) > 0:
		if err := hashes([][]byte{d.Right}); err != nil {
			return s, err
		}
		s.Right = prefixmap.Hash(d.Right)
	}
	return s, nil
}

// recordDocs encodes records; seen are the bindings that the document has, by what
// they are.
func recordDocs(all []Record, seen map[string]int) ([]recordDoc, error) {
	out := []recordDoc{}
	for _, r := range all {
		if _, err := r.Text(); err != nil {
			return nil, err
		}
		var d recordDoc
		switch b := r.Binding; {
		case b != nil:
			d = recordDoc{
				Log: b.Log, Index: b.Index, Body: b.Body, Entry: b.Entry, Inclusion: b.Inclusion,
				Checkpoint: b.Checkpoint,
			}
			text := string(strictjson.Compact(d))
			if n, twice := seen[text]; twice {
				d = recordDoc{Same: &n}
			} else {
				seen[text] = len(seen)
			}
		case r.Disclosed != nil:
			d.Disclosed, d.PAE = r.Disclosed.Payload, r.Disclosed.PAE
		default:
			d.Signature, d.Log, d.Index = r.Signature.Payload, r.Signature.Log, r.Signature.Index
		}
		d.At = []int64{r.At.Leaf, r.At.Time.Unix(), int64(r.At.Clock / time.Second)}
		out = append(out, d)
	}
	return out, nil
}

func records(docs []recordDoc, seen *[]*BindingRecord) ([]Record, error) {
	var out []Record
	for i := range docs {
		r, err := docs[i].record(seen)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (d *recordDoc) record(seen *[]*BindingRecord) (Record, error) {
	var r Record
	if len(d.At) != 3 {
		return r, errors.New("its moment is not an index, a time and a clock")
	}
	for _, n := range d.At {
		if n < 0 || n > 1<<40 {
			return r, fmt.Errorf("a moment with the number %d", n)
		}
	}
	r.At = chain.Shown{
		Leaf: d.At[0], Time: time.Unix(d.At[1], 0).UTC(),
		Clock: time.Duration(min(d.At[2], int64(maxClock/time.Second))) * time.Second,
	}
	if int64(r.At.Clock/time.Second) != d.At[2] {
		return r, fmt.Errorf("a clock of %d seconds", d.At[2])
	}
	binds := d.Body != "" || d.Entry != nil || d.Inclusion != nil || d.Checkpoint != ""
	place := d.Log != "" || d.Index != 0
	kinds := 0
	for _, is := range []bool{d.Same != nil, binds, d.Disclosed != "" || d.PAE != "", d.Signature != ""} {
		if is {
			kinds++
		}
	}
	if kinds != 1 || place && !binds && d.Signature == "" {
		return r, errors.New("neither a binding, nor a statement, nor a signature")
	}
	switch {
	case d.Same != nil:
		if *d.Same < 0 || *d.Same >= len(*seen) {
			return r, errors.New("the same as a binding that is not there")
		}
		r.Binding = (*seen)[*d.Same]
		return r, nil
	case binds:
		if (d.Body == "") == (d.Entry == nil) || len(d.Inclusion) > rekor.MaxProofHashes ||
			len(d.Checkpoint) > rekor.MaxCheckpoint {
			return r, errors.New("not a binding")
		}
		if err := hashes(d.Inclusion); err != nil {
			return r, err
		}
		r.Binding = &BindingRecord{d.Log, d.Index, d.Body, d.Entry, d.Inclusion, d.Checkpoint}
		*seen = append(*seen, r.Binding)
	case d.Signature != "":
		r.Signature = &bindings.SignatureRecord{Payload: d.Signature, Log: d.Log, Index: d.Index}
	default:
		r.Disclosed = &DisclosedRecord{d.Disclosed, d.PAE}
	}
	_, err := r.Text()
	return r, err
}

func stepDocs(p prefixmap.Path) []stepDoc {
	out := []stepDoc{}
	for _, s := range p {
		out = append(out, stepDoc{s.Depth, s.Hash[:]})
	}
	return out
}

func pathOf(docs []stepDoc) (prefixmap.Path, error) {
	if docs == nil {
		return nil, errNull
	}
	if len(docs) > prefixmap.KeyBits {
		return nil, fmt.Errorf("a path of %d steps", len(docs))
	}
	var out prefixmap.Path
	for _, d := range docs {
		if err := hashes([][]byte{d.Hash}); err != nil {
			return nil, err
		}
		out = append(out, prefixmap.Step{Depth: d.Depth, Hash: prefixmap.Hash(d.Hash)})
	}
	return out, nil
}

func hashDocs(hashes []prefixmap.Hash) [][]byte {
	var out [][]byte
	for _, h := range hashes {
		out = append(out, h[:])
	}
	return out
}

func hashes(all [][]byte) error {
	for _, h := range all {
		if len(h) != sha256.Size {
			return errors.New("not a SHA-256 hash")
		}
	}
	return nil
}

// deflaters are writers to be used again: one takes most of a megabyte, and a
// directory encodes answers by the thousand.
var deflaters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is one there is
	}
	return w
}}

func deflate(text []byte) ([]byte, error) {
	if len(text) == 0 || len(text) > maxInflated {
		return nil, fmt.Errorf("%d bytes of JSON, 1 to %d are read", len(text), maxInflated)
	}
	var buf bytes.Buffer
	w := deflaters.Get().(*gzip.Writer)
	defer deflaters.Put(w)
	w.Reset(&buf)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if buf.Len() > MaxAnswerBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", buf.Len(), MaxAnswerBytes)
	}
	return buf.Bytes(), nil
}

// inflate returns the text of a file of one gzip member, which nothing follows.
func inflate(data []byte) ([]byte, error) {
	if len(data) > MaxAnswerBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxAnswerBytes)
	}
	rest := bytes.NewReader(data)
	r, err := gzip.NewReader(rest)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	text, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxInflated:
		return nil, fmt.Errorf("more than %d bytes of JSON", maxInflated)
	case rest.Len() > 0:
		return nil, errors.New("something follows the file")
	}
	return text, nil
}
