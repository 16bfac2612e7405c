// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"errors"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestCollectBudget: what statements say counts against the budget, each once however
// many sign it, and where it does not fit there is no chain instead of a shorter one.
func TestCollectBudget(t *testing.T) {
	f := bindtest.NewForge(t)
	f.At = sigstoretest.Now.Add(-300 * time.Hour)
	var files []bindings.File
	previous := ""
	for v := 1; v <= 5; v++ {
		payload, digest := f.Statement(bindtest.TextOf(v, "alice", ""), previous)
		previous = digest
		for _, data := range [][]byte{
			f.Sign(payload, "alice"), f.Bind(payload, bindtest.Widget, "1001", sigstoretest.LogV2),
		} {
			files = append(files, bindings.File{Name: bindings.SignatureName(v, data, false), Data: data})
		}
	}
	r := bindings.Resolver{Root: f.Trust(f.Inst), Now: sigstoretest.Now}
	b := budget.New(1 << 20)
	res, err := r.Resolve(budget.With(t.Context(), b), bindtest.Locator(t, bindtest.Widget), files)
	if err != nil || len(res.Chain.Versions()) != 5 || b.Used() == 0 {
		t.Fatalf("%v, %d bytes", err, b.Used())
	}
	whole := b.Used()
	for _, limit := range []int64{1, whole / 5, whole - 1} {
		res, err := r.Resolve(budget.With(t.Context(), budget.New(limit)), bindtest.Locator(t, bindtest.Widget), files)
		if res != nil || !errors.As(err, new(*budget.Exceeded)) {
			t.Errorf("%d of %d: %v", limit, whole, err)
		}
	}
}
