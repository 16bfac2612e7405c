// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of the sandbox: one file for each verb.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/sandbox"
)

// Exit codes, the same as repopolicy's.
const (
	exitOK          = 0
	exitDeny        = 1
	exitUsage       = 2
	exitUnavailable = 3
)

// Env is what a command sees of the machine and of the binary that it is in.
type Env struct {
	Stdin          io.Reader // of demo --pause
	Stdout, Stderr io.Writer
	// Name is the program's name.
	Name string
	// RekorV1 returns a Rekor v1 log, on the PostgreSQL database at the URL or,
	// if that is empty, in memory. It is nil in the light binary.
	RekorV1 func(postgres string) sandbox.LogV1
}

// failed is an error with an exit code of its own.
type failed struct {
	code int
	err  error
}

func (f failed) Error() string { return f.err.Error() }
func (f failed) Unwrap() error { return f.err }

type app struct {
	Env
	dir string
}

// Main runs the program and returns its exit code. A first SIGINT or SIGTERM
// ends it in order, a second one at once.
func Main(args []string, env Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	a := &app{Env: env}
	root := &cobra.Command{
		Use: env.Name, Short: "a real Sigstore on 127.0.0.1, in one process",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetArgs(args)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&a.dir, "dir", defaultDir(), "directory that keeps keys, ports and logs")
	root.AddCommand(a.up(), a.demo(), a.token(), a.status())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var f failed
	if errors.As(err, &f) {
		fmt.Fprintf(env.Stderr, "error: %v\n", f.err)
		return f.code
	}
	fmt.Fprintf(env.Stderr, "error: %v\nhint: %s --help\n", err, env.Name)
	return exitUsage
}

func defaultDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "repopolicy", "sandbox")
}

func unavailable(err error) error { return failed{exitUnavailable, err} }
