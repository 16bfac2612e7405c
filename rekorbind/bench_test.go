// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// BenchmarkResolve1000 resolves a chain of 1,000 versions of two bundles each,
// all of which are verified anew.
func BenchmarkResolve1000(b *testing.B) {
	const versions = 1000
	f := newForge(b)
	f.at = sigstoretest.Now.Add(-3000 * time.Hour)
	var files []File
	previous := ""
	for v := 1; v <= versions; v++ {
		payload, digest := f.statement(textOf(v, "alice", ""), previous)
		previous = digest
		for _, data := range [][]byte{f.sign(payload, "alice"), f.bind(payload, widget, "1001", sigstoretest.LogV2)} {
			files = append(files, File{SignatureName(v, data, false), data})
		}
	}
	for b.Loop() {
		// A root remembers which certificates it verified.
		r := Resolver{Root: f.trust(f.inst), Now: sigstoretest.Now}
		res, err := r.Resolve(b.Context(), locator(b, widget), files)
		if err != nil {
			b.Fatal(err)
		}
		if n := len(res.Chain.Versions()); n != versions || res.Chain.Reason() != "" {
			b.Fatal(n, res.Chain.Problems())
		}
	}
}
