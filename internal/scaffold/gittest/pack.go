// SPDX-License-Identifier: Apache-2.0

// Package gittest makes packs and Git servers that mean harm, for tests only.
package gittest

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"hash/adler32"
)

// Types of the entries of a pack.
const (
	commit      = 1
	blob        = 3
	offsetDelta = 6
	nameDelta   = 7
)

// largest is the size of the largest object that is read, git.MaxObjectBytes.
const largest = 16 << 20

// Nobody is the name of an object that there is not.
const Nobody = "1111111111111111111111111111111111111111"

// Entry is an object in a pack that declares its type and size; base is how a delta names
// what it is of.
func Entry(typ byte, size int, base, content []byte) []byte {
	out := Head(typ, size, base)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = w.Write(content)
	_ = w.Close()
	return append(out, z.Bytes()...)
}

// Head is the header of an object in a pack.
func Head(typ byte, size int, base []byte) []byte {
	b := byte(typ<<4) | byte(size&15)
	var out []byte
	for size >>= 4; size > 0; size >>= 7 {
		out = append(out, b|0x80)
		b = byte(size & 0x7f)
	}
	return append(append(out, b), base...)
}

// Back is the distance to a delta's base as packs write it.
func Back(n int) []byte {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append([]byte{byte(n&0x7f) | 0x80}, out...)
	}
	return out
}

// CopyAll is a delta that copies a base of size bytes, and makes times as much.
func CopyAll(size, times int) []byte {
	d := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(size)), uint64(size*times))
	for range times {
		for off := 0; off < size; off += 0xffffff {
			n := min(0xffffff, size-off)
			d = append(d, 0xff, byte(off), byte(off>>8), byte(off>>16), byte(off>>24), byte(n), byte(n>>8), byte(n>>16))
		}
	}
	return d
}

// Zeros returns n zero bytes, deflated, after a prefix. It is made of the same block
// over and over, as a bomb of gigabytes takes too long to deflate.
func Zeros(prefix string, n int) []byte {
	const step = 1 << 20
	var out bytes.Buffer
	out.WriteString("\x78\x9c")
	w, _ := flate.NewWriter(&out, flate.BestCompression)
	_, _ = w.Write([]byte(prefix))
	_, _ = w.Write(make([]byte, n%step))
	_ = w.Flush()
	_, _ = w.Write(make([]byte, step))
	_ = w.Flush()
	begin := out.Len()
	_, _ = w.Write(make([]byte, step))
	_ = w.Flush()
	block := bytes.Clone(out.Bytes()[begin:])
	switch n / step {
	case 0:
		panic("too few")
	case 1:
		out.Truncate(begin)
	default:
		out.Write(bytes.Repeat(block, n/step-2))
	}
	out.WriteString("\x01\x00\x00\xff\xff")
	sum := adler32.Checksum([]byte(prefix))
	a, b := uint64(sum&0xffff), uint64(sum>>16)
	b = (b + a*uint64(n)) % 65521
	return binary.BigEndian.AppendUint32(out.Bytes(), uint32(b<<16|a))
}

// Sealed adds the checksum to a pack.
func Sealed(body []byte) []byte {
	sum := sha1.Sum(body)
	return append(bytes.Clone(body), sum[:]...)
}

// Pack joins entries to a pack that says how many they are.
func Pack(n int, entries ...[]byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(n))
	return Sealed(append(out, bytes.Join(entries, nil)...))
}

// Chain is a pack with a blob of zeros and deltas, each of the one before it.
func Chain(size, deltas int) []byte {
	entries := [][]byte{append(Head(blob, size, nil), Zeros("", size)...)}
	d := CopyAll(size, 1)
	last := len(entries[0])
	for range deltas {
		e := Entry(offsetDelta, len(d), Back(last), d)
		last = len(e)
		entries = append(entries, e)
	}
	return Pack(len(entries), entries...)
}

// wide is a pack with a blob of zeros and deltas of it.
func wide(size, deltas int) []byte {
	base := append(Head(blob, size, nil), Zeros("", size)...)
	d := CopyAll(size, 1)
	entries := [][]byte{base}
	for off := len(base); len(entries) <= deltas; {
		e := Entry(offsetDelta, len(d), Back(off), d)
		entries, off = append(entries, e), off+len(e)
	}
	return Pack(len(entries), entries...)
}
