// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pjbgf/sha1cd"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// Type is the type of an object.
type Type string

// The types.
const (
	Commit Type = "commit"
	Tree   Type = "tree"
	Blob   Type = "blob"
	Tag    Type = "tag"
)

// ID is an object's id: 40 lower-case hex digits of a SHA-1.
type ID string

// ParseID reads an id.
func ParseID(s string) (ID, error) {
	if !isID(s) {
		return "", fmt.Errorf("%q is not an object id of 40 hex digits", clip.Text(s))
	}
	return ID(s), nil
}

// isID reports whether text is 40 lower-case hex digits.
func isID[T string | []byte](text T) bool {
	if len(text) != 40 {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Hash returns the id of an object with the given content. A content made to
// collide with another (https://shattered.io) is an error.
func Hash(t Type, content []byte) (ID, error) {
	h := sha1cd.New().(sha1cd.CollisionResistantHash)
	fmt.Fprintf(h, "%s %d\x00", t, len(content))
	h.Write(content)
	sum, collision := h.CollisionResistantSum(nil)
	if collision {
		return "", errors.New("the object was made to collide with another under SHA-1")
	}
	return ID(hex.EncodeToString(sum)), nil
}

// ErrMalformed is wrapped by every error about the content of an object.
var ErrMalformed = errors.New("malformed object")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// CommitObject is what is read of a commit.
type CommitObject struct {
	Tree    ID
	Parents []ID
	// Signature is the armoured signature of the header gpgsig, "" if there is
	// none; Signed are the bytes that it is over.
	Signature string
	Signed    []byte
}

// TagObject is what is read of an annotated tag.
type TagObject struct {
	Object     ID
	ObjectType Type
	Name       string
	Tagger     string // name, address and time, by their own word
	Signature  string // armoured, at the end of the message; "" if there is none
	Signed     []byte // the bytes that Signature is over
}

// maxHeaders is the number of headers that a commit or tag may have: as many parents as
// fit into a commit, each of which is a line.
const maxHeaders = 25_000

// header is one header of a commit or tag, with the place of its text.
type header struct {
	key, value string // continuation lines joined by line feeds
	start, end int    // bytes, the last line feed included
}

// headers returns the headers of a commit or tag and where the message begins.
func headers(content []byte) ([]header, int, error) {
	var out []header
	off := 0
	for {
		end := bytes.IndexByte(content[off:], '\n')
		if end < 0 {
			return nil, 0, malformed("the headers do not end")
		}
		line := string(content[off : off+end])
		next := off + end + 1
		switch {
		case line == "":
			return out, next, nil
		case strings.ContainsAny(line, "\x00\r"):
			return nil, 0, malformed("a control character in a header")
		case line[0] == ' ':
			if len(out) == 0 {
				return nil, 0, malformed("a continuation line without a header")
			}
			h := &out[len(out)-1]
			h.value += "\n" + line[1:]
			h.end = next
		default:
			key, value, ok := strings.Cut(line, " ")
			if !ok || key == "" {
				return nil, 0, malformed("a header without a value")
			}
			if len(out) == maxHeaders {
				return nil, 0, malformed("more than %d headers", maxHeaders)
			}
			out = append(out, header{key, value, off, next})
		}
		off = next
		if off == len(content) {
			return nil, 0, malformed("there is no message")
		}
	}
}

// ParseCommit reads a commit strictly: tree, parents, author and committer in
// this order, and none of them, nor a signature, twice.
func ParseCommit(content []byte) (*CommitObject, error) {
	hs, _, err := headers(content)
	if err != nil {
		return nil, err
	}
	c := &CommitObject{Signed: content}
	order := commitOrder{seen: map[string]bool{}}
	for _, h := range hs {
		if err := order.next(h.key); err != nil {
			return nil, err
		}
		if err := c.read(h, content); err != nil {
			return nil, err
		}
	}
	if !order.seen["tree"] || !order.seen["author"] || !order.seen["committer"] {
		return nil, malformed("a commit needs a tree, an author and a committer")
	}
	return c, nil
}

// read reads one header of a commit.
func (c *CommitObject) read(h header, content []byte) (err error) {
	switch h.key {
	case "tree":
		c.Tree, err = ParseID(h.value)
	case "parent":
		var p ID
		p, err = ParseID(h.value)
		c.Parents = append(c.Parents, p)
	case "gpgsig":
		c.Signature = h.value
		c.Signed = append(append([]byte{}, content[:h.start]...), content[h.end:]...)
	case "gpgsig-sha256":
		return malformed("signed for another object format")
	}
	if err != nil {
		return malformed("%s: %s", h.key, err)
	}
	return nil
}

// firstHeaders are those with which every commit begins, in this order.
var firstHeaders = []string{"tree", "parent", "author", "committer"}

// commitOrder checks that headers of a commit are in order, and which stand twice.
type commitOrder struct {
	seen map[string]bool
	last int // index in firstHeaders
}

// next takes the next header.
func (o *commitOrder) next(key string) error {
	if key != "parent" && key != "mergetag" && o.seen[key] {
		return malformed("two headers %q", clip.Text(key))
	}
	o.seen[key] = true
	at := slices.Index(firstHeaders, key)
	if at < 0 && o.last < len(firstHeaders)-1 || at >= 0 && at < o.last {
		return malformed("the header %q is out of order", clip.Text(key))
	}
	o.last = max(o.last, at)
	return nil
}

// signatureBegins are the first lines of the kinds of signature that Git knows.
var signatureBegins = []string{
	"-----BEGIN SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----",
	"-----BEGIN SSH SIGNATURE-----",
}

// ParseTag reads an annotated tag strictly: object, type, tag and tagger, in
// this order, each once and nothing else, and at most one signature.
func ParseTag(content []byte) (*TagObject, error) {
	hs, message, err := headers(content)
	if err != nil {
		return nil, err
	}
	want := []string{"object", "type", "tag", "tagger"}
	if len(hs) != len(want) {
		return nil, malformed("a tag has the headers %s", strings.Join(want, ", "))
	}
	for i, h := range hs {
		if h.key != want[i] || strings.Contains(h.value, "\n") {
			return nil, malformed("a tag has the headers %s", strings.Join(want, ", "))
		}
	}
	t := &TagObject{ObjectType: Type(hs[1].value), Name: hs[2].value, Tagger: hs[3].value, Signed: content}
	if t.Object, err = ParseID(hs[0].value); err != nil {
		return nil, malformed("object: %s", err)
	}
	for off := message; off < len(content); {
		end := bytes.IndexByte(content[off:], '\n')
		if end < 0 {
			end = len(content) - off
		}
		for _, b := range signatureBegins {
			if string(content[off:off+end]) != b {
				continue
			}
			if t.Signature != "" {
				return nil, malformed("two signatures")
			}
			t.Signature, t.Signed = string(content[off:]), content[:off]
		}
		off += end + 1
	}
	return t, nil
}

// Entry is an entry of a tree.
type Entry struct {
	Mode string // octal, as it stands there: "100644", "40000", "120000", "160000"
	Name string
	ID   ID
}

// ParseTree reads a tree strictly: the names are those of one directory level
// and stand in Git's order, so that none stands twice.
func ParseTree(content []byte) ([]Entry, error) {
	var out []Entry
	err := eachEntry(content, func(e rawEntry) error {
		out = append(out, e.entry())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rawEntry is an entry of a tree, as parts of the tree.
type rawEntry struct{ mode, name, id []byte }

func (e rawEntry) entry() Entry {
	return Entry{string(e.mode), string(e.name), ID(hex.EncodeToString(e.id))}
}

// eachEntry calls do for every entry of a tree, as strictly as [ParseTree] and without
// holding all of them.
func eachEntry(content []byte, do func(rawEntry) error) error {
	var last rawEntry
	for len(content) > 0 {
		e, rest, err := cutEntry(content)
		if err != nil {
			return err
		}
		if last.name != nil && (compareEntries(last, e) >= 0 || bytes.Equal(last.name, e.name)) {
			return malformed("the names in a tree are not in order, or one stands twice")
		}
		if err := do(e); err != nil {
			return err
		}
		last, content = e, rest
	}
	return nil
}

// cutEntry cuts the first entry from a tree.
func cutEntry(content []byte) (e rawEntry, rest []byte, err error) {
	mode, rest, ok := bytes.Cut(content, []byte(" "))
	name, rest, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 || len(rest) < 20 {
		return e, nil, malformed("a tree that ends within an entry")
	}
	if n, err := strconv.ParseUint(string(mode), 8, 32); err != nil || n == 0 || mode[0] == '0' {
		return e, nil, malformed("the mode %q in a tree", clip.Text(string(mode)))
	}
	if len(name) == 0 || bytes.ContainsRune(name, '/') || string(name) == "." || string(name) == ".." {
		return e, nil, malformed("the name %q in a tree", clip.Text(string(name)))
	}
	return rawEntry{mode, name, rest[:20]}, rest[20:], nil
}

// compareEntries orders the entries of a tree as Git does: a directory as if its name
// ended in a slash.
func compareEntries(a, b rawEntry) int {
	n := min(len(a.name), len(b.name))
	if c := bytes.Compare(a.name[:n], b.name[:n]); c != 0 {
		return c
	}
	rest := func(e rawEntry) []byte {
		if string(e.mode) == modeDir {
			return append(e.name[n:len(e.name):len(e.name)], '/')
		}
		return e.name[n:]
	}
	return bytes.Compare(rest(a), rest(b))
}
