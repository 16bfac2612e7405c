// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trustcli"
)

func TestMain(m *testing.M) {
	program := func(run func([]string, command.Env) int) func() {
		return func() {
			env := command.OS()
			env.Now = func() time.Time { return sigstoretest.Now.AddDate(0, 1, 0) }
			env.Root = func(context.Context, trust.Options) ([]trust.Root, error) {
				data, err := os.ReadFile(os.Getenv("TEST_ROOT"))
				if err != nil {
					return nil, err
				}
				r, err := sigstore.ParseRoot("public-good", data)
				return []trust.Root{{Root: r}}, err
			}
			os.Exit(run(os.Args[1:], env))
		}
	}
	testscript.Main(m, map[string]func(){
		"repopolicy-trust": program(trustcli.Main),
		"repopolicy":       program(cli.Main), // what the roots are for
	})
}

// pin writes the digest of a root's first metadata in the place of DIGEST in a file.
func pin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pin FILE 1.root.json")
	}
	text := ts.ReadFile(args[0])
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(ts.ReadFile(args[1]))))
	text = strings.ReplaceAll(text, "DIGEST", sum)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"pin": pin},
		Setup: func(e *testscript.Env) error {
			inst := sigstoretest.New(t)
			release := sigstoretest.Workflow("v1.2.3")
			release.Artifact = []byte("widget 1.2.3\n")
			policy, err := os.ReadFile("../repopolicy/testdata/policy.toml")
			for name, data := range map[string][]byte{
				"trusted_root.json": inst.Root(sigstoretest.RootOptions{}), "policy.toml": policy,
				"widget_1.2.3.tar.gz": release.Artifact, "widget_1.2.3.tar.gz.sigstore.json": inst.Sign(release),
			} {
				at := filepath.Join(e.WorkDir, name)
				if _, has := os.Stat(at); has != nil { // a script may bring its own
					err = errors.Join(err, os.WriteFile(at, data, 0o600))
				}
			}
			e.Setenv("TEST_ROOT", filepath.Join(e.WorkDir, "trusted_root.json"))
			return err
		},
	})
}
