// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// internet is every host there is: handlers by host, and what was asked.
type internet struct {
	hosts map[string]http.HandlerFunc
	next  http.RoundTripper
	to    string
	token string // that api.github.com may be shown
	login string // of hosts, separated by blanks, that may be shown a login

	mu    sync.Mutex
	asked []string
}

func newInternet(t testing.TB, hosts map[string]http.HandlerFunc) *internet {
	n := &internet{hosts: hosts}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := hosts[r.Host]; h != nil {
			h(w, r)
			return
		}
		http.Error(w, "no such host", http.StatusBadGateway)
	}))
	t.Cleanup(s.Close)
	n.next, n.to = s.Client().Transport, strings.TrimPrefix(s.URL, "http://")
	return n
}

func (n *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.asked = append(n.asked, r.URL.String())
	n.mu.Unlock()
	switch {
	case r.URL.Scheme != "https":
		return nil, fmt.Errorf("asked over %s", r.URL.Scheme)
	case n.hosts[r.URL.Host] == nil:
		return nil, fmt.Errorf("%s was asked", r.URL.Host)
	case r.Header.Get("Authorization") != "" && !n.mayKnow(r.URL.Host),
		r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "":
		return nil, fmt.Errorf("%s was told %v", r.URL, r.Header)
	}
	c := r.Clone(r.Context())
	c.Host, c.URL.Scheme, c.URL.Host = r.URL.Host, "http", n.to
	resp, err := n.next.RoundTrip(c)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

// mayKnow reports whether a host may be shown who asks.
func (n *internet) mayKnow(host string) bool {
	return host == "api.github.com" && n.token != "" || slices.Contains(strings.Fields(n.login), host)
}

func (n *internet) net() Net { return Net{Transport: n, Agent: "test", MaxBytes: 1 << 20} }

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func locator(t testing.TB, s string) policy.Locator {
	t.Helper()
	l, err := policy.NormalizeLocator(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newRelease(t testing.TB, n Net, repo, tag string) *Release {
	t.Helper()
	l := locator(t, repo)
	r, err := NewRelease(Address{Repository: l, Tag: tag}, ForgeOf(l.Host()), n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reason returns the reason of an error, "" for an error without one.
func reason(err error) policy.Reason {
	var f *release.Failure
	if errors.As(err, &f) {
		return f.Reason
	}
	return ""
}

// TestAddresses: what is asked for follows from repository, tag and name alone.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ repo, tag, list, file, page string }{
		{
			"https://github.com/Acme/widget", "v1.2.3", "https://api.github.com/repos/acme/widget/releases/tags/v1.2.3",
			"https://github.com/acme/widget/releases/download/v1.2.3/a%20b+1.zip",
			"https://github.com/acme/widget/releases/tag/v1.2.3",
		},
		{
			"https://github.com/acme/widget", "cli/v1", "https://api.github.com/repos/acme/widget/releases/tags/cli/v1",
			"https://github.com/acme/widget/releases/download/cli/v1/a%20b+1.zip",
			"https://github.com/acme/widget/releases/tag/cli/v1",
		},
		{
			"https://gitlab.com/acme/deep/widget", "v1", "https://gitlab.com/api/v4/projects/acme%2Fdeep%2Fwidget/releases/v1",
			"https://gitlab.com/acme/deep/widget/-/releases/v1/downloads/a%20b+1.zip",
			"https://gitlab.com/acme/deep/widget/-/releases/v1",
		},
		{
			"https://codeberg.org/acme/widget", "v1%", "https://codeberg.org/api/v1/repos/acme/widget/releases/tags/v1%25",
			"https://codeberg.org/acme/widget/releases/download/v1%25/a%20b+1.zip",
			"https://codeberg.org/acme/widget/releases/tag/v1%25",
		},
	} {
		u, err := url.Parse(c.list)
		if err != nil {
			t.Fatal(err)
		}
		n := newInternet(t, map[string]http.HandlerFunc{u.Host: http.NotFound, "github.com": http.NotFound})
		r := newRelease(t, n.net(), c.repo, c.tag)
		if _, err := r.List(t.Context()); err == nil {
			t.Errorf("%s: listed", c.repo)
		}
		if _, err := r.Read(t.Context(), "a b+1.zip", 10); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", c.repo, err)
		}
		if want := []string{c.list, c.file}; !slices.Equal(n.asked, want) {
			t.Errorf("asked %v, want %v", n.asked, want)
		}
		if r.URL("") != c.page || r.URL("a b+1.zip") != c.file {
			t.Errorf("%s, %s", r.URL(""), r.URL("a b+1.zip"))
		}
	}
}

// TestCut: what breaks off is an error, and not kept.
func TestCut(t *testing.T) {
	n := newInternet(t, map[string]http.HandlerFunc{"github.com": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "beginning")
	}})
	r := newRelease(t, n.net(), "acme/widget", "v1")
	for range 2 {
		if data, err := r.Read(t.Context(), "x", 1000); err == nil || data != nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q %v", data, err)
		}
	}
	d, err := r.Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(d); err == nil {
		t.Errorf("%q", data)
	}
	d.Close()
}

