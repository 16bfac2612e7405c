// SPDX-License-Identifier: Apache-2.0

package git

import (
	"compress/zlib"
	"errors"
	"io"
)

// window is how much of a file is read at once. Objects that belong together lie
// side by side.
const window = 32 << 10

// cursor reads a file from a position on, and knows how far it came.
type cursor struct {
	src  io.ReaderAt
	base int64 // position of buf[0]
	r, n int   // of buf: the next byte, and the end
	buf  [window]byte
}

func (c *cursor) seek(pos int64) {
	if pos >= c.base && pos <= c.base+int64(c.n) {
		c.r = int(pos - c.base)
		return
	}
	before := pos < c.base && pos > c.base-window
	c.base, c.r, c.n = pos, 0, 0
	if before { // what comes next probably lies before it, too
		c.base = max(0, pos-window/4*3)
		if c.fill() == nil && pos <= c.base+int64(c.n) {
			c.r = int(pos - c.base)
			return
		}
		c.base, c.r, c.n = pos, 0, 0
	}
}

func (c *cursor) pos() int64 { return c.base + int64(c.r) }

func (c *cursor) fill() error {
	c.base, c.r = c.base+int64(c.n), 0
	n, err := c.src.ReadAt(c.buf[:], c.base)
	if c.n = n; n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Read implements io.Reader.
func (c *cursor) Read(p []byte) (int, error) {
	if c.r == c.n {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.n])
	c.r += n
	return n, nil
}

// ReadByte implements io.ByteReader, so that nothing is read too far.
func (c *cursor) ReadByte() (byte, error) {
	if c.r == c.n {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	c.r++
	return c.buf[c.r-1], nil
}

// inflater inflates what lies in a file, never more than was declared.
type inflater struct {
	cursor
	m *meter
	z io.Reader
}

var errLength = errors.New("it is not as long as it says")

// begin prepares to inflate what begins at the cursor.
func (f *inflater) begin() (err error) {
	if r, ok := f.z.(zlib.Resetter); ok {
		return r.Reset(&f.cursor, nil)
	}
	f.z, err = zlib.NewReader(&f.cursor)
	return err
}

// full fills p.
func (f *inflater) full(p []byte) error {
	for len(p) > 0 {
		step := p[:min(len(p), workStep)]
		if err := f.m.work(int64(len(step))); err != nil {
			return err
		}
		if _, err := io.ReadFull(f.z, step); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errLength
		} else if err != nil {
			return err
		}
		p = p[len(step):]
	}
	return nil
}

// end is an error if there is more, or the checksum is of something else.
func (f *inflater) end() error {
	var one [1]byte
	switch n, err := f.z.Read(one[:]); {
	case n > 0:
		return errLength
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return io.ErrNoProgress
	default:
		return err
	}
}

// object returns the size bytes that are inflated from the cursor on, and no more.
// Whoever calls it holds as much.
func (f *inflater) object(size int64) ([]byte, error) {
	if err := f.begin(); err != nil {
		return nil, err
	}
	out := make([]byte, size)
	if err := f.full(out); err != nil {
		return nil, err
	}
	return out, f.end()
}

// pass writes the size bytes that are inflated from the cursor on to w, and holds
// none of them.
func (f *inflater) pass(size int64, w io.Writer, scratch []byte) error {
	if err := f.begin(); err != nil {
		return err
	}
	for size > 0 {
		step := scratch[:min(size, int64(len(scratch)))]
		if err := f.full(step); err != nil {
			return err
		}
		if _, err := w.Write(step); err != nil {
			return err
		}
		size -= int64(len(step))
	}
	return f.end()
}
