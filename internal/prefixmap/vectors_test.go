// SPDX-License-Identifier: Apache-2.0

package prefixmap_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorDir = "../../schema/testdata/prefixmap"

// vectorDoc is the body of a vector.
type vectorDoc struct {
	Map   []keyDoc `json:"map"`
	Root  string   `json:"root"`
	Proof proofDoc `json:"proof"`
}

type keyDoc struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

type proofDoc struct {
	Key    string    `json:"key"`
	Path   []stepDoc `json:"path"`
	Blocks []string  `json:"blocks,omitempty"`
	Values []string  `json:"values,omitempty"`
	Depth  int       `json:"depth,omitempty"`
	Items  []nodeDoc `json:"items,omitempty"`
	Other  *nodeDoc  `json:"other,omitempty"`
	None   bool      `json:"none,omitempty"`
}

type stepDoc struct {
	Depth int    `json:"depth"`
	Hash  string `json:"hash"`
}

type nodeDoc struct {
	Label string `json:"label"`
	Depth int    `json:"depth"`
	Left  string `json:"left"`
	Right string `json:"right,omitempty"`
}

func hexes(hs []hash) (out []string) {
	for _, h := range hs {
		out = append(out, hex.EncodeToString(h[:]))
	}
	return out
}

func newNodeDoc(s subtree) nodeDoc {
	d := nodeDoc{hex.EncodeToString(s.Label[:]), s.Depth, hex.EncodeToString(s.Left[:]), ""}
	if s.Depth < prefixmap.LabelBits {
		d.Right = hex.EncodeToString(s.Right[:])
	}
	return d
}

func newVector(c content, p *proof) vectorDoc {
	root := c.root()
	d := vectorDoc{Map: []keyDoc{}, Root: hex.EncodeToString(root[:])}
	for _, k := range slices.SortedFunc(maps.Keys(c), func(a, b hash) int { return bytes.Compare(a[:], b[:]) }) {
		d.Map = append(d.Map, keyDoc{hex.EncodeToString(k[:]), hexes(c[k])})
	}
	d.Proof = proofDoc{
		Key: hex.EncodeToString(p.Key[:]), Path: []stepDoc{}, Blocks: hexes(p.Blocks), Values: hexes(p.Values),
		Depth: p.Depth, None: p.None,
	}
	for _, s := range p.Path {
		d.Proof.Path = append(d.Proof.Path, stepDoc{s.Depth, hex.EncodeToString(s.Hash[:])})
	}
	for _, it := range p.Items {
		d.Proof.Items = append(d.Proof.Items, newNodeDoc(it))
	}
	if p.Other != nil {
		other := newNodeDoc(*p.Other)
		d.Proof.Other = &other
	}
	return d
}

// reader turns a vector back into what is tested.
type reader struct{ t *testing.T }

func (r reader) hash(s string) (h hash) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(h) {
		r.t.Fatalf("%q is no hash", s)
	}
	return hash(raw)
}

func (r reader) hashes(all []string) (out []hash) {
	for _, s := range all {
		out = append(out, r.hash(s))
	}
	return out
}

func (r reader) node(d nodeDoc) subtree {
	label, err := hex.DecodeString(d.Label)
	if err != nil || len(label) != prefixmap.LabelSize {
		r.t.Fatalf("%q is no label", d.Label)
	}
	s := subtree{Label: prefixmap.Label(label), Depth: d.Depth, Left: r.hash(d.Left)}
	if d.Right != "" {
		s.Right = r.hash(d.Right)
	}
	return s
}

func (r reader) vector(d vectorDoc) (content, *proof) {
	c := content{}
	for _, k := range d.Map {
		c[r.hash(k.Key)] = r.hashes(k.Values)
	}
	p := &proof{
		Key: r.hash(d.Proof.Key), Blocks: r.hashes(d.Proof.Blocks), Values: r.hashes(d.Proof.Values),
		Depth: d.Proof.Depth, None: d.Proof.None,
	}
	for _, s := range d.Proof.Path {
		p.Path = append(p.Path, prefixmap.Step{Depth: s.Depth, Hash: r.hash(s.Hash)})
	}
	for _, it := range d.Proof.Items {
		p.Items = append(p.Items, r.node(it))
	}
	if d.Proof.Other != nil {
		other := r.node(*d.Proof.Other)
		p.Other = &other
	}
	return c, p
}

// tampered are the changes of which each proof that has it gives a vector.
var tampered = []string{
	"step dropped 0", "step depth 0 1", "step depth 0-1", "step hash 0", "steps swapped 1", "no path", "value dropped 0",
	"value dropped 2", "values swapped 1", "value twice 0", "one more",
	"no values", "values as a block 1", "block dropped 0", "block as a value 0", "claims an empty map",
	"claims none beside itself", "claims that itself diverges", "item dropped 0", "item renamed 0",
	"item is the key 0", "item numbered 0", "item depth 0 255", "items swapped 1", "item sides 0", "depth 0",
	"only the first", "other left", "other depth 0", "other is the key's", "other is empty",
}

// written returns the vectors: honest proofs, and what was made of them.
func written() map[string]string {
	out := map[string]string{}
	vector := func(expect string, c content, p *proof) string {
		var body bytes.Buffer
		if err := json.NewEncoder(&body).Encode(newVector(c, p)); err != nil {
			panic(err)
		}
		return fmt.Sprintf("expect: %s\nrequirement: R-LOG\nsource: SPEC 16.2\n\n%s", expect, body.String())
	}
	for name, s := range samples() {
		out[name] = vector("OK", s.content, s.proof)
		if len(s.content) > 0 && len(s.Blocks)+len(s.Values) > 5 {
			continue // the same again, and long
		}
		root := s.content.root()
		mutants := s.mutants()
		for _, change := range tampered {
			q := mutants[change]
			if q == nil {
				continue
			}
			if r, err := q.root(); err == nil && r == root {
				continue // another way to say the same
			}
			out[name+"-"+strings.NewReplacer(" ", "-", "'", "", "--", "-").Replace(change)] = vector(
				"INVALID", s.content, q,
			)
		}
	}
	return out
}

// TestVectors: what the vectors say of maps and proofs is what the program says.
func TestVectors(t *testing.T) {
	if *update {
		if err := os.MkdirAll(vectorDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range written() {
			if err := os.WriteFile(filepath.Join(vectorDir, name+".txt"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(vectorDir + "/*.txt")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	made := written()
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != made[name] {
				t.Error("not what the test makes: run it with -update")
			}
			head, body, _ := strings.Cut(string(data), "\n\n")
			var d vectorDoc
			dec := json.NewDecoder(strings.NewReader(body))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&d); err != nil {
				t.Fatal(err)
			}
			c, p := reader{t}.vector(d)
			root := reader{t}.hash(d.Root)
			if c.root() != root || c.tree().Root() != root {
				t.Error("another root")
			}
			r, err := p.root()
			if got := err == nil && r == root; got != strings.HasPrefix(head, "expect: OK\n") {
				t.Errorf("accepted: %v (%v)", got, err)
			}
		})
	}
	if len(files) != len(made) {
		t.Errorf("%d vectors, the test makes %d", len(files), len(made))
	}
}
