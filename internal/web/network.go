// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// noNetwork begins what an error says where nobody at all could be reached.
const noNetwork = "no network: "

// NoNetwork splits the text of an error: what it says of a network that is not there, and what was
// to be done. Ok is false for another error.
func NoNetwork(text string) (missing, doing string, ok bool) {
	i := strings.Index(text, noNetwork)
	if i < 0 {
		return "", text, false
	}
	return text[i:], strings.TrimRight(text[:i], ": "), true
}

// unreachable is that a host cannot be reached, for a reason that lies with this machine's network
// if it could reach nobody before.
type unreachable struct {
	host    string
	nobody  bool // was reached before
	because string
	err     error
}

// Error names the host, and the reason.
func (e *unreachable) Error() string {
	text := e.host + ": " + e.because
	if e.nobody {
		text = noNetwork + text
	}
	return text
}

// Unwrap returns the error of the system.
func (e *unreachable) Unwrap() error { return e.err }

// dialer connects, and says so where there is no network. It is for one process: once a
// connection came about there is one.
type dialer struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	reached atomic.Bool
}

// DialContext connects.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err == nil {
		d.reached.Store(true)
		return conn, nil
	}
	host, _, split := net.SplitHostPort(address)
	because := unreached(err)
	if split != nil || because == "" {
		return nil, err
	}
	return nil, &unreachable{host, !d.reached.Load(), because, err}
}

// unreached says why the network did not lead to a host; "" for an error of another kind.
func unreached(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "no such host"
	case errors.As(err, &name):
		return "its name could not be looked up: " + name.Err
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return "there is no way to it"
	}
	return ""
}

// network is the one that this process has.
var network = &dialer{dial: (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext}

// Default returns a transport of the standard library's, as the clients of this package use it.
func Default() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = network.DialContext
	t.DisableCompression = true
	t.ResponseHeaderTimeout = requestTimeout
	t.MaxResponseHeaderBytes = maxHeader
	return t
}

// shared is one for who keeps no transport.
var shared = sync.OnceValue(Default)
