// SPDX-License-Identifier: Apache-2.0

package git

import (
	"crypto/sha1"
	"fmt"
	"hash"
	"io"
	"os"
)

// maxSpooled is how much of a pack stays in memory; the rest goes to a file that has no
// name any more. Servers that cannot leave out blobs send all files of a branch.
const maxSpooled = 8 << 20

// spool keeps the compressed bytes of a pack that is fetched.
type spool struct {
	m    *meter
	sum  hash.Hash // of all but the last 20 bytes
	tail []byte
	mem  []byte
	file *os.File // what follows mem, if it is full
	size int64
}

func newSpool(m *meter) *spool { return &spool{m: m, sum: sha1.New()} }

// fill reads a pack to its end. One of more than [MaxPackBytes], or whose checksum is
// of another one, is an error.
func (s *spool) fill(r io.Reader) error {
	buf := make([]byte, workStep)
	for {
		n, err := r.Read(buf)
		if werr := s.write(buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if string(s.tail) != string(s.sum.Sum(nil)) {
		return malformed("a pack that is cut or has another checksum")
	}
	return nil
}

func (s *spool) write(p []byte) error {
	if err := s.m.work(int64(len(p))); err != nil {
		return err
	}
	if s.size+int64(len(p)) > MaxPackBytes {
		return malformed("a pack of more than %d bytes", MaxPackBytes)
	}
	s.tail = append(s.tail, p...)
	if n := len(s.tail) - sha1.Size; n > 0 {
		s.sum.Write(s.tail[:n])
		s.tail = append(s.tail[:0], s.tail[n:]...)
	}
	s.size += int64(len(p))
	if s.file == nil && len(s.mem)+len(p) <= maxSpooled {
		if grown := len(s.mem) + len(p); grown > cap(s.mem) {
			more := max(grown, min(2*cap(s.mem), maxSpooled))
			if err := s.m.hold(int64(more - cap(s.mem))); err != nil {
				return err
			}
			s.mem = append(make([]byte, 0, more), s.mem...)
		}
		s.mem = append(s.mem, p...)
		return nil
	}
	if s.file == nil {
		var err error
		if s.file, err = unnamed(); err != nil {
			return fmt.Errorf("a pack of more than %d bytes needs a temporary file: %w", maxSpooled, err)
		}
	}
	_, err := s.file.Write(p)
	return err
}

// ReadAt implements io.ReaderAt. The checksum at the end is not part of it.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	end := s.size - sha1.Size
	if off >= end {
		return 0, io.EOF
	}
	if int64(len(p)) > end-off {
		p = p[:end-off]
	}
	if off < int64(len(s.mem)) {
		return copy(p, s.mem[off:]), nil // the cursor asks again
	}
	return s.file.ReadAt(p, off-int64(len(s.mem)))
}

// close forgets the pack.
func (s *spool) close() {
	s.m.give(int64(cap(s.mem)))
	s.mem = nil
	if s.file != nil {
		s.file.Close()
	}
}
