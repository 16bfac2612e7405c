// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"os"
)

// maxIndexName is the length of the longest name in an index.
const maxIndexName = 16 << 10

// stagedEntry is an entry of the index. It holds until the next one is read.
type stagedEntry struct {
	name  []byte
	mode  uint32
	id    oid
	stage int
	later bool // it is only to be added
}

// stagedIndex reads an index, version 2 to 4, from its beginning to its end.
// https://git-scm.com/docs/index-format
type stagedIndex struct {
	m       *meter
	r       *bufio.Reader
	sum     hash.Hash
	version uint32
	left    uint32 // entries
	pos     int64
	size    int64 // without the checksum
	entry   *stagedEntry
}

func unsupportedIndex(format string, args ...any) error {
	return fmt.Errorf("%w: the index: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// newStagedIndex stands before the first entry.
func newStagedIndex(m *meter, f *os.File) (*stagedIndex, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIndexBytes {
		return nil, malformed("the index has more than %d bytes", maxIndexBytes)
	}
	x := &stagedIndex{m: m, r: bufio.NewReaderSize(f, workStep), sum: sha1.New(), size: info.Size() - sha1.Size}
	var head [12]byte
	if err := x.full(head[:]); err != nil {
		return nil, err
	}
	x.version, x.left = binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	if string(head[:4]) != "DIRC" || x.version < 2 || x.version > 4 {
		return nil, unsupportedIndex("not of version 2, 3 or 4")
	}
	return x, nil
}

// full fills p with what is covered by the checksum.
func (x *stagedIndex) full(p []byte) error {
	if x.pos += int64(len(p)); x.pos > x.size {
		return unsupportedIndex("it ends early")
	}
	if _, err := io.ReadFull(x.r, p); err != nil {
		return unsupportedIndex("%s", err)
	}
	x.sum.Write(p)
	return nil
}

func (x *stagedIndex) byte() (byte, error) {
	var b [1]byte
	err := x.full(b[:])
	return b[0], err
}

// next reads an entry; after the last one there is none, and what follows was checked.
func (x *stagedIndex) next() error {
	if x.left == 0 {
		x.entry = nil
		return x.finish()
	}
	x.left--
	if err := x.m.work(entryWork); err != nil {
		return err
	}
	begin := x.pos
	e, err := x.fields()
	if err != nil {
		return err
	}
	if x.version == 4 {
		if e.name, err = x.prefix(); err != nil {
			return err
		}
	}
	if e.name, err = x.name(e.name); err != nil {
		return err
	}
	if x.version < 4 { // 1 to 8 NULs, of which the name took one
		var pad [8]byte
		if err := x.full(pad[:(8-(x.pos-begin)%8)%8]); err != nil {
			return err
		}
	}
	if last := x.entry; last != nil {
		if c := bytes.Compare(last.name, e.name); c > 0 || c == 0 && last.stage >= e.stage {
			return unsupportedIndex("its names are not in order")
		}
	}
	x.entry = e
	return nil
}

// fields reads what stands before the name of an entry.
func (x *stagedIndex) fields() (*stagedEntry, error) {
	var fixed [62]byte
	if err := x.full(fixed[:]); err != nil {
		return nil, err
	}
	flags := binary.BigEndian.Uint16(fixed[60:])
	e := &stagedEntry{mode: binary.BigEndian.Uint32(fixed[24:]), id: oid(fixed[40:60]), stage: int(flags>>12) & 3}
	if flags&0x4000 == 0 {
		return e, nil
	}
	if x.version < 3 {
		return nil, unsupportedIndex("an extended entry in version 2")
	}
	var more [2]byte
	if err := x.full(more[:]); err != nil {
		return nil, err
	}
	e.later = binary.BigEndian.Uint16(more[:])&0x2000 != 0
	return e, nil
}

// prefix reads, in version 4, how much of the entry before begins the name.
func (x *stagedIndex) prefix() ([]byte, error) {
	strip, err := x.strip()
	if err != nil {
		return nil, err
	}
	var last []byte
	if x.entry != nil {
		last = x.entry.name
	}
	if strip > len(last) {
		return nil, unsupportedIndex("a name that is shorter than nothing")
	}
	return bytes.Clone(last[:len(last)-strip]), nil
}

// name reads the rest of a name, and the NUL that ends it.
func (x *stagedIndex) name(prefix []byte) ([]byte, error) {
	for name := prefix; ; {
		b, err := x.byte()
		if err != nil {
			return nil, err
		}
		if b == 0 {
			return name, nil
		}
		if name = append(name, b); len(name) > maxIndexName {
			return nil, unsupportedIndex("a name of more than %d bytes", maxIndexName)
		}
	}
}

// strip reads how much of the last name is not part of the next.
func (x *stagedIndex) strip() (int, error) {
	n := -1
	for {
		b, err := x.byte()
		if err != nil {
			return 0, err
		}
		if n = (n+1)<<7 | int(b&0x7f); n > maxIndexName {
			return 0, unsupportedIndex("a name that is shorter than nothing")
		}
		if b&0x80 == 0 {
			return n, nil
		}
	}
}

// finish passes over the extensions, of which none may be needed to understand the
// entries, and compares the checksum.
func (x *stagedIndex) finish() error {
	for x.pos < x.size {
		var head [8]byte
		if err := x.full(head[:]); err != nil {
			return err
		}
		if head[0] < 'A' || head[0] > 'Z' {
			return unsupportedIndex("the extension %q", head[:4])
		}
		for left := int64(binary.BigEndian.Uint32(head[4:])); left > 0; {
			var skipped [4096]byte
			n := min(left, int64(len(skipped)))
			if err := x.full(skipped[:n]); err != nil {
				return err
			}
			left -= n
		}
	}
	var sum [sha1.Size]byte
	if _, err := io.ReadFull(x.r, sum[:]); err != nil || !bytes.Equal(sum[:], x.sum.Sum(nil)) {
		return unsupportedIndex("it has another checksum")
	}
	return nil
}
