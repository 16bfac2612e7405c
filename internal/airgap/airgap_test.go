// SPDX-License-Identifier: Apache-2.0

package airgap

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/policy"
)

func sample(t testing.TB) *Bundle {
	t.Helper()
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	return &Bundle{
		Repository: repo, Made: time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC), Default: "refs/heads/main",
		Answer: []byte("answer"),
		BesideMetadata: map[string][]byte{
			"1.root.json": []byte("another"),
		}, BesideTargets: map[string][]byte{"ab.directory.json": {}},
		Pages: map[string][]byte{"0a/0": []byte("page")},
		Files: map[string][]byte{".repopolicy/signatures/1.aaaaaaaaaaaa.sigstore.json": []byte("{}"), "2/x": {}},
		Metadata: map[string][]byte{
			"1.root.json": []byte("root"),
		}, Targets: map[string][]byte{"ab.trusted_root.json": []byte("t")},
		Evidence: map[string][]byte{"widget.tar.gz.sigstore.json": []byte("{}")},
		Logs:     map[string][]byte{"1.json": []byte("{}")},
		Roots: map[string]TUF{
			publicGood: {map[string][]byte{"2.root.json": []byte("r")}, map[string][]byte{}},
			strings.Repeat("0a", 32): {
				map[string][]byte{"1.root.json": []byte("r")}, map[string][]byte{"keys/ab.artifact.pub": []byte("k")},
			},
		},
		Introduced: [MaxIntroduced]TUF{
			{map[string][]byte{"1.root.json": []byte("first")}, map[string][]byte{"d/ab.x.json": []byte("x")}},
			{map[string][]byte{}, map[string][]byte{}},
			{map[string][]byte{"1.root.json": []byte("third")}, map[string][]byte{}},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	b := sample(t)
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Encode()
	if err != nil || !bytes.Equal(data, again) {
		t.Fatalf("the same content is another file: %v", err)
	}
	got, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, got, cmp.AllowUnexported(policy.Locator{})); diff != "" {
		t.Error(diff)
	}
}

