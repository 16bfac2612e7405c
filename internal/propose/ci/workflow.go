// SPDX-License-Identifier: Apache-2.0

// Package ci reads what a clone says of its continuous integration: which jobs an event
// starts, whether they may have ID tokens, and what their steps run. It evaluates conditions
// as far as they are known before anything runs. Bytes in, values out.
package ci

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxWorkflowBytes = 1 << 20
	maxNodes         = 100_000 // of a YAML document
)

// mapping is a YAML mapping that keeps its order.
type mapping struct {
	keys   []string
	values map[string]*yaml.Node
}

func mappingOf(n *yaml.Node) mapping {
	m := mapping{values: map[string]*yaml.Node{}}
	n = resolved(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return m
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if key == "<<" {
			merged = append(merged, n.Content[i+1])
			continue
		}
		m.add(key, n.Content[i+1])
	}
	for _, from := range merged {
		m.merge(from)
	}
	return m
}

// add adds a key that is not there yet.
func (m *mapping) add(key string, value *yaml.Node) {
	if _, twice := m.values[key]; !twice {
		m.keys = append(m.keys, key)
		m.values[key] = value
	}
}

// merge adds what a merge key names: one mapping or several, their own merge keys left out.
func (m *mapping) merge(n *yaml.Node) {
	n = resolved(n)
	switch n.Kind {
	case yaml.SequenceNode:
		for _, x := range n.Content {
			if x = resolved(x); x.Kind == yaml.MappingNode {
				m.merge(x)
			}
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i].Value; key != "<<" {
				m.add(key, n.Content[i+1])
			}
		}
	}
}

