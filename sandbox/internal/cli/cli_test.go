// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// TestMain lets a child process be the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_TEST_CLI") != "" {
		os.Exit(Main(os.Args[1:], Env{Name: "repopolicy-sandbox", Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

func run(args ...string) (code int, stdout, stderr string) {
	var out, talk bytes.Buffer
	code = Main(args, Env{Name: "repopolicy-sandbox", Stdout: &out, Stderr: &talk})
	return code, out.String(), talk.String()
}

func TestDemo(t *testing.T) {
	t.Parallel()
	code, out, talk := run("demo", "--more")
	if code != exitOK {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	for _, want := range []string{
		"starting: Fulcio", "ready after",
		"Issuer (.8)                              https://token.actions.githubusercontent.com\n",
		"Source Repository Identifier (.15)       4711\n", "Deployment Environment (.23)             release\n",
		"verified  the artifact, by its signature", "verified  the artifact, by the statement",
		"refused   a changed artifact\n             reason: ", "refused   a bundle of the fork mallory/widget\n             reason: ",
		"refused   a log entry whose place was changed\n             reason: ", "refused   a log entry taken from the other bundle\n             reason: ",
		"OK    widget_1.0.0.tar.gz  released by acme/widget v1.0.0 (release.yml, environment release)",
		"policy version 1 of 1, in force since", "first: yes (first)",
		"version none or 1 of 1: which was in force", "policy version 1 of 2, in force when it was logged", "[tag-mismatch]",
		"version 2 is bound, but not in force", "versions of the policy that were seen before are gone",
		"none of it proves that the repository spoke", "its statement is not at hand", "sees a policy that names her",
		"alarm: fork: another version 2 with a quorum took effect later", "there is an alarm, and --fail-on-alarm was given", "repopolicy-sandbox-rekorv1 demo",
		".place.json", "The release is found under acme/lathe.",
		"released by key sha256:", "`repopolicy log -R https://github.com/acme/gizmo` lists", "`repopolicy evidence show ", "[key-untrusted]", "lists it as gauge/v1.0.0/gauge.zip", "and nobody after it",
		"introduces  gauge for https://git.gauge.example/**", "by TUF alone; no policy was consulted",
		"released by gina@gauge.example", "in force by a certificate that was revoked",
		"Everything as announced",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		args string
		code int
		want string
	}{
		{"nonsense", exitUsage, "unknown command"},
		{"up --format yaml", exitUsage, "neither env nor json"},
		{"up --rekor-v1", exitUsage, "repopolicy-sandbox-rekorv1"},
		{"up extra", exitUsage, "unknown command"},
		{"status --format yaml", exitUsage, "neither text nor json"},
		{"status", exitUnavailable, "no sandbox is up"},
		{"token --github acme/widget", exitUnavailable, "no sandbox is up"},
		{"token --github acme/widget --email a@b", exitUsage, "none of the others"},
		{"up --help", exitOK, ""},
	} {
		code, _, talk := run(append(strings.Fields(row.args), "--dir", dir)...)
		if code != row.code || !strings.Contains(talk, row.want) {
			t.Errorf("%s: exit %d, %q", row.args, code, talk)
		}
	}
}

// TestUp runs the program as a process, asks it from others, and stops it with a
// signal.
func TestUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	up := exec.CommandContext(ctx, self, "up", "--dir", dir, "--format", "json", "--witnesses", "1")
	up.Env = append(os.Environ(), "SANDBOX_TEST_CLI=1")
	var talk strings.Builder
	up.Stderr = &talk
	out, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	var c connection
	if err := json.NewDecoder(out).Decode(&c); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	for _, file := range []string{c.TUFRoot, c.TrustedRoot, c.SigningConfig} {
		if data, err := os.ReadFile(file); err != nil || !json.Valid(data) {
			t.Errorf("%s: %v", file, err)
		}
	}
	code, text, errs := run("status", "--dir", dir)
	if code != exitOK || strings.Count(text, "up  ") != 7 {
		t.Errorf("exit %d\n%s%s", code, text, errs)
	}
	code, token, errs := run("token", "--dir", dir, "--email", "alice@example.com", "--audience", "test")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	provider, err := oidc.NewProvider(ctx, c.IssuerURL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: "test"}).Verify(ctx, strings.TrimSpace(token)); err != nil {
		t.Error(err)
	}
	if code, _, errs := run("token", "--dir", dir); code != exitUsage || !strings.Contains(errs, "whose token?") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := run("up", "--dir", dir); code != exitUnavailable || !strings.Contains(errs, "another sandbox") {
		t.Errorf("a second one: exit %d: %s", code, errs)
	}

	if err := up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err != nil {
		t.Errorf("%v\n%s", err, talk.String())
	}
	for _, want := range []string{"starting: Fulcio", "ready after", "stopping"} {
		if !strings.Contains(talk.String(), want) {
			t.Errorf("%q is not in\n%s", want, talk.String())
		}
	}
	if code, _, _ := run("status", "--dir", dir); code != exitUnavailable {
		t.Errorf("after the end: exit %d", code)
	}
}

func TestEnvFormat(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{Env: Env{Stdout: &out}}
	if err := a.print(&connection{Dir: "/it's here", TUFURL: "http://127.0.0.1:1"}, "env"); err != nil {
		t.Fatal(err)
	}
	const want = "export SANDBOX_DIR='/it'\\''s here'\nexport SANDBOX_TUF_URL='http://127.0.0.1:1'\n"
	if out.String() != want {
		t.Errorf("got\n%s want\n%s", out.String(), want)
	}
}
