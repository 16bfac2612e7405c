// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/policy"
)

// MaxSumsBytes is the largest checksum file that is read.
const MaxSumsBytes = 16 << 20

// isSumsName reports whether a file is a checksum file by its name: SHA256SUMS,
// checksums.txt, widget_1.0_checksums.txt and the like.
func isSumsName(base string) bool {
	name := strings.TrimSuffix(strings.ToLower(base), ".txt")
	for _, alg := range []string{"sha256", "sha384", "sha512"} {
		if name == alg+"sum" || endsInWord(name, alg+"sums") {
			return true
		}
	}
	return endsInWord(name, "checksums")
}

// endsInWord reports whether a name is a word or ends in it, after a separator.
func endsInWord(name, word string) bool {
	before, ok := strings.CutSuffix(name, word)
	return ok && (before == "" || strings.ContainsAny(before[len(before)-1:], "._-"))
}

// IsSums reports whether an argument is a checksum file, whose lines are inputs.
func IsSums(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular() && isSumsName(filepath.Base(arg))
}

// sum is one line of a checksum file.
type sum struct {
	name   string
	digest policy.Digest
}

// algByLen tells the algorithm by the number of hex digits.
var algByLen = map[int]string{64: "sha256", 96: "sha384", 128: "sha512"}

// parseSums reads a checksum file as sha256sum(1) writes it, in its plain and
// its "--tag" form. Every line must be understood, no name may stand twice, and
// names are relative paths without dot segments: a list of which a part was
// skipped would vouch for less than it seems to.
func parseSums(data []byte) ([]sum, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("not UTF-8")
	}
	var out []sum
	seen := map[string]bool{}
	i := -1
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		i++
		line = strings.TrimSuffix(line, "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseSum(line)
		if err == nil {
			err = checkSumName(s.name)
		}
		if err == nil && seen[s.name] {
			err = fmt.Errorf("%q stands twice", s.name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		seen[s.name] = true
		if out = append(out, s); len(out) > MaxArtifacts {
			return nil, fmt.Errorf("it lists more than %d files", MaxArtifacts)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it lists nothing")
	}
	return out, nil
}

func parseSum(line string) (sum, error) {
	if alg, rest, ok := strings.Cut(line, " ("); ok { // BSD: SHA256 (name) = hex
		if i := strings.LastIndex(rest, ") = "); i >= 0 {
			return newSum(rest[:i], rest[i+len(") = "):], strings.ToLower(strings.ReplaceAll(alg, "-", "")))
		}
	}
	if strings.HasPrefix(line, `\`) {
		return sum{}, fmt.Errorf("names with escapes are not supported")
	}
	hx, name, ok := strings.Cut(line, " ")
	if !ok || name == "" {
		return sum{}, fmt.Errorf(`not "<hex>  <name>"`)
	}
	switch name[0] {
	case ' ', '*':
		name = name[1:]
	default:
		return sum{}, fmt.Errorf(`not "<hex>  <name>"`)
	}
	return newSum(name, hx, "")
}

func newSum(name, hx, alg string) (sum, error) {
	hx = strings.ToLower(hx)
	want := algByLen[len(hx)]
	if want == "" || alg != "" && alg != want || strings.Trim(hx, "0123456789abcdef") != "" {
		return sum{}, fmt.Errorf("not a SHA-256, SHA-384 or SHA-512 digest")
	}
	return sum{strings.TrimPrefix(name, "./"), policy.Digest{Alg: want, Hex: hx}}, nil
}

func checkSumName(name string) error {
	if name == "" || strings.HasPrefix(name, "/") || strings.Contains(name, `\`) || filepath.VolumeName(name) != "" {
		return fmt.Errorf("%q is not a relative path", name)
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return fmt.Errorf("%q is not a plain path", name)
		}
	}
	return nil
}
