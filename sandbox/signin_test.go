// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/sigstore/sigstore/pkg/oauthflow"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/internal/browse"
)

// signedIn uses a token of a person to sign.
func signedIn(t *testing.T, s *sandbox.Stack, token, subject, address, issuer string) {
	t.Helper()
	if subject != address {
		t.Errorf("signed in as %q", subject)
	}
	p, err := gooidc.NewProvider(t.Context(), s.URL(sandbox.Issuer))
	check(t, err)
	id, err := p.Verifier(&gooidc.Config{ClientID: "sigstore"}).Verify(t.Context(), token)
	check(t, err)
	var c struct {
		Email    string
		Verified bool `json:"email_verified"`
		By       struct {
			Connector string `json:"connector_id"`
		} `json:"federated_claims"`
	}
	check(t, id.Claims(&c))
	if c.Email != address || !c.Verified || c.By.Connector != issuer {
		t.Errorf("%+v", c)
	}
	if _, body := requestCertificate(t, s, token); !strings.Contains(body, badKey) {
		t.Error(body)
	}
}

// TestBrowserFlow signs in with Sigstore's own client: code and PKCE.
func TestBrowserFlow(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	browser := make(chan error, 1)
	getter := &oauthflow.InteractiveIDTokenGetter{
		HTMLPage: "<p>done", Output: io.Discard,
		BrowserOpener: func(address string) error {
			go func() {
				_, err := browse.SignIn(address, "alice@example.com", "https://github.com/login/oauth")
				browser <- err
			}()
			return nil
		},
	}
	token, err := oauthflow.OIDConnect(s.URL(sandbox.Issuer), "sigstore", "", "", getter)
	check(t, err)
	check(t, <-browser)
	signedIn(t, s, token.RawString, token.Subject, "alice@example.com", "https://github.com/login/oauth")
}

