// SPDX-License-Identifier: Apache-2.0

package account

import (
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// sides are endings of files that projects publish beside what they release, and
// that are no evidence of any form.
var sides = []struct{ suffix, what string }{
	{".asc", "a detached OpenPGP signature"},
	{".gpg", "a detached OpenPGP signature"},
	{".minisig", "a minisign signature"},
	{".sha256", "a checksum"}, {".sha256sum", "a checksum"}, {".sha512", "a checksum"}, {".sha512sum", "a checksum"},
	{".sha1", "a checksum"}, {".md5", "a checksum"},
	{".spdx.json", "a bill of materials"}, {".spdx", "a bill of materials"}, {".cdx.json", "a bill of materials"},
	{".cdx.xml", "a bill of materials"}, {".sbom.json", "a bill of materials"}, {".sbom", "a bill of materials"},
	{".cyclonedx.json", "a bill of materials"},
}

// maxNamed is how many of the others are named.
const maxNamed = 10

// sideOf says what a file is by its name, "" for one that stands for itself.
func sideOf(name string) string {
	lower := strings.ToLower(name)
	for _, s := range sides {
		if strings.HasSuffix(lower, s.suffix) && lower != s.suffix {
			return s.what
		}
	}
	return ""
}

// sideFiles says of every side file that is denied for want of evidence what it is,
// and how the others are judged without it.
func sideFiles(results []*release.Result) {
	if len(results) < 2 {
		return
	}
	var others []string
	for _, r := range results {
		if r.Class() == policy.ClassOK && len(others) < maxNamed {
			others = append(others, r.Artifact.Arg)
		}
	}
	for _, r := range results {
		what := sideOf(r.Artifact.Name)
		if r.Decision.Reason != policy.NoEvidence || what == "" {
			continue
		}
		text := fmt.Sprintf(
			"it seems to be %s, which nothing that was signed vouches for; to judge the others without it, name them", what,
		)
		if len(others) > 0 {
			text += ": " + strings.Join(others, " ")
		}
		if d := r.Decision.Detail; d != "" {
			text = d + "; " + text
		}
		r.Decision.Detail = text
	}
}
