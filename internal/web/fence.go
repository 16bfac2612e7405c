// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/budget"
)

// maxFenced is the largest reply behind a fence.
const maxFenced = 16 << 20

var errFenced = errors.New("it is none of the hosts that may be asked")

// Fence returns a client for a library that decides by itself whom to ask: it
// reads, from these hosts and no others, over https unless a host is this machine.
// A host gets no authorization that another one asked for. Replies are capped and
// requests repeated as by a [Client].
func Fence(transport http.RoundTripper, agent string, hosts ...string) *http.Client {
	return fenced(transport, agent, hosts, false)
}

// Gate is a [Fence] that also lets the library write. What it sends is not sent
// again, and never to where a redirect leads.
func Gate(transport http.RoundTripper, agent string, hosts ...string) *http.Client {
	return fenced(transport, agent, hosts, true)
}

func fenced(transport http.RoundTripper, agent string, hosts []string, write bool) *http.Client {
	if transport == nil {
		transport = Default()
	}
	f := &fence{next: transport, agent: agent, hosts: hosts, write: write, most: maxFenced}
	return &http.Client{
		Transport: f, Timeout: attempts * requestTimeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || f.check(req.URL) != nil || !reading(via[0].Method) {
				return errRedirect
			}
			req.Header.Del("Referer")
			if req.URL.Host != via[0].URL.Host {
				req.Header.Del("Authorization")
			}
			return nil
		},
	}
}

type fence struct {
	next  http.RoundTripper
	agent string
	hosts []string
	write bool
	most  int64 // bytes of a reply
	// binary says that replies are content, of which no values are counted.
	binary bool
}

func reading(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func (f *fence) check(u *url.URL) error {
	if u.User != nil || !slices.Contains(f.hosts, strings.ToLower(u.Host)) ||
		u.Scheme != "https" && !(u.Scheme == "http" && Loopback(u.Host)) {
		return fmt.Errorf("%s://%s: %w", u.Scheme, u.Host, errFenced)
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (f *fence) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := budget.Of(r.Context()).Request(); err != nil {
		return nil, err
	}
	if err := f.check(r.URL); err != nil {
		return nil, err
	}
	if !reading(r.Method) {
		if !f.write {
			return nil, fmt.Errorf("%s %s: only reading is allowed", r.Method, r.URL.Host)
		}
		c := r.Clone(r.Context())
		c.Header.Set("User-Agent", f.agent)
		resp, err := f.next.RoundTrip(c)
		if err != nil {
			return nil, err
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{&capped{r: resp.Body, left: f.most, binary: f.binary}, resp.Body}
		return resp, nil
	}
	return retry(r.Context(), func() (*http.Response, error) {
		c := r.Clone(r.Context())
		c.Header.Set("User-Agent", f.agent)
		resp, err := f.next.RoundTrip(c)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusForbidden ||
			resp.StatusCode >= 500 {
			defer resp.Body.Close()
			return nil, checkStatus(resp, r.URL.Redacted())
		}
		if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			resp.Body.Close()
			return nil, fmt.Errorf("%s: the answer is a page of the web", r.URL.Redacted())
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{&capped{r: resp.Body, left: f.most, binary: f.binary}, resp.Body}
		return resp, nil
	})
}
