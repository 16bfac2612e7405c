// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

const testPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2026-12-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

// place writes a release into a new working directory and returns the machine.
func place(t *testing.T) command.Env {
	t.Helper()
	t.Chdir(t.TempDir())
	inst := sigstoretest.New(t)
	req := sigstoretest.Workflow("v1.2.3")
	req.Artifact = []byte("artifact")
	for name, data := range map[string][]byte{
		"policy.toml": []byte(testPolicy), "bad.toml": []byte(testPolicy + "surprise = 1\n"),
		"newer.toml": []byte(`format = "repopolicy/v7"` + "\n"),
		"huge.toml":  make([]byte, 2<<20), "root.json": inst.Root(sigstoretest.RootOptions{}), "widget_1": req.Artifact,
		"widget_1.sigstore.json": inst.Sign(req),
		"widget_2":               []byte("other"), "widget_2.sigstore.json": []byte("{"),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return command.Env{
		Stdout: io.Discard, Stderr: io.Discard, Getenv: os.Getenv,
		Now: func() time.Time { return sigstoretest.Now.AddDate(0, 0, 1) },
		Root: func(context.Context, trust.Options) ([]trust.Root, error) {
			return nil, &sigstore.Error{Reason: policy.TrustRootMissing, Err: errors.New("no network")}
		},
	}
}

// TestExit keeps the contract of exit codes, and that text and JSON agree.
func TestExit(t *testing.T) {
	env := place(t)
	for _, c := range []struct {
		args string
		exit int
	}{
		{"verify --policy policy.toml --trusted-root root.json widget_1", 0},
		{"explain --policy policy.toml --trusted-root root.json widget_1", 0},
		{"verify --policy policy.toml --trusted-root root.json --tag v1 widget_1", 1},
		{"verify --policy policy.toml --trusted-root root.json missing", 2},
		{"verify --policy policy.toml --trusted-root root.json -b widget_1.sigstore.json widget_2", 1},
		{"verify --policy missing.toml widget_1", 2},
		{"verify widget_1", 2},
		{"nonsense", 2},
		{"verify --policy policy.toml widget_1", 3},
		{"verify --policy newer.toml widget_1", 3},
		{"verify --policy policy.toml --trusted-root root.json widget_2", 6},
		{"verify --policy policy.toml --trusted-root policy.toml widget_1", 6},
		{"verify --policy bad.toml --trusted-root root.json widget_1", 6},
		{"verify --policy huge.toml --trusted-root root.json widget_1", 6},
		{"check policy.toml", 0},
		{"check bad.toml", 6},
		{"check newer.toml", 6},
		{"check missing.toml", 2},
		{"version", 0},
	} {
		if got := Main(strings.Fields(c.args), env); got != c.exit {
			t.Errorf("%s: exit %d, want %d", c.args, got, c.exit)
		}
	}
	late := env
	late.Now = func() time.Time { return time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC) }
	if got := Main(strings.Fields("verify --policy policy.toml --trusted-root root.json widget_1"), late); got != 8 {
		t.Errorf("stale: exit %d", got)
	}
	broken := env
	broken.Now = func() time.Time { panic("a bug") }
	if got := Main(strings.Fields("verify --policy policy.toml widget_1"), broken); got != 70 {
		t.Errorf("panic: exit %d", got)
	}
	full := env
	full.Stdout = failing{}
	if got := Main(strings.Fields("verify --policy policy.toml --trusted-root root.json widget_1"), full); got == 0 {
		t.Error("a verdict that could not be written is OK")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestSchemas validates JSON output against the published schemas.
func TestSchemas(t *testing.T) {
	schemas := map[string]*jsonschema.Schema{}
	for verb, name := range map[string]string{
		"verify": "verdict", "explain": "verdict", "check": "check", "version": "version",
	} {
		s, err := jsonschema.NewCompiler().Compile("../../schema/" + name + "-v1.json")
		if err != nil {
			t.Fatal(err)
		}
		schemas[verb] = s
	}
	env := place(t)
	for _, args := range []string{
		"verify --policy policy.toml --trusted-root root.json widget_1 widget_2 refs/tags/v9 sha256:" +
			strings.Repeat("0", 64),
		"explain --policy policy.toml --trusted-root root.json --tag v1 --as-of 2026-06-01T13:00:00Z widget_1",
		"explain --policy policy.toml --trusted-root root.json widget_1",
		"verify --certificate-identity a@example.com --certificate-oidc-issuer https://b.example --trusted-root root.json " +
			"widget_1",
		"verify --policy policy.toml widget_1", "check policy.toml", "check bad.toml", "version",
	} {
		var out bytes.Buffer
		env.Stdout = &out
		exit := Main(append(strings.Fields(args), "--format", "json"), env)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if err := schemas[strings.Fields(args)[0]].Validate(doc); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if m := doc.(map[string]any); m["exit"] != nil && m["exit"].(json.Number).String() != strconv.Itoa(exit) {
			t.Errorf("%s: exits %d, says %v", args, exit, m["exit"])
		}
		for i, b := range out.Bytes() {
			if b >= 0x7f || b < ' ' && b != '\n' {
				t.Errorf("%s: byte %#x at %d", args, b, i)
				break
			}
		}
	}
}

// FuzzEscape: no control, no invisible and no bidirectional character is left,
// and different texts stay different.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{
		"", "plain", "\x1b[31m", "a\nb", "\u202e", "\xff", `\x41`, `\\u`, "caf\u00e9", "\u200d", "\U000e0041", "e\u0301",
	} {
		f.Add(s, `\x1b`)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		e := report.Escape(a)
		if !utf8.ValidString(e) {
			t.Fatalf("%q is not UTF-8", e)
		}
		for _, r := range e {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) ||
				unicode.Is(unicode.Zp, r) ||
				!unicode.IsPrint(r) && r != ' ' {
				t.Fatalf("%q keeps %U", e, r)
			}
		}
		if a != b && e == report.Escape(b) {
			t.Fatalf("%q and %q look the same: %q", a, b, e)
		}
	})
}

// FuzzJSON: what is printed is the same document in ASCII.
func FuzzJSON(f *testing.F) {
	for _, s := range commands {
		f.Add(s)
	}
	f.Add("\u202e\U0001f600\x1b")
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		p := report.NewPrinter(&out)
		if err := p.JSON(map[string]string{"a": s}); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		if back["a"] != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Fatalf("%q became %q", s, back["a"])
		}
		for _, b := range out.Bytes() {
			if b >= 0x7f || b < ' ' && b != '\n' {
				t.Fatalf("byte %#x", b)
			}
		}
		if acts(out.String()) {
			t.Fatalf("a runner would act on %s", out.String())
		}
	})
}
