// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/repopolicy/repopolicy/sandbox/malice"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	drainTimeout  = 500 * time.Millisecond
)

// endpoint is one listener, what is behind it, and the faults in between.
type endpoint struct {
	url    string
	host   string
	server *http.Server
	cancel context.CancelFunc // ends the requests that are being served
	done   chan struct{}
	served atomic.Int64

	mu     sync.Mutex
	honest http.Handler
	faults []*malice.Fault
	now    http.Handler
}

func serve(l net.Listener) *endpoint {
	e := &endpoint{url: "http://" + l.Addr().String(), host: l.Addr().String(), done: make(chan struct{}), honest: http.NotFoundHandler()}
	e.now = e.honest
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.server = &http.Server{
		Handler:           http.HandlerFunc(e.handle),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(e.done)
		_ = e.server.Serve(l) // ends with ErrServerClosed
	}()
	return e
}

func (e *endpoint) handle(w http.ResponseWriter, r *http.Request) {
	e.served.Add(1)
	e.mu.Lock()
	h := e.now
	e.mu.Unlock()
	h.ServeHTTP(w, r)
}

// set replaces what is behind the faults.
func (e *endpoint) set(h http.Handler) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.honest = h
	return e.rebuild()
}

func (e *endpoint) get() http.Handler {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.honest
}

// rebuild applies the faults, the last one outermost. The caller holds mu.
func (e *endpoint) rebuild() error {
	h := e.honest
	for _, f := range e.faults {
		var err error
		if h, err = malice.Wrap(*f, h); err != nil {
			return err
		}
	}
	e.now = h
	return nil
}

func (e *endpoint) misbehave(f malice.Fault) (undo func() error, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h, err := malice.Wrap(f, e.now)
	if err != nil {
		return nil, err
	}
	e.faults, e.now = append(e.faults, &f), h
	return func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.faults = slices.DeleteFunc(e.faults, func(g *malice.Fault) bool { return g == &f })
		return e.rebuild()
	}, nil
}

func (e *endpoint) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // a client hangs, or a fault makes it
		err = e.server.Close()
	}
	e.cancel()
	<-e.done
	return err
}
