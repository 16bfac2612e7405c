// SPDX-License-Identifier: Apache-2.0

// Package release judges artifacts: it finds the evidence for each, matches
// digests and names, has the evidence verified and asks the policy.
package release

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxArtifacts is the number of artifacts that one run judges at most.
const MaxArtifacts = 100_000

// Artifact is one thing to judge: a file, or a digest of something that is not
// at hand.
type Artifact struct {
	Arg     string          // as it is called in output
	Name    string          // name under which it is released; "" if unknown
	Path    string          // file; "" if only the digest is known
	Place   Place           // that holds the content as Name, if there is no Path
	Digests []policy.Digest // known without reading Path
	// Listed is the digest that a checksum file gives for this name; the file
	// must have it.
	Listed *Listing
	// Tag and Commit are set for a tag of a Git repository: the evidence must be
	// for this tag, and name no other commit.
	Tag, Commit string
	// Subject, if set, is the name that signed evidence must give to the artifact,
	// as whoever serves it could serve another one instead.
	Subject string
	// Resolved is set if whoever serves the artifact said what Name stands for, as
	// a registry does of a tag.
	Resolved bool
	// Err is set if the artifact cannot be judged at all.
	Err *Failure

	found  []*candidate // evidence that came with the artifact
	listed bool         // Place was listed
}

// Listing is an entry of a checksum file.
type Listing struct {
	Sums   *Artifact // the checksum file itself
	Digest policy.Digest
	// signed are the digests of the very bytes that the entry was read from:
	// what evidence for the checksum file must be about.
	signed []policy.Digest
}

// Failure is why something cannot be judged.
type Failure struct {
	Reason policy.Reason
	Detail string
}

func failf(r policy.Reason, format string, args ...any) *Failure {
	return &Failure{r, fmt.Sprintf(format, args...)}
}

// Error returns the detail.
func (f *Failure) Error() string { return f.Detail }

// ParseDigestArg reads "sha256:HEX", "sha384:HEX", "sha512:HEX", "gitCommit:HEX"
// or "gitTag:HEX", the id of a tag object, and reports whether s is such an argument at all: "sha256:"
// followed by something else is one, with an error.
func ParseDigestArg(s string) (policy.Digest, bool, error) {
	alg, _, ok := strings.Cut(s, ":")
	if !ok || !slices.Contains([]string{"sha256", "sha384", "sha512", "gitCommit", "gitTag"}, alg) {
		return policy.Digest{}, false, nil
	}
	if hex, tag := strings.CutPrefix(s, "gitTag:"); tag {
		d, err := policy.ParseDigest("gitCommit:" + hex) // the same form
		d.Alg = "gitTag"
		return d, true, err
	}
	d, err := policy.ParseDigest(s)
	return d, true, err
}

var hashes = map[string]func() hash.Hash{"sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}

// buffers are what files are read through.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// allHashes are the algorithms in which an artifact is digested whose content can
// be read but once.
var allHashes = []string{"sha256", "sha384", "sha512"}

// digestFile returns the digests of a regular file in the algorithms asked for,
// reading it once in constant memory.
func digestFile(path string, algs []string) ([]policy.Digest, error) {
	f, err := file.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return digestOf(f, algs)
}

func digestOf(r io.Reader, algs []string) ([]policy.Digest, error) {
	var hs []hash.Hash
	var ws []io.Writer
	for _, a := range algs {
		h := hashes[a]()
		hs, ws = append(hs, h), append(ws, h)
	}
	var w io.Writer
	if len(ws) == 1 {
		w = ws[0]
	} else {
		w = io.MultiWriter(ws...)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, *buf); err != nil {
		return nil, err
	}
	out := make([]policy.Digest, len(algs))
	for i, a := range algs {
		out[i] = policy.Digest{Alg: a, Hex: hex.EncodeToString(hs[i].Sum(nil))}
	}
	return out, nil
}

// Digests returns the digests of a regular file in the algorithms asked for.
func Digests(path string, algs []string) ([]policy.Digest, error) { return digestFile(path, algs) }

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

// Expand turns arguments into artifacts. A directory stands for every file in
// and below it that is no evidence, an OCI layout for its images, "LAYOUT@DIGEST"
// for one of them, a checksum file for itself and everything that it lists, and
// "refs/tags/NAME" for a tag of the Git repository in the directory repo, or in
// the working directory. With repo, a commit must be in its history. An argument
// that cannot be read becomes an artifact with Err.
func Expand(ctx context.Context, args []string, repo string) []*Artifact {
	var out []*Artifact
	for _, arg := range args {
		out = append(out, expand(ctx, arg, repo)...)
		if len(out) > MaxArtifacts {
			return []*Artifact{{Arg: arg, Err: failf(policy.ArtifactRead, "more than %d artifacts", MaxArtifacts)}}
		}
	}
	return out
}

func expand(ctx context.Context, arg, repo string) []*Artifact {
	bad := func(err error) []*Artifact {
		return []*Artifact{{Arg: arg, Err: failf(policy.ArtifactRead, "%s", err)}}
	}
	if d, ok, err := ParseDigestArg(arg); ok {
		if err != nil {
			return bad(err)
		}
		if d.Alg == "gitCommit" && repo != "" {
			return []*Artifact{expandCommit(ctx, arg, repo, d)}
		}
		return []*Artifact{{Arg: arg, Digests: []policy.Digest{d}}}
	}
	if strings.HasPrefix(arg, tagRef) {
		if repo == "" {
			repo = "."
		}
		return []*Artifact{expandTag(arg, repo)}
	}
	if dir, d, ok := cutLayout(arg); ok {
		return expandLayout(arg, dir, d)
	}
	info, err := os.Stat(arg)
	switch {
	case err != nil:
		return bad(err)
	case isLayout(arg):
		return expandLayout(arg, arg, policy.Digest{})
	case info.IsDir():
		return expandDir(arg)
	case !info.Mode().IsRegular():
		return bad(fmt.Errorf("%s is not a regular file", arg))
	case isSumsName(filepath.Base(arg)):
		return expandSums(arg)
	}
	return []*Artifact{{Arg: arg, Name: filepath.Base(arg), Path: arg}}
}

func expandDir(dir string) []*Artifact {
	var out []*Artifact
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			out = append(out, &Artifact{Arg: path, Err: failf(policy.ArtifactRead, "%s", err)})
		case len(out) > MaxArtifacts:
			return filepath.SkipAll
		case d.IsDir() || d.Type().IsRegular() && IsEvidence(path):
		case !d.Type().IsRegular():
			// Whatever a link points to is not what the directory holds.
			out = append(out, &Artifact{Arg: path, Err: failf(policy.ArtifactRead, "%s is not a regular file", path)})
		default:
			out = append(out, &Artifact{Arg: path, Name: d.Name(), Path: path})
		}
		return nil
	})
	switch {
	case err != nil:
		out = append(out, &Artifact{Arg: dir, Err: failf(policy.ArtifactRead, "%s", err)})
	case len(out) == 0:
		out = append(out, &Artifact{Arg: dir, Err: failf(policy.NoArtifacts, "the directory holds none")})
	}
	return out
}
