// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"strings"
	"testing"
)

type small struct {
	Schema string `json:"schema"`
	Count  int    `json:"count,omitempty"`
}

func TestDocument(t *testing.T) {
	for text, want := range map[string]string{ // "" for what is read
		`{"schema":"a","count":1}`:                     "",
		"{\n \"schema\": \"a<b\"\n}\n":                 "",
		`{"schema":"a","count":1,"more":1}`:            "not known",
		`{"schema":"` + strings.Repeat("a", 64) + `"}`: "at most 64",
	} {
		var d small
		err := Document([]byte(text), 64, &d, "schema", "count")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for text, want := range map[string]string{
		`{"schema":"a<b","count":1}`:        "",
		`{"schema":"a"}`:                    "",
		`{"schema":"a"} `:                   "canonical",
		`{"schema":"a","count":0}`:          "canonical",
		`{"count":1,"schema":"a"}`:          "canonical",
		`{"schema":"a","schema":"a"}`:       "canonical",
		`{"schema":"a","more":1}`:           "canonical",
		`{"schema":"\u0061"}`:               "canonical",
		`{"schema":null}`:                   "canonical",
		`{"schema"`:                         "unexpected end",
		`"` + strings.Repeat("a", 64) + `"`: "at most 64",
	} {
		d, err := Canonical[small]([]byte(text), 64)
		if want == "" && (err != nil || string(Compact(d)) != text) {
			t.Errorf("%s: %+v, %v", text, d, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if got := string(Indented(small{"a<b", 1})); got != "{\n \"schema\": \"a<b\",\n \"count\": 1\n}\n" {
		t.Errorf("%q", got)
	}
}
