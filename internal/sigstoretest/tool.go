// SPDX-License-Identifier: Apache-2.0

package sigstoretest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	cosign    = "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3"
	act       = "github.com/nektos/act@v0.2.89"
	toolBuild = 8 * time.Minute // less than a package's tests may take
)

// Cosign returns the path of cosign: the program that COSIGN names, or one that
// is built once through the module proxy and kept in the user's cache. Where
// there is none the test is skipped.
func Cosign(t testing.TB) string {
	t.Helper()
	return tool(t, "COSIGN", cosign)
}

// Act returns the path of act, which runs workflows of GitHub Actions, like
// Cosign; ACT names another one.
func Act(t testing.TB) string {
	t.Helper()
	return tool(t, "ACT", act)
}

func tool(t testing.TB, env, pkg string) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		return path
	}
	where, version, _ := strings.Cut(pkg, "@")
	name := filepath.Base(where)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("%s is not run: no cache directory: %v", name, err)
	}
	dir := filepath.Join(cache, "repopolicy-test", name+"-"+version)
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if testing.Short() {
		t.Skipf("%s is not run: building it takes minutes; leave out -short, or name a program with %s", name, env)
	}
	ctx, stop := context.WithTimeout(t.Context(), toolBuild)
	defer stop()
	cmd := exec.CommandContext(ctx, "go", "install", pkg)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%s is not run: it cannot be built here: %v: %s", name, err, out)
	}
	return path
}
