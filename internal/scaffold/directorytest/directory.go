// SPDX-License-Identifier: Apache-2.0

package directorytest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Directory is a directory of one map. Its fields may be changed between builds.
type Directory struct {
	t      testing.TB
	key    string
	signer note.Signer
	leaves [][]byte
	stored []tlog.Hash

	Map      answers.MapLeaf // of the next leaf, but for what Build fills in
	Records  map[string][]answers.Record
	Witness  *Witness
	Cosigned time.Time              // when the witness signs; zero for the time of the leaf
	Dated    time.Time              // what dates the input; zero for the time of the leaf
	Undated  bool                   // nothing dates it
	Now      chain.Shown            // of the newest leaf
	seen     map[string]chain.Shown // what was shown, by key and record without its moment
	Digits   int                    // of the prefixes of absences; 0 for 2
	Paged    bool                   // full blocks are pages
	Rest     bool                   // what is after them, too
	LeaveOut bool                   // keys of more records than are shown, as their topmost nodes
	// Signatures are the bundles that it holds, by path.
	Signatures map[string][]byte
	// Change, if set, changes every answer before it is encoded; Tamper every file
	// before it is sent, and nil is none. Leaf changes which leaf is shown.
	Change func(*answers.Answer)
	Tamper func(path string, file []byte) []byte

	built    map[string][]answers.Record
	tree     Tree
	mu       sync.Mutex
	requests []string
}

// New returns a directory without a leaf.
func New(t testing.TB, origin string) *Directory {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &Directory{
		t: t, key: vkey, signer: signer, Records: map[string][]answers.Record{}, seen: map[string]chain.Shown{},
	}
}

// Fork returns a directory with the same key that goes on from here in another way.
func (d *Directory) Fork() *Directory {
	return &Directory{
		t: d.t, key: d.key, signer: d.signer, leaves: slices.Clone(d.leaves), stored: slices.Clone(d.stored),
		Map: d.Map, Records: copied(d.Records), Witness: d.Witness, Cosigned: d.Cosigned, Digits: d.Digits,
		Paged: d.Paged, built: d.built, tree: d.tree, Now: d.Now, seen: maps.Clone(d.seen),
	}
}

func copied(m map[string][]answers.Record) map[string][]answers.Record {
	out := map[string][]answers.Record{}
	for k, r := range m {
		out[k] = slices.Clone(r)
	}
	return out
}

func (d *Directory) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// Descriptor returns the directory's descriptor.
func (d *Directory) Descriptor(url string) *answers.Descriptor {
	out := &answers.Descriptor{URL: url, Key: d.key}
	if d.Witness != nil {
		out.Witnesses = "witness w " + d.Witness.Key + "\nquorum w\n"
	}
	return out
}

// Read makes the map of one log of Rekor v2, as the map function does.
func (d *Directory) Read(root *sigstore.Root, log string, bodies [][]byte, checkpoint []byte) {
	d.t.Helper()
	d.Map = answers.MapLeaf{
		Function: bindings.MapVersion, Root: root.Digest().Hex,
		Inputs: []answers.Input{{Log: log, Checkpoint: string(checkpoint)}},
	}
	d.Map.Disclosed, _ = answers.NewPublished(nil)
	var stored []tlog.Hash
	reader := hashReader(&stored)
	for i, b := range bodies {
		h, err := tlog.StoredHashes(int64(i), b, reader)
		d.check(err)
		stored = append(stored, h...)
	}
	d.Records = map[string][]answers.Record{}
	for i, b := range bodies {
		_, by, err := bindings.Binds(root, nil, log, int64(i), b)
		if err != nil {
			continue
		}
		r := answers.Record{
			Binding: &answers.BindingRecord{
				Log: log, Index: int64(i), Body: string(b), Inclusion: d.proof(int64(len(bodies)), int64(i), reader),
			},
		}
		for _, k := range bindings.Keys(by) {
			d.Records[k] = append(d.Records[k], r)
		}
	}
}

func (d *Directory) proof(size, index int64, reader tlog.HashReader) [][]byte {
	p, err := tlog.ProveRecord(size, index, reader)
	d.check(err)
	out := [][]byte{}
	for _, h := range p {
		out = append(out, bytes.Clone(h[:]))
	}
	return out
}

func hashReader(stored *[]tlog.Hash) tlog.HashReaderFunc {
	return func(idx []int64) (out []tlog.Hash, err error) {
		for _, n := range idx {
			out = append(out, (*stored)[n])
		}
		return out, nil
	}
}

