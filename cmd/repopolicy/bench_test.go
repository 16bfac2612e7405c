// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const benchDigest = "46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1" +
	"e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"

const benchPolicy = `format     = "repopolicy/v1"
repository = "https://github.com/sigstore/sigstore-js"
version    = 1
expires    = 2099-01-01T00:00:00Z
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
workflow  = ".github/workflows/release.yml"
`

// BenchmarkProcess runs whole processes that verify one real npm release
// off-line, in turns: repopolicy with its policy, the smallest program with
// sigstore-go, and cosign if COSIGN names it. It reports medians in milliseconds
// and MiB, and the ratio of each pair to repopolicy's. To compare on one core:
//
//	COSIGN=$(which cosign) taskset -c 0 go test -run '^$' -bench Process -benchtime 40x ./cmd/repopolicy
func BenchmarkProcess(b *testing.B) {
	dir := b.TempDir()
	build := func(name, pkg string) string {
		out := filepath.Join(dir, name)
		text, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg).CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, text)
		}
		return out
	}
	mod, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(strings.TrimSpace(string(mod)), "pkg", "testing", "data")
	bundle, root := filepath.Join(data, "bundles", "sigstore.js@2.0.0-provenance.sigstore.json"), filepath.Join(
		data, "trusted-roots", "public-good.json",
	)
	pol := filepath.Join(dir, "policy.toml")
	if err := os.WriteFile(pol, []byte(benchPolicy), 0o600); err != nil {
		b.Fatal(err)
	}
	const (
		san    = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
		issuer = "https://token.actions.githubusercontent.com"
	)
	programs := []struct {
		name string
		args []string
	}{
		{
			"repopolicy",
			[]string{
				build("repopolicy", "."), "verify", "--policy", pol, "--trusted-root", root, "-b", bundle,
				"sha512:" + benchDigest,
			},
		},
		{"minimal", []string{build("minimal", "./testdata/minimal"), root, bundle, benchDigest, san, issuer}},
		{"repopolicy-version", []string{filepath.Join(dir, "repopolicy"), "version"}},
	}
	if cosign := os.Getenv("COSIGN"); cosign != "" {
		programs = append(programs, []struct {
			name string
			args []string
		}{
			{
				"cosign",
				[]string{
					cosign, "verify-blob-attestation", "--bundle", bundle, "--trusted-root", root,
					"--certificate-identity", san, "--certificate-oidc-issuer", issuer, "--type", "slsaprovenance1",
					"--digest", benchDigest, "--digestAlg", "sha512",
				},
			},
			{"cosign-version", []string{cosign, "version"}},
		}...)
	}
	times, rss := make([][]float64, len(programs)), make([][]float64, len(programs))
	for b.Loop() {
		for i, p := range programs {
			cmd := exec.Command(p.args[0], p.args[1:]...)
			start := time.Now()
			out, err := cmd.CombinedOutput()
			took := time.Since(start)
			if err != nil {
				b.Fatalf("%s: %v\n%s", p.name, err, out)
			}
			times[i] = append(times[i], float64(took.Microseconds())/1000)
			if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
				rss[i] = append(rss[i], float64(u.Maxrss)/1024)
			}
		}
	}
	median := func(v []float64) float64 {
		s := slices.Clone(v)
		slices.Sort(s)
		return s[len(s)/2]
	}
	for i, p := range programs {
		b.ReportMetric(median(times[i]), p.name+"-ms")
		b.ReportMetric(median(rss[i]), p.name+"-MiB")
		ratios := make([]float64, len(times[i]))
		for n := range ratios {
			ratios[n] = times[0][n] / times[i][n]
		}
		if i > 0 {
			b.ReportMetric(median(ratios), "x-"+p.name)
		}
	}
	b.ReportMetric(0, "ns/op")
}