// entry is one of an archive that is written by hand.
type entry struct {
	h    tar.Header
	data string
}

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, e := range entries {
		e.h.Size = int64(len(e.data))
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

const aboutText = `{"schema":"` + schema +
	`","repository":"https://github.com/acme/widget","made":"2026-11-25T01:02:03Z","default":""}`

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func TestRefused(t *testing.T) {
	head := file(aboutName, aboutText)
	change := func(old, new string) entry { return file(aboutName, strings.Replace(aboutText, old, new, 1)) }
	for name, row := range map[string]struct {
		entries []entry
		want    string
	}{
		"nothing":  {nil, "missing"},
		"no about": {[]entry{file("evidence/x", "")}, "missing"},
		"a link": {
			[]entry{head, {tar.Header{Typeflag: tar.TypeSymlink, Name: "evidence/x", Linkname: "/etc/passwd"}, ""}}, "regular",
		},
		"a hard link": {
			[]entry{head, {tar.Header{Typeflag: tar.TypeLink, Name: "evidence/x", Linkname: "about.json"}, ""}}, "regular",
		},
		"a directory":         {[]entry{head, {tar.Header{Typeflag: tar.TypeDir, Name: "evidence/"}, ""}}, "regular"},
		"a device":            {[]entry{head, {tar.Header{Typeflag: tar.TypeChar, Name: "evidence/x"}, ""}}, "regular"},
		"absolute":            {[]entry{head, file("/etc/passwd", "")}, "relative"},
		"up":                  {[]entry{head, file("evidence/../../x", "")}, "relative"},
		"up at once":          {[]entry{head, file("../x", "")}, "relative"},
		"a drive":             {[]entry{head, file("evidence/c:x", "")}, "relative"},
		"a backslash":         {[]entry{head, file(`evidence\x`, "")}, "relative"},
		"a control character": {[]entry{head, file("evidence/a\nb", "")}, "printable"},
		"a fourth root":       {[]entry{head, file("introduced/4/metadata/1.root.json", "")}, "not a place"},
		"a root before":       {[]entry{head, file("introduced/0/metadata/1.root.json", "")}, "not a place"},
		"a root by 01":        {[]entry{head, file("introduced/01/metadata/1.root.json", "")}, "not a place"},
		"of a root, no kind":  {[]entry{head, file("introduced/1/1.root.json", "")}, "not a place"},
		"twice":               {[]entry{head, file("evidence/x", "1"), file("evidence/x", "2")}, "twice"},
		"about twice":         {[]entry{head, head}, "twice"},
		"another place":       {[]entry{head, file("config/trust.toml", "")}, "place"},
		"a root by its name":  {[]entry{head, file("roots/acme/metadata/1.root.json", "")}, "place"},
		"a root in upper case": {
			[]entry{head, file("roots/"+strings.Repeat("0A", 32)+"/metadata/1.root.json", "")}, "place",
		},
		"a root's other files": {[]entry{head, file("roots/public-good/keys/x", "")}, "place"},
		"a root's directory":   {[]entry{head, file("roots/public-good/metadata", "")}, "place"},
		"a long name":          {[]entry{head, file("evidence/"+strings.Repeat("x", maxName), "")}, "relative"},
		"another format":       {[]entry{change("airgap-v1", "airgap-v2")}, "schema"},
		"an unknown key":       {[]entry{change(`"default"`, `"defaults"`)}, "not known"},
		"a repository twice": {
			[]entry{change(`"made"`, `"repository":"https://github.com/acme/other","made"`)}, "stands twice",
		},
		"the same twice": {[]entry{change(`"made"`, `"repository":"https://github.com/acme/widget","made"`)}, "stands twice"},
		"twice, escaped": {
			[]entry{change(`"made"`, `"r\u0065pository":"https://github.com/acme/other","made"`)}, "stands twice",
		},
		"another case": {[]entry{change(`"repository"`, `"Repository"`)}, "not known"},
		"twice by case": {
			[]entry{change(`"made"`, `"REPOSITORY":"https://github.com/acme/other","made"`)}, "not known",
		},
		"a folded letter":      {[]entry{change(`"schema"`, `"\u017fchema"`)}, "not known"},
		"a default twice":      {[]entry{change(`"default"`, `"default":"refs/heads/main","default"`)}, "stands twice"},
		"no repository":        {[]entry{change(`"repository":"https://github.com/acme/widget",`, ``)}, "missing"},
		"no time":              {[]entry{change(`"made":"2026-11-25T01:02:03Z",`, ``)}, "missing"},
		"no default":           {[]entry{change(`,"default":""`, ``)}, "missing"},
		"null":                 {[]entry{change(`"default":""`, `"default":null`)}, "null"},
		"null for a time":      {[]entry{change(`"2026-11-25T01:02:03Z"`, `null`)}, "null"},
		"null for all":         {[]entry{file(aboutName, "null")}, "null"},
		"a list":               {[]entry{file(aboutName, "["+aboutText+"]")}, "cannot unmarshal"},
		"not UTF-8":            {[]entry{change(`"default":""`, "\"default\":\"refs/heads/\xff\"")}, "UTF-8"},
		"half a character":     {[]entry{change(`"default":""`, `"default":"refs/heads/\ud800"`)}, "no ref"},
		"a byte order mark":    {[]entry{file(aboutName, "\ufeff"+aboutText)}, "invalid character"},
		"not a repository":     {[]entry{change("https://github.com/acme/widget", "acme/widget")}, "repository"},
		"not a ref":            {[]entry{change(`"default":""`, `"default":"main"`)}, "no ref"},
		"not a time":           {[]entry{change("2026-11-25T01:02:03Z", "yesterday")}, "parsing time"},
		"two documents":        {[]entry{file(aboutName, aboutText+"{}")}, "follows"},
		"about that is large":  {[]entry{file(aboutName, aboutText+strings.Repeat(" ", maxAboutSize))}, "at most"},
		"about that is no doc": {[]entry{file(aboutName, "")}, "EOF"},
	} {
		if _, err := Parse(pack(t, row.entries)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
	whole := pack(t, []entry{head, file("evidence/x", strings.Repeat("x", 1000))})
	for name, data := range map[string][]byte{
		"not compressed":  []byte("tar"),
		"cut":             whole[:len(whole)-10],
		"something after": append(bytes.Clone(whole), 'x'),
		"a second member": append(bytes.Clone(whole), whole...),
		"too large":       make([]byte, MaxBytes+1),
	} {
		if _, err := Parse(data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Parse(whole); err != nil {
		t.Error(err)
	}
}

// TestInflated demands that a small file cannot take more memory than allowed.
func TestInflated(t *testing.T) {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range maxInflated>>20 + 1 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(buf.Bytes()); err == nil || !strings.Contains(err.Error(), "holds more") {
		t.Errorf("a bomb of %d bytes: %v", buf.Len(), err)
	}
}

func TestSchema(t *testing.T) {
	s, err := jsonschema.NewCompiler().Compile("../../schema/airgap-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		aboutText: true,
		strings.Replace(aboutText, `"default":""`, `"default":"refs/heads/main"`, 1): true,
		strings.Replace(aboutText, "airgap-v1", "airgap-v2", 1):                      false,
		strings.Replace(aboutText, `"default":""`, `"default":"main"`, 1):            false,
		strings.Replace(aboutText, `"made"`, `"trust"`, 1):                           false,
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Validate(doc)
		_, parsed := Parse(pack(t, []entry{file(aboutName, text)}))
		if (err == nil) != want || (parsed == nil) != want {
			t.Errorf("%s: schema %v, program %v, want %v", text, err, parsed, want)
		}
	}
}

// FuzzParse demands that what is read and written again is read as the same.
func FuzzParse(f *testing.F) {
	data, err := sample(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(pack(f, []entry{file(aboutName, aboutText)}))
	f.Add(pack(f, []entry{file(aboutName, strings.Replace(aboutText, `"made"`, `"repository":"","made"`, 1))}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		b.Made = b.Made.UTC().Truncate(time.Second)
		if diff := cmp.Diff(b, c, cmp.AllowUnexported(policy.Locator{})); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzAbout demands that about.json is read only as what every reader of JSON sees in it:
// each key once, exactly spelt.
func FuzzAbout(f *testing.F) {
	f.Add(aboutText)
	f.Add(strings.Replace(aboutText, `"made"`, `"repository":"https://github.com/acme/other","made"`, 1))
	f.Add(strings.Replace(aboutText, `"made"`, `"Repository":"https://github.com/acme/other","made"`, 1))
	f.Add(strings.Replace(aboutText, `"default":""`, `"default":null`, 1))
	f.Fuzz(func(t *testing.T, text string) {
		b := New()
		if b.about([]byte(text)) != nil {
			return
		}
		var seen map[string]string
		if err := json.Unmarshal([]byte(text), &seen); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		made, err := time.Parse(time.RFC3339, seen["made"])
		if err != nil || len(seen) != 4 || seen["schema"] != schema || seen["repository"] != b.Repository.String() ||
			seen["default"] != b.Default ||
			!made.Equal(b.Made) {
			t.Errorf("%s is read as %+v: %v", text, b, err)
		}
		for key := range seen {
			if strings.Count(text, `"`+key+`"`) > 1 && !strings.Contains(seen["default"], `"`) &&
				!strings.Contains(text, `\`) {
				t.Errorf("%s: %q stands twice", text, key)
			}
		}
	})
}
