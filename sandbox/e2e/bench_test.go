// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// BenchmarkJourney takes people from nothing to a verified release on the sandbox:
// a maintainer who starts a policy, a release engineer whose tag is authorised,
// signed and published, and a consumer who knows the address of the release and
// nothing else. Beside it stand the consumer who has file, bundle and identity, by
// this program and by cosign.
func BenchmarkJourney(b *testing.B) {
	b.Run("maintainer", func(b *testing.B) {
		for range b.N {
			benchmarkProject(b, b.TempDir())
		}
	})
	name, a := benchmarkProject(b, b.TempDir())
	b.Run("release engineer", func(b *testing.B) {
		for range b.N {
			benchmarkRelease(b, name, a)
		}
	})
	tag := benchmarkRelease(b, name, a)
	file := releasedFile(name)
	url := "https://github.com/" + name + "/releases/download/" + tag + "/" + file
	self, err := os.Executable()
	check(b, err)
	run := func(b *testing.B, env []string, args ...string) {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), args[0], args[1:]...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	b.Run("consumer", func(b *testing.B) {
		for range b.N { // each time a machine without memory
			run(b, []string{asProgram + "=" + writeWorld(b, filepath.Join(b.TempDir(), "state"))}, self, "verify", url)
		}
	})
	dir := b.TempDir()
	for _, f := range []string{file, file + ".sigstore.json"} {
		run(b, []string{asProgram + "=" + writeWorld(b, ""), asGH + "=1", "GH_TOKEN=sandbox-contents-write"}, self, "release", "download", tag, "--repo", name, "--dir", filepath.Join(dir, f))
	}
	at, bundle, root := filepath.Join(dir, file, file), filepath.Join(dir, file, file+".sigstore.json"), filepath.Join(dir, "root.json")
	check(b, os.WriteFile(root, stack.TrustedRoot(), 0o600))
	signer := []string{"--bundle", bundle, "--trusted-root", root, "--certificate-identity", "https://github.com/" + name + "/.github/workflows/release.yml@refs/tags/" + tag, "--certificate-oidc-issuer", "https://token.actions.githubusercontent.com", at}
	b.Run("consumer with an identity", func(b *testing.B) {
		for range b.N {
			run(b, []string{asProgram + "=" + writeWorld(b, filepath.Join(b.TempDir(), "state"))}, append([]string{self, "verify"}, signer...)...)
		}
	})
	b.Run("consumer with an identity, cosign", func(b *testing.B) {
		cosign := sigstoretest.Cosign(b)
		for range b.N {
			run(b, []string{"HOME=" + dir}, append([]string{cosign, "verify-blob"}, signer...)...)
		}
	})
}

var benchmarkProjects int

func releasedFile(name string) string { return filepath.Base(name) + ".tar.gz" }

// benchmarkProject is one clone, one init with a signature, one commit, one push,
// and the forge's run that binds.
func benchmarkProject(b *testing.B, dir string) (string, *actions) {
	b.Helper()
	b.StopTimer()
	benchmarkProjects++
	name := "bench/p" + strings.Repeat("x", benchmarkProjects)
	_, err := stack.Forge().Create(name)
	check(b, err)
	_, err = stack.Forge().Commit(name, "main", map[string]string{".github/workflows/release.yml": strings.ReplaceAll(benchmarkWorkflow, "FILE", releasedFile(name))})
	check(b, err)
	maintainer := newComputer(b)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(b, err)
	a := newActions(b, name)
	b.StartTimer()
	git(b, dir, "clone", "-q", stack.Forge().CloneURL(name), "tree")
	tree := filepath.Join(dir, "tree")
	maintainer.must(policy.ClassOK, "init", "--git", tree, "--repo", "https://github.com/"+name, "--yes")
	git(b, tree, "add", "-A")
	git(b, tree, "-c", "user.name=alice", "-c", "user.email=alice@example.com", "commit", "-q", "-m", "add a release policy")
	git(b, tree, "push", "-q")
	if ended := strings.Join(a.trigger("push", ""), " "); strings.Contains(ended, "failure") {
		b.Fatal(ended, a.out.String())
	}
	return name, a
}

// benchmarkRelease is one pushed tag and the run that it starts.
func benchmarkRelease(b *testing.B, name string, a *actions) string {
	b.Helper()
	benchmarkProjects++
	tag := "v1." + strings.Repeat("1", benchmarkProjects)
	check(b, stack.Forge().SetRef(name, "refs/tags/"+tag, mainOf(b, name)))
	a.out.Reset()
	if ended := strings.Join(a.fire(forge.Event{Name: "push", Ref: "refs/tags/" + tag}), " "); ended != "sign success publish success" {
		b.Fatal(ended, a.out.String())
	}
	return tag
}

const benchmarkWorkflow = `on: {push: {tags: ['v*']}}
permissions: {}
jobs:
  sign:
    runs-on: ubuntu-latest
    environment: release
    permissions: {id-token: write}
    steps:
      - run: mkdir dist && echo x > dist/FILE
      - run: go run github.com/repopolicy/repopolicy/cmd/repopolicy@v1.0.0 authorize dist/FILE
      - run: go run github.com/repopolicy/repopolicy/cmd/repopolicy@v1.0.0 sign-release dist/FILE
      - uses: actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02
        with: {name: dist, path: dist}
  publish:
    needs: sign
    runs-on: ubuntu-latest
    permissions: {contents: write}
    steps:
      - uses: actions/download-artifact@d3f86a106a0bac45b974a628896c90dbdf5c8093
        with: {name: dist, path: dist}
      - run: gh release create "$GITHUB_REF_NAME" --repo "$GITHUB_REPOSITORY" -- dist/*
        env: {GH_TOKEN: "${{ github.token }}"}
`
