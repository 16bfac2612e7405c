// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/web"
)

var tokenTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// jwt returns a token as an issuer would make it, with some claims changed; a
// nil value removes a claim.
func tokenOf(t testing.TB, change map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/widget:ref:refs/heads/main",
		"aud": "sigstore",
		"exp": tokenTime.Add(5 * time.Minute).Unix(), "repository_visibility": "public",
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return rawJWT(string(raw))
}

func rawJWT(claims string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// badTokens are tokens of which none is given to a signing service.
func badTokens(t testing.TB) map[string]string {
	good := tokenOf(t, nil)
	return map[string]string{
		"empty claims":        rawJWT(""),
		"no JWT":              "ghs_0123456789",
		"two parts":           strings.TrimSuffix(good, ".c2ln"),
		"four parts":          good + ".x",
		"encrypted":           "a.b.c.d.e",
		"only dots":           strings.Repeat(".", 1000),
		"10 MiB":              good + strings.Repeat("x", 10<<20),
		"padded":              "e30=.e30=.x",
		"not base64":          "a.%%%.c",
		"claims are a list":   rawJWT(`[]`),
		"claims are null":     rawJWT(`null`),
		"two claims":          rawJWT(`{}{}`),
		"cut":                 rawJWT(`{"iss":"https://a","sub":"b","aud":"sigstore"`),
		"another audience":    tokenOf(t, map[string]any{"aud": "https://github.com/acme"}),
		"audience in case":    tokenOf(t, map[string]any{"aud": "Sigstore"}),
		"longer audience":     tokenOf(t, map[string]any{"aud": "sigstore.example"}),
		"audience is joined":  tokenOf(t, map[string]any{"aud": "npm,sigstore"}),
		"no audience":         tokenOf(t, map[string]any{"aud": nil}),
		"empty audiences":     tokenOf(t, map[string]any{"aud": []string{}}),
		"other audiences":     tokenOf(t, map[string]any{"aud": []string{"npm", "pypi"}}),
		"audience is a map":   tokenOf(t, map[string]any{"aud": map[string]any{"sigstore": true}}),
		"audience is a truth": tokenOf(t, map[string]any{"aud": true}),
		"audiences, one not":  tokenOf(t, map[string]any{"aud": []any{"sigstore", 1}}),
		"no subject":          tokenOf(t, map[string]any{"sub": nil}),
		"empty subject":       tokenOf(t, map[string]any{"sub": ""}),
		"subject is a number": tokenOf(t, map[string]any{"sub": 7}),
		"no issuer":           tokenOf(t, map[string]any{"iss": nil}),
		"no expiry":           tokenOf(t, map[string]any{"exp": nil}),
		"expired":             tokenOf(t, map[string]any{"exp": tokenTime.Add(-maxClockSkew).Unix()}),
		"expired long ago":    tokenOf(t, map[string]any{"exp": 1}),
		"before all time":     tokenOf(t, map[string]any{"exp": -1}),
		"expires never":       tokenOf(t, map[string]any{"exp": 1e300}),
		"expiry is text":      tokenOf(t, map[string]any{"exp": "2099-01-01"}),
	}
}

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

// get asks as the command does.
func get(ctx context.Context, address, bearer string) ([]byte, error) {
	return web.GetAuthorized(ctx, address, bearer, nil, "test", jwt.MaxBytes)
}

func noGet(t *testing.T) func(context.Context, string, string) ([]byte, error) {
	return func(_ context.Context, address, _ string) ([]byte, error) {
		t.Errorf("%s was asked", address)
		return nil, errors.New("no network")
	}
}

// TestAmbientVariable: SIGSTORE_ID_TOKEN, as GitLab's id_tokens sets it.
func TestAmbientVariable(t *testing.T) {
	for name, good := range map[string]string{
		"github": tokenOf(t, nil),
		"gitlab": tokenOf(
			t,
			map[string]any{
				"iss": "https://gitlab.com", "sub": "project_path:acme/widget:ref_type:branch:ref:main",
				"project_visibility": "public", "repository_visibility": nil,
			},
		),
		"two audiences":   tokenOf(t, map[string]any{"aud": []string{"npm", "sigstore"}}),
		"within the skew": tokenOf(t, map[string]any{"exp": tokenTime.Add(-maxClockSkew).Unix() + 1}),
		"half a second":   tokenOf(t, map[string]any{"exp": float64(tokenTime.Unix()) + 0.5}),
	} {
		// The variable goes before GitHub's, and nobody is asked.
		got, err := Ambient(
			t.Context(),
			Surroundings{
				Getenv: env(envToken, good, envRequestURL, "https://token.example/", envRequestToken, "x"),
				Get:    noGet(t),
			},
			"sigstore",
			tokenTime,
		)
		if err != nil || got != good {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for name, bad := range badTokens(t) {
		got, err := Ambient(t.Context(), Surroundings{Getenv: env(envToken, bad), Get: noGet(t)}, "sigstore", tokenTime)
		if err == nil || got != "" || errors.Is(err, ErrNoToken) {
			t.Errorf("%s: %.80q %v", name, got, err)
		} else if len(bad) > 10 && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the message has the token", name)
		}
	}
	for name, e := range map[string]func(string) string{
		"nothing":      env(),
		"no bearer":    env(envRequestURL, "https://token.example/"),
		"no address":   env(envRequestToken, "x"),
		"empty values": env(envToken, "", envRequestURL, "", envRequestToken, "x"),
	} {
		got, err := Ambient(t.Context(), Surroundings{Getenv: e, Get: noGet(t)}, "sigstore", tokenTime)
		if !errors.Is(err, ErrNoToken) || got != "" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// TestAmbientRequest asks a token service that lies.
func TestAmbientRequest(t *testing.T) {
	const bearer = "s3cret"
	good := tokenOf(t, nil)
	write := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	value := func(token string) http.HandlerFunc { return write(fmt.Sprintf(`{"count":1,"value":%q}`, token)) }
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another origin was asked, with %q", r.Header.Get("Authorization"))
		value(good)(w, r)
	}))
	defer elsewhere.Close()
	cases := map[string]http.HandlerFunc{
		"not JSON":          write("<!doctype html>"),
		"empty":             write(""),
		"null":              write("null"),
		"a list":            write(`[{"value":"` + good + `"}]`),
		"no value":          write(`{"count":0}`),
		"value is null":     write(`{"value":null}`),
		"value is a number": write(`{"value":1}`),
		"value is a list":   write(`{"value":["` + good + `"]}`),
		"trailing":          write(`{"value":"` + good + `"}x`),
		"cut":               write(`{"value":"` + good),
		"oversized":         write(`{"value":"` + good + `"}` + strings.Repeat(" ", jwt.MaxBytes)),
		"forbidden":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, good, http.StatusForbidden) },
		"broken": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			value(good)(w, nil)
		},
		"redirect":           http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP,
		"redirect to itself": http.RedirectHandler("/", http.StatusFound).ServeHTTP,
	}
	for name, bad := range badTokens(t) {
		cases[name] = value(bad)
	}
	cases["good"] = value(good)
	for name, h := range cases {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// GitHub's address has parameters of its own.
			if q := r.URL.Query(); q.Get("api-version") != "2.0" || len(q["audience"]) != 1 ||
				q.Get("audience") != "sigstore" ||
				r.Header.Get("Authorization") != "Bearer "+bearer {
				t.Errorf("%s: %s %v", name, r.URL, r.Header)
			}
			h(w, r)
		}))
		got, err := Ambient(
			t.Context(),
			Surroundings{
				Getenv: env(envRequestURL, srv.URL+"/token?api-version=2.0&audience=npm", envRequestToken, bearer),
				Get:    get,
			},
			"sigstore",
			tokenTime,
		)
		srv.Close()
		if name == "good" {
			if err != nil || got != good {
				t.Errorf("good: %q %v", got, err)
			}
			continue
		}
		if err == nil || got != "" || errors.Is(err, ErrNoToken) {
			t.Errorf("%s: %.80q %v", name, got, err)
		} else if strings.Contains(err.Error(), bearer) || strings.Contains(err.Error(), good) {
			t.Errorf("%s: the message has a token: %v", name, err)
		}
	}
	for _, address := range []string{
		"http://token.example/x", "token.example", "\x00", "ftp://token.example/", "https://u:p@token.example/",
		"file:///etc/passwd",
	} {
		got, err := Ambient(
			t.Context(), Surroundings{Getenv: env(envRequestURL, address, envRequestToken, bearer), Get: noGet(t)}, "sigstore",
			tokenTime,
		)
		if err == nil || got != "" {
			t.Errorf("%q was asked", address)
		}
	}
}