// TestDeviceFlow signs in with Sigstore's own client: RFC 8628.
func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	getter := oauthflow.NewDeviceFlowTokenGetterForIssuer(s.URL(sandbox.Issuer))
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/device\?user_code=\w+`)
	var address string
	getter.MessagePrinter = func(message string) {
		if m := link.FindString(message); m != "" {
			address = m
		}
	}
	polls := 0
	getter.Sleeper = func(time.Duration) { // the person acts while the program waits
		if polls++; polls == 1 {
			body, err := browse.SignIn(address, "bob@example.com", "https://accounts.google.com")
			if err != nil || !strings.Contains(body, "Signed in as bob@example.com") {
				t.Errorf("%v: %s", err, body)
			}
		}
	}
	token, err := oauthflow.OIDConnect(s.URL(sandbox.Issuer), "sigstore", "", "", getter)
	check(t, err)
	signedIn(t, s, token.RawString, token.Subject, "bob@example.com", "https://accounts.google.com")
	if polls != 1 {
		t.Errorf("%d polls", polls)
	}
}

// TestSignInRefuses walks through what the provider must not do.
func TestSignInRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := s.URL(sandbox.Issuer)
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	request := func(change url.Values) url.Values {
		v := url.Values{
			"client_id": {"sigstore"}, "redirect_uri": {"http://localhost:1/callback"}, "response_type": {"code"}, "scope": {"openid email"},
			"state": {"s&t"}, "nonce": {"n"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
		}
		for k := range change {
			v[k] = change[k]
		}
		return v
	}
	location := func(resp *http.Response, err error) (*http.Response, url.Values) {
		t.Helper()
		check(t, err)
		defer resp.Body.Close()
		u, err := url.Parse(resp.Header.Get("Location"))
		check(t, err)
		return resp, u.Query()
	}
	for _, redirect := range []string{"", "https://evil.example/", "http://127.0.0.1.evil.example/", "http://user@localhost/", "https://localhost/", "custom:/x"} {
		resp, _ := location(client.Get(at + "/auth?" + request(url.Values{"redirect_uri": {redirect}}).Encode()))
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
			t.Errorf("redirect to %q: %s", redirect, resp.Status)
		}
	}
	for name, change := range map[string]url.Values{
		"no PKCE": {"code_challenge": {""}}, "plain PKCE": {"code_challenge_method": {"plain"}}, "implicit": {"response_type": {"token"}},
	} {
		_, q := location(client.Get(at + "/auth?" + request(change).Encode()))
		if q.Get("error") == "" || q.Get("code") != "" || q.Get("state") != "s&t" {
			t.Errorf("%s: %v", name, q)
		}
	}
	resp, err := client.PostForm(at+"/auth", request(url.Values{"email": {"nobody"}}))
	check(t, err)
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("not an e-mail address")) {
		t.Errorf("%s: %s", resp.Status, body)
	}

	exchange := func(change url.Values) (string, map[string]any) {
		t.Helper()
		_, q := location(client.PostForm(at+"/auth", request(url.Values{"email": {"alice@example.com"}})))
		code := q.Get("code")
		if code == "" {
			t.Fatal("no code")
		}
		v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {"sigstore"}, "redirect_uri": {"http://localhost:1/callback"}, "code_verifier": {verifier}}
		for k := range change {
			v[k] = change[k]
		}
		return code, postForm(t, at+"/token", v)
	}
	for name, change := range map[string]url.Values{
		"another code": {"code": {"x"}}, "another client": {"client_id": {"x"}}, "another redirect": {"redirect_uri": {"http://localhost:2/callback"}},
		"another verifier": {"code_verifier": {"x"}}, "no verifier": {"code_verifier": nil}, "another grant": {"grant_type": {"password"}},
	} {
		if _, got := exchange(change); got["error"] == nil || got["id_token"] != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	code, got := exchange(nil)
	if got["id_token"] == nil {
		t.Fatalf("%v", got)
	}
	if again := postForm(t, at+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {"sigstore"}, "redirect_uri": {"http://localhost:1/callback"}, "code_verifier": {verifier}}); again["error"] != "invalid_grant" {
		t.Errorf("a code used twice: %v", again)
	}

	device := postForm(t, at+"/device/code", url.Values{"client_id": {"sigstore"}})
	grant := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {"sigstore"}, "device_code": {device["device_code"].(string)}}
	if got := postForm(t, at+"/token", grant); got["error"] != "authorization_pending" {
		t.Errorf("%v", got)
	}
	wrong := postBody(t, at+"/device", url.Values{"user_code": {"WRONG"}, "email": {"alice@example.com"}})
	if !strings.Contains(wrong, "no program is waiting") {
		t.Error(wrong)
	}
	grant.Set("client_id", "other")
	if got := postForm(t, at+"/token", grant); got["error"] != "invalid_grant" {
		t.Errorf("%v", got)
	}
}

func postBody(t *testing.T, address string, v url.Values) string {
	t.Helper()
	resp, err := http.PostForm(address, v)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(body)
}

func postForm(t *testing.T, address string, v url.Values) map[string]any {
	t.Helper()
	m := map[string]any{}
	check(t, json.Unmarshal([]byte(postBody(t, address, v)), &m))
	return m
}

// TestActionsTokens asks for tokens as a job does, with audiences.
func TestActionsTokens(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	env, end, err := s.ActionsEnv(job)
	check(t, err)
	ask := func(token, audience string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, env["ACTIONS_ID_TOKEN_REQUEST_URL"]+audience, nil)
		check(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		defer resp.Body.Close()
		var m struct{ Value string }
		check(t, json.NewDecoder(resp.Body).Decode(&m))
		return resp.StatusCode, m.Value
	}
	// The keys are fetched from the real issuer's address, by the stack's transport.
	ctx := gooidc.ClientContext(t.Context(), &http.Client{Transport: s.Transport()})
	p, err := gooidc.NewProvider(ctx, claims.GitHubIssuer)
	check(t, err)
	token := env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
	for audience, want := range map[string]string{"&audience=sigstore": "sigstore", "&audience=repopolicy": "repopolicy", "": "https://github.com/acme"} {
		status, value := ask(token, audience)
		if status != http.StatusOK {
			t.Fatal(status)
		}
		id, err := p.Verifier(&gooidc.Config{ClientID: want}).Verify(ctx, value)
		check(t, err)
		var c struct {
			Ref, Environment string
			Workflow         string `json:"job_workflow_ref"`
		}
		check(t, id.Claims(&c))
		if "https://github.com/"+c.Workflow != jobSAN || c.Ref != job.Ref || c.Environment != "release" {
			t.Errorf("%+v", c)
		}
	}
	if status, value := ask("guess", "&audience=sigstore"); status != http.StatusUnauthorized || value != "" {
		t.Errorf("a guessed request token: %d", status)
	}
	end()
	if status, value := ask(token, "&audience=sigstore"); status != http.StatusUnauthorized || value != "" {
		t.Errorf("after the job: %d", status)
	}
}
