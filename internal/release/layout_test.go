// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

const setOnlyRule = `[[release]]
name       = "people"
tags       = "any"
artifacts  = ["widget_*.tar.gz", "ghcr.io/acme/widget"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
set-only   = true
`

// TestImages judges the images of OCI layouts.
func TestImages(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const name = "ghcr.io/acme/widget"
	mallory := alice()
	mallory.SAN = "mallory@example.com"
	of := func(digest string) []byte {
		hex := strings.TrimPrefix(digest, "sha256:")
		return statement(fmt.Sprintf(`{"name":%q,"digest":{"sha256":%q}}`, name, hex))
	}
	for _, c := range []struct {
		what string
		add  func(i *images, digest string)
		rule string
		want policy.Reason
	}{
		{"a signature", func(i *images, d string) { i.image(i.simple(inst, alice(), name, d, nil)) }, setOnlyRule,
			policy.Allowed},
		{"a signature without set-only", func(i *images, d string) { i.image(i.simple(inst, alice(), name, d, nil)) },
			peopleRule, policy.RuleMismatch},
		{"a signature under another name",
			func(i *images, d string) { i.image(i.simple(inst, alice(), "ghcr.io/acme/other", d, nil)) }, setOnlyRule,
			policy.RuleMismatch},
		{"a signature without a name", func(i *images, d string) { i.image(i.simple(inst, alice(), "", d, nil)) },
			setOnlyRule, policy.RuleMismatch},
		{"a signature of another image", func(i *images, _ string) {
			i.image(i.simple(inst, alice(), name, "sha256:"+strings.Repeat("ab", 32), nil))
		}, setOnlyRule, policy.ArtifactMismatch},
		{"another signer", func(i *images, d string) { i.image(i.simple(inst, mallory, name, d, nil)) }, setOnlyRule,
			policy.RuleMismatch},
		{"two signatures, one good", func(i *images, d string) {
			i.image(i.simple(inst, mallory, name, d, nil), i.simple(inst, alice(), name, d, nil))
		}, setOnlyRule, policy.Allowed},
		{"another signature in the annotation", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d,
				func(a object) { a[annotationSignature] = base64.StdEncoding.EncodeToString([]byte("x")) }))
		}, setOnlyRule, policy.LogInvalid},
		{"no signature in the annotations", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d, func(a object) { delete(a, annotationSignature) }))
		}, setOnlyRule, policy.BundleInvalid},
		{"no log entry", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d, func(a object) { delete(a, annotationBundle) }))
		}, setOnlyRule, policy.NoLogProof},
		{"a broken log entry", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d, func(a object) { a[annotationBundle] = "{}" }))
		}, setOnlyRule, policy.BundleInvalid},
		{"a broken time stamp", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d, func(a object) { a[annotationTimestamp] = "x" }))
		}, setOnlyRule, policy.BundleInvalid},
		{"a broken certificate", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d, func(a object) { a[annotationCertificate] = "x" }))
		}, setOnlyRule, policy.BundleInvalid},
		{"a payload of another type", func(i *images, d string) {
			l := i.simple(inst, alice(), name, d, nil).(object)
			payload := []byte(`{"critical":{"identity":{"docker-reference":"x"},` +
				`"image":{"docker-manifest-digest":"` + d + `"},"type":"other"}}`)
			i.image(i.blob(typeSimpleSigning, payload, l["annotations"].(object)))
		}, setOnlyRule, policy.BundleInvalid},
		{"a payload that was changed", func(i *images, _ string) {
			l := i.simple(inst, alice(), name, "sha256:"+strings.Repeat("ab", 32), nil).(object)
			payload := []byte(`{"critical":{"identity":{"docker-reference":"ghcr.io/acme/widget"},` +
				`"image":{"docker-manifest-digest":"` + i.index[0].(object)["digest"].(string) + `"},` +
				`"type":"cosign container image signature"}}`)
			i.image(i.blob(typeSimpleSigning, payload, l["annotations"].(object)))
		}, setOnlyRule, policy.LogInvalid},
		{"an attestation in a bundle", func(i *images, d string) {
			r := alice()
			r.Statement = of(d)
			i.image(i.blob("application/vnd.dev.sigstore.bundle.v0.3+json", inst.Sign(r), nil))
		}, peopleRule, policy.Allowed},
		{"an older attestation", func(i *images, d string) {
			r := alice()
			r.Statement, r.NoProof = of(d), true
			p := take(t, inst.Sign(r))
			env := marshal(t, object{
				"payloadType": "application/vnd.in-toto+json", "payload": p.Payload,
				"signatures": []any{object{"sig": p.Signature}},
			})
			annotations := object{
				annotationCertificate: string(p.PEM()), annotationBundle: string(marshal(t, p.RekorBundle(t))),
			}
			i.image(i.blob(typeEnvelope, env, annotations))
		}, setOnlyRule, policy.Allowed},
		{"no evidence", func(*images, string) {}, peopleRule, policy.NoEvidence},
	} {
		i := newImages(t)
		digest := i.image(i.blob("application/vnd.oci.image.layer.v1.tar", []byte("layer"), nil))
		c.add(i, digest)
		files := i.layout()
		dir := put(t, files)
		results := run(judge(pin(t, c.rule), root), dir)
		// A manifest of broken evidence is an image like any other.
		if len(results) != 1 && c.want == policy.Allowed || results[0].Decision.Reason != c.want {
			t.Errorf("%s: got %d results, %s (%s), want %s", c.what, len(results), results[0].Decision.Reason,
				results[0].Decision.Detail, c.want)
			continue
		}
		if c.want != policy.Allowed {
			continue
		}
		if r := run(judge(pin(t, c.rule), root), dir+"@"+digest)[0]; r.Class() != policy.ClassOK {
			t.Errorf("%s: by its digest: %s", c.what, r.Decision.Reason)
		}
		j := judge(pin(t, c.rule), root)
		j.Bundles = []string{dir}
		if r := run(j, digest)[0]; r.Class() != policy.ClassOK {
			t.Errorf("%s: with -b: %s", c.what, r.Decision.Reason)
		}
		// What the digest stands for must be what is there.
		for f, content := range files {
			if f == "oci-layout" {
				continue
			}
			for how, content := range map[string][]byte{
				"changed": append([]byte("x"), content[min(1, len(content)):]...),
				"longer":  append(slices.Clone(content), ' '), "gone": nil,
			} {
				broken := maps.Clone(files)
				broken[f] = content
				if content == nil {
					delete(broken, f)
				}
				res := run(judge(pin(t, c.rule), root), put(t, broken))
				// A broken configuration of the signature's own manifest says nothing.
				if Class(res) == policy.ClassOK && f != "index.json" && !strings.HasSuffix(f, configDigest) {
					t.Errorf("%s: %s is %s and everything is allowed", c.what, f, how)
				}
			}
		}
	}
}

