// SPDX-License-Identifier: Apache-2.0

// Package aqua reads package entries of an aqua registry and turns the signers
// that they name into rules of a policy. An entry is somebody else's opinion of
// who signs: what comes out is a draft for the project's own maintainers.
package aqua

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of a registry file.
const (
	MaxBytes    = 1 << 20
	maxNodes    = 200_000
	maxDepth    = 32
	maxSections = 2000 // of one package: itself, its version_overrides and overrides
)

// Package is one entry of a registry.
type Package struct {
	Name        string // as aqua calls it; "owner/name" if the entry gives no other
	Owner, Repo string // on github.com; "" if the entry names no repository
	root        *yaml.Node
}

// Parse returns the packages of a registry file. Anchors, aliases, merge keys,
// explicit tags, keys that stand twice and several documents are errors: another
// reader could take such a file for another one.
//
// Format: https://aquaproj.github.io/docs/reference/registry-config/
func Parse(data []byte) ([]Package, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, cleanYAML(err)
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("more than one document")
	}
	nodes := 0
	if err := check(&doc, 0, &nodes); err != nil {
		return nil, err
	}
	list := get(doc.Content[0], "packages")
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil, errors.New("no list of packages")
	}
	var out []Package
	for _, n := range list.Content {
		if n.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("line %d: a package is a mapping", n.Line)
		}
		p := Package{Name: scalar(n, "name"), Owner: scalar(n, "repo_owner"), Repo: scalar(n, "repo_name"), root: n}
		if p.Name == "" && p.Owner != "" {
			p.Name = p.Owner + "/" + p.Repo
		}
		out = append(out, p)
	}
	return out, nil
}

// cleanYAML returns the library's error as one line.
func cleanYAML(err error) error {
	if err == io.EOF {
		return errors.New("empty")
	}
	return errors.New(strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
}

// check walks the whole document.
func check(n *yaml.Node, depth int, nodes *int) error {
	if *nodes++; *nodes > maxNodes {
		return fmt.Errorf("more than %d values", maxNodes)
	}
	switch {
	case depth > maxDepth:
		return fmt.Errorf("line %d: nested more than %d deep", n.Line, maxDepth)
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not read", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: explicit tags are not read", n.Line)
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]bool{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
				return fmt.Errorf("line %d: a key that is not plain text", k.Line)
			}
			if seen[k.Value] {
				return fmt.Errorf("line %d: the key %q stands twice", k.Line, k.Value)
			}
			seen[k.Value] = true
		}
	}
	for _, c := range n.Content {
		if err := check(c, depth+1, nodes); err != nil {
			return err
		}
	}
	return nil
}

// get returns the value of a key, nil if there is none.
func get(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// scalar returns the text of a key, "" if it is something else.
func scalar(n *yaml.Node, key string) string {
	if v := get(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// section is a package as it is for some versions or machines: what it does not
// say itself it takes from the one around it.
type section struct {
	where string // for comments, for example `version_overrides[2] semver("<= 1.0.0")`
	nodes []*yaml.Node
}

// find returns the value of a key, from the innermost node that has it.
func (s section) find(key string) *yaml.Node {
	for i := len(s.nodes) - 1; i >= 0; i-- {
		if v := get(s.nodes[i], key); v != nil {
			return v
		}
	}
	return nil
}

func (s section) text(key string) string {
	if v := s.find(key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// sections returns the package itself, if it is for any version, and all its
// overrides.
func (p *Package) sections() ([]section, error) {
	var out []section
	var walk func(s section) error
	walk = func(s section) error {
		if out = append(out, s); len(out) > maxSections {
			return fmt.Errorf("more than %d overrides", maxSections)
		}
		inner := s.nodes[len(s.nodes)-1]
		for _, key := range []string{"version_overrides", "overrides"} {
			list := get(inner, key)
			if list == nil {
				continue
			}
			for i, n := range list.Content {
				where := strings.TrimSpace(
					fmt.Sprintf("%s %s[%d] %s", s.where, key, i, scalar(n, "version_constraint")),
				)
				if err := walk(section{where, append(append([]*yaml.Node(nil), s.nodes...), n)}); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return out, walk(section{"", []*yaml.Node{p.root}})
}