// Build appends a leaf for the records as they stand. It is what first shows those without
// a moment.
func (d *Directory) Build(at time.Time) {
	d.t.Helper()
	var values []Value
	at = at.UTC().Truncate(time.Second)
	clock := time.Duration(0)
	if len(d.leaves) > 0 {
		clock = answers.DirectoryLeaf{Time: d.Now.Time, Clock: d.Now.Clock}.Tick(at)
	}
	d.Now = chain.Shown{Leaf: int64(len(d.leaves)), Time: at, Clock: clock}
	for key, records := range d.Records {
		for n := range records {
			if records[n].At == (chain.Shown{}) {
				records[n].At = d.first(key, records[n])
			}
			r := records[n]
			text, err := r.Text()
			d.check(err)
			values = append(values, Value{prefixmap.NewLabel(prefixmap.KeyHash(key), uint64(n)), answers.Value(text)})
		}
	}
	d.built, d.tree = copied(d.Records), NewTree(values)
	d.Map.Labels, d.Map.Hash = int64(len(values)), d.tree.Root()
	d.Map.Inputs = slices.Clone(d.Map.Inputs)
	d.Map.Inputs[0].Newest = ""
	if dated := cmp.Or(d.Dated, at); !d.Undated {
		d.Map.Inputs[0].Newest = dated.UTC().Truncate(time.Minute).Format(time.RFC3339)
	}
	d.Append(answers.DirectoryLeaf{Time: at, Clock: clock, Maps: []answers.MapLeaf{d.Map}}.Bytes())
	if d.Witness != nil && d.Cosigned.IsZero() {
		d.Witness.at = at
	}
}

// Forget makes it one without a leaf, under the same key.
func (d *Directory) Forget() {
	d.leaves, d.stored, d.Now, d.seen = nil, nil, chain.Shown{}, map[string]chain.Shown{}
}

// first returns the leaf that first showed a record: an earlier one, or this.
func (d *Directory) first(key string, r answers.Record) chain.Shown {
	r.At = chain.Shown{Time: time.Unix(0, 0).UTC()}
	text, err := r.Text()
	d.check(err)
	at, before := d.seen[key+text]
	if !before {
		at = d.Now
		d.seen[key+text] = at
	}
	return at
}

// Append appends any leaf.
func (d *Directory) Append(leaf []byte) {
	d.t.Helper()
	h, err := tlog.StoredHashes(int64(len(d.leaves)), leaf, hashReader(&d.stored))
	d.check(err)
	d.leaves, d.stored = append(d.leaves, leaf), append(d.stored, h...)
}

// Checkpoint returns the checkpoint of the output log when it had so many leaves,
// cosigned by the witness if there is one.
func (d *Directory) Checkpoint(size int) string {
	d.t.Helper()
	root, err := tlog.TreeHash(int64(size), hashReader(&d.stored))
	d.check(err)
	signed, err := note.Sign(
		&note.Note{
			Text: fmt.Sprintf("%s\n%d\n%s\n", d.signer.Name(), size, base64.StdEncoding.EncodeToString(root[:])),
		},
		d.signer,
	)
	d.check(err)
	if d.Witness != nil {
		at := d.Cosigned
		if at.IsZero() {
			at = d.Witness.at
		}
		signed = append(signed, d.Witness.line(signed, at)...)
	}
	return string(signed)
}

// Answer returns the answer about a key at the last build.
func (d *Directory) Answer(key string, more ...string) answers.Answer {
	d.t.Helper()
	a := d.head()
	for _, k := range append([]string{key}, more...) {
		_, path := d.tree.Member(prefixmap.KeyHash(k))
		ka := answers.KeyAnswer{Key: k, Path: path, Records: d.built[k]}
		for n := 0; d.Paged && len(ka.Records) >= prefixmap.BlockSize; n++ {
			ka.Blocks = append(
				ka.Blocks, prefixmap.Block(prefixmap.KeyHash(k), n, d.values(ka.Records[:prefixmap.BlockSize])),
			)
			ka.Records = ka.Records[prefixmap.BlockSize:]
		}
		if d.Rest && len(ka.Records) > 0 {
			ka.Blocks = append(ka.Blocks, prefixmap.Block(prefixmap.KeyHash(k), len(ka.Blocks), d.values(ka.Records)))
			ka.Rest, ka.Records = len(ka.Records), nil
		}
		if d.LeaveOut && len(d.built[k]) > answers.MaxKeyRecords {
			ka.Blocks, ka.Records, ka.Rest, ka.Top = nil, nil, 0, d.Top(k)
		}
		a.Keys = append(a.Keys, ka)
	}
	return a
}

