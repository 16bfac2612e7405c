// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
	"time"
)

// endless serves its data, then fails, panics, or ends a context and goes on.
type endless struct {
	io.Reader
	err    error
	panics bool
	stop   context.CancelFunc
}

func (e *endless) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	switch {
	case err != io.EOF:
		return n, err
	case e.panics:
		panic("content")
	case e.stop != nil:
		e.stop()
		clear(p)
		return len(p), nil
	}
	return n, e.err
}

// TestEachBlock: content comes in order and whole, or with the error or panic that cut it short, and
// nothing reads any more.
func TestEachBlock(t *testing.T) {
	data := make([]byte, 3*blockBytes+7)
	for i := range data {
		data[i] = byte(i * 31 / 7)
	}
	for name, of := range map[string]func(io.Reader) io.Reader{
		"as it comes":           func(r io.Reader) io.Reader { return r },
		"halves":                iotest.HalfReader,
		"the end with the data": iotest.DataErrReader,
	} {
		for _, size := range []int{0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 2 * blockBytes, len(data)} {
			for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, errors.New("gone"), context.Canceled, nil} {
				before := runtime.NumGoroutine()
				ctx, stop := context.WithCancel(t.Context())
				e := &endless{Reader: bytes.NewReader(data[:size]), err: cut, panics: cut == nil}
				if cut == context.Canceled {
					e.stop = stop
				}
				var got []byte
				err, panicked := error(nil), any(nil)
				func() {
					defer func() { panicked = recover() }()
					err = eachBlock(of(ctxReader{ctx, e}), func(b []byte) { got = append(got, b...) })
				}()
				stop()
				switch {
				case (panicked != nil) != (cut == nil):
					t.Errorf("%s, %d bytes, then %v: panic %v", name, size, cut, panicked)
				case cut == nil:
				case cut == io.EOF && err != nil, cut != io.EOF && !errors.Is(err, cut):
					t.Errorf("%s, %d bytes, then %v: %v", name, size, cut, err)
				case !bytes.HasPrefix(got, data[:size]) || e.stop == nil && len(got) != size:
					t.Errorf("%s, %d bytes, then %v: %d other ones", name, size, cut, len(got))
				}
				if !settles(func() bool { return runtime.NumGoroutine() <= before }) {
					t.Fatalf("%s, %d bytes, then %v: somebody still reads", name, size, cut)
				}
			}
		}
	}
}

// settles reports whether something becomes so within a while.
func settles(is func() bool) bool {
	for range 1000 {
		if is() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return is()
}

// TestEachBlockLeft: whoever is interrupted by a panic of its own leaves nobody behind.
func TestEachBlockLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		defer func() { _ = recover() }()
		_ = eachBlock(nothing{}, func([]byte) { panic("a hash") })
	}()
	if !settles(func() bool { return runtime.NumGoroutine() <= before }) {
		t.Error("somebody still reads")
	}
}
