// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// mlDSA is a key of an algorithm that no program of today knows, over so many bytes of a key.
const mlDSA = "-----BEGIN PUBLIC KEY-----\\nMBIwCwYJYIZIAWUDBAMSAwMAAQI=\\n-----END PUBLIC KEY-----\\n"

// TestNewerAlgorithm: a policy is for a newer program only if nothing but its algorithms is
// unknown in it, however much else is wrong and wherever that stands.
func TestNewerAlgorithm(t *testing.T) {
	member := func(i int) string {
		return fmt.Sprintf("[[maintainers.member]]\nname = \"m%d\"\nkeys = [\"%s\"]\n", i, mlDSA)
	}
	text := func(members int, before, after string) string {
		var b strings.Builder
		b.WriteString("format = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = 1\n")
		b.WriteString("expires = 2027-01-01T00:00:00Z\n" + before + "[maintainers]\nthreshold = 1\n")
		for i := range members {
			b.WriteString(member(i))
		}
		return b.String() + after
	}
	person := "[[maintainers.member]]\nname = \"a\"\n" +
		"identities = [{ email = \"a@example.com\", issuer = \"https://accounts.google.com\" }]\n"
	for name, c := range map[string]struct {
		text string
		want Reason
	}{
		"one key":                 {text(1, "", ""), PolicyNewerFormat},
		"as many as there may be": {text(maxMembers, "", ""), PolicyNewerFormat},
		"a fault before it":       {text(1, "unknown = 1\n", ""), PolicyUnknownKey},
		"a fault after it":        {text(1, "", "unknown = 1\n"), PolicyUnknownKey},
		// More problems than are reported, of which only those after them are faults.
		"faults after many":  {text(maxMembers, "", "[[release]]\nname = \"x\"\n"), PolicyMissing},
		"a key that is none": {text(1, "", "[[maintainers.member]]\nname = \"x\"\nkeys = [\"x\"]\n"), PolicyValue},
		"revoked":            {text(0, "", person+"[[revoked]]\nkey = \""+mlDSA+"\"\n"), PolicyNewerFormat},
	} {
		doc, err := Parse([]byte(c.text))
		var pe *ParseError
		if doc != nil || !errors.As(err, &pe) || pe.Reason() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
