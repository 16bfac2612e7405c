// SPDX-License-Identifier: Apache-2.0

// Package release judges artifacts: it finds the evidence for each, matches
// digests and names, has the evidence verified and asks the policy.
package release

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// MaxArtifacts is the number of artifacts that one run judges at most: the longest checksum file
// (sums.MaxEntries) with itself and what lies beside it. What it says of each has to fit into its budget.
const MaxArtifacts = 110_000

// Artifact is one thing to judge: a file, or a digest of something that is not
// at hand.
type Artifact struct {
	Arg     string          // as it is called in output
	Name    string          // name under which it is released; "" if unknown
	Path    string          // file; "" if only the digest is known
	Place   Place           // that holds the content as Name, if there is no Path
	Digests []policy.Digest // known without reading Path
	// Listed is what a checksum file gives for this name; the file must have these
	// digests.
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
	// Expected is set if the user said what the artifact is called: Name counts for
	// it wherever it comes from.
	Expected bool
	// Err is set if the artifact cannot be judged at all.
	Err *Failure

	parts   map[policy.Digest]bool // of an image: the manifests and indexes that it consists of
	partOf  policy.Digest          // of an image that was named: the index that leads to it; zero for none
	found   []*candidate           // evidence that came with the artifact
	listed  bool                   // Place was listed
	content content
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

// allHashes are the algorithms in which an artifact is digested whose content can
// be read but once.
var allHashes = []string{"sha256", "sha384", "sha512"}
