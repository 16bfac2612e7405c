// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// TestGetInWorld: a repository of packages lies in registries as people rent them, which demand a
// login, and send downloads on to a storage; the policy of the project decides beside its metadata.
func TestGetInWorld(t *testing.T) {
	const repo = "acme/packaged"
	bound(t, repo)
	made, err := stack.Forge().Find(repo)
	check(t, err)
	good := releaseFile(t, "widget_1.tar.gz", claims.GitHub{
		Repository: repo, RepositoryID: made.ID, OwnerID: made.OwnerID, Ref: "refs/tags/v1", Environment: "release",
	})
	other := artifact(t, "widget_2.tar.gz")
	for _, host := range []string{forge.GHCR, forge.GitLabRegistry, forge.BasicRegistry} {
		k := newKeeper(t)
		k.do("add-target", "widget/widget_1.tar.gz="+good, "--repo", repo, "--tag", "v1")
		k.do("add-target", "widget/widget_2.tar.gz="+other, "--repo", repo, "--tag", "v1")
		k.do("add-target", "plain/widget_2.tar.gz="+other)
		k.do("sign", "--key", k.key)
		address := "oci:" + host + "/acme/packages:latest"
		publish := []string{authorProgram, "publish", k.dir, "--key", k.machine, "--to", address}
		k.saying(policy.ClassUnavailable, "docker login", publish...)
		k.login(host, forge.RegistryUser, forge.RegistryPassword)
		k.must(policy.ClassOK, publish...)
		root := filepath.Join(k.dir, "repository", "1.root.json")
		get := func(class policy.Class, text, path string, args ...string) {
			t.Helper()
			out := filepath.Join(t.TempDir(), "got")
			args = append([]string{"get", "oci:" + host + "/acme/packages//" + path, "--root", root, "-o", out}, args...)
			newComputer(t).saying(class, text, args...)
			data, err := os.ReadFile(out)
			if want, _ := os.ReadFile(good); class == policy.ClassOK && err == nil && path == "widget/widget_1.tar.gz" {
				if string(data) != string(want) {
					t.Errorf("%s: got %q", host, data)
				}
			}
			if (err == nil) != (class == policy.ClassOK) {
				t.Errorf("%s %s: %v", host, path, err)
			}
		}
		get(policy.ClassOK, "released by acme/packaged v1", "widget/widget_1.tar.gz")
		get(policy.ClassDeny, "no-evidence", "widget/widget_2.tar.gz")
		get(policy.ClassOK, "by TUF alone", "plain/widget_2.tar.gz")
		get(policy.ClassDeny, "", "widget/widget_1.tar.gz", "--tag", "v2")
		stack.Forge().Registry(host).Private("acme/packages", true)
		get(policy.ClassUnavailable, "docker login", "widget/widget_1.tar.gz")
		stack.Forge().Registry(host).Private("acme/packages", false)
	}
}
