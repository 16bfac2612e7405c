// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// producer is a repository whose releases are made by programs of others.
type producer struct {
	t     testing.TB
	name  string
	dir   string // where they run
	home  string // of whoever runs them
	proxy *proxy
	job   claims.GitHub
	env   []string
	file  string // of its policy
}

func newProducer(t testing.TB, name string) *producer {
	t.Helper()
	f := stack.Forge()
	r, err := f.Create(name)
	check(t, err)
	commit, err := f.Commit(name, "main", map[string]string{"README": "x"})
	check(t, err)
	p := &producer{t: t, name: name, dir: t.TempDir(), home: t.TempDir(), proxy: newProxy(t)}
	p.job = claims.GitHub{Repository: name, RepositoryID: r.ID, OwnerID: r.OwnerID, Ref: "refs/tags/v1.2.3",
		Environment: "release"}
	job, end, err := stack.ActionsEnv(p.job)
	check(t, err)
	t.Cleanup(end)
	event := filepath.Join(p.home, "event.json")
	check(t, os.WriteFile(event, []byte(`{"repository":{"visibility":"public"}}`), 0o600))
	p.env = slices.Concat(p.proxy.env(), []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "CI=true", "GITHUB_REPOSITORY=" + name,
		"GITHUB_SERVER_URL=https://github.com",
		"GITHUB_API_URL=https://api.github.com", "GITHUB_EVENT_NAME=push", "GITHUB_REF=refs/tags/v1.2.3", "GITHUB_SHA=" +
			commit,
		"GITHUB_WORKFLOW_REF=" + name + "/.github/workflows/release.yml@refs/tags/v1.2.3", "GITHUB_EVENT_PATH=" + event,
		"GITHUB_REPOSITORY_ID=" + fmt.Sprint(r.ID), "GITHUB_REPOSITORY_OWNER_ID=" + fmt.Sprint(r.OwnerID), "GITHUB_RUN_ID=1",
		"GITHUB_RUN_ATTEMPT=1", "RUNNER_ENVIRONMENT=github-hosted", "TUF_ROOT=" + filepath.Join(p.home, ".tuf"),
		"GH_TOKEN=" + forge.ReadToken, "GH_CONFIG_DIR=" + p.home, "GH_NO_UPDATE_NOTIFIER=1",
	})
	for k, v := range job {
		p.env = append(p.env, k+"="+v)
	}
	rules := strings.Replace(string(policyText(name, 1, 1, "alice")), `["widget_*.tar.gz"]`, `"any"`, 1)
	p.file = filepath.Join(t.TempDir(), "policy.toml")
	check(t, os.WriteFile(p.file, []byte(rules), 0o600))
	return p
}

// runs runs a program of others and returns what it printed.
func (p *producer) runs(ctx context.Context, program string, args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s\nasked %s", filepath.Base(program), args, err, out, strings.Join(p.proxy.asked, "\n"))
	}
	return string(out)
}