// configDigest is that of "{}", which all manifests of the tests share.
var configDigest = fmt.Sprintf("%x", sha256.Sum256([]byte("{}")))

func TestMalformedLayouts(t *testing.T) {
	root := parseRoot(t, sigstoretest.New(t), sigstoretest.RootOptions{})
	good := func() *images {
		i := newImages(t)
		i.image(i.blob("application/vnd.oci.image.layer.v1.tar", []byte("layer"), nil))
		return i
	}
	for _, c := range []struct {
		what   string
		change func(map[string][]byte)
		want   policy.Reason
	}{
		{"another version", func(f map[string][]byte) { f["oci-layout"] = []byte(`{"imageLayoutVersion":"2.0.0"}`) },
			policy.LayoutInvalid},
		{"no version", func(f map[string][]byte) { f["oci-layout"] = []byte(`{}`) }, policy.LayoutInvalid},
		{"junk for a version", func(f map[string][]byte) { f["oci-layout"] = []byte(`x`) }, policy.LayoutInvalid},
		{"no index", func(f map[string][]byte) { delete(f, "index.json") }, policy.LayoutInvalid},
		{"junk for an index", func(f map[string][]byte) { f["index.json"] = []byte("x") }, policy.LayoutInvalid},
		{"an index of nothing", func(f map[string][]byte) { f["index.json"] = []byte(`{"schemaVersion":2,"manifests":[]}`) },
			policy.NoArtifacts},
		{"an index with text",
			func(f map[string][]byte) { f["index.json"] = []byte(`{"schemaVersion":2,"manifests":["x"]}`) },
			policy.LayoutInvalid},
		{"a descriptor without size", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `"}]}`)
		}, policy.LayoutInvalid},
		{"a digest that is a path", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../etc/passwd","size":1}]}`)
		}, policy.LayoutInvalid},
		{"annotations that are a list", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) +
				`","size":1,"annotations":[]}]}`)
		}, policy.LayoutInvalid},
		{"another schema version", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"schemaVersion":1,"manifests":[]}`)
		}, policy.LayoutInvalid},
		{"an image for an index", func(f map[string][]byte) {
			for name, content := range f {
				if bytes.Contains(content, []byte(`"layers"`)) {
					f["index.json"] = f[name]
				}
			}
		}, policy.LayoutInvalid},
		{"both kinds of manifest",
			func(f map[string][]byte) { f["index.json"] = []byte(`{"schemaVersion":2,"manifests":[],"layers":[]}`) },
			policy.LayoutInvalid},
		{"a manifest that is not there", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) +
				`","size":1}]}`)
		}, policy.ArtifactMismatch},
	} {
		files := good().layout()
		c.change(files)
		if res := run(judge(pin(t, peopleRule), root), put(t, files))[0]; res.Decision.Reason != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, res.Decision.Reason, res.Decision.Detail, c.want)
		}
	}
	// A blob that is a link is not what the layout holds.
	files := good().layout()
	dir := put(t, files)
	for f := range files {
		if strings.HasPrefix(f, "blobs/") {
			path := filepath.Join(dir, f)
			target := filepath.Join(t.TempDir(), "x")
			if err := os.Rename(path, target); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Skip(err)
			}
		}
	}
	if res := run(judge(pin(t, peopleRule), root), dir)[0]; res.Decision.Reason != policy.ArtifactMismatch {
		t.Errorf("links: %s", res.Decision.Reason)
	}
}

