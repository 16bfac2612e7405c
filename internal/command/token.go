// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxToken is the longest ID token, and answer with one, that is read.
const MaxToken = 64 << 10

// commandTimeout is how long a command of the CI may take to print a token.
const commandTimeout = 30 * time.Second

// tokenCommand runs a program that prints an ID token. It gets nothing to read, and
// what it complains about is not shown: it could be the token.
func tokenCommand(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(out, MaxToken+1))
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	switch {
	case err != nil:
		return nil, errors.New(strings.Join(argv[:2], " ") + " failed")
	case len(data) > MaxToken:
		return nil, web.ErrTooLarge
	}
	return data, nil
}

// Surroundings are where ambient tokens come from on this machine.
func (r *Run) Surroundings() oidc.Surroundings {
	return oidc.Surroundings{
		Getenv: r.Getenv, Run: r.Command,
		Get: func(ctx context.Context, address, bearer string) ([]byte, error) {
			return web.GetAuthorized(ctx, address, bearer, r.Transport, UserAgent(), MaxToken)
		},
	}
}

// NoPermission returns the fault of a job of GitHub Actions that may not have a token; nil if err
// says something else.
func (r *Run) NoPermission(err error) error {
	if !errors.Is(err, oidc.ErrNoToken) || r.Getenv == nil || r.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	return &policy.Fault{
		Reason: policy.NoTokenPermission, Text: "the job may not have an ID token",
		Hint: "say `permissions: id-token: write` for this job, and for this job only",
	}
}

// Ambient returns the token that the environment offers.
func (r *Run) Ambient(ctx context.Context, audience string) (string, error) {
	if r.Getenv == nil {
		return "", oidc.ErrNoToken
	}
	token, err := oidc.Ambient(ctx, r.Surroundings(), audience, r.Now())
	if f := r.NoPermission(err); f != nil {
		return "", f
	}
	if err != nil && !errors.Is(err, oidc.ErrNoToken) {
		return "", policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	return token, err
}
