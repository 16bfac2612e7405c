// SPDX-License-Identifier: Apache-2.0

package export

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/itchyny/gojq"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// jqOf returns the words of the one gh command in an export, and its expression.
func jqOf(t *testing.T, text string) (words []string, expr *gojq.Code) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-e", "-c", "gh() { for a; do printf '%s\\n' \"$a\"; done > args; }\n"+text)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args, err := exec.Command("cat", filepath.Join(dir, "args")).Output()
	if err != nil {
		t.Fatal(err)
	}
	words = strings.Split(strings.TrimSpace(string(args)), "\n")
	query, err := gojq.Parse(words[len(words)-1])
	if err != nil {
		t.Fatal(err)
	}
	if expr, err = gojq.Compile(query); err != nil {
		t.Fatal(err)
	}
	return words, expr
}

// allowed runs the expression on an answer of gh as gh does: with the library
// that gh uses; an error is a failure.
func allowed(t *testing.T, expr *gojq.Code, answer any) bool {
	t.Helper()
	v, ok := expr.Run(answer).Next()
	if _, failed := v.(error); !ok || failed {
		return false
	}
	if s, ok := v.(string); !ok || !strings.HasPrefix(s, "allowed by rule ") {
		t.Fatalf("printed %v", v)
	}
	return true
}

