// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"io"
	"net/http"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// OneOrigin is a transport for clients of other libraries: it sends requests to
// one origin only, whatever a service's answers name, and caps every reply.
type OneOrigin struct {
	Scheme, Host string
	Limit        int64  // bytes of a reply's body
	Agent        string // User-Agent; "" leaves the library's
	// Redirects hands redirects to the client, which may follow them within the
	// origin; else they are errors.
	Redirects bool
	Binary    bool              // replies are no JSON, in which values would be counted
	Next      http.RoundTripper // nil for the default one
}

// RoundTrip implements http.RoundTripper.
func (o *OneOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := budget.Of(req.Context()).Request(); err != nil {
		return nil, err
	}
	if req.URL.Scheme != o.Scheme || req.URL.Host != o.Host {
		return nil, fmt.Errorf("%s is not on %s", req.URL.Redacted(), o.Host)
	}
	sent := req
	if o.Agent != "" {
		sent = req.Clone(req.Context())
		sent.Header.Set("User-Agent", o.Agent)
	}
	next := o.Next
	if next == nil {
		next = shared()
	}
	resp, err := next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	if !o.Redirects && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", o.Host, errRedirect)
	}
	resp.Request = req // whatever a transport below made of it
	resp.Body = struct {
		io.Reader
		io.Closer
	}{&capped{r: resp.Body, left: o.Limit, binary: o.Binary}, resp.Body}
	return resp, nil
}

// capped is an error beyond its limit, where io.LimitReader is an end.
type capped struct {
	r      io.Reader
	left   int64
	binary bool
	values strictjson.Counter
}

// maxReplyValues is how many JSON values a reply has at most: a listing of a thousand
// files and an index of 10,000 images stay well below. What is read into structures
// needs a hundred times the bytes of the shortest values.
const maxReplyValues = 300_000

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		// A body of exactly the limit has ended.
		if n, err := c.r.Read(make([]byte, 1)); n == 0 && err != nil {
			return 0, err
		}
		return 0, ErrTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if c.binary {
		return n, err
	}
	if c.values.Add(p[:n]); c.values.Values > maxReplyValues {
		return 0, fmt.Errorf("%w: more than %d values", ErrTooLarge, maxReplyValues)
	}
	return n, err
}