func (p *producer) writes(files map[string]string) {
	p.t.Helper()
	for name, content := range files {
		path := filepath.Join(p.dir, filepath.FromSlash(name))
		check(p.t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(p.t, os.WriteFile(path, []byte(content), 0o600))
	}
}

func (p *producer) verify(want policy.Class, args ...string) string {
	p.t.Helper()
	user := newComputer(p.t)
	args = append([]string{"verify", "--policy", p.file, "--trusted-root", user.root}, args...)
	return user.must(want, args...)
}

// rule adds lines to the policy's rule, until undo is called.
func (p *producer) rule(lines string) (undo func()) {
	p.t.Helper()
	before := contentOf(p.t, p.file)
	check(p.t, os.WriteFile(p.file, append(slices.Clone(before), lines...), 0o600))
	return func() { check(p.t, os.WriteFile(p.file, before, 0o600)) }
}

// folder judges files in a directory and as a release of the forge; what is downloaded of that is
// what is allowed, or nothing.
func (p *producer) folder(want policy.Class, files map[string]string, flags ...string) {
	p.t.Helper()
	at := p.t.TempDir()
	for name, content := range files {
		check(p.t, os.WriteFile(filepath.Join(at, name), []byte(content), 0o600))
	}
	p.verify(want, append(slices.Clone(flags), "--offline", "--tag", "v1.2.3", at)...)
	f := stack.Forge()
	if err := f.Withdraw(p.name, "v1.2.3"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	check(p.t, f.Release(p.name, "v1.2.3", files))
	url, to := "https://github.com/"+p.name+"/releases/tag/v1.2.3", p.t.TempDir()
	p.verify(want, append(slices.Clone(flags), url)...)
	p.verify(want, append(slices.Clone(flags), "--download", to, url)...)
	left, err := os.ReadDir(to)
	check(p.t, err)
	if (len(left) > 0) != (want == policy.ClassOK) {
		p.t.Errorf("%s: downloaded %v", want, left)
	}
	for _, e := range left {
		if got := string(contentOf(p.t, filepath.Join(to, e.Name()))); files[e.Name()] != got {
			p.t.Errorf("%s was written with other bytes", e.Name())
		}
	}
}

// releases judges what a program made as a release: as it is it is allowed, with a script more, or
// with a byte more of an artifact, it is denied.
func (p *producer) releases(files map[string]string, artifacts []string, flags ...string) {
	p.t.Helper()
	p.folder(policy.ClassOK, files, flags...)
	more := maps.Clone(files)
	more["install.sh"] = "#!/bin/sh\n"
	p.folder(policy.ClassDeny, more, flags...)
	for _, a := range artifacts {
		changed := maps.Clone(files)
		changed[a] += "!"
		p.folder(policy.ClassDeny, changed, flags...)
	}
}

// TestNPM publishes with the real npm, whose provenance is verified as the registry has it and
// beside what npm packs.
func TestNPM(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	p := newProducer(t, "acme/by-npm")
	p.writes(map[string]string{
		"package.json": `{"name":"@acme/by-npm","version":"1.2.3","repository":"github:acme/by-npm","license":"MIT"}`,
		"index.js":     "exports.one = 1\n",
		".npmrc":       "//registry.npmjs.org/:_authToken=sandbox\nfetch-retries=0\ncafile=" + p.proxy.ca + "\n",
	})
	p.runs(t.Context(), npm, "publish", "--provenance", "--access", "public")
	const purl, tarball = "pkg:npm/%40acme/by-npm@1.2.3", "acme-by-npm-1.2.3.tgz"
	p.verify(policy.ClassOK, purl)
	p.verify(policy.ClassOK, "--tag", "v1.2.3", purl)
	p.verify(policy.ClassDeny, "--tag", "v1.2.4", purl)
	to := filepath.Join(t.TempDir(), "new")
	p.verify(policy.ClassOK, "--download", to, purl)

	// What npm packs is what was published, and its provenance calls it a package.
	p.runs(t.Context(), npm, "pack")
	packed, err := os.ReadFile(filepath.Join(p.dir, tarball))
	check(t, err)
	if got, err := os.ReadFile(filepath.Join(to, "by-npm-1.2.3.tgz")); err != nil || string(got) != string(packed) {
		t.Errorf("downloaded something else: %v", err)
	}
	client := &http.Client{Transport: stack.Transport()}
	resp, err := client.Get("https://registry.npmjs.org/-/npm/v1/attestations/@acme/by-npm@1.2.3")
	check(t, err)
	attestations, err := io.ReadAll(resp.Body)
	check(t, err)
	resp.Body.Close()
	files := map[string]string{tarball: string(packed), tarball + ".attestations.json": string(attestations)}
	p.folder(policy.ClassDeny, files) // a package is none but under its name
	p.writes(files)
	at := filepath.Join(p.dir, tarball)
	p.verify(policy.ClassOK, "--offline", "--tag", "v1.2.3", "--name", purl, at)
	p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.3", "--name", strings.Replace(purl, "1.2.3", "1.2.4", 1), at)
	p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.3", at)

	// The provenance of one version is none of another, nor of other bytes.
	stack.Forge().PublishNPM("@acme/by-npm", "1.2.4", packed, attestations)
	p.verify(policy.ClassDeny, "pkg:npm/%40acme/by-npm@1.2.4")
	stack.Forge().PublishNPM("@acme/by-npm", "1.2.3", append(packed, 0), attestations)
	p.verify(policy.ClassDeny, purl)
}

// signsWithCosign is a producer whose cosign knows the sandbox.
func signsWithCosign(t testing.TB, name string) (p *producer, cosign string) {
	t.Helper()
	cosign = sigstoretest.Cosign(t)
	p = newProducer(t, name)
	pinned, err := stack.TUFRoot()
	check(t, err)
	root := filepath.Join(p.home, "root.json")
	check(t, os.WriteFile(root, pinned, 0o600))
	p.runs(t.Context(), cosign, "initialize", "--mirror", stack.URL(sandbox.TUF), "--root", root)
	token, err := stack.Token(p.job)
	check(t, err)
	p.env = append(p.env, "SIGSTORE_ID_TOKEN="+token, "COSIGN_YES=true")
	return p, cosign
}

// TestCosignProducer judges releases that the real cosign signed, in the forms of its third version
// and those before, with statements beside and without.
func TestCosignProducer(t *testing.T) {
	const tarball = "widget_1.tar.gz"
	p, cosign := signsWithCosign(t, "acme/by-cosign")
	sign := func(args ...string) { p.runs(t.Context(), cosign, args...) }
	p.writes(map[string]string{tarball: "one", "sbom.spdx.json": `{"spdxVersion":"SPDX-2.3","name":"widget"}`})
	p.writes(map[string]string{"checksums.txt": sha("one") + "  " + tarball + "\n"})
	read := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, name := range names {
			out[name] = string(contentOf(t, filepath.Join(p.dir, name)))
		}
		return out
	}
	for _, f := range []string{tarball, "sbom.spdx.json", "checksums.txt"} {
		sign("sign-blob", "--bundle", f+".sigstore.json", f)
	}
	one := []string{tarball}
	p.releases(read(tarball, tarball+".sigstore.json"), one)
	p.releases(read(tarball, "checksums.txt", "checksums.txt.sigstore.json"), one)

	// A bill of materials is a file like any other. A statement that carries it is evidence for the
	// file that it is about, and is looked for under that file's name.
	sign("attest-blob", "--bundle", "sbom.sigstore.json", "--type", "spdxjson", "--predicate", "sbom.spdx.json", tarball)
	p.releases(read(tarball, tarball+".sigstore.json", "sbom.spdx.json", "sbom.spdx.json.sigstore.json",
		"sbom.sigstore.json"),
		[]string{tarball, "sbom.spdx.json"})
	p.folder(policy.ClassDeny, read(tarball, "sbom.sigstore.json"))
	p.folder(policy.ClassDeny, read(tarball, tarball+".sigstore.json", "sbom.spdx.json"))

	// As cosign did before: a signature, a certificate, and a bundle that holds both and a promise of
	// the log.
	sign("sign-blob", "--use-signing-config=false", "--new-bundle-format=false", "--fulcio-url",
		stack.URL(sandbox.Fulcio), "--rekor-url",
		stack.URL(sandbox.RekorV1), "--output-signature", tarball+".sig", "--output-certificate", tarball+".pem", "--bundle",
		tarball+".cosign.bundle", tarball)
	old := read(tarball, tarball+".sig", tarball+".pem", tarball+".cosign.bundle")
	p.folder(policy.ClassDeny, old) // nothing proves that the log has it
	undo := p.rule("set-only    = true\n")
	p.releases(old, one)
	undo()
	p.folder(policy.ClassDeny, read(tarball, tarball+".sig", tarball+".pem"), "--side-files", "signature,certificate")
	p.releases(read(tarball, tarball+".sigstore.json", tarball+".sig", tarball+".pem"), one, "--side-files",
		"signature,certificate")
}

// TestCosignImages judges images that the real cosign signed in a registry that wants a login, there
// and in a layout.
func TestCosignImages(t *testing.T) {
	const name = "acme/by-cosign-image"
	p, cosign := signsWithCosign(t, name)
	p.env = append(p.env, "DOCKER_CONFIG="+dockerLogin(t, forge.GHCR, forge.RegistryUser, forge.RegistryPassword))
	sign := func(args ...string) { p.runs(t.Context(), cosign, args...) }
	p.writes(map[string]string{"sbom.spdx.json": `{"spdxVersion":"SPDX-2.3","name":"widget"}`})
	const at = forge.GHCR + "/" + name
	signed, listed := at+"@"+pushed(t, forge.GHCR, name, "v1", name, false), at+"@"+pushed(t, forge.GHCR, name, "v2",
		name, false)
	bare := at + "@" + pushed(t, forge.GHCR, name, "v3", name, false)
	sign("sign", signed)
	for _, ref := range []string{signed, listed} {
		sign("attest", "--type", "spdxjson", "--predicate", "sbom.spdx.json", ref)
	}
	p.verify(policy.ClassOK, "--tag", "v1.2.3", "oci://"+signed)
	p.verify(policy.ClassOK, "--tag", "v1.2.3", "oci://"+at+":v1")
	p.verify(policy.ClassDeny, "--tag", "v1.2.4", "oci://"+signed)
	p.verify(policy.ClassOK, "--tag", "v1.2.3", "oci://"+listed) // the release workflow speaks of this image
	p.verify(policy.ClassDeny, "--tag", "v1.2.4", "oci://"+listed)
	p.verify(policy.ClassDeny, "--tag", "v1.2.3", "oci://"+bare)
	layout := filepath.Join(p.dir, "layout")
	sign("save", "--dir", layout, signed)
	p.verify(policy.ClassOK, "--offline", "--tag", "v1.2.3", layout) // its index does not list what is attached
	p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.4", layout)
	sign("save", "--dir", filepath.Join(p.dir, "bare"), bare)
	p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.3", filepath.Join(p.dir, "bare"))
}

// TestGHDownload judges what the real gh downloads of the attestations that the forge keeps, in each
// place where GitHub keeps them.
func TestGHDownload(t *testing.T) {
	gh := sigstoretest.GH(t)
	const tarball = "widget_1.tar.gz"
	p := newProducer(t, "acme/by-gh")
	p.writes(map[string]string{tarball: "one", "other": "two"})
	attest(t, p.name, "v1.2.3", tarball, "one")
	for what, m := range map[string]forge.Manner{"in the answer": {}, "at an address": {Stored: &forge.Storage{}}} {
		undo := stack.Forge().Behave(m)
		p.runs(t.Context(), gh, "attestation", "download", tarball, "--repo", p.name)
		undo()
		saved := filepath.Join(p.dir, "sha256:"+sha("one")+".jsonl")
		data := string(contentOf(t, saved))
		check(t, os.Remove(saved))
		t.Logf("%s: %d bytes", what, len(data))
		p.releases(map[string]string{tarball: "one", "sha256-" + sha("one") + ".jsonl": data}, []string{tarball})
		p.writes(map[string]string{"attestations.jsonl": data})
		p.verify(policy.ClassOK, "--offline", "--tag", "v1.2.3", "-b", filepath.Join(p.dir, "attestations.jsonl"),
			filepath.Join(p.dir, tarball))
		p.verify(policy.ClassDeny, "--offline", "--tag", "v1.2.3", "-b", filepath.Join(p.dir, "attestations.jsonl"),
			filepath.Join(p.dir, "other"))
	}
}
