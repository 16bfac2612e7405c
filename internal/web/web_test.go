// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/repopolicy/repopolicy/internal/budget"
)

const limit = 1 << 10

// served is a server, and how often it was asked.
type served struct {
	*httptest.Server
	asked atomic.Int32
}

func serve(t *testing.T, tls bool, h http.HandlerFunc) *served {
	s := &served{}
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		h(w, r)
	})
	s.Server = httptest.NewUnstartedServer(count)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, base string, transport http.RoundTripper) *Client {
	t.Helper()
	c, err := New(base, transport, "test-agent")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw answers with bytes that need not be HTTP and closes the connection.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, answer)
		conn.Close()
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("x", 2*limit), code) }
}

// TestHostile: no answer of a hostile service is taken for one, and what cannot
// change is not asked for again.
func TestHostile(t *testing.T) {
	body := func(n int) string { return strings.Repeat("x", n) }
	other := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		asked int32
		code  int    // of the StatusError; 0 for another error
		is    error  // nil for any
		has   string // in the message
		ok    string // the body, if it is one
	}{
		"as large as allowed": {
			h: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body(limit)) }, asked: 1, ok: body(limit),
		},
		"a byte larger": {
			h: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body(limit+1)) }, asked: 1,
			is: ErrTooLarge,
		},
		"endless":           {h: endless, asked: 1, is: ErrTooLarge},
		"empty":             {h: func(http.ResponseWriter, *http.Request) {}, asked: 1, ok: ""},
		"to another origin": {h: http.RedirectHandler(other.URL, http.StatusFound).ServeHTTP, asked: 1, is: errRedirect},
		"to itself, for ever": {
			h: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, asked: 1,
			is: errRedirect,
		},
		"post again elsewhere": {
			h: http.RedirectHandler(other.URL, http.StatusPermanentRedirect).ServeHTTP, asked: 1, is: errRedirect,
		},
		"redirect to nowhere": {
			h: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, asked: 1,
			code: http.StatusFound,
		},
		"not modified": {
			h: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, asked: 1,
			code: http.StatusNotModified,
		},
		"bad request":       {h: status(http.StatusBadRequest), asked: 1, code: http.StatusBadRequest},
		"unauthorized":      {h: status(http.StatusUnauthorized), asked: 1, code: http.StatusUnauthorized},
		"not found":         {h: status(http.StatusNotFound), asked: 1, code: http.StatusNotFound},
		"gone":              {h: status(http.StatusGone), asked: 1, code: http.StatusGone},
		"too many requests": {h: status(http.StatusTooManyRequests), asked: attempts, code: http.StatusTooManyRequests},
		"internal error": {
			h: status(http.StatusInternalServerError), asked: attempts, code: http.StatusInternalServerError,
		},
		"unavailable":    {h: status(http.StatusServiceUnavailable), asked: attempts, code: http.StatusServiceUnavailable},
		"no such status": {h: status(999), asked: attempts, code: 999},
		"declares more than sent": {
			h: raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), asked: attempts, is: io.ErrUnexpectedEOF,
		},
		"sends more than declared": {h: raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), asked: 1, ok: "abc"},
		"declares two lengths": {
			h: raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), asked: attempts,
			has: "Content-Length",
		},
		"negative length": {
			h: raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd"), asked: attempts, has: "Content-Length",
		},
		"declares far too much": {
			h: raw("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n" + body(2*limit)), asked: 1, is: ErrTooLarge,
		},
		"cut chunk": {
			h: raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc"), asked: attempts, is: io.ErrUnexpectedEOF,
		},
		"no last chunk": {
			h: raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), asked: attempts,
			is: io.ErrUnexpectedEOF,
		},
		"not HTTP": {h: raw("SSH-2.0-OpenSSH\r\n"), asked: attempts, has: "malformed"},
		"large header": {
			h: raw("HTTP/1.1 200 OK\r\nX: " + body(maxHeader+limit) + "\r\nContent-Length: 0\r\n\r\n"), asked: attempts,
			has: "header",
		},
		"many headers": {
			h:     raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", maxHeader/6+limit) + "Content-Length: 0\r\n\r\n"),
			asked: attempts, has: "header",
		},
		"hangs up": {h: raw(""), asked: attempts, is: io.EOF},
	} {
		for method, ask := range map[string]func(*Client, context.Context) ([]byte, error){
			"get": func(c *Client, ctx context.Context) ([]byte, error) { return c.Get(ctx, "p", limit) },
			"ask": func(c *Client, ctx context.Context) ([]byte, error) {
				return c.Ask(ctx, "p", "application/json", []byte("{}"), limit)
			},
		} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				s := serve(t, false, c.h)
				data, err := ask(client(t, s.URL, nil), t.Context())
				wrong := c.code == 0 && c.is == nil && c.has == ""
				if wrong != (err == nil) || string(data) != c.ok {
					t.Fatalf("%d bytes, %v", len(data), err)
				}
				var got *StatusError
				if errors.As(err, &got) != (c.code != 0) ||
					got != nil && (got.Code != c.code || len(got.Text) > maxErrorText) {
					t.Errorf("%v, want status %d", err, c.code)
				}
				if c.is != nil && !errors.Is(err, c.is) || err != nil && !strings.Contains(err.Error(), c.has) {
					t.Errorf("%v", err)
				}
				// Go's client repeats requests of itself where a connection ends
				// before an answer begins.
				if n := s.asked.Load(); n != c.asked && !errors.Is(err, io.EOF) {
					t.Errorf("asked %d times, want %d", n, c.asked)
				}
			})
		}
	}
	t.Cleanup(func() {
		if other.asked.Load() != 0 {
			t.Error("another origin was asked")
		}
	})
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(make([]byte, limit)); err != nil {
			return
		}
	}
}