// resolved follows an alias once: an anchor that holds itself ends there.
func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// scalar returns the text of a scalar, "" of anything else.
func scalar(n *yaml.Node) string {
	if n = resolved(n); n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// list returns the texts of a scalar or of a list of scalars.
func list(n *yaml.Node) (out []string) {
	n = resolved(n)
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode:
		if n.Tag != "!!null" {
			out = append(out, n.Value)
		}
	case n.Kind == yaml.SequenceNode:
		for _, x := range n.Content {
			if s := scalar(x); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

// texts returns the scalars of a mapping.
func texts(n *yaml.Node) map[string]string {
	m := mappingOf(n)
	out := map[string]string{}
	for _, k := range m.keys {
		if x := resolved(m.values[k]); x != nil && x.Kind == yaml.ScalarNode && x.Tag != "!!null" {
			out[k] = x.Value
		}
	}
	return out
}

// document parses one YAML document; nil if it is none or too large.
func document(data []byte) *yaml.Node {
	var doc yaml.Node
	if len(data) > maxWorkflowBytes || yaml.Unmarshal(data, &doc) != nil || len(doc.Content) != 1 {
		return nil
	}
	if nodes := 0; !countable(&doc, &nodes, 0) {
		return nil
	}
	return doc.Content[0]
}

// countable refuses documents that aliases make large.
func countable(n *yaml.Node, nodes *int, depth int) bool {
	if *nodes++; *nodes > maxNodes || depth > maxDepth {
		return false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for _, c := range n.Content {
		if !countable(c, nodes, depth+1) {
			return false
		}
	}
	return true
}

// grant is what permissions say of id-token.
type grant int8

const (
	unsaid grant = iota
	refused
	granted
)

func grantOf(n *yaml.Node) grant {
	switch n = resolved(n); {
	case n == nil:
		return unsaid
	case n.Kind == yaml.ScalarNode && n.Value == "write-all":
		return granted
	case n.Kind == yaml.MappingNode && scalar(mappingOf(n).values["id-token"]) == "write":
		return granted
	}
	return refused
}

// Workflow is a file of GitHub Actions.
type Workflow struct {
	Path   string
	events mapping
	env    map[string]string
	token  grant
	jobs   []job
	tokens bool // something in it can grant ID tokens, or calls a file of this repository
}

// MayHaveTokens is false if no job that the workflow starts can have an ID token.
func (w *Workflow) MayHaveTokens() bool { return w.tokens }

type job struct {
	id, uses, cond, environment string
	needs, runsOn               []string
	token                       grant
	env, with, outputs          map[string]string
	matrix                      map[string][]string
	steps                       []*yaml.Node
}

// Parse reads a workflow; nil if it is none.
func Parse(name string, data []byte) *Workflow {
	top := mappingOf(document(data))
	jobs := mappingOf(top.values["jobs"])
	if len(jobs.keys) == 0 {
		return nil
	}
	w := &Workflow{
		Path: name, events: eventsOf(top.values["on"]),
		env: texts(top.values["env"]), token: grantOf(top.values["permissions"]),
	}
	for _, id := range jobs.keys {
		j := jobOf(id, mappingOf(jobs.values[id]))
		w.tokens = w.tokens || j.uses != "" || j.token == granted
		w.jobs = append(w.jobs, j)
	}
	w.tokens = w.tokens || w.token == granted
	return w
}

func eventsOf(n *yaml.Node) mapping {
	n = resolved(n)
	if n != nil && n.Kind == yaml.MappingNode {
		return mappingOf(n)
	}
	m := mapping{values: map[string]*yaml.Node{}}
	for _, e := range list(n) {
		m.keys = append(m.keys, e)
		m.values[e] = nil
	}
	return m
}

func jobOf(id string, m mapping) job {
	j := job{
		id: id, uses: scalar(m.values["uses"]), cond: scalar(m.values["if"]),
		needs: list(m.values["needs"]), token: grantOf(m.values["permissions"]),
		env: texts(m.values["env"]), with: texts(m.values["with"]), outputs: texts(m.values["outputs"]),
		matrix: matrixOf(mappingOf(m.values["strategy"]).values["matrix"]),
	}
	if j.environment = scalar(m.values["environment"]); j.environment == "" {
		j.environment = scalar(mappingOf(m.values["environment"]).values["name"])
	}
	if j.runsOn = list(m.values["runs-on"]); j.runsOn == nil {
		j.runsOn = list(mappingOf(m.values["runs-on"]).values["labels"])
	}
	if steps := resolved(m.values["steps"]); steps != nil && steps.Kind == yaml.SequenceNode {
		j.steps = steps.Content
	}
	return j
}

// matrixOf returns the values of each dimension, as far as they are texts. Those of mappings have
// the path of their keys, such as image.name.
func matrixOf(n *yaml.Node) map[string][]string {
	m := mappingOf(n)
	out := map[string][]string{}
	for _, k := range m.keys {
		if k != "include" && k != "exclude" {
			out[k] = append(out[k], list(m.values[k])...)
			addEntries(out, k+".", m.values[k])
		}
	}
	addEntries(out, "", m.values["include"])
	return out
}

// addEntries adds the texts of a list of mappings, and of mappings in these.
func addEntries(out map[string][]string, prefix string, n *yaml.Node) {
	n = resolved(n)
	if n == nil || n.Kind != yaml.SequenceNode || strings.Count(prefix, ".") > 2 {
		return
	}
	for _, x := range n.Content {
		m := mappingOf(x)
		for _, k := range m.keys {
			if v := scalar(m.values[k]); v != "" && !slices.Contains(out[prefix+k], v) {
				out[prefix+k] = append(out[prefix+k], v)
			}
			if inner := resolved(m.values[k]); inner.Kind == yaml.MappingNode {
				addEntries(out, prefix+k+".", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{inner}})
			}
		}
	}
}

// Events returns the events that start the workflow by itself, in the order of the file.
func (w *Workflow) Events() (out []string) {
	for _, e := range w.events.keys {
		if e != "workflow_call" {
			out = append(out, e)
		}
	}
	return out
}

// filters returns a filter of an event, and whether it is written.
func (w *Workflow) filters(event, name string) ([]string, bool) {
	m := mappingOf(w.events.values[event])
	n, ok := m.values[name]
	return list(n), ok
}

// PushedTags returns the filters of tags whose push starts the workflow; false if no tag does.
func (w *Workflow) PushedTags() (patterns []string, ok bool) {
	return w.pushed("tags", "branches")
}

// PushedBranches is like PushedTags.
func (w *Workflow) PushedBranches() (patterns []string, ok bool) {
	return w.pushed("branches", "tags")
}

func (w *Workflow) pushed(what, other string) ([]string, bool) {
	if _, ok := w.events.values["push"]; !ok {
		return nil, false
	}
	only, isOnly := w.filters("push", what)
	ignored, isIgnored := w.filters("push", what+"-ignore")
	_, isOther := w.filters("push", other)
	_, isOtherIgnored := w.filters("push", other+"-ignore")
	switch {
	case isOnly:
		positive := func(p string) bool { return !strings.HasPrefix(p, "!") }
		return only, slices.ContainsFunc(only, positive)
	case isIgnored:
		out := []string{"**"}
		for _, p := range ignored {
			out = append(out, "!"+p)
		}
		return out, true
	}
	return []string{"**"}, !isOther && !isOtherIgnored
}

// Matches reports whether a name passes a list of filters: the last that matches decides.
//
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet
func Matches(patterns []string, name string) bool {
	ok := false
	for _, p := range patterns {
		if inner, negative := strings.CutPrefix(p, "!"); filterMatches(strings.TrimPrefix(p, "!"), name) {
			ok = !negative || inner == ""
		}
	}
	return ok
}

// maxSteps bounds the work for one filter and one name.
const maxSteps = 20_000

func filterMatches(pattern, name string) bool {
	steps := 0
	return matchFilter(pattern, name, &steps)
}

func matchFilter(p, s string, steps *int) bool {
	if *steps++; *steps > maxSteps {
		return false
	}
	if p == "" {
		return s == ""
	}
	atom, rest := nextAtom(p)
	fits := func(s string) bool { return s != "" && atomMatches(atom, s[0]) }
	switch {
	case atom == "*" || atom == "**":
		return matchStar(atom == "**", rest, s, steps)
	case strings.HasPrefix(rest, "?"): // the preceding once or not at all
		return matchFilter(rest[1:], s, steps) || fits(s) && matchFilter(rest[1:], s[1:], steps)
	case strings.HasPrefix(rest, "+"):
		for i := 0; fits(s[i:]); i++ {
			if matchFilter(rest[1:], s[i+1:], steps) {
				return true
			}
		}
		return false
	}
	return fits(s) && matchFilter(rest, s[1:], steps)
}

// matchStar lets a star match as much as it can; one alone stops at a slash.
func matchStar(two bool, rest, s string, steps *int) bool {
	for i := 0; ; i++ {
		if matchFilter(rest, s[i:], steps) {
			return true
		}
		if i == len(s) || !two && s[i] == '/' {
			return false
		}
	}
}

// nextAtom splits off a star, a class of characters or a single character.
func nextAtom(p string) (atom, rest string) {
	switch {
	case strings.HasPrefix(p, "**"):
		return "**", p[2:]
	case p[0] == '[':
		if end := strings.IndexByte(p, ']'); end > 0 {
			return p[:end+1], p[end+1:]
		}
	case p[0] == '\\' && len(p) > 1:
		return p[:2], p[2:]
	}
	return p[:1], p[1:]
}

func atomMatches(atom string, c byte) bool {
	if len(atom) == 1 {
		return atom[0] == c
	}
	if atom[0] == '\\' {
		return atom[1] == c
	}
	in := atom[1 : len(atom)-1]
	for i := 0; i < len(in); i++ {
		if i+2 < len(in) && in[i+1] == '-' {
			if in[i] <= c && c <= in[i+2] {
				return true
			}
			i += 2
		} else if in[i] == c {
			return true
		}
	}
	return false
}

// Sample returns a name that a filter without exceptions matches, with filler for its stars.
func Sample(pattern, filler string) string {
	var b strings.Builder
	for pattern != "" {
		atom, rest := nextAtom(pattern)
		pattern = strings.TrimLeft(rest, "+?")
		switch {
		case strings.HasPrefix(atom, "*"):
			b.WriteString(filler)
		case atom[0] == '[' && len(atom) > 2:
			b.WriteByte(atom[1])
		default:
			b.WriteString(strings.TrimPrefix(atom, "\\"))
		}
	}
	return b.String()
}

// localPath returns the path of a file of this repository that a `uses` names, written ./ or $/.
func localPath(uses string) (string, bool) {
	for _, prefix := range []string{"./", "$/"} {
		if rest, ok := strings.CutPrefix(uses, prefix); ok {
			return path.Clean(rest), true
		}
	}
	return "", false
}

// Foreign is a workflow of another repository that a job calls.
type Foreign struct {
	Repository string // owner/name
	Path       string
	Ref        string
}

func (f Foreign) String() string { return fmt.Sprintf("%s/%s@%s", f.Repository, f.Path, f.Ref) }

// foreignOf reads owner/name/.github/workflows/file.yml@ref.
func foreignOf(uses string) (Foreign, bool) {
	where, ref, ok := strings.Cut(uses, "@")
	parts := strings.SplitN(where, "/", 3)
	if !ok || ref == "" || len(parts) != 3 || !strings.HasPrefix(parts[2], ".github/workflows/") {
		return Foreign{}, false
	}
	return Foreign{parts[0] + "/" + parts[1], parts[2], ref}, true
}
