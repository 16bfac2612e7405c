// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"sort"
)

// packIndex is a pack's index, version 2, that is searched on disk: reading all
// of a large one takes longer than everything else.
// https://git-scm.com/docs/pack-format#_pack_idx_files_have_the_following_format
type packIndex struct {
	f      *os.File
	fanout [256]uint32
	count  int64
	large  int64 // number of 8-byte offsets
}

const (
	idxHead  = 8 + 256*4
	idxNames = 128 // that are read at once
)

func newPackIndex(f *os.File) (*packIndex, error) {
	var head [idxHead]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if string(head[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return nil, errors.New("not an index of version 2")
	}
	x := &packIndex{f: f}
	var last uint32
	for i := range x.fanout {
		x.fanout[i] = binary.BigEndian.Uint32(head[8+4*i:])
		if x.fanout[i] < last {
			return nil, errors.New("its table is not in order")
		}
		last = x.fanout[i]
	}
	x.count = int64(last)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	rest := info.Size() - idxHead - x.count*(20+4+4) - 40
	if rest < 0 || rest%8 != 0 {
		return nil, errors.New("it is not as long as it says")
	}
	x.large = rest / 8
	return x, nil
}

// find returns where in the pack an object is.
func (x *packIndex) find(id oid) (int64, bool, error) {
	i, ok, err := x.position(id)
	if err != nil || !ok {
		return 0, false, err
	}
	var b [8]byte
	if _, err := x.f.ReadAt(b[:4], idxHead+x.count*24+4*i); err != nil {
		return 0, false, malformed("an index: %s", err)
	}
	off := int64(binary.BigEndian.Uint32(b[:4]))
	if off&(1<<31) == 0 {
		return off, true, nil
	}
	off &^= 1 << 31
	if off >= x.large {
		return 0, false, malformed("an offset beyond the table")
	}
	if _, err := x.f.ReadAt(b[:], idxHead+x.count*28+8*off); err != nil {
		return 0, false, malformed("an index: %s", err)
	}
	if off = int64(binary.BigEndian.Uint64(b[:])); off < 0 {
		return 0, false, malformed("a negative offset")
	}
	return off, true, nil
}

// position returns the place of an id in the sorted list. Ids are spread evenly, so it
// first looks where the id should be; a list that is made to mislead is halved then.
func (x *packIndex) position(id oid) (int64, bool, error) {
	lo, hi := int64(0), int64(x.fanout[id[0]])
	if id[0] > 0 {
		lo = int64(x.fanout[id[0]-1])
	}
	share := int64(binary.BigEndian.Uint32(id[1:5]))
	var buf [20 * idxNames]byte
	for guess := true; lo < hi; guess = false {
		from := lo + (hi-lo)/2
		if guess {
			from = lo + int64(float64(hi-lo)*float64(share)/(1<<32))
		}
		from = max(lo, min(from-idxNames/2, hi-idxNames))
		n := min(hi-from, idxNames)
		names := buf[:20*n]
		if _, err := x.f.ReadAt(names, idxHead+20*from); err != nil {
			return 0, false, malformed("an index: %s", err)
		}
		i := int64(sort.Search(int(n), func(i int) bool { return bytes.Compare(names[20*i:20*i+20], id[:]) >= 0 }))
		switch {
		case i == 0 && !bytes.Equal(names[:20], id[:]):
			hi = from
		case i == n:
			lo = from + n
		default:
			return from + i, bytes.Equal(names[20*i:20*i+20], id[:]), nil
		}
	}
	return 0, false, nil
}
