// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"errors"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestCollectBudget: what statements say counts against the budget, each once however
// many sign it, and where it does not fit there is no chain instead of a shorter one.
func TestCollectBudget(t *testing.T) {
	f := newForge(t)
	f.at = sigstoretest.Now.Add(-300 * time.Hour)
	var files []File
	previous := ""
	for v := 1; v <= 5; v++ {
		payload, digest := f.statement(textOf(v, "alice", ""), previous)
		previous = digest
		for _, data := range [][]byte{f.sign(payload, "alice"), f.bind(payload, widget, "1001", sigstoretest.LogV2)} {
			files = append(files, File{SignatureName(v, data, false), data})
		}
	}
	r := Resolver{Root: f.trust(f.inst), Now: sigstoretest.Now}
	b := budget.New(1 << 20)
	res, err := r.Resolve(budget.With(t.Context(), b), locator(t, widget), files)
	if err != nil || len(res.Chain.Versions()) != 5 || b.Used() == 0 {
		t.Fatalf("%v, %d bytes", err, b.Used())
	}
	whole := b.Used()
	for _, limit := range []int64{1, whole / 5, whole - 1} {
		res, err := r.Resolve(budget.With(t.Context(), budget.New(limit)), locator(t, widget), files)
		if res != nil || !errors.As(err, new(*budget.Exceeded)) {
			t.Errorf("%d of %d: %v", limit, whole, err)
		}
	}
}
