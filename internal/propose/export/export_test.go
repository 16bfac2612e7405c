// SPDX-License-Identifier: Apache-2.0

package export

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/policy"
)

const head = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 7
expires = 2099-06-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// newKey returns a key, and its public half in PEM.
func newKey(t testing.TB) (*ecdsa.PrivateKey, string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

const (
	workflow = "\n[[release]]\nname = \"binaries\"\ntags = [\"v*\"]\nartifacts = \"any\"\n" +
		"workflow = \".github/workflows/release.yml\"\n"
	people = "\n[[release]]\nname = \"people\"\ntags = \"any\"\nartifacts = \"any\"\n" +
		"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n"
	image = "\n[[release]]\nname = \"images\"\ntags = \"any\"\nartifacts = [\"ghcr.io/acme/widget\"]\n" +
		"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n"
)

func parse(t testing.TB, text string) *policy.Document {
	t.Helper()
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return doc
}

func now() time.Time { return time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC) }

// TestRefusals: every field that a target cannot express is named, and nothing
// is written.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		to, policy string
		tag        string
		artifact   string
		want       []string // paths
	}{
		{to: "cosign", policy: workflow, want: []string{"release[0].caller", "release[0].runner"}},
		{to: "cosign", policy: workflow + "runner = \"any\"\nenvironment = \"release\"\n",
			want: []string{"release[0].caller", "release[0].environment"}},
		{to: "policy-controller", policy: workflow, want: []string{"release[0].caller", "release[0].runner",
			"release[0].artifacts"}},
		{to: "kyverno", policy: workflow + "runner = \"any\"\n", want: []string{"release[0].caller", "release[0].artifacts"}},
		{to: "gh", policy: workflow, want: []string{"release[0].tags"}},
		{to: "gh", policy: workflow, tag: "w1", want: []string{"release[0].tags"}},
		{to: "gh", policy: workflow, tag: "v1 2", want: []string{"release[0].tags"}},
		{to: "gh", policy: workflow + "environment = \"release\"\n", tag: "v1", want: []string{"release[0].environment"}},
		{to: "gh", policy: workflow + "refs = [\"refs/heads/*\"]\n", tag: "v1", want: []string{"release[0].refs"}},
		{to: "gh", policy: workflow + "refs = [\"refs/heads/main\"]\n", tag: "v1", want: []string{"release[0].tags"}},
		{to: "gh", policy: workflow + "since = 2026-01-01T00:00:00Z\n", tag: "v1", want: []string{"release[0].since"}},
		{to: "gh", policy: workflow + "until = 2026-12-01T00:00:00Z\n", tag: "v1", want: []string{"release[0].until"}},
		{to: "gh", policy: workflow + "signer-digest = \"" + strings.Repeat("a", 40) + "\"\n", tag: "v1",
			want: []string{"release[0].signer-ref"}},
		{to: "gh", policy: workflow + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", tag: "v1",
			want: []string{"release[0].approvals"}},
		{to: "gh", policy: workflow + "[[revoked]]\nrule = \"binaries\"\n", tag: "v1", want: []string{"revoked[0]"}},
		{to: "gh", policy: workflow + "[[yanked]]\ntag = \"v1\"\n", tag: "v1", want: []string{"yanked[0]"}},
		{to: "gh", policy: workflow + "[[yanked]]\ndigest = \"sha256:" + strings.Repeat("0", 64) + "\"\n", tag: "v1",
			want: []string{"yanked[0]"}},
		{to: "gh", policy: strings.Replace(workflow, "v*", "v1", 1) + "[[yanked]]\ntag = \"v1\"\n",
			want: []string{"yanked[0]"}},
		{to: "gh", policy: strings.Replace(workflow, `["v*"]`, `"any"`,
			1) + "refs = [\"refs/heads/main\"]\n[[yanked]]\ntag = \"v9\"\n", want: []string{"yanked[0]"}},
		{to: "gh", policy: people, want: []string{"release[0].identities"}},
		{to: "packslip", policy: people, want: []string{"release[0]"}},
		{to: "packslip", policy: workflow, want: []string{
			"release[0].tags", "release[0].triggers", "release[0].caller", "release[0].runner",
		}},
		{to: "packslip", policy: workflow, tag: "w1", want: []string{
			"release[0].tags", "release[0].triggers", "release[0].caller", "release[0].runner",
		}},
		{to: "cosign", policy: strings.Replace(people, `"any"`, `["v*"]`, 1), want: []string{"release[0].tags"}},
		{to: "cosign", policy: people, tag: "v1", want: []string{"release[0].tags"}},
		{to: "gh", policy: strings.Replace(workflow, `["v*"]`, `"any"`, 1) + "refs = [\"refs/heads/main\"]\n", tag: "v1",
			want: []string{"release[0].tags"}},
		{to: "cosign", policy: image, want: []string{"release[0].artifacts"}},
		{to: "cosign", policy: image, artifact: "widget", want: []string{"release[0].artifacts"}},
		{to: "cosign", policy: people, artifact: "https://evil.example/x", want: []string{"release[0].artifacts"}},
		{to: "cosign", policy: people, artifact: "x\u202ey", want: []string{"release[0].artifacts"}},
		{to: "cosign", policy: people, artifact: "x\n:", want: []string{"release[0].artifacts"}},
		{to: "cosign", policy: strings.Replace(people, ".com\" }", ".com\", subject = \"1\" }", 1),
			want: []string{"release[0].identities[0].subject"}},
		{to: "cosign", policy: people + "[[revoked]]\n" +
			"identity = { email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }\n",
			want: []string{"release[0]"}},
		{to: "cosign", policy: people + "[[yanked]]\ntag = \"v9\"\n", want: []string{"yanked[0]"}},
		{to: "cosign", policy: people + workflow, want: []string{"release[1].caller", "release[1].runner"}},
		{to: "policy-controller", policy: people, want: []string{"release[0].artifacts"}},
		{to: "policy-controller", policy: strings.Replace(image, "ghcr.io/acme/widget", "widget_*", 1),
			want: []string{"release[0].artifacts[0]"}},
		{to: "kyverno", policy: strings.Replace(image, "ghcr.io/acme/widget", "pkg:oci/widget@*", 1),
			want: []string{"release[0].artifacts[0]"}},
		{to: "kyverno", policy: strings.Replace(image, "ghcr.io/acme/widget", "*.io/acme/widget", 1),
			want: []string{"release[0].artifacts[0]"}},
		{to: "kyverno", policy: strings.Replace(image, "ghcr.io/acme/widget", "ghcr.io/Acme/widget+x", 1),
			want: []string{"release[0].artifacts[0]"}},
		{to: "kyverno", policy: strings.Replace(image, `email = "alice@example.com"`, `uri = "https://ci.example/x?y"`,
			1), want: []string{"release[0].identities[0]"}},
		{to: "cosign", policy: people + "github-release", want: nil},
	} {
		text := strings.Replace(
			head+c.policy,
			"github-release",
			"\n[[release]]\nname = \"gh\"\ntags = \"any\"\nartifacts = \"any\"\ngithub-release = true\nunlogged = true\n",
			1,
		)
		if c.want == nil {
			c.want = []string{"release[1].github-release"}
		}
		out, err := Export(c.to, Request{Doc: parse(t, text), Tag: c.tag, Artifact: c.artifact, Now: now(), Strict: true})
		var r *Refusal
		if !errors.As(err, &r) || out != "" {
			t.Errorf("%s of %s: %v, wrote %q", c.to, c.policy, err, out)
			continue
		}
		var got []string
		for _, p := range r.Problems {
			got = append(got, p.Path)
			if p.Pos.Line == 0 {
				t.Errorf("%s has no place", p.Path)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s of %s: %s", c.to, c.policy, d)
		}
	}
	for what, r := range map[string]Request{
		"expired": {Doc: parse(t, head+people), Now: time.Date(2099, 6, 1, 0, 0, 0, 0, time.UTC)},
		"tombstone": {Doc: parse(t, strings.Replace(head, "[maintainers]", "tombstone = true\n[maintainers]", 1)),
			Now: now()},
	} {
		if out, err := Export("cosign", r); err == nil {
			t.Errorf("%s: %s", what, out)
		}
	}
	for _, c := range []struct{ policy, tag string }{
		{workflow + "[[yanked]]\ntag = \"v9\"\n", "v1"},
		{strings.Replace(workflow, "v*", "v1", 1), ""},
		{strings.Replace(workflow, "v*", "v1", 1), "v1"},
		{strings.Replace(workflow, `["v*"]`, `"any"`, 1) + "refs = [\"refs/heads/main\"]\n", ""},
	} {
		if _, err := Export("gh", Request{Doc: parse(t, head+c.policy), Tag: c.tag, Now: now()}); err != nil {
			t.Errorf("%s for %q: %v", c.policy, c.tag, err)
		}
	}
	if _, err := Export("cosign", Request{Doc: parse(t, head+people), Rule: "nobody", Now: now()}); err == nil {
		t.Error("a rule that is not there")
	}
}

