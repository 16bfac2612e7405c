// SPDX-License-Identifier: Apache-2.0

package canonical

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxNote       = 1 << 20
	maxSignatures = 100
	leastHint     = 5 // bytes of a signature: four of the key's hash, and something
)

var errNote = errors.New("not a signed note")

// NoteText returns the text of a signed note, as far as its form goes: UTF-8
// without control characters but line feeds, and after an empty line one signature
// or more, each of a name and base64. It verifies none of them.
//
// Format: https://c2sp.org/signed-note.
func NoteText(note string) (string, error) {
	text, _, err := ReadNote(note)
	return text, err
}

// Signature is one of a signed note.
type Signature struct {
	Name string
	Hint uint32 // of the key
	Sig  []byte
	Line string // of the note, with its end
}

// ReadNote returns the text of a signed note, as [NoteText] does, and the signatures after it.
func ReadNote(note string) (text string, signatures []Signature, err error) {
	if len(note) > maxNote || !utf8.ValidString(note) ||
		strings.ContainsFunc(note, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return "", nil, errNote
	}
	at := strings.LastIndex(note, "\n\n")
	if at < 0 {
		return "", nil, errNote
	}
	text, lines := note[:at+1], note[at+2:]
	n := strings.Count(lines, "\n")
	if !strings.HasSuffix(lines, "\n") || n > maxSignatures {
		return "", nil, errNote
	}
	signatures = make([]Signature, 0, n)
	for whole := range strings.Lines(lines) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(whole, "\n"), "\u2014 ")
		name, signature, _ := strings.Cut(line, " ")
		raw, err := ParseBase64(signature)
		if !ok || name == "" || strings.Contains(name, "+") || strings.ContainsFunc(name, unicode.IsSpace) ||
			err != nil ||
			len(raw) < leastHint {
			return "", nil, errNote
		}
		signatures = append(signatures, Signature{name, binary.BigEndian.Uint32(raw), raw[4:], whole})
	}
	return text, signatures, nil
}

// Checkpoint is what a checkpoint's signatures cover.
type Checkpoint struct {
	Origin    string
	Size      int64
	Root      [sha256.Size]byte
	Extension string // further lines, each with its end; "" if there are none
}

// ParseCheckpoint reads the text of a checkpoint: three lines, and perhaps further
// ones that are not empty.
//
// Format: https://c2sp.org/tlog-checkpoint.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || len(text) > maxNote {
		return Checkpoint{}, errors.New("fewer than three lines")
	}
	c := Checkpoint{Origin: lines[0], Extension: lines[3]}
	if c.Origin == "" || !utf8.ValidString(text) ||
		strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		return Checkpoint{}, errors.New("no origin, or control characters")
	}
	var err error
	if c.Size, err = ParseNumber(lines[1]); err != nil {
		return Checkpoint{}, errors.New("the size is not a number")
	}
	root, err := ParseBase64(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return Checkpoint{}, errors.New("the root is not a SHA-256 hash")
	}
	c.Root = [sha256.Size]byte(root)
	for line := range strings.Lines(c.Extension) {
		if line == "\n" || !strings.HasSuffix(line, "\n") {
			return Checkpoint{}, errors.New("an empty or unfinished line after the root")
		}
	}
	return c, nil
}
