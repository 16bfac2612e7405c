// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

const (
	codeLifetime   = 2 * time.Minute
	deviceLifetime = 10 * time.Minute
	devicePoll     = 1 // seconds
	deviceGrant    = "urn:ietf:params:oauth:grant-type:device_code"
)

// connectors are the identity providers that the page offers; the certificate
// names the one that was chosen.
var connectors = []string{"https://accounts.google.com", "https://github.com/login/oauth", "https://login.microsoftonline.com"}

// login is one sign-in between the page and the token endpoint.
type login struct {
	person    claims.Email
	client    string
	redirect  string
	challenge string
	nonce     string
	expires   time.Time
}

type device struct {
	userCode string
	client   string
	nonce    string
	person   *claims.Email
	expires  time.Time
}

// withNonce is a person's token that answers one request.
type withNonce struct {
	claims.Email
	nonce string
}

func (n withNonce) Claims() (map[string]any, error) {
	m, err := n.Email.Claims()
	if err == nil && n.nonce != "" {
		m["nonce"] = n.nonce
	}
	return m, err
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sandbox sign-in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:10vh auto;padding:0 1rem}
label{display:block;margin:1rem 0 .25rem}input,select,button{font:inherit;width:100%;padding:.5rem;box-sizing:border-box}
button{margin-top:1.5rem}p.error{color:#b00020}</style></head><body>
<h1>Sandbox sign-in</h1>
<p>This is a local test issuer. It believes any address; nothing leaves this machine.</p>
{{if .Error}}<p class="error" role="alert">{{.Error}}</p>{{end}}
{{if .Done}}<p id="done" role="status">Signed in as {{.Done}}. You can close this page.</p>{{else}}
<form method="post" action="{{.Action}}">
{{range $k, $v := .Hidden}}<input type="hidden" name="{{$k}}" value="{{$v}}">{{end}}
{{if .AskCode}}<label for="user_code">Code shown by the program</label><input id="user_code" name="user_code" value="{{.Code}}" required autocomplete="off">{{end}}
<label for="email">E-mail address</label><input id="email" name="email" type="email" required autocomplete="email" value="alice@example.com">
<label for="connector">Identity provider</label><select id="connector" name="connector">{{range .Connectors}}<option>{{.}}</option>{{end}}</select>
<button id="signin">Sign in</button></form>{{end}}
</body></html>`))

type pageData struct {
	Action, Error, Done, Code string
	AskCode                   bool
	Hidden                    map[string]string
	Connectors                []string
}

func show(w http.ResponseWriter, status int, d pageData) {
	d.Connectors = connectors
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = page.Execute(w, d) // the client went away
}

// loopback says whether a redirect goes to this machine, which is all that a
// native client needs (RFC 8252, section 7.3).
func loopback(redirect string) bool {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return false
	}
	switch u.Hostname() {
	case "127.0.0.1", "localhost", "::1":
		return true
	}
	return false
}

// serveAuth is the authorization endpoint: GET shows the page, POST signs in.
func (i *Issuer) serveAuth(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	redirect := r.Form.Get("redirect_uri")
	if !loopback(redirect) {
		show(w, http.StatusBadRequest, pageData{Error: "redirect_uri is not on this machine", Done: "nobody"})
		return
	}
	hidden := map[string]string{}
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method"} {
		hidden[name] = r.Form.Get(name)
	}
	back := func(values url.Values) {
		values.Set("state", hidden["state"])
		u, _ := url.Parse(redirect)
		q := u.Query()
		maps.Copy(q, values)
		u.RawQuery = q.Encode()
		http.Redirect(w, r, u.String(), http.StatusSeeOther)
	}
	switch {
	case hidden["response_type"] != "code":
		back(url.Values{"error": {"unsupported_response_type"}})
		return
	case hidden["code_challenge"] == "" || hidden["code_challenge_method"] != "S256":
		back(url.Values{"error": {"invalid_request"}, "error_description": {"PKCE with S256 is required"}})
		return
	}
	if r.Method != http.MethodPost {
		show(w, http.StatusOK, pageData{Action: "/auth", Hidden: hidden})
		return
	}
	person, problem := personOf(r)
	if problem != "" {
		show(w, http.StatusBadRequest, pageData{Action: "/auth", Hidden: hidden, Error: problem})
		return
	}
	code := rand.Text()
	i.mu.Lock()
	i.sweep()
	i.codes[code] = login{
		person: person, client: hidden["client_id"], redirect: redirect, challenge: hidden["code_challenge"], nonce: hidden["nonce"],
		expires: time.Now().Add(codeLifetime),
	}
	i.mu.Unlock()
	back(url.Values{"code": {code}})
}

func personOf(r *http.Request) (claims.Email, string) {
	e := claims.Email{Address: strings.TrimSpace(r.Form.Get("email")), Issuer: r.Form.Get("connector")}
	if _, err := e.Claims(); err != nil {
		return e, err.Error()
	}
	return e, ""
}

// sweep forgets what has expired, and everything if somebody floods us. The
// caller holds mu.
func (i *Issuer) sweep() {
	now := time.Now()
	maps.DeleteFunc(i.codes, func(_ string, l login) bool { return now.After(l.expires) })
	maps.DeleteFunc(i.devices, func(_ string, d *device) bool { return now.After(d.expires) })
	maps.DeleteFunc(i.jobs, func(_ string, j job) bool { return now.After(j.expires) })
	if len(i.codes) > maxSessions {
		clear(i.codes)
	}
	if len(i.devices) > maxSessions {
		clear(i.devices)
	}
}

// serveToken is the token endpoint, for codes and for devices.
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.ParseForm() != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "a form must be posted")
		return
	}
	client := r.PostForm.Get("client_id")
	if user, _, ok := r.BasicAuth(); ok && client == "" {
		client, _ = url.QueryUnescape(user)
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		code := r.PostForm.Get("code")
		i.mu.Lock()
		l, ok := i.codes[code]
		delete(i.codes, code) // once only, also when the rest is wrong
		i.mu.Unlock()
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		if !ok || time.Now().After(l.expires) || l.client != client || l.redirect != r.PostForm.Get("redirect_uri") ||
			subtle.ConstantTimeCompare([]byte(challenge), []byte(l.challenge)) != 1 {
			oauthError(w, http.StatusBadRequest, "invalid_grant", "the code is unknown, used, expired or not this client's")
			return
		}
		i.grant(w, l.person, l.nonce, client)
	case deviceGrant:
		code := r.PostForm.Get("device_code")
		i.mu.Lock()
		d, ok := i.devices[code]
		var person *claims.Email
		if ok {
			person = d.person
			if person != nil || time.Now().After(d.expires) {
				delete(i.devices, code)
			}
		}
		i.mu.Unlock()
		switch {
		case !ok || d.client != client:
			oauthError(w, http.StatusBadRequest, "invalid_grant", "unknown device code")
		case time.Now().After(d.expires):
			oauthError(w, http.StatusBadRequest, "expired_token", "nobody signed in in time")
		case person == nil:
			oauthError(w, http.StatusBadRequest, "authorization_pending", "nobody has signed in yet")
		default:
			i.grant(w, *person, d.nonce, client)
		}
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "")
	}
}

func (i *Issuer) grant(w http.ResponseWriter, person claims.Email, nonce, client string) {
	token, err := i.Mint(withNonce{person, nonce}, client)
	if err != nil {
		oauthError(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "id_token": token})
}

// serveDeviceCode starts a device flow.
func (i *Issuer) serveDeviceCode(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.ParseForm() != nil || r.PostForm.Get("client_id") == "" {
		oauthError(w, http.StatusBadRequest, "invalid_request", "a form with client_id must be posted")
		return
	}
	code := rand.Text()
	d := &device{userCode: rand.Text()[:8], client: r.PostForm.Get("client_id"), nonce: r.PostForm.Get("nonce"), expires: time.Now().Add(deviceLifetime)}
	i.mu.Lock()
	i.sweep()
	i.devices[code] = d
	i.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": d.userCode, "verification_uri": i.url + "/device",
		"verification_uri_complete": i.url + "/device?user_code=" + d.userCode,
		"expires_in":                int(deviceLifetime.Seconds()), "interval": devicePoll,
	})
}

// serveDevice is the page on which a person enters the device's code.
func (i *Issuer) serveDevice(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	code := strings.ToUpper(strings.TrimSpace(r.Form.Get("user_code")))
	d := pageData{Action: "/device", AskCode: true, Code: code}
	if r.Method != http.MethodPost {
		show(w, http.StatusOK, d)
		return
	}
	person, problem := personOf(r)
	if problem == "" {
		problem = "no program is waiting for this code"
		i.mu.Lock()
		for _, dev := range i.devices {
			if dev.userCode == code && dev.person == nil && time.Now().Before(dev.expires) {
				dev.person, problem = &person, ""
			}
		}
		i.mu.Unlock()
	}
	if problem != "" {
		d.Error = problem
		show(w, http.StatusBadRequest, d)
		return
	}
	show(w, http.StatusOK, pageData{Done: person.Address})
}
