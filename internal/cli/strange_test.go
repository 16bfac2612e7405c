// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/trust"
)

// strange are values that are hardly meant, of every kind of flag.
var strange = []string{
	"", " ", "0", "-1", "x", "/", ".", "..", "\x00", "\xff", "\u202e", "a\nb", "=", "a=b", "a=https://b", "@", "%", "**", "[", "sha256:", "sha256:" + strings.Repeat("0", 64), "9223372036854775807", "-9223372036854775808", "99999999999999999999",
	"0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0000-12-31T00:00:00+23:59", "2540400h10m", "1ns", "-1h", "999999y", "3650d", "refs/tags/v1", "https://", "https://a", "http://[::1", "oci:", "oci-layout:", "oci:a/b@sha256:0", "policy.toml", "junk", "/dev/null", "pkg:npm/a@1", strings.Repeat("a", 70000),
}

// TestStrangeFlags: no value of any flag or argument ends in what is called a bug.
func TestStrangeFlags(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of runs")
	}
	env := place(t)
	state := t.TempDir()
	env.Transport = roundTrips(func(*http.Request) (*http.Response, error) { return nil, errors.New("unreachable") })
	env.StateDir = func() (string, error) { return state, nil }
	env.SigningConfigs = func(context.Context, bool) ([][]byte, error) { return nil, errors.New("no network") }
	env.Root = func(context.Context, trust.Options) ([]trust.Root, error) { return nil, errors.New("no network") }
	env.Getenv = func(string) string { return "" }
	if err := os.WriteFile("junk", []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = exec.Command("git", "init", "-q").Run()
	base := map[string][]string{
		"verify": {"--policy", "policy.toml", "--trusted-root", "root.json", "widget_1"}, "explain": {"--policy", "policy.toml", "--trusted-root", "root.json", "widget_1"}, "check": {"policy.toml"}, "export": {"--policy", "policy.toml", "--to", "gh"},
		"init": {"--repository", "acme/widget", "--maintainers", "repository", "--program", "a@v1"}, "trust init": {"root"}, "trust show": {"--offline"}, "evidence show": {"junk", "--trusted-root", "root.json"}, "import aqua": {"junk"},
		"authorize": {"-R", "acme/widget"}, "sign-release": {"-R", "acme/widget", "-y", "widget_1"}, "approve": {"-R", "acme/widget", "-y", "widget_1"}, "lock": {"-R", "acme/widget", "-o", "l"}, "show": {"-R", "acme/widget"}, "log": {"-R", "acme/widget"},
		"export-bundle": {"-R", "acme/widget", "-o", "b"}, "diff": {"-R", "acme/widget"}, "trust export": {"x", "-o", "d"}, "trust sign": {"root", "-y"}, "trust publish": {"root"}, "trust add": {"root", "a=b"}, "trust rotate": {"root"}, "trust delegate": {"root"}, "sign": {"-y"},
	}
	run := func(args ...string) {
		var out bytes.Buffer
		env.Stdout, env.Stderr = &out, &out
		if code := Main(args, env); code == 70 {
			t.Errorf("%.200q: %.2000s", args, out.String())
		}
	}
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			walk(sub, append(append([]string{}, path...), sub.Name()))
		}
		if len(path) == 0 || !c.Runnable() {
			return
		}
		rest := base[strings.Join(path, " ")]
		for _, v := range strange {
			run(append(append([]string{}, path...), v)...)
			run(append(append(append([]string{}, path...), rest...), v)...)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			for _, v := range strange {
				run(append(append(append([]string{}, path...), rest...), "--"+f.Name+"="+v)...)
				run(append(append([]string{}, path...), "--"+f.Name+"="+v)...)
			}
		})
	}
	walk(Command(), nil)
}

type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
