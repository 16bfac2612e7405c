// SPDX-License-Identifier: Apache-2.0

package malice

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// Line is the way from one client to a service: an address of its own, with a fault in
// between that nobody else has, and a record of what was asked.
type Line struct {
	URL string

	server *httptest.Server
	mu     sync.Mutex
	asked  []Asked
}

// Asked is one request that the service behind a line answered.
type Asked struct {
	Method, Path string
	Status       int
}

// NewLine opens a line to the service at a URL, whose path the line's own URL has, too. A
// nil fault is none.
func NewLine(to string, f Fault) (*Line, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	path := u.Path
	u.Path = ""
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.Transport = &http.Transport{DisableCompression: true}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	l := &Line{}
	proxy.ModifyResponse = func(resp *http.Response) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked = append(l.asked, Asked{resp.Request.Method, resp.Request.URL.Path, resp.StatusCode})
		return nil
	}
	var handler http.Handler = proxy
	switch f.(type) {
	case nil, Refuse, Untrusted:
	default:
		if handler, err = Wrap(f, handler); err != nil {
			return nil, err
		}
	}
	l.server = httptest.NewUnstartedServer(handler)
	l.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	switch f.(type) {
	case Untrusted:
		l.server.StartTLS()
	case Refuse:
		l.server.Start()
		l.server.Close()
	default:
		l.server.Start()
	}
	l.URL = l.server.URL + path
	return l, nil
}

// Host returns the line's host and port.
func (l *Line) Host() string {
	_, host, _ := strings.Cut(l.server.URL, "://")
	return host
}

// Asked returns what the service has answered that matches a method and the end of a
// path.
func (l *Line) Asked(method, suffix string) (out []Asked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.asked {
		if a.Method == method && strings.HasSuffix(a.Path, suffix) {
			out = append(out, a)
		}
	}
	return out
}

// Close ends the line and whoever hangs on it.
func (l *Line) Close() {
	l.server.CloseClientConnections()
	l.server.Close()
}
