// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// leaf is one value of a bundle's JSON that is no object and no array, cut out
// of the text around it.
type leaf struct {
	kind       string // path without indexes
	owner      string // log entry or time stamp that it belongs to; "" for neither
	head, tail []byte // JSON before and after the value
	value      []byte // what the value stands for
	form       form
}

// form is how a value's bytes stand in JSON.
type form int

const (
	formText form = iota
	formBase64
	formInteger // eight bytes, big-endian
)

// Fields of the protobuf types "bytes" and "int64".
// https://github.com/sigstore/protobuf-specs/tree/main/protos
var (
	byteFields = []string{
		"rawBytes", "sig", "signature", "payload", "digest", "signedTimestamp", "canonicalizedBody",
		"signedEntryTimestamp", "rootHash", "hashes[]", "keyId",
	}
	integerFields = []string{"logIndex", "treeSize", "integratedTime"}
)

// leaves returns every leaf of a bundle, in a fixed order.
func leaves(doc any) []leaf {
	var out []leaf
	cut := func(kind, owner, field string, v any, set func(any)) {
		l := leaf{kind: kind, owner: owner}
		switch {
		case slices.Contains(integerFields, field):
			n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
			if err != nil {
				return
			}
			l.form, l.value = formInteger, binary.BigEndian.AppendUint64(nil, uint64(n))
		default:
			s, ok := v.(string)
			if !ok || s == "" {
				return
			}
			l.value = []byte(s)
			if slices.Contains(byteFields, field) {
				if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
					l.form, l.value = formBase64, raw
				}
			}
		}
		const mark = "\u2063cut\u2063"
		set(mark)
		text, err := json.Marshal(doc)
		set(v)
		if err != nil {
			return
		}
		quoted, _ := json.Marshal(mark)
		head, tail, _ := strings.Cut(string(text), string(quoted))
		l.head, l.tail = []byte(head), []byte(tail)
		out = append(out, l)
	}
	var walk func(kind, owner, field string, v any, set func(any))
	walk = func(kind, owner, field string, v any, set func(any)) {
		switch v := v.(type) {
		case map[string]any:
			keys := make([]string, 0, len(v))
			for k := range v {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				walk(strings.TrimPrefix(kind+"."+k, "."), owner, k, v[k], func(x any) { v[k] = x })
			}
		case []any:
			for i, e := range v {
				own := owner
				if field == "tlogEntries" || field == "rfc3161Timestamps" {
					own = fmt.Sprintf("%s[%d]", field, i)
				}
				walk(kind+index(field, i, e), own, field+"[]", e, func(x any) { v[i] = x })
			}
		case nil:
		default:
			cut(kind, owner, field, v, set)
		}
	}
	walk("", "", "", doc, nil)
	return out
}

// index tells elements of a list apart where they differ in kind: the signing
// certificate from those above it, and log entries by what shows inclusion.
func index(field string, i int, e any) string {
	switch field {
	case "certificates":
		if i > 0 {
			return "[above the signer's]"
		}
		return "[0]"
	case "tlogEntries":
		m, _ := e.(map[string]any)
		promise, proof := m["inclusionPromise"] != nil, m["inclusionProof"] != nil
		switch {
		case promise && proof:
			return "[promise and proof]"
		case promise:
			return "[promise]"
		}
		return "[proof]"
	}
	return "[]"
}

// bits returns how many bits of each byte can be flipped: text must stay UTF-8.
func (l *leaf) bits() int {
	if l.form == formText {
		return 7
	}
	return 8
}

// flipped returns the bundle with one bit of one byte flipped.
func (l *leaf) flipped(i, bit int) []byte {
	v := slices.Clone(l.value)
	v[i] ^= 1 << bit
	var s string
	switch l.form {
	case formBase64:
		s = base64.StdEncoding.EncodeToString(v)
	case formInteger:
		s = strconv.FormatInt(int64(binary.BigEndian.Uint64(v)), 10)
	default:
		s = string(v)
	}
	text, _ := json.Marshal(s)
	return slices.Concat(l.head, text, l.tail)
}

// regions returns the kind of element that each byte belongs to.
func (l *leaf) regions() []string {
	out := make([]string, len(l.value))
	for i := range out {
		out[i] = l.kind
	}
	label := func(from, to int, what string) {
		for i := from; i < to; i++ {
			out[i] = l.kind + ": " + what
		}
	}
	switch {
	case strings.HasSuffix(l.kind, ".signedTimestamp"):
		tokenRegions(l.value, label)
	case strings.HasSuffix(l.kind, ".checkpoint.envelope"):
		noteRegions(string(l.value), label)
	}
	return out
}

// noteRegions labels a signed note: the text, and its signatures by whether
// they are of the log that the note's first line names.
// Format: https://c2sp.org/signed-note.
func noteRegions(note string, label func(from, to int, what string)) {
	text, rest, ok := strings.Cut(note, "\n\n")
	if !ok {
		return
	}
	label(0, len(text)+2, "text")
	origin, _, _ := strings.Cut(text, "\n")
	at := len(text) + 2
	for line := range strings.Lines(rest) {
		head, _, _ := strings.Cut(strings.TrimPrefix(line, noteDash), " ")
		who := "signature of somebody else"
		if origin == head || strings.HasPrefix(origin, head+" - ") {
			who = "signature of the log"
		}
		name := at + len(noteDash)
		label(at, at+len(line), who)
		label(name, min(name+len(head), at+len(line)), "name in the "+who)
		at += len(line)
		if digits := strings.TrimRight(line, "=\n"); strings.Contains(line[len(digits):], "=") {
			last := at - len(line) + len(digits)
			label(last-1, last, "last base64 digit in the "+who)
		}
	}
}

const noteDash = "\u2014 "
