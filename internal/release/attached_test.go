// SPDX-License-Identifier: Apache-2.0

package release

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestAttached: evidence is found in manifests that are attached to an image of a layout without
// being listed, as `cosign save` writes them, and in no other file of it.
func TestAttached(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	about := func(digest string) []byte {
		r := alice()
		r.Statement = statement(`{"name":"ghcr.io/acme/widget","digest":{"sha256":"` +
			strings.TrimPrefix(digest, "sha256:") + `"}}`)
		return inst.Sign(r)
	}
	itself := func(image object) any { return image }
	other := "sha256:" + strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		subject func(image object) any // nil for none
		about   string                 // digest; "" for the image
		change  func(m object)
		spoil   func(dir, manifest string)
		want    policy.Reason
	}{
		"attached":          {subject: itself, want: policy.Allowed},
		"without a subject": {want: policy.NoEvidence},
		"to another image": {
			subject: func(i object) any { return object{"digest": other, "size": i["size"]} }, want: policy.NoEvidence,
		},
		"about another image":    {subject: itself, about: other, want: policy.ArtifactMismatch},
		"a subject that is none": {subject: func(object) any { return "x" }, want: policy.NoEvidence},
		"an index with a subject": {subject: itself, want: policy.NoEvidence, change: func(m object) {
			delete(m, "config")
			delete(m, "layers")
			m["manifests"] = []any{}
		}},
		"a manifest of a new kind": {
			subject: itself, change: func(m object) { m["schemaVersion"] = 3 }, want: policy.NoEvidence,
		},
		"other bytes": {
			subject: itself, want: policy.NoEvidence,
			spoil: func(dir, manifest string) {
				data, err := os.ReadFile(filepath.Join(dir, manifest))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, manifest), append(data, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		},
		"a link": {
			subject: itself, want: policy.NoEvidence,
			spoil: func(dir, manifest string) {
				at := filepath.Join(dir, manifest)
				if err := os.Rename(at, filepath.Join(dir, "moved")); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join(dir, "moved"), at); err != nil {
					t.Skip(err)
				}
			},
		},
	} {
		i := newImages(t)
		i.image(i.blob("application/vnd.oci.image.layer.v1.tar", []byte("layer"), nil))
		image := i.index[0].(object)
		digest := image["digest"].(string)
		signed := c.about
		if signed == "" {
			signed = digest
		}
		m := object{
			"schemaVersion": 2, "mediaType": typeManifest,
			"config": i.blob("application/vnd.oci.empty.v1+json", []byte("{}"), nil),
			"layers": []any{i.blob(bundle, about(signed), nil)},
		}
		if c.subject != nil {
			m["subject"] = c.subject(image)
		}
		if c.change != nil {
			c.change(m)
		}
		attached := i.blob(typeManifest, marshal(t, m), nil)
		dir := put(t, i.layout())
		if c.spoil != nil {
			c.spoil(dir, "blobs/sha256/"+strings.TrimPrefix(attached["digest"].(string), "sha256:"))
		}
		for _, arg := range []string{dir, dir + "@" + digest} {
			res := run(judge(pin(t, peopleRule), root), arg)
			if res[0].Decision.Reason != c.want {
				t.Errorf("%s, %s: %s (%s), want %s", name, arg, res[0].Decision.Reason, res[0].Decision.Detail, c.want)
			}
		}
		j := judge(pin(t, peopleRule), root)
		j.Bundles = []string{dir}
		if got := run(j, digest)[0].Decision.Reason; (got == policy.Allowed) != (c.want == policy.Allowed) {
			t.Errorf("%s, the layout as evidence: %s", name, got)
		}
		// What is attached is no image that could be judged or named.
		if run(judge(pin(t, peopleRule), root), dir+"@"+attached["digest"].(string))[0].Class() == policy.ClassOK {
			t.Errorf("%s: what is attached is allowed", name)
		}
		if name == "other bytes" || name == "a link" {
			continue
		}
		if inputs := Expand(t.Context(), []string{dir}, Options{}); len(others(inputs)) != 1 {
			t.Errorf("%s: %d inputs are judged", name, len(others(inputs)))
		}
	}
	// A layout without blobs.
	if res := run(judge(pin(t, peopleRule), root), put(t, map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": []byte(`{"schemaVersion":2,"manifests":[]}`),
	}))[0]; res.Decision.Reason != policy.NoArtifacts {
		t.Errorf("an empty layout: %s %s", res.Decision.Reason, res.Decision.Detail)
	}
}

// TestBundleOnce: a bundle that many manifests have is read once, and each of them consists of it.
func TestBundleOnce(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	i := newImages(t)
	digest := i.image(i.blob("application/vnd.oci.image.layer.v1.tar", []byte("layer"), nil))
	image := i.index[0].(object)
	r := alice()
	r.Statement = statement(`{"name":"ghcr.io/acme/widget","digest":{"sha256":"` +
		strings.TrimPrefix(digest, "sha256:") + `"}}`)
	const many = 50
	bundle := i.blob("application/vnd.dev.sigstore.bundle.v0.3+json", inst.Sign(r), nil)
	for n := range 2 * many {
		m := object{
			"schemaVersion": 2, "mediaType": typeManifest, "layers": []any{bundle},
			"annotations": object{"n": strings.Repeat("x", n)},
			"config":      i.blob("application/vnd.oci.empty.v1+json", []byte("{}"), nil),
		}
		if n%2 == 0 {
			i.index = append(i.index, i.blob(typeManifest, marshal(t, m), nil))
			continue
		}
		m["subject"] = image
		i.blob(typeManifest, marshal(t, m), nil)
	}
	dir := put(t, i.layout())
	l, err := openLayout(t.Context(), &hold{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(l.evidence) != 1 || len(l.proofs) != 2*many {
		t.Errorf("%d pieces of evidence, in %d manifests", len(l.evidence), len(l.proofs))
	}
	inputs := Expand(t.Context(), []string{dir}, Options{})
	if as := others(inputs); len(as) != 1 || run(judge(pin(t, peopleRule), root),
		dir)[0].Decision.Reason != policy.Allowed {
		t.Errorf("%d inputs are judged", len(as))
	}
}