// TestRequestHost: the bearer token goes to the forge and to nobody else.
func TestRequestHost(t *testing.T) {
	for _, c := range []struct {
		server, address string
		ok              bool
	}{
		{"https://github.com", "https://run-actions-1.actions.githubusercontent.com/71//idtoken/x?api-version=2.0", true},
		{"", "https://pipelines.actions.githubusercontent.com/x", true},
		{"https://ghe.example.com", "https://ghe.example.com/_services/x", true},
		{"https://ghe.example.com", "https://token.GHE.example.com:8443/x", true},
		{"https://acme.ghe.com", "https://run.actions.acme.ghe.com/x", true},
		{"", "http://127.0.0.1:1/x", true},
		{"https://github.com", "https://evil.example/x", false},
		{"https://github.com", "https://actions.githubusercontent.com.evil.example/x", false},
		{"https://github.com", "https://evilactions.githubusercontent.com/x", false},
		{"https://github.com", "https://github.com/x", false},
		{"https://github.com", "https://pages.github.com/x", false},
		{"https://github.com", "http://pipelines.actions.githubusercontent.com/x", false},
		{"https://ghe.example.com", "http://ghe.example.com/x", false},
		{"https://ghe.example.com", "https://notghe.example.com/x", false},
		{"", "https://ghe.example.com/x", false},
	} {
		asked := false
		_, err := Surroundings{
			Getenv: env(envRequestURL, c.address, envRequestToken, "x", "GITHUB_SERVER_URL", c.server),
			Get: func(context.Context, string, string) ([]byte, error) {
				asked = true
				return []byte(`{"value":"x"}`), nil
			},
		}.Token(t.Context(), "sigstore")
		if asked != c.ok || (err == nil) != c.ok {
			t.Errorf("%s of %s: asked %v, %v", c.address, c.server, asked, err)
		}
	}
}

