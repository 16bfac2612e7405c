// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// accountPolicy allows what a test signs: by the workflow, and by a key.
const accountPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2026-12-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*", "SHA256SUMS", "checksums.txt", "pkg:npm/widget@*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

// shop is what a test publishes: files in the working directory, and the same as a
// release of the forge.
type shop struct {
	t    *testing.T
	inst *sigstoretest.Instance
	env  command.Env
	// second is what a file is when it is asked for again.
	second map[string][]byte
	mu     sync.Mutex
	gets   map[string]int
}

func newShop(t *testing.T) *shop {
	env := place(t)
	s := &shop{t: t, inst: sigstoretest.New(t), env: env}
	for _, name := range []string{"widget_1", "widget_1.sigstore.json", "widget_2", "widget_2.sigstore.json"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	s.write(
		"",
		map[string][]byte{"root.json": s.inst.Root(sigstoretest.RootOptions{}), "policy.toml": []byte(accountPolicy)},
	)
	return s
}

func (s *shop) write(dir string, files map[string][]byte) {
	s.t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (*shop) workflow() sigstoretest.Request { return sigstoretest.Workflow("v1.2.3") }

// sign returns a good bundle over the content: as a message, or as a statement that
// gives it the names.
func (s *shop) sign(content []byte, names ...string) []byte {
	r := s.workflow()
	if r.Artifact = content; len(names) > 0 {
		r.Statement = statementAbout(content, names...)
	}
	return s.inst.Sign(r)
}

func statementAbout(content []byte, names ...string) []byte {
	var subjects []string
	for _, n := range names {
		subjects = append(subjects, fmt.Sprintf(`{"name":%q,"digest":{"sha256":"%x"}}`, n, sha256.Sum256(content)))
	}
	return []byte(
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},` +
			`"subject":[` + strings.Join(
			subjects, ",",
		) + `]}`,
	)
}

// run returns the exit code and all output of verify with the test's policy.
func (s *shop) run(args ...string) (int, string) {
	var out bytes.Buffer
	s.env.Stdout, s.env.Stderr = &out, &out
	code := Main(append([]string{"verify", "--policy", "policy.toml", "--trusted-root", "root.json"}, args...), s.env)
	return code, out.String()
}

// report is run with the verdict as JSON.
func (s *shop) report(args ...string) (int, report.Report) {
	s.t.Helper()
	var out bytes.Buffer
	s.env.Stdout, s.env.Stderr = &out, io.Discard
	code := Main(
		append(
			[]string{"verify", "--policy", "policy.toml", "--trusted-root", "root.json", "--format", "json"},
			args...),
		s.env,
	)
	var r report.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return code, r
}

// forge serves files as the release v1.2.3.
type forge struct {
	s     *shop
	files map[string][]byte
}

func (f forge) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, body []byte) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status),
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
			ContentLength: int64(len(body)), Request: r,
		}, nil
	}
	if r.URL.Path == "/repos/acme/widget/releases/tags/v1.2.3" {
		var assets []map[string]string
		for _, name := range slices.Sorted(maps.Keys(f.files)) {
			assets = append(assets, map[string]string{"name": name})
		}
		data, err := json.Marshal(map[string]any{"tag_name": "v1.2.3", "assets": assets})
		if err != nil {
			return nil, err
		}
		return answer(200, data)
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/acme/widget/releases/download/v1.2.3/")
	data, there := f.files[name]
	if !ok || !there {
		return answer(404, nil)
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.gets[name]++
	if again := f.s.second[name]; again != nil && f.s.gets[name] > 1 {
		data = again
	}
	return answer(200, data)
}

func (s *shop) publish(files map[string][]byte) {
	s.gets = map[string]int{}
	s.env.Transport = forge{s, files}
}

const releaseURL = "https://github.com/acme/widget/releases/tag/v1.2.3"

func sums(files map[string][]byte, prefix string) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%x  %s%s\n", sha256.Sum256(files[name]), prefix, name)
	}
	return b.Bytes()
}

// TestListed: each line of a checksum file that was named is a file that is there
// and has the digest, or it denies (case: `verify SHA256SUMS && tar x`).
func TestListed(t *testing.T) {
	linux, win := []byte("linux"), []byte("windows")
	both := map[string][]byte{"widget_linux": linux, "widget_win": win}
	for name, c := range map[string]struct {
		list  []byte
		files map[string][]byte
		args  []string
		exit  int
		says  string
	}{
		"all there":           {list: sums(both, ""), files: both},
		"all there, BSD form": {list: fmt.Appendf(nil, "SHA256 (widget_linux) = %x\n", sha256.Sum256(linux)), files: both},
		"one absent": {
			list: sums(both, ""), files: map[string][]byte{"widget_linux": linux}, exit: 1, says: "artifact-missing",
		},
		"one absent, left out": {
			list: sums(both, ""), files: map[string][]byte{"widget_linux": linux}, args: []string{"--ignore-missing"},
			says: "not judged: 1, listed and not there",
		},
		"all absent":           {list: sums(both, ""), exit: 1, says: "artifact-missing"},
		"all absent, left out": {list: sums(both, ""), args: []string{"--ignore-missing"}, exit: 1, says: "nothing is there"},
		"changed": {
			list: sums(both, ""), files: map[string][]byte{"widget_linux": []byte("evil"), "widget_win": win}, exit: 1,
			says: "sums-mismatch",
		},
		"changed, left out": {
			list: sums(both, ""), files: map[string][]byte{"widget_linux": []byte("evil")}, args: []string{"--ignore-missing"},
			exit: 1, says: "sums-mismatch",
		},
		"in a folder, flat": {
			list: sums(both, "dist/"), files: map[string][]byte{"widget_linux": []byte("evil"), "widget_win": win}, exit: 1,
			says: "artifact-missing",
		},
		"in a folder, flat, the same": {list: sums(both, "dist/"), files: both, says: "matched by its digest"},
		"in a folder, flat, changed, left out": {
			list: sums(both, "dist/"), files: map[string][]byte{"widget_linux": []byte("evil"), "widget_win": win},
			args: []string{"--ignore-missing"}, exit: 1, says: "beside the list is another file",
		},
		"SHA-1 alone": {
			list:  fmt.Appendf(nil, "%x  widget_linux\n%x  widget_win\n", sha1.Sum(linux), sha256.Sum256(win)),
			files: both, exit: 1, says: "line 1 of d/SHA256SUMS has SHA-1, which confirms nothing",
		},
		"in a folder, there": {
			list:  sums(both, "dist/"),
			files: map[string][]byte{"dist/widget_linux": linux, "dist/widget_win": win, "widget_linux": []byte("evil")},
			exit:  1, says: "artifact is dist/",
		},
		"with a blank behind": {
			list:  fmt.Appendf(nil, "%x  widget_linux \n", sha256.Sum256(linux)),
			files: map[string][]byte{"widget_linux": []byte("evil")}, exit: 6, says: "sums-invalid",
		},
		"in another case": {
			list:  fmt.Appendf(nil, "%x  Widget_linux\n", sha256.Sum256(linux)),
			files: map[string][]byte{"widget_linux": []byte("evil")}, exit: 1, says: "artifact-missing",
		},
		"in another normal form": {
			list:  fmt.Appendf(nil, "%x  widget_e\u0301\n", sha256.Sum256(linux)),
			files: map[string][]byte{"widget_\u00e9": []byte("evil")}, exit: 1, says: "artifact-missing",
		},
		"with a dot segment": {
			list:  fmt.Appendf(nil, "%x  ./widget_linux\n", sha256.Sum256(linux)),
			files: map[string][]byte{"widget_linux": []byte("evil")}, exit: 1, says: "sums-mismatch",
		},
		"a directory of that name": {
			list:  fmt.Appendf(nil, "%x  widget_linux\n", sha256.Sum256(linux)),
			files: map[string][]byte{"widget_linux/x": []byte("evil")}, exit: 1, says: "not a regular file",
		},
		"the list itself": {
			list: fmt.Appendf(nil, "%x  SHA256SUMS\n%x  widget_linux\n", sha256.Sum256(nil), sha256.Sum256(linux)), files: both,
			exit: 1, says: "sums-mismatch",
		},
		"a line that is no line": {
			list: append(sums(both, ""), "widget_extra\n"...), files: both, exit: 6, says: "sums-invalid",
		},
	} {
		s := newShop(t)
		s.write("", map[string][]byte{"d/SHA256SUMS": c.list, "d/SHA256SUMS.sigstore.json": s.sign(c.list)})
		s.write("d", c.files)
		code, out := s.run(append(c.args, "d/SHA256SUMS")...)
		if code != c.exit || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d\n%s", name, code, out)
		}
	}
	s := newShop(t)
	s.write("", map[string][]byte{"widget_linux": linux})
	if code, out := s.run("--ignore-missing", "widget_linux"); code != 2 ||
		!strings.Contains(out, "no argument is one") {
		t.Errorf("--ignore-missing without a list: exit %d\n%s", code, out)
	}
}

// TestEveryInput: a file of a directory, or of a release, that nobody signed denies,
// whatever it is called and whatever it holds; evidence that is some does not.
func TestEveryInput(t *testing.T) {
	art := []byte("widget")
	s := newShop(t)
	good := s.sign(art)
	line := bytes.ReplaceAll(good, []byte("\n"), nil)
	named := s.sign(art, "widget_1")
	script := []byte("#!/bin/sh\nrm -rf /\n")
	stranger := sigstoretest.New(t)
	foreign := stranger.Sign(
		sigstoretest.Request{SAN: "mallory@example.com", Issuer: "https://accounts.google.com", Artifact: art},
	)
	other := s.sign([]byte("another"))
	key := stranger.Sign(sigstoretest.Request{BareKey: true, Artifact: art})
	keyless := stranger.Sign(
		sigstoretest.Request{
			BareKey: true, Artifact: art,
			Mutate: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil },
		},
	)
	broken := stranger.Sign(
		sigstoretest.Request{
			SAN:      "mallory@example.com",
			Issuer:   "https://accounts.google.com",
			Artifact: art,
			Mutate: func(b *protobundle.Bundle) {
				b.GetMessageSignature().Signature[8] ^= 1
			},
		},
	)
	cosign := func(more string) []byte {
		var b protobundle.Bundle
		if err := protojson.Unmarshal(foreign, &b); err != nil {
			t.Fatal(err)
		}
		cert := pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE", Bytes: b.GetVerificationMaterial().GetCertificate().GetRawBytes()},
		)
		return fmt.Appendf(
			nil, `{"base64Signature":%q,"cert":%q%s}`,
			base64.StdEncoding.EncodeToString(b.GetMessageSignature().GetSignature()), cert, more,
		)
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		exit  int
		fate  string // of the first file
	}{
		// Evidence, and nothing else.
		"its bundle": {files: map[string][]byte{"widget_1.sigstore.json": good}, fate: "evidence"},
		"a second bundle": {
			files: map[string][]byte{"widget_1.bundle": good, "widget_1.sigstore.json": good}, fate: "evidence",
		},
		"a collection": {
			files: map[string][]byte{"widget_1.intoto.jsonl": append(append(line, '\n'), line...)}, fate: "evidence",
		},
		"a name of its own": {
			files: map[string][]byte{"provenance.intoto.jsonl": named, "widget_1.sigstore.json": good}, fate: "evidence",
		},
		"by a signer without a rule": {
			files: map[string][]byte{"attested.sigstore.json": foreign, "widget_1.sigstore.json": good}, fate: "evidence",
		},
		"by a key in its log entry": {
			files: map[string][]byte{"by-key.sigstore.json": key, "widget_1.sigstore.json": good}, fate: "evidence",
		},
		"by a key that is not here": {
			files: map[string][]byte{"by-key.sigstore.json": keyless, "widget_1.sigstore.json": good},
			fate:  "unverifiable-evidence",
		},
		"cosign's, without a log": {
			files: map[string][]byte{"widget_1.cosign.bundle": cosign(""), "widget_1.sigstore.json": good}, fate: "evidence",
		},
		"a list beside, others listed": {
			files: map[string][]byte{
				"SHA256SUMS":               sums(map[string][]byte{"widget_1": art, "widget_9": art}, ""),
				"SHA256SUMS.sigstore.json": s.sign(sums(map[string][]byte{"widget_1": art, "widget_9": art}, "")),
			},
		},

		// What is called like evidence.
		"a script called a bundle": {
			files: map[string][]byte{"x-install.sigstore.json": script, "widget_1.sigstore.json": good}, exit: 1,
		},
		"a script with a line of JSON": {
			files: map[string][]byte{"x.cdx.json.bundle": append(append(script, line...), '\n'), "widget_1.sigstore.json": good},
			exit:  1,
		},
		"a script in a collection": {
			files: map[string][]byte{
				"widget_1.intoto.jsonl": append(append(slices.Clone(line), '\n'), script...), "widget_1.sigstore.json": good,
			},
			exit: 1,
		},
		"a collection with another line": {
			files: map[string][]byte{
				"widget_1.jsonl": append(append(slices.Clone(line), '\n'), "{}\n"...), "widget_1.sigstore.json": good,
			},
			exit: 1,
		},
		"empty": {files: map[string][]byte{"widget_1.sigstore": nil, "widget_1.sigstore.json": good}, exit: 1},
		"for other bytes": {
			files: map[string][]byte{"widget_2.sigstore.json": other, "widget_1.sigstore.json": good}, exit: 1,
		},
		"a broken signature": {
			files: map[string][]byte{"broken.sigstore.json": broken, "widget_1.sigstore.json": good}, exit: 1,
		},
		"a member more": {
			files: map[string][]byte{"widget_1.cosign.bundle": cosign(`,"payload":"#!/bin/sh"`), "widget_1.sigstore.json": good},
			exit:  1,
		},
		"a member twice": {
			files: map[string][]byte{"widget_1.cosign.bundle": cosign(`,"cert":""`), "widget_1.sigstore.json": good}, exit: 1,
		},
		"behind a bundle": {
			files: map[string][]byte{"widget_1.bundle": append(slices.Clone(good), script...), "widget_1.sigstore.json": good},
			exit:  1,
		},
		"a signature over evidence": {
			files: map[string][]byte{"widget_1.sigstore.json": good, "widget_1.sigstore.json.sigstore.json": s.sign(good)},
			exit:  1,
		},

		// Known side files deny, and say so.
		"a detached signature": {
			files: map[string][]byte{"widget_1.asc": []byte("-----BEGIN PGP SIGNATURE-----"), "widget_1.sigstore.json": good},
			exit:  1,
		},
		"a checksum": {
			files: map[string][]byte{
				"widget_1.sha256": sums(map[string][]byte{"widget_1": art}, ""), "widget_1.sigstore.json": good,
			},
			exit: 1,
		},
		"another file": {files: map[string][]byte{"README": script, "widget_1.sigstore.json": good}, exit: 1},
	} {
		c.files["widget_1"] = art
		dir := filepath.Join(t.TempDir(), "d")
		s.write(dir, c.files)
		s.publish(c.files)
		for _, arg := range []string{dir, releaseURL} {
			code, r := s.report(arg)
			if code != c.exit {
				_, out := s.run(arg)
				t.Errorf("%s, %s: exit %d\n%s", name, arg, code, out)
			}
			// The multiset of inputs is that of the fates.
			var got []string
			for _, a := range r.Artifacts {
				got = append(got, filepath.Base(a.Artifact))
			}
			for _, n := range r.NotJudged {
				if c.files[filepath.Base(n.Input)] != nil || n.Input == "" {
					got = append(got, filepath.Base(n.Input))
				}
			}
			slices.Sort(got)
			if want := slices.Sorted(maps.Keys(c.files)); !slices.Equal(got, want) {
				t.Errorf("%s, %s: accounted for %v of %v", name, arg, got, want)
			}
			if c.fate != "" &&
				(len(r.NotJudged) == 0 ||
					!slices.ContainsFunc(r.NotJudged, func(n report.Input) bool { return string(n.Fate) == c.fate })) {
				t.Errorf("%s, %s: %+v, want %s", name, arg, r.NotJudged, c.fate)
			}
		}
		if code, out := s.run(dir); strings.Contains(name, "detached") &&
			(code != 1 || !strings.Contains(out, "OpenPGP")) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestNames: a name is part of what was signed.
func TestNames(t *testing.T) {
	art := []byte("windows build")
	s := newShop(t)
	list := sums(map[string][]byte{"widget_windows": art}, "")
	for name, c := range map[string]struct {
		file   string
		signed []string // nil for a message
		list   []byte
		args   []string
		exit   int
		says   string
	}{
		"its own":   {file: "widget_linux", signed: []string{"widget_linux"}, says: "signed as    widget_linux"},
		"another's": {file: "widget_linux", signed: []string{"widget_windows"}, exit: 1, says: "name-differs"},
		"another's, said so": {
			file: "widget_linux", signed: []string{"widget_windows"}, args: []string{"--name", "widget_windows"},
		},
		"its own, said otherwise": {
			file: "widget_linux", signed: []string{"widget_linux"}, args: []string{"--name", "widget_windows"}, exit: 1,
			says: "name-differs",
		},
		"both":        {file: "widget_linux", signed: []string{"widget_windows", "widget_linux"}},
		"in a folder": {file: "widget_linux", signed: []string{"dist/widget_linux"}, exit: 1, says: "artifact is dist/"},
		"another's folder": {
			file: "widget_linux", signed: []string{"widget_linux/widget_windows"}, exit: 1, says: "name-differs",
		},
		"in another case":      {file: "widget_linux", signed: []string{"Widget_linux"}, exit: 1, says: "name-differs"},
		"with a blank":         {file: "widget_linux", signed: []string{"widget_linux "}, exit: 1},
		"as a forge writes it": {file: "widget_1.0.rc1", signed: []string{"widget_1.0~rc1"}},
		"as no forge writes it": {
			file: "widget_1.0~rc1", signed: []string{"widget_1.0.rc1"}, exit: 1, says: "name-differs",
		},
		"two names without ASCII":  {file: "\u65e5\u672c", signed: []string{"\u4e2d\u56fd"}, exit: 1, says: "name-differs"},
		"none":                     {file: "widget_linux"},
		"none, said what":          {file: "download", args: []string{"--name", "widget_linux"}},
		"none, and no rule for it": {file: "download", exit: 1, says: "rule-mismatch"},
		"a package": {
			file: "widget_linux", signed: []string{"pkg:npm/widget@1.2.3"}, exit: 1, says: "name-differs",
		},
		"a package, in capitals": {
			file: "widget_linux", signed: []string{"PKG:npm/widget_linux"}, exit: 1, says: "name-differs",
		},
		"a package, said so": {
			file: "widget.tgz", signed: []string{"pkg:npm/widget@1.2.3"}, args: []string{"--name", "pkg:npm/widget@1.2.3"},
		},
		"a package, another said": {
			file: "widget.tgz", signed: []string{"pkg:npm/widget@1.2.3"}, args: []string{"--name", "pkg:npm/widget@1.2.4"},
			exit: 1, says: "name-differs",
		},
		"a package said, none signed": {
			file: "widget_linux", args: []string{"--name", "pkg:npm/widget@1.2.3"}, exit: 1, says: "name-differs",
		},
		"a package said, a file listed": {
			file: "widget_windows", list: list, args: []string{"--name", "pkg:npm/widget@1.2.3"}, exit: 1, says: "name-differs",
		},
		"another's in a list": {file: "widget_linux", list: list, exit: 1, says: "no-evidence"},
		"another's in a list, said so": {
			file: "download", list: list, args: []string{"--name", "widget_windows"}, says: "signed as    widget_windows",
		},
		"a list that is called otherwise": {
			file: "widget_windows", list: list, signed: []string{"widget_other"}, exit: 1, says: "name-differs",
		},
		"nothing a file can be called": {file: "widget_linux", args: []string{"--name", ".."}, exit: 2},
		"for two": {
			file: "widget_linux", args: []string{"--name", "widget_linux", "policy.toml"}, exit: 2, says: "one artifact",
		},
	} {
		dir := t.TempDir()
		files := map[string][]byte{c.file: art}
		if c.list != nil {
			files["SHA256SUMS"], files["SHA256SUMS.sigstore.json"] = c.list, s.sign(c.list)
			if c.signed != nil {
				files["SHA256SUMS.sigstore.json"] = s.sign(c.list, c.signed...)
			}
		} else {
			files[c.file+".sigstore.json"] = s.sign(art, c.signed...)
		}
		s.write(dir, files)
		code, out := s.run(append(c.args, "-v", filepath.Join(dir, c.file))...)
		if code != c.exit || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d\n%s", name, code, out)
		}
		if c.list == nil && len(c.args) == 0 && c.file != "\u65e5\u672c" {
			s.publish(files)
			url := "https://github.com/acme/widget/releases/download/v1.2.3/" + strings.ReplaceAll(c.file, "~", "%7E")
			if code, out := s.run(url); code != c.exit {
				t.Errorf("%s, by URL: exit %d\n%s", name, code, out)
			}
		}
	}
	for _, args := range [][]string{
		{"--name", "widget_linux", "pkg:npm/widget@1.2.3"}, {"--name", "x", releaseURL}, {"--name", "x", "refs/tags/v1"},
	} {
		s.publish(map[string][]byte{"widget_linux": art})
		if code, out := s.run(args...); code != 2 {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
}

// TestDownloaded: what is written is what was judged, and each file is fetched once.
func TestDownloaded(t *testing.T) {
	art, evil := []byte("widget"), []byte("evil")
	s := newShop(t)
	files := map[string][]byte{
		"widget_1": art, "widget_1.sigstore.json": s.sign(art),
		"widget_2": []byte("more"), "widget_2.sigstore.json": s.sign([]byte("more")),
	}
	s.second = map[string][]byte{"widget_1": evil, "widget_1.sigstore.json": evil}
	const one = "https://github.com/acme/widget/releases/download/v1.2.3/widget_1"
	for name, c := range map[string]struct {
		args []string
		exit int
	}{
		"a release":                {[]string{releaseURL}, 0},
		"one file":                 {[]string{one}, 0},
		"one file twice":           {[]string{one, one}, 0},
		"a release and its file":   {[]string{releaseURL, one}, 0},
		"a file and its release":   {[]string{one, releaseURL}, 0},
		"with a file that is none": {[]string{one, "unsigned"}, 1},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		s.publish(files)
		s.write("", map[string][]byte{"unsigned": []byte("unsigned")})
		code, out := s.run(append([]string{"--download", dir}, c.args...)...)
		got, err := os.ReadFile(filepath.Join(dir, "widget_1"))
		if code != c.exit || (err == nil) != (c.exit == 0) || err == nil && !bytes.Equal(got, art) ||
			s.gets["widget_1"] != 1 {
			t.Errorf("%s: exit %d, wrote %q, fetched %d times\n%s", name, code, got, s.gets["widget_1"], out)
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".repopolicy-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}
