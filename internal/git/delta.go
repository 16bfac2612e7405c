// SPDX-License-Identifier: Apache-2.0

package git

import "encoding/binary"

// deltaSizes returns the sizes that a delta is for, and how long they are.
func deltaSizes(delta []byte) (source, target uint64, n int, err error) {
	source, n = binary.Uvarint(delta)
	if n <= 0 {
		return 0, 0, 0, malformed("a delta without sizes")
	}
	target, m := binary.Uvarint(delta[n:])
	if m <= 0 {
		return 0, 0, 0, malformed("a delta without sizes")
	}
	return source, target, n + m, nil
}

// applyDelta returns what a delta makes of its base, of at most limit bytes.
// https://git-scm.com/docs/pack-format#_deltified_representation
func applyDelta(m *meter, base, delta []byte, limit int64) ([]byte, error) {
	source, target, n, err := deltaSizes(delta)
	switch {
	case err != nil:
		return nil, err
	case source != uint64(len(base)):
		return nil, malformed("a delta of another base")
	case target > uint64(limit):
		return nil, &tooLarge{int64(min(target, 1<<62)), limit}
	}
	if err := m.work(int64(target)); err != nil {
		return nil, err
	}
	out := make([]byte, 0, target)
	for d := delta[n:]; len(d) > 0; {
		op := d[0]
		d = d[1:]
		var piece []byte
		switch {
		case op == 0:
			return nil, malformed("a delta with an unknown instruction")
		case op < 0x80:
			if int(op) > len(d) {
				return nil, malformed("a delta that ends early")
			}
			piece, d = d[:op], d[op:]
		default:
			if piece, d, err = copied(op, d, base); err != nil {
				return nil, err
			}
		}
		if uint64(len(out)+len(piece)) > target {
			return nil, malformed("a delta that makes more than it says")
		}
		out = append(out, piece...)
	}
	if uint64(len(out)) != target {
		return nil, malformed("a delta that makes less than it says")
	}
	return out, nil
}

// copied returns the piece of the base that an instruction copies. The bits of op say which of
// its numbers' bytes follow in d.
func copied(op byte, d, base []byte) (piece, rest []byte, err error) {
	var args [7]byte
	for i := range args {
		if op&(1<<i) == 0 {
			continue
		}
		if len(d) == 0 {
			return nil, nil, malformed("a delta that ends early")
		}
		args[i], d = d[0], d[1:]
	}
	off := uint64(binary.LittleEndian.Uint32(args[:4]))
	size := uint64(args[4]) | uint64(args[5])<<8 | uint64(args[6])<<16
	if size == 0 {
		size = 0x10000
	}
	if off+size > uint64(len(base)) {
		return nil, nil, malformed("a delta that copies what is not there")
	}
	return base[off : off+size], d, nil
}