// FuzzClaims: what is read is there, in a token of three parts, and nothing that
// is refused has an audience, a subject and a future.
func FuzzClaims(f *testing.F) {
	for _, bad := range badTokens(f) {
		if len(bad) <= jwt.MaxBytes {
			f.Add(bad)
		}
	}
	f.Add(tokenOf(f, nil))
	f.Fuzz(func(t *testing.T, token string) {
		c, err := jwt.Unverified(token)
		if err != nil {
			if d := cmp.Diff(jwt.Claims{}, c); d != "" {
				t.Fatalf("claims beside an error: %s", d)
			}
			return
		}
		_, rest, _ := strings.Cut(token, ".")
		middle, _, ok := strings.Cut(rest, ".")
		raw, err := base64.RawURLEncoding.DecodeString(middle)
		if !ok || err != nil || strings.Count(token, ".") != 2 || !json.Valid(raw) {
			t.Fatalf("read from %q", token)
		}
		if y := c.Expires.Year(); y < 1970 || y > 9999 {
			t.Fatalf("expires in the year %d", y)
		}
		got, err := Ambient(t.Context(), Surroundings{Getenv: env(envToken, token), Get: nil}, "sigstore", tokenTime)
		if err == nil &&
			(got != token || c.Subject == "" || c.Issuer == "" || !c.Expires.Add(maxClockSkew).After(tokenTime) ||
				!strings.Contains(strings.Join(c.Audience, "\n"), "sigstore")) {
			t.Fatalf("offered %+v", c)
		}
	})
}