// Top returns the node of all records of a key, of which there are at least two.
func (d *Directory) Top(key string) *prefixmap.Subtree {
	d.t.Helper()
	hash := prefixmap.KeyHash(key)
	var nodes []prefixmap.Node
	for n, v := range d.values(d.built[key]) {
		l := prefixmap.NewLabel(hash, uint64(n))
		nodes = append(nodes, prefixmap.Node{Label: l, Hash: prefixmap.Leaf(l, v)})
	}
	half := 1 << (bits.Len(uint(len(nodes)-1)) - 1)
	return &prefixmap.Subtree{
		Label: nodes[0].Label, Depth: nodes[0].Label.Common(nodes[len(nodes)-1].Label),
		Left: prefixmap.Fold(nodes[:half]), Right: prefixmap.Fold(nodes[half:]),
	}
}

func (d *Directory) values(records []answers.Record) (out []prefixmap.Hash) {
	for _, r := range records {
		text, err := r.Text()
		d.check(err)
		out = append(out, answers.Value(text))
	}
	return out
}

// Absence returns the answer that nothing is there under a prefix of a key's hash.
func (d *Directory) Absence(key string, digits int) answers.Answer {
	d.t.Helper()
	a := d.head()
	items, path, other := d.tree.Absent(prefixmap.KeyHash(key), 4*digits)
	a.Absent = &answers.Absence{Path: path, Items: items, Other: other}
	if len(items) > 0 {
		a.Absent.Depth = 4 * digits
	}
	return a
}

func (d *Directory) head() answers.Answer {
	n := int64(len(d.leaves))
	return answers.Answer{
		Checkpoint: d.Checkpoint(int(n)), Leaf: d.leaves[n-1], Index: n - 1,
		Inclusion: d.proof(n, n-1, hashReader(&d.stored)),
	}
}

// keys returns the keys that the bindings of a name have in common with it, and those with
// them.
func (d *Directory) keys(repo string) []string {
	by := map[chain.Position][]string{}
	for key, records := range d.built {
		for _, r := range records {
			if r.Binding != nil {
				at := chain.Position{Log: r.Binding.Log, Index: r.Binding.Index}
				by[at] = append(by[at], key)
			}
		}
	}
	all := []string{repo}
	for i := 0; i < len(all); i++ {
		for _, r := range d.built[all[i]] {
			if r.Binding == nil {
				continue
			}
			for _, k := range by[chain.Position{Log: r.Binding.Log, Index: r.Binding.Index}] {
				if !slices.Contains(all, k) {
					all = append(all, k)
				}
			}
		}
	}
	slices.Sort(all[1:])
	return all[1:]
}

// Honest returns the file of the answer about a repository that has bindings.
func (d *Directory) Honest(repo string) []byte {
	d.t.Helper()
	a := d.Answer(repo, d.keys(repo)...)
	return d.file(&a)
}

func (d *Directory) file(a *answers.Answer) []byte {
	if d.Change != nil {
		d.Change(a)
	}
	file, err := a.Encode()
	d.check(err)
	return file
}

// Serve answers requests until the test ends, and returns the URL.
func (d *Directory) Serve() string {
	srv := httptest.NewServer(d)
	d.t.Cleanup(srv.Close)
	return srv.URL
}

// Requests returns the paths that were asked for.
func (d *Directory) Requests() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.requests)
}

// ServeHTTP answers as a static site would.
func (d *Directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, r.URL.Path)
	file := d.at(r.URL.Path)
	if d.Tamper != nil {
		file = d.Tamper(r.URL.Path, file)
	}
	if file == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(file)
}

// File returns the file at a path below the URL, which begins with a slash; nil if
// there is none.
func (d *Directory) File(path string) []byte { return d.at(path) }

