// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/scaffold/commandtest"
)

// TestUsageFirst: what is wrong with a command line is said before anybody is asked,
// for every verb.
func TestUsageFirst(t *testing.T) {
	env := place(t)
	asked := commandtest.Silence(&env)
	job := map[string]string{
		"GITHUB_ACTIONS":                 "true",
		"ACTIONS_ID_TOKEN_REQUEST_URL":   "https://x.actions.githubusercontent.com/",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x",
	}
	dir := t.TempDir()
	env.StateDir = func() (string, error) { return dir, nil }
	for name, data := range map[string]string{"junk": "junk", ".repopolicy/policy.toml": testPolicy, "pub.pem": testKey} {
		if err := errors.Join(os.MkdirAll(".repopolicy", 0o700), os.WriteFile(name, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{
		"init -q", "add .repopolicy", "-c user.name=a -c user.email=a@example.com commit -qm x",
	} {
		if out, err := exec.Command("git", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("%s: %s", err, out)
		}
	}
	config := `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json",` +
		`"caUrls":[{"url":"https://fulcio.example","majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z"},` +
		`"operator":"x"}],"rekorTlogUrls":[{"url":"https://rekor.example","majorApiVersion":1,` +
		`"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"x"}],"rekorTlogConfig":{"selector":"ANY"}}`
	for name, data := range map[string]string{
		"signing.json": config, "staple": "x", "d/widget_1": "x", "d/widget-1.2.3.tgz": "x",
		"sub/.git/HEAD": "ref: refs/heads/main\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("widget_1.approvals", 0o700); err != nil {
		t.Fatal(err)
	}
	const found = " -R acme/widget "
	var all []string
	for _, verb := range []string{"verify", "explain"} {
		for _, args := range []string{
			found, found + "--as-of x widget_1", found + "--as-of 0001-01-01T00:00:00Z widget_1",
			found + "--as-of 0000-01-01T00:00:00Z widget_1", found + "--as-of 9999-12-31T23:59:59-10:00 widget_1",
			found + "--as-of 1969-12-31T23:59:59Z widget_1", found + "--cooldown 1 widget_1", found + "--cooldown -1h widget_1",
			found + "--max-age 0s widget_1", found + "--tag a..b widget_1",
			found + "--certificate-identity a@example.com widget_1", found + "--policy policy.toml widget_1",
			found + "--require x widget_1", found + "--pin x widget_1", found + "--lock junk widget_1",
			found + "--directory junk widget_1", found + "--staple none widget_1", found + "--witness-policy junk widget_1",
			found + "--from x widget_1", found + "--from oci:a/b:c --git . widget_1",
			found + "--offline widget_1", found + "--offline --git . --scan widget_1", found + "--trust-config none widget_1",
			found + "--trust-root none widget_1", found + "--trusted-root root.json --trust-root none widget_1",
			found + "--report . widget_1", found + "--report no/where widget_1", found + "--name x widget_1 widget_2",
			found + "--ignore-missing widget_1", found + "--download d widget_1", found + "--forge x widget_1",
			found + "--max-size x widget_1", found + "--github-token widget_1", found + "--pypi-index x widget_1",
			found + "pkg:npm/widget", found + "oci://ghcr.io/acme/widget", found + "--format x widget_1",
			"-R x:y widget_1", "-R /a widget_1", "widget_1",
			found + "--unbound signer widget_1", found + "--unbound repository --format vsa widget_1",
			found + "--unbound repository --unbound repository widget_1",
			"--unbound repository --policy policy.toml widget_1",
			"--unbound repository --certificate-identity a@example.com --certificate-oidc-issuer https://b.example widget_1",
			"--format vsa --certificate-identity a@example.com --certificate-oidc-issuer https://b.example widget_1",
			found + "https://github.com/acme/gadget/releases/tag/v1", found + "--airgap junk widget_1",
			found + "--trusted-root root.json --staple staple widget_1", found + "--git none widget_1",
			found + "--git d widget_1", found + "--name a/.. widget_1", found + "--name pkg:x widget_1",
			found + "--name x https://github.com/acme/widget/releases/tag/v1", found + "--name x pkg:npm/widget@1.2.3",
			found + "--name x oci://ghcr.io/acme/widget:v1",
			found + "--download d https://github.com/acme/widget/releases/download/v1/widget_1",
			found + "--download d pkg:npm/widget@1.2.3", "--policy none widget_1", found + "--no-such-flag widget_1",
		} {
			all = append(all, verb+" "+args)
		}
	}
	for _, verb := range []string{"show", "log", "lock -o l", "export-bundle -o b", "export --oci oci:a/b:c", "diff"} {
		for _, args := range []string{
			"-R x:y", found + "--require x", found + "--pin x", found + "--lock junk", found + "--max-age x",
			found + "--directory junk", found + "--staple none", found + "--from x",
			found + "--offline", found + "--trust-root none", found + "x y z a",
			found + "--trusted-root root.json --staple staple", found + "--git none", found + "--git d",
			found + "--from oci:a/b:c --git .",
			found + "--witness-policy junk", found + "--from oci:a/b:c --offline", found + "--offline --git . --scan",
			found + "--trust-config none", found + "--trusted-root root.json --trust-root x", found + "--timeout x",
			found + "--memory 1",
		} {
			all = append(all, verb+" "+args)
		}
	}
	signer := []string{
		"--key none", "--key junk", "--signer x", "--signer x --public-key none", "--key junk --signer x",
		"--expect-identity x -y", "--expect-identity a@example.com --key junk", "--signing-config none -y",
		"--trusted-root root.json -y", "--signing-config junk -y", "--device --key pub.pem",
		"--device --signer x --public-key pub.pem", "--trust-root none -y", "",
	}
	for _, s := range signer {
		for _, verb := range []string{"sign ", "approve -R acme/widget ", "sign-release -R acme/widget "} {
			if strings.Contains(s, "--signer") && verb != "sign " {
				continue
			}
			file := ""
			if strings.Contains(verb, "approve") || strings.Contains(verb, "release") {
				file = " widget_1"
			}
			all = append(all, verb+s+file)
		}
	}
	all = append(
		all,
		"show",
		"log",
		"lock",
		"lock -R acme/widget",
		"lock -R acme/widget -o .",
		"lock -R acme/widget -o no/where",
		"lock -R acme/widget -o l widget_1",
		"lock -R acme/widget -o l --tag v1",
		"lock -R acme/widget --unbound repository widget_1",
		"lock -R acme/widget --unbound repository -o l",
		"lock -R acme/widget --unbound x -o l widget_1",
		"lock -R acme/widget --unbound repository -o . widget_1",
		"lock -R acme/widget --unbound repository --tag a..b -o l widget_1",
		"lock -R acme/widget --unbound repository --lock junk -o l widget_1",
		"lock -R acme/widget --unbound repository --forge x -o l widget_1",
		"lock --unbound repository -o l widget_1",
		"export-bundle",
		"export-bundle -R acme/widget",
		"export-bundle -R acme/widget -o no/where",
		"export-bundle -R acme/widget -o b missing",
		"export",
		"export --to gh --from x",
		"export --oci x -R acme/widget",
		"export --oci oci:a/b:c",
		"diff x",
		"diff 0",
		"sign -y --output junk",
		"bind --output junk",
		"approve -R acme/widget -y --output junk widget_1",
		"verify -R acme/widget --download junk pkg:npm/widget@1",
		"sign --with-v2 --without-v1 -y",
		"sign x",
		"bind --signing-config none",
		"bind --trusted-root root.json",
		"bind --with-v2 --without-v1",
		"bind x",
		"status x",
		"edit --expires x",
		"renew --expires 0d",
		"renew x",
		"init --maintainers x",
		"init --email a@example.com",
		"init --expires 2w",
		"init --expires 0y",
		"init --expires 99999d",
		"init --expect-identity x",
		"init --repo x:y",
		"init --signing-config none",
		"init --maintainers repository --expect-identity a@example.com",
		"approve widget_1",
		"approve -R acme/widget",
		"approve -R acme/widget --tag a..b widget_1 -y",
		"approve -R acme/widget --commit x widget_1 -y",
		"approve -R acme/widget -y .",
		"approve -R acme/widget -y widget_1.sigstore.json",
		"sign-release",
		"sign-release .",
		"sign-release widget_1 widget_1",
		"sign-release --purl x widget_1",
		"sign-release --statement widget_1",
		"sign-release -R x:y widget_1",
		"sign-release -R acme/widget --tag a..b widget_1",
		"sign-release -R acme/widget --report no/where widget_1",
		"sign-release -R acme/widget --after none widget_1",
		"sign-release --require x widget_1",
		"sign-release --expect-identity x widget_1",
		"sign-release --signing-config none widget_1",
		"authorize --tag a..b",
		"authorize --commit x",
		"authorize --statement",
		"authorize -R x:y",
		"authorize .",
		"authorize --require x",
		"authorize --lock junk",
		"authorize --after none",
		"authorize --report no/where",
		"authorize --receipt no/where",
		"authorize --token-file a --token-env b",
		"authorize --stage x",
		"authorize --directory junk",
		"authorize --max-age x",
		"trust",
		"trust show --trust-config none",
		"trust update --trust-config none",
		"trust export x",
		"trust export x -o oci:",
		"trust init root",
		"trust add",
		"trust delegate --role x",
		"trust rotate --help",
		"trust sign root -y",
		"trust publish root --to x",
		"export --tuf d",
		"export --sign --tuf d -R acme/widget",
		"export -y",
		"diff 10001",
		"diff 1 99999",
		"diff --require x",
		"diff --from x",
		"diff --staple none",
		"diff --git d",
		"diff -R acme/widget 10001",
		"export --to gh -R acme/widget",
		"export --to gh --sign",
		"export --to gh --key pub.pem",
		"export --to gh --expect-identity a@example.com",
		"export --oci oci-layout:junk:x -R acme/widget",
		"export --oci oci:a/b:c -R acme/widget --sign",
		"export --oci oci:a/b:c -R acme/widget --to gh",
		"sign -y --without-v1 --signing-config signing.json",
		"bind --without-v1 --signing-config signing.json",
		"bind --signing-config junk",
		"init --signing-config junk",
		"sign -y --git none",
		"bind --git none",
		"status --git none",
		"edit --git none",
		"renew --git none",
		"init --git none",
		"init --tags ** --workflow x.yml",
		"init --artifacts a//b",
		"init --name a\x01b",
		"init --recovery x",
		"init --repo acme/widget --workflow x.yml --program x@latest",
		"approve -R acme/widget -y sha256:"+strings.Repeat("0", 64),
		"approve -R acme/widget -y sha256:0",
		"approve -R acme/widget -y --directory junk widget_1",
		"sign-release -R acme/widget --checkout none widget_1",
		"sign-release -R acme/widget --key pub.pem --token-env X widget_1",
		"sign-release -R acme/widget --key pub.pem --token-metadata widget_1",
		"authorize --checkout none",
		"authorize --preflight --receipt x",
		"authorize --preflight --stage publish",
		"authorize --format x",
		"trust update nobody",
		"trust update public-good nobody",
		"trust export nobody -o x",
		"trust audit", "trust audit nobody", "trust audit x y", "trust audit nobody --trust-config none",
		"trust export public-good -o junk",
		"trust export public-good -o oci-layout:junk",
		"trust export public-good -o oci:a/b@sha256:"+strings.Repeat("0", 64),

		"get", "get x", "get a//b c", "get ./d//../x", "get acme//x", "get oci:registry.example/p//x",
		"get oci:registry.example/p//x --root none", "get oci:registry.example/p//x --root sha256:0",
		"get oci:registry.example/p//x --root root.json --max-size x",
		"get oci:registry.example/p//x --root root.json --cooldown x",
		"get oci:registry.example/p//x --root root.json --cooldown 1h --lock none",
		"get oci:registry.example/p//x --root root.json --require x",
		"get oci:registry.example/p//x --root root.json --max-age x",
		"get oci:registry.example/p//x --root root.json --tag a..b",
		"get oci:registry.example/p//x --root root.json --pin sha256:0",
		"get oci:registry.example/p//x --root root.json --directory junk",
		"get oci:registry.example/p//x --root root.json --staple none",
		"get oci:registry.example/p//x --root root.json -R x:y",
		"get oci:registry.example/p//x --root root.json -R acme/widget --policy policy.toml",
		"get oci:registry.example/p//x --root root.json --offline",
		"get oci:registry.example/p//x --root root.json --airgap junk -R acme/widget",
		"get oci:registry.example/p//x --root root.json -o d",
		"get oci:registry.example/p//nul --root root.json",

		"hand-in",
		"hand-in x",
		"hand-in -R x:y",
		"hand-in -R acme/widget --directory junk",
		"hand-in -R acme/widget --directory none",
		"hand-in --git none --directory none",
		"hand-in --git . --directory junk",
		"hand-in -R acme/widget --git d",
		"hand-in -R acme/widget --trust-root none",
		"hand-in -R acme/widget -o junk",
		"hand-in -R acme/widget --trusted-root root.json",
		"bind --hand-in junk",
		"bind --hand-in none",
		"doctor x", "doctor --releases 0", "doctor --releases 31", "doctor --releases x", "doctor -R x:y",
		"doctor --forge x", "doctor --github-token", "doctor --git none", "doctor --format sarif",
		"doctor -R acme/widget --require x",
		"evidence show none",
		"evidence show junk --directory junk",
		"import aqua none",
		"inspect", "inspect missing", "inspect --tag a..b widget_1", "inspect -R x:y widget_1",
		"inspect --public-key junk widget_1",
		"inspect --public-key none widget_1", "inspect --trusted-root root.json --trust-root x widget_1",
		"inspect -R acme/gadget https://github.com/acme/widget/releases/tag/v1", "inspect --format sarif widget_1",
		"inspect --offline pkg:npm/widget@1", "inspect --forge x widget_1", "inspect --max-size x widget_1",
		"inspect pkg:npm/widget",
		"inspect --tag v2 https://github.com/acme/widget/releases/tag/v1", "inspect oci://ghcr.io/acme/widget",
		"inspect --github-token widget_1", "inspect -b none missing", "inspect --trust-config none -R acme/widget widget_1",
		"check none",
		"version x",
		"nonsense",
	)
	if runtime.GOOS == "linux" { // where nobody can make a file
		all = append(
			all,
			"verify -R acme/widget --report /proc/x widget_1",
			"verify -R acme/widget --download /proc pkg:npm/widget@1",
			"verify -R acme/widget --download /proc/x/y pkg:npm/widget@1",
			"lock -R acme/widget -o /proc/x",
			"export-bundle -R acme/widget -o /proc/x",
			"export --oci oci-layout:/proc/x:y -R acme/widget",
			"sign -y --output /proc/x",
			"bind --output /proc",
			"approve -R acme/widget -y --output /proc/x --tag v1 widget_1",
			"authorize --report /proc/x",
			"authorize --receipt /proc/x",
			"trust export public-good -o /proc/x",
		)
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "repopolicy ")
		if c.HasParent() && !c.IsAdditionalHelpTopicCommand() &&
			!slices.ContainsFunc(all, func(row string) bool { return strings.HasPrefix(row+" ", name+" ") }) {
			t.Errorf("%s has no row", name)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Command())
	for _, args := range all {
		for _, vars := range []map[string]string{{}, job} {
			if vars["GITHUB_ACTIONS"] != "" && !strings.HasPrefix(args, "authorize") &&
				!strings.HasPrefix(args, "sign-release") ||
				len(vars) > 0 && (strings.Contains(args, "sign-release -R acme/widget  w")) {
				continue
			}
			env.Getenv = func(name string) string { return vars[name] }
			var out bytes.Buffer
			env.Stdout, env.Stderr = &out, &out
			*asked = nil
			code := Main(strings.Fields(args), env)
			if code != 2 &&
				!(strings.Contains(args, "evidence show junk") || len(vars) > 0 && strings.Contains(args, "--key") ||
					code == 6 && strings.Contains(args, "--signing-config junk")) {
				t.Errorf("%s %v: exit %d\n%s", args, vars, code, out.String())
			} else if code == 2 && strings.Contains(out.String(), "unknown flag") && !strings.Contains(args, "no-such-flag") &&
				!strings.Contains(args, "nonsense") {
				t.Errorf("%s: the row is about a flag that there is not\n%s", args, out.String())
			}
			if len(*asked) > 0 {
				t.Errorf("%s %v: asked %q\n%s", args, vars, *asked, out.String())
			}
		}
	}
}

const testKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8K/k3yqY66rby/+7W7rqGyXRhRpG
8BAeDM732qb9ld1FIVGDsmeGrfeRxoQYW6HOxX2zaz6ByEBRREXJf/8hPA==
-----END PUBLIC KEY-----
`
