// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/directory"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/trust"
)

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCommands runs the program's command lines that end before anything is built.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	signer, verifier, err := directory.Keygen("directory.example")
	if err != nil {
		t.Fatal(err)
	}
	key, root := write("key", []byte(signer)), write("root.json", sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	none := write("none.json", sigstoretest.New(t).Root(sigstoretest.RootOptions{NoLog: true}))
	config := write("trust.toml", []byte("format = \"repopolicy-trust/v1\"\n"))
	junk := write("junk", []byte("junk\x1b[31m"))
	d := answers.Descriptor{URL: "http://127.0.0.1:1", Key: verifier}
	descriptor := write("directory.json", d.Bytes())
	state := filepath.Join(dir, "state")
	used, err := directory.OpenStore(filepath.Join(dir, "used"))
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":                                  {2, "no command given"},
		"frobnicate":                        {2, "unknown command"},
		"build":                             {2, `required flag(s) "key" not set`},
		"build --wat":                       {2, "unknown flag"},
		"build x":                           {2, "unknown command"},
		"keygen --url https://d.example":    {2, "accepts 1 arg"},
		"serve --interval x --key " + key:   {2, "invalid argument"},
		"build --forges x --key " + key:     {2, "--forges and --pki go with --trusted-root"},
		"build --pki x --key " + key:        {2, "--forges and --pki go with --trusted-root"},
		"build --trust-root x --key " + key: {2, "go together"},
		"build --trust-root x --trust-config " + dir + "/no --key " + key:            {2, "does not exist"},
		"build --trust-root x --trust-config " + junk + " --key " + key:              {2, "--trust-config"},
		"build --trust-root x --trust-config " + config + " --key " + key:            {2, `no root "x" is configured`},
		"build --trust-root x --trusted-root " + root + " --key " + key:              {2, "contradict each other"},
		"build --trusted-root " + root + " --trusted-root " + none + " --key " + key: {2, "given 2 times"},
		"--help":       {0, ""},
		"build --help": {0, ""},

		"build --key " + dir + "/missing": {2, "no such file"},
		"build --key " + junk:             {2, "not a signer key"},
		"build --key " + key + " --trusted-root " + junk + " --state " +
			state: {6, "trusted root"},
		"build --key " + key + " --trusted-root " + none + " --state " +
			state: {6, "no transparency log"},
		"build --key " + key + " --trusted-root " + root + " --forges " + junk + " --state " +
			state: {6, "forge table"},
		"build --key " + key + " --trusted-root " + root + " --witnesses " + junk + " --state " +
			state: {2, "--witnesses: witness policy"},
		"build --key " + key + " --trusted-root " + root + " --retire x --state " +
			state: {2, `there is no map "x"`},
		"build --key " + key + " --trusted-root " + root + " --state " + dir +
			"/used": {3, "another process is using it"},
		"build --key " + key + " --trusted-root " + root + " --state " +
			state: {3, "unreachable"},
		"build --key " + key + " --trusted-root " + root + " --inbox " + dir + "/no --state " + state: {2, "--inbox: "},
		"serve --interval 0s --key " + key: {
			2, "--interval",
		},
		"publish --state " + state: {
			2, `required flag(s) "site" not set`,
		},
		"publish --state " + state + " --site " + dir +
			"/site": {3, "nothing was built yet"},
		"keygen " + key +
			" --url https://d.example": {2, "file exists"},
		"keygen " + dir +
			"/k1 --url d.example": {2, "not the URL of a service"},
		"keygen " + dir +
			"/k2 --url http://d.example": {2, "not https"},
		"keygen " + dir +
			"/k3 --url https://d.example/": {2, "without a slash"},
		"keygen " + dir +
			"/k4 --url https://d.example/sub": {0, `"key": "d.example/sub+`},
		"audit --key " + key + " --directory " +
			junk: {2, "--directory"},
		"audit --key " + key + " --directory " + descriptor + " --trusted-root " + root + " --state " +
			state: {3, "unreachable"},
		"audit --key " + junk + " --directory " +
			descriptor: {2, "not a signer key"},
		"audit --key " + key + " --site " + dir + " --directory " + descriptor + " --trusted-root " + root + " --state " +
			state + "2": {3, "404"},
		"staple -R x --directory " + descriptor + " --trusted-root " + root: {
			2, "-R",
		},
		"staple -R acme/widget --site " + dir + " --directory " + descriptor + " --trusted-root " + root: {
			3, "404",
		},
		"staple -R acme/widget --directory " + descriptor + " --trusted-root " + root + " --output " + dir + "/none.gz": {
			3, "unreachable",
		},
	} {
		var out, talk bytes.Buffer
		code := Main(strings.Fields(args), Env{
			Stdout: &out, Stderr: &talk, Now: time.Now,
			Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("unreachable") }),
			Root:      func(context.Context) (trust.Root, error) { return trust.Root{}, errors.New("not asked for") },
		})
		if all := out.String() + talk.String(); code != want.code || !strings.Contains(all, want.text) ||
			strings.Contains(all, "\x1b") {
			t.Errorf("%s: exit %d, not %d with %q\n%s", strings.ReplaceAll(args, dir, "DIR"), code, want.code, want.text, all)
		}
	}
}