// TestRecovers: what is overloaded for a moment is asked again.
func TestRecovers(t *testing.T) {
	var n atomic.Int32
	s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != "query" || r.Method != http.MethodPost || r.URL.Path != "/base/a/b" ||
			r.UserAgent() != "test-agent" ||
			r.Header.Get("Content-Type") != "text/x" {
			t.Errorf("%s %s %q %v", r.Method, r.URL, got, err)
		}
		if code := []int{500, 429, 200}[n.Add(1)-1]; code != 200 {
			w.WriteHeader(code)
			return
		}
		_, _ = io.WriteString(w, "answer")
	})
	data, err := client(t, s.URL+"/base", nil).Ask(t.Context(), "a/b", "text/x", []byte("query"), limit)
	if err != nil || string(data) != "answer" {
		t.Errorf("%q %v", data, err)
	}
}

// TestGzip: what a service compresses without being asked is not unpacked.
func TestGzip(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(make([]byte, 500*limit)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	})
	data, err := client(t, s.URL, nil).Get(t.Context(), "p", limit)
	if err != nil || !bytes.Equal(data, packed.Bytes()) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	// A transport that unpacks is capped behind the unpacking.
	s2 := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	})
	if _, err := client(t, s2.URL, &http.Transport{}).Get(t.Context(), "p", limit); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// TestTLS: certificates are checked, and nothing leads from https to http.
func TestTLS(t *testing.T) {
	plain := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "plain") })
	s := serve(t, true, http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect).ServeHTTP)
	if data, err := client(t, s.URL, s.Client().Transport).Get(t.Context(), "p", limit); !errors.Is(err, errRedirect) ||
		data != nil {
		t.Errorf("downgraded: %q %v", data, err)
	}
	if data, err := client(t, s.URL, nil).Get(t.Context(), "p", limit); err == nil || data != nil {
		t.Errorf("a certificate of nobody: %q", data)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	wrong := s.Client().Transport.(*http.Transport).Clone()
	wrong.TLSClientConfig.ServerName = "rekor.sigstore.dev"
	if _, err := client(t, s.URL, wrong).Get(t.Context(), "p", limit); err == nil {
		t.Error("a certificate of another host")
	}
	if plain.asked.Load() != 0 {
		t.Error("http was asked")
	}
}

