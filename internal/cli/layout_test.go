// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layoutOf makes the files of an OCI layout.
type layoutOf struct {
	t     *testing.T
	files map[string][]byte
	index []any
}

func newLayoutOf(t *testing.T) *layoutOf {
	return &layoutOf{t: t, files: map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

func (l *layoutOf) blob(mediaType string, data []byte) map[string]any {
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	l.files["blobs/sha256/"+sum] = data
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(data)}
}

func (l *layoutOf) json(v any) []byte {
	l.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

// manifest adds a manifest with these layers to the blobs.
func (l *layoutOf) manifest(layers ...any) map[string]any {
	return l.blob("application/vnd.oci.image.manifest.v1+json", l.json(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": l.blob("application/vnd.oci.image.config.v1+json", []byte("{}")), "layers": layers,
	}))
}

func (l *layoutOf) done() map[string][]byte {
	out := maps.Clone(l.files)
	out["index.json"] = l.json(map[string]any{"schemaVersion": 2, "manifests": l.index})
	return out
}

// TestLayoutFiles: what a directory holds does not choose what of it is judged. A
// layout is its images, and whatever is no part of it denies.
func TestLayoutFiles(t *testing.T) {
	s := newShop(t)
	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	signed := func(l *layoutOf) map[string]any {
		image := l.manifest(l.blob("application/vnd.oci.image.layer.v1.tar", []byte("layer")))
		l.index = append(l.index, image)
		sum := strings.TrimPrefix(image["digest"].(string), "sha256:")
		st := fmt.Sprintf(
			`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},`+
				`"subject":[{"name":"widget_image","digest":{"sha256":%q}}]}`,
			sum,
		)
		r := s.workflow()
		r.Statement = []byte(st)
		l.index = append(l.index, l.manifest(l.blob(bundle, s.inst.Sign(r))))
		return image
	}
	for name, c := range map[string]struct {
		change func(l *layoutOf, files map[string][]byte)
		exit   int
		says   string
	}{
		"as it should be": {says: "  released by acme"},
		"two unsigned files": {
			func(_ *layoutOf, f map[string][]byte) { f["install.sh"], f["widget_1"] = []byte("x"), []byte("y") }, 1,
			"passed-over",
		},
		"a file among the blobs": {
			func(_ *layoutOf, f map[string][]byte) { f["blobs/sha256/install.sh"] = []byte("x") }, 1, "passed-over",
		},
		"a blob that is called wrongly": {
			func(_ *layoutOf, f map[string][]byte) { f["blobs/sha256/"+strings.Repeat("0a", 32)] = []byte("x") }, 1,
			"passed-over",
		},
		"a blob of another algorithm": {
			func(_ *layoutOf, f map[string][]byte) { f["blobs/md5/"+strings.Repeat("0a", 16)] = []byte("x") }, 1, "passed-over",
		},
		"a blob in a deeper folder": {
			func(_ *layoutOf, f map[string][]byte) { f["blobs/sha256/a/b"] = []byte("x") }, 1, "passed-over",
		},
		"a layout in a layout": {
			func(_ *layoutOf, f map[string][]byte) { f["blobs/oci-layout"] = f["oci-layout"] }, 1, "passed-over",
		},
		"evidence beside": {
			func(_ *layoutOf, f map[string][]byte) { f["index.json.sigstore.json"] = s.sign([]byte("x")) }, 1, "passed-over",
		},
		"a blob that nothing leads to": {func(l *layoutOf, f map[string][]byte) {
			l.blob("", []byte("left over"))
			maps.Copy(f, l.files)
		}, 0, "not judged: 1, passed over"},
		"an unsigned image": {func(l *layoutOf, f map[string][]byte) {
			l.index = append(l.index, l.manifest(l.blob("application/vnd.oci.image.layer.v1.tar", []byte("evil"))))
			maps.Copy(f, l.done())
		}, 1, "1 of 2"},
		"an image that is called evidence": {func(l *layoutOf, f map[string][]byte) {
			l.index = append(l.index, l.manifest(l.blob(bundle, []byte("#!/bin/sh"))))
			maps.Copy(f, l.done())
		}, 1, "1 of 2"},
		"evidence for another image": {func(l *layoutOf, f map[string][]byte) {
			l.index = append(l.index, l.manifest(l.blob(bundle, s.sign([]byte("another")))))
			maps.Copy(f, l.done())
		}, 1, "1 of 2"},
		"a layer that is changed": {func(l *layoutOf, f map[string][]byte) {
			f[fmt.Sprintf("blobs/sha256/%x", sha256.Sum256([]byte("layer")))] = []byte("LAYER")
		}, 1, "artifact-mismatch"},
	} {
		l := newLayoutOf(t)
		image := signed(l)
		files := l.done()
		if c.change != nil {
			c.change(l, files)
		}
		dir := filepath.Join(t.TempDir(), "layout")
		s.write(dir, files)
		code, out := s.run(dir)
		if code != c.exit || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d\n%s", name, code, out)
		}
		// One image of it is what its digest says, whatever lies around.
		want := 0
		if strings.Contains(name, "layer") {
			want = 1
		}
		if code, out := s.run(dir + "@" + image["digest"].(string)); code != want {
			t.Errorf("%s, one image: exit %d\n%s", name, code, out)
		}
	}
	l := newLayoutOf(t)
	signed(l)
	dir := filepath.Join(t.TempDir(), "layout")
	s.write(dir, l.done())
	for name, link := range map[string]string{"link": "/etc/hosts", "blobs/sha512": ".."} {
		if err := os.Symlink(link, filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
		if code, out := s.run(dir); code != 1 {
			t.Errorf("a link called %s: exit %d\n%s", name, code, out)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
