// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/policy"
)

// content is what was read of an artifact. Every root, every digest algorithm and
// whatever keeps the bytes share it (SPEC 15 rule 5): what a place serves is read
// once, and each reading of a file must have the SHA-256 of the first.
type content struct {
	mu      sync.Mutex
	digests []policy.Digest
	failed  *Failure // a failed or contradictory reading stays one
	seen    *seen    // the file as it was read
	first   string   // hex SHA-256 of an earlier reading that decided nothing; "" without one
	size    int64    // bytes, of the reading that gave the first digests
}

// seen tells a file that was read from another one under its path.
type seen struct {
	info os.FileInfo
	size int64
	time time.Time
}

func look(info os.FileInfo) *seen { return &seen{info, info.Size(), info.ModTime()} }

func (s *seen) same(info os.FileInfo) bool {
	return os.SameFile(s.info, info) && s.size == info.Size() && s.time.Equal(info.ModTime())
}

// Digest returns the artifact's digests in the algorithms asked for, SHA-256 and
// whatever else is known. It reads the content if it has to. The error is a
// [*Failure]: ArtifactRead, ArtifactChanged or what the place says.
func (a *Artifact) Digest(ctx context.Context, algs ...string) ([]policy.Digest, error) {
	if a.Path == "" && a.Place == nil {
		return a.Digests, nil
	}
	c := &a.content
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return nil, c.failed
	}
	var missing []string
	for _, alg := range append([]string{"sha256"}, algs...) {
		if hashes[alg] != nil && digestIn(c.digests, alg) == "" && !slices.Contains(missing, alg) {
			missing = append(missing, alg)
		}
	}
	if len(missing) == 0 {
		return slices.Clone(c.digests), nil
	}
	resume := budget.Pause(ctx) // content has a rate of its own
	defer resume()
	var err error
	if a.Path != "" {
		err = c.readFile(ctx, a.Path, missing)
	} else {
		err = c.readPlace(ctx, a.Place, a.Name)
	}
	if err != nil {
		// An interrupted reading says nothing about the content.
		if ctx.Err() != nil {
			return nil, failf(policy.Interrupted, "%s", context.Cause(ctx))
		}
		c.failed = failure(err, policy.ArtifactRead)
		return nil, c.failed
	}
	return slices.Clone(c.digests), nil
}

