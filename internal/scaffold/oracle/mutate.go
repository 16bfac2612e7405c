// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
)

// Script reads choices from bytes; none are zero once they are used up.
type Script struct{ Data []byte }

// Byte returns the next byte.
func (s *Script) Byte() int {
	if len(s.Data) == 0 {
		return 0
	}
	b := s.Data[0]
	s.Data = s.Data[1:]
	return int(b)
}

// Below returns a number from 0 to n-1; 0 for no n.
func (s *Script) Below(n int) int {
	if n <= 1 {
		return 0
	}
	if n <= 256 {
		return s.Byte() % n
	}
	return (s.Byte()<<8 | s.Byte()) % n
}

// node is one value of a document with its place.
type node struct {
	path  string
	value any
	set   func(any)
	drop  func()
}

// Decode reads JSON, with numbers as they are written.
func Decode(data []byte) (doc any, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	err = dec.Decode(&doc)
	return doc, err
}

// nodes returns all values of a document below its top, in a fixed order.
func nodes(doc any, path string) (out []node) {
	switch v := doc.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			n := node{path + "." + k, v[k], func(to any) { v[k] = to }, func() { delete(v, k) }}
			out = append(append(out, n), nodes(v[k], n.path)...)
		}
	case []any:
		for i := range v {
			n := node{path + "[]", v[i], func(to any) { v[i] = to }, func() { v[i] = nil }}
			out = append(append(out, n), nodes(v[i], n.path)...)
		}
	}
	return out
}

// Mutate changes a document in one place, perhaps to what stands in that place of another one.
func Mutate(s *Script, doc, other any) {
	all := nodes(doc, "")
	if len(all) == 0 {
		return
	}
	n := all[s.Below(len(all))]
	switch s.Below(8) {
	case 0:
		n.drop()
	case 1, 2:
		var same []node
		for _, o := range nodes(other, "") {
			if o.path == n.path {
				same = append(same, o)
			}
		}
		if len(same) > 0 {
			n.set(clone(same[s.Below(len(same))].value))
		}
	case 3:
		n.set(clone(all[s.Below(len(all))].value))
	default:
		n.set(change(s, n.value))
	}
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	}
	return v
}

// change returns another value of the same kind.
func change(s *Script, v any) any {
	switch v := v.(type) {
	case []any:
		return reorder(s, v)
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return strconv.FormatInt(number(s, n), 10)
		}
		if raw, err := base64.StdEncoding.DecodeString(v); err == nil && len(raw) > 0 {
			if raw[0] == '{' && s.Below(2) == 0 {
				return base64.StdEncoding.EncodeToString(inner(s, raw))
			}
			return base64.StdEncoding.EncodeToString(edit(s, raw))
		}
		return string(edit(s, []byte(v)))
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return v
		}
		return number(s, n)
	}
	return v
}

func reorder(s *Script, v []any) any {
	out := slices.Clone(v)
	if len(out) == 0 {
		return out
	}
	i, j := s.Below(len(out)), s.Below(len(out))
	switch s.Below(3) {
	case 0:
		return append(out, clone(out[i]))
	case 1:
		out[i], out[j] = out[j], out[i]
		return out
	}
	return slices.Delete(out, i, i+1)
}

func number(s *Script, n int64) int64 {
	return []int64{n + 1, n - 1, 0, 1, -1, -n, n << 1, 1<<53 + n, 1<<63 - 1, n ^ 1<<s.Below(62)}[s.Below(10)]
}

// edit changes some bytes.
func edit(s *Script, in []byte) []byte {
	out := slices.Clone(in)
	if len(out) == 0 {
		return []byte{byte(s.Byte())}
	}
	at := s.Below(len(out))
	switch s.Below(6) {
	case 0:
		return out[:at]
	case 1:
		return slices.Insert(out, at, byte(s.Byte()))
	case 2:
		return slices.Delete(out, at, at+1)
	case 3:
		out[at] = byte(s.Byte())
	case 4:
		to := min(len(out), at+1+s.Below(64))
		return slices.Insert(out, at, out[at:to]...)
	default:
		out[at] ^= 1 << s.Below(8)
	}
	return out
}

// inner changes a document that stands in another one.
func inner(s *Script, raw []byte) []byte {
	doc, err := Decode(raw)
	if err != nil {
		return edit(s, raw)
	}
	Mutate(s, doc, doc)
	out, err := json.Marshal(doc) // its keys in order
	if err != nil {
		return raw
	}
	return out
}
