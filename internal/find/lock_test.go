// SPDX-License-Identifier: Apache-2.0

package find

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestLockSchema: the schema and the reader agree about lock files.
func TestLockSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../schema/lock-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("0a", 32)
	for _, c := range []struct {
		l  Lock
		ok bool
	}{
		{Lock{lockSchema, "https://github.com/acme/widget", []string{digest}}, true},
		{Lock{lockSchema, "https://github.com/acme/widget", []string{digest, digest}}, true},
		{Lock{strings.Replace(lockSchema, "v1", "v2", 1), "https://github.com/acme/widget", []string{digest}}, false},
		{Lock{lockSchema, "https://github.com/acme/widget", []string{}}, false},
		{Lock{lockSchema, "https://github.com/acme/widget", []string{digest[1:]}}, false},
		{Lock{lockSchema, "https://github.com/acme/widget", []string{strings.ToUpper(digest)}}, false},
	} {
		data, err := json.Marshal(c.l)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != c.ok {
			t.Errorf("%s: %v", data, err)
		}
		if err := c.l.check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", data, err)
		}
	}
}

// TestLockBeside: a lock file takes nothing from what the machine remembers.
func TestLockBeside(t *testing.T) {
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	for name, x := range map[string]struct{ lock, kept, want []string }{
		"no memory":         {[]string{a, b}, nil, []string{a, b}},
		"the same":          {[]string{a, b}, []string{a, b}, []string{a, b}},
		"an older file":     {[]string{a}, []string{a, b}, []string{a, b}},
		"a newer file":      {[]string{a, b, c}, []string{a, b}, []string{a, b, c}},
		"another version":   {[]string{a, b}, []string{a, c}, nil},
		"another beginning": {[]string{a}, []string{b, a}, nil},
	} {
		got, err := (&Lock{Chain: x.lock}).beside(chain.Kept{Chain: x.kept})
		var f *policy.Fault
		if x.want == nil {
			if !errors.As(err, &f) || f.Reason.Class() != policy.ClassAlarm {
				t.Errorf("%s: %v %v", name, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got.Chain, x.want) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// TestLockStrict: a lock file is read only as what every reader of JSON sees in it.
func TestLockStrict(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	good := `{"schema":"` + lockSchema + `","repository":"https://github.com/acme/widget","chain":["` + digest + `"]}`
	for old, new := range map[string]string{
		"":                 `"repository":"https://github.com/acme/other",`,
		`"chain"`:          `"chain":["` + strings.Repeat("0b", 32) + `"],"chain"`,
		`"repository":`:    `"Repository":`,
		`"repository"`:     `"REPOSITORY":"https://github.com/acme/other","repository"`,
		`"schema"`:         `"more":1,"schema"`,
		`["` + digest:      `[null,"` + digest,
		`"]}`:              `"]}{}`,
		`"chain":["`:       `"chain":null,"x":["`,
		`acme/widget`:      "acme/\xff",
		`{"schema"`:        `[{"schema"`,
		`"` + digest + `"`: `{"chain":"` + digest + `"}`,
	} {
		text := strings.Replace(good, old, new, 1)
		if old == "" {
			text = "{" + new + good[1:]
		}
		if l, err := ParseLock([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, l)
		}
	}
	if _, err := ParseLock([]byte(good)); err != nil {
		t.Error(err)
	}
}