func (d *Directory) at(path string) []byte {
	if p, ok := strings.CutPrefix(path, "/tile/"); ok {
		return d.tile(p)
	}
	if data, ok := d.Signatures[path]; ok {
		return data
	}
	parts := strings.Split(strings.TrimSuffix(path, ".json.gz"), "/")
	if len(parts) < 4 || parts[1] != d.Map.ID() {
		return nil
	}
	of := func(digits string) string {
		for key := range d.built {
			if hash := prefixmap.KeyHash(key); hex.EncodeToString(hash[:]) == digits {
				return key
			}
		}
		return ""
	}
	switch parts[2] {
	case "lookup":
		if key := of(parts[4]); key != "" {
			return d.Honest(key)
		}
	case "page":
		if key := of(parts[4]); key != "" {
			return d.page(key, parts[5:])
		}
	case "absent":
		digits := max(d.Digits, 2)
		if len(parts[3]) < digits {
			a := d.head()
			a.Split = digits
			return d.file(&a)
		}
		// Any key with that prefix is absent in the same way.
		prefix, err := hex.DecodeString(parts[3] + strings.Repeat("0", 64-len(parts[3])))
		d.check(err)
		a := d.head()
		items, way, other := d.tree.Absent(prefixmap.Hash(prefix), 4*len(parts[3]))
		a.Absent = &answers.Absence{Path: way, Items: items, Other: other}
		if len(items) > 0 {
			a.Absent.Depth = 4 * len(parts[3])
		}
		return d.file(&a)
	}
	return nil
}

// page returns a block, by the end of its path.
func (d *Directory) page(key string, name []string) []byte {
	block, partial := strings.CutSuffix(name[0], ".p")
	n, err := strconv.Atoi(block)
	size := prefixmap.BlockSize
	if partial && err == nil {
		size, err = strconv.Atoi(name[1])
	}
	from := n * prefixmap.BlockSize
	if err != nil || from+size > len(d.built[key]) {
		return nil
	}
	file, err := answers.Page{Key: key, Block: n, Records: d.built[key][from : from+size]}.Encode()
	d.check(err)
	return file
}

// tile returns a tile of hashes of the output log.
func (d *Directory) tile(path string) []byte {
	width := 1 << 8
	if p, w, partial := strings.Cut(path, ".p/"); partial {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil
		}
		path, width = p, n
	}
	level, index, _ := strings.Cut(path, "/")
	l, err := strconv.Atoi(level)
	n, err2 := strconv.ParseInt(index, 10, 64)
	if err != nil || err2 != nil {
		return nil
	}
	t := tlog.Tile{H: 8, L: l, N: n, W: width}
	if tlog.StoredHashIndex(8*l, n<<8+int64(width)-1) >= int64(len(d.stored)) {
		return nil
	}
	data, err := tlog.ReadTileData(t, hashReader(&d.stored))
	if err != nil {
		return nil
	}
	return data
}

// Witness cosigns whatever it is asked to, at any time.
type Witness struct {
	Key  string // verifier key
	name string
	priv ed25519.PrivateKey
	hash uint32
	at   time.Time
}

// NewWitness returns a witness with a fresh key.
func NewWitness(t testing.TB, name string) *Witness {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := torchwood.NewCosignatureSigner(name, priv)
	if err != nil {
		t.Fatal(err)
	}
	return &Witness{Key: s.Verifier().String(), name: name, priv: priv, hash: s.KeyHash()}
}

// line returns the signature line over a checkpoint (C2SP tlog-cosignature,
// cosignature/v1).
func (w *Witness) line(checkpoint []byte, at time.Time) string {
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	msg := fmt.Sprintf("cosignature/v1\ntime %d\n%s\n", at.Unix(), text)
	sig := binary.BigEndian.AppendUint32(nil, w.hash)
	sig = binary.BigEndian.AppendUint64(sig, uint64(at.Unix()))
	sig = append(sig, ed25519.Sign(w.priv, []byte(msg))...)
	return "— " + w.name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}

// Leaf returns a leaf and its index, counted from the end if negative.
func (d *Directory) Leaf(n int) ([]byte, int64) {
	if n < 0 {
		n += len(d.leaves)
	}
	return d.leaves[n], int64(n)
}

// At returns the beginning of an answer that shows an older leaf, with a valid proof.
func (d *Directory) At(index int) answers.Answer {
	a := d.head()
	a.Leaf, a.Index = d.Leaf(index)
	a.Inclusion = d.proof(int64(len(d.leaves)), a.Index, hashReader(&d.stored))
	return a
}

// Inclusion returns the proof that an entry is in the log of some bodies.
func (d *Directory) Inclusion(bodies [][]byte, index int64) [][]byte {
	var stored []tlog.Hash
	for i, b := range bodies {
		h, err := tlog.StoredHashes(int64(i), b, hashReader(&stored))
		d.check(err)
		stored = append(stored, h...)
	}
	return d.proof(int64(len(bodies)), index, hashReader(&stored))
}
