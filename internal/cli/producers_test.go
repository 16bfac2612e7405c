// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestProducers judges release folders as producers lay them out, in a directory and by the URL of
// the release: what is signed is allowed, what lies beside it by the kinds that the user names, and
// a file more, or a byte less, denies.
func TestProducers(t *testing.T) {
	linux, win := []byte("linux"), []byte("windows")
	sum := func(files map[string][]byte, prefix string) []byte { return sums(files, prefix) }
	wide := func(files map[string][]byte) []byte {
		var b bytes.Buffer
		for _, name := range slices.Sorted(maps.Keys(files)) {
			fmt.Fprintf(&b, "%x  %s\n", sha512.Sum512(files[name]), name)
		}
		return b.Bytes()
	}
	packet := base64.StdEncoding.EncodeToString(append([]byte{0xc2, 46, 4}, make([]byte, 45)...))
	armour := []byte("-----BEGIN PGP SIGNATURE-----\n\n" + packet + "\n=AbCd\n-----END PGP SIGNATURE-----\n")
	line := func(bundle []byte) []byte { return append(bytes.ReplaceAll(bundle, []byte("\n"), nil), '\n') }
	s := newShop(t)
	s.write("", map[string][]byte{"policy.toml": []byte(strings.Replace(accountPolicy,
		`["widget_*", "SHA256SUMS", "checksums.txt", "pkg:npm/widget@*"]`, `"any"`, 1))})
	both := map[string][]byte{"widget_linux.tar.gz": linux, "widget_windows.zip": win}
	one := map[string][]byte{"widget.tar.xz": linux}
	about := func(files map[string][]byte) []byte { // one statement about all of them
		var subjects []string
		for _, name := range slices.Sorted(maps.Keys(files)) {
			subjects = append(subjects, fmt.Sprintf(`{"name":%q,"digest":{"sha256":"%x"}}`, name, sha256.Sum256(files[name])))
		}
		r := s.workflow()
		r.Statement = []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",` +
			`"predicate":{},"subject":[` + strings.Join(subjects, ",") + `]}`)
		return s.inst.Sign(r)
	}
	for name, c := range map[string]struct {
		artifacts map[string][]byte
		beside    map[string][]byte
		flag      string
		exit      int
	}{
		"goreleaser": {artifacts: both, beside: map[string][]byte{
			"checksums.txt": sum(both, ""), "checksums.txt.sigstore.json": s.sign(sum(both, "")),
		}},
		"cargo-dist": {artifacts: one, flag: "checksums", beside: map[string][]byte{
			"widget.tar.xz.sigstore.json": s.sign(linux),
			"widget.tar.xz.sha256":        fmt.Appendf(nil, "%x *widget.tar.xz\n", sha256.Sum256(linux)),
			"sha256.sum":                  sum(one, ""), "dist-manifest.json": []byte("{}"),
			"dist-manifest.json.sigstore.json": s.sign([]byte("{}")),
		}},
		"cargo-dist, without the flag": {artifacts: one, exit: 1, beside: map[string][]byte{
			"widget.tar.xz.sigstore.json": s.sign(linux), "widget.tar.xz.sha256": sum(one, ""),
		}},
		"node": {artifacts: both, flag: "openpgp", beside: map[string][]byte{
			"SHASUMS256.txt": sum(both, ""), "SHASUMS256.txt.sigstore.json": s.sign(sum(both, "")), "SHASUMS256.txt.asc": armour,
		}},
		"yt-dlp": {artifacts: both, flag: "checksums", beside: map[string][]byte{
			"SHA2-256SUMS": sum(both, ""), "SHA2-256SUMS.sigstore.json": s.sign(sum(both, "")), "SHA2-512SUMS": wide(both),
		}},
		"slsa-github-generator": {artifacts: both, beside: map[string][]byte{"multiple.intoto.jsonl": line(about(both))}},
		"flux": {artifacts: both, beside: map[string][]byte{
			"widget_checksums.txt": sum(both, ""), "widget_checksums.txt.sigstore.json": s.sign(sum(both, "")),
			"provenance.intoto.jsonl": line(about(both)),
		}},
		"packslip": {artifacts: both, beside: map[string][]byte{"packslip.sigstore.json": about(both)}},
		"attest-build-provenance, saved": {
			artifacts: both, beside: map[string][]byte{"attestations.jsonl": line(about(both))},
		},
		"sha256sum dist/*": {artifacts: both, beside: map[string][]byte{
			"SHA256SUMS": sum(both, "dist/"), "SHA256SUMS.sigstore.json": s.sign(sum(both, "dist/")),
		}},
		"Maven": {artifacts: one, flag: "openpgp,checksums", beside: map[string][]byte{
			"widget.tar.xz.sigstore.json": s.sign(linux), "widget.tar.xz.asc": armour,
			"widget.tar.xz.sha512": fmt.Appendf(nil, "%x", sha512.Sum512(linux)),
		}},
		"Maven, with MD5": {artifacts: one, flag: "openpgp,checksums", exit: 1, beside: map[string][]byte{
			"widget.tar.xz.sigstore.json": s.sign(linux), "widget.tar.xz.md5": []byte("d41d8cd98f00b204e9800998ecf8427e"),
		}},
		"electron-builder": {artifacts: one, flag: "checksums", exit: 1, beside: map[string][]byte{
			"widget.tar.xz.sigstore.json": s.sign(linux), "latest.yml": []byte("version: 1\n"),
		}},
		"a list that nobody signed": {artifacts: both, flag: "checksums", exit: 1, beside: map[string][]byte{
			"checksums.txt": sum(both, ""),
		}},
	} {
		files := maps.Clone(c.artifacts)
		maps.Copy(files, c.beside)
		var args []string
		if c.flag != "" {
			args = []string{"--side-files", c.flag}
		}
		judge := func(files map[string][]byte) (codes [2]int, out string) {
			dir := t.TempDir()
			s.write(dir, files)
			s.publish(files)
			for i, what := range []string{dir, releaseURL} {
				var more string
				codes[i], more = s.run(append(args, what)...)
				out += more
			}
			return codes, out
		}
		if codes, out := judge(files); codes != [2]int{c.exit, c.exit} {
			t.Errorf("%s: exit %v\n%s", name, codes, out)
		}
		if c.exit != 0 {
			continue
		}
		more := maps.Clone(files)
		more["install.sh"] = []byte("#!/bin/sh\n")
		if codes, out := judge(more); codes != [2]int{1, 1} {
			t.Errorf("%s, with a script: exit %v\n%s", name, codes, out)
		}
		for a := range c.artifacts {
			changed := maps.Clone(files)
			changed[a] = append(slices.Clone(files[a]), '!')
			if codes, out := judge(changed); codes[0] == 0 || codes[1] == 0 {
				t.Errorf("%s, %s changed: exit %v\n%s", name, a, codes, out)
			}
		}
	}
}

