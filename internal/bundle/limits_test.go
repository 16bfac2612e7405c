// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func repeat(element string, n int) string {
	return strings.TrimSuffix(strings.Repeat(element+",", n), ",")
}

// TestLimits: as many as are read, and one more.
func TestLimits(t *testing.T) {
	material := func(s string) string { return `{"verificationMaterial":{` + s + `}}` }
	read := map[string]func([]byte) error{
		"bundle": func(b []byte) error { _, err := Parse(b); return err },
		"entry":  func(b []byte) error { _, err := ParseEntry(b); return err },
		"root":   func(b []byte) error { _, err := ParseTrustedRoot(b); return err },
		"config": func(b []byte) error { _, err := ParseSigningConfig(b); return err },
	}
	zeros := func(n int) string {
		return strings.Repeat("A", (n/3)*4) + map[int]string{0: "", 1: "AA==", 2: "AAA="}[n%3]
	}
	list := func(n int) string { return "[" + repeat("1", n-1) + "]" } // n values
	for _, row := range []struct {
		kind, name string
		most       int
		doc        func(n int) string
	}{
		{"bundle", "bytes", MaxBytes, func(n int) string { return `{"mediaType":"` + strings.Repeat("a", n-16) + `"}` }},
		{"entry", "bytes", MaxBytes, func(n int) string { return "{}" + strings.Repeat(" ", n-2) }},
		{"root", "bytes", MaxRootBytes, func(n int) string { return "{}" + strings.Repeat(" ", n-2) }},
		{"config", "bytes", MaxBytes, func(n int) string { return "{}" + strings.Repeat(" ", n-2) }},
		{"bundle", "values", MaxValues, func(n int) string {
			return `{"dsseEnvelope":{"signatures":[` + repeat("{}", (n-4+1)/2) + `]` +
				strings.Repeat(`,"payload":null`, (n-4+1)%2) + `}}`
		}},
		{"config", "values", MaxValues, func(n int) string {
			return `{"caUrls":[` + repeat("{}", (n-3+1)/2) + `]` + strings.Repeat(`,"oidcUrls":null`, (n-3+1)%2) + `}`
		}},
		{"root", "values", MaxRootValues, func(n int) string {
			return `{"tlogs":[` + repeat("{}", (n-3+1)/2) + `]` + strings.Repeat(`,"ctlogs":null`, (n-3+1)%2) + `}`
		}},
		{"bundle", "entries", MaxEntries, func(n int) string { return material(`"tlogEntries":[` + repeat("{}", n) + `]`) }},
		{"bundle", "stamps", MaxStamps, func(n int) string {
			return material(`"timestampVerificationData":{"rfc3161Timestamps":[` + repeat("{}", n) + `]}`)
		}},
		{"bundle", "certificates", MaxChain, func(n int) string {
			return material(`"x509CertificateChain":{"certificates":[` + repeat("{}", n) + `]}`)
		}},
		{"bundle", "certificate", MaxDERBytes, func(n int) string {
			return material(`"certificate":{"rawBytes":"` + zeros(n) + `"}`)
		}},
		{"bundle", "certificate of a chain", MaxDERBytes, func(n int) string {
			return material(`"x509CertificateChain":{"certificates":[{"rawBytes":"` + zeros(n) + `"}]}`)
		}},
		{"bundle", "stamp", MaxDERBytes, func(n int) string {
			return material(`"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"` + zeros(n) + `"}]}`)
		}},
		{"entry", "hashes", MaxProofHashes, func(n int) string {
			return `{"inclusionProof":{"hashes":[` + repeat(`"AA=="`, n) + `]}}`
		}},
		{"entry", "body", MaxValues, func(n int) string {
			body, err := json.Marshal([]byte(list(n)))
			if err != nil {
				t.Fatal(err)
			}
			return `{"canonicalizedBody":` + string(body) + `}`
		}},
	} {
		t.Run(row.kind+" "+row.name, func(t *testing.T) {
			if err := read[row.kind]([]byte(row.doc(row.most))); err != nil {
				t.Errorf("%d: %v", row.most, err)
			}
			var e *Error
			if err := read[row.kind]([]byte(row.doc(row.most + 1))); !errors.As(err, &e) || !e.TooLarge ||
				!strings.Contains(err.Error(), fmt.Sprint(row.most)) {
				t.Errorf("%d: %v", row.most+1, err)
			}
		})
	}
}
