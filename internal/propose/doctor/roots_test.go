// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// TestRootKey: a key that its root does not vouch for is in order only if the rule says until
// when it counted, and one of which nothing is known is not looked at.
func TestRootKey(t *testing.T) {
	const key = "-----BEGIN PUBLIC KEY-----\n" +
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWBkC8h/nPDK16nQDrlatHtz6nZ7p\n" +
		"aley1zXDpLyQKczrOD2WEOFyugWYgyZpmNAAnQcTv4v8gZG3Xuy6UPntgQ==\n-----END PUBLIC KEY-----\n"
	at := policy.RootTarget{Root: "public-good", Path: "artifact.pub"}
	until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		until time.Time
		fact  policy.RootFact
		want  policy.Reason
		says  string
	}{
		{time.Time{}, at.Listed("Active", []byte(key)), "", "is active, sha256:"},
		{time.Time{}, at.Listed("Expired", []byte(key)), policy.DoctorDrift, "has expired"},
		{until, at.Listed("Expired", []byte(key)), "", "has expired"},
		{time.Time{}, at.Unlisted(), policy.DoctorDrift, "is not listed any more"},
		{until, at.Unlisted(), "", "is not listed any more"},
		{until, at.Listed("", []byte(key)), policy.DoctorDrift, "must be"},
		{until, at.Listed("Active", nil), policy.DoctorDrift, "no key"},
		{until, at.Unknown(policy.TrustRootMissing, "it is gone"), policy.DoctorUnread, "it is gone"},
		{until, policy.RootFact{}, policy.DoctorUnread, "not looked at"},
	} {
		f := RootKey(&policy.Rule{Name: "key", Until: c.until}, at, c.fact)
		if f.Check != Roots || f.Subject != "rule key" || f.Reason != c.want || !strings.Contains(f.Text, c.says) ||
			(f.Do == "") != (c.want == "") {
			t.Errorf("%+v, want %q: %s", f, c.want, c.says)
		}
	}
}
