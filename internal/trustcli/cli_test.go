// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/commandtest"
)

const (
	testKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8K/k3yqY66rby/+7W7rqGyXRhRpG
8BAeDM732qb9ld1FIVGDsmeGrfeRxoQYW6HOxX2zaz6ByEBRREXJf/8hPA==
-----END PUBLIC KEY-----
`
	testPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2099-01-01T00:00:00Z
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
)

// place makes a new working directory with a policy, a key and what is neither, and returns a
// machine that nobody answers, with whom it asks.
func place(t *testing.T) (command.Env, *[]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	put(t, map[string]string{"policy.toml": testPolicy, "pub.pem": testKey, "junk": "junk"})
	state := t.TempDir()
	env := command.Env{
		Now:      func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) },
		Getenv:   func(string) string { return "" },
		StateDir: func() (string, error) { return state, nil },
	}
	return env, commandtest.Silence(&env)
}

func put(t *testing.T, files map[string]string) {
	t.Helper()
	for name, data := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func run(env command.Env, args ...string) (int, string) {
	var out bytes.Buffer
	env.Stdout, env.Stderr = &out, &out
	code := Main(args, env)
	return code, out.String()
}

// TestUsageFirst: what is wrong with a command line is said before anybody is asked,
// for every verb.
func TestUsageFirst(t *testing.T) {
	env, asked := place(t)
	// A trust root in which something waits for alice.
	if code, out := run(env, "init", "waiting", "--identity", "alice@example.com=https://accounts.google.com",
		"--online-key", "pub.pem"); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	put(t, map[string]string{"staple": "x", "d/x": "x"})
	all := wrong()
	commandtest.Verbs(Command(), func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "repopolicy-trust ")
		if c.HasParent() && !slices.ContainsFunc(all, func(row string) bool { return strings.HasPrefix(row+" ", name+" ") }) {
			t.Errorf("%s has no row", name)
		}
	})
	for _, args := range all {
		*asked = nil
		code, out := run(env, strings.Fields(args)...)
		if code != 2 && !(code == 6 && strings.Contains(args, "--signing-config junk")) {
			t.Errorf("%s: exit %d\n%s", args, code, out)
		} else if strings.Contains(out, "unknown flag") && !strings.Contains(args, "--no-such-flag") {
			t.Errorf("%s: the row is about a flag that there is not\n%s", args, out)
		}
		if len(*asked) > 0 {
			t.Errorf("%s: asked %q\n%s", args, *asked, out)
		}
	}
}

// wrong are command lines that nobody should have typed.
func wrong() []string {
	all := []string{
		"", "nonsense", "show", "update", "export x", "version x", "init --no-such-flag",
		"init root", "init root --key pub.pem --online-key pub.pem --threshold -1",
		"init root --key pub.pem --online-key pub.pem --days 999999999",
		"publish none", "publish root --key none", "publish root --to oci:", "publish waiting --key pub.pem",
		"publish waiting --to junk", "publish waiting --to oci:",
		"add waiting x", "add waiting x=none",
		"add waiting --status old x", "add waiting --usage x x=pub.pem", "add waiting --status active none",
		"remove waiting none", "remove none x", "delegate waiting --paths x", "delegate waiting --role a --paths [",
		"rotate waiting --key pub.pem", "rotate waiting --role root",
		"add-target waiting x", "add-target waiting x=none", "add-target waiting ../x=junk",
		"add-target waiting trusted_root.json=junk", "add-target waiting x=junk --tag v1",
		"add-target waiting x=junk --repo x:y", "add-target waiting x=junk --repo acme/widget --tag a..b",
		"add-target waiting x=junk --role nobody",
		"delegate waiting", "delegate waiting --repositories x", "delegate waiting --anchor x",
		"delegate waiting --root x", "delegate waiting --root x=junk --url https://a.example",
		"delegate waiting --root x=junk --scope https://a.example/**", "delegate waiting --scope https://a.example/**",
		"delegate waiting --root x=none --url https://a.example --scope https://a.example/**",
		"delegate waiting --root x=junk --url junk --scope https://a.example/**",
		"delegate waiting --root x=junk --url https://a.example --scope junk", "delegate waiting --url https://a.example",
		"delegate waiting --root x=junk --url https://a.example --scope https://github.com/acme/*",
		"delegate waiting --root x=junk --url https://a.example --scope https://a.example/** --identities x",
		"delegate waiting --withdraw x", "delegate waiting --remove-role x", "delegate waiting --role x --withdraw y",
		"delegate waiting --withdraw x --anchor y", "delegate waiting --withdraw x --remove-role y",
		"sign waiting --signing-config junk -y", "sign waiting --key pub.pem --expect-identity a@example.com",
		"sign none -y",
		"from-policy", "from-policy d e", "from-policy d --key junk", "from-policy junk -R acme/widget",
		"from-policy d --expect-identity a@example.com", "from-policy d --from oci:a/b:c",
		"from-policy d -R acme/widget --policy policy.toml",
	}
	if runtime.GOOS == "linux" { // where nobody can make a file
		all = append(all, "from-policy /proc/x -R acme/widget", "publish waiting --to /proc/x")
	}
	for _, args := range []string{
		"-R x:y", "--require x", "--pin x", "--lock junk", "--max-age x", "--directory junk", "--staple none", "--from x",
		"--offline", "--trust-root none", "y z", "--trusted-root root.json --staple staple", "--git none",
		"--git d", "--from oci:a/b:c --git .", "--witness-policy junk", "--from oci:a/b:c --offline",
		"--offline --git . --scan", "--trust-config none", "--trusted-root root.json --trust-root x", "--timeout x",
		"--memory 1",
	} {
		all = append(all, "from-policy tuf -R acme/widget "+args)
	}
	for _, signer := range []string{
		"--key none", "--key junk", "--expect-identity x -y", "--expect-identity a@example.com --key junk",
		"--signing-config none -y", "--trusted-root root.json -y", "--signing-config junk -y", "--trust-root none -y", "",
	} {
		all = append(all, "sign waiting "+signer, "from-policy tuf --sign --policy policy.toml "+signer)
	}
	for _, signer := range []string{
		"--signer x", "--signer x --public-key none", "--key junk --signer x", "--device --key pub.pem",
		"--device --signer x --public-key pub.pem",
	} {
		all = append(all, "sign waiting "+signer)
	}
	return all
}

// TestStrangeFlags: no value of any flag or argument ends in what is called a bug.
func TestStrangeFlags(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of runs")
	}
	env, _ := place(t)
	commandtest.Strange(t, Command(), map[string][]string{
		"init": {"root"}, "sign": {"root", "-y"}, "publish": {"root"}, "add": {"root", "a=b"}, "rotate": {"root"},
		"delegate": {"root"}, "from-policy": {"tuf", "--policy", "policy.toml"},
	}, env, Main)
}
