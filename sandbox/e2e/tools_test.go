// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// TestToolsOfAMachine judges releases whose lists and detached signatures the tools of every machine
// made: what cosign signed is allowed, and the rest lies beside it where the user says so.
func TestToolsOfAMachine(t *testing.T) {
	for _, name := range []string{"gpg", "openssl", "sha256sum", "sha512sum", "shasum"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	p, cosign := signsWithCosign(t, "acme/by-tools")
	p.env = append(p.env, "GNUPGHOME="+p.home, "COSIGN="+cosign)
	const one, two = "widget_1.tar.gz", "widget_2.tar.gz"
	p.writes(map[string]string{one: "one", two: "two"})
	p.runs(t.Context(), "sh", "-ec", `
gpg --batch --quiet --passphrase '' --quick-generate-key x@example.com ed25519
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem 2> /dev/null
sha256sum widget_* > SHA256SUMS
shasum -a 256 widget_* > shasums256.txt
sha256sum --tag widget_* > tagged.sha256
openssl dgst -sha256 widget_* > openssl.sha256
sha512sum widget_* > SHA512SUMS
shasum -a 512 -b widget_1.tar.gz > widget_1.tar.gz.sha512
sha256sum widget_1.tar.gz | cut -d ' ' -f 1 > widget_1.tar.gz.sha256
for f in SHA256SUMS shasums256.txt tagged.sha256 openssl.sha256; do
  "$COSIGN" sign-blob --bundle $f.sigstore.json $f
done
for f in widget_1.tar.gz widget_2.tar.gz SHA256SUMS; do
  gpg --batch --quiet --armor --detach-sign $f
  openssl dgst -sha256 -sign key.pem -out $f.der $f
  base64 -w 0 < $f.der > $f.sig
done
gpgconf --kill all
`)
	read := func(names ...string) map[string]string {
		out := map[string]string{one: "one", two: "two"}
		for _, name := range names {
			out[name] = string(contentOf(t, filepath.Join(p.dir, name)))
		}
		return out
	}
	both := []string{one, two}
	for _, list := range []string{"SHA256SUMS", "shasums256.txt", "tagged.sha256", "openssl.sha256"} {
		p.releases(read(list, list+".sigstore.json"), both)
	}
	beside := read("SHA256SUMS", "SHA256SUMS.sigstore.json", "SHA256SUMS.asc", "SHA256SUMS.sig", one+".asc", one+".sig",
		two+".asc",
		"SHA512SUMS", one+".sha512", one+".sha256")
	p.folder(policy.ClassDeny, beside)
	p.folder(policy.ClassDeny, beside, "--side-files", "openpgp,signature")
	p.releases(beside, both, "--side-files", "openpgp,signature,checksums")
	// Alone they allow nothing.
	p.folder(policy.ClassDeny, read("SHA256SUMS", "SHA256SUMS.asc", "SHA512SUMS", one+".sig"), "--side-files",
		"openpgp,signature,checksums")
}

// TestGoreleaser judges what the real goreleaser makes, with its list signed by cosign and bills of
// materials by syft where that is at hand.
func TestGoreleaser(t *testing.T) {
	goreleaser := sigstoretest.Goreleaser(t)
	p, cosign := signsWithCosign(t, "acme/by-goreleaser")
	p.goes()
	config := fmt.Sprintf(`version: 2
project_name: widget
builds:
  - env: [CGO_ENABLED=0]
    goos: [linux, windows]
    goarch: [amd64]
archives:
  - formats: [tar.gz]
    format_overrides: [{goos: windows, formats: [zip]}]
checksum:
  name_template: checksums.txt
signs:
  - cmd: %s
    signature: "${artifact}.sigstore.json"
    args: [sign-blob, "--bundle=${signature}", "${artifact}"]
    artifacts: checksum
changelog: {disable: true}
`, cosign)
	syft := os.Getenv("SYFT") != "" || os.Getenv("REPOPOLICY_LONG") != ""
	if syft {
		config += "sboms: [{artifacts: archive, cmd: " + sigstoretest.Syft(t) +
			", args: [\"$artifact\", \"--output\", \"spdx-json=$document\"]}]\n"
		p.env = append(p.env, "SYFT_CHECK_FOR_APP_UPDATE=false")
	}
	p.writes(map[string]string{".goreleaser.yaml": config, ".gitignore": "dist/\n"})
	p.runs(t.Context(), "sh", "-ec", `
git init -q -b main && git add -A && git -c user.name=x -c user.email=x@example.com commit -q -m x && git tag v1.2.3
git remote add origin https://github.com/acme/by-goreleaser.git`)
	p.runs(t.Context(), goreleaser, "release", "--clean", "--skip=publish,announce")
	var made []struct{ Name, Path, Type string }
	check(t, json.Unmarshal(contentOf(t, filepath.Join(p.dir, "dist", "artifacts.json")), &made))
	files, artifacts := map[string]string{}, []string(nil)
	for _, a := range made {
		switch a.Type {
		case "Archive", "SBOM":
			artifacts = append(artifacts, a.Name)
			fallthrough
		case "Checksum", "Signature":
			files[a.Name] = string(contentOf(t, filepath.Join(p.dir, a.Path)))
		}
	}
	if want := map[bool]int{true: 4, false: 2}[syft]; len(artifacts) != want || len(files) != want+2 {
		t.Fatalf("made %v", made)
	}
	p.releases(files, artifacts)
	// The folder as it lies there has files that nobody publishes.
	p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.3", filepath.Join(p.dir, "dist"))
	p.verify(policy.ClassOK, "--offline", "--tag", "v1.2.3", filepath.Join(p.dir, "dist", "checksums.txt"))
}

// goes makes the directory a module with a program, and lets go build it.
func (p *producer) goes() {
	p.t.Helper()
	p.writes(map[string]string{"go.mod": "module example.com/widget\n\ngo 1.27\n",
		"main.go": "package main\n\nfunc main() { println(1) }\n"})
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	check(p.t, err)
	cache, modules, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	p.env = append(p.env, "GOCACHE="+cache, "GOMODCACHE="+modules, "GOTOOLCHAIN=local", "GOPROXY=off",
		"GOFLAGS=-buildvcs=false")
}

// TestKo judges an image that the real ko builds, and cosign signs, in a registry and a layout.
func TestKo(t *testing.T) {
	ko := sigstoretest.Ko(t)
	const name = "acme/by-ko"
	p, cosign := signsWithCosign(t, name)
	p.goes()
	base(t, forge.GHCR, "acme/base", "latest")
	p.env = append(p.env, "DOCKER_CONFIG="+dockerLogin(t, forge.GHCR, forge.RegistryUser, forge.RegistryPassword),
		"KO_DEFAULTBASEIMAGE=ghcr.io/acme/base:latest", "KO_DOCKER_REPO=ghcr.io/"+name)
	refs := filepath.Join(p.dir, "refs")
	p.runs(t.Context(), ko, "build", "--bare", "--tags", "v1", "--image-refs", refs, "--oci-layout-path", "layout", ".")
	ref := strings.TrimSpace(string(contentOf(t, refs)))
	p.verify(policy.ClassDeny, "--tag", "v1.2.3", "oci://"+ref) // ko attaches what is in it, and signs nothing
	p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.3", filepath.Join(p.dir, "layout"))
	p.runs(t.Context(), cosign, "sign", ref)
	p.verify(policy.ClassOK, "--tag", "v1.2.3", "oci://"+ref)
	p.verify(policy.ClassOK, "--tag", "v1.2.3", "oci://ghcr.io/"+name+":v1")
	saved := filepath.Join(p.dir, "saved")
	p.runs(t.Context(), cosign, "save", "--dir", saved, ref)
	p.verify(policy.ClassOK, "--offline", "--tag", "v1.2.3", saved)
	p.verify(policy.ClassOK, "--offline", "--tag", "v1.2.3", "-b", saved, filepath.Join(p.dir, "layout"))
}

// base pushes an image without a layer, on which others are built.
func base(t testing.TB, host, name, tag string) {
	t.Helper()
	to, err := remote.NewRepository(host + "/" + name)
	check(t, err)
	to.Client = &auth.Client{
		Client: &http.Client{Transport: stack.Transport()}, Cache: auth.NewCache(),
		Credential: auth.StaticCredential(host, auth.Credential{Username: forge.RegistryUser,
			Password: forge.RegistryPassword}),
	}
	push := func(mediaType string, v any) ocispec.Descriptor {
		data, err := json.Marshal(v)
		check(t, err)
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		check(t, to.Push(t.Context(), d, bytes.NewReader(data)))
		return d
	}
	config := push(ocispec.MediaTypeImageConfig, map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{}, "rootfs": map[string]any{"type": "layers",
			"diff_ids": []any{}},
	})
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{}}
	m.SchemaVersion = 2
	check(t, to.Tag(t.Context(), push(m.MediaType, m), tag))
}

