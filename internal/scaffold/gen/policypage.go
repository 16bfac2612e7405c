// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

const policyHead = `# The policy file, key by key

<!-- Generated from schema/policy-v1.json by "go generate ./...". Do not edit. -->

Every key that a policy may have: what it means, what holds without it, an example, and since
which format it is known. Editors show the same words from the
[JSON Schema](../schema/policy-v1.json) if the first line of the file is

` + "```toml\n#:schema https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/policy-v1.json\n```" + `

[release-engineer.md](release-engineer.md) shows how to write a policy, and
[maintainer.md](maintainer.md) how to keep it. [SPEC.md](../schema/SPEC.md), section 3, is normative.

There is one format, ` + "`" + spelling.Format + "`" + `, and every key below is part of it since it exists. A key
that is not listed is an error (` + "`policy-unknown-key`" + `), never ignored: a key that is new needs a new
format. A program that does not know the format refuses the file with
` + "`policy-newer-format`" + ` and says that it has to be updated; so does one that does
not know the algorithm of a public key. Of a version that was bound it says
` + "`needs-newer-version`" + `. Nothing that it does not know ever allows a release.

`

// policyPage writes docs/policy.md.
func policyPage(root string) error {
	tables, err := policySchema(root)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(policyHead)
	for _, t := range tables {
		t.index(&b)
	}
	for _, t := range tables {
		t.section(&b)
	}
	return os.WriteFile(filepath.Join(root, "docs", "policy.md"), b.Bytes(), 0o644)
}

// title returns how the table is written.
func (t *policyTable) title() string {
	switch {
	case t.path == "":
		return "Top level"
	case t.path == identity:
		return "Identities"
	case t.kind == "tables":
		return "`[[" + t.path + "]]`"
	case t.kind == "list":
		return "Tables in `" + t.path + "`"
	}
	return "`[" + t.path + "]`"
}

// full returns the key with its table.
func (t *policyTable) full(k string) string { return strings.TrimPrefix(t.path+"."+k, ".") }

// index writes one line that leads to the keys.
func (t *policyTable) index(b *bytes.Buffer) {
	var keys []string
	for _, k := range t.keys {
		keys = append(keys, fmt.Sprintf("[`%s`](#%s)", k.name, anchor(t.full(k.name))))
	}
	b.WriteString(fill("* "+t.title()+": "+strings.Join(keys, ", "), "  "))
}

// anchor returns how GitHub names a heading that is a key.
func anchor(key string) string { return strings.ReplaceAll(key, ".", "") }

// section writes the keys with all that there is to say of them.
func (t *policyTable) section(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## %s\n", t.title())
	if t.path != "" && t.words != "" { // what most tables are for says the key that they are
		b.WriteString("\n" + fill(prose(t.words), ""))
	}
	for _, k := range t.keys {
		fmt.Fprintf(b, "\n### `%s`\n\n", t.full(k.name))
		b.WriteString(fill(prose(k.words), ""))
		state := "Required."
		if !k.required {
			state = "Default: " + prose(k.fallback)
		}
		b.WriteString("\n" + fill(state+" Since: `"+spelling.Format+"`.", ""))
		fmt.Fprintf(b, "\n```toml\n%s```\n", t.example(&k))
	}
}

// example returns a key with a value, as it stands in a policy.
func (t *policyTable) example(k *policyKey) string {
	switch k.kind {
	case "table", "tables":
		return k.example.table(t.full(k.name), k.kind == "tables")
	}
	return k.name + " = " + k.example.inline(true) + "\n"
}

// prose puts what stands in double quotes or is an address or a name of ours into the form of code.
func prose(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		bare := strings.TrimRight(w, ".,:;)")
		bare = strings.TrimLeft(bare, "(")
		if isCode(bare) {
			words[i] = strings.Replace(w, bare, "`"+strings.Trim(bare, `"`)+"`", 1)
		}
	}
	return strings.Join(words, " ")
}

