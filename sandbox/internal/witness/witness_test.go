// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// FuzzParse demands that a request which is taken has one form only: written
// again it is the same bytes.
func FuzzParse(f *testing.F) {
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	f.Add("old 0\n\norigin\n1\n" + hash + "\n\n\u2014 origin AAAA\n")
	f.Add("old 17\n" + hash + "\n" + hash + "\n\norigin\n18\n")
	f.Add("old 07\n\n")
	f.Add("old 1\n" + hash + "\r\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		old, hashes, checkpoint, err := parse([]byte(body))
		if err != nil {
			return
		}
		var b strings.Builder
		fmt.Fprintf(&b, "old %d\n", old)
		for _, h := range hashes {
			fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h))
		}
		fmt.Fprintf(&b, "\n%s", checkpoint)
		if len(hashes) > maxProof || b.String() != body {
			t.Errorf("%q was read as %q", body, b.String())
		}
	})
}
