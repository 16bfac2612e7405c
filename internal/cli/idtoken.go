// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// tokenOptions are the flags that say where the ID token comes from.
type tokenOptions struct {
	file, variable command.Once
	metadata       bool
}

func (o *tokenOptions) flags(cmd *cobra.Command) {
	o.file.Kind, o.variable.Kind = "FILE", "NAME"
	f := cmd.Flags()
	f.Var(&o.file, "token-file", "take the ID token from this file, such as a JWT-SVID of SPIFFE")
	f.Var(&o.variable, "token-env", "take the ID token from this environment variable instead of REPOPOLICY_ID_TOKEN")
	f.BoolVar(
		&o.metadata, "token-metadata", false, "take the ID token of this machine's service account in Google's cloud",
	)
	cmd.MarkFlagsMutuallyExclusive("token-file", "token-env", "token-metadata")
}

// ownToken returns the token with which a run asks for an authorisation, as
// nobody has verified it yet.
func (a *app) ownToken(ctx context.Context, o *tokenOptions) (*identity.Unverified, error) {
	raw, err := a.rawToken(ctx, o)
	if err != nil {
		return nil, err
	}
	t, err := identity.ParseToken(raw)
	if err == nil {
		err = t.For(oidc.Audience)
	}
	if err != nil {
		f := gate.Refusal(fmt.Errorf("the ID token: %w", err))
		if x := (*policy.Fault)(nil); errors.As(f, &x) && x.Reason == policy.TokenRefused {
			x.Hint = "a job is authorised by a token of its own: on GitLab, id_tokens sets REPOPOLICY_ID_TOKEN with aud: " +
				"repopolicy"
		}
		return nil, f
	}
	return t, nil
}

// hasOwnToken reports whether a token that authorises can be had here: the
// run is one of a CI, or somebody said where a token is.
func (a *app) hasOwnToken(o *tokenOptions) bool {
	return o.file.Given || o.variable.Given || o.metadata || a.Getenv != nil && a.Surroundings().Offers()
}

func (a *app) rawToken(ctx context.Context, o *tokenOptions) (string, error) {
	if o.file.Given {
		data, err := file.Read(o.file.Value, command.MaxToken)
		if err != nil {
			return "", policy.Faultf(policy.LoginNeeded, "--token-file: %s", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	if a.Getenv == nil {
		return "", policy.Faultf(policy.LoginNeeded, "%s", oidc.ErrNoToken)
	}
	s := a.Surroundings()
	if o.variable.Given {
		if s.Variable = o.variable.Value; a.Getenv(s.Variable) == "" {
			return "", policy.Faultf(policy.LoginNeeded, "--token-env: %s is empty", s.Variable)
		}
	}
	if o.metadata {
		s.Metadata = func(ctx context.Context, address string) ([]byte, error) {
			return web.GetMetadata(ctx, address, a.Transport, command.UserAgent(), command.MaxToken)
		}
	}
	raw, err := s.Token(ctx, oidc.Audience)
	if f := a.NoPermission(err); f != nil {
		return "", f
	}
	switch {
	case errors.Is(err, oidc.ErrNoToken):
		return "", &policy.Fault{
			Reason: policy.LoginNeeded, Text: err.Error(),
			Hint: "run in a CI job that has ID tokens; on GitLab, id_tokens sets REPOPOLICY_ID_TOKEN with aud: repopolicy",
		}
	case err != nil:
		return "", policy.Faultf(policy.IssuerUnreachable, "%s", err)
	}
	return raw, nil
}
