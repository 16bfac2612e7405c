// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vsav1 "github.com/in-toto/attestation/go/predicates/vsa/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// TestVSA reads what is written with in-toto's own types and, once signed, with
// the strict reader of statements.
func TestVSA(t *testing.T) {
	env := place(t)
	bundle, err := os.ReadFile("widget_1.sigstore.json")
	if err != nil {
		t.Fatal(err)
	}
	inst := sigstoretest.New(t)
	for _, c := range []struct {
		args     string
		exit     int
		result   string // "" where there is no statement
		subjects int
		inputs   int
		stderr   string
	}{
		{"--policy policy.toml widget_1", 0, "PASSED", 1, 1, ""},
		{"--policy policy.toml --as-of 2026-06-02T00:00:00Z widget_1", 0, "PASSED", 1, 1, ""},
		{"--policy policy.toml --tag v9 widget_1", 1, "FAILED", 1, 1, ""},
		{"--policy policy.toml widget_1 sha256:" + strings.Repeat("0", 64), 1, "FAILED", 2, 1, ""},
		{"--policy policy.toml widget_1 refs/tags/v9", 1, "FAILED", 1, 1, ""},
		{"--policy policy.toml refs/tags/v9", 1, "", 0, 0, "no digest"},
		{
			"--certificate-identity a@example.com --certificate-oidc-issuer https://b.example widget_1", 2, "", 0, 0,
			"names the policy",
		},
	} {
		var out, stderr bytes.Buffer
		env.Stdout, env.Stderr = &out, &stderr
		exit := Main(append(strings.Fields("verify --format vsa --trusted-root root.json"), strings.Fields(c.args)...), env)
		if exit != c.exit {
			t.Errorf("%s: exit %d", c.args, exit)
		}
		if c.result == "" {
			if out.Len() != 0 || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("%s: printed %q and %q", c.args, out.String(), stderr.String())
			}
			continue
		}
		b, err := sigstore.ParseBundle(
			inst.Sign(
				sigstoretest.Request{
					Statement: out.Bytes(), SAN: "verifier@example.com", Issuer: "https://accounts.google.com",
				},
			),
		)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if st := b.Statement(); st.PredicateType != report.VSAType || len(st.Subjects) != c.subjects {
			t.Errorf("%s: %+v", c.args, st)
		}
		var raw struct{ Predicate json.RawMessage }
		if err := json.Unmarshal(out.Bytes(), &raw); err != nil {
			t.Fatal(err)
		}
		var p vsav1.VerificationSummary
		if err := (protojson.UnmarshalOptions{}).Unmarshal(raw.Predicate, &p); err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		levels := []string{report.LevelReleaser}
		if c.result == "FAILED" {
			levels = []string{"FAILED"}
		}
		if d := cmp.Diff(levels, p.GetVerifiedLevels()); d != "" || p.GetVerificationResult() != c.result {
			t.Errorf("%s: %s %s", c.args, p.GetVerificationResult(), d)
		}
		if p.GetResourceUri() != "https://github.com/acme/widget" || len(p.GetPolicy().GetDigest()["sha256"]) != 64 ||
			p.GetPolicy().GetUri() != "policy.toml" ||
			p.GetVerifier().GetId() != "https://"+spelling.Name ||
			!p.GetTimeVerified().IsValid() ||
			p.GetSlsaVersion() != "1.0" ||
			len(p.GetDependencyLevels()) != 0 {
			t.Errorf("%s: %s", c.args, raw.Predicate)
		}
		if len(p.GetInputAttestations()) != c.inputs {
			t.Fatalf("%s: inputs %v", c.args, p.GetInputAttestations())
		}
		if got, want := p.GetInputAttestations()[0].GetDigest()["sha256"], report.Sum256(bundle); got != want {
			t.Errorf("%s: evidence sha256:%s, want %s", c.args, got, want)
		}
		for _, l := range p.GetVerifiedLevels() {
			if strings.HasPrefix(l, "SLSA_") {
				t.Errorf("%s: claims %s", c.args, l)
			}
		}
	}
}

// TestVSAInputs: all evidence or none.
func TestVSAInputs(t *testing.T) {
	file := &report.Evidence{Path: "a", Digest: "sha256:" + strings.Repeat("0a", 32)}
	if got := report.InputAttestations([]*report.Evidence{file}); len(got) != 1 ||
		got[0].Digest["sha256"] != strings.Repeat("0a", 32) {
		t.Errorf("%v", got)
	}
	if got := report.InputAttestations([]*report.Evidence{file, {Path: "layout"}}); got != nil {
		t.Errorf("%v", got)
	}
	// Neither a reason nor a class alone makes a pass.
	r := syntheticReport("x", "", policy.Allowed)
	for _, spoil := range []func(){
		func() { r.Artifacts[0].Permitted = false }, func() { r.Artifacts[0].Permitted = true; r.Exit = 1 },
	} {
		spoil()
		if s, err := report.NewVSA(r); err != nil || s.Predicate.Result != "FAILED" {
			t.Errorf("%+v %v", s, err)
		}
	}
}
