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
	"runtime"
	"slices"
	"strings"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"

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

// lines joins the elements of a collection.
func lines(elements ...[]byte) []byte {
	return append(bytes.Join(elements, []byte("\n")), '\n')
}

// collections returns the documents that hold bundles.
func collection(kind string, bundles ...[]byte) []byte {
	var elements [][]byte
	for _, b := range bundles {
		switch kind {
		case "npm":
			elements = append(elements, fmt.Appendf(nil, `{"predicateType":"https://slsa.dev/provenance/v1","bundle":%s}`, b))
		case "github":
			elements = append(elements, fmt.Appendf(nil, `{"bundle":%s,"repository_id":1,"bundle_url":"https://example.com/x"}`, b))
		case "provenance":
			elements = append(elements, fmt.Appendf(nil, `{"publisher":{"kind":"GitHub","repository":"somebody/else"},"attestations":[%s]}`, b))
		default:
			elements = append(elements, b)
		}
	}
	joined := bytes.Join(elements, []byte(","))
	switch kind {
	case "provenance":
		return fmt.Appendf(nil, `{"version":1,"attestation_bundles":[%s]}`, joined)
	case "list":
		return fmt.Appendf(nil, `[%s]`, joined)
	}
	return fmt.Appendf(nil, `{"attestations":[%s]}`, joined)
}

