// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// TestSignatureName: only files of the one directory are signatures, whatever
// they are called.
func TestSignatureName(t *testing.T) {
	for _, v1 := range []bool{true, false} {
		if n := bindings.SignatureName(12, []byte("cert"), v1); !bindings.IsSignatureName(n) ||
			strings.HasSuffix(n, ".v1"+bindings.SignatureSuffix) != v1 {
			t.Errorf("%s", n)
		}
	}
	for name, want := range map[string]bool{
		bindings.SignaturesDir + "/x.sigstore.json":               true,
		bindings.SignaturesDir + "/\x1b[2J\n\u202e.sigstore.json": true, // a name is only shown
		bindings.SignaturesDir + "/-rf.sigstore.json":             true,
		bindings.SignaturesDir + "/.sigstore.json":                true,
		bindings.SignaturesDir + "/..sigstore.json":               true,
		"":                                 false,
		"x.sigstore.json":                  false,
		bindings.SignaturesDir:             false,
		bindings.SignaturesDir + "/":       false,
		bindings.SignaturesDir + "/x.json": false,
		bindings.SignaturesDir + "/x.sigstore.json.txt":    false,
		bindings.SignaturesDir + "/x.SIGSTORE.JSON":        false,
		bindings.SignaturesDir + "/x.sigstore.json/":       false,
		bindings.SignaturesDir + "/x.sigstore.json\x00":    false,
		bindings.SignaturesDir + "/a/x.sigstore.json":      false,
		bindings.SignaturesDir + "//x.sigstore.json":       false,
		bindings.SignaturesDir + "/../x.sigstore.json":     false,
		bindings.SignaturesDir + "x/x.sigstore.json":       false,
		"/" + bindings.SignaturesDir + "/x.sigstore.json":  false,
		"./" + bindings.SignaturesDir + "/x.sigstore.json": false,
		"x/" + bindings.SignaturesDir + "/x.sigstore.json": false,
		".REPOPOLICY/signatures/x.sigstore.json":           false,
		`.repopolicy\signatures\x.sigstore.json`:           false,
	} {
		if got := bindings.IsSignatureName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// FuzzSignatureName: what is taken for a signature is directly below the
// directory.
func FuzzSignatureName(f *testing.F) {
	for _, s := range []string{"x.sigstore.json", "../x.sigstore.json", "a/x.sigstore.json", ".sigstore.json", ""} {
		f.Add(bindings.SignaturesDir + "/" + s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if bindings.IsSignatureName(name) &&
			(path.Dir(name) != bindings.SignaturesDir || path.Clean(name) != name ||
				!strings.HasSuffix(name, bindings.SignatureSuffix)) {
			t.Fatalf("%q", name)
		}
	})
}

// TestCollectJunk: whatever else lies there changes nothing, and is listed.
func TestCollectJunk(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	stranger := bindtest.NewChained(t, 2)
	good := c.Files[0].Data
	cut := func(n int) []byte { return good[:len(good)-n] }
	junk := map[string][]byte{
		"empty": nil, "NUL": make([]byte, 100), "a page": []byte("<!doctype html>"), "null": []byte("null"),
		"a list": []byte("[]"), "an object": []byte("{}"),
		"cut": cut(
			1,
		), "doubled": append(append([]byte{}, good...), good...), "deep": []byte(strings.Repeat("[", 100_000)),
		"large":              append(append([]byte{}, good...), make([]byte, sigstore.MaxBundleBytes)...),
		"under another root": stranger.Files[0].Data,
		"a link":             []byte("../../../../etc/passwd"),
		"no statement": c.Inst.Sign(
			sigstoretest.Request{
				Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com",
			},
		),
		"another statement": c.Inst.Sign(
			sigstoretest.Request{
				Statement: []byte(
					`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"` + strings.Repeat(
						"a", 64,
					) + `"}}],"predicateType":"x"}`,
				),
				SAN:    "alice@example.com",
				Issuer: "https://accounts.google.com",
			},
		),
		"another payload": []byte(strings.Replace(string(good), `"payload":"ey`, `"payload":"ew`, 1)),
	}
	lookup := c.Scan(c.Honest(), bindtest.NewState(t))
	for _, before := range []bool{true, false} {
		files := c.Files
		for name, data := range junk {
			f := bindings.File{Name: bindings.SignaturesDir + "/" + name + bindings.SignatureSuffix, Data: data}
			if files = append(append([]bindings.File{}, files...), f); before {
				files = append([]bindings.File{f}, files[:len(files)-1]...)
			}
		}
		files = append(
			files, bindings.File{Name: "../../../x", Data: good}, bindings.File{Name: "", Data: good},
		) // the same bytes again
		res := c.Resolve(files, lookup)
		if res.Chain.Reason() != "" || len(res.Chain.Versions()) != 2 {
			t.Errorf("%s %+v", res.Chain.Reason(), res.Chain.Problems())
		}
		if len(res.Ignored) != len(junk) {
			t.Errorf("%d of %d are listed: %v", len(res.Ignored), len(junk), res.Ignored)
		}
		for _, i := range res.Ignored {
			if i.Name == "" || i.Why == "" {
				t.Errorf("%+v", i)
			}
		}
	}
}

// TestCollectCaps: what is beyond a cap is listed and not read.
func TestCollectCaps(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	read := func(filler []bindings.File) bool {
		col, ignored := bindings.Collect(c.Root, nil, append(filler, c.Files[0]))
		h := col.History(bindtest.Locator(t, bindtest.Widget), sigstoretest.Now)
		if (len(h.Signatures) == 1) == (len(ignored) > 0 && ignored[len(ignored)-1].Name == c.Files[0].Name) {
			t.Errorf("%d signatures, ignored %v", len(h.Signatures), ignored[max(0, len(ignored)-1):])
		}
		return len(h.Signatures) == 1
	}
	empty := func(n int) []bindings.File { return make([]bindings.File, n) }
	if !read(empty(bindings.MaxSignatureFiles-1)) || read(empty(bindings.MaxSignatureFiles)) {
		t.Error("another number of files is read")
	}
	block := make([]byte, 16<<20)
	var full []bindings.File
	for i := range bindings.MaxSignatureBytes / len(block) {
		full = append(full, bindings.File{Name: fmt.Sprint(i), Data: block})
	}
	fits := append([]bindings.File{}, full...)
	fits[0].Data = block[:len(block)-len(c.Files[0].Data)]
	if !read(fits) {
		t.Error("less is read than fits")
	}
	fits[0].Data = block[:len(block)-len(c.Files[0].Data)+1]
	if read(fits) {
		t.Error("more is read than fits")
	}
}
