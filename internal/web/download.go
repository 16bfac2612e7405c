// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/budget"
)

// Limits of a download, which may take longer than a reply.
const (
	minRate      = 64 << 10 // bytes a second over any rateWindow, below which a download is given up
	rateWindow   = time.Minute
	rateSteps    = 12 // in which the window moves on
	maxRedirects = 3
)

// ErrSlow is wrapped by the error about a download that stands still.
var ErrSlow = errors.New("the download stands still")

// Via returns a client that lets the service send it on to its own host and to
// these, as forges keep downloads at another host. Nothing but the address and
// the User-Agent is sent there, and never over http if the service has https. A
// token of [Client.Authorized] is not kept.
func (c *Client) Via(hosts ...string) *Client {
	out := *c
	out.bearer = ""
	h := *c.http
	h.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects || !c.leads(req.URL, hosts) {
			return errRedirect
		}
		for name := range req.Header {
			if name != "User-Agent" && name != "Accept" && name != "Range" {
				delete(req.Header, name) // such as the Referer that Go adds
			}
		}
		return nil
	}
	out.http = &h
	return &out
}

// leads reports whether the service may send its clients to u.
func (c *Client) leads(u *url.URL, hosts []string) bool {
	safe := u.Scheme == "https" || u.Scheme == "http" && c.base.Scheme == "http"
	host := strings.ToLower(u.Host)
	return safe && u.User == nil && (host == strings.ToLower(c.base.Host) || slices.Contains(hosts, host))
}

// Download is the content of a reply, read as it arrives.
type Download struct {
	Size int64 // that the service declares; -1 if it does not

	url   string
	body  io.ReadCloser
	ctx   context.Context // ended by stop, for the reason why
	stop  context.CancelCauseFunc
	timer *time.Timer // of one read
	read  int64
	start int64 // in the content
	limit int64
	rate  rate
}

// Length returns the size of the content; 0 if the service does not declare it.
func (d *Download) Length() int64 { return max(0, d.Size) }

// rate is how much arrived in the last steps of time.
type rate struct {
	step  time.Time // the last one began
	steps [rateSteps]int64
	full  int // how many are whole
}

// add counts what arrived, and reports whether it is too little for the window that
// ends now.
func (r *rate) add(n int64, now time.Time) (slow bool) {
	const step = rateWindow / rateSteps
	if r.step.IsZero() {
		r.step = now
	}
	for now.Sub(r.step) >= step {
		sum := int64(0)
		for _, s := range r.steps {
			sum += s
		}
		if r.full = min(r.full+1, rateSteps); r.full == rateSteps && sum < int64(rateWindow/time.Second)*minRate {
			return true
		}
		copy(r.steps[1:], r.steps[:rateSteps-1])
		r.steps[0] = 0
		r.step = r.step.Add(step)
	}
	r.steps[0] += n
	return false
}

// Open starts a download of the path below the base URL, of at most limit bytes.
// The start is repeated like [Client.Get]; what breaks off later is an error of
// Read. Whoever calls Open closes the download.
func (c *Client) Open(ctx context.Context, path string, limit int64) (*Download, error) {
	return retry(ctx, func() (*Download, error) { return c.open(ctx, path, 0, limit) })
}

// open asks for what follows the first bytes of content, of which there are from, and takes no more
// than limit with them.
func (c *Client) open(ctx context.Context, path string, from, limit int64) (_ *Download, err error) {
	u := c.base.JoinPath(path)
	ctx, stop := context.WithCancelCause(ctx)
	d := &Download{url: u.String(), ctx: ctx, stop: stop, limit: limit}
	defer func() {
		if err != nil {
			d.timer.Stop()
			stop(nil)
		}
	}()
	d.timer = time.AfterFunc(requestTimeout, func() { stop(ErrSlow) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.agent)
	Range(req, from)
	h := *c.http
	h.Timeout = 0 // each read has a deadline, and all have a rate
	if err := budget.Of(ctx).Request(); err != nil {
		return nil, err
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, d.failed(err)
	}
	if err := checkStatus(resp, d.url); err != nil {
		resp.Body.Close()
		return nil, err
	}
	d.timer.Stop()
	if d.start, err = StartOf(resp, from, limit); err != nil {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", d.url, err)
	}
	if d.limit -= d.start; d.limit < 0 {
		d.limit = 0
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: the content comes as %q, which was not asked for", d.url, enc)
	}
	if d.Size = resp.ContentLength; d.Size > d.limit {
		resp.Body.Close()
		return nil, d.tooLarge()
	}
	d.body = resp.Body
	return d, nil
}

// Read implements io.Reader. A reply that is shorter than declared, larger than
// allowed or too slow is an error.
func (d *Download) Read(p []byte) (int, error) {
	d.timer.Reset(requestTimeout)
	n, err := d.body.Read(p)
	d.timer.Stop()
	d.read += int64(n)
	slow := d.rate.add(int64(n), time.Now())
	switch {
	case d.read > d.limit:
		return 0, d.tooLarge()
	case err == nil && slow:
		d.stop(ErrSlow)
		return 0, d.failed(ErrSlow)
	case err != nil && err != io.EOF:
		err = d.failed(err)
	}
	return n, err
}

func (d *Download) failed(err error) error {
	if cause := context.Cause(d.ctx); errors.Is(cause, ErrSlow) {
		err = cause
	}
	return fmt.Errorf("%s: %w", d.url, err)
}

func (d *Download) tooLarge() error {
	return fmt.Errorf("%s: %w: more than %d bytes", d.url, ErrTooLarge, d.limit)
}

// Close ends the download.
func (d *Download) Close() error {
	d.timer.Stop()
	err := d.body.Close()
	d.stop(nil)
	return err
}
