// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"net/http"

	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/internal/issuer"
	"github.com/repopolicy/repopolicy/sandbox/internal/tsa"
)

// URL returns where a service is reached, without a slash at the end, and ""
// for a service that the stack does not have. That of the TSA includes its path.
func (s *Stack) URL(service Service) string {
	if service == Rekor {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sh := s.current(); sh != nil {
			return sh.at.url
		}
		return ""
	}
	e, ok := s.endpoints[service]
	switch {
	case !ok:
		return ""
	case service == TSA:
		return e.url + tsa.Path
	}
	return e.url
}

// Requests returns how many requests a service has taken since it began.
func (s *Stack) Requests(service Service) int64 {
	if e, ok := s.endpoints[service]; ok {
		return e.served.Load()
	}
	return 0
}

// Token returns an ID token for Fulcio, signed by the issuer that the claims
// belong to.
func (s *Stack) Token(c claims.Claims) (string, error) { return s.issuer.Mint(c, issuer.Audience) }

// ActionsEnv returns the environment in which a job of GitHub Actions with
// id-token: write asks for its tokens, and a function that ends the job.
func (s *Stack) ActionsEnv(c claims.GitHub) (env map[string]string, end func(), err error) {
	url, token, end, err := s.issuer.ActionsJob(c)
	if err != nil {
		return nil, nil, err
	}
	return map[string]string{
		"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token,
	}, end, nil
}

// Transport returns a transport that finds the hosts which the sandbox plays,
// the OpenID providers of GitHub and GitLab and github.com, at the sandbox.
func (s *Stack) Transport() http.RoundTripper { return s.transport }

// Forge returns the embedded forge.
func (s *Stack) Forge() *forge.Forge { return s.forge }
