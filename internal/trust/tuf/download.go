// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	maxContinued = 8         // how often a download that breaks off is continued in one run
	copyBuffer   = 128 << 10 // bytes that are read at a time
)

// Opener is a source from which targets of any size are read.
type Opener interface {
	Source
	// Open returns the content of a target of size bytes from a byte on, or from its first byte if the source
	// has no parts; start says which. What is missing is an error that is fs.ErrNotExist.
	Open(ctx context.Context, path string, from, size int64) (body io.ReadCloser, start int64, err error)
}

// Partial is where a download is written to: what an earlier run wrote, from its first byte on.
type Partial interface {
	io.ReadWriteSeeker
	Truncate(size int64) error
}

// LocalError is the error of writing or reading a [Partial].
type LocalError struct{ Err error }

// Error is that of the file.
func (e *LocalError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the file.
func (e *LocalError) Unwrap() error { return e.Err }

// Download reads the content of a target that [Client.Find] returned into a file, of any size, and goes on
// from what the file holds, which is hashed again. It never reads more than the metadata says, and returns
// nil only if the file holds exactly what the metadata says, by length and every hash (5.7.3). What came
// is left in the file if the connection broke; if it is not what was announced, nothing is left. Progress,
// unless it is nil, is called with the number of bytes that are there. The sum is the SHA-256 of the content,
// whatever hashes the metadata has.
//
// The error wraps [ErrMismatch], is a [*LocalError], or says what the source said.
func (c *Client) Download(
	ctx context.Context, t TargetFile, to Partial, progress func(done int64),
) (sum [sha256.Size]byte, err error) {
	if c.targets == nil {
		return sum, errNotRefreshed
	}
	if err := checkName(t.Name); err != nil {
		return sum, err
	}
	if len(t.Hashes) == 0 {
		return sum, fmt.Errorf("%s: %w: no hash is known", clip.Text(t.Name), ErrMismatch)
	}
	source, ok := c.options.Source.(Opener)
	if !ok {
		return sum, fmt.Errorf("%s: it is not in the cache", clip.Text(t.Name))
	}
	if progress == nil {
		progress = func(int64) {}
	}
	d := &download{target: t, to: to, buffer: make([]byte, copyBuffer), progress: progress}
	open := func(ctx context.Context, from int64) (io.ReadCloser, int64, error) {
		return source.Open(ctx, c.targetPath(t), from, t.Length)
	}
	if err = d.run(ctx, open); err == nil {
		return [sha256.Size]byte(d.hashes["sha256"].Sum(nil)), nil
	}
	if !errors.As(err, new(*LocalError)) && errors.Is(err, ErrMismatch) {
		err = errors.Join(err, local(to.Truncate(0)))
	}
	return sum, fmt.Errorf("%s: %w", clip.Text(t.Name), err)
}

func local(err error) error {
	if err == nil {
		return nil
	}
	return &LocalError{err}
}

// download is a target that is being read.
type download struct {
	target   TargetFile
	to       Partial
	buffer   []byte
	progress func(int64)

	have   int64 // bytes that are in the file and in the hashes
	hashes map[string]hash.Hash
}

// run reads a target. What an earlier run left and turns out to be something else is forgotten once.
func (d *download) run(ctx context.Context, open func(context.Context, int64) (io.ReadCloser, int64, error)) error {
	if err := d.resume(ctx); err != nil {
		return err
	}
	kept := d.have
	for tries := 0; ; tries++ {
		before := d.have
		err := d.fill(ctx, open)
		if err == nil {
			err = d.check()
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case kept > 0 && errors.Is(err, ErrMismatch):
			kept = 0
			if err := d.restart(); err != nil {
				return err
			}
		case !errors.Is(err, errBrokeOff) || d.have <= before || tries >= maxContinued:
			return err
		}
	}
}

// begin starts to hash.
func (d *download) begin() {
	d.have, d.hashes = 0, map[string]hash.Hash{"sha256": sha256.New()}
	for alg := range d.target.Hashes {
		d.hashes[alg] = hashes[alg]()
	}
}

// restart forgets what is in the file.
func (d *download) restart() error {
	d.begin()
	_, err := d.to.Seek(0, io.SeekStart)
	return local(errors.Join(d.to.Truncate(0), err))
}

// resume hashes what is in the file. More than there can be is none of the target.
func (d *download) resume(ctx context.Context) error {
	size, err := d.to.Seek(0, io.SeekEnd)
	if err != nil {
		return local(err)
	}
	if size == 0 || size > d.target.Length {
		return d.restart()
	}
	d.begin()
	if _, err := d.to.Seek(0, io.SeekStart); err != nil {
		return local(err)
	}
	for d.have < size && ctx.Err() == nil {
		n, err := d.to.Read(d.buffer[:min(int64(len(d.buffer)), size-d.have)])
		d.hash(d.buffer[:n])
		if err != nil && !(err == io.EOF && d.have == size) {
			return local(err)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (d *download) hash(data []byte) {
	for _, h := range d.hashes {
		_, _ = h.Write(data)
	}
	d.have += int64(len(data))
	d.progress(d.have)
}

// errBrokeOff says that content broke off before all of it came, so that the rest may be asked for. Content that
// ends as whole and is shorter than announced is another one.
var errBrokeOff = errors.New("the content broke off")

// fill asks once for what is missing and takes it.
func (d *download) fill(ctx context.Context, open func(context.Context, int64) (io.ReadCloser, int64, error)) error {
	if d.have == d.target.Length {
		return nil
	}
	body, start, err := open(ctx, d.have)
	if errors.Is(err, web.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	switch start {
	case d.have:
	case 0:
		if err := d.restart(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: it begins at byte %d, not %d", ErrMismatch, start, d.have)
	}
	return d.take(ctx, body)
}

// take reads what is missing, and one byte more, which must not be there.
func (d *download) take(ctx context.Context, body io.Reader) error {
	for {
		left := d.target.Length - d.have
		n, err := body.Read(d.buffer[:min(int64(len(d.buffer)), left+1)])
		if int64(n) > left {
			return fmt.Errorf("%w: more than %d bytes", ErrMismatch, d.target.Length)
		}
		if _, werr := d.to.Write(d.buffer[:n]); werr != nil {
			return local(werr)
		}
		d.hash(d.buffer[:n])
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == io.EOF && d.have == d.target.Length:
			return nil
		case err == io.EOF:
			return fmt.Errorf("%w: %d bytes, not %d", ErrMismatch, d.have, d.target.Length)
		case errors.Is(err, web.ErrTooLarge):
			return fmt.Errorf("%w: %w", ErrMismatch, err)
		case err != nil:
			return fmt.Errorf("%w: %w", errBrokeOff, err)
		}
	}
}

func (d *download) check() error {
	if d.have != d.target.Length {
		return fmt.Errorf("%w: %d bytes, not %d", ErrMismatch, d.have, d.target.Length)
	}
	for _, alg := range slices.Sorted(maps.Keys(d.target.Hashes)) {
		if !bytes.Equal(d.hashes[alg].Sum(nil), d.target.Hashes[alg]) {
			return fmt.Errorf("%w: another %s", ErrMismatch, alg)
		}
	}
	return nil
}

// Same returns nil if what a reader has is the content of the target, and not more. It reads no more than that.
func (t TargetFile) Same(ctx context.Context, r io.Reader) error {
	d := &download{target: t, to: discard{}, buffer: make([]byte, copyBuffer), progress: func(int64) {}}
	if len(t.Hashes) == 0 {
		return fmt.Errorf("%w: no hash is known", ErrMismatch)
	}
	if err := d.restart(); err != nil {
		return err
	}
	if err := d.take(ctx, r); err != nil {
		return err
	}
	return d.check()
}

// Compare returns why a source does not have a target of any size; nil if it has it.
func (c *Client) Compare(ctx context.Context, t TargetFile) error {
	_, err := c.Download(ctx, t, discard{}, nil)
	return err
}

// discard is where content is read to that is only compared.
type discard struct{}

func (discard) Read([]byte) (int, error)       { return 0, io.EOF }
func (discard) Write(p []byte) (int, error)    { return len(p), nil }
func (discard) Seek(int64, int) (int64, error) { return 0, nil }
func (discard) Truncate(int64) error           { return nil }