// TestEnterprise: the user says what runs at a host.
func TestEnterprise(t *testing.T) {
	l := locator(t, "https://git.example/acme/widget")
	for kind, want := range map[Forge]string{
		GitHub:  "https://git.example/api/v3/repos/acme/widget/releases/tags/v1",
		GitLab:  "https://git.example/api/v4/projects/acme%2Fwidget/releases/v1",
		Forgejo: "https://git.example/api/v1/repos/acme/widget/releases/tags/v1",
	} {
		n := newInternet(t, map[string]http.HandlerFunc{"git.example": http.NotFound})
		r, err := NewRelease(Address{Repository: l, Tag: "v1"}, kind, n.net())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.List(t.Context()); !errors.Is(err, fs.ErrNotExist) || !slices.Equal(n.asked, []string{want}) {
			t.Errorf("%s: asked %v: %v", kind, n.asked, err)
		}
	}
}

// TestListings: a listing is taken as a whole or not at all.
func TestListings(t *testing.T) {
	names := func(n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(`{"name":"f%d"}`, i))
		}
		return `{"tag_name":"v1","assets":[` + strings.Join(out, ",") + `]}`
	}
	named := func(name string) string { return `{"tag_name":"v1","assets":[{"name":"ok"},{"name":"` + name + `"}]}` }
	for name, c := range map[string]struct {
		text   string
		files  int
		reason policy.Reason
	}{
		"files":              {named("a.tar.gz"), 2, ""},
		"none":               {`{"tag_name":"v1","assets":[]}`, 0, ""},
		"as many as allowed": {names(maxAssets), maxAssets, ""},
		"one too many":       {names(maxAssets + 1), 0, policy.ReleaseUnreachable},
		"10,000":             {names(10_000), 0, policy.ReleaseUnreachable},
		"another tag":        {`{"tag_name":"v2","assets":[]}`, 0, policy.ReleaseUnreachable},
		"another case":       {`{"tag_name":"V1","assets":[]}`, 0, policy.ReleaseUnreachable},
		"a draft":            {`{"tag_name":"v1","draft":true,"assets":[]}`, 0, policy.ReleaseUnreachable},
		"no files":           {`{"tag_name":"v1"}`, 0, policy.ReleaseUnreachable},
		"null":               {`null`, 0, policy.ReleaseUnreachable},
		"empty":              {``, 0, policy.ReleaseUnreachable},
		"a page":             {`<?xml version="1.0"?>`, 0, policy.ReleaseUnreachable},
		"a list":             {`[]`, 0, policy.ReleaseUnreachable},
		"of another type":    {`{"tag_name":"v1","assets":{"name":"x"}}`, 0, policy.ReleaseUnreachable},
		"a number":           {`{"tag_name":"v1","assets":[{"name":7}]}`, 0, policy.ReleaseUnreachable},
		"cut":                {`{"tag_name":"v1","assets":[{"name":"x"}`, 0, policy.ReleaseUnreachable},
		"two":                {`{"tag_name":"v1","assets":[]}{}`, 0, policy.ReleaseUnreachable},
		"without a name":     {`{"tag_name":"v1","assets":[{}]}`, 0, policy.ReleaseInvalid},
		"a name twice":       {named("ok"), 0, policy.ReleaseInvalid},
		"parent":             {named("../../.ssh/authorized_keys"), 0, policy.ReleaseInvalid},
		"absolute":           {named("/etc/passwd"), 0, policy.ReleaseInvalid},
		"a drive":            {named("C:x"), 0, policy.ReleaseInvalid},
		"a share":            {named(`\\\\host\\x`), 0, policy.ReleaseInvalid},
		"a dot":              {named("."), 0, policy.ReleaseInvalid},
		"two dots":           {named(".."), 0, policy.ReleaseInvalid},
		"NUL":                {named(`a\u0000b`), 0, policy.ReleaseInvalid},
		"a line feed":        {named(`a\nb`), 0, policy.ReleaseInvalid},
		"an escape":          {named(`\u001b[2J`), 0, policy.ReleaseInvalid},
		"bidi":               {named(`a\u202egpj.exe`), 0, policy.ReleaseInvalid},
		"zero width":         {named(`ok\u200b`), 0, policy.ReleaseInvalid},
		"a device":           {named("nul.tar.gz"), 0, policy.ReleaseInvalid},
		"a port":             {named("COM1"), 0, policy.ReleaseInvalid},
		"a printer":          {named("lpt9.txt"), 0, policy.ReleaseInvalid},
		"no port":            {named("com.txt"), 2, ""},
		"a line separator":   {named(`a\u2028b`), 0, policy.ReleaseInvalid},
		"a paragraph":        {named(`a\u2029b`), 0, policy.ReleaseInvalid},
		"a replacement":      {named(`a\ufffdb`), 0, policy.ReleaseInvalid},
		"as long as allowed": {named(strings.Repeat("x", 255)), 2, ""},
		"no device":          {named("compress.tar.gz"), 2, ""},
		"a trailing dot":     {named("x."), 0, policy.ReleaseInvalid},
		"a trailing space":   {named("x "), 0, policy.ReleaseInvalid},
		"too long":           {named(strings.Repeat("x", 256)), 0, policy.ReleaseInvalid},
		"not UTF-8":          {named("\xff"), 0, policy.ReleaseInvalid},
		"letters":            {named("größe-漢字.zip"), 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := newInternet(t, map[string]http.HandlerFunc{"api.github.com": answer(c.text)})
			got, err := newRelease(t, n.net(), "acme/widget", "v1").List(t.Context())
			if reason(err) != c.reason || err == nil && len(got) != c.files || err != nil && c.reason == "" {
				t.Errorf("%d files, %v", len(got), err)
			}
		})
	}
	const direct = "https://gitlab.com/acme/widget/-/releases/v1/downloads/"
	link := func(url string) string {
		return `{"tag_name":"v1","assets":{"links":[{"name":"the file","direct_asset_url":"` + url + `"}]}}`
	}
	for name, c := range map[string]struct {
		text   string
		want   string
		reason policy.Reason
	}{
		"a file":    {link(direct + "a%20b"), "a b", ""},
		"elsewhere": {link("https://evil.example/a"), "the file", ""},
		"a host like it": {
			link("https://gitlab.com.evil.example/acme/widget/-/releases/v1/downloads/a"), "the file", "",
		},
		"another release":  {link("https://gitlab.com/acme/widget/-/releases/v2/downloads/a"), "the file", ""},
		"a directory":      {link(direct + "bin/a"), "", policy.ReleaseInvalid},
		"hidden directory": {link(direct + "bin%2Fa"), "", policy.ReleaseInvalid},
		"a bad escape":     {link(direct + "%zz"), "the file", ""},
		"nothing":          {link(direct), "", policy.ReleaseInvalid},
		"another tag":      {`{"tag_name":"v2","assets":{"links":[]}}`, "", policy.ReleaseUnreachable},
		"no links":         {`{"tag_name":"v1","assets":{}}`, "", policy.ReleaseUnreachable},
		"a page":           {`<?xml version="1.0"?>`, "", policy.ReleaseUnreachable},
	} {
		t.Run("GitLab "+name, func(t *testing.T) {
			n := newInternet(t, map[string]http.HandlerFunc{"gitlab.com": answer(c.text)})
			got, err := newRelease(t, n.net(), "https://gitlab.com/acme/widget", "v1").List(t.Context())
			if reason(err) != c.reason || (err == nil) != slices.Equal(got, []string{c.want}) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestHosts: github.com may send downloads on to the hosts that it has for that,
// its API nowhere, and others nowhere else.
func TestHosts(t *testing.T) {
	to := func(url string) http.HandlerFunc { return http.RedirectHandler(url, http.StatusFound).ServeHTTP }
	const assets, old = "https://release-assets.githubusercontent.com/x?sig=1", "https://objects.githubusercontent.com/x"
	for name, c := range map[string]struct {
		repo string
		to   string
		ok   bool
	}{
		"to its assets":                {"acme/widget", assets, true},
		"to where they were":           {"acme/widget", old, true},
		"to itself, as after a rename": {"acme/widget", "https://github.com/acme/gadget/x", true},
		"to the raw files of anyone":   {"acme/widget", "https://raw.githubusercontent.com/evil/x/x", false},
		"to anyone":                    {"acme/widget", "https://evil.example/x", false},
		"to a host like it": {
			"acme/widget", "https://release-assets.githubusercontent.com.evil.example/x", false,
		},
		"with a user":                    {"acme/widget", "https://u@release-assets.githubusercontent.com/x", false},
		"downgraded":                     {"acme/widget", "http://release-assets.githubusercontent.com/x", false},
		"downgraded to itself":           {"acme/widget", "http://github.com/x", false},
		"another forge to GitHub's host": {"https://codeberg.org/acme/widget", assets, false},
		"another forge to itself":        {"https://codeberg.org/acme/widget", "https://codeberg.org/attachments/x", true},
		"to a host that the user named":  {"https://codeberg.org/acme/widget", "https://storage.example/x", true},
	} {
		t.Run(name, func(t *testing.T) {
			hosts := map[string]http.HandlerFunc{}
			for _, h := range []string{
				"release-assets.githubusercontent.com", "objects.githubusercontent.com", "raw.githubusercontent.com",
				"storage.example", "evil.example", "release-assets.githubusercontent.com.evil.example",
			} {
				hosts[h] = answer("content")
			}
			forge := func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/releases/") {
					to(c.to)(w, r)
					return
				}
				answer("content")(w, r)
			}
			hosts["github.com"], hosts["codeberg.org"], hosts["api.github.com"] = forge, forge, to(assets)
			n := newInternet(t, hosts)
			named := n.net()
			named.Hosts = []string{"storage.example"}
			r := newRelease(t, named, c.repo, "v1")
			data, err := r.Read(t.Context(), "x", 100)
			if (err == nil) != c.ok || c.ok && string(data) != "content" {
				t.Errorf("%q, %v", data, err)
			}
			if d, err := r.Open(t.Context(), "x"); (err == nil) != c.ok {
				t.Errorf("%v", err)
			} else if err == nil {
				d.Close()
			}
			for _, u := range n.asked {
				if strings.Contains(u, "evil") || strings.Contains(u, "raw.") || strings.HasPrefix(u, "http://") {
					t.Errorf("asked %s", u)
				}
			}
			if _, err := r.List(t.Context()); err == nil {
				t.Error("the API led elsewhere")
			}
		})
	}
}

// TestToken: only GitHub's API sees the token, and only if there is one.
func TestToken(t *testing.T) {
	for _, repo := range []string{"acme/widget", "https://codeberg.org/acme/widget", "https://gitlab.com/acme/widget"} {
		told := map[string]string{}
		rt := tripper(func(r *http.Request) (*http.Response, error) {
			told[r.URL.Host] = r.Header.Get("Authorization")
			h := http.Header{}
			code := http.StatusForbidden
			if r.URL.Host == "github.com" || r.URL.Host == "api.github.com" {
				h.Set("Location", "https://release-assets.githubusercontent.com/x")
				code = http.StatusFound
			}
			return &http.Response{StatusCode: code, Header: h, Body: http.NoBody, Request: r}, nil
		})
		n := Net{Transport: rt, Agent: "test", MaxBytes: 1, Token: "s3cret"}
		r := newRelease(t, n, repo, "v1")
		if _, err := r.List(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Error(err)
		}
		if _, err := r.Read(t.Context(), "x", 1); err == nil {
			t.Error("read")
		}
		if _, err := r.Open(t.Context(), "x"); err == nil {
			t.Error("opened")
		}
		ask, err := PyPI(PyPIIndex, true, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ask(t.Context(), release.Wanted{Name: "widget-1.tar.gz"}); err == nil {
			t.Error("asked")
		}
		for host, what := range told {
			want := ""
			if host == "api.github.com" {
				want = "Bearer s3cret"
			}
			if what != want {
				t.Errorf("%s was told %q", host, what)
			}
		}
		if repo == "acme/widget" && len(told) != 4 {
			t.Errorf("told %v", told)
		}
	}
	ask, err := Attestations(locator(t, "acme/widget"), Net{Token: "s3cret",
		Transport: tripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "api.github.com" || r.Header.Get("Authorization") != "Bearer s3cret" {
				t.Errorf("%s was told %v", r.URL, r.Header)
			}
			return &http.Response{StatusCode: 404, Body: http.NoBody, Request: r}, nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	if docs, err := ask(t.Context(), wanted(policy.Digest{Alg: "sha256", Hex: "11"})); docs != nil || err != nil {
		t.Errorf("%v %v", docs, err)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestKept: a small file is asked for once; an error is not kept.
func TestKept(t *testing.T) {
	fail := true
	n := newInternet(t, map[string]http.HandlerFunc{"github.com": func(w http.ResponseWriter, r *http.Request) {
		if fail {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "content")
	}})
	r := newRelease(t, n.net(), "acme/widget", "v1")
	if _, err := r.Read(t.Context(), "x", 100); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("forbidden: %v", err)
	}
	fail = false
	for range 3 {
		if data, err := r.Read(t.Context(), "x", 100); err != nil || string(data) != "content" {
			t.Errorf("%q %v", data, err)
		}
	}
	if len(n.asked) != 2 {
		t.Error(n.asked)
	}
	if data, err := r.Read(t.Context(), "x", 3); err == nil {
		t.Errorf("beyond the limit: %q", data)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "a\\b", "a\x00"} {
		if _, err := r.Read(t.Context(), bad, 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := r.Open(t.Context(), bad); reason(err) != policy.ReleaseInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func wanted(ds ...policy.Digest) release.Wanted {
	return release.Wanted{Digests: func() ([]policy.Digest, error) { return ds, nil }}
}

// TestAttestations: an answer that is not all there is says so, and what it holds
// still counts.
func TestAttestations(t *testing.T) {
	many := func(n int) string {
		return `{"attestations":[` + strings.TrimSuffix(strings.Repeat(`{"bundle":{"n":1}},`, n), ",") + `]}`
	}
	for name, c := range map[string]struct {
		code  int
		text  string
		docs  int
		whole bool
	}{
		"one":           {200, many(1), 1, true},
		"none listed":   {200, `{"attestations":[]}`, 0, true},
		"not found":     {404, `{"message":"Not Found"}`, 0, true},
		"nearly a page": {200, many(99), 99, true},
		"a page":        {200, many(100), 100, false},
		"10,000":        {200, many(10_000), 100, false},
		"kept elsewhere": {
			200, `{"attestations":[{"bundle":null,"bundle_url":"https://evil.example/x"},{"bundle":{"n":1}}]}`, 1, false,
		},
		"only an address":    {200, `{"attestations":[{"bundle_url":"https://evil.example/x"}]}`, 0, false},
		"null":               {200, `{"attestations":null}`, 0, false},
		"something else":     {200, `{}`, 0, false},
		"a page of the web":  {200, `<html>`, 0, false},
		"cut":                {200, `{"attestations":[{"bundle":{}}`, 0, false},
		"forbidden":          {403, `{}`, 0, false},
		"asked too often":    {403, `limit`, 0, false},
		"unauthorized":       {401, `{}`, 0, false},
		"a server's trouble": {500, `{}`, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newInternet(t, map[string]http.HandlerFunc{"api.github.com": func(w http.ResponseWriter, r *http.Request) {
				if c.text == "limit" {
					w.Header().Set("X-RateLimit-Remaining", "0")
					w.Header().Set("Retry-After", "3600")
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.text)
			}})
			ask, err := Attestations(locator(t, "acme/widget"), n.net())
			if err != nil {
				t.Fatal(err)
			}
			docs, err := ask(t.Context(),
				wanted(policy.Digest{Alg: "sha512", Hex: "00"}, policy.Digest{Alg: "sha256", Hex: "11"}))
			if len(docs) != c.docs || (err == nil) != c.whole || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%d documents, %v", len(docs), err)
			}
			if c.text == "limit" && !strings.Contains(err.Error(), "try again in 1h") {
				t.Error(err)
			}
			if n.asked[0] != "https://api.github.com/repos/acme/widget/attestations/sha256:11?per_page=100" {
				t.Error(n.asked)
			}
		})
	}
	ask, err := Attestations(locator(t, "acme/widget"), Net{})
	if err != nil {
		t.Fatal(err)
	}
	if docs, err := ask(context.Background(), wanted(policy.Digest{Alg: "sha512", Hex: "00"})); docs != nil || err != nil {
		t.Errorf("without a digest to ask for: %v %v", docs, err)
	}
	unreadable := &release.Failure{Reason: policy.ArtifactRead}
	if _, err := ask(context.Background(), release.Wanted{
		Digests: func() ([]policy.Digest, error) { return nil, unreadable },
	}); reason(err) != policy.ArtifactRead {
		t.Error(err)
	}
}

// TestForeignLinks: of a release on GitLab, what is but a link to another place is a file that cannot
// be had, and nobody is asked for it; the others can.
func TestForeignLinks(t *testing.T) {
	const direct = "https://gitlab.com/acme/widget/-/releases/v1/downloads/"
	n := newInternet(t, map[string]http.HandlerFunc{"gitlab.com": func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			answer("content")(w, r)
			return
		}
		answer(`{"tag_name":"v1","assets":{"links":[{"name":"a","direct_asset_url":"`+direct+`a"},`+
			`{"name":"b","direct_asset_url":"https://evil.example/b"},`+
			`{"name":"../c","direct_asset_url":"https://evil.example/c"}]}}`)(w, r)
	}})
	rel := newRelease(t, n.net(), "https://gitlab.com/acme/widget", "v1")
	names, err := rel.List(t.Context())
	if err != nil || !slices.Equal(names, []string{"a", "b", "link-3"}) {
		t.Fatalf("%q %v", names, err)
	}
	if data, err := rel.Read(t.Context(), "a", 100); err != nil || string(data) != "content" {
		t.Errorf("%q %v", data, err)
	}
	for _, name := range []string{"b", "link-3"} {
		_, err := rel.Read(t.Context(), name, 100)
		if reason(err) != policy.ReleaseUnreachable || !strings.Contains(err.Error(), "a link to evil.example") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := rel.Open(t.Context(), name); reason(err) != policy.ReleaseUnreachable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(n.asked) != 2 {
		t.Errorf("asked %v", n.asked)
	}
	// One that is called like another file makes the listing invalid.
	twice := newInternet(t, map[string]http.HandlerFunc{"gitlab.com": answer(
		`{"tag_name":"v1","assets":{"links":[{"name":"a","direct_asset_url":"` + direct + `a"},` +
			`{"name":"a","direct_asset_url":"https://evil.example/a"}]}}`)})
	if _, err := newRelease(t, twice.net(), "https://gitlab.com/acme/widget", "v1").List(t.Context()); reason(err) !=
		policy.ReleaseInvalid {
		t.Error(err)
	}
}
