// SPDX-License-Identifier: Apache-2.0

// Package e2e takes repopolicy from nothing to a stranger's verdict on the
// services of the sandbox.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/rekorv1"
)

// The people and the workflow of most tests.
var (
	alice = claims.Email{Address: "alice@example.com"}
	bob   = claims.Email{Address: "bob@example.com"}
	ci    = claims.GitHub{Repository: "acme/widget", Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var postgres = flag.String("postgres", "", "URL of a PostgreSQL database in which Rekor v1 keeps its log, instead of in memory")

// One stack serves the whole package: Rekor v1 keeps its state in package
// variables. Tests tell their repositories apart.
var stack *sandbox.Stack

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(asGH) != "" {
		return gh(os.Args[1:])
	}
	if who := os.Getenv(asBrowser); who != "" {
		return browser(who, os.Args)
	}
	if file := os.Getenv(asDirectory); file != "" {
		return directoryProgram(file)
	}
	if file := os.Getenv(asProgram); file != "" {
		return program(file)
	}
	flag.Parse()
	wait, err := beside()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := runHere(m)
	if !wait() && code == 0 {
		code = 1
	}
	return code
}

func runHere(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if stack, err = sandbox.Start(context.Background(), dir, sandbox.Options{RekorV1: rekorv1.Log{Postgres: *postgres}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stack.Close()
	return m.Run()
}

func root(t testing.TB) *sigstore.Root {
	t.Helper()
	r, err := sigstore.ParseRoot("sandbox", stack.TrustedRoot())
	check(t, err)
	return r
}

func services(t testing.TB) sigstore.Services {
	t.Helper()
	s, err := sigstore.ParseSigningConfigs(time.Now(), stack.SigningConfig(1), stack.SigningConfig(2))
	check(t, err)
	return s
}

// machine is a computer with its own state.
type machine struct {
	t     testing.TB
	state *memory.State
	root  *sigstore.Root
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	s, err := memory.OpenState(t.TempDir())
	check(t, err)
	return &machine{t, s, root(t)}
}

func (m *machine) client(base string) *web.Client {
	m.t.Helper()
	c, err := web.New(base, nil, "repopolicy-e2e")
	check(m.t, err)
	return c
}

func (m *machine) hint() *lookup.Hint {
	return &lookup.Hint{Root: m.root, Client: m.client(stack.URL(sandbox.RekorV1)), Now: time.Now}
}

func (m *machine) scan() *lookup.Scan {
	s := &lookup.Scan{Root: m.root, Clients: map[string]*web.Client{}, Cursors: m.state, Now: time.Now}
	for _, l := range m.root.Logs() {
		if l.Generation == 2 {
			s.Clients[l.ID] = m.client(l.URL)
		}
	}
	return s
}

// resolve finds the policy of a repository from its files.
func (m *machine) resolve(repo string, files []bindings.File, lookups ...bindings.Lookup) *bindings.Resolution {
	m.t.Helper()
	l, err := policy.NormalizeLocator(repo)
	check(m.t, err)
	r := &bindings.Resolver{Root: m.root, Lookups: lookups, Keeper: m.state, Now: time.Now().UTC().Truncate(time.Second)}
	out, err := r.Resolve(m.t.Context(), l, files)
	check(m.t, err)
	return out
}

// write signs a statement as somebody.
func (m *machine) write(statement []byte, version int, who claims.Claims) []bindings.File {
	m.t.Helper()
	files, err := m.writer(nil).Write(m.t.Context(), signlog.Request{
		Statement: statement, Version: version,
		Signature: signlog.Signature{Who: fmt.Sprint(who), Token: func(context.Context) (string, error) { return stack.Token(who) }},
	})
	check(m.t, err)
	return files
}

func (m *machine) writer(step func(string)) *signlog.Writer {
	return &signlog.Writer{Root: m.root, Client: &sigstore.Client{Services: services(m.t), Transport: stack.Transport()}, Journal: m.state, Now: time.Now, Step: step}
}

// policyText is a policy of a repository with these maintainers.
func policyText(repo string, version, threshold int, members ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "format     = \"repopolicy/v1\"\nrepository = \"https://github.com/%s\"\nversion    = %d\nexpires    = 2099-01-01T00:00:00Z\n\n[maintainers]\nthreshold = %d\n", repo, version, threshold)
	for _, m := range members {
		fmt.Fprintf(&b, "[[maintainers.member]]\nname       = %q\nidentities = [{ email = \"%s@example.com\", issuer = \"https://accounts.google.com\" }]\n", m, m)
	}
	b.WriteString("\n[[release]]\nname        = \"binaries\"\ntags        = [\"v*\"]\nartifacts   = [\"widget_*.tar.gz\"]\nworkflow    = \".github/workflows/release.yml\"\nenvironment = \"release\"\n")
	return []byte(b.String())
}

func encode(t testing.TB, text []byte, previous string) []byte {
	t.Helper()
	payload, err := rekorbind.Encode(text, previous)
	check(t, err)
	return payload
}
