// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/sandbox"
)

// alone is set in a process that runs one test with a stack of its own: the log of
// Rekor v1 in memory cannot read entries of which another test made copies.
const alone = "E2E_ALONE"

// TestDirectoryV1: where the trusted root has no log of Rekor v2, a directory reads
// Rekor v1, entry by entry, and an auditor does.
func TestDirectoryV1(t *testing.T) {
	if os.Getenv(alone) == "" {
		self, err := os.Executable()
		check(t, err)
		cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), alone+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	const name = "acme/in-v1"
	files := bindAs(t, name, true)
	for _, other := range []string{"acme/in-v1-too", "acme/in-v1-hidden"} {
		bindAs(t, other, other == "acme/in-v1-too")
	}
	o := newOperator(t)
	check(t, os.WriteFile(o.root, v1Alone(t), 0o600))
	o.build()
	bindAs(t, "acme/in-v1-late", true)
	o.build()
	o.audit(policy.ClassOK)
	trusted, err := sigstore.ParseRoot("v1", v1Alone(t))
	check(t, err)
	m := newMachine(t)
	m.root = trusted
	res := m.resolve(name, files, o.lookup(m))
	if r := res.Chain.Reason(); r != "" || len(res.Failed) > 0 || res.Chain.View().Completeness != chain.CompleteSigned {
		t.Errorf("%s %s %+v %v", r, res.Chain.View().Completeness, res.Chain.Problems(), res.Failed)
	}
	for name, want := range map[string]int{"acme/in-v1": 1, "acme/in-v1-too": 1, "acme/in-v1-hidden": 1, "acme/in-v1-late": 1, "acme/not-in-v1": 0} {
		l, err := policy.NormalizeLocator(name)
		check(t, err)
		found, err := o.lookup(m).Find(t.Context(), bindings.Query{Repository: l})
		if err != nil || len(found.Leaves) != want {
			t.Errorf("%s: %d bindings, %v", name, len(found.Leaves), err)
		}
	}
	for range 6 {
		if code, _, talk := o.run(60*time.Millisecond, o.buildArgs()...); code > 0 {
			t.Fatalf("exit %d\n%s", code, talk)
		}
	}
	o.build()
	o.audit(policy.ClassOK)
	entries, err := os.ReadDir(filepath.Join(o.site, "statement"))
	if err != nil || len(entries) == 0 {
		t.Errorf("%d statements, %v", len(entries), err)
	}
}

// v1Alone is the trusted root without the logs of Rekor v2.
func v1Alone(t testing.TB) []byte { return ofGeneration(t, 1) }

// ofGeneration is the trusted root with the logs of one generation.
func ofGeneration(t testing.TB, generation int) []byte {
	t.Helper()
	var root map[string]any
	check(t, json.Unmarshal(stack.TrustedRoot(), &root))
	var keep []any
	for _, l := range root["tlogs"].([]any) {
		if (l.(map[string]any)["baseUrl"] == stack.URL(sandbox.RekorV1)) == (generation == 1) {
			keep = append(keep, l)
		}
	}
	if len(keep) != 1 {
		t.Fatalf("%d logs of Rekor v%d", len(keep), generation)
	}
	root["tlogs"] = keep
	data, err := json.Marshal(root)
	check(t, err)
	return data
}