// pipes is a listener whose connections do not leave the process, so that time
// in a bubble of synctest passes while they wait.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// TestDeadline: an attempt ends at its deadline, whatever the service does, and
// the caller's own end ends it at once.
func TestDeadline(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"never answers": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(time.Second): // of the bubble
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := pipes{make(chan net.Conn)}
				srv := &http.Server{Handler: h}
				go func() { _ = srv.Serve(l) }()
				tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					a, b := net.Pipe()
					l.conns <- a
					return b, nil
				}}
				c := client(t, "http://service.example", tr)
				start := time.Now()
				data, err := c.Get(t.Context(), "p", limit)
				took := time.Since(start)
				if err == nil || data != nil || took < attempts*requestTimeout ||
					took > attempts*(requestTimeout+maxPause) {
					t.Errorf("%q %v after %s", data, err, took)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				start = time.Now()
				if _, err := c.Get(ctx, "p", limit); !errors.Is(err, context.DeadlineExceeded) ||
					time.Since(start) != 3*time.Second {
					t.Errorf("%v after %s", err, time.Since(start))
				}
				start = time.Now()
				_, err = GetAuthorized(t.Context(), "https://service.example", "s3cret", plainTLS{tr}, "a", limit)
				if err == nil || time.Since(start) != requestTimeout {
					t.Errorf("%v after %s", err, time.Since(start))
				}
				tr.CloseIdleConnections()
				close(l.conns)
				srv.Close()
			})
		})
	}
}

// plainTLS asks over http what it is asked over https.
type plainTLS struct{ http.RoundTripper }

func (p plainTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return p.RoundTripper.RoundTrip(r)
}

// TestNew: what is no base of a service is refused, without a password in the
// message.
func TestNew(t *testing.T) {
	for _, bad := range []string{
		"", "x", "/path", "ftp://h/", "file:///etc/passwd", "https://", "https:///p", "https://u:s3cret@h/", "https://h/?q=1",
		"https://h/#f", "https://h:port/", "http://[::1", "HTTPS", "javascript:alert(1)", "https://h\x00/", "u:s3cret@h",
	} {
		c, err := New(bad, nil, "a")
		if err == nil || c != nil {
			t.Errorf("%q is a service", bad)
		} else if strings.Contains(err.Error(), "https://u:s3cret") {
			t.Errorf("%v", err)
		}
	}
	for _, good := range []string{"https://h", "http://127.0.0.1:1/base/", "https://[::1]:8080"} {
		if c, err := New(good, nil, "a"); err != nil || c.URL() != good {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// FuzzPath: no path leaves the origin or the base.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"a/b", "../x", "//evil.example/", "a/../../b", "?q", "#f", "%2e%2e/x", "a\nb", "http://evil.example", "\\\\evil",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		var asked *url.URL
		c, err := New("https://service.example/base/", tripper(func(r *http.Request) (*http.Response, error) {
			asked = r.URL
			return nil, errRedirect
		}), "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), path, limit); err == nil {
			t.Fatal("no error")
		}
		if asked != nil && (asked.Scheme != "https" || asked.Host != "service.example" || asked.User != nil) {
			t.Fatalf("%q asks %s", path, asked)
		}
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestGetAuthorized: the token goes to the address and nowhere else, once.
func TestGetAuthorized(t *testing.T) {
	const token = "s3cret"
	other := serve(t, false, func(_ http.ResponseWriter, r *http.Request) {})
	for name, c := range map[string]struct {
		h  http.HandlerFunc
		ok bool
	}{
		"answers":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answer") }, true},
		"created":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }, false},
		"unauthorized":      {status(http.StatusUnauthorized), false},
		"overloaded":        {status(http.StatusServiceUnavailable), false},
		"too large":         {endless, false},
		"to another origin": {http.RedirectHandler(other.URL, http.StatusTemporaryRedirect).ServeHTTP, false},
		"to another path":   {http.RedirectHandler("/other", http.StatusTemporaryRedirect).ServeHTTP, false},
		"cut":               {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), false},
		"echoes": {
			func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Header.Get("Authorization"), 400) }, false,
		},
	} {
		s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token || r.URL.RawQuery != "a=b&audience=x" ||
				r.Method != http.MethodGet {
				t.Errorf("%s: %s %s %v", name, r.Method, r.URL, r.Header)
			}
			c.h(w, r)
		})
		data, err := GetAuthorized(t.Context(), s.URL+"/path?a=b&audience=x", token, nil, "a", limit)
		if (err == nil) != c.ok || c.ok && string(data) != "answer" || !c.ok && data != nil {
			t.Errorf("%s: %q %v", name, data, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the message has the token: %v", name, err)
		}
		if n := s.asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
	if other.asked.Load() != 0 {
		t.Error("another origin was asked")
	}
	var sent []string
	tr := tripper(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.URL.String())
		return nil, errors.New("no network")
	})
	good := []string{"https://token.example/x?y=z", "http://127.0.0.1/x?", "http://[::1]:1/x", "http://localhost/?"}
	for _, address := range slices.Concat(good, []string{
		"http://token.example/x", "http://127.0.0.1.token.example/", "http://localhost.token.example/", "http://10.0.0.1/",
		"http://[::ffff:10.0.0.1]/", "ftp://127.0.0.1/", "//token.example/x",
		"https://u:p@token.example/", "https://token.example/#x", "", "\x00", "https://", "HTTP://token.example/",
	}) {
		if _, err := GetAuthorized(t.Context(), address, token, tr, "a", limit); err == nil {
			t.Errorf("%q: answered", address)
		}
	}
	if !slices.Equal(sent, good) {
		t.Errorf("the token was sent to %s", fmt.Sprint(sent))
	}
}

