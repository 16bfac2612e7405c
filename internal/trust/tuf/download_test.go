// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/web"
)

// reply is what a source answers once.
type reply struct {
	start int64
	body  io.Reader
	err   error
}

// scripted answers from a list, and says from where it was asked.
type scripted struct {
	*tuftest.Sim
	replies []reply
	asked   []int64
}

func (s *scripted) Open(_ context.Context, _ string, from, _ int64) (io.ReadCloser, int64, error) {
	s.asked = append(s.asked, from)
	if len(s.replies) == 0 {
		return nil, 0, errBroken
	}
	r := s.replies[0]
	s.replies = s.replies[1:]
	if r.err != nil {
		return nil, 0, r.err
	}
	return io.NopCloser(r.body), r.start, nil
}

// full is a file on a disk that is full after some bytes.
type full struct {
	*os.File
	left int
}

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n, _ := f.File.Write(p[:f.left])
		f.left = 0
		return n, errFull
	}
	f.left -= len(p)
	return f.File.Write(p)
}

// TestDownload: what is in the file after a download is what is listed, or what may go on later.
func TestDownload(t *testing.T) {
	const content = "content of an artifact"
	text := func(s string) io.Reader { return strings.NewReader(s) }
	breaks := func(s string) io.Reader { return io.MultiReader(text(s), iotest.ErrReader(errBroken)) }
	endless := func(s string) io.Reader { return io.MultiReader(text(s), bytes.NewReader(make([]byte, 1<<20))) }
	for name, c := range map[string]struct {
		kept    string // by a run before
		replies []reply
		room    int // bytes until the disk is full; 0 for enough
		want    error
		left    string  // in the file
		asked   []int64 // from which byte
	}{
		"all of it": {replies: []reply{{body: text(content)}}, left: content, asked: []int64{0}},
		"byte by byte": {
			replies: []reply{{body: iotest.OneByteReader(text(content))}}, left: content, asked: []int64{0},
		},
		"data with the end": {
			replies: []reply{{body: iotest.DataErrReader(text(content))}}, left: content, asked: []int64{0},
		},
		"kept as a whole": {kept: content, left: content},
		"goes on": {
			kept: content[:7], replies: []reply{{7, text(content[7:]), nil}}, left: content, asked: []int64{7},
		},
		"no parts": {kept: content[:7], replies: []reply{{0, text(content), nil}}, left: content, asked: []int64{7}},
		"breaks off": {
			replies: []reply{{0, breaks(content[:3]), nil}, {3, breaks(content[3:9]), nil}, {9, text(content[9:]), nil}},
			left:    content, asked: []int64{0, 3, 9},
		},
		"breaks off without parts": {
			replies: []reply{{0, breaks(content[:3]), nil}, {0, text(content), nil}}, left: content, asked: []int64{0, 3},
		},
		"breaks off for good": {
			replies: []reply{{0, breaks(content[:3]), nil}, {3, breaks(""), nil}}, want: errBroken, left: content[:3],
			asked: []int64{0, 3},
		},
		"breaks off, then nothing": {
			replies: []reply{{0, breaks(content[:3]), nil}, {err: errBroken}}, want: errBroken, left: content[:3],
			asked: []int64{0, 3},
		},
		"cannot be asked": {
			kept: content[:7], replies: []reply{{err: errBroken}}, want: errBroken, left: content[:7], asked: []int64{7},
		},
		"other content": {
			replies: []reply{{0, text("content of an ARTIFACT"), nil}}, want: ErrMismatch, asked: []int64{0},
		},
		"too short":         {replies: []reply{{0, text(content[:9]), nil}}, want: ErrMismatch, asked: []int64{0}},
		"one byte more":     {replies: []reply{{0, text(content + "x"), nil}}, want: ErrMismatch, asked: []int64{0}},
		"endless":           {replies: []reply{{0, endless(content), nil}}, want: ErrMismatch, asked: []int64{0}},
		"too large is said": {replies: []reply{{err: web.ErrTooLarge}}, want: ErrMismatch, asked: []int64{0}},
		"begins elsewhere":  {replies: []reply{{5, text(content[5:]), nil}}, want: ErrMismatch, asked: []int64{0}},
		"begins behind": {
			kept: content[:7], replies: []reply{{9, text(content[9:]), nil}, {0, text(content), nil}}, left: content,
			asked: []int64{7, 0},
		},
		"kept too much": {
			kept: content + "x", replies: []reply{{0, text(content), nil}}, left: content, asked: []int64{0},
		},
		"kept something bad": {
			kept: "CONTENT", replies: []reply{{7, text(content[7:]), nil}, {0, text(content), nil}}, left: content,
			asked: []int64{7, 0},
		},
		"kept bad as a whole": {
			kept: strings.ToUpper(content), replies: []reply{{0, text(content), nil}}, left: content, asked: []int64{0},
		},
		"kept bad, served bad": {
			kept: "CONTENT", replies: []reply{{7, text(content[7:]), nil}, {0, text(strings.ToUpper(content)), nil}},
			want: ErrMismatch, asked: []int64{7, 0},
		},
		"kept good, served bad": {
			kept: content[:7], replies: []reply{{7, text(strings.ToUpper(content[7:])), nil},
				{0, text(strings.ToUpper(content)), nil}},
			want: ErrMismatch, asked: []int64{7, 0},
		},
		"a full disk": {
			replies: []reply{{0, text(content), nil}}, room: 5, want: errFull, left: content[:5], asked: []int64{0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := tuftest.New(t)
			s.Targets["targets"].Signed.Version++
			s.Add("targets", "dir/artifact", content)
			s.Publish()
			source := &scripted{Sim: s, replies: c.replies}
			o := options(s)
			o.Source = source
			client, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			target, err := client.Find(t.Context(), "dir/artifact")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "partial")
			if err := os.WriteFile(path, []byte(c.kept), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var to Partial = f
			if c.room > 0 {
				to = &full{f, c.room}
			}
			last := int64(0)
			sum, err := client.Download(t.Context(), target, to, func(have int64) { last = have })
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if own := errors.As(err, new(*LocalError)); own != (c.room > 0) {
				t.Errorf("an error of this machine: %v", own)
			}
			data, err := os.ReadFile(path)
			if err != nil || string(data) != c.left {
				t.Errorf("%q is left, not %q: %v", data, c.left, err)
			}
			if fmt.Sprint(source.asked) != fmt.Sprint(c.asked) {
				t.Errorf("asked from %d, not %d", source.asked, c.asked)
			}
			if c.want == nil && (last != int64(len(content)) || sum != sha256.Sum256([]byte(content))) {
				t.Errorf("told %d, %x", last, sum)
			}
		})
	}
}

