// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPktLine(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		text string
		want []string
		err  error // nil for what it says
		says string
	}{
		{text: "", err: io.EOF},
		{text: "0009done\n0000000Aab\x00cd\n", want: []string{"done\n", "", "ab\x00cd\n"}, err: io.EOF},
		{text: fmt.Sprintf("%04x%s0005a", maxLine+4, long), want: []string{long, "a"}, err: io.EOF},
		{text: "0006a", err: io.ErrUnexpectedEOF},
		{text: "0006", err: io.ErrUnexpectedEOF},
		{text: "000", err: io.ErrUnexpectedEOF},
		{text: "0004", err: errLine}, {text: "0001", err: errLine},
		{text: "+005a", err: errLine}, {text: "0x5a", err: errLine}, {text: "00_5", err: errLine},
		{text: "fff5", err: errLine},
		{text: "000bERR no\n", says: `the server says "no"`},
	} {
		lines := &lineReader{r: iotest.OneByteReader(strings.NewReader(c.text))}
		var got []string
		line, err := lines.next()
		for ; err == nil; line, err = lines.next() {
			got = append(got, string(line))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || c.err != nil && !errors.Is(err, c.err) ||
			c.says != "" && err.Error() != c.says {
			t.Errorf("%.40q: %.60q, %v", c.text, got, err)
		}
	}
}

// FuzzPktLine: what was read, written again, is what was read of the text.
func FuzzPktLine(f *testing.F) {
	f.Add([]byte("001e# service=git-upload-pack\n0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := &lineReader{r: bytes.NewReader(data)}
		var again bytes.Buffer
		for {
			line, err := lines.next()
			if err != nil {
				break
			}
			if line == nil {
				again.WriteString("0000")
				continue
			}
			fmt.Fprintf(&again, "%04x%s", len(line)+4, line)
		}
		if !bytes.EqualFold(again.Bytes(), data[:min(again.Len(), len(data))]) {
			t.Fatalf("%q of %q", again.Bytes(), data)
		}
	})
}
