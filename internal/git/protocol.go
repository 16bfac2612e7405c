// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// Git's protocol over HTTP, version 0, as far as a fetch without history needs it. Lines
// are looked at one by one: a server may send any number.
// https://git-scm.com/docs/http-protocol, https://git-scm.com/docs/pack-protocol

// Limits of what a server says.
const (
	maxAdvertised = 256 << 20 // of the list of refs
	maxWanted     = 100_000   // objects that are asked for at once
)

// advertisement is what is kept of the refs that a server has.
type advertisement struct {
	capabilities map[string]bool
	head         string // the ref that HEAD is; "" if the server does not say
	refs         map[string]ID
	tags         map[string]ID // what each leads to; nil if they are not wanted
}

// readAdvertisement reads the list of refs and keeps those that are wanted, and the
// tags, if they are.
func readAdvertisement(m *meter, r io.Reader, want func(ref string) bool, tags bool) (*advertisement, error) {
	a := &advertisement{refs: map[string]ID{}}
	if tags {
		a.tags = map[string]ID{}
	}
	lines := &lineReader{r: bufio.NewReaderSize(r, workStep)}
	for _, begins := range []string{"# service=git-upload-pack", ""} {
		if line, err := lines.next(); err != nil || begins == "" && len(line) > 0 ||
			!bytes.HasPrefix(line, []byte(begins)) {
			return nil, errors.Join(errors.New("the server does not answer as Git does"), err)
		}
	}
	for first := true; ; first = false {
		line, err := listLine(m, lines)
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			break
		}
		if first {
			ref, capabilities, ok := bytes.Cut(line, []byte{0})
			if !ok {
				return nil, malformed("the server names no capabilities")
			}
			if err := a.able(string(capabilities)); err != nil {
				return nil, err
			}
			line = ref
		}
		if err := a.line(m, line, want); err != nil {
			return nil, err
		}
	}
	if len(a.capabilities) == 0 {
		return nil, errors.New("the repository is empty")
	}
	return a, nil
}

// listLine returns the next line of the list of refs; after the last one it is empty.
func listLine(m *meter, lines *lineReader) ([]byte, error) {
	line, err := lines.next()
	if err == io.EOF {
		return nil, errors.New("the list of refs ends early")
	} else if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return line, m.work(int64(len(line)) + 4)
}

// line reads a line of the list of refs.
func (a *advertisement) line(m *meter, line []byte, want func(ref string) bool) error {
	if bytes.HasPrefix(line, []byte("shallow ")) {
		return nil
	}
	hash, name, ok := bytes.Cut(line, []byte(" "))
	if !ok || !isID(hash) {
		return malformed("the line %q in the list of refs", clip.Bytes(line))
	}
	return a.take(m, hash, name, want)
}

// able reads the server's capabilities.
func (a *advertisement) able(text string) error {
	a.capabilities = map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "symref":
			if ref, ok := strings.CutPrefix(value, "HEAD:"); ok {
				a.head = ref
			}
		case "object-format":
			if value != "sha1" {
				return fmt.Errorf("%w: its objects are named by %s", ErrUnsupported, clip.Text(value))
			}
		}
		a.capabilities[name] = true
	}
	return nil
}

// take keeps a ref if it is wanted.
func (a *advertisement) take(m *meter, hash, name []byte, want func(string) bool) error {
	name, peeled := bytes.CutSuffix(name, []byte("^{}"))
	if tag, ok := bytes.CutPrefix(name, []byte("refs/tags/")); ok && a.tags != nil {
		if _, again := a.tags[string(tag)]; !again {
			if err := m.hold(int64(len(tag)) + refOverhead); err != nil {
				return err
			}
		} else if !peeled {
			return nil
		}
		a.tags[string(tag)] = ID(hash)
		return nil
	}
	if !peeled && (string(name) == a.head || want(string(name))) {
		a.refs[string(name)] = ID(hash)
	}
	return nil
}

// discover asks a server for its refs.
func (f *fetcher) discover(ctx context.Context, want func(ref string) bool, tags bool) (*advertisement, error) {
	body, err := f.do(ctx, http.MethodGet, "/info/refs?service=git-upload-pack", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAdvertisement(f.m, body, want, tags)
}

// do asks the server and returns the body of what it answers.
func (f *fetcher) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, f.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "*/*")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		req.Header.Set("Accept", "application/x-git-upload-pack-result")
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the server answers %s", clip.Text(resp.Status))
	}
	if to := resp.Request.URL; method == http.MethodGet {
		base := *to
		base.RawQuery = ""
		f.address = strings.TrimSuffix(base.String(), "/info/refs")
	}
	return resp.Body, nil
}

