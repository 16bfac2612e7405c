// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

const benchDigest = "46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1" +
	"e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"

const benchRule = `[[release]]
name      = "npm"
tags      = ["v*"]
refs      = ["refs/heads/main"]
artifacts = ["pkg:npm/sigstore@*"]
workflow  = ".github/workflows/release.yml"
`

const (
	benchSAN    = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
	benchIssuer = "https://token.actions.githubusercontent.com"
	benchOther  = "https://github.com/sigstore/sigstore-js/.github/workflows/other.yml@refs/heads/main"
)

// peer is a program that does what another one of the list does, which it is compared with.
type peer struct {
	name string
	than string // the ratio is than's time by its own; "" for none
	exit int
	argv []string
}

// BenchmarkProcess runs whole processes off-line, in turns: repopolicy with its policy, the smallest
// program with sigstore-go, cosign and gh. Each verifies a real release of npm, gh and its pair a
// file with provenance. It reports medians in milliseconds and MiB, and of each pair the ratio.
// COSIGN and GH name programs; REPOPOLICY_PEERS lets them be built. To compare on one core:
//
//	REPOPOLICY_PEERS=1 taskset -c 0 go test -run '^$' -bench Process -benchtime 40x ./cmd/repopolicy
func BenchmarkProcess(b *testing.B) {
	dir := b.TempDir()
	peers := processes(b, dir)
	times := map[string][]float64{}
	for b.Loop() {
		for _, p := range peers {
			cmd := exec.Command(p.argv[0], p.argv[1:]...)
			cmd.Env = append(os.Environ(), "GH_TOKEN=of-nobody")
			start := time.Now()
			out, err := cmd.CombinedOutput()
			took := time.Since(start)
			if code := cmd.ProcessState.ExitCode(); code != p.exit {
				b.Fatalf("%s: exit %d: %v\n%s", p.name, code, err, out)
			}
			times[p.name] = append(times[p.name], float64(took.Microseconds())/1000)
		}
	}
	measure := buildIn(b, dir, "measure", "./testdata/measure")
	for _, p := range peers {
		b.ReportMetric(median(times[p.name]), p.name+"-ms")
		b.ReportMetric(resident(b, measure, p), p.name+"-MiB")
		if p.than == "" {
			continue
		}
		ratios := make([]float64, len(times[p.name]))
		for n := range ratios {
			ratios[n] = times[p.than][n] / times[p.name][n]
		}
		b.ReportMetric(median(ratios), "x-"+p.name)
	}
	b.ReportMetric(0, "ns/op")
}

// resident returns the most memory that a program held, in MiB: the median of five runs.
func resident(b *testing.B, measure string, p peer) float64 {
	b.Helper()
	var all []float64
	for range 5 {
		figure := filepath.Join(b.TempDir(), "rss")
		cmd := exec.Command(measure, append([]string{figure}, p.argv...)...)
		cmd.Env = append(os.Environ(), "GH_TOKEN=of-nobody")
		_ = cmd.Run() // the code was looked at before
		all = append(all, kibibytes(b, figure)/1024)
	}
	return median(all)
}

// kibibytes reads what measure wrote.
func kibibytes(b *testing.B, figure string) (kib float64) {
	b.Helper()
	text, err := os.ReadFile(figure)
	if err == nil {
		_, err = fmt.Sscan(string(text), &kib)
	}
	if err != nil {
		b.Fatal(err)
	}
	return kib
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// processes writes the inputs of BenchmarkProcess, and returns what is run.
func processes(b *testing.B, dir string) []peer {
	b.Helper()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	mod, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(strings.TrimSpace(string(mod)), "pkg", "testing", "data")
	bundle := filepath.Join(data, "bundles", "sigstore.js@2.0.0-provenance.sigstore.json")
	root := filepath.Join(data, "trusted-roots", "public-good.json")
	head, rule := policyParts(b)
	lasting := func(text string) []byte { return []byte(strings.Replace(text, "2027-06", "2099-06", 1)) }
	rules := write("widget.toml", lasting(head+rule))
	npm := strings.Replace(head, "acme/widget", "sigstore/sigstore-js", 1) + benchRule
	good := write("policy.toml", lasting(npm))
	other := write("other.toml", lasting(strings.Replace(npm, "release.yml", "other.yml", 1)))
	ours := buildIn(b, dir, "repopolicy", ".")
	judges := func(policy string) []string {
		return []string{ours, "verify", "--policy", policy, "--trusted-root", root, "-b", bundle, "sha512:" + benchDigest}
	}
	peers := []peer{
		{"repopolicy", "", 0, judges(good)},
		{"repopolicy-refuse", "", 1, judges(other)},
		{"repopolicy-version", "", 0, []string{ours, "version"}},
		{"minimal", "repopolicy", 0, []string{
			buildIn(b, dir, "minimal", "./testdata/minimal"), root, bundle, benchDigest, benchSAN, benchIssuer,
		}},
	}
	if cosign := at(b, "COSIGN", sigstoretest.Cosign); cosign != "" {
		judges := func(san string) []string {
			return []string{
				cosign, "verify-blob-attestation", "--bundle", bundle, "--trusted-root", root,
				"--certificate-identity", san, "--certificate-oidc-issuer", benchIssuer, "--type", "slsaprovenance1",
				"--digest", benchDigest, "--digestAlg", "sha512",
			}
		}
		peers = append(peers, peer{"cosign", "repopolicy", 0, judges(benchSAN)},
			peer{"cosign-refuse", "repopolicy-refuse", 1, judges(benchOther)},
			peer{"cosign-version", "repopolicy-version", 0, []string{cosign, "version"}})
	}
	if gh := at(b, "GH", sigstoretest.GH); gh != "" {
		inst := sigstoretest.New(b)
		release := sigstoretest.Workflow("v1.2.3")
		file := []byte("widget 1.2.3\n")
		release.Statement = fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/`+
			`provenance/v1","subject":[{"name":"widget_1.2.3.tar.gz","digest":{"sha256":"%x"}}],"predicate":{}}`,
			sha256.Sum256(file))
		var line bytes.Buffer
		whole := inst.Root(sigstoretest.RootOptions{})
		if err := json.Compact(&line, whole); err != nil {
			b.Fatal(err)
		}
		line.WriteByte('\n') // gh reads no line without its end
		artifact, signed := write("widget_1.2.3.tar.gz", file), write("widget.sigstore.json", inst.Sign(release))
		peers = append(peers, peer{"repopolicy-provenance", "", 0, []string{
			ours, "verify", "--policy", rules, "--trusted-root", write("root.json", whole), "-b", signed, artifact,
		}}, peer{"gh", "repopolicy-provenance", 0, []string{
			gh, "attestation", "verify", artifact, "--bundle", signed, "--repo", "acme/widget",
			"--custom-trusted-root", write("root.jsonl", line.Bytes()),
		}})
	}
	return peers
}

func buildIn(b *testing.B, dir, name, pkg string) string {
	b.Helper()
	out := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as programs are released
	text, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	return out
}

// at returns the path of a peer, "" if there is none and none is to be built.
func at(b *testing.B, name string, build func(testing.TB) string) string {
	if path := os.Getenv(name); path != "" || os.Getenv("REPOPOLICY_PEERS") == "" {
		return path
	}
	return build(b)
}
