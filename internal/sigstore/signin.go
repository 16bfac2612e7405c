// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	oauthClient    = "sigstore" // the public client id of every Sigstore instance
	signInTimeout  = 5 * time.Minute
	signInAgent    = "repopolicy"
	callbackPath   = "/auth/callback" // that instances know
	maxPollWait    = 60               // seconds between questions whether somebody signed in
	maxCallback    = 64 << 10
	maxDeviceReply = 64 << 10
	maxUserCode    = 64
)

// SignIn returns an ID token of a person, by the browser on this machine
// (authorization code with PKCE, RFC 7636) or, with device, by a code that is
// typed into a browser elsewhere (RFC 8628). Say prints what the person must
// know; open opens the browser. Transport is nil for the default one.
//
// The issuer's discovery document decides who sees the code that becomes a token. So
// every address that it names is looked at before anybody is asked there, no other
// host is asked, and nothing is sent on to where an answer redirects.
func SignIn(
	ctx context.Context, issuer string, device bool, transport http.RoundTripper, say func(string),
	open func(url string) error,
) (string, error) {
	base, err := url.Parse(issuer)
	if err != nil || !web.Secret(base) {
		return "", errors.New("the sign-in is not at an https URL")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, signInTimeout, errors.New("nobody signed in in time"))
	defer cancel()
	s := &signIn{issuer: base, transport: transport, say: say, open: open}
	token, err := s.run(ctx, issuer, device)
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return token, err
}

// signedInPage is what the browser shows at the end.
const signedInPage = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Signed in</title></head>
<body><p>You are signed in to Sigstore. This window can be closed; the terminal goes on.</p></body></html>
`

type signIn struct {
	issuer    *url.URL
	transport http.RoundTripper
	say       func(string)
	open      func(url string) error
	config    oauth2.Config
	verifier  string // of PKCE
	client    *http.Client
}

func (s *signIn) run(ctx context.Context, issuer string, device bool) (string, error) {
	asked := gooidc.ClientContext(ctx, web.Gate(s.transport, signInAgent, strings.ToLower(s.issuer.Host)))
	provider, err := gooidc.NewProvider(asked, issuer)
	if err != nil {
		return "", err
	}
	hosts, err := s.endpoints(provider, device)
	if err != nil {
		return "", err
	}
	s.client = web.Gate(s.transport, signInAgent, hosts...)
	ctx = gooidc.ClientContext(ctx, s.client) // oauth2 takes it from there, too
	s.config = oauth2.Config{
		ClientID: oauthClient, Endpoint: provider.Endpoint(), Scopes: []string{gooidc.ScopeOpenID, "email"},
	}
	s.config.Endpoint.AuthStyle = oauth2.AuthStyleInParams // there is no secret
	if err := s.pkce(provider); err != nil {
		return "", err
	}
	nonce := ""
	var reply *oauth2.Token
	if device {
		reply, err = s.elsewhere(ctx)
	} else {
		nonce = rand.Text()
		reply, err = s.browser(ctx, nonce)
	}
	if err != nil {
		return "", err
	}
	raw, ok := reply.Extra("id_token").(string)
	if !ok {
		return "", errors.New("the issuer's answer holds no ID token")
	}
	token, err := provider.VerifierContext(ctx, &gooidc.Config{ClientID: oauthClient}).Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	if token.Nonce != nonce && !device {
		return "", errors.New("the ID token is for another sign-in")
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(reply.AccessToken); err != nil {
			return "", err
		}
	}
	claims, err := jwt.Unverified(raw)
	if err != nil {
		return "", err
	}
	_, err = subject(claims) // an address that nobody verified is nobody's
	return raw, err
}

// pkce makes the secret that the code is bound to, if the issuer says that it binds it (RFC 7636).
// Microsoft's issuers do without saying so.
func (s *signIn) pkce(p *gooidc.Provider) error {
	var doc struct {
		Methods []string `json:"code_challenge_methods_supported"`
	}
	if err := p.Claims(&doc); err != nil {
		return err
	}
	u, err := url.Parse(p.Endpoint().AuthURL)
	if !slices.Contains(doc.Methods, "S256") &&
		(err != nil || u.Scheme != "https" || !slices.Contains(silentPKCE, strings.ToLower(u.Host))) {
		return fmt.Errorf("%s does not bind a sign-in to whoever began it (PKCE)", s.issuer.Redacted())
	}
	s.verifier = oauth2.GenerateVerifier()
	return nil
}

var silentPKCE = []string{"login.microsoftonline.com", "login.microsoftonline.us"}

// endpoints returns the hosts that the discovery document names. An address is as
// secret as the issuer's: over https, or on this machine if the issuer is there.
func (s *signIn) endpoints(p *gooidc.Provider, device bool) ([]string, error) {
	var doc map[string]any
	if err := p.Claims(&doc); err != nil {
		return nil, err
	}
	names := []string{"token_endpoint", "jwks_uri"}
	if device {
		names = append(names, "device_authorization_endpoint")
	} else {
		names = append(names, "authorization_endpoint")
	}
	var hosts []string
	for _, name := range names {
		address, _ := doc[name].(string)
		u, err := s.address(address)
		if err != nil {
			return nil, fmt.Errorf("the discovery document of %s: %s: %w", s.issuer.Redacted(), name, err)
		}
		if name != "authorization_endpoint" { // where the browser goes, and not this program
			hosts = append(hosts, strings.ToLower(u.Host))
		}
	}
	return hosts, nil
}

// address reads an address that the issuer names.
func (s *signIn) address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "" || err != nil:
		return nil, errors.New("it names no address")
	case u.Scheme != "https" && s.issuer.Scheme == "https", !web.Secret(u):
		return nil, fmt.Errorf("%q is not an https URL", clipURL(u))
	}
	return u, nil
}

// code asks for the code that is typed elsewhere. oauth2's own function does not end
// with the context, and crashes where the answer is null or an interval negative.
func (s *signIn) code(ctx context.Context) (*oauth2.DeviceAuthResponse, error) {
	form := url.Values{
		"client_id": {oauthClient}, "scope": {strings.Join(s.config.Scopes, " ")},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(s.verifier)}, "code_challenge_method": {"S256"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.Endpoint.DeviceAuthURL,
		strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDeviceReply))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, clip.Bytes(data))
	}
	var d struct {
		Code     string `json:"device_code"`
		User     string `json:"user_code"`
		Address  string `json:"verification_uri"`
		Complete string `json:"verification_uri_complete"`
		Expires  int64  `json:"expires_in"`
		Interval int64  `json:"interval"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("the issuer's answer: %w", err)
	}
	// 0 is for the default
	out := &oauth2.DeviceAuthResponse{
		DeviceCode: d.Code, UserCode: d.User, VerificationURI: d.Address, Interval: max(0, min(d.Interval, maxPollWait)),
	}
	if d.Complete != "" {
		out.VerificationURI = d.Complete
	}
	if d.Expires > 0 && d.Expires < int64(signInTimeout/time.Second) {
		out.Expiry = time.Now().Add(time.Duration(d.Expires) * time.Second)
	}
	return out, nil
}

