// SPDX-License-Identifier: Apache-2.0

// Package oidc gets the ID tokens that a CI offers to the jobs that run in it.
package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/jwt"
)

const (
	// Audience is what a token is for that asks to release. It is not Sigstore's,
	// so that no token that authorises can sign, and none that signs authorises.
	Audience = "repopolicy"

	// A clock may be so far ahead of the issuer's.
	maxClockSkew = time.Minute
)

// Environment variables in which a CI hands out ID tokens, or says that it does.
const (
	envToken        = "SIGSTORE_ID_TOKEN"   // a token that is there already
	envOwnToken     = "REPOPOLICY_ID_TOKEN" // one with our audience: GitLab's id_tokens
	envRequestURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	envRequestToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"

	envGitLab    = "GITLAB_CI"
	envActions   = "GITHUB_ACTIONS"
	envServer    = "GITHUB_SERVER_URL"
	envCircleCI  = "CIRCLECI"
	envBuildkite = "BUILDKITE"
)

// githubTokens is how the hosts of GitHub's own service end at which a job asks for a
// token.
const githubTokens = ".actions.githubusercontent.com"

// googleIdentity is where a machine of Google's cloud asks for a token of its
// service account.
// https://cloud.google.com/compute/docs/instances/verifying-instance-identity
const googleIdentity = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity"

// ErrNoToken is the error of [Ambient] where the environment has no token.
var ErrNoToken = errors.New("the environment offers no ID token")

// errNoPermission is the error of [Ambient] in a job of GitHub Actions that may
// not have a token.
var errNoPermission = fmt.Errorf("%w: the job has no permission id-token: write", ErrNoToken)

// Surroundings are what an ambient token can come from.
type Surroundings struct {
	// Getenv reads the environment.
	Getenv func(string) string
	// Get returns the body of a reply to a GET with this bearer token, which goes
	// to that address's host and nowhere else.
	Get func(ctx context.Context, address, bearer string) ([]byte, error)
	// Run returns what a command of the CI prints; nil if none is to be run.
	Run func(ctx context.Context, argv ...string) ([]byte, error)
	// Metadata asks the metadata server of Google's cloud; nil to ask nobody. It
	// comes before all else: whoever sets it wants that token.
	Metadata func(ctx context.Context, address string) ([]byte, error)
	// Variable names the variable to take the token from before all else; ""
	// for REPOPOLICY_ID_TOKEN.
	Variable string
}

// Ambient returns the ID token that the surroundings offer for an audience: with
// our own audience the one in Variable, else the one in SIGSTORE_ID_TOKEN; one
// that GitHub Actions, CircleCI, Buildkite or Google's metadata server makes on
// demand; and with our audience at last that in SIGSTORE_ID_TOKEN. A token that
// says of itself that it is for somebody else, about nobody or expired at now is
// an error: it is of no use, and must not be sent to whom it is not for.
//
// https://docs.github.com/actions/reference/openid-connect-reference
func Ambient(ctx context.Context, s Surroundings, audience string, now time.Time) (string, error) {
	token, err := s.Token(ctx, audience)
	if err != nil {
		return "", err
	}
	c, err := jwt.Unverified(token)
	if err == nil {
		err = refuse(c, audience, now)
	}
	if err != nil {
		return "", fmt.Errorf("the ID token of the environment: %w", err)
	}
	return token, nil
}

// Token returns the ID token that [Ambient] looks at, whatever it says.
func (s Surroundings) Token(ctx context.Context, audience string) (string, error) {
	variable := envToken
	if audience == Audience {
		if variable = s.Variable; variable == "" {
			variable = envOwnToken
		}
	}
	if token := s.Getenv(variable); token != "" && s.Metadata == nil {
		return token, nil
	}
	token, err := s.request(ctx, audience)
	if errors.Is(err, ErrNoToken) && variable != envToken && s.Variable == "" {
		if token := s.Getenv(envToken); token != "" {
			return token, nil
		}
	}
	return token, err
}

