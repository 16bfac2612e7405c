// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// read returns what a client downloads.
func read(ctx context.Context, c *Client, path string) (string, error) {
	d, err := c.Open(ctx, path, limit)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(d)
	if e := d.Close(); err == nil {
		err = e
	}
	return string(data), err
}

// TestVia: a service leads to hosts that were named, and nowhere else.
func TestVia(t *testing.T) {
	var seen http.Header
	named := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		switch r.URL.Path {
		case "/on":
			http.Redirect(w, r, "http://"+r.Host+"/end", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "named")
		}
	})
	other := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	host := strings.TrimPrefix(named.URL, "http://")
	for name, c := range map[string]struct {
		to string
		ok string
	}{
		"to a named host":         {named.URL + "/x?sig=1", "named"},
		"which leads on":          {named.URL + "/on", "named"},
		"to itself":               {"/again", "again"},
		"to another host":         {other.URL, ""},
		"with another port":       {"http://127.0.0.1:1/", ""},
		"with a user":             {"http://u:p@" + host + "/", ""},
		"with a user as host":     {"http://" + host + "@" + strings.TrimPrefix(other.URL, "http://") + "/", ""},
		"a host that ends so":     {"http://evil." + host + "/", ""},
		"another scheme":          {"ftp://" + host + "/", ""},
		"for ever":                {named.URL + "/loop", ""},
		"to the other, by a loop": {named.URL + "/loop?" + other.URL, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/again" {
					_, _ = io.WriteString(w, "again")
					return
				}
				http.Redirect(w, r, c.to, http.StatusFound)
			})
			plain := client(t, s.URL, nil)
			via := plain.Via(host)
			for _, got := range []func() (string, error){
				func() (string, error) { return read(t.Context(), via, "p") },
				func() (string, error) { data, err := via.Get(t.Context(), "p", limit); return string(data), err },
			} {
				text, err := got()
				if (err == nil) != (c.ok != "") || text != c.ok || err != nil && !errors.Is(err, errRedirect) {
					t.Errorf("%q, %v", text, err)
				}
			}
			if text, err := read(t.Context(), plain, "p"); !errors.Is(err, errRedirect) {
				t.Errorf("without a list: %q, %v", text, err)
			}
		})
	}
	for name := range seen {
		if name != "User-Agent" && name != "Accept" && name != "Accept-Encoding" {
			t.Errorf("the other host learned %s: %s", name, seen.Get(name))
		}
	}
	if seen.Get("User-Agent") != "test-agent" {
		t.Errorf("the other host was asked by %q", seen.Get("User-Agent"))
	}
	if other.asked.Load() != 0 {
		t.Error("another host was asked")
	}
	s := serve(t, true, http.RedirectHandler(named.URL+"/x", http.StatusFound).ServeHTTP)
	text, err := read(t.Context(), client(t, s.URL, s.Client().Transport).Via(host), "p")
	if !errors.Is(err, errRedirect) {
		t.Errorf("downgraded: %q, %v", text, err)
	}
}

// TestAuthorized: a token goes to the service, not to where it leads, and not over
// http.
func TestAuthorized(t *testing.T) {
	var told []string
	s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		told = append(told, r.Header.Get("Authorization"))
		if r.URL.Path == "/on" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	})
	host := strings.TrimPrefix(s.URL, "http://")
	c, err := client(t, s.URL, nil).Via(host).Authorized("s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "/", limit); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), "/on", limit); !errors.Is(err, errRedirect) {
		t.Error(err)
	}
	if _, err := c.Via(host).Get(t.Context(), "/on", limit); err != nil {
		t.Error(err)
	}
	if _, err := read(t.Context(), c, "/"); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(told, ","), "Bearer s3cret,Bearer s3cret,,,"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if c, err := client(t, "http://service.example", nil).Authorized("s3cret"); err == nil || c != nil {
		t.Error("over http")
	}
}

// TestOpen: a download is what the service declared, or an error.
func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		h  http.HandlerFunc
		is error
		ok int
	}{
		"whole": {h: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, limit)) }, ok: limit},
		"too large": {
			h: raw("HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n" + strings.Repeat("x", limit+1)), is: ErrTooLarge,
		},
		"endless": {h: endless, is: ErrTooLarge},
		"cut":     {h: raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), is: io.ErrUnexpectedEOF},
		"cut chunk": {
			h: raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc"), is: io.ErrUnexpectedEOF,
		},
		"not found":        {h: status(http.StatusNotFound)},
		"found nothing":    {h: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusNotFound) }},
		"packed":           {h: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") }},
		"an unknown error": {h: status(999)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := read(t.Context(), client(t, serve(t, false, c.h).URL, nil), "p")
			if wrong := c.ok == 0; wrong != (err != nil) || !wrong && len(text) != c.ok ||
				c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%d bytes, %v", len(text), err)
			}
		})
	}
}

