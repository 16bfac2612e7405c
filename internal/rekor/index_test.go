// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/rekor"
)

// FuzzIndex: what is read are names whose leaf is known, as many as were listed.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{
		"[]", "null", `["` + strings.Repeat("a", 64) + `"]`, `["` + strings.Repeat("a", 80) + `",""]`, `[1]`, `{}`, "[[]]",
		`["\u0061"]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := rekor.ParseIndex(data)
		if err != nil {
			if names != nil {
				t.Fatal("names beside an error")
			}
			return
		}
		var want []any
		if err := json.Unmarshal(data, &want); err != nil || len(want) != len(names) || want == nil {
			t.Fatalf("%d names, %d were listed: %v", len(names), len(want), err)
		}
		for i, n := range names {
			hash, ok := rekor.LeafOfUUID(n)
			if raw, err := hex.DecodeString(hash); !ok || err != nil || len(raw) != 32 || want[i] != n {
				t.Fatalf("%q", n)
			}
		}
	})
}