// readFile adds digests of a file, and of its SHA-256 once more if that is known.
func (c *content) readFile(ctx context.Context, path string, algs []string) error {
	f, err := file.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if !slices.Contains(algs, "sha256") {
		algs = append(algs, "sha256")
	}
	digests, size, err := digestOf(watched(ctx, f, path, before.Size()), algs)
	if err != nil {
		return err
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	now := look(before)
	if !now.same(after) {
		return failf(policy.ArtifactChanged, "%s was written to while it was read", path)
	}
	sum := digestIn(digests, "sha256")
	if old := digestIn(c.digests, "sha256"); old != "" && old != sum || c.first != "" && c.first != sum {
		return failf(policy.ArtifactChanged, "%s was not the same each time that it was read", path)
	}
	c.add(digests)
	c.seen, c.size = now, size
	return nil
}

// readPlace reads what a place serves, once and in every algorithm.
func (c *content) readPlace(ctx context.Context, p Place, name string) error {
	r, err := p.Open(ctx, name)
	if err != nil {
		return failure(err, policy.ReleaseUnreachable)
	}
	var length int64 // unless it is said, it is not known
	if d, ok := r.(interface{ Length() int64 }); ok {
		length = d.Length()
	}
	digests, size, err := digestOf(watched(ctx, r, name, length), allHashes)
	if e := r.Close(); err == nil {
		err = e
	}
	if err != nil {
		return failure(err, policy.ReleaseUnreachable)
	}
	if c.first != "" && c.first != digestIn(digests, "sha256") {
		return failf(policy.ArtifactChanged, "%s was not the same each time that it was fetched", p.URL(name))
	}
	c.add(digests)
	c.size = size
	return nil
}

func (c *content) add(digests []policy.Digest) {
	for _, d := range digests {
		if !slices.Contains(c.digests, d) {
			c.digests = append(c.digests, d)
		}
	}
}

// Unchanged returns a failure with reason ArtifactChanged if the file under the
// artifact's path is no longer the one that was read.
func (a *Artifact) Unchanged() *Failure {
	c := &a.content
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.Path == "" || c.seen == nil {
		return nil
	}
	info, err := os.Stat(a.Path)
	if err == nil && c.seen.same(info) {
		return nil
	}
	return failf(policy.ArtifactChanged, "%s was replaced or written to while it was judged", a.Path)
}

var errClosed = failf(policy.Internal, "it was judged already")

// Close drops what only judging needs. The artifact cannot be judged again.
func (a *Artifact) Close() {
	a.Listed, a.Place, a.found, a.parts = nil, nil, nil, nil
	a.Err = errClosed
	a.content.mu.Lock()
	defer a.content.mu.Unlock()
	a.content.seen, a.content.digests = nil, nil
}

// digestIn returns the hex digest in that algorithm, "" if there is none.
func digestIn(digests []policy.Digest, alg string) string {
	for _, d := range digests {
		if d.Alg == alg {
			return d.Hex
		}
	}
	return ""
}

// ctxReader ends when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// readingKey is where a context has who is told how far content was read.
type readingKey struct{}

// Reading lets somebody be told how far the content of artifacts was read: how many bytes of how
// many, 0 if that is not known, and in the end as many of as many.
func Reading(ctx context.Context, tell func(name string, done, total int64)) context.Context {
	return context.WithValue(ctx, readingKey{}, tell)
}

// watched returns a reader of content that ends when its context does, and tells how far it is.
func watched(ctx context.Context, r io.Reader, name string, total int64) io.Reader {
	tell, _ := ctx.Value(readingKey{}).(func(string, int64, int64))
	if tell == nil {
		return ctxReader{ctx, r}
	}
	return &tellingReader{ctxReader{ctx, r}, func(done, of int64) { tell(name, done, of) }, total, 0, 0}
}

// tellEvery is after how many bytes of content somebody is told again.
const tellEvery = 4 << 20

// tellingReader tells how far it is.
type tellingReader struct {
	ctxReader
	tell              func(done, total int64)
	total, done, told int64
}

func (r *tellingReader) Read(p []byte) (int, error) {
	n, err := r.ctxReader.Read(p)
	r.done += int64(n)
	switch {
	case err != nil && r.told > 0:
		r.tell(r.done, r.done)
	case err == nil && r.done-r.told >= tellEvery:
		r.told = r.done
		r.tell(r.done, r.total)
	}
	return n, err
}

func digestOf(r io.Reader, algs []string) (_ []policy.Digest, size int64, err error) {
	var hs []hash.Hash
	for _, a := range algs {
		hs = append(hs, hashes[a]())
	}
	err = eachBlock(r, func(data []byte) {
		size += int64(len(data))
		if len(hs) == 1 || len(data) < blockBytes {
			for _, h := range hs {
				h.Write(data)
			}
			return
		}
		side(workers(), len(hs), func(i int) { hs[i].Write(data) })
	})
	if err != nil {
		return nil, 0, err
	}
	out := make([]policy.Digest, len(algs))
	for i, a := range algs {
		out[i] = policy.Digest{Alg: a, Hex: hex.EncodeToString(hs[i].Sum(nil))}
	}
	return out, size, nil
}

// length returns how long the content is that has the artifact's digests. It must have been read.
func (a *Artifact) length() int64 {
	a.content.mu.Lock()
	defer a.content.mu.Unlock()
	return a.content.size
}

// Digests returns the digests of a regular file in the algorithms asked for, and
// its SHA-256, all of one reading.
func Digests(path string, algs []string) ([]policy.Digest, error) {
	return (&Artifact{Path: path}).Digest(context.Background(), algs...)
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// digestBytes returns the digests of data in every algorithm.
func digestBytes(data []byte) []policy.Digest {
	var out []policy.Digest
	for _, alg := range allHashes {
		h := hashes[alg]()
		h.Write(data)
		out = append(out, policy.Digest{Alg: alg, Hex: hex.EncodeToString(h.Sum(nil))})
	}
	return out
}