// TestDownloadSum: whatever hashes the metadata has, all of them are compared, and the SHA-256 is returned.
func TestDownloadSum(t *testing.T) {
	short, long := sha256.Sum256([]byte("x")), sha512.Sum512([]byte("x"))
	bad := bytes.Repeat([]byte{1}, 64)
	for name, c := range map[string]struct {
		hashes map[string][]byte
		ok     bool
	}{
		"both":             {map[string][]byte{"sha256": short[:], "sha512": long[:]}, true},
		"the long one":     {map[string][]byte{"sha512": long[:]}, true},
		"a bad long one":   {map[string][]byte{"sha256": short[:], "sha512": bad}, false},
		"a bad short one":  {map[string][]byte{"sha256": bad[:32], "sha512": long[:]}, false},
		"none":             {nil, false},
		"a name that goes": {map[string][]byte{"sha256": short[:]}, false},
	} {
		s := tuftest.New(t)
		client, err := New(options(s))
		if err != nil {
			t.Fatal(err)
		}
		target := TargetFile{Name: "x", Length: 1, Hashes: c.hashes}
		if name == "a name that goes" {
			target.Name = "../x"
		}
		if _, err := client.Download(t.Context(), target, discard{}, nil); !errors.Is(err, errNotRefreshed) {
			t.Errorf("before a refresh: %v", err)
		}
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Content[client.targetPath(TargetFile{Name: "x", Hashes: c.hashes})] = []byte("x")
		sum, err := client.Download(t.Context(), target, discard{}, nil)
		if (err == nil) != c.ok || c.ok && sum != short {
			t.Errorf("%s: %x, %v", name, sum, err)
		}
		if err := target.Same(t.Context(), strings.NewReader("x")); name != "a name that goes" && (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err := target.Same(t.Context(), strings.NewReader("xx")); err == nil {
			t.Errorf("%s: more is the same", name)
		}
	}
}

// TestOpen: a web server and a directory give what follows the first bytes.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a%b"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	client, err := web.New(server.URL, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Opener{"web": HTTP(client, client.Via()),
		"directory": FS(os.DirFS(dir), os.DirFS(dir))} {
		body, start, err := s.Open(t.Context(), "a%b", 3, 7)
		if err != nil {
			t.Fatal(name, err)
		}
		data, err := io.ReadAll(body)
		if start != 3 || string(data) != "tent" || err != nil {
			t.Errorf("%s: %d, %q, %v", name, start, data, err)
		}
		body.Close()
		if _, _, err := s.Open(t.Context(), "b", 0, 7); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
