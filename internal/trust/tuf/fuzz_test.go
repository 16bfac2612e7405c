// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
)

// differ are the places where this client accepts what go-tuf's does not, with
// the reason. Everywhere else, what is accepted here go-tuf accepts, too.
var differ = []struct{ place, why string }{
	{"keys", "a key that is of no use counts for nothing; go-tuf fails if a role lists it"},
	{"keyids", "as above"},
	{"roles", "roles that TUF does not name are not read; go-tuf reads them"},
	{"path_hash_prefixes", "go-tuf compares them with base64"},
	{"custom", "numbers beyond 53 bits, which go-tuf reads as floating point"},
}

// publishFuzzed has a delegated role, so that every kind of metadata is there.
func publishFuzzed(t testing.TB) *tuftest.Sim {
	s := tuftest.New(t)
	s.NextRoot(func() {})
	s.Targets["targets"].Signed.Version++
	s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
	s.Add("d", "d/x.txt", "x")
	s.Publish()
	return s
}

// places returns the paths of all values below v, ordered.
func places(v any, at []string) [][]string {
	out := [][]string{at}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, places(v[k], append(slices.Clone(at), k))...)
		}
	case []any:
		for i := range v {
			out = append(out, places(v[i], append(slices.Clone(at), fmt.Sprint(i)))...)
		}
	}
	return out
}

// put replaces the value at a path; nil removes it.
func put(v any, at []string, with any, remove bool) any {
	if len(at) == 0 {
		return with
	}
	switch v := v.(type) {
	case map[string]any:
		if len(at) == 1 && remove {
			delete(v, at[0])
		} else {
			v[at[0]] = put(v[at[0]], at[1:], with, remove)
		}
	case []any:
		var i int
		if _, err := fmt.Sscan(at[0], &i); err == nil {
			v[i] = put(v[i], at[1:], with, remove)
		}
	}
	return v
}

