// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// policyKey is one key of the policy file, as its schema describes it.
type policyKey struct {
	name     string
	required bool
	words    string   // what it means, without its default
	fallback string   // what holds without it; "" if it is required
	example  tomlText // of its value
	kind     string   // of its value: "table", "tables", "list" or "value"
}

// policyTable is a table of the policy file with its keys, in the order of the schema.
type policyTable struct {
	path  string // such as "release.approvals"; "" for the top level; "identity" for what stands in several places
	kind  string // "table", "tables", or "list" for what only stands in a list
	words string
	keys  []policyKey
}

// node is what is read of one schema.
type node struct {
	Ref         string `json:"$ref"`
	Description string
	Examples    []json.RawMessage
	Required    []string
	Properties  members
	Items       *node
	AnyOf       []node
	AllOf       []node
}

// members are those of a JSON object, in their order.
type members struct {
	names []string
	of    map[string]*node
}

// UnmarshalJSON reads an object.
func (m *members) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &m.of); err != nil {
		return err
	}
	names, err := objectNames(data)
	m.names = names
	return err
}

// objectNames returns the names of a JSON object in the order in which they stand.
func objectNames(data []byte) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(err, errors.New("not an object"))
	}
	var names []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		names = append(names, t.(string))
		if err := d.Decode(new(json.RawMessage)); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// policySchema reads the schema of the policy file, which is where every key is described.
func policySchema(root string) ([]policyTable, error) {
	data, err := os.ReadFile(filepath.Join(root, "schema", "policy-v1.json"))
	if err != nil {
		return nil, err
	}
	var top struct {
		node
		Defs map[string]*node `json:"$defs"`
	}
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, err
	}
	w := &schemaWalk{defs: top.Defs, seen: map[*node]bool{}}
	w.table("", "table", &top.node)
	return w.tables, errors.Join(w.faults...)
}

// identity is the table that stands in several places and is described once.
const identity = "identity"

// schemaWalk collects the tables of a schema, and what nobody has described.
type schemaWalk struct {
	defs   map[string]*node
	seen   map[*node]bool
	tables []policyTable
	faults []error
}

func (w *schemaWalk) table(path, kind string, n *node) {
	if n == w.defs[identity] {
		path, kind = identity, "list"
	}
	if w.seen[n] {
		return
	}
	w.seen[n] = true
	at := len(w.tables)
	w.tables = append(w.tables, policyTable{path: path, kind: kind, words: n.Description})
	for _, name := range n.Properties.names {
		where := strings.TrimPrefix(path+"."+name, ".")
		p := n.Properties.of[name]
		key, err := w.key(name, slices.Contains(n.Required, name), p)
		if err != nil {
			w.faults = append(w.faults, fmt.Errorf("%s: %w", where, err))
		}
		w.tables[at].keys = append(w.tables[at].keys, key)
		if inner := w.inner(p); inner != nil {
			w.table(where, key.kind, inner)
		}
	}
}

// key reads one key. Its description ends with its default, if it has one.
func (w *schemaWalk) key(name string, required bool, n *node) (policyKey, error) {
	k := policyKey{name: name, required: required, kind: "value"}
	k.words, k.fallback, _ = strings.Cut(n.Description, " Default: ")
	switch items := w.follow(n).Items; {
	case w.follow(n).Properties.of != nil:
		k.kind = "table"
	case items != nil && items.Ref == "" && w.follow(items).Properties.of != nil:
		k.kind = "tables"
	case items != nil:
		k.kind = "list"
	}
	switch {
	case k.words == "":
		return k, errors.New("has no description")
	case required && k.fallback != "":
		return k, errors.New("is required and has a default")
	case !required && k.fallback == "":
		return k, errors.New(`does not say what holds without it: end its description with "Default: …."`)
	case len(n.Examples) != 1:
		return k, errors.New("wants one example")
	case n.Ref != "" || n.AllOf != nil:
		return k, errors.New("has a description that editors do not show: put the $ref into anyOf")
	}
	var err error
	k.example, err = tomlValue(n.Examples[0])
	return k, err
}

// inner returns the schema of the table that a key's value is, or is a list of; nil if it is none.
func (w *schemaWalk) inner(n *node) *node {
	n = w.follow(n)
	among := []*node{n}
	if n.Items != nil {
		among = append(among, n.Items)
		for i := range n.Items.AnyOf {
			among = append(among, &n.Items.AnyOf[i])
		}
	}
	for _, s := range among {
		if s = w.follow(s); s.Properties.of != nil {
			return s
		}
	}
	return nil
}

// follow returns what a reference is to. Beside a description it is the only member of anyOf: editors do not show
// what stands beside $ref, or beside allOf (https://github.com/tamasfe/taplo/issues/729).
func (w *schemaWalk) follow(n *node) *node {
	if len(n.AnyOf) == 1 {
		n = &n.AnyOf[0]
	}
	if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok && w.defs[name] != nil {
		return w.defs[name]
	}
	return n
}
