// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

var (
	zeros = "sha256:" + strings.Repeat("0", 64)
	blob  = `{"mediaType":"a/b","digest":"` + zeros + `","size":2}`
	image = `{"schemaVersion":2,"mediaType":"` + TypeImage + `","config":` + blob + `,"layers":[` + blob + `]}`
	index = `{"schemaVersion":2,"mediaType":"` + TypeIndex + `","manifests":[` + blob + `]}`
)

func TestManifest(t *testing.T) {
	one := func(old, with string) string { return strings.Replace(image, old, with, 1) }
	for name, c := range map[string]struct{ text, want string }{ // want is "" for what is read
		"an image":             {image, ""},
		"an index":             {index, ""},
		"Docker's":             {strings.Replace(image, TypeImage, typeDockerImage, 1), ""},
		"a media type less":    {one(`"mediaType":"`+TypeImage+`",`, ""), ""},
		"another media type":   {one(TypeImage, "application/x"), ""},
		"what is not known":    {one(`{`, `{"x":null,`), ""},
		"a longer digest":      {strings.Replace(image, zeros, "sha512:"+strings.Repeat("0", 128), 1), ""},
		"nothing":              {"", "EOF"},
		"no object":            {"[]", "not a JSON object"},
		"half":                 {image[:len(image)-1], "unexpected end"},
		"and more":             {image + "{}", "follows"},
		"no UTF-8":             {one("a/b", "\xff"), "UTF-8"},
		"a key twice":          {one(`"layers"`, `"layers":[],"layers"`), "stands twice"},
		"a key twice, deeper":  {one(`"size":2`, `"size":2,"x":{"a":1,"a":1}`), "stands twice"},
		"no version":           {one(`"schemaVersion":2,`, ""), "schema version"},
		"another version":      {one(`"schemaVersion":2`, `"schemaVersion":1`), `schema version "1"`},
		"a version in text":    {one(`"schemaVersion":2`, `"schemaVersion":"2"`), "schema version"},
		"a type that is none":  {one(`"`+TypeImage+`"`, "1"), "mediaType is not text"},
		"no artifact type":     {one(`{`, `{"artifactType":1,`), "artifactType is not text"},
		"both":                 {one(`"layers"`, `"manifests":[],"layers"`), "both"},
		"an image as index":    {one(TypeImage, TypeIndex), "not what its media type says"},
		"as Docker's index":    {one(TypeImage, typeDockerIndex), "not what its media type says"},
		"an index as image":    {strings.Replace(index, TypeIndex, TypeImage, 1), "not what its media type says"},
		"as Docker's image":    {strings.Replace(index, TypeIndex, typeDockerImage, 1), "not what its media type says"},
		"no config":            {one(`"config":`+blob+`,`, ""), "config:"},
		"layers that are none": {one(`"layers":[`+blob+`]`, `"layers":{}`), "layers is not a list"},
		"too many layers": {
			one(`[`, `[`+strings.Repeat(blob+",", MaxDescriptors)), fmt.Sprint(MaxDescriptors+1, " layers"),
		},
		"a layer in text":        {one(`[`, `["x",`), "layers[0]: not a JSON object"},
		"no digest":              {one(`"digest":"`+zeros+`",`, ""), `"" is no digest`},
		"a digest of a path":     {one(zeros, "sha256:../x"), "is no digest"},
		"a digest of Git's":      {one(zeros, "gitCommit:"+strings.Repeat("0", 40)), "is no digest"},
		"a digest in capitals":   {one(zeros, "sha256:"+strings.Repeat("A", 64)), "is no digest"},
		"a digest's number":      {one(`"`+zeros+`"`, "1"), "digest is not text"},
		"no size":                {one(`,"size":2`, ""), "no size"},
		"a size of null":         {one(`"size":2`, `"size":null`), "no size"},
		"a size below zero":      {one(`"size":2`, `"size":-1`), "no size"},
		"a size of a fraction":   {one(`"size":2`, `"size":1.5`), "no size"},
		"a layer's type":         {one(`"a/b"`, "1"), "mediaType is not text"},
		"a layer's artifact":     {one(`"size":2`, `"size":2,"artifactType":1`), "artifactType is not text"},
		"annotations in a list":  {one(`"size":2`, `"size":2,"annotations":[]`), "annotations:"},
		"annotations of numbers": {one(`{`, `{"annotations":{"a":1},`), "annotations: a is not text"},
		"a subject that is none": {one(`{`, `{"subject":{},`), "subject:"},
	} {
		m, err := ParseManifest([]byte(c.text))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %+v %v, want %q", name, m, err, c.want)
		}
	}
	text := strings.Replace(image, `{`, `{"artifactType":"x/y","annotations":{"a":"b"},"subject":`+blob+`,`, 1)
	got, err := ParseManifest([]byte(text))
	d := Descriptor{
		MediaType: "a/b", Digest: policy.Digest{Alg: "sha256", Hex: strings.Repeat("0", 64)}, Size: 2,
		Annotations: map[string]string{},
	}
	want := &Manifest{
		MediaType: TypeImage, ArtifactType: "x/y", Config: d, Layers: []Descriptor{d}, Subject: &d,
		Annotations: map[string]string{"a": "b"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// FuzzManifest: whatever is read has digests by which content can be checked, and is of one
// kind.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(image))
	f.Add([]byte(index))
	f.Add([]byte(`{"schemaVersion":2,"config":{},"layers":[],"subject":null,"annotations":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			return
		}
		if m.IsIndex && (m.Layers != nil || m.Config.Digest != policy.Digest{}) || !m.IsIndex && m.Manifests != nil {
			t.Errorf("of two kinds: %+v", m)
		}
		all := append(m.Manifests, m.Layers...)
		if !m.IsIndex {
			all = append(all, m.Config)
		}
		for _, d := range all {
			if again, err := ParseDigest(d.Digest.String()); err != nil || again != d.Digest || d.Size < 0 {
				t.Errorf("%+v: %v", d, err)
			}
			_ = d.verifier() // which panics for an algorithm that it does not know
		}
	})
}

// describe returns the descriptor of a text.
func describe(t *testing.T, text string) Descriptor {
	t.Helper()
	sums := map[string]string{
		"hi": "sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
	}
	d, err := ParseDigest(sums[text])
	if err != nil {
		t.Fatal(err)
	}
	return Descriptor{Digest: d, Size: int64(len(text))}
}

func TestRead(t *testing.T) {
	hi := describe(t, "hi")
	of := func(size int64) Descriptor { return Descriptor{Digest: hi.Digest, Size: size} }
	for name, c := range map[string]struct {
		text  string
		d     Descriptor
		limit int64
		want  string
	}{
		"what it is":      {"hi", hi, 2, ""},
		"other bytes":     {"ho", hi, 2, "another digest"},
		"less":            {"h", hi, 2, "not of 2 bytes"},
		"more":            {"hi!", hi, 3, "not of 2 bytes"},
		"too much":        {"hi", hi, 1, "at most 1 are read"},
		"a negative size": {"", of(-1), 2, "-1 bytes"},
	} {
		got, err := Read(strings.NewReader(c.text), c.d, c.limit)
		if c.want == "" && (err != nil || string(got) != c.text) ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
	if _, err := Read(failing{}, hi, 2); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrClosed }

func TestLayout(t *testing.T) {
	hi := describe(t, "hi")
	path := BlobPath(hi.Digest)
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string // of any error; "" for none
	}{
		"good":              {func(*testing.T, string) {}, ""},
		"no version":        {write(LayoutFile, "{}"), `version ""`},
		"another version":   {write(LayoutFile, `{"imageLayoutVersion":"2.0.0"}`), `version "2.0.0"`},
		"a version's junk":  {write(LayoutFile, "x"), "not a JSON object"},
		"a version twice":   {write(LayoutFile, `{"imageLayoutVersion":"2","imageLayoutVersion":"1.0.0"}`), "twice"},
		"no layout":         {remove(LayoutFile), LayoutFile},
		"no index":          {remove(IndexFile), IndexFile},
		"an index's junk":   {write(IndexFile, "x"), IndexFile},
		"an image as index": {write(IndexFile, image), "lists no manifests"},
		"no blob":           {remove(path), "not found"},
		"other bytes":       {write(path, "ho"), "another digest"},
		"a longer blob":     {write(path, "hi!"), "has 3 bytes"},
		"a blob by a link": {func(t *testing.T, dir string) {
			remove(path)(t, dir)
			write("hi", "hi")(t, dir)
			if err := os.Symlink(filepath.Join(dir, "hi"), filepath.Join(dir, path)); err != nil {
				t.Skip(err)
			}
		}, path},
	} {
		dir := t.TempDir()
		for file, text := range map[string]string{
			LayoutFile: `{"imageLayoutVersion":"1.0.0"}`, IndexFile: index, path: "hi",
		} {
			write(file, text)(t, dir)
		}
		c.change(t, dir)
		err := readAll(t.Context(), dir, hi)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// readAll reads all of a layout in both ways, which have to agree.
func readAll(ctx context.Context, dir string, d Descriptor) error {
	l, err := OpenLayout(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Index(); err != nil {
		return err
	}
	_, err = l.Blob(ctx, d, 2)
	if checked := l.Check(ctx, d); (err == nil) != (checked == nil) {
		return fmt.Errorf("two answers: %w, %w", err, checked)
	}
	if _, small := l.Blob(ctx, d, 1); small == nil {
		return errors.New("beyond the limit")
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err == nil && l.Check(ended, d) == nil {
		return errors.New("after the end")
	}
	return err
}

func write(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