func clipURL(u *url.URL) string {
	return clip.To(u.Redacted(), 200)
}

// browser lets somebody sign in in the browser of this machine, which is sent back to
// this program with a code.
func (s *signIn) browser(ctx context.Context, nonce string) (*oauth2.Token, error) {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return nil, err
	}
	s.config.RedirectURL = fmt.Sprintf("http://localhost:%d%s", listener.Addr().(*net.TCPAddr).Port, callbackPath)
	state := rand.Text()
	type reply struct {
		code string
		err  error
	}
	done := make(chan reply, 1)
	answer := func(r reply) bool { // the first one counts
		select {
		case done <- r:
			return true
		default:
			return false
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callbackPath, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1:
			answer(reply{err: errors.New("the browser came back from another sign-in")})
		case q.Get("code") == "":
			answer(reply{err: fmt.Errorf("the issuer says %q", clip.Text(q.Get("error")+" "+q.Get("error_description")))})
		case answer(reply{code: q.Get("code")}):
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, signedInPage)
			return
		}
		http.Error(w, "The sign-in failed; the terminal says why.", http.StatusBadRequest)
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: maxCallback,
	}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(within) // after the page is shown
		_ = server.Close()
	}()
	if err := s.open(s.config.AuthCodeURL(state,
		oauth2.S256ChallengeOption(s.verifier), oauth2.AccessTypeOnline, gooidc.Nonce(nonce))); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		return s.config.Exchange(ctx, r.code, oauth2.VerifierOption(s.verifier))
	}
}

// elsewhere lets somebody type a code into a browser on another device.
func (s *signIn) elsewhere(ctx context.Context) (*oauth2.Token, error) {
	d, err := s.code(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.address(d.VerificationURI); err != nil {
		return nil, fmt.Errorf("where to type the code: %w", err)
	}
	if d.UserCode == "" || len(d.UserCode) > maxUserCode {
		return nil, errors.New("the issuer gives no code to type")
	}
	s.say(fmt.Sprintf("Enter the verification code %s in your browser at: %s", d.UserCode, d.VerificationURI))
	if !d.Expiry.IsZero() {
		s.say(fmt.Sprintf("Code will be valid for %d seconds", int(time.Until(d.Expiry).Seconds())))
	}
	return s.config.DeviceAccessToken(ctx, d, oauth2.VerifierOption(s.verifier))
}
