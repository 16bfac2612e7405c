// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// maxLine is the longest payload of a line, bytes. Git writes 65516; there are servers that
// do not count the four of the length.
const maxLine = 65520

var errLine = errors.New("the server does not write lines as Git does: no length")

// lineReader reads the lines of Git's protocol: four hexadecimal digits that count themselves,
// then the payload. Line 0000, a flush, is an empty one.
// https://git-scm.com/docs/gitprotocol-common#_pkt_line_format
type lineReader struct {
	r   io.Reader
	buf []byte
}

// next returns the next payload, until it is called again. The error is io.EOF between two
// lines, io.ErrUnexpectedEOF within one; a line "ERR …" is the error that the server tells.
func (l *lineReader) next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil, n > 0 && n <= 4, n > maxLine+4:
		return nil, fmt.Errorf("%w: %q", errLine, head[:])
	case n == 0:
		return nil, nil
	}
	if l.buf == nil {
		l.buf = make([]byte, maxLine)
	}
	line := l.buf[:n-4]
	if _, err := io.ReadFull(l.r, line); err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	} else if err != nil {
		return nil, err
	}
	if text, ok := bytes.CutPrefix(line, []byte("ERR ")); ok {
		return nil, fmt.Errorf("the server says %q", clip.Bytes(bytes.TrimSpace(text)))
	}
	return line, nil
}
