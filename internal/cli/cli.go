// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of repopolicy: one file for each verb, and
// the only package that prints, reads the environment or looks at the clock.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// Env is what a command sees of the machine.
type Env struct {
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Terminal       bool // Stderr is a terminal
	// Getenv returns where a CI's runner wants output; nil knows of none.
	Getenv func(string) string
	// Root, if set, returns the trusted root of Sigstore's public instance instead of following
	// its TUF repository.
	Root func(ctx context.Context, how trust.Options) ([]trust.Root, error)
	// ConfigDir returns the directory of the user's own configuration; "" if there is
	// none, and so does nil.
	ConfigDir func() (string, error)
	// StateDir returns the directory for what is remembered between runs.
	StateDir func() (string, error)
	// SigningConfigs, if set, returns the signing configs of Sigstore's public instance, with
	// v2 also the one for Rekor v2, instead of what its TUF repository has.
	SigningConfigs func(ctx context.Context, v2 bool) ([][]byte, error)
	Stdin          io.Reader         // answers of a person on a terminal
	Step           func(step string) // called after each step of signing; nil but in tests
	// Transport is what requests go through; nil for the default one.
	Transport http.RoundTripper
	// Timeout, if not 0, is how long a service has for an attempt to answer,
	// so that a test need not wait for as long as people do.
	Timeout time.Duration
	// Command runs a command of the CI that prints an ID token; nil if none is to
	// be run.
	Command func(ctx context.Context, argv ...string) ([]byte, error)
	// Credential returns how to log in at a registry; nil asks as anybody.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
	Version    string // of the program; "" for what the toolchain recorded
}

// OS returns the real machine.
func OS() Env {
	info, err := os.Stderr.Stat()
	return Env{
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Now:        time.Now,
		Terminal:   err == nil && info.Mode()&os.ModeCharDevice != 0,
		Getenv:     os.Getenv,
		ConfigDir:  find.UserConfigDir,
		StateDir:   find.UserStateDir,
		Stdin:      os.Stdin,
		Command:    tokenCommand,
		Credential: dockerCredentials(),
	}
}

// decided ends a command whose verdict was already printed.
type Decided struct{ Class policy.Class }

func (d Decided) Error() string { return d.Class.String() }

// Run is one run of a program.
type Run struct {
	Env
	Out   *report.Printer // data
	Err   *report.Printer // talk
	ctx   context.Context // of the run, once it began
	stops []func()        // in the end
}

// app is one run of the program.
type app struct{ *Run }

// A run over few artifacts ends before collecting garbage pays; one over many
// must not grow with their number.
const (
	gcShortRun = 400
	gcLongRun  = 100
	shortRun   = 8 // artifacts
)

// Main runs the program and returns its exit code (DESIGN 9).
func Main(args []string, env Env) (code int) {
	a := &app{&Run{Env: env, Out: report.NewPrinter(env.Stdout), Err: report.NewPrinter(env.Stderr)}}
	defer func() {
		if p := recover(); p != nil {
			a.Err.Line("error: internal: %v", p)
			a.Err.Text(string(debug.Stack()))
			code = policy.ClassInternal.Exit()
		}
	}()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcShortRun)
	}
	ctx, stop := interruptible(a.exit)
	defer stop()
	return a.run(ctx, args)
}

// exit ends a run that does not end by itself.
func (a *app) exit(code int) {
	a.Err.Line("error: the run was ended before it was done")
	os.Exit(code)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	class := policy.ClassOK
	if err := root.ExecuteContext(ctx); err != nil {
		if f := stopped(a.ctx); f != nil && !errors.As(err, new(Decided)) {
			if where := err.Error(); where != f.Text { // what failed failed for this
				f.More = []string{where}
			}
			err = f
		}
		class = a.report(err)
	}
	for _, stop := range a.stops {
		stop()
	}
	// A verdict that could not be written was not given.
	if err := a.Out.Err(); err != nil && class == policy.ClassOK {
		a.Err.Line("error: writing output: %s", err)
		class = policy.ClassUnavailable
	}
	return class.Exit()
}

