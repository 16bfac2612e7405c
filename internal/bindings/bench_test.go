// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// BenchmarkResolve1000 resolves a chain of 1,000 versions of two bundles each,
// all of which are verified anew.
func BenchmarkResolve1000(b *testing.B) {
	const versions = 1000
	f := bindtest.NewForge(b)
	files := f.Chain(versions)
	for b.Loop() {
		// A root remembers which certificates it verified.
		r := bindings.Resolver{Root: f.Trust(f.Inst), Now: sigstoretest.Now}
		res, err := r.Resolve(b.Context(), bindtest.Locator(b, bindtest.Widget), files)
		if err != nil {
			b.Fatal(err)
		}
		if n := len(res.Chain.Versions()); n != versions || res.Chain.Reason() != "" {
			b.Fatal(n, res.Chain.Problems())
		}
	}
}
