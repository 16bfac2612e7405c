// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// TestSignatureName: only files of the one directory are signatures, whatever
// they are called.
func TestSignatureName(t *testing.T) {
	for _, v1 := range []bool{true, false} {
		if n := SignatureName(12, []byte("cert"), v1); !IsSignatureName(n) || strings.HasSuffix(n, ".v1"+signatureSuffix) != v1 {
			t.Errorf("%s", n)
		}
	}
	for name, want := range map[string]bool{
		SignaturesDir + "/x.sigstore.json":               true,
		SignaturesDir + "/\x1b[2J\n\u202e.sigstore.json": true, // a name is only shown
		SignaturesDir + "/-rf.sigstore.json":             true,
		SignaturesDir + "/.sigstore.json":                true,
		SignaturesDir + "/..sigstore.json":               true,
		"":                                               false,
		"x.sigstore.json":                                false,
		SignaturesDir:                                    false,
		SignaturesDir + "/":                              false,
		SignaturesDir + "/x.json":                        false,
		SignaturesDir + "/x.sigstore.json.txt":           false,
		SignaturesDir + "/x.SIGSTORE.JSON":               false,
		SignaturesDir + "/x.sigstore.json/":              false,
		SignaturesDir + "/x.sigstore.json\x00":           false,
		SignaturesDir + "/a/x.sigstore.json":             false,
		SignaturesDir + "//x.sigstore.json":              false,
		SignaturesDir + "/../x.sigstore.json":            false,
		SignaturesDir + "x/x.sigstore.json":              false,
		"/" + SignaturesDir + "/x.sigstore.json":         false,
		"./" + SignaturesDir + "/x.sigstore.json":        false,
		"x/" + SignaturesDir + "/x.sigstore.json":        false,
		".REPOPOLICY/signatures/x.sigstore.json":         false,
		`.repopolicy\signatures\x.sigstore.json`:         false,
	} {
		if got := IsSignatureName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// FuzzSignatureName: what is taken for a signature is directly below the
// directory.
func FuzzSignatureName(f *testing.F) {
	for _, s := range []string{"x.sigstore.json", "../x.sigstore.json", "a/x.sigstore.json", ".sigstore.json", ""} {
		f.Add(SignaturesDir + "/" + s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if IsSignatureName(name) && (path.Dir(name) != SignaturesDir || path.Clean(name) != name || !strings.HasSuffix(name, signatureSuffix)) {
			t.Fatalf("%q", name)
		}
	})
}

// TestCollectJunk: whatever else lies there changes nothing, and is listed.
func TestCollectJunk(t *testing.T) {
	c := newChained(t, 2)
	stranger := newChained(t, 2)
	good := c.files[0].Data
	cut := func(n int) []byte { return good[:len(good)-n] }
	junk := map[string][]byte{
		"empty": nil, "NUL": make([]byte, 100), "a page": []byte("<!doctype html>"), "null": []byte("null"), "a list": []byte("[]"), "an object": []byte("{}"),
		"cut": cut(1), "doubled": append(append([]byte{}, good...), good...), "deep": []byte(strings.Repeat("[", 100_000)),
		"large":              append(append([]byte{}, good...), make([]byte, sigstore.MaxBundleBytes)...),
		"under another root": stranger.files[0].Data,
		"a link":             []byte("../../../../etc/passwd"),
		"no statement":       c.inst.Sign(sigstoretest.Request{Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com"}),
		"another statement":  c.inst.Sign(sigstoretest.Request{Statement: []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"` + strings.Repeat("a", 64) + `"}}],"predicateType":"x"}`), SAN: "alice@example.com", Issuer: "https://accounts.google.com"}),
		"another payload":    []byte(strings.Replace(string(good), `"payload":"ey`, `"payload":"ew`, 1)),
	}
	lookup := c.scan(c.honest(), NewState(t))
	for _, before := range []bool{true, false} {
		files := c.files
		for name, data := range junk {
			f := File{SignaturesDir + "/" + name + signatureSuffix, data}
			if files = append(append([]File{}, files...), f); before {
				files = append([]File{f}, files[:len(files)-1]...)
			}
		}
		files = append(files, File{"../../../x", good}, File{"", good}) // the same bytes again
		res := c.resolve(files, lookup)
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
	c := newChained(t, 2)
	read := func(filler []File) bool {
		col, ignored := Collect(c.root, nil, append(filler, c.files[0]))
		h := col.History(locator(t, widget), sigstoretest.Now)
		if (len(h.Signatures) == 1) == (len(ignored) > 0 && ignored[len(ignored)-1].Name == c.files[0].Name) {
			t.Errorf("%d signatures, ignored %v", len(h.Signatures), ignored[max(0, len(ignored)-1):])
		}
		return len(h.Signatures) == 1
	}
	empty := func(n int) []File { return make([]File, n) }
	if !read(empty(MaxSignatureFiles-1)) || read(empty(MaxSignatureFiles)) {
		t.Error("another number of files is read")
	}
	block := make([]byte, 16<<20)
	var full []File
	for i := range MaxSignatureBytes / len(block) {
		full = append(full, File{fmt.Sprint(i), block})
	}
	fits := append([]File{}, full...)
	fits[0].Data = block[:len(block)-len(c.files[0].Data)]
	if !read(fits) {
		t.Error("less is read than fits")
	}
	fits[0].Data = block[:len(block)-len(c.files[0].Data)+1]
	if read(fits) {
		t.Error("more is read than fits")
	}
}
