// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// carriedFile writes a file for the air gap.
func carriedFile(t *testing.T, repo string, evidence map[string][]byte) string {
	t.Helper()
	l, err := policy.ParseLocator(repo)
	check(t, err)
	b := airgap.New()
	b.Repository, b.Made, b.Evidence = l, sigstoretest.Now, evidence
	data, err := b.Encode()
	check(t, err)
	path := filepath.Join(t.TempDir(), "widget.airgap")
	check(t, os.WriteFile(path, data, 0o600))
	return path
}

// TestAirgapQuestion: the command line says which repository is meant, never the file.
func TestAirgapQuestion(t *testing.T) {
	env := place(t)
	env.Transport = unasked{t}
	state := t.TempDir()
	env.StateDir = func() (string, error) { return state, nil }
	env.ConfigDir = func() (string, error) { return "", nil }
	var out bytes.Buffer
	env.Stdout, env.Stderr = &out, &out
	widget, host := carriedFile(t, "https://github.com/acme/widget", nil), carriedFile(
		t, "https://git.example:8443/acme/~widget", nil,
	)
	digest := strings.Repeat("0a", 32)
	for name, repo := range map[string]string{"widget.lock": "acme/widget", "other.lock": "acme/other"} {
		check(
			t,
			os.WriteFile(
				name,
				fmt.Appendf(
					nil, `{"schema":%q,"repository":"https://github.com/%s","chain":[%q]}`,
					report.SchemaURL("lock-v1"), repo, digest,
				),
				0o600,
			),
		)
	}
	check(
		t,
		os.WriteFile(
			"twice.lock",
			fmt.Appendf(
				nil,
				`{"schema":%q,"repository":"https://github.com/acme/other","repository":"https://github.com/acme/widget",`+
					`"chain":[%q]}`,
				report.SchemaURL("lock-v1"), digest,
			),
			0o600,
		),
	)
	for _, verb := range []string{"verify", "explain"} {
		for _, c := range []struct{ args, says string }{
			{widget, "which repository?"},
			{widget, "repopolicy verify -R https://github.com/acme/widget --airgap"},
			{widget + " -q", "which repository?"},
			{widget + " --format json", "which repository?"},
			{widget + " --tag v1.2.3 --require first,none", "which repository?"},
			{
				widget + " --certificate-identity alice@example.com --certificate-oidc-issuer https://accounts.google.com",
				"which repository?",
			},
			{widget + " -b widget_1.sigstore.json", "which repository?"},
			{host, "-R https://git.example:8443/acme/~widget --airgap"},
			{widget + " -R acme/other", "is about https://github.com/acme/widget, not about https://github.com/acme/other"},
			{widget + " -R not:a/repository", "--repo: "},
			{widget + " --lock other.lock", "is about https://github.com/acme/widget, not about https://github.com/acme/other"},
			{widget + " --lock twice.lock", "stands twice"},
			{widget + " --lock missing.lock", "--lock"},
			{widget + " -R acme/other --lock widget.lock", "not about https://github.com/acme/other"},
			{widget + " -R acme/widget --lock other.lock", "--lock: other.lock is about"},
			{
				widget + " --lock widget.lock --pin sha256:" + strings.Repeat("0b", 32),
				"--pin and --lock name different first statements",
			},
			{widget + " --pin sha256:zz", "--pin: not a digest"},
			{widget + " --policy policy.toml", "contradict"},
			{widget + " -R acme/widget --git .", "contradict"},
			{widget + " -R acme/widget --from oci://ghcr.io/acme/widget", "contradict"},
		} {
			out.Reset()
			args := append([]string{verb, "widget_1", "--airgap"}, strings.Fields(c.args)...)
			if code := Main(args, env); code != policy.ClassUsage.Exit() || !strings.Contains(out.String(), c.says) ||
				strings.Contains(out.String(), "allowed") {
				t.Errorf("%v: exit %d, no %q in\n%s", args, code, c.says, out.String())
			}
		}
		// A question that was asked goes on to the trust root, which is not there.
		for _, how := range []string{
			"-R acme/widget", "-R https://github.com/acme/widget.git", "--lock widget.lock", "--pin sha256:" + digest,
		} {
			args := append([]string{verb, "widget_1", "--airgap", widget}, strings.Fields(how)...)
			if code := Main(args, env); code != policy.ClassUnavailable.Exit() {
				t.Errorf("%v: exit %d", args, code)
			}
		}
	}
}

// TestCarriedNames: evidence keeps its name across the gap, and its company.
func TestCarriedNames(t *testing.T) {
	t.Chdir(t.TempDir())
	files := map[string]string{
		"a/x.sig": "1", "a/x.pem": "2", "b/x.sig": "3", "b/x.pem": "4", "b/SHA256SUMS": "5", "c/x.pem": "6", "c/y": "",
		"d/v1-0.approval.sigstore.json": "7", "d/sha256:" + strings.Repeat("ab", 32) + ".jsonl": "8",
	}
	for name, data := range files {
		check(t, os.MkdirAll(filepath.Dir(name), 0o700))
		check(t, os.WriteFile(name, []byte(data), 0o600))
	}
	given := slices.Sorted(maps.Keys(files))
	packed, err := pack(append(given, "a/x.sig", "./a/x.sig")) // again
	check(t, err)
	want := map[string]string{
		"x.sig": "1", "x.pem": "2", "2/x.sig": "3", "2/x.pem": "4", "2/SHA256SUMS": "5", "3/x.pem": "6", "3/y": "",
		"v1-0.approval.sigstore.json": "7", "sha256-" + strings.Repeat("ab", 32) + ".jsonl": "8",
	}
	if len(packed) != len(want) {
		t.Errorf("%q", slices.Sorted(maps.Keys(packed)))
	}
	for name, data := range want {
		if got, ok := packed[name]; !ok || string(got) != data {
			t.Errorf("%s: %q %t", name, got, ok)
		}
	}
	if _, err := pack([]string{"nowhere"}); err == nil {
		t.Error("a file that is not there is carried")
	}

	packed["X.SIG"] = []byte("9") // of another producer
	packed["2"] = []byte("10")    // where a folder is called so, too
	b, err := airgap.Parse(must(os.ReadFile(carriedFile(t, "https://github.com/acme/widget", packed))))
	check(t, err)
	dir := t.TempDir()
	paths, err := b.Unpack(dir)
	check(t, err)
	got := map[string]string{} // content -> path
	for _, p := range paths {
		data, err := os.ReadFile(p)
		check(t, err)
		got[string(data)] = p
	}
	if len(got) != len(packed) {
		t.Errorf("%d of %d files: %v", len(got), len(packed), got)
	}
	for name, data := range packed {
		if filepath.Base(got[string(data)]) != filepath.Base(name) {
			t.Errorf("%s is called %s", name, got[string(data)])
		}
	}
	together := func(a, b string) bool { return filepath.Dir(got[a]) == filepath.Dir(got[b]) }
	if !together("3", "4") || !together("3", "5") || together("1", "3") || together("4", "6") || together("1", "9") {
		t.Errorf("%v", got)
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
