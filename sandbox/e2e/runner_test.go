// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trustcli"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/internal/issuer"
)

// asProgram names the environment variable with which this test binary is the
// program itself, as a process of its own. Its value is a file with a world.
const asProgram = "E2E_WORLD"

// asAuthor names the variable with which it is repopolicy-trust then.
const asAuthor = "E2E_AUTHOR"

// world says to another process where the stack is.
type world struct {
	Root    json.RawMessage
	Configs []json.RawMessage
	Hosts   map[string]string
	State   string // directory; "" for one below HOME
}

func writeWorld(t testing.TB, state string) string {
	t.Helper()
	return writeWorldOf(t, stack, state, nil)
}

// writeWorldOf does the same for another stack, and with more hosts.
func writeWorldOf(t testing.TB, stack *sandbox.Stack, state string, more map[string]string) string {
	t.Helper()
	host := func(s sandbox.Service) string { return strings.TrimPrefix(stack.URL(s), "http://") }
	hosts := map[string]string{"token.actions.githubusercontent.com": host(sandbox.Issuer)}
	for _, name := range forge.Hosts {
		hosts[name] = host(sandbox.Forge)
	}
	for _, path := range []string{"gitlab.com/.well-known", "gitlab.com/oauth"} {
		hosts[path] = host(sandbox.Issuer)
	}
	maps.Copy(hosts, more)
	data, err := json.Marshal(world{stack.TrustedRoot(), []json.RawMessage{stack.SigningConfig(1), stack.SigningConfig(2)}, hosts, state})
	check(t, err)
	path := filepath.Join(t.TempDir(), "world.json")
	check(t, os.WriteFile(path, data, 0o600))
	return path
}

// program runs the command line in the world of a file.
func program(file string) int {
	var w world
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &w)
	}
	if err == nil {
		err = limitFiles()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	if w.State == "" {
		w.State = filepath.Join(os.Getenv("HOME"), "state")
	}
	out := newKiller(os.Stdout)
	run := cli.Main
	if os.Getenv(asAuthor) != "" {
		run = trustcli.Main
	}
	of := command.OS()
	return run(os.Args[1:], command.Env{
		Stdout: out, Stderr: killer{os.Stderr, out.left}, Now: time.Now, Getenv: os.Getenv, Version: "v1.0.0",
		OutWidth: of.OutWidth, ErrWidth: of.ErrWidth,
		Transport: &issuer.Transport{Base: http.DefaultTransport, Hosts: w.Hosts},
		StateDir:  func() (string, error) { return w.State, nil },
		Root: func(context.Context, trust.Options) ([]trust.Root, error) {
			r, err := sigstore.ParseRoot("sandbox", w.Root)
			return []trust.Root{{Root: r}}, err
		},
		SigningConfigs: func(context.Context, bool) ([][]byte, error) {
			var out [][]byte
			for _, c := range w.Configs {
				out = append(out, c)
			}
			return out, nil
		},
	})
}

// The commands of a runner that reach beyond the sandbox: go would download the
// program, gh would ask GitHub's API.
const (
	goCommand = `#!/bin/sh
if [ "$1" = build ] && [ -n "$GITHUB_ACTION_PATH" ]; then # of the action's checkout
  out=
  while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
  [ -f "$GITHUB_ACTION_PATH/action/install.sh" ] && [ -n "$out" ] || exit 1
  printf '#!/bin/sh\nexec "$E2E_BINARY" "$@"\n' > "$out" && exec chmod 700 "$out"
fi
if [ "$1 $2 $3 $4" = "run -C repository ./cmd/repopolicy" ]; then # of its own repository
  shift 4
  cd repository && exec "$E2E_BINARY" "$@"
fi
if [ -n "$E2E_GO" ]; then exec "$E2E_GO" "$@"; fi
[ "$1" = run ] && [ "$2" = github.com/repopolicy/repopolicy/cmd/repopolicy@v1.0.0 ] || { echo "go: not the pinned program: $*" >&2; exit 1; }
shift 2
exec "$E2E_BINARY" "$@"
`
	ghCommand = `#!/bin/sh
E2E_GH="$E2E_BINARY" exec "$E2E_BINARY" "$@"
`
)

