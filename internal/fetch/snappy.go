// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

var (
	errSnappy = errors.New("not as snappy writes")
	errLarge  = errors.New("larger than the limit")
)

// framed is what data in snappy's framing format begins with.
var framed = []byte("\xff\x06\x00\x00sNaPpY")

// unsnap returns what snappy compressed, framed or in one block, if it has at most limit bytes.
// https://github.com/google/snappy/blob/main/format_description.txt
// https://github.com/google/snappy/blob/main/framing_format.txt
func unsnap(data []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(data, framed) {
		return block(nil, data, limit)
	}
	const most = 1 << 16 // of a frame
	var out []byte
	for len(data) > 0 {
		if len(data) < 4 {
			return nil, errSnappy
		}
		kind, size := data[0], int(binary.LittleEndian.Uint32(data)>>8)
		if len(data)-4 < size {
			return nil, errSnappy
		}
		frame := data[4 : 4+size]
		switch {
		case kind == 0xff && !bytes.Equal(data[:4+size], framed), kind >= 2 && kind < 0x80, kind < 2 && size < 4:
			return nil, errSnappy
		case kind < 2:
			before, err := len(out), error(nil)
			if kind == 0 {
				out, err = block(out, frame[4:], min(most, limit-before))
			} else if out = append(out, frame[4:]...); size-4 > most {
				err = errSnappy
			} else if len(out) > limit {
				err = errLarge
			}
			if err != nil {
				return nil, err
			}
			if binary.LittleEndian.Uint32(frame) != checksum(out[before:]) {
				return nil, errSnappy
			}
		}
		data = data[4+size:]
	}
	return out, nil
}

// checksum is that of a frame.
func checksum(b []byte) uint32 {
	c := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}

// block appends what a block has in it, at most limit bytes. A block is the size of what it has
// in it, and elements: literal bytes, and copies of bytes before.
func block(out, data []byte, limit int) ([]byte, error) {
	size, n := binary.Uvarint(data)
	if n <= 0 || size > 1<<32-1 {
		return nil, errSnappy
	}
	if size > uint64(limit) {
		return nil, errLarge
	}
	data = data[n:]
	begin, end := len(out), len(out)+int(size)
	out = slices.Grow(out, int(size))
	for len(data) > 0 {
		tag := data[0]
		length, more := int(tag>>2)+1, 0 // bytes that follow the tag
		switch {
		case tag&3 == 0 && length > 60:
			more = length - 60
		case tag&3 != 0:
			more = [...]int{0, 1, 2, 4}[tag&3]
		}
		if len(data) <= more {
			return nil, errSnappy
		}
		var word [8]byte
		copy(word[:], data[1:1+more])
		number := int(binary.LittleEndian.Uint64(word[:]))
		data = data[1+more:]
		if tag&3 == 0 {
			if more > 0 {
				length = number + 1
			}
			if length > len(data) || length > end-len(out) {
				return nil, errSnappy
			}
			out, data = append(out, data[:length]...), data[length:]
			continue
		}
		if tag&3 == 1 {
			length, number = int(tag>>2&7)+4, int(tag>>5)<<8|number
		}
		if number == 0 || number > len(out)-begin || length > end-len(out) {
			return nil, errSnappy
		}
		for range length { // what is copied may be part of the copy
			out = append(out, out[len(out)-number])
		}
	}
	if len(out) != end {
		return nil, errSnappy
	}
	return out, nil
}