// TestShell: whatever stands in a policy or a file's name is one word of sh.
func TestShell(t *testing.T) {
	for _, s := range []string{"", "a b", "it's", `"$(touch x)"`, "`id`", "a\\b", "$HOME", "!x", "*", "~", "-n",
		"a;b", "a&b|c>d", "caf\u00e9"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q became %q, %v", s, out, err)
		}
	}
	doc := parse(t, head+strings.Replace(people, "alice@", "a'lice`id`@", 1))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "-it's $(x).sigstore.json"), []byte(`{"messageSignature":{}}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	const fake = "#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done > args\n"
	if err := os.WriteFile(filepath.Join(dir, "cosign"), []byte(fake), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := Export("cosign", Request{Doc: doc, Artifact: "-it's $(x)", Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-e", "-c", text)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	want := "verify-blob\n--bundle\n./-it's $(x).sigstore.json\n--certificate-identity\na'lice`id`@example.com\n" +
		"--certificate-oidc-issuer\nhttps://accounts.google.com\n./-it's $(x)\n"
	if d := cmp.Diff(want, string(args)); d != "" || err != nil {
		t.Error(d, err)
	}
}

// TestExpiry: a command does nothing once the policy has ended.
func TestExpiry(t *testing.T) {
	doc := parse(t, strings.Replace(head, "2099", "2001", 1)+people)
	text, err := Export("cosign", Request{Doc: doc, Artifact: "x", Now: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cosign"), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.sigstore.json"), []byte(`{"messageSignature":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for expires, want := range map[string]bool{text: false, strings.ReplaceAll(text, "-lt 9", "-lt 99"): true} {
		cmd := exec.Command("sh", "-c", expires)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if err := cmd.Run(); (err == nil) != want {
			t.Errorf("%s: %v", expires, err)
		}
	}
}

// TestDockerHub: each controller calls Docker Hub by another name, and one that
// is not its own covers no image.
func TestDockerHub(t *testing.T) {
	for to, want := range map[string]string{"policy-controller": "glob: index.docker.io/acme/widget@*",
		"kyverno": "- docker.io/acme/widget@*"} {
		for _, host := range []string{"docker.io", "index.docker.io"} {
			out, err := Export(to, Request{Doc: parse(t, strings.Replace(head+image, "ghcr.io", host, 1)), Now: now()})
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%s of %s: %v\n%s", to, host, err, out)
			}
		}
	}
}

