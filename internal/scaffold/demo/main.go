// SPDX-License-Identifier: Apache-2.0

// Demo judges a real npm release with repopolicy: sigstore 2.0.0, built and
// signed by its GitHub workflow in August 2023. The bundle and the trusted root
// are test data of the sigstore-go module, so nothing but the module proxy is
// needed. It exits 0 if every verdict is the one it announces.
//
//	go run ./internal/scaffold/demo
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
)

// The npm package's digest, as the registry's dist.integrity gives it.
const tarball = "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1" +
	"e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"

const policyText = `format     = "repopolicy/v1"
repository = "https://github.com/sigstore/sigstore-js"
version    = 1
expires    = %s

[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name      = "npm"
tags      = ["v*"]
refs      = ["refs/heads/main"]
artifacts = ["pkg:npm/sigstore@*"]
workflow  = ".github/workflows/%s"
`

type step struct {
	say  string
	args []string
	exit int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	data, err := moduleData()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "repopolicy-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	expires := time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")
	for name, workflow := range map[string]string{"policy.toml": "release.yml", "other.toml": "deploy.yml"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, policyText, expires, workflow), 0o600); err != nil {
			return err
		}
	}
	for name, from := range map[string]string{
		"npm.sigstore.json": "bundles/sigstore.js@2.0.0-provenance.sigstore.json",
		"trusted_root.json": "trusted-roots/public-good.json",
	} {
		content, err := os.ReadFile(filepath.Join(data, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}

	common := []string{"--trusted-root", "trusted_root.json", "-b", "npm.sigstore.json"}
	verify := func(policy string, more ...string) []string {
		return append(append([]string{"verify", "--policy", policy}, common...), more...)
	}
	changed := tarball[:len(tarball)-1] + "d"
	steps := []step{
		{"The policy that a maintainer would commit is valid:", []string{"check", "policy.toml"}, 0},
		{
			"sigstore 2.0.0 from npm, with the provenance that npm serves for it:",
			verify("policy.toml", "--tag", "v2.0.0", tarball), 0,
		},
		{"A policy that names another workflow:", verify("other.toml", "--tag", "v2.0.0", tarball), 1},
		{"The same evidence for another version:", verify("policy.toml", "--tag", "v2.0.1", tarball), 1},
		{"A tarball with one bit changed:", verify("policy.toml", "--tag", "v2.0.0", changed), 1},
	}
	wrong := 0
	for i, s := range steps {
		fmt.Printf("\n%d. %s\n$ repopolicy %s\n", i+1, s.say, strings.Join(s.args, " "))
		got := cli.Main(s.args, command.OS())
		fmt.Printf("exit %d\n", got)
		if got != s.exit {
			fmt.Printf("expected exit %d\n", s.exit)
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d verdicts were not as expected", wrong, len(steps))
	}
	fmt.Printf("\nAll %d verdicts are as expected.\n", len(steps))
	return nil
}

// moduleData returns the directory of sigstore-go's test data in the module
// cache.
func moduleData() (string, error) {
	const module = "github.com/sigstore/sigstore-go"
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w: %s", module, err, stderr.String())
	}
	return filepath.Join(strings.TrimSpace(string(out)), "pkg", "testing", "data"), nil
}