// actions runs the workflows of a project as a forge does, dispatches included,
// until nothing is left to run.
type actions struct {
	t      testing.TB
	name   string // of the repository
	env    map[string]string
	out    bytes.Buffer      // what the steps printed
	before map[string]func() // called before the job of that id
	// Of the jobs that ran last, by id.
	outputs   map[string]map[string]string
	summaries map[string]string
}

func newActions(t testing.TB, name string) *actions {
	t.Helper()
	bin := t.TempDir()
	for file, text := range map[string]string{"go": goCommand, "gh": ghCommand} {
		check(t, os.WriteFile(filepath.Join(bin, file), []byte(text), 0o700))
	}
	self, err := os.Executable()
	check(t, err)
	return &actions{t: t, name: name, env: map[string]string{
		"PATH": bin + string(os.PathListSeparator) + os.Getenv("PATH"), "E2E_BINARY": self,
		asProgram: writeWorld(t, ""), "E2E_DISPATCHED": filepath.Join(bin, "dispatched"),
	}}
}

// trigger runs what an event starts, and the dispatches that follow from it. It
// returns how each job ended, in their order, such as "bind success".
func (a *actions) trigger(event, before string) []string {
	a.t.Helper()
	out := a.fire(forge.Event{Name: event, Action: map[string]string{"repository_dispatch": "repopolicy"}[event], Ref: "refs/heads/main", Before: before})
	if err := os.Remove(a.env["E2E_DISPATCHED"]); err == nil {
		out = append(out, a.trigger("repository_dispatch", "")...)
	} else if !errors.Is(err, fs.ErrNotExist) {
		a.t.Fatal(err)
	}
	return out
}

// fire runs what one event of the repository starts. It returns how each job that
// was not skipped ended.
func (a *actions) fire(e forge.Event) []string {
	a.t.Helper()
	e.Repository = a.name
	a.outputs, a.summaries = map[string]map[string]string{}, map[string]string{}
	artifacts := a.t.TempDir() // of one run, as there is one run at a time
	runs, err := stack.Forge().Trigger(a.t.Context(), e, func(ctx context.Context, j *forge.Job) error {
		if before := a.before[j.ID]; before != nil {
			before()
		}
		err := j.Shell(ctx, &a.out, a.env, map[string]func(context.Context, string, forge.Step) error{
			"actions/upload-artifact": func(_ context.Context, dir string, s forge.Step) error {
				return upload(filepath.Join(dir, s.With["path"]), filepath.Join(artifacts, s.With["name"]), s.With["include-hidden-files"] == "true")
			},
			"actions/download-artifact": func(_ context.Context, dir string, s forge.Step) error {
				return os.CopyFS(filepath.Join(dir, s.With["path"]), os.DirFS(filepath.Join(artifacts, s.With["name"])))
			},
		})
		a.outputs[j.ID], a.summaries[j.ID] = j.Outputs, j.Summary
		return err
	})
	check(a.t, err)
	var out []string
	for _, r := range runs {
		check(a.t, r.Err)
		for _, job := range r.Jobs {
			if job.Err != nil {
				fmt.Fprintf(&a.out, "%s: %v\n", job.Job, job.Err)
			}
			if job.Outcome != "skipped" {
				out = append(out, job.Job+" "+job.Outcome)
			}
		}
	}
	return out
}

// upload copies an artifact, without hidden files unless they are asked for.
func upload(from, to string, hidden bool) error {
	files := 0
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != from && strings.HasPrefix(d.Name(), ".") && !hidden {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(from, path)
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		return err
	})
	if err == nil && files == 0 {
		err = errors.New("no files to upload")
	}
	return err
}
