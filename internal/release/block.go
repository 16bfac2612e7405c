// SPDX-License-Identifier: Apache-2.0

package release

import (
	"io"
	"sync"
)

// blockBytes is how much content is read at a time. It fits into the cache of one core.
const blockBytes = 256 << 10

// block is a piece of content.
type block struct {
	buf      *[]byte
	n        int
	err      error // that came behind it; nil if more is to be read
	panicked any
}

var blocks = sync.Pool{New: func() any { b := make([]byte, blockBytes); return &b }}

// read fills a block. It is only the last one that is not full.
func (b *block) read(r io.Reader) {
	for b.n < len(*b.buf) && b.err == nil {
		var n int
		n, b.err = r.Read((*b.buf)[b.n:])
		b.n += n
	}
}

// eachBlock calls do with the content in order. While a block is looked at the next one is read, on
// another core where there is one. What fits into one block is read here. The error is that of r, nil for
// [io.EOF]; a panic of r is one of the caller's. Nothing reads any more when eachBlock returns.
func eachBlock(r io.Reader, do func([]byte)) error {
	b := block{buf: blocks.Get().(*[]byte)}
	if b.read(r); b.err == nil {
		ahead, free := make(chan block, 1), make(chan *[]byte, 1)
		defer close(free)
		free <- blocks.Get().(*[]byte)
		go readAhead(r, free, ahead)
		for b.err == nil {
			do((*b.buf)[:b.n])
			free <- b.buf
			b = <-ahead
		}
		blocks.Put(<-free)
	}
	defer blocks.Put(b.buf)
	if b.panicked != nil {
		panic(b.panicked)
	}
	do((*b.buf)[:b.n])
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// readAhead reads blocks until one is the last, or nobody gives it memory for more.
func readAhead(r io.Reader, free <-chan *[]byte, ahead chan<- block) {
	for buf := range free {
		b := block{buf: buf}
		b.safely(r)
		if ahead <- b; b.err != nil {
			return
		}
	}
}

// safely is read where a panic would end the process.
func (b *block) safely(r io.Reader) {
	defer func() {
		if b.panicked = recover(); b.panicked != nil {
			b.err = io.ErrUnexpectedEOF
		}
	}()
	b.read(r)
}