// answer returns what gh prints for a verified attestation by that certificate.
func answer(t *testing.T, inst *sigstoretest.Instance, req sigstoretest.Request, name string) []any {
	t.Helper()
	req.Statement = []byte(
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"` + name + `","digest":{"sha256":"` + strings.Repeat(
			"0a",
			32,
		) + `"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`,
	)
	data := inst.Sign(req)
	var b bundle.Bundle
	if err := b.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	vc, err := b.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certificate.SummarizeCertificate(vc.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	cert.CertificateIssuer = publicGoodCA
	doc, err := json.Marshal([]any{map[string]any{
		"attestation": map[string]any{"bundle": json.RawMessage(data)},
		"verificationResult": map[string]any{
			"signature":          map[string]any{"certificate": cert},
			"verifiedTimestamps": []any{map[string]any{"type": "Tlog", "uri": "https://rekor.sigstore.dev"}},
			"statement":          json.RawMessage(req.Statement),
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	if err := json.Unmarshal(doc, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGH: the expression takes the rule's own certificate, and no other.
func TestGH(t *testing.T) {
	inst := sigstoretest.New(t)
	doc := parse(t, head+strings.Replace(workflow, `"any"`, `["widget_*.tar.gz", "SHA256SUMS"]`, 1))
	text, err := Export("gh", Request{Doc: doc, Tag: "v1.2.3", Artifact: "widget_1.tar.gz", Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	words, expr := jqOf(t, text)
	want := "attestation verify widget_1.tar.gz --repo acme/widget " +
		"--cert-oidc-issuer https://token.actions.githubusercontent.com --source-ref refs/tags/v1.2.3 " +
		"--deny-self-hosted-runners --format json --jq"
	if got := strings.Join(words[:len(words)-1], " "); got != want {
		t.Errorf("gh %s", got)
	}
	if !allowed(t, expr, answer(t, inst, sigstoretest.Workflow("v1.2.3"), "widget_1.tar.gz")) {
		t.Fatal("the rule's own release is refused")
	}
	folded := sigstoretest.Workflow("v1.2.3")
	folded.Extensions = maps.Clone(folded.Extensions)
	const upper = "https://github.com/Acme/Widget"
	folded.SAN = upper + "/.github/workflows/release.yml@refs/tags/v1.2.3"
	folded.Extensions[9], folded.Extensions[18], folded.Extensions[12] = folded.SAN, folded.SAN, upper
	if !allowed(t, expr, answer(t, inst, folded, "SHA256SUMS")) {
		t.Error("the repository's case matters")
	}
	for ext, values := range map[int][]string{
		8:  {"https://token.actions.githubusercontent.com/x", "https://evil.example"},
		9:  {"https://github.com/acme/widget/.github/workflows/other.yml@refs/tags/v1.2.3", ""},
		11: {"self-hosted", ""}, 12: {"https://github.com/acme/widgets", "https://github.com/evil/widget", ""},
		14: {"refs/tags/v1.2.4", "refs/heads/v1.2.3", "refs/tags/v1.2.3x", ""},
		18: {"https://github.com/acme/widget/.github/workflows/ci.yml@refs/tags/v1.2.3",
			"https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main", ""},
		20: {"pull_request_target", "workflow_run", "schedule", ""},
	} {
		for _, v := range values {
			req := sigstoretest.Workflow("v1.2.3")
			req.Extensions = maps.Clone(req.Extensions)
			switch {
			case ext == 8:
				req.Issuer = v
			case v == "":
				delete(req.Extensions, ext)
			default:
				req.Extensions[ext] = v
			}
			if allowed(t, expr, answer(t, inst, req, "widget_1.tar.gz")) {
				t.Errorf(".%d = %q is allowed", ext, v)
			}
		}
	}
	for _, san := range []string{
		"https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1.2.3x",
		"https://github.com/acme/widget/.GITHUB/workflows/release.yml@refs/tags/v1.2.3",
		"https://github.com/acme/widgetx/.github/workflows/release.yml@refs/tags/v1.2.3",
		"https://github.com/acme/widget/.github/workflows/release.yml",
	} {
		req := sigstoretest.Workflow("v1.2.3")
		req.SAN, req.Extensions = san, maps.Clone(req.Extensions)
		req.Extensions[9] = san
		if allowed(t, expr, answer(t, inst, req, "widget_1.tar.gz")) {
			t.Errorf("signed by %s is allowed", san)
		}
	}
	for _, name := range []string{"other", "widget_1.tar.gzx", "widget_a/b.tar.gz", "xwidget_1.tar.gz",
		`widget_1.tar.gz\n`, "widget_1xtar.gz", ""} {
		if allowed(t, expr, answer(t, inst, sigstoretest.Workflow("v1.2.3"), name)) {
			t.Errorf("the name %q is allowed", name)
		}
	}
	for what, spoil := range map[string]func(r map[string]any){
		"GitHub's own instance": func(r map[string]any) {
			signature := r["verificationResult"].(map[string]any)["signature"].(map[string]any)
			signature["certificate"].(map[string]any)["certificateIssuer"] = "CN=Fulcio Intermediate l2,O=GitHub\\, Inc."
		},
		"no log":        func(r map[string]any) { r["verificationResult"].(map[string]any)["verifiedTimestamps"] = []any{} },
		"no timestamps": func(r map[string]any) { delete(r["verificationResult"].(map[string]any), "verifiedTimestamps") },
		"no checkpoint": func(r map[string]any) {
			bundle := r["attestation"].(map[string]any)["bundle"].(map[string]any)
			entries := bundle["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)
			delete(entries[0].(map[string]any)["inclusionProof"].(map[string]any), "checkpoint")
		},
		"no certificate": func(r map[string]any) {
			delete(r["verificationResult"].(map[string]any)["signature"].(map[string]any), "certificate")
		},
		"nothing": func(r map[string]any) { clear(r) },
	} {
		a := answer(t, inst, sigstoretest.Workflow("v1.2.3"), "widget_1.tar.gz")
		spoil(a[0].(map[string]any))
		if allowed(t, expr, a) {
			t.Errorf("%s: allowed", what)
		}
	}
	if allowed(t, expr, []any{}) {
		t.Error("no attestation is allowed")
	}
	// Of several attestations one is enough, in whatever order.
	bad := answer(t, inst, sigstoretest.Workflow("v9"), "widget_1.tar.gz")
	good := answer(t, inst, sigstoretest.Workflow("v1.2.3"), "widget_1.tar.gz")
	if !allowed(t, expr, append(bad, good...)) {
		t.Error("another attestation is in the way")
	}
}

// TestGHSigner: a reusable workflow of another repository, pinned by ref and
// commit.
func TestGHSigner(t *testing.T) {
	inst := sigstoretest.New(t)
	digest := strings.Repeat("2", 40)
	doc := parse(
		t,
		head+strings.Replace(
			workflow,
			`".github/workflows/release.yml"`,
			`"https://github.com/acme/ci/.github/workflows/build.yml"`,
			1,
		)+
			"caller = \".github/workflows/release.yml\"\nsigner-ref = \"refs/tags/v4\"\nsigner-digest = \""+digest+"\"\n"+
			"runner = \"self-hosted\"\nset-only = true\ntriggers = [\"push\"]\n",
	)
	text, err := Export("gh", Request{Doc: doc, Tag: "v1.2.3", Artifact: "a", Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	words, expr := jqOf(t, text)
	if got := strings.Join(words, " "); !strings.Contains(got, " --signer-repo acme/ci ") ||
		!strings.Contains(got, " --signer-digest "+digest) ||
		strings.Contains(got, "--deny-self-hosted-runners") {
		t.Errorf("gh %s", got)
	}
	req := func(change map[int]string) sigstoretest.Request {
		r := sigstoretest.Workflow("v1.2.3")
		r.Extensions = maps.Clone(r.Extensions)
		r.SAN = "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v4"
		r.Extensions[9], r.Extensions[10], r.Extensions[11] = r.SAN, digest, "self-hosted"
		maps.Copy(r.Extensions, change)
		if s, ok := change[9]; ok {
			r.SAN = s
		}
		return r
	}
	if !allowed(t, expr, answer(t, inst, req(nil), "a")) {
		t.Error("the rule's own release is refused")
	}
	for _, change := range []map[int]string{
		{10: strings.Repeat("3", 40)}, {11: "github-hosted"}, {20: "workflow_dispatch"},
		{18: "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v4"},
		{9: "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v5"},
		{9: "https://github.com/acme/widget/.github/workflows/build.yml@refs/tags/v4"},
	} {
		if allowed(t, expr, answer(t, inst, req(change), "a")) {
			t.Errorf("%v is allowed", change)
		}
	}
}

// TestGHNeverWider draws certificates, names and logs at random, most of them
// near what a rule wants, and asks both: whatever gh takes the policy allows. For
// evidence that names its subject they agree.
func TestGHNeverWider(t *testing.T) {
	const repo, other = "https://github.com/acme/widget", "https://github.com/acme/ci"
	rules := []string{
		workflow,
		strings.Replace(
			workflow,
			`"any"`,
			`["widget_*", "SHA256SUMS"]`,
			1,
		) + "triggers = [\"push\", \"schedule\"]\nrunner = \"any\"\n",
		strings.Replace(
			workflow,
			`".github/workflows/release.yml"`,
			`"`+other+`/.github/workflows/build.yml"`,
			1,
		) + "caller = \".github/workflows/release.yml\"\nsigner-ref = \"refs/tags/v4\"\nset-only = true\n",
		strings.Replace(workflow, `["v*"]`, `"any"`, 1) + "refs = [\"refs/heads/main\"]\nrunner = \"self-hosted\"\n",
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	one := func(s ...string) string { // mostly the first
		if rnd.IntN(8) > 0 {
			return s[0]
		}
		return s[rnd.IntN(len(s))]
	}
	allows := map[bool]int{}
	for _, text := range rules {
		doc := parse(t, head+text)
		tag := "v1.2.3"
		if strings.Contains(text, "refs/heads") {
			tag = ""
		}
		out, err := Export("gh", Request{Doc: doc, Tag: tag, Artifact: "a", Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		_, expr := jqOf(t, out)
		trusted := doc.Pin(policy.Ids{})
		w := doc.Content().Rules[0].Workflow
		signer, signerRef, ref := repo, "refs/tags/v1.2.3", "refs/tags/v1.2.3"
		if !w.Signer.IsZero() {
			signer, signerRef = other, "refs/tags/v4"
		}
		if strings.Contains(text, "refs/heads") {
			ref, signerRef = "refs/heads/main", "refs/heads/main"
		}
		for range 4000 {
			ref := one(ref, "refs/tags/v1.2.4", "refs/heads/main", "refs/tags/v1.2.3", "")
			san := one(
				signer,
				"https://github.com/Acme/Widget",
				repo+"s",
				other,
			) + one(
				"/",
				"//",
			) + one(w.Path, ".github/workflows/ci.yml") + "@" + one(
				signerRef,
				ref,
				"refs/tags/v5",
			)
			id := policy.Identity{
				Kind: policy.KindURI, Value: san, Issuer: one(w.Issuer, w.Issuer+"/acme", "https://gitlab.com"),
				BuildSignerURI: one(
					san,
					"",
					repo,
				), BuildSignerDigest: strings.Repeat("1", 40), RunnerEnvironment: one(strings.Replace(w.Runner, "any", "x", 1),
					"github-hosted", "self-hosted", ""),
				SourceRepositoryURI: one(
					repo,
					"https://github.com/ACME/widget",
					repo+"s",
					"https://github.com/evil/widget",
					"",
				), SourceRepositoryRef: ref,
				BuildConfigURI: one(
					repo,
					"https://github.com/Acme/Widget",
					other,
				) + "/" + one(
					w.Caller,
					".github/workflows/ci.yml",
				) + "@" + ref,
				BuildTrigger: one(
					w.Triggers[0],
					"schedule",
					"release",
					"pull_request_target",
					"",
				), SourceRepositoryDigest: strings.Repeat("1", 40),
			}
			name := one("widget_1", "SHA256SUMS", "widget_a/b", "xwidget_1", "other")
			proven, logged := rnd.IntN(10) > 0, rnd.IntN(10) > 0
			claims := policy.Claims{Signer: id}
			if tag := id.Tag(); tag != "" {
				claims.Tags = []string{tag}
			}
			d := trusted.Decide(policy.Request{
				Names: []string{name}, Now: now(),
				Digests: []policy.Digest{{Alg: "sha256", Hex: strings.Repeat("0a", 32)}},
			}, claims.Verified(policy.Verification{
				Times: []time.Time{now().Add(-time.Hour)}, Logged: logged, Proven: logged && proven,
			}))

			checkpoint, stamps := map[string]any{
				"checkpoint": map[string]any{"envelope": "x"},
			}, []any{
				map[string]any{"type": "Tlog"},
			}
			if !proven {
				checkpoint = map[string]any{}
			}
			if !logged {
				stamps = []any{map[string]any{"type": "TimestampAuthority"}}
			}
			cert := map[string]any{
				"certificateIssuer":      publicGoodCA,
				"subjectAlternativeName": id.Value,
				"issuer":                 id.Issuer,
			}
			for key, v := range map[string]string{
				"buildSignerURI": id.BuildSignerURI, "buildSignerDigest": id.BuildSignerDigest,
				"runnerEnvironment": id.RunnerEnvironment, "sourceRepositoryURI": id.SourceRepositoryURI,
				"sourceRepositoryRef": id.SourceRepositoryRef, "buildConfigURI": id.BuildConfigURI, "buildTrigger": id.BuildTrigger,
			} {
				if v != "" {
					cert[key] = v
				}
			}
			got := allowed(t, expr, []any{map[string]any{
				"attestation": map[string]any{
					"bundle": map[string]any{
						"verificationMaterial": map[string]any{
							"tlogEntries": []any{map[string]any{"inclusionProof": checkpoint}},
						},
					},
				},
				"verificationResult": map[string]any{
					"signature": map[string]any{"certificate": cert}, "verifiedTimestamps": stamps,
					"statement": map[string]any{"subject": []any{map[string]any{"name": name}}},
				},
			}})
			permitted := d.Permitted
			allows[permitted]++
			if ref != "refs/tags/v1.2.3" && permitted && !strings.Contains(text, "refs/heads") {
				continue // another release, which the export is not about
			}
			if got != permitted {
				t.Fatalf(
					"gh says %v, the policy %v (%+v) of %+v, name %s, proven %v, logged %v, by\n%s",
					got,
					permitted,
					d.Rules,
					id,
					name,
					proven,
					logged,
					text,
				)
			}
		}
	}
	if allows[true] < 1000 || allows[false] < 1000 {
		t.Errorf("too one-sided: %v", allows)
	}
}
