// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// testLog is a log of Rekor v2 that answers from memory. Its tree may be shown up
// to any size.
type testLog struct {
	t      testing.TB
	inst   *sigstoretest.Instance
	bodies [][]byte
	hashes []tlog.Hash
	shown  int // entries
	note   []byte
	// change, if set, changes what is answered; nil is nothing there.
	change func(path string, data []byte) []byte
}

func newTestLog(t testing.TB, inst *sigstoretest.Instance, bodies [][]byte) *testLog {
	t.Helper()
	l := &testLog{t: t, inst: inst, bodies: bodies}
	for i, b := range bodies {
		h, err := tlog.StoredHashes(int64(i), b, l.reader())
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, h...)
	}
	l.show(len(bodies))
	return l
}

// show makes the log one of its first n entries.
func (l *testLog) show(n int) {
	l.shown = n
	l.note = l.inst.CheckpointV2(l.bodies[:n], l.inst.Origin())
}

func (l *testLog) reader() tlog.HashReaderFunc {
	return func(idx []int64) (out []tlog.Hash, err error) {
		for _, n := range idx {
			if n >= int64(len(l.hashes)) {
				return nil, errors.New("beyond the log")
			}
			out = append(out, l.hashes[n])
		}
		return out, nil
	}
}

// ServeHTTP implements http.Handler.
func (l *testLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	l.answer(answer, r)
	data := answer.Body.Bytes()
	if l.change != nil && answer.Code == http.StatusOK {
		if data = l.change(r.URL.Path, data); data == nil {
			http.NotFound(w, r)
			return
		}
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(data)
}

func (l *testLog) answer(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v2/")
	if path == "checkpoint" {
		_, _ = w.Write(l.note)
		return
	}
	level, rest, _ := strings.Cut(strings.TrimPrefix(path, "tile/"), "/")
	width := 256
	if p, part, partial := strings.Cut(rest, ".p/"); partial {
		n, err := strconv.Atoi(part)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		rest, width = p, n
	}
	n := int64(0)
	for part := range strings.SplitSeq(strings.ReplaceAll(rest, "x", ""), "/") {
		v, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		n = 1000*n + v
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	if level == "entries" {
		if int(n)*256+width > l.shown {
			http.NotFound(w, r)
			return
		}
		var out bytes.Buffer
		for _, b := range l.bodies[n*256 : int(n)*256+width] {
			out.Write(binary.BigEndian.AppendUint16(nil, uint16(len(b))))
			out.Write(b)
		}
		_, _ = w.Write(out.Bytes())
		return
	}
	lv, err := strconv.Atoi(level)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	data, err := tlog.ReadTileData(tlog.Tile{H: 8, L: lv, N: n, W: width}, l.reader())
	if err != nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data)
}

// transport sends every request to the log.
func (l *testLog) transport(t testing.TB) http.RoundTripper {
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
		return http.DefaultTransport.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// testRoot is a trusted root with the log of Rekor v2 alone, whose id is not that of
// its key.
func testRoot(inst *sigstoretest.Instance) []byte { return testRootUntil(inst, time.Time{}) }

// testRootUntil is the same with a log whose window ends.
func testRootUntil(inst *sigstoretest.Instance, end time.Time) []byte {
	window := &sigstoretest.Window{Start: sigstoretest.Now.AddDate(-3, 0, 0), End: end}
	return inst.Root(sigstoretest.RootOptions{LogV2: window, Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs = tr.Tlogs[1:]
		tr.Tlogs[0].LogId.KeyId = bytes.Repeat([]byte{2}, 32)
	}})
}

// synthetic is a map function whose entries say what they bind, so that the map can
// be measured without as many certificates.
type synthetic struct{}

func syntheticBody(n, repositories int) []byte {
	return fmt.Appendf(nil, "repository %d statement %d %s", n%repositories, n, strings.Repeat("x", 200))
}

// Claims implements [MapFn].
func (synthetic) Claims(_ int, entry []byte) bool {
	return bytes.HasPrefix(entry, []byte("repository "))
}

// Bind implements [MapFn].
func (synthetic) Bind(_ int, _ string, _ int64, entry []byte) (*Bound, error) {
	f := strings.Fields(string(entry))
	key := "https://github.com/acme/r" + f[1]
	l, err := policy.ParseLocator(key)
	if err != nil {
		return nil, err
	}
	return &Bound{
		Keys: []string{key, "https://github.com#15:" + f[1]}, Repository: l,
		Statement: fmt.Sprintf("%x", value(f[3])), LeafHash: leafHash(entry),
	}, nil
}

// testBuilder is a builder over one log, with a map function of its own if fn is
// not nil.
func testBuilder(t testing.TB, l *testLog, dir string, fn MapFn) *Builder {
	t.Helper()
	s, err := OpenStoreFor(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.AddMap(testRoot(l.inst), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.fn = fn
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if errors.Is(err, os.ErrNotExist) {
		var signer string
		if signer, _, err = Keygen("directory.example"); err == nil {
			key = []byte(signer)
			err = os.WriteFile(filepath.Join(dir, "key"), key, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := OpenOutput(dir, key, "", 10*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return &Builder{Store: s, Output: out, Transport: l.transport(t), Agent: "test", Now: time.Now}
}

func leafHash(body []byte) string {
	h := tlog.RecordHash(body)
	return fmt.Sprintf("%x", h[:])
}

func noWarn(string, ...any) {}
