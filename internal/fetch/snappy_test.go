// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
)

// TestUnsnap has one row for each element, and for each refusal.
func TestUnsnap(t *testing.T) {
	one := frame(t, []byte("one"))
	for _, c := range []struct {
		data, want string
		err        error
	}{
		{data: "\x00"},
		{data: "\x03\x08abc", want: "abc"},
		{data: "\x08\x00a\x0d\x01", want: "aaaaaaaa"},           // a copy of what it writes
		{data: "\x05\x04ab\x0a\x02\x00", want: "ababa"},         // two bytes of offset
		{data: "\x05\x04ab\x0b\x02\x00\x00\x00", want: "ababa"}, // four
		{data: "\x3d\xf0\x3c" + strings.Repeat("x", 61), want: strings.Repeat("x", 61)},
		{data: string(one), want: "one"},
		{data: string(one) + "\x80\x01\x00\x00x" + string(one), want: "oneone"},
		{data: string(framed)},
		{data: "", err: errSnappy},
		{data: "\x80", err: errSnappy},
		{data: "\xff\xff\xff\xff\x7f", err: errSnappy},
		{data: "\x41" + strings.Repeat("x", 65), err: errLarge},
		{data: "\x03\x08ab", err: errSnappy},
		{data: "\x02\x08abc", err: errSnappy},
		{data: "\x04\x08abc", err: errSnappy},
		{data: "\x03\xf0", err: errSnappy},
		{data: "\x05\x00a\x01", err: errSnappy},
		{data: "\x05\x00a\x01\x00", err: errSnappy},
		{data: "\x05\x00a\x01\x02", err: errSnappy},
		{data: "\x04\x00a\x01\x01", err: errSnappy},
		{data: string(one[:len(one)-1]), err: errSnappy},
		{data: string(one[:12]), err: errSnappy},
		{data: string(one[:len(one)-1]) + "E", err: errSnappy},
		{data: string(framed) + "\x02\x00\x00\x00", err: errSnappy},
		{data: string(framed) + "\x01\x03\x00\x00abc", err: errSnappy},
		{data: string(framed) + "\xff\x06\x00\x00snappy", err: errSnappy},
		{data: strings.Repeat(string(one), 22), err: errLarge},
	} {
		out, err := unsnap([]byte(c.data), 64)
		if string(out) != c.want || err != c.err {
			t.Errorf("%.40q: %q, %v; want %q, %v", c.data, out, err, c.want, c.err)
		}
	}
	long := strings.Repeat("x", 1<<16+1)
	raw := append([]byte(framed), 1, 5, 0, 1, 0, 0, 0, 0)
	for _, data := range [][]byte{append(raw, long...), frame(t, []byte(long))} {
		out, err := unsnap(data, len(long)-1)
		if err == nil {
			t.Errorf("%d bytes of a frame, or beyond the limit", len(out))
		}
	}
}

// FuzzUnsnap: what is read is what another reader of the format reads, which knows S2, too;
// and what snappy writes is read.
func FuzzUnsnap(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 60, 61, 300, 70000, 200000} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(r.IntN(4))
		}
		f.Add(snappy.Encode(nil, data))
		f.Add(frame(f, data))
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, data []byte) {
		got, mine := unsnap(data, limit)
		var want []byte
		var theirs error
		if bytes.HasPrefix(data, framed) {
			want, theirs = io.ReadAll(io.LimitReader(snappy.NewReader(bytes.NewReader(data)), limit+1))
		} else if size, err := snappy.DecodedLen(data); err != nil || size > limit {
			theirs = errLarge
		} else {
			want, theirs = snappy.Decode(nil, data)
		}
		if len(want) > limit {
			theirs = errLarge
		}
		if mine == nil && (theirs != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%q, and %q by the library (%v)", got, want, theirs)
		}
		out, err := unsnap(snappy.Encode(nil, data), limit)
		if len(data) <= limit && (err != nil || !bytes.Equal(out, data)) {
			t.Fatalf("%q is %q, %v", data, out, err)
		}
	})
}
