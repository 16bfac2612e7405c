// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of content that streams.
const (
	maxStreamed = 1 << 40         // bytes of one reply; who reads it knows how many there are
	commitTime  = 3 * time.Minute // that a service has to answer when all of a request was sent
)

// Stream is a [Gate] for content of any size: no reply and no request has a deadline as a whole, but each
// read has one, and all of them have the rate of a [Download].
func Stream(transport http.RoundTripper, agent string, hosts ...string) *http.Client {
	if transport == nil {
		transport = Default()
	}
	c := fenced(&streaming{transport}, agent, hosts, true)
	c.Timeout = 0
	f := c.Transport.(*fence)
	f.most, f.binary = maxStreamed, true
	return c
}

// streaming gives requests and replies deadlines that content of any size keeps.
type streaming struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s *streaming) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, stop := context.WithCancelCause(r.Context())
	d := &Download{url: withoutQuery(r.URL), ctx: ctx, stop: stop, limit: maxStreamed}
	wait := &patience{timer: time.AfterFunc(requestTimeout, func() { stop(ErrSlow) })}
	c := r.Clone(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		c.Body = &sending{ReadCloser: r.Body, wait: wait, stop: stop}
	}
	resp, err := s.next.RoundTrip(c)
	wait.end()
	if err != nil {
		err = d.failed(err)
		stop(nil)
		return nil, err
	}
	d.timer = time.AfterFunc(requestTimeout, func() { stop(ErrSlow) })
	d.timer.Stop()
	d.body = resp.Body
	resp.Body = d
	return resp, nil
}

// patience is a timer that several may set until it ends.
type patience struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

func (p *patience) allow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(d)
	}
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}

// sending is the body of a request that is sent at a rate.
type sending struct {
	io.ReadCloser
	wait *patience
	stop context.CancelCauseFunc
	rate rate
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	switch {
	case err != nil:
		s.wait.allow(commitTime)
	case s.rate.add(int64(n), time.Now()):
		s.stop(ErrSlow)
		return n, ErrSlow
	default:
		s.wait.allow(requestTimeout)
	}
	return n, err
}

// Range asks in a request for what follows the first bytes of its content, of which there are from.
func Range(req *http.Request, from int64) {
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
}

// ErrRange is wrapped by the error about a reply that holds another part than was asked for.
var ErrRange = errors.New("the reply is not the part that was asked for")

// StartOf returns where the content of a reply begins that was asked for from a byte on, of size
// altogether: there, or at 0 where the service sends all of it. The error wraps [ErrRange].
func StartOf(resp *http.Response, from, size int64) (int64, error) {
	if resp.StatusCode != http.StatusPartialContent {
		return 0, nil
	}
	said := resp.Header.Get("Content-Range")
	rest, isBytes := strings.CutPrefix(said, "bytes ")
	part, whole, hasSize := strings.Cut(rest, "/")
	first, last, isPart := strings.Cut(part, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !isBytes || !hasSize || !isPart || err != nil || start != from || from == 0 {
		return 0, fmt.Errorf("%w: Content-Range is %.80q, from byte %d was wanted", ErrRange, said, from)
	}
	if whole != "*" && whole != strconv.FormatInt(size, 10) || last != strconv.FormatInt(size-1, 10) {
		return 0, fmt.Errorf("%w: Content-Range is %.80q, of %d bytes", ErrRange, said, size)
	}
	return start, nil
}

// OpenAt is [Client.Open] for content of size bytes, of which those before from are not wanted. Start is
// where the download begins, which is from or, where the service sends no parts, 0.
func (c *Client) OpenAt(ctx context.Context, path string, from, size int64) (d *Download, start int64, err error) {
	d, err = retry(ctx, func() (*Download, error) { return c.open(ctx, path, from, size) })
	if status := new(StatusError); from > 0 && errors.As(err, &status) &&
		status.Code == http.StatusRequestedRangeNotSatisfiable {
		return c.OpenAt(ctx, path, 0, size) // what is there now is shorter
	}
	if err != nil {
		return nil, 0, err
	}
	return d, d.start, nil
}
