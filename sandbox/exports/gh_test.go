// SPDX-License-Identifier: Apache-2.0

package exports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/propose/export"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestGHReal runs an exported command with the real gh: the release of a workflow as `init` writes
// it is accepted, and no other. Only the tests' own root, the bundle and the name of its
// authority are added.
func TestGHReal(t *testing.T) {
	gh := sigstoretest.GH(t)
	inst := sigstoretest.New(t)
	dir := t.TempDir()
	var root bytes.Buffer
	if err := json.Compact(&root, inst.Root(sigstoretest.RootOptions{})); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("root.jsonl", append(root.Bytes(), '\n'))
	for name, c := range map[string]struct {
		change  func(r *sigstoretest.Request)
		subject string
		allowed bool
	}{
		"widget_1.tar.gz": {func(*sigstoretest.Request) {}, "widget_1.tar.gz", true},
		"widget_2.tar.gz": {func(r *sigstoretest.Request) {
			r.SAN = "https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main"
			r.Extensions[9], r.Extensions[18], r.Extensions[14] = r.SAN, r.SAN, "refs/heads/main"
		}, "widget_2.tar.gz", false},
		"widget_3.tar.gz": {func(r *sigstoretest.Request) { r.Extensions[20] = "schedule" }, "widget_3.tar.gz", false},
		"widget_4.tar.gz": {func(*sigstoretest.Request) {}, "other", false},
		"widget_5.tar.gz": {func(r *sigstoretest.Request) { r.Extensions[11] = "self-hosted" }, "widget_5.tar.gz", false},
	} {
		r := sigstoretest.Workflow("v1.2.3")
		r.Extensions = maps.Clone(r.Extensions)
		c.change(&r)
		r.Statement = fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,"digest":`+
			`{"sha256":%q}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`, c.subject, sum(name))
		write(name, []byte(name))
		write(name+".sigstore.json", inst.Sign(r))
		text, err := export.Export("gh", export.Request{Doc: sample(t), Rule: "release", Artifact: name, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		text = strings.Replace(text, "gh attestation verify ",
			`"$GH" attestation verify --custom-trusted-root root.jsonl --bundle `+name+".sigstore.json ", 1)
		text = strings.Replace(text, "CN=sigstore-intermediate,O=sigstore.dev", "CN=intermediate,O=sigstoretest", 1)
		cmd := exec.Command("sh", "-ec", text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GH="+gh, "GH_TOKEN=none", "GH_CONFIG_DIR="+dir, "GH_NO_UPDATE_NOTIFIER=1")
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.allowed || c.allowed && !strings.Contains(string(out), "allowed by rule release") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
