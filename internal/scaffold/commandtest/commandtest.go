// SPDX-License-Identifier: Apache-2.0

// Package commandtest tries command lines: on a machine that nobody answers, and with values
// that are hardly meant.
package commandtest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust"
)

type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errSilent = errors.New("nobody answers")

// Silence lets nobody answer on a machine, and returns where whom it asks is written down.
func Silence(env *command.Env) *[]string {
	var asked []string
	ask := func(whom string) { asked = append(asked, whom) }
	env.Transport = roundTrips(func(r *http.Request) (*http.Response, error) {
		ask(r.URL.Host)
		return nil, errSilent
	})
	env.Root = func(context.Context, trust.Options) ([]trust.Root, error) {
		ask("the trust root")
		return nil, errSilent
	}
	env.SigningConfigs = func(context.Context, bool) ([][]byte, error) {
		ask("the signing config")
		return nil, errSilent
	}
	env.Command = func(context.Context, ...string) ([]byte, error) {
		ask("a token")
		return nil, errSilent
	}
	env.Credential = func(context.Context, string) (auth.Credential, error) {
		ask("a credential")
		return auth.EmptyCredential, errSilent
	}
	return &asked
}

// strange are values that are hardly meant, of every kind of flag.
var strange = []string{
	"", " ", "0", "-1", "x", "/", ".", "..", "\x00", "\xff", "\u202e", "a\nb", "=", "a=b", "a=https://b", "@", "%", "**",
	"[", "sha256:", "sha256:" + strings.Repeat("0", 64), "9223372036854775807", "-9223372036854775808",
	"99999999999999999999", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0000-12-31T00:00:00+23:59",
	"2540400h10m", "1ns", "-1h", "999999y", "3650d", "refs/tags/v1", "https://", "https://a", "http://[::1", "oci:",
	"oci-layout:", "oci:a/b@sha256:0", "policy.toml", "junk", "/dev/null", "pkg:npm/a@1", strings.Repeat("a", 70000),
}

// Strange gives every flag and argument of a program values that are hardly meant, alone and
// after the arguments that usual has for the verb: none ends in what is called a bug.
func Strange(
	t *testing.T, tree *cobra.Command, usual map[string][]string, env command.Env,
	program func([]string, command.Env) int,
) {
	t.Helper()
	run := func(path []string, more ...string) {
		var out bytes.Buffer
		env.Stdout, env.Stderr = &out, &out
		args := slices.Concat(path, more)
		if code := program(args, env); code == 70 {
			t.Errorf("%.200q: %.2000s", args, out.String())
		}
	}
	Verbs(tree, func(c *cobra.Command) {
		if !c.HasParent() || !c.Runnable() {
			return
		}
		path := strings.Fields(c.CommandPath())[1:]
		whole := slices.Concat(path, usual[strings.Join(path, " ")])
		for _, v := range strange {
			run(path, v)
			run(whole, v)
			c.Flags().VisitAll(func(f *pflag.Flag) {
				run(whole, "--"+f.Name+"="+v)
				run(path, "--"+f.Name+"="+v)
			})
		}
	})
}

// Verbs calls do for every command of a tree. Topics of its help are none.
func Verbs(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		if !sub.IsAdditionalHelpTopicCommand() {
			Verbs(sub, do)
		}
	}
}