// TestRate: less than the rate over any minute is too little, however much came before.
func TestRate(t *testing.T) {
	for name, c := range map[string]struct {
		at   func(second int) int64 // bytes that arrive
		slow int                    // second in which it is too slow; 0 for never
	}{
		"steady":                  {func(int) int64 { return minRate }, 0},
		"once in a while":         {func(s int) int64 { return int64(s%10/9) * 10 * minRate }, 0},
		"two thirds":              {func(int) int64 { return minRate * 2 / 3 }, 60},
		"much, then little":       {func(s int) int64 { return int64(max(0, 10-s)) * 1000 * minRate }, 70},
		"little, but not so long": {func(s int) int64 { return int64(s%60/30) * 2 * minRate }, 0},
	} {
		var r rate
		start, got := time.Unix(1e9, 0), 0
		for s := 0; s < 600 && got == 0; s++ {
			if r.add(c.at(s), start.Add(time.Duration(s)*time.Second)) {
				got = s
			}
		}
		if c.slow == 0 && got != 0 || c.slow != 0 && (got < c.slow || got > c.slow+5) {
			t.Errorf("%s: too slow after %d s", name, got)
		}
	}
}

// TestSlow: a download that stands still ends, and one that drips ends too.
func TestSlow(t *testing.T) {
	for name, c := range map[string]struct {
		pause time.Duration
		least time.Duration
		most  time.Duration
	}{
		"stands still": {requestTimeout * 10, requestTimeout, requestTimeout + time.Second},
		"drips":        {requestTimeout / 2, rateWindow, rateWindow + requestTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := pipes{make(chan net.Conn)}
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for r.Context().Err() == nil {
						_, _ = io.WriteString(w, "x")
						_ = http.NewResponseController(w).Flush()
						select {
						case <-r.Context().Done():
						case <-time.After(c.pause): // of the bubble
						}
					}
				})}
				go func() { _ = srv.Serve(l) }()
				tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					a, b := net.Pipe()
					l.conns <- a
					return b, nil
				}}
				start := time.Now()
				_, err := read(t.Context(), client(t, "http://service.example", tr), "p")
				if took := time.Since(start); !errors.Is(err, ErrSlow) || took < c.least || took > c.most {
					t.Errorf("%v after %s", err, took)
				}
				tr.CloseIdleConnections()
				close(l.conns)
				srv.Close()
			})
		})
	}
}

// TestLimited: a service that was asked too often is asked again if it says so
// and the pause is short, and is never taken to have said no.
func TestLimited(t *testing.T) {
	for name, c := range map[string]struct {
		code   int
		header map[string]string
		asked  int32
		text   string
	}{
		"a long pause": {429, map[string]string{"Retry-After": "3600"}, 1, "try again in 1h0m0s"},
		"a date": {
			429, map[string]string{"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}, 1, "try again in",
		},
		"no pause named":            {429, nil, attempts, "try again later"},
		"a pause that is no number": {429, map[string]string{"Retry-After": "-1"}, attempts, "try again later"},
		"GitHub, nothing left": {
			403,
			map[string]string{
				"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10),
			},
			1, "try again in",
		},
		"GitHub, secondary": {403, map[string]string{"Retry-After": "60"}, 1, "try again in 1m0s"},
		"GitLab, nothing left": {
			429,
			map[string]string{
				"RateLimit-Remaining": "0", "RateLimit-Reset": strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10),
			},
			1, "try again in",
		},
		"forbidden for other causes": {403, map[string]string{"X-RateLimit-Remaining": "7"}, 1, ""},
		"overloaded, with a pause":   {503, map[string]string{"Retry-After": "3600"}, attempts, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.code)
			})
			_, err := client(t, s.URL, nil).Get(t.Context(), "p", limit)
			var status *StatusError
			if !errors.As(err, &status) || status.Limited != (c.text != "") || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
			if n := s.asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
	// A short pause is kept.
	start := time.Now()
	first := true
	s := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		if first {
			first = false
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return
		}
		_, _ = io.WriteString(w, "answer")
	})
	if data, err := client(t, s.URL, nil).Get(t.Context(), "p", limit); err != nil || string(data) != "answer" ||
		time.Since(start) < time.Second {
		t.Errorf("%q, %v after %s", data, err, time.Since(start))
	}
}
