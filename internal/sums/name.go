// SPDX-License-Identifier: Apache-2.0

package sums

import (
	"slices"
	"strings"
)

// stems are endings of a list with the digests of one file, and the algorithm that they name.
var stems = map[string]string{
	".sha256": "sha256", ".sha256sum": "sha256", ".sha256sums": "sha256",
	".sha384": "sha384", ".sha384sum": "sha384",
	".sha512": "sha512", ".sha512sum": "sha512", ".sha512sums": "sha512",
}

// StemOf returns the file whose list a name is, "" if it says none: widget.tar.gz of
// widget.tar.gz.sha256.
func StemOf(base string) string {
	stem, _ := stemOf(base)
	return stem
}

func stemOf(base string) (stem, alg string) {
	lower := strings.TrimSuffix(strings.ToLower(base), ".txt")
	for suffix, alg := range stems {
		if cut, ok := strings.CutSuffix(lower, suffix); ok && cut != "" {
			return base[:len(cut)], alg
		}
	}
	return "", ""
}

// words are those that a list is called by.
var words = func() map[string]bool {
	out := map[string]bool{}
	for _, w := range []string{
		"checksum", "checksums", "sum", "sums", "shasum", "shasums", "digest", "digests", "hash", "hashes",
	} {
		out[w] = true
	}
	for _, bits := range []string{"256", "384", "512"} {
		for _, after := range []string{"sum", "sums", "checksum", "checksums"} {
			out["sha"+bits+after] = true
		}
		out["sha"+bits], out["shasum"+bits], out["shasums"+bits] = true, true, true
	}
	return out
}()

// Called reports whether a file may be a list by its name: SHA256SUMS, SHASUMS256.txt,
// checksums_sha256.txt, sha256.sum, SHA256SUMS-1.2.3, widget.tar.gz.sha256 and the like. The
// name ends in such a word, in a version after it, or in ".txt" after that.
func Called(base string) bool {
	if StemOf(base) != "" {
		return true
	}
	parts := split(base)
	for len(parts) > 1 && isVersion(parts[len(parts)-1]) {
		parts = parts[:len(parts)-1]
	}
	return words[parts[len(parts)-1]]
}

// Named reports whether a file has one of the names under which nothing but a list is
// expected: SHA256SUMS, checksums.txt, widget_1.0_checksums.txt and the like.
func Named(base string) bool {
	parts := split(base)
	last := parts[len(parts)-1]
	several := strings.HasSuffix(last, "sums") || strings.Contains(last, "sums2")
	return last == "checksums" || words[last] && strings.HasPrefix(last, "sha") &&
		(several || len(parts) == 1 && strings.HasSuffix(last, "sum"))
}

// spellings of an algorithm as one word.
var spellings = strings.NewReplacer(
	"sha-256", "sha256", "sha2-256", "sha256", "sha-384", "sha384", "sha2-384", "sha384", "sha-512", "sha512",
	"sha2-512", "sha512",
)

// split cuts a name into at least one word, without ".txt".
func split(base string) []string {
	name := spellings.Replace(strings.TrimSuffix(strings.ToLower(base), ".txt"))
	if parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("._- ", r) }); len(parts) > 0 {
		return parts
	}
	return []string{name}
}

// isVersion reports whether a word is part of a version: 1, v2, rc1, beta.
func isVersion(word string) bool {
	word = strings.TrimPrefix(word, "v")
	for _, pre := range []string{"rc", "beta", "alpha", "pre"} {
		if after, ok := strings.CutPrefix(word, pre); ok {
			return strings.Trim(after, "0123456789") == ""
		}
	}
	return word != "" && strings.Trim(word, "0123456789") == ""
}

// maxTitle is how long a title is at most, in bytes.
const maxTitle = 200

// isTitle reports whether a line is the title of a list: it speaks of checksums or of an
// algorithm, and names no file. Such a line vouches for nothing.
func isTitle(text string) bool {
	fields := strings.Fields(text)
	if len(text) > maxTitle || len(fields) == 0 {
		return false
	}
	speaks := false
	for _, f := range fields {
		f = strings.ToLower(strings.Trim(f, ":()[],*=-&"))
		word := strings.ReplaceAll(f, "-", "")
		switch {
		case f == "", isNumbered(f):
		case words[word], word == "sha1", word == "sha2", word == "md5", word == "sha2256", word == "sha2512":
			speaks = true
		case strings.Trim(f, "abcdefghijklmnopqrstuvwxyz-") != "" || len(f) >= 32:
			return false
		}
	}
	return speaks
}

// isNumbered reports whether a word is a version such as v1.2.3-rc.1 or a date.
func isNumbered(word string) bool {
	parts := strings.FieldsFunc(word, func(r rune) bool { return r == '.' || r == '-' })
	return len(word) < 32 && len(parts) > 0 && !slices.ContainsFunc(parts, func(p string) bool { return !isVersion(p) })
}

// isUnderline reports whether a line does nothing but underline the one before.
func isUnderline(text string) bool { return len(text) >= 3 && strings.Trim(text, "=-") == "" }