// request returns what asks for a pack with objects, in the order of the protocol.
func (a *advertisement) request(agent string, wants []ID, blobless, shallow bool) []byte {
	var capabilities []string
	for _, c := range []string{"ofs-delta", "side-band-64k", "side-band", "no-progress"} {
		if a.capabilities[c] && (c != "side-band" || !a.capabilities["side-band-64k"]) {
			capabilities = append(capabilities, c)
		}
	}
	shallow = shallow && a.capabilities["shallow"]
	for name, on := range map[string]bool{"shallow": shallow, "filter": blobless} {
		if on {
			capabilities = append(capabilities, name)
		}
	}
	if a.capabilities["agent"] {
		capabilities = append(capabilities, "agent="+agent)
	}
	var out bytes.Buffer
	line := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		fmt.Fprintf(&out, "%04x%s", len(text)+4, text)
	}
	for i, id := range wants {
		if i == 0 {
			line("want %s %s\n", id, strings.Join(capabilities, " "))
		} else {
			line("want %s\n", id)
		}
	}
	if shallow {
		line("deepen 1\n")
	}
	if blobless {
		line("filter blob:none\n")
	}
	out.WriteString("0000")
	line("done\n")
	return out.Bytes()
}

// packReader reads the pack out of a server's answer: what the answer begins with, and
// what the server says in between, is passed over.
type packReader struct {
	m     *meter
	r     *bufio.Reader
	lines *lineReader
	raw   bool // without side band
	begun bool
	left  []byte
	end   error
}

func newPackReader(m *meter, r io.Reader, a *advertisement) *packReader {
	b := bufio.NewReaderSize(r, workStep)
	return &packReader{
		m: m, r: b, lines: &lineReader{r: b},
		raw: !a.capabilities["side-band-64k"] && !a.capabilities["side-band"],
	}
}

// Read implements io.Reader.
func (p *packReader) Read(b []byte) (int, error) {
	if p.raw && p.begun {
		return p.r.Read(b)
	}
	for len(p.left) == 0 {
		if p.end == nil {
			p.end = p.next()
		}
		if p.end != nil {
			return 0, p.end
		}
		if p.raw && p.begun {
			return p.r.Read(b)
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// next reads one line, and the pack's bytes that it may hold.
func (p *packReader) next() error {
	if p.raw {
		if head, err := p.r.Peek(4); err == nil && string(head) == "PACK" {
			p.begun = true
			return nil
		}
	}
	line, err := p.line()
	if err != nil {
		return err
	}
	switch {
	case len(line) == 0 && p.begun:
		return io.EOF
	case len(line) == 0, !p.begun && negotiates(line):
		return nil
	case p.raw:
		return malformed("the server answers %q", clip.Bytes(line))
	}
	switch line[0] {
	case 1:
		p.left, p.begun = line[1:], true
	case 2: // progress
	case 3:
		return fmt.Errorf("the server says %q", clip.Bytes(line[1:]))
	default:
		return malformed("the server answers %q", clip.Bytes(line))
	}
	return nil
}

// line returns the next line.
func (p *packReader) line() ([]byte, error) {
	if err := p.m.work(4); err != nil {
		return nil, err
	}
	line, err := p.lines.next()
	if err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	} else if err != nil {
		return nil, err
	}
	return line, p.m.work(int64(len(line)))
}

// negotiates reports whether a line says what the pack that follows is made from.
func negotiates(line []byte) bool {
	for _, word := range []string{"shallow ", "unshallow ", "NAK", "ACK "} {
		if bytes.HasPrefix(line, []byte(word)) {
			return true
		}
	}
	return false
}

// pack fetches objects, whose names are computed from what came.
func (f *fetcher) pack(ctx context.Context, a *advertisement, wants []ID, blobless, shallow bool) error {
	if len(wants) > maxWanted {
		return fmt.Errorf("%w: %d objects of one fetch", ErrTooMuchWork, len(wants))
	}
	body, err := f.do(ctx, http.MethodPost, "/git-upload-pack", a.request(f.agent, wants, blobless, shallow))
	if err != nil {
		return err
	}
	defer body.Close()
	return f.store.add(newPackReader(f.m, body, a))
}
