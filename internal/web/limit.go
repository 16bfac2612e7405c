// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxRetryAfter is the longest pause that a service is granted when it asks for
// one. Whoever wants a longer one is not asked again.
const maxRetryAfter = 5 * time.Second

// spent remembers that a service does not want to be asked for a while: what else would be asked
// then fails without a request.
type spent struct {
	mu    sync.Mutex
	until time.Time
	err   error
}

// note remembers a reply that says so.
func (s *spent) note(err error) {
	var status *StatusError
	if !errors.As(err, &status) || !status.Limited || status.RetryAfter <= maxRetryAfter {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until, s.err = time.Now().Add(status.RetryAfter), err
}

// check returns the error of that reply while it counts.
func (s *spent) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil && time.Now().Before(s.until) {
		return s.err
	}
	return nil
}

// limited reports whether a service says that it was asked too often, and after
// how long it may be asked again, 0 if it does not say: 429 with Retry-After
// (RFC 6585), and 403 or 429 with the headers of GitHub's, GitLab's and Forgejo's
// limits.
func limited(resp *http.Response, now time.Time) (bool, time.Duration) {
	h := resp.Header
	spent := h.Get("X-RateLimit-Remaining") == "0" || h.Get("RateLimit-Remaining") == "0"
	if resp.StatusCode != http.StatusTooManyRequests &&
		!(resp.StatusCode == http.StatusForbidden && (spent || h.Get("Retry-After") != "")) {
		return false, 0
	}
	if s := h.Get("Retry-After"); s != "" {
		if n, err := strconv.ParseUint(s, 10, 31); err == nil {
			return true, time.Duration(n) * time.Second
		}
		if at, err := http.ParseTime(s); err == nil {
			return true, max(at.Sub(now), 0)
		}
	}
	for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
		if n, err := strconv.ParseInt(h.Get(name), 10, 64); err == nil && spent {
			return true, max(time.Unix(n, 0).Sub(now), 0)
		}
	}
	return true, 0
}

// limitText says what a client can do about a limit.
func limitText(after time.Duration) string {
	if after > 0 {
		return fmt.Sprintf("the service limits how often it is asked; try again in %s", after.Round(time.Second))
	}
	return "the service limits how often it is asked; try again later"
}