func (a *app) report(err error) policy.Class {
	var d Decided
	if errors.As(err, &d) {
		return d.Class
	}
	f := FaultOf(err)
	info := f.Reason.Info()
	a.Err.Line("error: %s", f.Text)
	for _, line := range f.More {
		a.Err.Line("  %s", line)
	}
	if f.Hint == "" {
		f.Hint = info.Hint
	}
	if f.Hint != "" {
		a.Err.Line("hint: %s", f.Hint)
	}
	return info.Class
}

// faultOf returns what ended a run before it could decide; nil if nothing did.
func FaultOf(err error) *policy.Fault {
	var f *policy.Fault
	if errors.As(err, &f) {
		return f
	}
	if err == nil || errors.As(err, new(Decided)) {
		return nil
	}
	return Unwritten(err)
}

// usage turns an error of the flag parser into a fault.
func usage(err error) *policy.Fault {
	msg, hint, _ := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	f := &policy.Fault{Reason: policy.Usage, Text: strings.TrimSpace(msg)}
	if hint = strings.Join(strings.Fields(hint), ", "); hint != "" {
		f.Hint = "did you mean " + hint + "?"
	}
	if strings.Contains(msg, "--insecure") || strings.Contains(msg, "--skip") || strings.Contains(msg, "--allow-insecure") {
		f.Hint = "there is no flag that skips a check"
	}
	return f
}

// command builds the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "repopolicy",
		Short:         "who may release this repository, and was this artifact released by them?",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return &policy.Fault{Reason: policy.Usage, Text: "no command given", Hint: "start with `repopolicy verify --help`"}
		},
	}
	var l limits
	l.flags(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop, err := l.apply(cmd.Context())
		if err != nil {
			return err
		}
		a.stops = append(a.stops, overdue(ctx, l.time(), a.exit), stop)
		a.ctx = ctx
		cmd.SetContext(ctx)
		return nil
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SuggestionsMinimumDistance = 2
	root.AddCommand(a.verifyCommand(), a.explainCommand(), a.showCommand(), a.logCommand(), a.lockCommand(), a.initCommand(), a.editCommand(), a.renewCommand(), a.diffCommand(), a.signCommand(), a.bindCommand(), a.handInCommand(), a.statusCommand(), a.checkCommand(), a.versionCommand())
	root.AddCommand(a.authorizeCommand(), a.signReleaseCommand(), a.approveCommand())
	root.AddCommand(a.exportCommand(), a.exportBundleCommand(), a.trustCommand(), a.importCommand(), a.evidenceCommand())
	return root
}

// Command returns the tree of commands for generators of documentation.
func Command() *cobra.Command {
	a := &app{&Run{Out: report.NewPrinter(io.Discard), Err: report.NewPrinter(io.Discard)}}
	return a.command()
}

// typed is the value of a flag that may be given at most once: which of two
// contradictory values would win must not be a matter of order.
type Once struct {
	Value string
	Given bool
	Kind  string // of its values in help texts; "" for string
}

func (t *Once) String() string { return t.Value }
func (t *Once) Type() string   { return cmp.Or(t.Kind, "string") }

func (t *Once) Set(s string) error {
	if t.Given {
		return errors.New("given twice")
	}
	if s == "" {
		return errors.New("must not be empty")
	}
	t.Value, t.Given = s, true
	return nil
}

// format is the value of --format.
type Format struct {
	Once
	Allowed []string
}

func (f *Format) Type() string { return strings.Join(f.Allowed, "|") }

func (f *Format) Set(s string) error {
	for _, w := range f.Allowed {
		if s == w {
			return f.Once.Set(s)
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(f.Allowed, ", "))
}

func (f *Format) JSON() bool { return f.Value == "json" }

// document reports whether the output is one document for programs, beside which
// there is no talk.
func (f *Format) Document() bool {
	return f.Value != "" && f.Value != "text" && f.Value != "github"
}