// FuzzAgainstGoTUF changes one value of one file before it is signed: what this
// client then accepts go-tuf's accepts, with the same content.
func FuzzAgainstGoTUF(f *testing.F) {
	files := []struct{ name, role string }{
		{"2.root.json", "root"}, {"timestamp.json", "timestamp"}, {"2.snapshot.json", "snapshot"},
		{"2.targets.json", "targets"}, {"1.d.json", "d"},
	}
	for i := range files {
		for place := range 40 {
			for _, with := range []string{
				"", "0", "-1", "99", `""`, `"x"`, "[]", "{}", "null", "true", "1.5", `["a","a"]`, `"2020-01-01T00:00:00Z"`,
				`"2030-01-01T1:00:00,5Z"`, "9223372036854775807",
			} {
				if (7*i+place+len(with))%37 == 0 {
					f.Add(uint8(i), uint16(place), with)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, file uint8, place uint16, with string) {
		s := publishFuzzed(t)
		which := files[int(file)%len(files)]
		var value any
		dec := json.NewDecoder(strings.NewReader(with))
		dec.UseNumber()
		if err := dec.Decode(&value); err != nil && with != "" {
			t.Skip("no JSON") // nothing to put there
		}
		if _, err := cjson.EncodeCanonical(value); err != nil {
			return // it cannot be signed
		}
		at := ""
		s.Edit(which.name, which.role, func(signed map[string]any) {
			all := places(signed, nil)[1:]
			path := all[int(place)%len(all)]
			at = strings.Join(path, "/")
			put(signed, path, value, with == "")
		})
		compare(t, s, at)
	})
}

// FuzzServed changes a file after it was signed: it is refused, or it is another
// way to write the same.
func FuzzServed(f *testing.F) {
	files := []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "1.d.json"}
	for i := range files {
		for _, s := range []string{"", " ", "{}", "x", `"`, "\n", "0", ",", "]", `"version": 1,`} {
			f.Add(uint8(i), uint16(97*i), uint8(1), s)
			f.Add(uint8(i), uint16(31*i+200), uint8(0), s)
		}
	}
	f.Fuzz(func(t *testing.T, file uint8, offset uint16, length uint8, with string) {
		s := publishFuzzed(t)
		name := files[int(file)%len(files)]
		data := s.Files[name]
		from := int(offset) % len(data)
		to := min(from+int(length), len(data))
		s.Files[name] = slices.Concat(data[:from], []byte(with), data[to:])
		got, err := run(t.Context(), options(s), "d/x.txt")
		if err != nil {
			return
		}
		before, err := signedPart(data)
		if err != nil {
			t.Fatal(err)
		}
		if after, err := signedPart(s.Files[name]); err != nil || string(got) != "x" || !bytes.Equal(before, after) {
			t.Fatalf("%s: %q was signed, %q was accepted: %q, %v", name, before, after, got, err)
		}
	})
}

func signedPart(data []byte) ([]byte, error) {
	v, err := parse(data)
	if err != nil {
		return nil, err
	}
	o, _ := v.data.(object)
	return o["signed"].appendCanonical(nil), nil
}

func compare(t *testing.T, s *tuftest.Sim, at string) {
	t.Helper()
	data, err := run(t.Context(), options(s), "d/x.txt")
	if err != nil {
		return
	}
	if string(data) != "x" {
		t.Fatalf("%q", data)
	}
	theirs, err := s.Reference().Run(tuftest.Now, "d/x.txt")
	if err == nil && string(theirs) == "x" {
		return
	}
	if slices.ContainsFunc(differ, func(d struct{ place, why string }) bool { return strings.Contains(at, d.place) }) {
		return
	}
	t.Fatalf("%s: accepted; go-tuf: %v", at, err)
}

// FuzzMetadata: what is accepted keeps to the limits of its kind.
func FuzzMetadata(f *testing.F) {
	s := publishFuzzed(f)
	for _, data := range s.Files {
		f.Add(data)
	}
	for v := 1; v <= newestRoot; v++ {
		f.Add(sigstoreRoot(f, v))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range topLevel {
			d, err := read(data, kind)
			if err != nil {
				continue
			}
			if d.Version < 1 || d.Expires.IsZero() && d.Expires.UnixNano() == 0 {
				t.Fatalf("%+v", d.Header)
			}
			switch kind {
			case roleRoot:
				r, err := readRoot(d)
				if err != nil {
					continue
				}
				for name, role := range r.Roles {
					if role.Threshold < 1 || len(role.KeyIDs) > maxKeyIDs {
						t.Fatalf("%s: %+v", name, role)
					}
				}
			case roleTargets:
				targets, err := readTargets(d, kind)
				if err != nil {
					continue
				}
				for name, file := range targets.Files {
					if file.Length < 0 || len(file.Hashes) == 0 {
						t.Fatalf("%s: %+v", name, file)
					}
				}
			default:
				l, err := readListing(d, kind)
				if err != nil {
					continue
				}
				for name, info := range l.meta {
					if info.version < 1 || info.length < 0 {
						t.Fatalf("%s: %+v", name, info)
					}
				}
			}
		}
	})
}

// FuzzPattern: a pattern delegates what go-tuf takes it to delegate, or is refused;
// none leads over a separator.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{"a/*", "*", "?/b", "[a-c]/x", "[!a]/x", "[", `\*`, "a*b/*c", ""} {
		f.Add(p, "a/x")
	}
	f.Fuzz(func(t *testing.T, pattern, target string) {
		if checkPattern(pattern) != nil {
			return
		}
		d := Delegation{Paths: []string{pattern}}
		theirs, err := (&metadata.DelegatedRole{Paths: []string{pattern}}).IsDelegatedPath(target)
		if err != nil || theirs != d.Delegates(target) {
			t.Fatalf("%q for %q: %v, go-tuf %v", pattern, target, d.Delegates(target), theirs)
		}
		if d.Delegates(target) && strings.Count(pattern, "/") != strings.Count(target, "/") {
			t.Fatalf("%q leads to %q", pattern, target)
		}
	})
}
