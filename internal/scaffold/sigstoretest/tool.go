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
	gh        = "github.com/cli/cli/v2@v2.83.2" // module; the program is cmd/gh
	ko        = "github.com/google/ko@v0.19.1"
	syft      = "github.com/anchore/syft/cmd/syft@v1.57.1"
	releaser  = "github.com/goreleaser/goreleaser/v2@v2.16.0"
	toolBuild = 15 * time.Minute // less than the tests of the sandbox may take
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

// GH returns the path of GitHub's command line, like Cosign; GH names another
// one. It is built as its own module says, which go install does not do where a
// proxy has no list of its versions.
func GH(t testing.TB) string {
	t.Helper()
	return kept(
		t,
		"GH",
		"gh",
		strings.TrimPrefix(gh, "github.com/cli/cli/v2@"),
		func(ctx context.Context, bin string) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-ec", `
dir=$(GOFLAGS=-mod=mod go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$dir" source && chmod -R u+w source && cd source && go build -o "$2/" ./cmd/gh`, "sh", gh, bin)
		},
	)
}

// Goreleaser, Ko and Syft return the paths of programs that make releases, images and bills of
// materials, like Cosign. Building them takes longer than the tests of a change may: without
// REPOPOLICY_LONG the test is skipped, unless GORELEASER, KO or SYFT names one.
func Goreleaser(t testing.TB) string { return long(t, "GORELEASER", releaser) }

// Ko: see Goreleaser.
func Ko(t testing.TB) string { return long(t, "KO", ko) }

// Syft: see Goreleaser.
func Syft(t testing.TB) string { return long(t, "SYFT", syft) }

func long(t testing.TB, env, pkg string) string {
	t.Helper()
	if os.Getenv(env) == "" && os.Getenv("REPOPOLICY_LONG") == "" {
		t.Skipf("%s takes minutes to build: REPOPOLICY_LONG=1 builds it, and %s names one", pkg, env)
	}
	return tool(t, env, pkg)
}

func tool(t testing.TB, env, pkg string) string {
	t.Helper()
	where, version, _ := strings.Cut(pkg, "@")
	return kept(t, env, filepath.Base(where), version, func(ctx context.Context, bin string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "install", pkg)
		cmd.Env = append(os.Environ(), "GOBIN="+bin)
		return cmd
	})
}

// alone waits until no other process builds the program, and reports whether it is still to be
// built, by this one. Who began a build that long ago does not go on with it.
func alone(ctx context.Context, dir, path string) bool {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return true
	}
	for {
		f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			f.Close()
		}
		if _, built := os.Stat(path); built == nil {
			if err == nil {
				os.Remove(dir + ".lock")
			}
			return false
		}
		if err == nil || ctx.Err() != nil {
			return true
		}
		if info, err := os.Stat(dir + ".lock"); err == nil && time.Since(info.ModTime()) > toolBuild {
			os.Remove(dir + ".lock")
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// kept returns the program that env names, or the one that build put into the
// user's cache.
func kept(t testing.TB, env, name, version string, build func(ctx context.Context, bin string) *exec.Cmd) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		return path
	}
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
	if !alone(ctx, dir, path) {
		return path
	}
	defer os.Remove(dir + ".lock")
	cmd := build(ctx, dir)
	cmd.Dir = t.TempDir()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%s is not run: it cannot be built here: %v: %s", name, err, out)
	}
	return path
}
