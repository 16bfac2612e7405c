// SPDX-License-Identifier: Apache-2.0

package clip_test

import (
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/clip"
)

func TestClip(t *testing.T) {
	a := strings.Repeat("a", 77)
	for name, c := range map[string]struct{ in, want string }{
		"nothing":                   {"", ""},
		"short":                     {a + "bcd", a + "bcd"},
		"long":                      {a + "bcde", a + "bcd"},
		"before a character":        {a + "bcdé", a + "bcd"},
		"within a character":        {a + "bcé", a + "bc"},
		"within the longest":        {a + "\U0001F600b", a},
		"a character that fits":     {a + "b\u00e9c", a + "b\u00e9"},
		"what is not UTF-8":         {strings.Repeat("\x80", 90), strings.Repeat("\x80", 80)},
		"what begins as UTF-8 does": {strings.Repeat("\xf0", 90), strings.Repeat("\xf0", 80)},
	} {
		if got := clip.Text(c.in); got != c.want {
			t.Errorf("%s: text %q", name, got)
		}
		if got := clip.Bytes([]byte(c.in)); got != c.want {
			t.Errorf("%s: bytes %q", name, got)
		}
	}
	if got := clip.To("é", 0); got != "" {
		t.Errorf("at most nothing: %q", got)
	}
}
