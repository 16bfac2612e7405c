// SPDX-License-Identifier: Apache-2.0

package find

import (
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
)

// TestForges: whoever looks up asks by the forge table of the trusted root, and
// what was junk by another table is not remembered as junk by this one.
func TestForges(t *testing.T) {
	plain, err := sigstore.ParseRoot("public-good", sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	table, err := bindings.ParseForges(
		[]byte(`{"schema":"` + "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/forges-v1.json" +
			`","forges":[{"host":"git.example.com","kind":"github","issuers":["https://git.example.com/oidc"]}]}`),
	)
	if err != nil {
		t.Fatal(err)
	}
	state, err := memory.OpenState(t.TempDir() + "/state")
	if err != nil {
		t.Fatal(err)
	}
	f := &Finder{Now: time.Now}
	hints, scans := 0, 0
	for _, forges := range []*bindings.Forges{nil, table} {
		root := trust.Root{Root: plain, Forges: forges}
		watch, err := f.NewWatch(&Query{}, root, state)
		if err != nil {
			t.Fatal(err)
		}
		lookups, err := f.lookups(&Found{query: &Query{Scan: true}, Root: root, Watch: watch}, nil, state)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lookups {
			switch l := l.(type) {
			case *lookup.Hint:
				hints++
				junk := lookup.Looked{Name: strings.Repeat("a", 80)}
				if _, seen := l.Entries.Get(junk.Name); l.Forges != forges || seen {
					t.Errorf("%s: forge table %q, junk %v", l.Name(), l.Forges.Digest(), seen)
				}
				if err := l.Entries.Add([]lookup.Looked{junk}); err != nil {
					t.Fatal(err)
				}
			case *lookup.Scan:
				scans++
				if l.Forges != forges {
					t.Errorf("%s: forge table %q", l.Name(), l.Forges.Digest())
				}
			}
		}
	}
	if hints == 0 || scans != 2 {
		t.Errorf("%d indexes, %d scans", hints, scans)
	}
}