// Offers reports whether a job is running here that can have a token with our
// audience, or that says that it may not; and on GitLab, which makes tokens only for
// jobs that ask for them in their configuration, whether this one did or not.
func (s Surroundings) Offers() bool {
	return s.Getenv(envOwnToken) != "" || s.Getenv(envRequestURL) != "" || s.Getenv(envActions) == "true" ||
		s.Getenv(envGitLab) == "true" ||
		s.Run != nil && (s.Getenv(envCircleCI) == "true" || s.Getenv(envBuildkite) == "true")
}

// request asks whoever makes tokens here.
func (s Surroundings) request(ctx context.Context, audience string) (string, error) {
	var printed []byte
	var err error
	switch {
	case s.Metadata != nil:
		printed, err = s.Metadata(
			ctx, googleIdentity+"?"+url.Values{"audience": {audience}, "format": {"full"}}.Encode(),
		)
	case s.Getenv(envRequestURL) != "" && s.Getenv(envRequestToken) != "":
		return s.github(ctx, audience)
	case s.Getenv(envActions) == "true":
		return "", errNoPermission
	case s.Run != nil && s.Getenv(envCircleCI) == "true":
		printed, err = s.Run(ctx, "circleci", "run", "oidc", "get", "--claims", fmt.Sprintf(`{"aud":%q}`, audience))
	case s.Run != nil && s.Getenv(envBuildkite) == "true":
		printed, err = s.Run(ctx, "buildkite-agent", "oidc", "request-token", "--audience", audience)
	default:
		return "", ErrNoToken
	}
	if err != nil {
		return "", fmt.Errorf("requesting an ID token: %w", err)
	}
	return strings.TrimSpace(string(printed)), nil
}

func (s Surroundings) github(ctx context.Context, audience string) (string, error) {
	u, err := url.Parse(s.Getenv(envRequestURL))
	if err != nil {
		return "", fmt.Errorf("%s is not a URL", envRequestURL)
	}
	if !s.ofForge(u) {
		return "", fmt.Errorf(
			"%s names %s, which is not the forge: the token to ask with is not sent there", envRequestURL,
			u.Redacted(),
		)
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	body, err := s.Get(ctx, u.String(), s.Getenv(envRequestToken))
	if err != nil {
		return "", fmt.Errorf("requesting an ID token from %s: %w", u.Host, err)
	}
	var reply struct{ Value string }
	if err := json.Unmarshal(body, &reply); err != nil || reply.Value == "" {
		return "", fmt.Errorf("requesting an ID token from %s: the reply holds none", u.Host)
	}
	return reply.Value, nil
}

// ofForge reports whether a URL is where the forge of this job makes ID tokens: GitHub's
// own service, or the host of GITHUB_SERVER_URL, a variable that no step of a job can
// change for later ones, over https; or this machine.
func (s Surroundings) ofForge(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return u.User == nil
	}
	if u.Scheme != "https" || u.User != nil {
		return false
	}
	if strings.HasSuffix(host, githubTokens) {
		return true
	}
	own, err := url.Parse(s.Getenv(envServer))
	if err != nil || own.Hostname() == "" {
		return false
	}
	forge := strings.ToLower(own.Hostname())
	return forge != "github.com" && (host == forge || strings.HasSuffix(host, "."+forge))
}

// refuse says why a token is of no use for an audience; nil if it may be.
func refuse(c jwt.Claims, audience string, now time.Time) error {
	switch {
	case c.Issuer == "" || c.Subject == "":
		return errors.New("it names no issuer or no subject")
	case !slices.Contains(c.Audience, audience):
		return fmt.Errorf("it is for %q, not for %q", c.Audience, audience)
	case !now.Before(c.Expires.Add(maxClockSkew)):
		return fmt.Errorf("it expired at %s", c.Expires.Format(time.RFC3339))
	}
	return nil
}