// TestUnfound: evidence under a name by which none is looked for allows nothing, and is named.
func TestUnfound(t *testing.T) {
	s := newShop(t)
	for name, files := range map[string]map[string][]byte{
		"all.jsonl":         {"widget_1": []byte("one"), "all.jsonl": append(s.sign([]byte("one"), "widget_1"), '\n')},
		"signature.json":    {"widget_1": []byte("one"), "signature.json": s.sign([]byte("one"))},
		"widget.sigstore":   {"widget_1": []byte("one"), "widget.sigstore": s.sign([]byte("one"), "widget_1")},
		"all\x1b[2K.jsonl":  {"widget_1": []byte("one"), "all\x1b[2K.jsonl": append(s.sign([]byte("one"), "widget_1"), '\n')},
		"x/widget_1.bundle": {"widget_1": []byte("one"), "x/widget_1.bundle": s.sign([]byte("one"), "widget_1")},
	} {
		dir := t.TempDir()
		s.write(dir, files)
		code, out := s.run(dir)
		said := strings.ReplaceAll(filepath.Join(dir, name), "\x1b", `\x1b`) +
			" is signed evidence about it, and not called so"
		if code != 1 || !strings.Contains(out, said) {
			t.Errorf("%s: exit %d\n%s", name, code, out)
		}
		if code, out := s.run("-b", filepath.Join(dir, name), filepath.Join(dir, "widget_1")); code != 0 {
			t.Errorf("%s, named: exit %d\n%s", name, code, out)
		}
		s.write(dir, map[string][]byte{"widget_1": []byte("other")})
		if code, out := s.run(dir); code != 1 || strings.Contains(out, "signed evidence about it") {
			t.Errorf("%s, about something else: exit %d\n%s", name, code, out)
		}
	}
}