// TestGetMetadata: the metadata server alone is asked, with the header that keeps
// others from being made to ask it.
func TestGetMetadata(t *testing.T) {
	var asked []string
	flavor := "Google"
	tr := tripper(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.String()+" "+r.Header.Get("Metadata-Flavor")+r.Header.Get("Authorization"))
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Metadata-Flavor": {flavor}},
			Body: io.NopCloser(strings.NewReader("token")), Request: r,
		}, nil
	})
	data, err := GetMetadata(t.Context(), "http://metadata.google.internal/a?b=c", tr, "a", limit)
	if err != nil || string(data) != "token" || len(asked) != 1 ||
		asked[0] != "http://metadata.google.internal/a?b=c Google" {
		t.Errorf("%q %v %q", data, err, asked)
	}
	for _, address := range []string{
		"https://metadata.google.internal/", "http://metadata.google.internal.evil.example/", "http://169.254.169.254/",
		"http://metadata.google.internal:81/", "http://a@metadata.google.internal/", "\x00",
	} {
		if _, err := GetMetadata(t.Context(), address, tr, "a", limit); err == nil {
			t.Errorf("%q was asked", address)
		}
	}
	for _, flavor = range []string{"", "google", "Amazon"} {
		if data, err := GetMetadata(t.Context(), "http://metadata.google.internal/a", tr, "a", limit); err == nil {
			t.Errorf("%q of %q was taken", data, flavor)
		}
	}
}

// TestGetMetadataDirectly: neither a proxy nor another address is asked.
func TestGetMetadataDirectly(t *testing.T) {
	other := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		_, _ = io.WriteString(w, "token")
	})
	at, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at.Host)
	}
	for name, tr := range map[string]*http.Transport{
		"a proxy": {Proxy: http.ProxyURL(at)}, "another address": {DialContext: dial},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		data, err := GetMetadata(ctx, "http://metadata.google.internal/a", tr, "a", limit)
		cancel()
		if err == nil || other.asked.Load() > 0 {
			t.Errorf("%s: %q, %v, asked %d times", name, data, err, other.asked.Load())
		}
	}
	// The name may lead elsewhere.
	d := direct(nil).(*http.Transport)
	if c, err := d.DialContext(t.Context(), "tcp", at.Host); err == nil {
		c.Close()
		t.Error("another address was connected to")
	}
}

// TestTooMany: who may ask no more is not asked again and again.
func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := budget.With(t.Context(), budget.New(0).Part(0))
		c, err := New("https://example.com", nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Get(ctx, "x", 1); !errors.As(err, new(budget.TooMany)) || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
