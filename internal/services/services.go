// SPDX-License-Identifier: Apache-2.0

// Package services asks the services of a Sigstore instance by their published protocols: the
// certificate authority, the logs, and time stamp authorities. It asks one origin, within
// limits, and takes whole answers only. What they say is for whoever asked to verify.
package services

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	maxReply       = 4 << 20
	maxSaid        = 200 // bytes of what a service says of an error
	requestTimeout = 30 * time.Second
	agent          = "repopolicy"
	jsonType       = "application/json"
)

// Service is one service of an instance.
type Service struct {
	URL       string
	Transport http.RoundTripper // nil for the default one
	Timeout   time.Duration     // of a request with its answer; 0 for 30 seconds
}

// question is one request.
type question struct {
	path  string // below the URL of the service; "" for that itself
	body  []byte // what is posted; nil to get
	kind  string // media type of the body
	token string // "" for none
	limit int64  // bytes of the answer; 0 for maxReply
	plain bool   // the answer is no JSON
}

// answer is what a service answered, of whatever status. Of an error it is the beginning.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// said returns what a service says of an error.
func (a *answer) said() string { return clip.To(strings.TrimSpace(string(a.body)), maxSaid) }

func (a *answer) failed() bool { return a.status >= http.StatusBadRequest }

// busy reports whether the service may answer the same question later.
func (a *answer) busy() bool {
	return a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests
}

func (s Service) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return requestTimeout
}

// ask asks once: its own origin, without following redirects, and within the timeout.
func (s Service) ask(ctx context.Context, q question) (*answer, error) {
	base, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	req, err := q.request(ctx, base)
	if err != nil {
		return nil, err
	}
	limit := q.limit
	if limit == 0 {
		limit = maxReply
	}
	client := &http.Client{Transport: &web.OneOrigin{
		Scheme: base.Scheme, Host: base.Host, Limit: limit, Agent: agent, Binary: q.plain, Next: s.Transport,
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	body := io.Reader(resp.Body)
	if a.failed() {
		body = io.LimitReader(body, maxSaid)
	}
	if a.body, err = io.ReadAll(body); err != nil && !a.failed() {
		return nil, fmt.Errorf("the answer of %s: %w", base.Host, err)
	}
	return a, nil
}

func (q question) request(ctx context.Context, base *url.URL) (*http.Request, error) {
	address := base
	if q.path != "" {
		address = base.JoinPath(q.path)
	}
	if q.body == nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", q.kind)
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	return req, nil
}