// TestForms publishes one signature in every form, finds it without being told,
// and judges it.
func TestForms(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const name = "widget_1.tar.gz"
	art := []byte("artifact")
	sum := fmt.Sprintf("%x", sha256.Sum256(art))
	sign := func(change func(*sigstoretest.Request)) []byte {
		r := alice()
		r.Artifact = art
		if change != nil {
			change(&r)
		}
		return inst.Sign(r)
	}
	attest := func(change func(*sigstoretest.Request)) []byte {
		return sign(func(r *sigstoretest.Request) {
			r.Statement = statement(subject(name, art))
			if change != nil {
				change(r)
			}
		})
	}
	message, envelope := sign(nil), attest(nil)
	foreign := attest(func(r *sigstoretest.Request) { r.Statement = statement(subject("widget_2.tar.gz", []byte("other"))) })
	mallory := attest(func(r *sigstoretest.Request) { r.SAN = "mallory@example.com" })
	promise := take(t, sign(func(r *sigstoretest.Request) { r.NoProof = true }))
	promised := take(t, attest(func(r *sigstoretest.Request) { r.NoProof = true }))
	bare := take(t, sign(func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone }))
	logless := take(t, attest(func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone }))
	publish := attest(func(r *sigstoretest.Request) {
		r.Statement = bytes.Replace(r.Statement, []byte("https://slsa.dev/provenance/v1"), []byte(predicateNPMPublish), 1)
	})
	p := take(t, envelope)
	junk := []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{}}`)
	b64 := func(s []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(s)) }

	for _, c := range []struct {
		what  string
		files map[string][]byte
		rule  string
		want  policy.Reason
	}{
		{"bundle", map[string][]byte{name + ".sigstore.json": message}, peopleRule, policy.Allowed},
		{"bundle of an envelope", map[string][]byte{name + ".sigstore": envelope}, peopleRule, policy.Allowed},
		{"bundle by another name", map[string][]byte{name + ".bundle": message}, peopleRule, policy.Allowed},
		{"lines, some of them junk", map[string][]byte{name + ".sigstore.jsonl": lines(foreign, junk, []byte("junk"), envelope)}, peopleRule, policy.Allowed},
		{"lines of one", map[string][]byte{name + ".intoto.jsonl": envelope}, peopleRule, policy.Allowed},
		{"download", map[string][]byte{"sha256:" + sum + ".jsonl": lines(foreign, envelope)}, peopleRule, policy.Allowed},
		{"download on Windows", map[string][]byte{"sha256-" + sum + ".jsonl": lines(envelope)}, peopleRule, policy.Allowed},
		{"download of something else", map[string][]byte{"sha256:" + strings.Repeat("0", 64) + ".jsonl": lines(envelope)}, peopleRule, policy.NoEvidence},
		{"for many", map[string][]byte{"multiple.intoto.jsonl": lines(foreign, envelope)}, peopleRule, policy.Allowed},
		{"GitHub's answer", map[string][]byte{name + ".attestations.json": collection("github", foreign, envelope)}, peopleRule, policy.Allowed},
		{"list, some of it junk", map[string][]byte{name + ".bundle.json": collection("list", junk, envelope)}, peopleRule, policy.Allowed},
		{"npm", map[string][]byte{name + ".attestations.json": collection("npm", publish, envelope)}, peopleRule, policy.Allowed},
		{"npm, the registry alone", map[string][]byte{name + ".attestations.json": collection("npm", publish)}, peopleRule, policy.PredicateType},
		{"npm, another signer", map[string][]byte{name + ".attestations.json": collection("npm", mallory)}, peopleRule, policy.RuleMismatch},
		{"PyPI", map[string][]byte{name + ".publish.attestation": p.pypi(t)}, peopleRule, policy.Allowed},
		{"PyPI's answer", map[string][]byte{name + ".provenance": collection("provenance", take(t, foreign).pypi(t), p.pypi(t))}, peopleRule, policy.Allowed},
		{"PyPI, another signer under a good publisher", map[string][]byte{name + ".provenance": collection("provenance", take(t, mallory).pypi(t))}, peopleRule, policy.RuleMismatch},
		{"cosign's bundle", map[string][]byte{name + ".bundle": promise.cosign(t)}, setOnlyRule, policy.Allowed},
		{"cosign's bundle without set-only", map[string][]byte{name + ".bundle": promise.cosign(t)}, peopleRule, policy.RuleMismatch},
		{"cosign's bundle, in clear", map[string][]byte{name + ".bundle": bytes.ReplaceAll(promise.cosign(t), b64(promise.pem()), []byte(strings.ReplaceAll(string(promise.pem()), "\n", `\n`)))}, setOnlyRule, policy.Allowed},
		{"cosign's bundle of an envelope", map[string][]byte{name + ".bundle": marshal(t, object{
			"base64Signature": b64(promised.envelope(t)), "cert": string(b64(promised.pem())), "rekorBundle": promised.rekorBundle(t),
		})}, setOnlyRule, policy.BundleInvalid}, // []byte is encoded twice: not an envelope
		{"cosign's bundle of an envelope, rightly", map[string][]byte{name + ".bundle": marshal(t, object{
			"base64Signature": string(b64(promised.envelope(t))), "cert": string(b64(promised.pem())), "rekorBundle": promised.rekorBundle(t),
		})}, setOnlyRule, policy.Allowed},
		{"cosign's bundle without a log entry", map[string][]byte{name + ".bundle": marshal(t, object{"base64Signature": promise.signature, "cert": string(promise.pem())})}, setOnlyRule, policy.NoLogProof},
		{"bare signature", map[string][]byte{name + ".sig": []byte(bare.signature + "\n"), name + ".pem": bare.pem()}, peopleRule, policy.NoLogProof},
		{"bare signature, base64 twice", map[string][]byte{name + ".sig": []byte(bare.signature), name + ".cert": b64(bare.pem())}, peopleRule, policy.NoLogProof},
		{"bare signature without certificate", map[string][]byte{name + ".sig": []byte(bare.signature)}, peopleRule, policy.NoLogProof},
		{"bare envelope", map[string][]byte{name + ".intoto.jsonl": logless.envelope(t)}, peopleRule, policy.NoLogProof},
		{"bare envelopes", map[string][]byte{"multiple.intoto.jsonl": lines(take(t, foreign).envelope(t), logless.envelope(t))}, peopleRule, policy.NoLogProof},
	} {
		dir := put(t, c.files)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, art, 0o600); err != nil {
			t.Fatal(err)
		}
		res := run(judge(pin(t, c.rule), root), path)[0]
		if res.Decision.Reason != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, res.Decision.Reason, res.Decision.Detail, c.want)
			continue
		}
		if c.want == policy.NoLogProof && res.Evidence.Signer.Value == "" && !strings.Contains(c.what, "without") {
			t.Errorf("%s: nobody is said to have signed", c.what)
		}
		if c.want != policy.Allowed {
			continue
		}
		if res.Evidence.Form == "" {
			t.Errorf("%s: the form has no name", c.what)
		}
		// The same files as a directory: the evidence is no artifact, if it is some as
		// a whole.
		all := run(judge(pin(t, c.rule), root), dir)
		junk := strings.Contains(c.what, "junk")
		if (len(all) != 1 || Class(all) != policy.ClassOK) != junk {
			t.Errorf("%s: the directory has %d artifacts, %s", c.what, len(all), Class(all))
		}
		// Other bytes are refused with the same evidence, named or found.
		if err := os.WriteFile(path, []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
		j := judge(pin(t, c.rule), root)
		if r := run(j, path)[0]; r.Class() == policy.ClassOK {
			t.Errorf("%s: other bytes are allowed", c.what)
		}
		j = judge(pin(t, c.rule), root)
		for f := range c.files {
			j.Bundles = append(j.Bundles, filepath.Join(dir, f))
		}
		if r := run(j, path)[0]; r.Class() == policy.ClassOK {
			t.Errorf("%s: other bytes are allowed with -b", c.what)
		}
		if r := run(j, "sha256:"+sum)[0]; r.Class() != policy.ClassOK && c.rule == peopleRule && p.payload != "" && strings.Contains(c.what, "lines") {
			t.Errorf("%s: the digest is refused: %s", c.what, r.Decision.Detail)
		}
	}
}

// TestMalformedForms gives each reader what it must refuse.
func TestMalformedForms(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	art := []byte("artifact")
	r := alice()
	r.Artifact, r.NoProof = art, true
	promise := take(t, inst.Sign(r))
	r = alice()
	r.Statement = statement(subject("widget_1.tar.gz", art))
	attested := take(t, inst.Sign(r))
	edit := func(data []byte, old, new string) []byte {
		out := bytes.Replace(data, []byte(old), []byte(new), 1)
		if bytes.Equal(out, data) {
			t.Fatalf("%q is not in %.80s", old, data)
		}
		return out
	}
	pypi, cosign, env := attested.pypi(t), promise.cosign(t), attested.envelope(t)
	many := bytes.Repeat([]byte(`{"verificationMaterial":{}}`+"\n"), MaxPieces+1)
	for _, c := range []struct {
		what string
		data []byte
		want policy.Reason
	}{
		{"nothing", nil, policy.BundleInvalid},
		{"text", []byte("hello\n"), policy.BundleInvalid},
		{"a number", []byte("1"), policy.BundleInvalid},
		{"an object of no form", []byte(`{"a":1}`), policy.BundleInvalid},
		{"a bundle and more", append(slices.Clone(attested.raw), '{', '}'), policy.BundleInvalid},
		{"an empty list", []byte(`[]`), policy.BundleInvalid},
		{"an empty collection", []byte(`{"attestations":[]}`), policy.BundleInvalid},
		{"attestations that are no list", []byte(`{"attestations":{}}`), policy.BundleInvalid},
		{"too many pieces (case 281)", many, policy.BundleTooLarge},
		{"npm without bundle", []byte(`{"attestations":[{"predicateType":"x"}]}`), policy.BundleInvalid},
		{"npm with something else", []byte(`{"attestations":[{"predicateType":"x"},1]}`), policy.BundleInvalid},
		{"PyPI of another version", edit(pypi, `"version":1`, `"version":2`), policy.BundleInvalid},
		{"PyPI with two versions", edit(pypi, `"version":1`, `"version":1,"version":1`), policy.BundleInvalid},
		{"PyPI without certificate", edit(pypi, `"certificate"`, `"certificat"`), policy.CertificateBad},
		{"PyPI without entries", edit(pypi, `"transparency_entries"`, `"entries"`), policy.NotLogged},
		{"PyPI without signature", edit(pypi, `"signature"`, `"sig"`), policy.LogInvalid},
		{"PyPI with text for material", edit(pypi, `"verification_material":{`, `"verification_material":"","x":{`), policy.BundleInvalid},
		{"PyPI with text for envelope", edit(pypi, `"envelope":{`, `"envelope":"","x":{`), policy.BundleInvalid},
		{"provenance of another version", edit(collection("provenance", pypi), `"version":1,"att`, `"version":3,"att`), policy.BundleInvalid},
		{"provenance without bundles", []byte(`{"version":1,"attestation_bundles":[]}`), policy.BundleInvalid},
		{"provenance with text", []byte(`{"version":1,"attestation_bundles":["x"]}`), policy.BundleInvalid},
		{"provenance with text for attestations", []byte(`{"version":1,"attestation_bundles":[{"attestations":"x"}]}`), policy.BundleInvalid},
		{"provenance with a number for an attestation", []byte(`{"version":1,"attestation_bundles":[{"attestations":[1]}]}`), policy.BundleInvalid},
		{"cosign with a number for a signature", []byte(`{"base64Signature":1}`), policy.BundleInvalid},
		{"cosign with a number for a certificate", []byte(`{"base64Signature":"","cert":1}`), policy.BundleInvalid},
		{"cosign without certificate", edit(cosign, `"cert"`, `"crt"`), policy.BundleInvalid},
		{"cosign with another signature", edit(cosign, `"base64Signature":"M`, `"base64Signature":"N`), policy.LogInvalid},
		{"cosign with no base64", edit(cosign, `"base64Signature":"M`, `"base64Signature":"!`), policy.BundleInvalid},
		{"cosign with another time", edit(cosign, `"integratedTime":`, `"integratedTime":1`), policy.LogInvalid},
		{"cosign with another index", edit(cosign, `"logIndex":`, `"logIndex":1`), policy.LogInvalid},
		{"cosign with text for an index", edit(cosign, `"logIndex":`, `"logIndex":"x","y":`), policy.BundleInvalid},
		{"cosign with another log", edit(cosign, `"logID":"`, `"logID":"00","y":"`), policy.LogInvalid},
		{"cosign with no hex", edit(cosign, `"logID":"`, `"logID":"zz","y":"`), policy.BundleInvalid},
		{"cosign with no body", edit(cosign, `"body":"`, `"body":"","y":"`), policy.BundleInvalid},
		{"cosign with broken base64 for a body", edit(cosign, `"body":"`, `"body":"!`), policy.BundleInvalid},
		{"cosign with a number for a body", edit(cosign, `"body":"`, `"body":1,"y":"`), policy.BundleInvalid},
		{"cosign with a line break in the body", edit(cosign, `"body":"`, `"body":"\n`), policy.BundleInvalid},
		{"cosign with a line break in the signature", edit(cosign, `"base64Signature":"M`, `"base64Signature":"\r\nM`), policy.BundleInvalid},
		{"cosign with a line break in the promise", edit(cosign, `"SignedEntryTimestamp":"`, `"SignedEntryTimestamp":"\n`), policy.BundleInvalid},
		{"cosign with a negative index", edit(cosign, `"logIndex":`, `"logIndex":-`), policy.BundleInvalid},
		{"cosign with a negative time", edit(cosign, `"integratedTime":`, `"integratedTime":-`), policy.BundleInvalid},
		{"cosign without payload", edit(cosign, `"Payload"`, `"payload"`), policy.BundleInvalid},
		{"cosign with text for a log entry", []byte(`{"base64Signature":"","rekorBundle":"x"}`), policy.BundleInvalid},
		{"an envelope with two signatures", edit(env, `"signatures":[`, `"signatures":[{"sig":""},`), policy.BundleInvalid},
		{"an envelope without signatures", []byte(`{"payloadType":"x","payload":"","signatures":[]}`), policy.BundleInvalid},
		{"an envelope with a number for a signature", []byte(`{"payloadType":"x","payload":"","signatures":[1]}`), policy.BundleInvalid},
		{"an envelope with a number for a certificate", edit(env, `"cert":"`, `"cert":1,"x":"`), policy.BundleInvalid},
		{"an envelope with text for a certificate", edit(env, `"cert":"-----BEGIN CERT`, `"cert":"-----BEGIN KERT`), policy.BundleInvalid},
		{"an envelope of another type", edit(env, payloadInToto, "text/plain"), policy.StatementInvalid},
		{"a tree", []byte("tree x"), policy.BundleInvalid},
		{"an object", []byte("object x"), policy.BundleInvalid},
	} {
		path := filepath.Join(put(t, map[string][]byte{"evidence": c.data}), "evidence")
		j := judge(pin(t, setOnlyRule), root)
		j.Bundles = []string{path}
		file := filepath.Join(filepath.Dir(path), "widget_1.tar.gz")
		if err := os.WriteFile(file, art, 0o600); err != nil {
			t.Fatal(err)
		}
		if res := run(j, file)[0]; res.Decision.Reason != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, res.Decision.Reason, res.Decision.Detail, c.want)
		}
	}
}

// TestImages judges the images of OCI layouts.
func TestImages(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const name = "ghcr.io/acme/widget"
	mallory := alice()
	mallory.SAN = "mallory@example.com"
	wrongTag := func(digest string) []byte {
		r := alice()
		r.Statement = statement(fmt.Sprintf(`{"name":%q,"digest":{"sha256":%q}}`, name, strings.TrimPrefix(digest, "sha256:")))
		return inst.Sign(r)
	}
	for _, c := range []struct {
		what string
		add  func(i *images, digest string)
		rule string
		want policy.Reason
	}{
		{"a signature", func(i *images, d string) { i.image(i.simple(inst, alice(), name, d, nil)) }, setOnlyRule, policy.Allowed},
		{"a signature without set-only", func(i *images, d string) { i.image(i.simple(inst, alice(), name, d, nil)) }, peopleRule, policy.RuleMismatch},
		{"a signature under another name", func(i *images, d string) { i.image(i.simple(inst, alice(), "ghcr.io/acme/other", d, nil)) }, setOnlyRule, policy.RuleMismatch},
		{"a signature without a name", func(i *images, d string) { i.image(i.simple(inst, alice(), "", d, nil)) }, setOnlyRule, policy.RuleMismatch},
		{"a signature of another image", func(i *images, _ string) {
			i.image(i.simple(inst, alice(), name, "sha256:"+strings.Repeat("ab", 32), nil))
		}, setOnlyRule, policy.ArtifactMismatch},
		{"another signer", func(i *images, d string) { i.image(i.simple(inst, mallory, name, d, nil)) }, setOnlyRule, policy.RuleMismatch},
		{"two signatures, one good", func(i *images, d string) {
			i.image(i.simple(inst, mallory, name, d, nil), i.simple(inst, alice(), name, d, nil))
		}, setOnlyRule, policy.Allowed},
		{"another signature in the annotation", func(i *images, d string) {
			i.image(i.simple(inst, alice(), name, d, func(a object) { a[annotationSignature] = base64.StdEncoding.EncodeToString([]byte("x")) }))
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
			payload := []byte(`{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"` + d + `"},"type":"other"}}`)
			i.image(i.blob(typeSimpleSigning, payload, l["annotations"].(object)))
		}, setOnlyRule, policy.BundleInvalid},
		{"a payload that was changed", func(i *images, _ string) {
			l := i.simple(inst, alice(), name, "sha256:"+strings.Repeat("ab", 32), nil).(object)
			payload := []byte(`{"critical":{"identity":{"docker-reference":"ghcr.io/acme/widget"},"image":{"docker-manifest-digest":"` + i.index[0].(object)["digest"].(string) + `"},"type":"cosign container image signature"}}`)
			i.image(i.blob(typeSimpleSigning, payload, l["annotations"].(object)))
		}, setOnlyRule, policy.LogInvalid},
		{"an attestation in a bundle", func(i *images, d string) {
			i.image(i.blob("application/vnd.dev.sigstore.bundle.v0.3+json", wrongTag(d), nil))
		}, peopleRule, policy.Allowed},
		{"an older attestation", func(i *images, d string) {
			r := alice()
			r.Statement, r.NoProof = statement(fmt.Sprintf(`{"name":%q,"digest":{"sha256":%q}}`, name, strings.TrimPrefix(d, "sha256:"))), true
			p := take(t, inst.Sign(r))
			env := marshal(t, object{"payloadType": payloadInToto, "payload": p.payload, "signatures": []any{object{"sig": p.signature}}})
			i.image(i.blob(typeEnvelope, env, object{annotationCertificate: string(p.pem()), annotationBundle: string(marshal(t, p.rekorBundle(t)))}))
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
			t.Errorf("%s: got %d results, %s (%s), want %s", c.what, len(results), results[0].Decision.Reason, results[0].Decision.Detail, c.want)
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
			for how, bytes := range map[string][]byte{"changed": append([]byte("x"), content[min(1, len(content)):]...), "longer": append(slices.Clone(content), ' '), "gone": nil} {
				broken := maps.Clone(files)
				broken[f] = bytes
				if bytes == nil {
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
		{"another version", func(f map[string][]byte) { f["oci-layout"] = []byte(`{"imageLayoutVersion":"2.0.0"}`) }, policy.LayoutInvalid},
		{"no version", func(f map[string][]byte) { f["oci-layout"] = []byte(`{}`) }, policy.LayoutInvalid},
		{"junk for a version", func(f map[string][]byte) { f["oci-layout"] = []byte(`x`) }, policy.LayoutInvalid},
		{"no index", func(f map[string][]byte) { delete(f, "index.json") }, policy.LayoutInvalid},
		{"junk for an index", func(f map[string][]byte) { f["index.json"] = []byte("x") }, policy.LayoutInvalid},
		{"an index of nothing", func(f map[string][]byte) { f["index.json"] = []byte(`{"manifests":[]}`) }, policy.NoArtifacts},
		{"an index with text", func(f map[string][]byte) { f["index.json"] = []byte(`{"manifests":["x"]}`) }, policy.LayoutInvalid},
		{"a descriptor without size", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `"}]}`)
		}, policy.LayoutInvalid},
		{"a digest that is a path", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"manifests":[{"digest":"sha256:../../etc/passwd","size":1}]}`)
		}, policy.LayoutInvalid},
		{"annotations that are a list", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1,"annotations":[]}]}`)
		}, policy.LayoutInvalid},
		{"both kinds of manifest", func(f map[string][]byte) { f["index.json"] = []byte(`{"manifests":[],"layers":[]}`) }, policy.LayoutInvalid},
		{"a manifest that is not there", func(f map[string][]byte) {
			f["index.json"] = []byte(`{"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1}]}`)
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

// TestHugeArtifact is case 285: hashing takes constant memory.
func TestHugeArtifact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 512<<20); err != nil { // sparse
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Digests(path, []string{"sha256"}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

// TestUnrecognised: what looks like evidence by its name only is judged.
func TestUnrecognised(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	art := []byte("artifact")
	r := alice()
	r.Artifact = art
	for _, name := range []string{"widget_1.tar.gz.bundle", "widget_1.tar.gz.sig", "widget_1.tar.gz.jsonl", "widget_1.tar.gz.pem", "multiple.intoto.jsonl", "widget_1.tar.gz.attestation", "other.sig", "x.pem"} {
		dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore.json": inst.Sign(r), name: []byte("#!/bin/sh\nevil\n")})
		res := run(judge(pin(t, peopleRule), root), dir)
		if len(res) != 2 || Class(res) == policy.ClassOK {
			t.Errorf("%s: %d artifacts, %s", name, len(res), Class(res))
		}
	}
}

// FuzzReadForms: whatever a file holds, reading it neither panics nor yields
// evidence without a bundle or a reason, and no piece is both.
func FuzzReadForms(f *testing.F) {
	inst := sigstoretest.New(f)
	art := []byte("artifact")
	r := alice()
	r.Statement = statement(subject("widget_1.tar.gz", art))
	p := take(f, inst.Sign(r))
	r = alice()
	r.Artifact, r.NoProof = art, true
	promise := take(f, inst.Sign(r))
	id := strings.Repeat("1", 40)
	for _, seed := range [][]byte{
		p.raw, p.pypi(f), p.envelope(f), promise.cosign(f), collection("npm", p.raw), collection("github", p.raw), collection("provenance", p.pypi(f)), lines(p.raw, p.envelope(f)),
		tagObject(f, inst, alice(), "v1", "1111111111111111111111111111111111111111", cmsOptions{}), []byte("tree " + id + "\nauthor x\ncommitter x\n\n"), nil,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := readForms(source{path: "x.sig", data: data})
		if len(out) == 0 {
			t.Fatal("neither evidence nor a reason")
		}
		for _, c := range out {
			if (c.bundle == nil) == (c.err == nil) {
				t.Fatalf("bundle %v, err %v", c.bundle, c.err)
			}
			if c.err != nil && c.err.Reason.Class() == policy.ClassOK {
				t.Fatalf("an error of class OK: %v", c.err)
			}
			if c.inner != nil && (c.inner.signed.Alg == "" || len(c.inner.subject.Digests) != 1) {
				t.Fatalf("inner %+v", c.inner)
			}
		}
	})
}

// TestEvidenceSets tries every set of evidence in several forms, good and bad:
// the verdict is OK if and only if a good one is in the set, so junk changes
// nothing and removing never helps.
func TestEvidenceSets(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const name = "widget_1.tar.gz"
	art := []byte("artifact")
	r := alice()
	r.Statement = statement(subject(name, art))
	m := alice()
	m.Statement, m.SAN = r.Statement, "mallory@example.com"
	broken := alice()
	broken.Statement = r.Statement
	broken.Mutate = func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures[0].Sig[9] ^= 1 }
	pool := []struct {
		file string
		data []byte
		good bool
	}{
		{name + ".sigstore.json", inst.Sign(m), false},
		{name + ".sigstore", take(t, stranger.Sign(r)).raw, false},
		{name + ".publish.attestation", take(t, inst.Sign(r)).pypi(t), true},
		{name + ".attestations.json", collection("npm", inst.Sign(broken), inst.Sign(m)), false},
		{name + ".intoto.jsonl", take(t, inst.Sign(r)).envelope(t), false},
		{name + ".sig", []byte("junk"), false},
		{"multiple.intoto.jsonl", lines([]byte("{"), inst.Sign(m), inst.Sign(r)), true},
	}
	for set := range 1 << len(pool) {
		files := map[string][]byte{name: art}
		good := false
		for i, p := range pool {
			if set&(1<<i) != 0 {
				files[p.file] = p.data
				good = good || p.good
			}
		}
		res := run(judge(pin(t, peopleRule), root), filepath.Join(put(t, files), name))[0]
		if (res.Class() == policy.ClassOK) != good {
			t.Errorf("set %b: %s, want good %v", set, res.Decision.Reason, good)
		}
	}
}
