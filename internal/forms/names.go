// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"slices"
	"strings"
)

// Suffixes are the endings of the files that are looked for beside an artifact, in that
// order, and mayBe those of all files that may be evidence.
var Suffixes, mayBe = suffixes(readers)

func suffixes(readers []reader) (look, all []string) {
	add := func(to, more []string) []string {
		for _, s := range more {
			if !slices.Contains(to, s) {
				to = append(to, s)
			}
		}
		return to
	}
	for _, r := range readers {
		look, all = add(look, r.suffixes), add(add(all, r.suffixes), r.parts)
	}
	return look, all
}

// gathered are names of files that hold the evidence for many artifacts of a directory.
var gathered = []string{
	"multiple.intoto.jsonl", "attestations.intoto.jsonl", "attestations.jsonl", "provenance.intoto.jsonl",
}

// IsGathered reports whether a file holds the evidence for many artifacts of a directory by its
// name: one of slsa-github-generator or gh, or a packslip, of which a repository with several
// programs has one for each (https://packslip.dev/release/v1/).
func IsGathered(name string) bool {
	return slices.Contains(gathered, name) ||
		strings.HasPrefix(name, "packslip") && strings.HasSuffix(name, ".sigstore.json")
}

// IsDownload reports whether name is how `gh attestation download` calls the
// file with the attestations of the artifact with that SHA-256: "sha256:HEX.jsonl",
// or with '-' where ':' cannot stand in a name.
func IsDownload(name string) (hex string, ok bool) {
	rest, ok := strings.CutPrefix(name, "sha256")
	if !ok || len(rest) != 1+64+len(".jsonl") || rest[0] != ':' && rest[0] != '-' {
		return "", false
	}
	hex, ok = strings.CutSuffix(rest[1:], ".jsonl")
	return hex, ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// IsReserved reports whether a name is that of a bundle and of nothing else.
func IsReserved(name string) bool {
	return strings.HasSuffix(name, ".sigstore.json") || strings.HasSuffix(name, ".sigstore")
}

// MayBe reports whether a file may be evidence by its name.
func MayBe(name string) bool {
	_, download := IsDownload(name)
	return download ||
		slices.ContainsFunc(mayBe, func(s string) bool { return strings.HasSuffix(name, s) && name != s })
}

// Stems are the paths of the files that evidence of that path may be for.
func Stems(path string) []string {
	var out []string
	for _, s := range mayBe {
		if stem, ok := strings.CutSuffix(path, s); ok {
			out = append(out, stem)
		}
	}
	return out
}
