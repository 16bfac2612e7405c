// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

// TestAuditText: the history of Sigstore's own root, as people read it. What there is of it
// ends where the repository does.
func TestAuditText(t *testing.T) {
	const golden = "testdata/sigstore.audit.txt"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := filepath.Abs("../trust/tuf/testdata/sigstore")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := os.ReadFile("../trust/testdata/sigstore.audit.json")
	if err != nil {
		t.Fatal(err)
	}
	env := place(t)
	text := fmt.Sprintf("format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"sigstore\"\nurl = %q\ninitial = %q\n", roots,
		filepath.Join(roots, "1.root.json"))
	if err := os.WriteFile("trust.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, year := range []int{2021, 2026, 2090} {
		for more, want := range map[string][]byte{"": want, "--json": asJSON} {
			var out, said bytes.Buffer
			env.Stdout, env.Stderr = &out, &said
			env.Now = func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
			args := strings.Fields("trust audit sigstore --trust-config trust.toml " + more)
			code := Main(args, env)
			if code != policy.ClassUnavailable.Exit() || !strings.Contains(said.String(), "timestamp.json") ||
				!strings.Contains(said.String(), "verified until there") {
				t.Errorf("exit %d: %s", code, said.String())
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Error(diff)
			}
		}
	}
}
