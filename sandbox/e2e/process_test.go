// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// process runs the program in processes of its own, on a computer of their own.
type process struct {
	t   testing.TB
	env []string
}

func newProcess(t testing.TB, home string, who claims.Claims) *process {
	t.Helper()
	self := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, asProgram + "=" + writeWorld(t, filepath.Join(home, "state"))}
	if who != nil {
		token, err := stack.Token(who)
		check(t, err)
		self = append(self, "SIGSTORE_ID_TOKEN="+token)
	}
	return &process{t, self}
}

func (p *process) command(out *bytes.Buffer, args ...string) *exec.Cmd {
	p.t.Helper()
	self, err := os.Executable()
	check(p.t, err)
	cmd := exec.CommandContext(p.t.Context(), self, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, out, out
	return cmd
}

// run runs the program, and kills it after a time where life is positive. It
// returns the exit code, -1 if it was killed, and what it printed.
func (p *process) run(life time.Duration, args ...string) (int, string) {
	p.t.Helper()
	var out bytes.Buffer
	cmd := p.command(&out, args...)
	check(p.t, cmd.Start())
	if life > 0 {
		stop := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		defer stop.Stop()
	}
	_ = cmd.Wait() // the code says it
	return cmd.ProcessState.ExitCode(), out.String()
}

// maxFile names the environment variable with how large a file a process can
// write.
const maxFile = "E2E_MAX_FILE"

// limitFiles lets writes beyond the limit fail, in the middle of a file.
func limitFiles() error {
	text := os.Getenv(maxFile)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
}

// killAtLine names the environment variable after how many lines of output a
// process ends itself.
const killAtLine = "E2E_KILL_AT_LINE"

// killer ends this process with SIGKILL after it has written a number of lines:
// whatever others can see of a run is followed by a line.
type killer struct {
	w    io.Writer
	left *int
}

func newKiller(w io.Writer) killer {
	n, err := strconv.Atoi(os.Getenv(killAtLine))
	if err != nil {
		n = math.MaxInt
	}
	return killer{w, &n}
}

// Write implements io.Writer.
func (k killer) Write(data []byte) (int, error) {
	n, err := k.w.Write(data)
	if *k.left -= bytes.Count(data, []byte("\n")); *k.left <= 0 {
		self, ferr := os.FindProcess(os.Getpid())
		if ferr == nil {
			_ = self.Kill()
		}
		select {}
	}
	return n, err
}

// attempt is one run of a command that signs, on a project and a computer of its
// own, which may end at any moment and is then repeated.
type attempt struct {
	*project
	on     *process
	args   []string
	output string // directory above .repopolicy/signatures
	before sizes
}

// newAttempt prepares a run of init, sign or bind. What it writes beside the
// state goes below dir.
func newAttempt(t testing.TB, verb, name, home, dir string) *attempt {
	t.Helper()
	p := &project{t: t, name: name, dir: filepath.Join(dir, "tree")}
	check(t, os.MkdirAll(p.dir, 0o700))
	repo, err := stack.Forge().Create(name)
	check(t, err)
	git(t, p.dir, "init", "-q", "-b", "main")
	git(t, p.dir, "remote", "add", "origin", stack.Forge().CloneURL(name))
	a := &attempt{project: p, output: p.dir, args: []string{verb, "--git", p.dir, "--yes"}}
	var who claims.Claims = alice
	switch verb {
	case "init":
		a.args = append(a.args, "--repo", "https://github.com/"+name, "--workflow", ".github/workflows/release.yml")
		p.write(".gitattributes", "* text=auto\n")
		p.push()
	case "sign", "bind":
		p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
		p.push()
	}
	if verb == "bind" {
		c := newComputer(t)
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		a.output = filepath.Join(dir, "bound")
		a.args = []string{verb, "--git", p.dir, "--output", a.output}
		who = claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
	}
	a.on, a.before = newProcess(t, home, who), logSizes(t)
	return a
}

// files returns the signature files that the run left. That each is whole is
// checked.
func (a *attempt) files() []bindings.File {
	a.t.Helper()
	paths, err := filepath.Glob(filepath.Join(a.output, ".repopolicy", "signatures", "[0-9]*"))
	check(a.t, err)
	var out []bindings.File
	for _, path := range paths {
		name := bindings.SignaturesDir + "/" + filepath.Base(path)
		if !bindings.IsSignatureName(name) {
			continue
		}
		data, err := os.ReadFile(path)
		check(a.t, err)
		out = append(out, bindings.File{Name: name, Data: data})
	}
	if _, ignored := bindings.Collect(root(a.t), nil, out); len(ignored) > 0 {
		a.t.Errorf("%s: files that are not whole: %v", a.args[0], ignored)
	}
	return out
}

// finish runs the command again, now in peace: it ends well, and there is one
// signature with one entry in each log.
func (a *attempt) finish() {
	a.t.Helper()
	a.files()
	if code, out := a.on.run(0, a.args...); code != 0 {
		a.t.Fatalf("%s again: exit %d\n%s", a.args[0], code, out)
	}
	if a.args[0] == "init" {
		for _, name := range []string{".gitattributes", ".repopolicy/policy.toml", ".github/workflows/repopolicy.yml"} {
			if info, err := os.Stat(filepath.Join(a.dir, name)); err != nil || info.Size() == 0 {
				a.t.Errorf("%s: %v", name, err)
			}
		}
		// The second init changes nothing; what it says is left is to sign.
		a.push()
		if code, out := a.on.run(0, "sign", "--git", a.dir, "--yes"); code != 0 {
			a.t.Fatalf("sign after init: exit %d\n%s", code, out)
		}
	}
	files := a.files()
	if len(files) != 2 {
		a.t.Errorf("%s: %d files", a.args[0], len(files))
	}
	if got, want := logSizes(a.t), (sizes{a.before.v1 + 1, a.before.v2 + 1}); got != want {
		a.t.Errorf("%s: the logs have %v entries, want %v", a.args[0], got, want)
	}
	c, _ := bindings.Collect(root(a.t), nil, files)
	if n := len(c.Known()); n != 2 {
		a.t.Errorf("%s: the files show %d entries", a.args[0], n)
	}
}

// lastStep returns the last step that the output of a run shows.
func lastStep(out string) string {
	step := "before signing"
	for line := range strings.Lines(out) {
		if s, ok := strings.CutPrefix(line, "done: "); ok {
			step = strings.TrimSpace(s)
		} else if strings.Contains(line, ".sigstore.json") {
			step = "writing files"
		}
	}
	return strings.NewReplacer(stack.URL("rekor-v1"), "Rekor v1", stack.URL("rekor"), "Rekor v2").Replace(fmt.Sprint("after: ", step))
}
