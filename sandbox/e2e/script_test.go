// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// TestScripts runs the scripts of what needs a Sigstore, each on a computer of its own. A
// script can say
//
//	signin ADDRESS [ISSUER]
//	signout
//
// for who has a token, and finds the keys NAME.pem and NAME.pub of host and machine.
func TestScripts(t *testing.T) {
	self, err := os.Executable()
	check(t, err)
	bin := t.TempDir()
	check(t, os.WriteFile(filepath.Join(bin, "repopolicy"), []byte("#!/bin/sh\nexec "+self+" \"$@\"\n"), 0o700))
	author := "#!/bin/sh\n" + asAuthor + "=1 exec " + self + " \"$@\"\n"
	check(t, os.WriteFile(filepath.Join(bin, authorProgram), []byte(author), 0o700))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			home := t.TempDir()
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("HOME", home)
			e.Setenv(asProgram, writeWorld(t, filepath.Join(home, "state")))
			for _, name := range []string{"host", "machine"} {
				keyPair(t, e.WorkDir, name)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"signin": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 1 || len(args) > 2 {
					ts.Fatalf("usage: signin ADDRESS [ISSUER]")
				}
				who := claims.Email{Address: args[0]}
				if len(args) > 1 {
					who.Issuer = args[1]
				}
				token, err := stack.Token(who)
				ts.Check(err)
				ts.Setenv("SIGSTORE_ID_TOKEN", token)
			},
			"signout": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) > 0 {
					ts.Fatalf("usage: signout")
				}
				ts.Setenv("SIGSTORE_ID_TOKEN", "")
			},
		},
	})
}
