// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

func locator(t testing.TB, text string) policy.Locator {
	t.Helper()
	l, err := policy.ParseLocator(text)
	check(t, err)
	return l
}

// vectors calls f with the header and body of each vector of a kind.
func vectors(t *testing.T, kind string, least int, f func(t *testing.T, header map[string]string, body string)) {
	t.Helper()
	files, err := filepath.Glob("../../schema/testdata/" + kind + "/*.txt")
	if err != nil || len(files) < least {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			check(t, err)
			head, body, ok := strings.Cut(string(data), "\n\n")
			if !ok {
				t.Fatal("no empty line after the header")
			}
			header := map[string]string{}
			for line := range strings.Lines(head) {
				k, v, ok := strings.Cut(strings.TrimSpace(line), ": ")
				if !ok || header[k] != "" ||
					!slices.Contains([]string{"expect", "requirement", "source", "target", "statement", "sha256", "schema"}, k) {
					t.Errorf("%q", line)
				}
				header[k] = v
			}
			if header["requirement"] == "" || header["source"] == "" {
				t.Error("no requirement or no source")
			}
			f(t, header, body)
		})
	}
}

// TestAnchorVectors runs the vectors of schema/testdata/anchor.
func TestAnchorVectors(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../schema/anchor-v1.json")
	check(t, err)
	vectors(t, "anchor", 20, func(t *testing.T, header map[string]string, body string) {
		a, err := ParseAnchor([]byte(body))
		if (err == nil) != (header["expect"] == "OK") {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		if AnchorTarget(a.Repository) != header["target"] || "sha256:"+a.Statement != header["statement"] {
			t.Errorf("%s %s", AnchorTarget(a.Repository), a.Statement)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		check(t, err)
		check(t, schema.Validate(doc))
	})
}

// FuzzAnchor: what is read is written as something that is read as the same.
func FuzzAnchor(f *testing.F) {
	f.Add(Anchor{Repository: locator(f, "https://github.com/acme/widget"), Statement: strings.Repeat("0a", 32)}.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAnchor(data)
		if err != nil {
			return
		}
		again, err := ParseAnchor(a.Bytes())
		if err != nil || again != a {
			t.Errorf("%+v became %+v: %v", a, again, err)
		}
	})
}

func TestAnchorPattern(t *testing.T) {
	for pattern, want := range map[string]string{
		"https://github.com/acme/*":         "repopolicy/anchors/github.com/acme/*.json",
		"https://github.com/acme/widget":    "repopolicy/anchors/github.com/acme/widget.json",
		"https://git.example:8443/a/b/c-*":  "repopolicy/anchors/git.example:8443/a/b/c-*.json",
		"https://*/acme/widget":             "",
		"https://github.com/acme/**":        "",
		"https://github.com/acme/wid?et":    "",
		"https://github.com/acme/[a]":       "",
		"https://github.com/*":              "",
		"https://github.com/Acme/*":         "",
		"http://github.com/acme/*":          "",
		"github.com/acme/*":                 "",
		"https://github.com/acme/../widget": "",
	} {
		if got, err := AnchorPattern(pattern); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", pattern, got, err)
		}
	}
}

// superRoot is a repository with targets, and a client that has read it.
func superRoot(t testing.TB, targets map[string]string) *tuf.Client {
	t.Helper()
	key, signer := fileKey(t)
	s := author.Setup{Keys: []author.Key{key}, Threshold: 1}
	r, err := author.Create(t.TempDir(), now, map[string]author.Setup{
		author.Root: s, author.Targets: s, author.Snapshot: s, author.Timestamp: s,
	})
	check(t, err)
	defer r.Close()
	for path, data := range targets {
		check(t, r.Add(author.Targets, path, []byte(data)))
	}
	_, err = r.Sign(t.Context(), signer)
	check(t, err)
	check(t, r.Publish(t.Context(), []author.Signer{signer}, nil))
	files, err := r.Files(t.Context())
	check(t, err)
	c, err := tuf.New(tuf.Options{
		Root: files.Metadata["1.root.json"], Source: files.Source(), Now: func() time.Time { return now },
	})
	check(t, err)
	check(t, c.Refresh(t.Context()))
	return c
}

// TestFindAnchor: nothing is not the same as something that cannot be read.
func TestFindAnchor(t *testing.T) {
	widget, gadget := locator(t, "https://github.com/acme/widget"), locator(t, "https://github.com/acme/gadget")
	anchor := Anchor{Repository: widget, Statement: strings.Repeat("0a", 32)}
	c := superRoot(t, map[string]string{AnchorTarget(widget): string(anchor.Bytes())})
	if got, err := FindAnchor(t.Context(), c, widget); err != nil || got == nil || *got != anchor {
		t.Errorf("%v %v", got, err)
	}
	if got, err := FindAnchor(t.Context(), c, gadget); err != nil || got != nil {
		t.Errorf("%v %v", got, err)
	}
	for name, data := range map[string]string{"about another": string(anchor.Bytes()), "malformed": "{}", "empty": ""} {
		c := superRoot(t, map[string]string{AnchorTarget(gadget): data})
		got, err := FindAnchor(t.Context(), c, gadget)
		var e *sigstore.Error
		if got != nil || !errors.As(err, &e) || e.Reason != policy.TrustRootInvalid {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// nothing is listed.
func nothing(string) ([]byte, error) { return nil, nil }

// TestCheckTarget: what clients would refuse is not to be published.
func TestCheckTarget(t *testing.T) {
	widget := locator(t, "https://github.com/acme/widget")
	anchor := string(Anchor{Repository: widget, Statement: strings.Repeat("0a", 32)}.Bytes())
	_, vkey, err := note.GenerateKey(rand.Reader, "directory.example")
	check(t, err)
	directory := string((&answers.Descriptor{URL: "https://directory.example", Key: vkey}).Bytes())
	for name, c := range map[string]struct {
		path, data string
		ok         bool
	}{
		"an anchor":           {AnchorTarget(widget), anchor, true},
		"an anchor elsewhere": {AnchorsDir + "github.com/acme/gadget.json", anchor, false},
		"no anchor":           {AnchorTarget(widget), "{}", false},
		"no trusted root":     {TrustedRootTarget, "{}x", false},
		"no signing config":   {SigningConfigTarget, "{}x", false},
		"no config for v2":    {SigningConfigV2Target, "[]", false},
		"no forge table":      {ForgesTarget, "{}", false},
		"a directory":         {DirectoryTarget, directory, true},
		"no directory":        {DirectoryTarget, "{}", false},
		"bad witnesses": {
			DirectoryTarget,
			string((&answers.Descriptor{URL: "https://directory.example", Key: vkey, Witnesses: "x"}).Bytes()), false,
		},
		"an unknown member": {DirectoryTarget, strings.Replace(directory, "{", `{"x":1,`, 1), false},
		"something else":    {"README", "x", true},
	} {
		if err := CheckTarget(c.path, []byte(c.data), time.Now(), nothing); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff("repopolicy/anchors/github.com/acme/widget.json", AnchorTarget(widget)); diff != "" {
		t.Error(diff)
	}
}
