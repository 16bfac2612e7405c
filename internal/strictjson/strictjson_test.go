// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type doc struct {
	Name   string          `json:"name"`
	List   []doc           `json:"list"`
	Bundle json.RawMessage `json:"bundle"`
}

var rules = Rules{Known: []string{"name", "list", "bundle"}, Opaque: "bundle"}

func TestDecode(t *testing.T) {
	loose := rules
	loose.Null = true
	for text, want := range map[string]string{ // "" for what is read
		`{}`:                                 "",
		` {"name":"a"} `:                     "",
		`{"list":[{"name":"a"}]}`:            "",
		`{"bundle":{"x":{"y":1}}}`:           "",
		`{"name":"a","name":"a"}`:            "stands twice",
		`{"name":"a","n\u0061me":"b"}`:       "stands twice",
		`{"list":[{"name":"a","name":"b"}]}`: "stands twice",
		`{"bundle":{"x":1,"x":1}}`:           "stands twice",
		`{"Name":"a"}`:                       "not known",
		`{"name":"a","NAME":"b"}`:            "not known",
		`{"list":[{"Name":"a"}]}`:            "not known",
		`{"other":1}`:                        "not known",
		`{"name":null}`:                      "null",
		`null`:                               "null",
		`{"name":"a"}{}`:                     "follows",
		`{"name":"a"} x`:                     "follows",
		"{\"name\":\"\xff\"}":                "UTF-8",
		"\ufeff{}":                           "invalid character",
		``:                                   "EOF",
		`{"name":"a"`:                        "unexpected end",
		`{"name":1}`:                         "cannot unmarshal",
		`[]`:                                 "cannot unmarshal",
		`{"list":` + strings.Repeat("[", MaxDepth) + "1":   "nested",
		`{"bundle":` + strings.Repeat(`{"a":`, MaxDepth+1): "nested",
	} {
		var d doc
		err := rules.Decode([]byte(text), &d)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err := loose.Decode([]byte(text), new(doc)); want != "null" && want != "" && err == nil ||
			(want == "null" || want == "") && err != nil {
			t.Errorf("%s with null: %v", text, err)
		}
	}
}

// FuzzDecode demands that what is read has one reading: it is what encoding/json reads,
// and written again and read again it is the same.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","list":[{"name":"b"}],"bundle":{"x":1}}`, `{"name":"a","name":"b"}`, `{"Name":"a"}`, `{"name":null}`,
		`{} {}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d, loose doc
		if rules.Decode(data, &d) != nil {
			return
		}
		if err := json.Unmarshal(data, &loose); err != nil || !reflect.DeepEqual(d, loose) {
			t.Fatalf("%q is read as %+v, and by encoding/json as %+v: %v", data, d, loose, err)
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(data, &keys); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for key := range keys {
			if key != "name" && key != "list" && key != "bundle" {
				t.Errorf("%q: the key %q is read", data, key)
			}
		}
	})
}
