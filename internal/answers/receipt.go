// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

const (
	receiptHeader = "repopolicy directory receipt v1"
	// MaxReceiptBytes is the largest receipt that is read.
	MaxReceiptBytes = 4 << 10
)

// Receipt is a directory's word that it lists a statement, with what was handed in of it
// (SPEC 16.6). It is no proof that it did: the leaf is.
type Receipt struct {
	Statement string // hex SHA-256 of the payload
	Leaf      int64  // of the output log, by which it is listed at the latest
}

// Text returns the text that a directory signs, which is none of a checkpoint: that begins
// with the log's origin.
func (r Receipt) Text(origin string) string {
	return fmt.Sprintf("%s\n%s\n%s\n%d\n", receiptHeader, origin, r.Statement, r.Leaf)
}

// OpenReceipt verifies a receipt by the directory's key.
func (d *Descriptor) OpenReceipt(signed []byte) (Receipt, error) {
	fail := func(err error) (Receipt, error) { return Receipt{}, fmt.Errorf("receipt of the directory: %w", err) }
	if len(signed) > MaxReceiptBytes {
		return fail(fmt.Errorf("%d bytes, at most %d are read", len(signed), MaxReceiptBytes))
	}
	v, err := d.verifier()
	if err != nil {
		return fail(err)
	}
	if _, err := canonical.NoteText(string(signed)); err != nil {
		return fail(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return fail(err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 5 || !spelling.IsHash(lines[2]) {
		return fail(errors.New("the note is none"))
	}
	leaf, err := canonical.ParseNumber(lines[3])
	if err != nil {
		return fail(err)
	}
	r := Receipt{lines[2], leaf}
	if r.Text(d.Origin()) != n.Text {
		return fail(errors.New("the note is none of this directory"))
	}
	return r, nil
}
