// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// actionsPath is where a runner asks for tokens, as on GitHub's own service:
// <url>&audience=… with the request token as bearer.
const actionsPath = "/_apis/idtoken"

// jobLifetime is how long a job may ask for tokens; GitHub's longest job.
const jobLifetime = 6 * time.Hour

type job struct {
	claims  claims.GitHub
	expires time.Time
}

// ActionsJob lets a job ask for tokens: it returns what a runner puts into
// ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN, and a function
// that ends the job.
func (i *Issuer) ActionsJob(c claims.GitHub) (requestURL, requestToken string, end func(), err error) {
	if _, err := c.Claims(); err != nil {
		return "", "", nil, err
	}
	token := rand.Text()
	i.mu.Lock()
	i.jobs[token] = job{c, time.Now().Add(jobLifetime)}
	i.mu.Unlock()
	end = func() {
		i.mu.Lock()
		delete(i.jobs, token)
		i.mu.Unlock()
	}
	return i.url + actionsPath + "?api-version=2.0", token, end, nil
}

func (i *Issuer) serveActions(w http.ResponseWriter, r *http.Request) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	i.mu.Lock()
	j, ok := i.jobs[bearer]
	i.mu.Unlock()
	if !ok || time.Now().After(j.expires) {
		oauthError(w, http.StatusUnauthorized, "invalid_token", "no running job with id-token: write has this request token")
		return
	}
	audience := r.URL.Query().Get("audience")
	if audience == "" { // GitHub's default
		owner, _, _ := strings.Cut(j.claims.Repository, "/")
		audience = "https://github.com/" + owner
	}
	token, err := i.Mint(j.claims, audience)
	if err != nil {
		oauthError(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	reply(w, http.StatusOK, map[string]any{"count": len(token), "value": token})
}
