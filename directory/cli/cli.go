// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of repopolicy-directory: one file for each verb,
// and the only place that prints or looks at the clock.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/directory"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// progressEvery is between two lines about progress where there is no terminal.
const progressEvery = 10 * time.Second

const agent = "repopolicy-directory (https://" + spelling.Name + ")"

// Env is what a command sees of the machine.
type Env struct {
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Terminal       bool // Stderr is a terminal
	// Transport is what requests go through; nil for the default one.
	Transport http.RoundTripper
	// Root returns the trusted root of Sigstore's public instance.
	Root func(ctx context.Context) (trust.Root, error)
}

// OS returns the real machine.
func OS() Env {
	info, err := os.Stderr.Stat()
	return Env{
		Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
		Root: publicRoot,
	}
}

// fault is an error with the class that decides the exit code.
type fault struct {
	class policy.Class
	err   error
	hint  string
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(c policy.Class, format string, args ...any) *fault {
	return &fault{class: c, err: fmt.Errorf(format, args...)}
}

// app is one run of the program.
type app struct {
	Env
	mu     sync.Mutex
	status bool      // the last line on the terminal is to be overwritten
	told   time.Time // when progress was last written to what is no terminal
	state  string
	began  bool // a command; what fails before is the command line
}

// Main runs the program and returns its exit code, which means the same as
// repopolicy's.
func Main(args []string, env Env) (code int) {
	a := &app{Env: env, told: env.Now()}
	defer func() {
		if p := recover(); p != nil {
			a.talk("error: internal: %v\n%s", p, debug.Stack())
			code = policy.ClassInternal.Exit()
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return policy.ClassOK.Exit()
	}
	f := a.classify(err)
	a.talk("error: %s", f.err)
	if f.hint != "" {
		a.talk("hint: %s", f.hint)
	}
	return f.class.Exit()
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use: "repopolicy-directory", Short: "keep and serve a directory of policy bindings",
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), faultf(policy.ClassUsage, "no command given"))
		},
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.keygenCommand(), a.buildCommand(), a.serveCommand(), a.publishCommand(), a.auditCommand(),
		a.stapleCommand())
	for _, c := range root.Commands() {
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.began = true
			return run(cmd, args)
		}
	}
	return root
}

// classify says which class an error is of, and keeps evidence.
func (a *app) classify(err error) *fault {
	var f *fault
	var fork *rekor.Fork
	var stale *directory.Stale
	var diverged *directory.Diverged
	var wrong *directory.Disagreement
	var sig *sigstore.Error
	var status *web.StatusError
	var netErr net.Error
	var urlErr *url.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &fork):
		out := &fault{class: policy.ClassAlarm, err: err}
		if a.state != "" {
			path, writeErr := a.evidence("fork", ".json", fork.Bytes())
			if writeErr != nil {
				out.hint = "the evidence could not be kept: " + writeErr.Error()
			} else {
				out.hint = "the evidence is kept in " + path
			}
		}
		return out
	case errors.As(err, &wrong):
		out := &fault{class: policy.ClassAlarm, err: err}
		path, writeErr := a.evidence("audit", ".note", wrong.Note)
		if out.hint = "the signed disagreement is kept in " + path; writeErr != nil {
			out.hint = "the signed disagreement could not be kept: " + writeErr.Error()
		}
		return out
	case errors.As(err, &diverged):
		return &fault{
			policy.ClassAlarm, err,
			"restore state and output log from the same moment; what was published must not be contradicted",
		}
	case errors.As(err, &sig):
		return &fault{sig.Reason.Class(), err, sig.Reason.Hint()}
	case errors.As(err, &stale), errors.Is(err, directory.ErrInUse), errors.Is(err, directory.ErrWitnesses),
		errors.As(err, &status), errors.As(err, &netErr), errors.As(err, &urlErr), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		return &fault{class: policy.ClassUnavailable, err: err}
	case !a.began:
		return &fault{policy.ClassUsage, err, "repopolicy-directory --help"}
	}
	return &fault{class: policy.ClassUnavailable, err: err}
}

// evidence keeps a file that proves something below the state.
func (a *app) evidence(kind, extension string, data []byte) (string, error) {
	name := filepath.Join("evidence", kind+"-"+spelling.Sum(data)[:16]+extension)
	return filepath.Join(a.state, name), file.WriteIn(a.state, name, data, 0o600)
}

// talk prints lines on stderr in which nothing can move the cursor: URLs, names
// and answers come from others.
func (a *app) talk(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status {
		fmt.Fprint(a.Stderr, "\r\x1b[K")
		a.status = false
	}
	fmt.Fprintln(a.Stderr, plain(fmt.Sprintf(format, args...)))
}

// progress overwrites the terminal's last line; elsewhere it writes one now and then.
func (a *app) progress(log string, done, total int64) {
	a.mu.Lock()
	now := a.Now()
	quiet := !a.Terminal && (now.Sub(a.told) < progressEvery || done == total)
	if !quiet {
		a.told = now
	}
	a.mu.Unlock()
	switch {
	case quiet:
		return
	case !a.Terminal:
		a.talk("reading %s: %d of %d", log, done, total)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = true
	fmt.Fprint(a.Stderr, "\r\x1b[K"+plain(fmt.Sprintf("reading %s: %d of %d", log, done, total)))
}

// plain shows what a terminal would act on as a replacement character, and takes from
// a line what a CI's runner would take for a command.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if rest := strings.TrimLeft(line, " \t"); strings.HasPrefix(rest, "::") {
			lines[i] = strings.Replace(line, "::", ": :", 1)
		}
		lines[i] = strings.ReplaceAll(lines[i], "##", "# #")
	}
	return strings.Join(lines, "\n")
}

func read(path string, limit int64) ([]byte, error) {
	data, err := file.Read(path, limit)
	if err != nil {
		return nil, &fault{class: policy.ClassUsage, err: err}
	}
	return data, nil
}