// isCode reports whether a word is one of a policy or a program and not of English.
func isCode(w string) bool {
	switch {
	case len(w) < 2:
		return false
	case w[0] == '"' && w[len(w)-1] == '"', strings.Contains(w, "://"), strings.Contains(w, "_"),
		strings.HasPrefix(w, "refs/"), strings.HasPrefix(w, "--"), strings.HasPrefix(w, "{"):
		return true
	}
	return false
}

const columns = 110 // of a line of text

// fill breaks text into lines, of which all but the first begin with an indent.
func fill(text, indent string) string {
	var b strings.Builder
	width := 0
	for i, w := range strings.Fields(text) {
		switch n := len([]rune(w)); {
		case i == 0:
			width = n
		case width+1+n > columns:
			b.WriteString("\n" + indent)
			width = len(indent) + n
		default:
			b.WriteString(" ")
			width += 1 + n
		}
		b.WriteString(w)
	}
	return b.String() + "\n"
}

// tomlText is a JSON value that is written as TOML.
type tomlText struct {
	members []tomlMember // of an object, in their order
	items   []tomlText   // of a list
	scalar  string       // as TOML has it
}

type tomlMember struct {
	name  string
	value tomlText
}

// tomlValue reads an example of the schema.
func tomlValue(data json.RawMessage) (tomlText, error) {
	switch data[0] {
	case '{':
		names, err := objectNames(data)
		if err != nil {
			return tomlText{}, err
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			return tomlText{}, err
		}
		out := tomlText{members: []tomlMember{}}
		for _, name := range names {
			v, err := tomlValue(raw[name])
			if err != nil {
				return tomlText{}, err
			}
			out.members = append(out.members, tomlMember{name, v})
		}
		return out, nil
	case '[':
		var raw []json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			return tomlText{}, err
		}
		out := tomlText{items: []tomlText{}}
		for _, r := range raw {
			v, err := tomlValue(r)
			if err != nil {
				return tomlText{}, err
			}
			out.items = append(out.items, v)
		}
		return out, nil
	case '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return tomlText{}, err
		}
		if isTime(s) {
			return tomlText{scalar: s}, nil
		}
		return tomlText{scalar: strconv.Quote(s)}, nil
	}
	return tomlText{scalar: string(data)}, nil // a number or a truth value is spelled as in JSON
}

// isTime reports whether text is a date-time, which TOML writes without quotes.
func isTime(s string) bool {
	return len(s) == len("2006-01-02T15:04:05Z") && s[4] == '-' && s[10] == 'T' && strings.HasSuffix(s, "Z")
}

// inline returns the value for one line; a list with a long item, where that may be, over several.
func (v tomlText) inline(lines bool) string {
	switch {
	case v.members != nil:
		var out []string
		for _, m := range v.members {
			out = append(out, m.name+" = "+m.value.inline(false))
		}
		return "{ " + strings.Join(out, ", ") + " }"
	case v.items != nil:
		var out []string
		for _, i := range v.items {
			out = append(out, i.inline(false))
		}
		if one := strings.Join(out, ", "); !lines || len(one) < columns-20 {
			return "[" + one + "]"
		}
		return "[\n  " + strings.Join(out, ",\n  ") + ",\n]"
	}
	return v.scalar
}

// table returns the value as a table, or as several, with that path.
func (v tomlText) table(path string, many bool) string {
	if many {
		var b strings.Builder
		for _, i := range v.items {
			b.WriteString("[[" + path + "]]\n" + i.body(path))
		}
		return b.String()
	}
	return "[" + path + "]\n" + v.body(path)
}

// deep reports whether the value is a table with more than texts and numbers in it, which is hard
// to read in one line.
func (v tomlText) deep() bool {
	return slices.ContainsFunc(v.members, func(m tomlMember) bool { return m.value.scalar == "" })
}

// body returns the keys of a table; tables in it that are hard to read in one line stand after the rest.
func (v tomlText) body(path string) string {
	var b, after strings.Builder
	for _, m := range v.members {
		if len(m.value.items) > 0 && m.value.items[0].deep() {
			after.WriteString(m.value.table(path+"."+m.name, true))
			continue
		}
		b.WriteString(m.name + " = " + m.value.inline(true) + "\n")
	}
	return b.String() + after.String()
}
