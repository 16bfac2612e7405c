// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestParseCustom: what the metadata says of a release is understood as a whole or not at all.
func TestParseCustom(t *testing.T) {
	widget := locator(t, "https://github.com/acme/widget")
	for text, want := range map[string]*ReleaseOf{
		"":                    nil,
		`{}`:                  nil,
		`{"status":"Active"}`: nil,
		`{"repopolicy":{"repository":"https://github.com/acme/widget"}}`:                         {widget, ""},
		`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"v1.2.3"},"x":null}`: {widget, "v1.2.3"},
	} {
		var raw json.RawMessage
		if text != "" {
			raw = json.RawMessage(text)
		}
		got, err := ParseCustom(raw)
		if err != nil || (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if want == nil {
			continue
		}
		if again, err := ParseCustom(want.Custom()); err != nil || *again != *want {
			t.Errorf("%s is read as %+v: %v", want.Custom(), again, err)
		}
	}
	for _, text := range []string{
		`[]`, `"x"`, `null`, `1`, `{"repopolicy":null}`, `{"repopolicy":[]}`,
		`{"repopolicy":"https://github.com/acme/widget"}`,
		`{"repopolicy":{}}`, `{"repopolicy":{"tag":"v1"}}`, `{"repopolicy":{"repository":"acme/widget"}}`,
		`{"repopolicy":{"repository":"https://github.com/acme/widget.git"}}`,
		`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":""}}`,
		`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":null}}`,
		`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"refs/../x"}}`,
		`{"repopolicy":{"repository":"https://github.com/acme/widget","Tag":"v1"}}`,
		`{"repopolicy":{"repository":1}}`,
	} {
		if got, err := ParseCustom(json.RawMessage(text)); err == nil {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}

// FuzzParseCustom: what is read is written as something that is read as the same.
func FuzzParseCustom(f *testing.F) {
	f.Add(`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"v1"}}`)
	f.Add(`{"repopolicy":{"repository":"https://git.example:8443/a/b"},"x":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseCustom(json.RawMessage(text))
		if err != nil || r == nil {
			return
		}
		if again, err := ParseCustom(r.Custom()); err != nil || *again != *r {
			t.Fatalf("%+v is read again as %+v: %v", r, again, err)
		}
	})
}

// TestAt: a root is found by the place of its repository, whatever its spelling and its tag.
func TestAt(t *testing.T) {
	c := &Config{Dir: "/etc/acme", Roots: []NamedRoot{
		{Name: "web", URL: "https://tuf.acme.example/tree"}, {Name: "registry", URL: "oci:r.example/acme/packages:v1"},
		{Name: "layout", URL: "oci-layout:layout"}, {Name: "dir", URL: "tree"}, {Name: "again", URL: "./x/../tree/"},
	}}
	for address, want := range map[string][]string{
		"https://tuf.acme.example/tree": {"web"}, "https://TUF.acme.example/tree/": {"web"},
		"https://tuf.acme.example/Tree": nil, "https://tuf.acme.example": nil, "http://tuf.acme.example/tree": nil,
		"https://tuf.acme.example:8443/tree": nil, "https://tuf.acme.example/tree/x": nil,
		"oci:r.example/acme/packages": {"registry"}, "oci:r.example/acme/packages:v2": {"registry"},
		"oci:r.example/acme/packages2": nil, "oci:r.example:5000/acme/packages": nil,
		"oci-layout:/etc/acme/layout": {"layout"}, "oci-layout:/etc/acme/layout:v1": {"layout"}, "/etc/acme/layout": nil,
		"/etc/acme/tree": {"dir", "again"}, "/etc/acme/tree/../tree": {"dir", "again"}, "oci-layout:/etc/acme/tree": nil,
		"tree": nil,
	} {
		if got := c.At(address); !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", address, got, want)
		}
	}
	if got := (*Config)(nil).At("/x"); got != nil {
		t.Errorf("without a map: %q", got)
	}
}