// attestScript is a step of a workflow that attests what it built, by GitHub's own library.
const attestScript = `import { attestProvenance } from '@actions/attest';
import { createHash } from 'crypto';
import { readFileSync, writeFileSync } from 'fs';
const subjects = process.argv.slice(2).map(name => ({
  name, digest: { sha256: createHash('sha256').update(readFileSync(name)).digest('hex') } }));
const made = await attestProvenance({ subjects, token: process.env.JOB_TOKEN, sigstore: 'public-good' });
writeFileSync('attestation.json', JSON.stringify(made.bundle));
`

// TestActionsAttest judges what GitHub's own library for artifact attestations signs and stores: by
// its API, and beside the files.
func TestActionsAttest(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil || os.Getenv("REPOPOLICY_LONG") == "" {
		t.Skip("it installs @actions/attest: REPOPOLICY_LONG=1 runs it")
	}
	p := newProducer(t, "acme/by-attest")
	const one, two = "widget_1.tar.gz", "widget_2.tar.gz"
	p.writes(map[string]string{one: "one", two: "two", "attest.mjs": attestScript, "package.json": `{"private":true}`})
	install := exec.CommandContext(t.Context(), npm, "install", "--silent", "--ignore-scripts", "@actions/attest@3.2.0")
	install.Dir = p.dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("@actions/attest cannot be had: %v: %s", err, out)
	}
	p.env = append(p.env, "JOB_TOKEN=sandbox-contents-write")
	p.runs(t.Context(), "node", "attest.mjs", one, two)
	bundle := string(contentOf(t, filepath.Join(p.dir, "attestation.json")))
	both := []string{one, two}
	p.releases(map[string]string{one: "one", two: "two", "multiple.intoto.jsonl": bundle + "\n"}, both)

	// By the API alone, wherever it keeps the bundles.
	f := stack.Forge()
	check(t, f.Withdraw(p.name, "v1.2.3"))
	check(t, f.Release(p.name, "v1.2.3", map[string]string{one: "one", two: "two"}))
	for _, m := range []forge.Manner{{}, {Stored: &forge.Storage{}}} {
		undo := f.Behave(m)
		p.verify(policy.ClassOK, "https://github.com/"+p.name+"/releases/tag/v1.2.3")
		undo()
	}
	if !slices.ContainsFunc(p.proxy.asked, func(s string) bool { return strings.HasSuffix(s, "/attestations") }) {
		t.Errorf("nothing was stored: %s", p.proxy.asked)
	}
}
