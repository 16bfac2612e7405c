// SPDX-License-Identifier: Apache-2.0

// Package command is what the command lines of our programs have in common: the machine
// that they see, the run of a command with its exit code, flags of several verbs, how a
// policy is found and who signs. It alone reads the environment and looks at the clock.
package command

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Env is what a command sees of the machine.
type Env struct {
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Terminal       bool // Stderr is a terminal
	// OutWidth and ErrWidth are how many columns the terminal has that Stdout or Stderr is; 0 for none.
	OutWidth, ErrWidth int
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
	wide := widthOf(os.Stderr)
	return Env{
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Now:        time.Now,
		Terminal:   wide > 0,
		OutWidth:   widthOf(os.Stdout),
		ErrWidth:   wide,
		Getenv:     os.Getenv,
		ConfigDir:  find.UserConfigDir,
		StateDir:   find.UserStateDir,
		Stdin:      os.Stdin,
		Command:    tokenCommand,
		Credential: dockerCredentials(),
	}
}

// Decided ends a command whose verdict was already printed.
type Decided struct{ Class policy.Class }

// Error names the class.
func (d Decided) Error() string { return d.Class.String() }

// Run is one run of a program.
type Run struct {
	Env
	Out   *report.Printer // data
	Err   *report.Printer // talk
	Quiet bool            // nobody is told how far the run is

	metered sync.Once
	meter   *Meter

	args []string // as they were typed

	allFlags bool            // help shows every flag
	ctx      context.Context // of the run, once it began
	stops    []func()        // in the end
}

// A short run ends before collecting garbage pays; the memory of a long one must not grow
// with its length. That a collection began at all says that a run is no short one.
const (
	gcShortRun = 400
	gcLongRun  = 50
)

// LongRun says that a run takes longer than most.
func LongRun() { collectAt(gcLongRun) }

func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// collectSeldom lets a run collect garbage seldom until it did so once: then it has filled 16 MiB, and what
// it holds at a time counts.
func collectSeldom() {
	collectAt(gcShortRun)
	runtime.SetFinalizer(&collected{}, func(*collected) { LongRun() })
}

// collected is what nobody holds, so that the first collection finds it. It is of a size that is
// allocated alone.
type collected struct{ _ [32]byte }

// Main runs the program whose commands tree builds, and returns its exit code (DESIGN 9).
func Main(args []string, env Env, tree func(*Run) *cobra.Command) (code int) {
	r := &Run{Env: env, args: args, Out: report.NewPrinter(env.Stdout), Err: report.NewPrinter(env.Stderr)}
	defer func() {
		if p := recover(); p != nil {
			r.Err.Line("error: internal: %v", p)
			r.Err.Text(string(debug.Stack()))
			code = policy.ClassInternal.Exit()
		}
	}()
	r.screens("")
	collectSeldom()
	ctx, stop := interruptible(r.exit)
	defer stop()
	root := tree(r)
	r.completing(root, args)
	return r.run(ctx, root, args)
}

// Tree returns a tree of commands for generators of documentation.
func Tree(tree func(*Run) *cobra.Command) *cobra.Command {
	return tree(&Run{Out: report.NewPrinter(io.Discard), Err: report.NewPrinter(io.Discard)})
}

// exit ends a run that does not end by itself.
func (r *Run) exit(code int) {
	r.Err.Line("error: the run was ended before it was done")
	os.Exit(code)
}

func (r *Run) run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	class := policy.ClassOK
	err := root.ExecuteContext(ctx)
	r.meter.Stop()
	if err != nil {
		if f := stopped(r.ctx); f != nil && !errors.As(err, new(Decided)) {
			if where := err.Error(); where != f.Text { // what failed failed for this
				f.More = []string{where}
			}
			err = f
		}
		class = r.Report(err)
	}
	for _, stop := range r.stops {
		stop()
	}
	// A verdict that could not be written was not given.
	if err := r.Out.Err(); err != nil && class == policy.ClassOK {
		r.Err.Line("error: writing output: %s", err)
		class = policy.ClassUnavailable
	}
	return class.Exit()
}

// Report prints why a run ended, unless its verdict was printed, and returns the class.
func (r *Run) Report(err error) policy.Class {
	var d Decided
	if errors.As(err, &d) {
		return d.Class
	}
	f := FaultOf(err)
	text, more := f.Text, f.More
	if missing, doing, ok := web.NoNetwork(text); ok {
		text, more = missing, append([]string{doing}, more...)
	}
	r.Err.Head(report.Bad, "error:", " %s", text)
	for _, line := range more {
		r.Err.Line("  %s", line)
	}
	if f.Hint == "" {
		f.Hint = f.Reason.Hint()
	}
	if f.Hint != "" {
		r.Err.Head(report.Bold, "hint:", " %s", f.Hint)
	}
	return f.Reason.Class()
}

// FaultOf returns what ended a run before it could decide; nil if nothing did.
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
	if strings.Contains(msg, "--insecure") || strings.Contains(msg, "--skip") ||
		strings.Contains(msg, "--allow-insecure") {
		f.Hint = "there is no flag that skips a check"
	}
	return f
}

// Program returns the command that has no name but the program's, to which its verbs are
// added. First is what somebody types who knows none.
func (r *Run) Program(name, short, first string) *cobra.Command {
	root := &cobra.Command{
		Use:           name,
		Short:         short,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Cobra's own flag prints by a template, for which nothing unused is left out of the program.
			if said, err := cmd.Flags().GetBool("version"); said && err == nil {
				r.Out.Line("%s", r.version(cmd))
				return nil
			}
			if err := cmd.Help(); err != nil {
				return err
			}
			return &policy.Fault{Reason: policy.Usage, Text: "no command given", Hint: "start with `" + first + "`"}
		},
	}
	var l limits
	l.flags(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		r.screens(l.color.Value)
		ctx, stop, err := l.apply(cmd.Context())
		if err != nil {
			return err
		}
		r.stops = append(r.stops, overdue(ctx, l.time(), r.exit), stop)
		r.ctx = ctx
		cmd.SetContext(ctx)
		return nil
	}
	r.helping(root)
	root.SetOut(r.Out)
	root.SetErr(r.Err)
	root.SuggestionsMinimumDistance = 2
	return root
}

// Moved returns a command that is none any more, or of the other program, and says what to
// type instead.
func Moved(name, now string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &policy.Fault{
				Reason: policy.Usage, Text: "`" + cmd.CommandPath() + "` is a command of another program",
				Hint: "type `" + now + "`, with the same arguments",
			}
		},
	}
}
