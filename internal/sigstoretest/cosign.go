// SPDX-License-Identifier: Apache-2.0

package sigstoretest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	cosignVersion = "v3.1.3"
	cosignBuild   = 8 * time.Minute // less than a package's tests may take
)

// Cosign returns the path of cosign: the program that COSIGN names, or one that
// is built once through the module proxy and kept in the user's cache. Where
// there is none the test is skipped.
func Cosign(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("COSIGN"); path != "" {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("cosign is not run: no cache directory: %v", err)
	}
	dir := filepath.Join(cache, "repopolicy-test", "cosign-"+cosignVersion)
	path := filepath.Join(dir, "cosign")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if testing.Short() {
		t.Skip("cosign is not run: building it takes minutes; leave out -short, or name a program with COSIGN")
	}
	ctx, stop := context.WithTimeout(t.Context(), cosignBuild)
	defer stop()
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/sigstore/cosign/v3/cmd/cosign@"+cosignVersion)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cosign is not run: it cannot be built here: %v: %s", err, out)
	}
	return path
}
