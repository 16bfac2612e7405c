// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pretenders are files beside an artifact that look like side files of it, and are none: by name, with
// their content.
func pretenders(t *testing.T, art []byte) map[string]map[string][]byte {
	t.Helper()
	line := fmt.Sprintf("%x  widget_1\n", sha256.Sum256(art))
	const script = "#!/bin/sh\nid\n"
	packet := base64.StdEncoding.EncodeToString(append([]byte{0xc2, 46, 4}, make([]byte, 45)...))
	armour := func(body string, headers ...string) string {
		return "-----BEGIN PGP SIGNATURE-----\n" + strings.Join(headers, "") + "\n" + body + "\n-----END PGP SIGNATURE-----\n"
	}
	good := armour(packet)
	literal := append([]byte{0xc2, 0xff, 0, 0, 0, 1, 4, 0xcb, 13, 'b', 0, 0, 0, 0, 0}, "#!evil\n"...)
	cert := certificatePEM(t)
	zip := "PK\x05\x06" + strings.Repeat("\x00", 18)
	var tarball bytes.Buffer
	w := tar.NewWriter(&tarball)
	if err := w.WriteHeader(&tar.Header{Name: "checksums.txt", Size: int64(len(line)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(line)) // a buffer takes everything
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	one := func(name, content string) map[string][]byte { return map[string][]byte{name: []byte(content)} }
	b64 := base64.StdEncoding.EncodeToString
	return map[string]map[string][]byte{
		"a script":                         one("widget_1.asc", script),
		"a script that is a list":          one("checksums.txt", "#!/bin/sh\n# id\n"+line),
		"a list that ends in a script":     one("SHA256SUMS", line+"id\n"),
		"a list and a comment":             one("SHA256SUMS", line+"# id\n"),
		"a list and a title":               one("checksums.txt", "SHA256 checksums\n"+line),
		"a list with a foreign line":       one("SHA256SUMS", line+fmt.Sprintf("%064x  other\n", 1)),
		"a list with the list itself":      one("SHA256SUMS", line+fmt.Sprintf("%064x  SHA256SUMS\n", 1)),
		"a list of another digest":         one("SHA256SUMS", fmt.Sprintf("%064x  widget_1\n", 1)),
		"a list the other way round":       one("SHA256SUMS", "widget_1  "+line[:64]+"\n"),
		"a list with a command for a name": one("SHA256SUMS", line+line[:64]+"  $(id)\n"),
		"a list with a path":               one("SHA256SUMS", line+line[:64]+"  ../widget_1\n"),
		"a list with an escape":            one("SHA256SUMS", line+line[:64]+"  widget_1\x1b[2K\n"),
		"a list with an escaped newline":   one("SHA256SUMS", line+`\`+line[:64]+"  widget_1\\nid\n"),
		"a list with NUL":                  one("SHA256SUMS", line+"\x00"),
		"a list in Latin-1":                one("SHA256SUMS", line+"# \xe4\n"),
		"a list of nothing":                one("SHA256SUMS", ""),
		"a list with CR alone":             one("SHA256SUMS", line[:64]+"  widget_1\rid\n"),
		"a script with a byte order mark":  one("checksums.txt", "\xef\xbb\xbf#!/bin/sh\n"+line),
		"a list with a byte order mark":    one("widget_1.sha256", "\xef\xbb\xbf"+line),
		"a list in UTF-16": one("widget_1.sha256", "\xff\xfe"+strings.Join(strings.Split(line, ""),
			"\x00")+"\x00"),
		"a list in a tar":                one("checksums.tar", tarball.String()),
		"a tar called like a list":       one("checksums.txt", tarball.String()),
		"a list that can be run":         one("checksums.sh", line),
		"a digest of another file":       one("widget_2.sha256", line[:64]),
		"a digest that is none":          one("widget_1.sha256", "id"),
		"a list in JSON":                 one("checksums.json", `{"widget_1":"`+line[:64]+`"}`),
		"an armour behind a script":      one("widget_1.asc", script+good),
		"an armour before a script":      one("widget_1.asc", good+script),
		"an armour around a script":      one("widget_1.asc", strings.Replace(good, packet, packet+"\n"+script, 1)),
		"an armour with a command":       one("widget_1.asc", armour(packet, "Comment: $(id)\n")),
		"two armours":                    one("widget_1.asc", good+good),
		"an armoured message":            one("widget_1.asc", strings.ReplaceAll(good, "SIGNATURE", "MESSAGE")),
		"an armoured key":                one("widget_1.asc", strings.ReplaceAll(good, "SIGNATURE", "PUBLIC KEY BLOCK")),
		"signed text":                    one("widget_1.asc", "-----BEGIN PGP SIGNED MESSAGE-----\n\nid\n"+good),
		"an armour with another packet":  one("widget_1.asc", armour(b64(append([]byte{0xcb, 3}, "abc"...)))),
		"an armour with a packet behind": one("widget_1.asc", armour(b64(literal))),
		"an armour of no file":           one("widget_9.asc", good),
		"an armour of an armour":         {"widget_1.asc": []byte(good), "widget_1.asc.asc": []byte(good)},
		"an armour of a directory":       {"sub/x": []byte(script), "sub.asc": []byte(good)},
		"an armour of another directory": one("sub/widget_1.asc", good),
		"an armour in another case":      one("WIDGET_1.asc", good),
		"an ending in another case":      one("widget_1.ASC", good),
		"an armour of evidence":          one("widget_1.sigstore.json.asc", good),
		"an armour that is too large":    one("widget_1.asc", armour(strings.Repeat(packet+"\n", 2000)+packet)),
		"certificates behind a script":   one("widget_1.pem", script+cert),
		"certificates before a script":   one("widget_1.pem", cert+script),
		"a script in base64":             one("widget_1.pem", b64([]byte(script))),
		"a key":                          one("widget_1.pem", strings.ReplaceAll(cert, "CERTIFICATE", "PRIVATE KEY")),
		"a certificate with a header":    one("widget_1.pem", strings.Replace(cert, "-----\n", "-----\nA: $(id)\n\n", 1)),
		"an ELF":                         one("widget_1.sig", "\x7fELF\x02\x01\x01"+strings.Repeat("\x00", 57)),
		"a zip":                          one("widget_1.sig", b64(make([]byte, 64))+zip),
		"a script for a signature":       one("widget_1.sig", script),
		"a signature behind a script":    one("widget_1.sig", script+b64(make([]byte, 64))),
		"a signature and a line":         one("widget_1.sig", b64(make([]byte, 64))+"\nid"),
		"a signature of another length":  one("widget_1.sig", b64([]byte(script))),
		"DER and more":                   one("widget_1.sig", "\x30\x06\x02\x01\x01\x02\x01\x01"+script),
		"a signature of minisign":        one("widget_1.minisig", "untrusted comment: x\n"),
		"a name of a flag":               one("-widget_1.asc", good),
	}
}

// TestClosed: nothing that only looks like a side file is counted as allowed, lies beside what is, or
// is written, in a directory, in a release and where that is downloaded, whatever kinds are named.
func TestClosed(t *testing.T) {
	art := []byte("widget")
	const all = "openpgp,signature,certificate,checksums"
	s := newShop(t)
	bundle := s.sign(art)
	for name, files := range pretenders(t, art) {
		beside := maps.Clone(files)
		beside["widget_1"], beside["widget_1.sigstore.json"] = art, bundle
		dir := t.TempDir()
		s.write(dir, beside)
		flat := !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(n string) bool {
			return strings.Contains(n,
				"/")
		})
		s.publish(beside)
		for _, kinds := range []string{"", all} {
			var args []string
			if kinds != "" {
				args = []string{"--side-files", kinds}
			}
			places := [][]string{{dir}}
			if flat {
				places = append(places, []string{releaseURL})
			}
			for n := range files {
				places = append(places, []string{filepath.Join(dir, filepath.FromSlash(n))})
			}
			for _, place := range places {
				s.refuses(name, files, append(slices.Clone(args), place...)...)
			}
			if flat {
				to := filepath.Join(t.TempDir(), "new")
				code, out := s.run(append(args, "--download", to, releaseURL)...)
				if left, _ := filepath.Glob(filepath.Join(to, "*")); code == 0 || len(left) > 0 {
					t.Errorf("%s, %q: exit %d, it wrote %v\n%s", name, kinds, code, left, out)
				}
			}
		}
	}
}

// refuses runs verify, which must not end well, nor allow one of the files, nor let it lie there
// unless another of them is what denies.
func (s *shop) refuses(what string, files map[string][]byte, args ...string) {
	s.t.Helper()
	code, r := s.report(args...)
	if code == 0 {
		s.t.Errorf("%s, %q: exit 0", what, args)
	}
	for _, a := range r.Artifacts {
		for n := range files {
			if a.Verdict == "OK" && filepath.Base(a.Artifact) == filepath.Base(n) {
				s.t.Errorf("%s, %q: %s is allowed", what, args, a.Artifact)
			}
		}
	}
	for _, in := range r.NotJudged {
		if in.Fate == "side-file" && len(files) == 1 {
			s.t.Errorf("%s, %q: %s is a side file", what, args, in.Input)
		}
	}
}

// TestClosedNames: neither links nor what is no file, nor names that are not what they seem, are
// side files in a directory, and a release with such names is none.
func TestClosedNames(t *testing.T) {
	art := []byte("widget")
	const all = "openpgp,signature,certificate,checksums"
	packet := base64.StdEncoding.EncodeToString(append([]byte{0xc2, 46, 4}, make([]byte, 45)...))
	good := []byte("-----BEGIN PGP SIGNATURE-----\n\n" + packet + "\n-----END PGP SIGNATURE-----\n")
	s := newShop(t)
	bundle := s.sign(art)
	outside := filepath.Join(t.TempDir(), "outside.asc")
	s.write("", map[string][]byte{outside: good})
	for name, make := range map[string]func(dir string) error{
		"a link to one": func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "widget_1.asc")) },
		"a link to what it is": func(dir string) error {
			return os.Symlink("widget_1", filepath.Join(dir,
				"widget_1.sha256"))
		},
		"a link to nothing":     func(dir string) error { return os.Symlink("nothing", filepath.Join(dir, "widget_1.asc")) },
		"a link to a directory": func(dir string) error { return os.Symlink("/etc", filepath.Join(dir, "widget_1.asc")) },
		"a link to itself": func(dir string) error {
			return os.Symlink("widget_1.asc", filepath.Join(dir,
				"widget_1.asc"))
		},
		"a pipe": func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "widget_1.asc"), 0o600) },
		"a newline": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "widget_1\n.asc"), good,
				0o600)
		},
		"an escape": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "widget_1\x1b[2K.asc"),
				good, 0o600)
		},
		"a name turned round": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "widget_1\u202e.asc"),
				good, 0o600)
		},
		"a name that is none": func(dir string) error { return os.WriteFile(filepath.Join(dir, ".asc"), good, 0o600) },
		"a blank": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "widget_1 .asc"), good,
				0o600)
		},
		"the artifact a link": func(dir string) error {
			if err := os.Rename(filepath.Join(dir, "widget_1"), filepath.Join(t.TempDir(), "x")); err != nil {
				return err
			}
			return os.Symlink(outside, filepath.Join(dir, "widget_1"))
		},
	} {
		dir := t.TempDir()
		s.write(dir, map[string][]byte{"widget_1": art, "widget_1.sigstore.json": bundle})
		if err := make(dir); err != nil {
			t.Skip(err)
		}
		for _, kinds := range []string{"", all} {
			var args []string
			if kinds != "" {
				args = []string{"--side-files", kinds}
			}
			code, out := s.run(append(args, dir)...)
			if code == 0 || strings.Contains(out, "side files, which nobody vouches for") || strings.ContainsAny(out,
				"\x1b\u202e") {
				t.Errorf("%s, %q: exit %d\n%q", name, kinds, code, out)
			}
		}
	}
	for _, name := range []string{
		"widget_1\n.asc", "widget_1\x1b[2K.asc", "widget_1\u202e.asc", "../widget_1.asc", "x/widget_1.asc",
		`x\widget_1.asc`, ".", "",
		"-widget_1.asc", "con.asc", "widget_1.asc ", "widget_1.asc.", "widget_1:asc",
	} {
		s.publish(map[string][]byte{"widget_1": art, "widget_1.sigstore.json": bundle, name: good})
		to := filepath.Join(t.TempDir(), "new")
		for _, args := range [][]string{{releaseURL}, {"--download", to, releaseURL}} {
			code, out := s.run(append([]string{"--side-files", all}, args...)...)
			if code == 0 || !strings.Contains(out, "release-invalid") || strings.ContainsAny(out, "\x1b\u202e") {
				t.Errorf("%q: exit %d\n%q", name, code, out)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(to, "*")); len(left) > 0 {
			t.Errorf("%q: it wrote %v", name, left)
		}
	}
}

// certificatePEM returns a certificate that could lie beside what it signed.
func certificatePEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
