// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/report"
)

// TestSideFiles: what nobody signed lies beside what is allowed only if the user names its
// kind, it belongs to a file that is allowed, and it is in whole of its kind; in a directory and
// in a release.
func TestSideFiles(t *testing.T) {
	art := []byte("widget")
	packet := append([]byte{0xc2, 101, 4}, make([]byte, 100)...)
	block := func(body string) []byte {
		text := base64.StdEncoding.EncodeToString(packet)
		text = text[:64] + "\n" + text[64:128] + "\n" + text[128:] + "\n" + body
		return []byte("-----BEGIN PGP SIGNATURE-----\n\n" + text + "=AbCd\n-----END PGP SIGNATURE-----\n")
	}
	sig := []byte(base64.StdEncoding.EncodeToString(make([]byte, 64)) + "\n")
	line := func(name string) []byte { return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(art), name) }
	script := []byte("#!/bin/sh\nid\n")
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	const all = "openpgp,signature,certificate,checksums"
	for name, c := range map[string]struct {
		files map[string][]byte
		flag  string // of the kinds; none without it
		exit  int
		says  string
	}{
		"a signature of gpg": {files: map[string][]byte{"widget_1.asc": block("")}, flag: "openpgp"},
		"without the flag": {
			files: map[string][]byte{"widget_1.asc": block("")}, exit: 1, says: "--side-files openpgp",
		},
		"another kind": {
			files: map[string][]byte{"widget_1.asc": block("")}, flag: "checksums", exit: 1, says: "--side-files openpgp",
		},
		"of no file here": {files: map[string][]byte{"widget_3.asc": block("")}, flag: all, exit: 1},
		"of itself":       {files: map[string][]byte{"widget_1.asc.asc": block("")}, flag: all, exit: 1},
		"of one that is denied": {
			files: map[string][]byte{"widget_2": []byte("x"), "widget_2.asc": block("")}, flag: all, exit: 1,
		},
		"an armour with a payload": {
			files: map[string][]byte{"widget_1.asc": block("id\n")}, flag: all, exit: 1,
			says: "it is no side file of the kind openpgp",
		},
		"a script called like a signature":  {files: map[string][]byte{"widget_1.asc": script}, flag: all, exit: 1},
		"a bare signature":                  {files: map[string][]byte{"widget_1.sig": sig}, flag: "signature"},
		"a bare signature without the flag": {files: map[string][]byte{"widget_1.sig": sig}, exit: 1},
		"a script called .sig":              {files: map[string][]byte{"widget_1.sig": script}, flag: all, exit: 1},
		"a script called .pem":              {files: map[string][]byte{"widget_1.pem": script}, flag: all, exit: 1},
		"its checksum": {
			files: map[string][]byte{"widget_1.sha256": line("widget_1")}, flag: "checksums",
		},
		"its checksum alone": {
			files: map[string][]byte{"widget_1.sha256": fmt.Appendf(nil, "%x", sha256.Sum256(art))}, flag: "checksums",
		},
		"its checksum with a path": {
			files: map[string][]byte{"widget_1.sha512": fmt.Appendf(nil, "%x *dist/widget_1\n", sha512.Sum512(art))},
			flag:  "checksums",
		},
		"a list": {files: map[string][]byte{"SHA2-256SUMS": line("widget_1")}, flag: "checksums"},
		"a list without the flag": {
			files: map[string][]byte{"SHA2-256SUMS": line("widget_1")}, exit: 1, says: "--side-files checksums",
		},
		"a list with SHA-1": {
			files: map[string][]byte{"checksums.txt": join(line("widget_1"), fmt.Appendf(nil, "%x  widget_1\n", sha1.Sum(art)))},
			flag:  all, exit: 1,
		},
		"a list with a foreign line": {
			files: map[string][]byte{"checksums.txt": join(line("widget_1"), line("widget_9"))}, flag: all, exit: 1,
			says: "widget_9 is not among what is allowed",
		},
		"a list with another digest": {
			files: map[string][]byte{"checksums.txt": fmt.Appendf(nil, "%064x  widget_1\n", 1)}, flag: all, exit: 1,
			says: "has another digest",
		},
		"a list of another name": {files: map[string][]byte{"install": line("widget_1")}, flag: all, exit: 1},
		"a list that can be run": {files: map[string][]byte{"checksums.sh": line("widget_1")}, flag: all, exit: 1},
		"a script that is a list": {
			files: map[string][]byte{"checksums.txt": join([]byte("#!/bin/sh\n# id\n"), line("widget_1"))}, flag: all,
			exit: 1,
		},
		"a script with a byte order mark": {
			files: map[string][]byte{"checksums.txt": join([]byte("\xef\xbb\xbf#!/bin/sh\n"), line("widget_1"))}, flag: all,
			exit: 1,
		},
		"columns that a shell would run": {
			files: map[string][]byte{"checksums.txt": fmt.Appendf(nil, "./widget_1 %x\n", sha256.Sum256(art))}, flag: all,
			exit: 1,
		},
		"a list of a side file": {
			files: map[string][]byte{"widget_1.asc": block(""), "checksums.txt": fmt.Appendf(nil,
				"%x  widget_1.asc\n", sha256.Sum256(block("")))},
			flag: all, exit: 1,
		},
		"a list of itself": {
			files: map[string][]byte{"checksums.txt": line("checksums.txt")}, flag: all, exit: 1,
		},
		"a bill of materials": {
			files: map[string][]byte{"widget_1.spdx.json": []byte("{}")}, flag: all, exit: 1,
			says: "it seems to be a bill of materials",
		},
		"provenance without a signature": {
			files: map[string][]byte{"widget_1.intoto.jsonl": statementAbout(art, "widget_1")}, flag: all, exit: 1,
		},
		"too large": {
			files: map[string][]byte{"widget_1.asc": bytes.Repeat(block(""), 1000)}, flag: all, exit: 1,
		},
	} {
		s := newShop(t)
		files := map[string][]byte{"widget_1": art, "widget_1.sigstore.json": s.sign(art)}
		maps.Copy(files, c.files)
		s.write("d", files)
		s.publish(files)
		var args []string
		if c.flag != "" {
			args = []string{"--side-files", c.flag}
		}
		for _, what := range []string{"d", releaseURL} {
			code, out := s.run(append(args, what)...)
			if code != c.exit || !strings.Contains(out, c.says) {
				t.Errorf("%s, %s: exit %d\n%s", name, what, code, out)
			}
			if c.exit == 0 && !strings.Contains(out, "not judged: 1, side files, which nobody vouches for") ||
				c.exit == 0 && strings.Count("\n"+out, "\nOK    ") != 1 {
				t.Errorf("%s, %s: it is not listed apart\n%s", name, what, out)
			}
		}
		if c.exit != 0 {
			continue
		}
		code, out := s.run(append(args, "--download", "new", releaseURL)...)
		got, _ := filepath.Glob("new/*")
		if code != 0 || !slices.Equal(got, []string{filepath.Join("new", "widget_1")}) {
			t.Errorf("%s: --download wrote %v, exit %d\n%s", name, got, code, out)
		}
		if err := os.RemoveAll("new"); err != nil {
			t.Fatal(err)
		}
		// What is named alone belongs to nothing that was judged. A list brings along what it lists.
		for side := range c.files {
			if code, out := s.run(append(args, filepath.Join("d", side))...); (code == 0) != (c.flag == "checksums") {
				t.Errorf("%s alone is allowed\n%s", side, out)
			}
		}
		code, r := s.report(append(args, "d")...)
		i := slices.IndexFunc(r.NotJudged, func(x report.Input) bool { return x.Fate == "side-file" })
		if code != 0 || i < 0 || r.NotJudged[i].Detail == "" || len(r.Artifacts) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	s := newShop(t)
	s.write("", map[string][]byte{"widget_1": art})
	for _, kind := range []string{"all", "*", "sbom", ""} {
		if code, out := s.run("--side-files", "checksums,"+kind, "widget_1"); code != 2 {
			t.Errorf("the kind %q: exit %d\n%s", kind, code, out)
		}
	}
}

// TestSideFileSwapped: a side file that is another one when it is read again is none.
func TestSideFileSwapped(t *testing.T) {
	art := []byte("widget")
	line := fmt.Appendf(nil, "%x  widget_1\n", sha256.Sum256(art))
	s := newShop(t)
	s.publish(map[string][]byte{
		"widget_1": art, "widget_1.sigstore.json": s.sign(art), "widget_1.sha256": []byte("#!/bin/sh\nid\n"),
	})
	s.second = map[string][]byte{"widget_1.sha256": line}
	if code, out := s.run("--side-files", "checksums", "--download", "new", releaseURL); code != 1 {
		t.Errorf("exit %d\n%s", code, out)
	}
	if got, _ := filepath.Glob("new/*"); len(got) > 0 {
		t.Errorf("it wrote %v", got)
	}
}