// index adds an index of manifests to the layout and returns its digest.
func (i *images) indexOf(of ...string) string {
	var manifests []any
	for _, d := range of {
		for n, x := range i.index {
			if x.(object)["digest"] == d {
				manifests = append(manifests, x)
				i.index = slices.Delete(i.index, n, n+1)
				break
			}
		}
	}
	const typeIndex = "application/vnd.oci.image.index.v1+json"
	d := i.blob(typeIndex, marshal(i.t, object{"schemaVersion": 2, "mediaType": typeIndex, "manifests": manifests}), nil)
	i.index = append(i.index, d)
	return d["digest"].(string)
}

// TestPlatforms judges images that an index leads to: by evidence about them, never by that about
// the index, and the index not by that about them.
func TestPlatforms(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	for name, sign := range map[string]string{"the platforms": "parts", "the index": "index", "nothing": ""} {
		i := newImages(t)
		one := i.image(i.blob("application/vnd.oci.image.layer.v1.tar", []byte("amd64"), nil))
		two := i.image(i.blob("application/vnd.oci.image.layer.v1.tar", []byte("arm64"), nil))
		index := i.indexOf(one, two)
		signed := map[string]bool{}
		switch sign {
		case "parts":
			signed = map[string]bool{one: true, two: true}
		case "index":
			signed = map[string]bool{index: true}
		}
		for d := range signed {
			i.image(i.simple(inst, alice(), "ghcr.io/acme/widget", d, nil))
		}
		dir := put(t, i.layout())
		for _, d := range []string{one, two, index} {
			res := run(judge(pin(t, setOnlyRule), root), dir+"@"+d)
			if len(res) != 1 || (res[0].Class() == policy.ClassOK) != signed[d] {
				t.Fatalf("%s is signed, %s: %+v", name, d, res[0].Decision)
			}
			detail := res[0].Decision.Detail
			if sign == "index" && d != index && !strings.Contains(detail, "it is part of "+index) ||
				sign == "parts" && d == index && !strings.Contains(detail, "2 of the images that it leads to") {
				t.Errorf("%s is signed, %s: %s", name, d, detail)
			}
		}
		if res := run(judge(pin(t, setOnlyRule), root), dir+"@sha256:"+strings.Repeat("0", 64)); res[0].Class() !=
			policy.ClassUsage {
			t.Errorf("no image: %+v", res[0].Decision)
		}
	}
}