// TestAmbientSources: where a token that authorises comes from, and where it does
// not.
func TestAmbientSources(t *testing.T) {
	own := tokenOf(t, map[string]any{"aud": Audience})
	other := tokenOf(t, map[string]any{"aud": Audience, "sub": "another"})
	prints := func(want ...string) func(context.Context, ...string) ([]byte, error) {
		return func(_ context.Context, argv ...string) ([]byte, error) {
			if strings.Join(argv, " ") != strings.Join(want, " ") {
				t.Errorf("ran %q", argv)
			}
			return []byte(own + "\n"), nil
		}
	}
	metadata := func(_ context.Context, address string) ([]byte, error) {
		if address != googleIdentity+"?audience=repopolicy&format=full" {
			t.Errorf("asked %s", address)
		}
		return []byte(own), nil
	}
	fails := func(context.Context, ...string) ([]byte, error) { return nil, errors.New("no such job") }
	for name, c := range map[string]struct {
		s    Surroundings
		want string // "" for an error
	}{
		"variable of its own": {Surroundings{Getenv: env(envOwnToken, own, envToken, other), Get: noGet(t)}, own},
		"variable by name": {
			Surroundings{Getenv: env("MY_TOKEN", own, envOwnToken, other), Get: noGet(t), Variable: "MY_TOKEN"}, own,
		},
		"named and empty":    {Surroundings{Getenv: env(envToken, own), Get: noGet(t), Variable: "MY_TOKEN"}, ""},
		"Sigstore's at last": {Surroundings{Getenv: env(envToken, own), Get: noGet(t)}, own},
		"CircleCI": {
			Surroundings{
				Getenv: env("CIRCLECI", "true", envToken, other),
				Run:    prints("circleci", "run", "oidc", "get", "--claims", `{"aud":"repopolicy"}`),
			},
			own,
		},
		"CircleCI says no": {Surroundings{Getenv: env("CIRCLECI", "true"), Run: fails}, ""},
		"Buildkite": {
			Surroundings{
				Getenv: env("BUILDKITE", "true"),
				Run:    prints("buildkite-agent", "oidc", "request-token", "--audience", "repopolicy"),
			},
			own,
		},
		"commands not allowed": {Surroundings{Getenv: env("BUILDKITE", "true", "CIRCLECI", "true")}, ""},
		"Google's cloud":       {Surroundings{Getenv: env(envOwnToken, other), Metadata: metadata}, own},
		"Actions without":      {Surroundings{Getenv: env("GITHUB_ACTIONS", "true"), Get: noGet(t)}, ""},
		"Actions without, Circle": {
			Surroundings{Getenv: env("GITHUB_ACTIONS", "true", "CIRCLECI", "true"), Get: noGet(t), Run: prints("never")}, "",
		},
		"nothing":                  {Surroundings{Getenv: env(), Get: noGet(t)}, ""},
		"another audience in it":   {Surroundings{Getenv: env(envOwnToken, tokenOf(t, nil)), Get: noGet(t)}, ""},
		"Sigstore's for Sigstore":  {Surroundings{Getenv: env(envToken, tokenOf(t, nil)), Get: noGet(t)}, ""},
		"an address is no command": {Surroundings{Getenv: env("CIRCLECI", "1"), Run: prints("never")}, ""},
	} {
		got, err := Ambient(t.Context(), c.s, Audience, tokenTime)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %.40q %v", name, got, err)
		}
		if name == "Actions without" && !errors.Is(err, errNoPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, e := range []func(string) string{env(), env(envToken, own), env("CIRCLECI", "true")} {
		if (Surroundings{Getenv: e}).Offers() {
			t.Error("a job where there is none")
		}
	}
	for _, e := range []func(string) string{
		env(envOwnToken, own), env("GITHUB_ACTIONS", "true"), env(envRequestURL, "x"),
	} {
		if !(Surroundings{Getenv: e}).Offers() {
			t.Error("no job where there is one")
		}
	}
}
