// SPDX-License-Identifier: Apache-2.0

package malice

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	bombSize = 1 << 30
	chunk    = 32 << 10
	maxBody  = 16 << 20
)

// Wrap returns next with a fault of the transport or of an index. It is an error
// for a fault that only a stack can produce.
func Wrap(f Fault, next http.Handler) (http.Handler, error) {
	switch f := f.(type) {
	case Delay:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			// A server notices that a client has left once the body is read.
			body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			timer := time.NewTimer(f.By)
			defer timer.Stop()
			select {
			case <-timer.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		}), nil
	case Drop:
		return handle(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}), nil
	case Reset:
		return handle(func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				conn.Close()
			}
		}), nil
	case Truncate:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			body := answer(w, r, next)
			w.Header().Set("Content-Length", strconv.Itoa(max(body.Body.Len(), f.After+1)))
			w.WriteHeader(body.Code)
			_, _ = w.Write(body.Body.Bytes()[:min(f.After, body.Body.Len())])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), nil
	case Half:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			body := answer(w, r, next)
			w.Header().Del("Content-Length")
			w.WriteHeader(body.Code)
			_, _ = w.Write(body.Body.Bytes()[:body.Body.Len()/2]) // the client went away
		}), nil
	case Empty:
		return handle(func(http.ResponseWriter, *http.Request) {}), nil
	case Drip:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			body := answer(w, r, next)
			w.Header().Set("Content-Length", strconv.Itoa(body.Body.Len()))
			w.WriteHeader(body.Code)
			tick := time.NewTicker(f.Every)
			defer tick.Stop()
			for _, b := range body.Body.Bytes() {
				if _, err := w.Write([]byte{b}); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		}), nil
	case Status:
		return handle(func(w http.ResponseWriter, _ *http.Request) {
			if f.RetryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
			}
			http.Error(w, http.StatusText(f.Code), f.Code)
		}), nil
	case WrongType:
		return handle(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<!doctype html><title>Sign in to the network</title><p>Please accept the terms of use.\n")
		}), nil
	case Endless:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			body := answer(w, r, next)
			w.Header().Del("Content-Length")
			w.WriteHeader(body.Code)
			// White space keeps JSON valid for as long as the client reads.
			for b := body.Body.Bytes(); r.Method != http.MethodHead && r.Context().Err() == nil; b = bytes.Repeat([]byte(" "), chunk) {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}), nil
	case GzipBomb:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			body := answer(w, r, next)
			w.Header().Del("Content-Length")
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(body.Code)
			z, _ := gzip.NewWriterLevel(w, gzip.BestCompression)
			size := f.Size
			if size == 0 {
				size = bombSize
			}
			_, err := z.Write(body.Body.Bytes())
			for blank := bytes.Repeat([]byte(" "), chunk); err == nil && size > 0; size -= chunk {
				_, err = z.Write(blank)
			}
			if err == nil {
				_ = z.Close()
			}
		}), nil
	case Redirect:
		return handle(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.TrimSuffix(f.To, "/")+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		}), nil
	case Git:
		return f.wrap(next), nil
	case Content:
		return f, nil
	case Images:
		return f.handler(), nil
	case StaleCheckpoint:
		kept := map[string]*httptest.ResponseRecorder{}
		for _, path := range []string{"/checkpoint", "/api/v2/checkpoint", "/api/v1/log"} {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			if rec.Code == http.StatusOK {
				kept[path] = rec
			}
		}
		if len(kept) == 0 {
			return nil, fmt.Errorf("%T: this service has no checkpoint yet", f)
		}
		return handle(func(w http.ResponseWriter, r *http.Request) {
			rec, ok := kept[r.URL.Path]
			if !ok || r.Method != http.MethodGet {
				next.ServeHTTP(w, r)
				return
			}
			maps.Copy(w.Header(), rec.Header())
			_, _ = w.Write(rec.Body.Bytes())
		}), nil
	case OmitIndex:
		return index(next, func(found []string) []string { return found[:min(f.Keep, len(found))] }), nil
	case FloodIndex:
		return index(next, func(found []string) []string {
			junk := make([]string, 0, f.Entries+len(found))
			for i := range f.Entries {
				junk = append(junk, fmt.Sprintf("%080x", i+1)) // tree id and leaf hash, as in a real answer
			}
			return append(junk, found...)
		}), nil
	case On:
		wrapped, err := Wrap(f.Fault, next)
		if err != nil {
			return nil, err
		}
		return handle(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, f.Path) {
				wrapped.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		}), nil
	case Times:
		wrapped, err := Wrap(f.Fault, next)
		if err != nil {
			return nil, err
		}
		var seen atomic.Int64
		return handle(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1) <= int64(f.N) {
				wrapped.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		}), nil
	}
	return nil, fmt.Errorf("%T is not a fault of the transport", f)
}

func handle(f func(http.ResponseWriter, *http.Request)) http.Handler { return http.HandlerFunc(f) }

// answer runs next and copies its header, but not its body, to w.
func answer(w http.ResponseWriter, r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	return rec
}

// index changes what Rekor v1's search index finds.
func index(next http.Handler, change func([]string) []string) http.Handler {
	return handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/index/retrieve" {
			next.ServeHTTP(w, r)
			return
		}
		rec := answer(w, r, next)
		var found []string
		if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &found) != nil {
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
			return
		}
		w.Header().Del("Content-Length")
		_ = json.NewEncoder(w).Encode(change(found)) // the client went away
	})
}
