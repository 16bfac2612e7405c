// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/policy"
)

// TestNothingBeside: of a number that no answer about a name shows, the directory must prove that
// nothing is bound by it; whatever else it answers is none.
func TestNothingBeside(t *testing.T) {
	const free = "4004" // which bound nothing
	foreign, err := policy.ParseLocator("https://github.com/acme/renamed")
	check(t, err)
	own, err := policy.ParseLocator(repo)
	check(t, err)
	hash := prefixmap.KeyHash(foreign.String())
	ofForeign := fmt.Sprintf("/absent/%02x.json.gz", hash[:1])
	for _, row := range []struct {
		name   string
		asked  policy.Locator
		number string
		tamper func(s *site, path string, file []byte) []byte
		want   string // of the error; "" for an answer
	}{
		{"nothing by that number", foreign, free, nil, ""},
		{"bound under another name", foreign, "1001", nil, "something is bound under another name"},
		{"bound under this name", own, "1001", nil, ""},
		{"bound under this name by another number", own, free, nil, ""},
		{"an answer about somebody", foreign, free, func(s *site, path string, file []byte) []byte {
			if file == nil && strings.Contains(path, "/lookup/") {
				return s.Honest(repo)
			}
			return file
		}, "not about"},
		{"no answer", foreign, free, func(_ *site, path string, file []byte) []byte {
			if strings.Contains(path, "/absent/") && !strings.Contains(path, ofForeign) {
				return nil
			}
			return file
		}, "404"},
		{"bound, and hidden", foreign, "1001", func(_ *site, path string, file []byte) []byte {
			if strings.Contains(path, "/lookup/") {
				return nil
			}
			return file
		}, "no proof that there are no records"},
		{"bound, and the absence of another key", foreign, "1001", func(s *site, path string, file []byte) []byte {
			if strings.Contains(path, "/lookup/") {
				return nil
			}
			if dir, _, ok := strings.Cut(path, "/absent/"); ok {
				return s.File(dir + ofForeign)
			}
			return file
		}, "no proof that there are no records"},
		{"another state", foreign, free, func(s *site, path string, file []byte) []byte {
			if strings.Contains(path, "/absent/") && strings.Contains(path, ofForeign) {
				s.Build(built.Add(time.Minute)) // between the two questions
			}
			return file
		}, "another state"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			if row.tamper != nil {
				s.Tamper = func(path string, file []byte) []byte { return row.tamper(s, path, file) }
			}
			_, err := s.lookup(nil).Find(t.Context(), bindings.Query{Repository: row.asked, Beside: []string{row.number}})
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}
