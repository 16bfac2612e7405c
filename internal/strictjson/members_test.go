// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1,"b":[{}]}`: "", ` {} ` + "\n": "",
		``: "not a JSON object", `[]`: "not a JSON object", `null`: "not a JSON object",
		`{"a":1,"a":1}`: `the key "a" stands twice`,
		`{}{}`:          "something follows the JSON object",
		`{} x`:          "something follows the JSON object",
		`{"a"}`:         " ", `{"a":1`: "unexpected end", `{"a":[}`: "invalid",
	} {
		_, err := Members([]byte(in))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", in, err, want)
		}
	}
	object, err := Members([]byte(`{"text":"x","list":[1,2],"number":1,"null":null}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"text": true, "none": true, "list": false, "number": false, "null": false} {
		if _, err := Text(object, name); (err == nil) != want {
			t.Errorf("%s as text: %v", name, err)
		}
	}
	for name, want := range map[string]bool{"list": true, "none": true, "text": false, "number": false, "null": false} {
		if _, err := List(object, name); (err == nil) != want {
			t.Errorf("%s as a list: %v", name, err)
		}
	}
	for n, want := range map[int]bool{MaxElements: true, MaxElements + 1: false} {
		long := "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]"
		if _, err := Array([]byte(long)); (err == nil) != want {
			t.Errorf("%d elements: %v", n, err)
		}
	}
	if _, err := Array([]byte("[] []")); err == nil {
		t.Error("two lists are one")
	}
}

// FuzzMembers: what is taken apart is an object as encoding/json reads it, and nothing else.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"x"},null],"c":""} `))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Members(data)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil || len(want) != len(m) {
			t.Fatalf("%q: %d members, %d, %v", data, len(m), len(want), err)
		}
		for name, raw := range want {
			if !bytes.Equal(raw, m[name]) {
				t.Errorf("%q: %s is %s, want %s", data, name, m[name], raw)
			}
		}
	})
}