// TestImages reads the objects for clusters back.
func TestImages(t *testing.T) {
	_, key := newKey(t)
	text := strings.Replace(
		image,
		" }]",
		" }, { uri = \"https://ci.example/yes\", issuer = \"https://ci.example\" }]",
		1,
	) + "keys = [" + strconv.Quote(
		key,
	) + "]\n"
	doc := parse(t, head+text)
	for _, c := range []struct{ to, kind string }{{"policy-controller", "ClusterImagePolicy"},
		{"kyverno", "ClusterPolicy"}} {
		out, err := Export(c.to, Request{Doc: doc, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		var obj struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				Images      []struct{ Glob string }
				Authorities []struct {
					Keyless *struct {
						Identities []struct{ Issuer, Subject string }
					}
					Key   *struct{ Data string }
					CTLog struct{ URL string } `yaml:"ctlog"`
				}
				Rules []struct {
					Verify []struct {
						Images    []string `yaml:"imageReferences"`
						Required  bool
						Attestors []struct {
							Count   int
							Entries []struct {
								Keyless *struct{ Subject, Issuer string }
								Keys    *struct {
									PublicKeys string `yaml:"publicKeys"`
								}
							}
						}
					} `yaml:"verifyImages"`
				}
			}
		}
		if err := yaml.Unmarshal([]byte(out), &obj); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if obj.Kind != c.kind || obj.Metadata.Name != "repopolicy-0-images" {
			t.Errorf("%s: %+v", c.to, obj)
		}
		if c.to == "kyverno" {
			v := obj.Spec.Rules[0].Verify[0]
			if !v.Required || v.Attestors[0].Count != 1 ||
				v.Attestors[0].Entries[0].Keyless.Subject != "alice@example.com" ||
				v.Images[1] != "ghcr.io/acme/widget@*" ||
				len(v.Attestors[0].Entries) != 3 ||
				v.Attestors[0].Entries[2].Keys.PublicKeys != key {
				t.Errorf("%+v", v)
			}
			continue
		}
		if a := obj.Spec.Authorities[0]; a.Keyless.Identities[0].Subject != "alice@example.com" || a.CTLog.URL == "" ||
			obj.Spec.Images[2].Glob != "ghcr.io/acme/widget@*" ||
			len(obj.Spec.Authorities) != 3 ||
			obj.Spec.Authorities[2].Key.Data != key {
			t.Errorf("%+v", obj.Spec)
		}
	}
}
