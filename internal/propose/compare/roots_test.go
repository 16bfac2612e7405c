// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"slices"
	"strings"
	"testing"
)

// TestRoots: keys of trust roots and targets are compared, and an until that lets what a withdrawn
// key signed count allows something.
func TestRoots(t *testing.T) {
	const pem = `-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWBkC8h/nPDK16nQDrlatHtz6nZ7p\n` +
		`aley1zXDpLyQKczrOD2WEOFyugWYgyZpmNAAnQcTv4v8gZG3Xuy6UPntgQ==\n-----END PUBLIC KEY-----\n`
	const id = "sha256:bfe184d1ce2dfc7624c5f2659517cc45da3d57764ab5216ad19c18d48decf9b2"
	rule := func(signer, more string) string {
		return top + people + "[[release]]\nname = \"r\"\ntags = \"any\"\nartifacts = [\"widget_*\"]\n" + signer + "\n" + more
	}
	key := func(more string) string { return `keys = [{ root = "public-good", target = "a.pub"` + more + ` }]` }
	tuf := func(role, path string) string {
		return `tuf = { root = "public-good", role = "` + role + `", path = "` + path + `" }`
	}
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{rule(key(""), ""), rule(key(`, pem = "`+pem+`"`), ""), []string{
			"- release.r.keys: key a.pub of public-good → ",
			"+ release.r.keys:  → key a.pub of public-good, which is " + id + " !",
		}},
		{rule(key(""), ""), rule(key(""), "until = 2026-01-01T00:00:00Z\n"), []string{
			"+ release.r.until:  → 2026-01-01T00:00:00Z !",
		}},
		{rule(key(""), "until = 2026-01-01T00:00:00Z\n"), rule(key(""), "until = 2025-01-01T00:00:00Z\n"), []string{
			"~ release.r.until: 2026-01-01T00:00:00Z → 2025-01-01T00:00:00Z",
		}},
		{rule(key(""), "until = 2026-01-01T00:00:00Z\n"), rule(key(""), ""), []string{
			"- release.r.until: 2026-01-01T00:00:00Z →  !",
		}},
		{rule(`keys = ["`+pem+`"]`, ""), rule(key(""), ""), []string{
			"- release.r.keys: key " + id + " → ", "+ release.r.keys:  → key a.pub of public-good !",
		}},
		{rule(tuf("a", "{name}"), ""), rule(tuf("b", "x/{name}"), ""), []string{
			"~ release.r.tuf.role: a → b !", "~ release.r.tuf.path: {name} → x/{name} !",
		}},
		{rule(tuf("a", "{name}"), ""), rule(key(""), ""), []string{
			"+ release.r.keys:  → key a.pub of public-good !",
			"- release.r.tuf.root: public-good → ", "- release.r.tuf.role: a → ", "- release.r.tuf.path: {name} → ",
		}},
		{top + people + "#", rule(tuf("a", "{name}"), ""), []string{
			"+ release:  → r: what the trust root public-good lists by its role a for widget_* of tags any !",
		}},
		{top + people + "#", rule(key(""), ""), []string{
			"+ release:  → r: key a.pub of public-good for widget_* of tags any !",
		}},
	} {
		var got []string
		for _, x := range Policies(parse(t, c.from), parse(t, c.to)) {
			got = append(got, line(x))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}
