// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"encoding/json"
	"encoding/json/jsontext"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
)

// TestStrict: what JSON readers take in more than one way is refused.
func TestStrict(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"an object":             {`{"a":1,"b":[true,false,null,"x"]}`, true},
		"white space":           {" {\n\t\"a\" : [ 1 , -2 ] }\r\n", true},
		"a key twice":           {`{"a":1,"a":1}`, false},
		"a key twice, escaped":  {`{"a":1,"\u0061":1}`, false},
		"a key twice, deep":     {`{"x":[{"a":1,"a":1}]}`, false},
		"two documents":         {`{}{}`, false},
		"text after it":         {`{} x`, false},
		"nothing":               {``, false},
		"cut":                   {`{"a":`, false},
		"cut array":             {`[1,2`, false},
		"a comma too many":      {`[1,]`, false},
		"a comma too many in {": {`{"a":1,}`, false},
		"no colon":              {`{"a" 1}`, false},
		"a fraction":            {`[1.5]`, false},
		"a whole fraction":      {`[1.0]`, false},
		"an exponent":           {`[1e2]`, false},
		"minus zero":            {`[-0]`, false},
		"a leading zero":        {`[01]`, false},
		"most":                  {`[9223372036854775807,-9223372036854775808]`, true},
		"more":                  {`[9223372036854775808]`, false},
		"not UTF-8":             {"[\"\xff\"]", false},
		"a control character":   {"[\"\x01\"]", false},
		"an escaped one":        {`["\u0001"]`, true},
		"a comment":             {`{/**/}`, false},
		"deep":                  {deep(maxDepth + 1), true},
		"too deep":              {deep(maxDepth + 2), false},
	} {
		if _, err := Canonical([]byte(c.in)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCanonical: the form of OLPC, and where JCS has another.
func TestCanonical(t *testing.T) {
	for _, c := range []struct{ in, want, jcs string }{
		{`{"b":1,"a":{"d":[],"c":{}}}`, `{"a":{"c":{},"d":[]},"b":1}`, `{"a":{"c":{},"d":[]},"b":1}`},
		{`["\"\\\/"]`, `["\"\\/"]`, `["\"\\/"]`},
		{`["\n\u0001\u007f\u2028<&"]`, "[\"\n\x01\x7f\u2028<&\"]", `["\n\u0001` + "\x7f\u2028<&\"]"},
		{`{"\ue000":1,"\ud83d\ude00":2}`, "{\"\ue000\":1,\"\U0001f600\":2}", "{\"\U0001f600\":2,\"\ue000\":1}"},
	} {
		got, err := Canonical([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v", c.in, got, err)
		}
		other := jsontext.Value(c.in)
		if err := other.Canonicalize(); err != nil || string(other) != c.jcs {
			t.Errorf("JCS of %s: %q, %v", c.in, other, err)
		}
	}
}

// FuzzCanonical: of every document that is accepted go-securesystemslib has the
// same form, and documents of the same form are the same to any reader.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		`{"b":1,"a":[null,true,"\u00e9\n\"\\"]}`, `{"a":1,"a":2}`, `[1e2]`, `"\ud800"`, `{"\ud83d\ude00":0,"\ue000":-7}`,
		`[9007199254740993]`, "\"\u2028<>&\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parse(data)
		if err != nil {
			return
		}
		form := v.appendCanonical(nil)
		var plain any
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		if err := dec.Decode(&plain); err != nil {
			t.Fatalf("accepted and not JSON: %v", err)
		}
		theirs, err := cjson.EncodeCanonical(plain)
		if err != nil || string(theirs) != string(form) {
			t.Fatalf("ours %q, theirs %q, %v", form, theirs, err)
		}
		raw, err := parse(v.raw)
		if err != nil || string(raw.appendCanonical(nil)) != string(form) {
			t.Fatalf("the bytes of the value %q are another document: %v", v.raw, err)
		}
	})
}
