// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStartOf: a reply holds the part that was asked for, or all of it.
func TestStartOf(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		said       string
		from, want int64
		ok         bool
	}{
		"all":              {200, "", 0, 0, true},
		"all, not a part":  {200, "", 5, 0, true},
		"a part":           {206, "bytes 5-9/10", 5, 5, true},
		"of an unknown":    {206, "bytes 5-9/*", 5, 5, true},
		"not asked for":    {206, "bytes 0-9/10", 0, 0, false},
		"another part":     {206, "bytes 4-9/10", 5, 0, false},
		"a shorter part":   {206, "bytes 5-8/10", 5, 0, false},
		"of another whole": {206, "bytes 5-9/11", 5, 0, false},
		"to a larger end":  {206, "bytes 5-10/11", 5, 0, false},
		"nothing said":     {206, "", 5, 0, false},
		"another unit":     {206, "lines 5-9/10", 5, 0, false},
		"no end":           {206, "bytes 5/10", 5, 0, false},
		"no whole":         {206, "bytes 5-9", 5, 0, false},
		"below zero":       {206, "bytes -5-9/10", 5, 0, false},
		"no number":        {206, "bytes x-9/10", 5, 0, false},
	} {
		resp := &http.Response{StatusCode: c.status, Header: http.Header{"Content-Range": {c.said}}}
		got, err := StartOf(resp, c.from, 10)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRange) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// TestOpenAt: a download goes on where it should, on whatever the service answers.
func TestOpenAt(t *testing.T) {
	const content = "0123456789"
	serve := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request)
		want  string
		start int64
		err   error
	}{
		"parts":    {serve, content[4:], 4, nil},
		"no parts": {func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); serve(w, r) }, content, 0, nil},
		"now shorter": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			fmt.Fprint(w, "abc")
		}, "abc", 0, nil},
		"now longer": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content+"x"))
		}, "", 0, ErrRange},
		"longer without parts": {
			func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, content+"x") }, "", 0, ErrTooLarge,
		},
		"more than the part": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 4-9/10")
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush() // no length
			fmt.Fprint(w, content)
		}, "", 4, ErrTooLarge},
		"compressed": {
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") }, "", 0,
			errors.ErrUnsupported,
		},
		"sent on on the host": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/x" {
				http.Redirect(w, r, "/y", http.StatusFound)
				return
			}
			serve(w, r)
		}, content[4:], 4, nil},
	} {
		s := httptest.NewServer(http.HandlerFunc(c.serve))
		client, err := New(s.URL, nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		d, start, err := client.Via().OpenAt(t.Context(), "x", 4, int64(len(content)))
		var data []byte
		if err == nil {
			data, err = io.ReadAll(d)
			d.Close()
		}
		known := c.err == nil || errors.Is(c.err, errors.ErrUnsupported) || errors.Is(err, c.err)
		if (err == nil) != (c.err == nil) || !known || start != c.start || c.err == nil && string(data) != c.want {
			t.Errorf("%s: %d, %q, %v", name, start, data, err)
		}
		s.Close()
	}
}

// trickle gives a little at a time.
type trickle struct {
	pause time.Duration
	part  int
	left  int
}

func (s *trickle) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	n := min(len(p), s.part, s.left)
	s.left -= n
	return n, nil
}

func (*trickle) Close() error { return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestStreamSlow: content may take hours, but what stands still, or comes or goes by drops, is given up.
func TestStreamSlow(t *testing.T) {
	const much = 64 << 20
	for name, c := range map[string]struct {
		sent, reply *trickle
		wait        time.Duration // until the reply begins
		ok          bool
	}{
		"a long reply":           {nil, &trickle{time.Second / 8, 32 << 10, much}, 0, true},
		"a reply by drops":       {nil, &trickle{time.Second, 1 << 10, much}, 0, false},
		"a long request":         {&trickle{time.Second / 8, 32 << 10, much}, &trickle{0, 1, 1}, 0, true},
		"a request by drops":     {&trickle{time.Second, 1 << 10, much}, &trickle{0, 1, 1}, 0, false},
		"a request is taken in":  {&trickle{0, 128 << 10, much}, &trickle{0, 1, 1}, 2 * time.Minute, true},
		"it is never taken in":   {&trickle{0, 128 << 10, much}, &trickle{0, 1, 1}, time.Hour, false},
		"a reply does not begin": {nil, &trickle{0, 1, 1}, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Body != nil {
						if _, err := io.Copy(io.Discard, r.Body); err != nil {
							return nil, err
						}
					}
					select {
					case <-time.After(c.wait):
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
					body := &cut{c.reply, r}
					return &http.Response{StatusCode: 200, Body: body, Header: http.Header{}, Request: r, ContentLength: -1}, nil
				})
				method, body := http.MethodGet, io.Reader(nil)
				if c.sent != nil {
					method, body = http.MethodPut, c.sent
				}
				req, err := http.NewRequestWithContext(t.Context(), method, "https://registry.example/x", body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := Stream(next, "test", "registry.example").Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSlow) {
					t.Errorf("%s: %v", name, err)
				}
			})
		})
	}
}

// cut is a body that ends with its request.
type cut struct {
	io.ReadCloser
	r *http.Request
}

func (c *cut) Read(p []byte) (int, error) {
	if err := c.r.Context().Err(); err != nil {
		return 0, err
	}
	return c.ReadCloser.Read(p)
}

// TestStreamContent: no values are counted in content, and a reply is larger than those of a [Gate] may be.
func TestStreamContent(t *testing.T) {
	data := bytes.Repeat([]byte("[0,0],"), maxFenced/5)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	get := func(c *http.Client) ([]byte, error) {
		resp, err := c.Get(s.URL)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	if got, err := get(Stream(nil, "test", host)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := get(Gate(nil, "test", host)); err == nil {
		t.Error("a gate lets it through")
	}
	if _, err := get(Stream(nil, "test", "elsewhere.example")); !errors.Is(err, errFenced) {
		t.Errorf("another host: %v", err)
	}
}
