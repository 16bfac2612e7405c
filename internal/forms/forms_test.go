// SPDX-License-Identifier: Apache-2.0

package forms_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/scaffold/formstest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

var (
	alice, pin, parseRoot, put = formstest.Alice, formstest.Pin, formstest.Root, formstest.Put
	statement, subject         = formstest.Statement, formstest.Subject
	take, lines, collection    = formstest.Take, formstest.Lines, formstest.Collection
	tagObject, marshal         = formstest.TagObject, formstest.Marshal
)

type (
	object     = formstest.Object
	cmsOptions = formstest.CMSOptions
	files      = map[string][]byte
)

func judge(p *policy.Trusted, root *sigstore.Root) *release.Judge {
	return &release.Judge{Policy: p, Now: sigstoretest.Now.AddDate(0, 1, 0),
		Roots: func(context.Context) ([]*sigstore.Root, error) {
			return []*sigstore.Root{root}, nil
		}}
}

// run judges what the arguments stand for and what is of no form of evidence.
func run(j *release.Judge, args ...string) []*release.Result {
	var artifacts []*release.Artifact
	for _, in := range release.Expand(context.Background(), args, release.Options{}) {
		if !in.IsEvidence() && !in.Harmless {
			artifacts = append(artifacts, in.Artifact)
		}
	}
	return j.Run(context.Background(), artifacts)
}

const peopleRule = `[[release]]
name       = "people"
tags       = "any"
artifacts  = ["widget_*.tar.gz"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const setOnlyRule = `[[release]]
name       = "people"
tags       = "any"
artifacts  = ["widget_*.tar.gz"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
set-only   = true
`

// TestForms publishes one signature in every form, finds it without being told,
// and judges it.
func TestForms(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const name = "widget_1.tar.gz"
	const npmPublish = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"
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
	foreign := attest(func(r *sigstoretest.Request) {
		r.Statement = statement(subject("widget_2.tar.gz", []byte("other")))
	})
	mallory := attest(func(r *sigstoretest.Request) { r.SAN = "mallory@example.com" })
	promise := take(t, sign(func(r *sigstoretest.Request) { r.NoProof = true }))
	promised := take(t, attest(func(r *sigstoretest.Request) { r.NoProof = true }))
	bare := take(t, sign(func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone }))
	logless := take(t, attest(func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone }))
	publish := attest(func(r *sigstoretest.Request) {
		provenance := []byte("https://slsa.dev/provenance/v1")
		r.Statement = bytes.Replace(r.Statement, provenance, []byte(npmPublish), 1)
	})
	p := take(t, envelope)
	junk := []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{}}`)
	b64 := func(s []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(s)) }

	for _, c := range []struct {
		what  string
		files files
		rule  string
		want  policy.Reason
	}{
		{"bundle", files{name + ".sigstore.json": message}, peopleRule, policy.Allowed},
		{"bundle of an envelope", files{name + ".sigstore": envelope}, peopleRule, policy.Allowed},
		{"bundle by another name", files{name + ".bundle": message}, peopleRule, policy.Allowed},
		{"lines, some of them junk", files{name + ".sigstore.jsonl": lines(foreign, junk, []byte("junk"), envelope)},
			peopleRule, policy.Allowed},
		{"lines of one", files{name + ".intoto.jsonl": envelope}, peopleRule, policy.Allowed},
		{"download", files{"sha256:" + sum + ".jsonl": lines(foreign, envelope)}, peopleRule, policy.Allowed},
		{"download on Windows", files{"sha256-" + sum + ".jsonl": lines(envelope)}, peopleRule, policy.Allowed},
		{"download of something else", files{"sha256:" + strings.Repeat("0", 64) + ".jsonl": lines(envelope)},
			peopleRule, policy.NoEvidence},
		{"for many", files{"multiple.intoto.jsonl": lines(foreign, envelope)}, peopleRule, policy.Allowed},
		{"GitHub's answer", files{name + ".attestations.json": collection("github", foreign, envelope)}, peopleRule,
			policy.Allowed},
		{"list, some of it junk", files{name + ".bundle.json": collection("list", junk, envelope)}, peopleRule,
			policy.Allowed},
		{"npm", files{name + ".attestations.json": collection("npm", publish, envelope)}, peopleRule, policy.Allowed},
		{"npm, the registry alone", files{name + ".attestations.json": collection("npm", publish)}, peopleRule,
			policy.PredicateType},
		{"npm, another signer", files{name + ".attestations.json": collection("npm", mallory)}, peopleRule,
			policy.RuleMismatch},
		{"PyPI", files{name + ".publish.attestation": p.PyPI(t)}, peopleRule, policy.Allowed},
		{"PyPI's answer", files{name + ".provenance": collection("provenance", take(t, foreign).PyPI(t), p.PyPI(t))},
			peopleRule, policy.Allowed},
		{"PyPI, another signer under a good publisher",
			files{name + ".provenance": collection("provenance", take(t, mallory).PyPI(t))}, peopleRule,
			policy.RuleMismatch},
		{"cosign's bundle", files{name + ".bundle": promise.Cosign(t)}, setOnlyRule, policy.Allowed},
		{"cosign's bundle without set-only", files{name + ".bundle": promise.Cosign(t)}, peopleRule,
			policy.RuleMismatch},
		{"cosign's bundle, in clear",
			files{name + ".bundle": bytes.ReplaceAll(promise.Cosign(t), b64(promise.PEM()),
				[]byte(strings.ReplaceAll(string(promise.PEM()), "\n", `\n`)))}, setOnlyRule, policy.Allowed},
		{"cosign's bundle of an envelope", files{name + ".bundle": marshal(t, object{
			"base64Signature": b64(promised.Envelope(t)), "cert": string(b64(promised.PEM())),
			"rekorBundle": promised.RekorBundle(t),
		})}, setOnlyRule, policy.BundleInvalid}, // []byte is encoded twice: not an envelope
		{"cosign's bundle of an envelope, rightly", files{name + ".bundle": marshal(t, object{
			"base64Signature": string(b64(promised.Envelope(t))), "cert": string(b64(promised.PEM())),
			"rekorBundle": promised.RekorBundle(t),
		})}, setOnlyRule, policy.Allowed},
		{"cosign's bundle without a log entry",
			files{name + ".bundle": marshal(t,
				object{"base64Signature": promise.Signature, "cert": string(promise.PEM())})}, setOnlyRule,
			policy.NoLogProof},
		{"bare signature", files{name + ".sig": []byte(bare.Signature + "\n"), name + ".pem": bare.PEM()}, peopleRule,
			policy.NoLogProof},
		{"bare signature, base64 twice",
			files{name + ".sig": []byte(bare.Signature), name + ".cert": b64(bare.PEM())}, peopleRule,
			policy.NoLogProof},
		{"bare signature without certificate", files{name + ".sig": []byte(bare.Signature)}, peopleRule,
			policy.NoLogProof},
		{"bare envelope", files{name + ".intoto.jsonl": logless.Envelope(t)}, peopleRule, policy.NoLogProof},
		{"bare envelopes", files{"multiple.intoto.jsonl": lines(take(t, foreign).Envelope(t), logless.Envelope(t))},
			peopleRule, policy.NoLogProof},
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
		if (len(all) != 1 || release.Class(all) != policy.ClassOK) != junk {
			t.Errorf("%s: the directory has %d artifacts, %s", c.what, len(all), release.Class(all))
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
		if r := run(j, "sha256:"+sum)[0]; r.Class() != policy.ClassOK && c.rule == peopleRule && p.Payload != "" &&
			strings.Contains(c.what, "lines") {
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
	pypi, cosign, env := attested.PyPI(t), promise.Cosign(t), attested.Envelope(t)
	many := bytes.Repeat([]byte(`{"verificationMaterial":{}}`+"\n"), forms.MaxPieces+1)
	for _, c := range []struct {
		what string
		data []byte
		want policy.Reason
	}{
		{"nothing", nil, policy.BundleInvalid},
		{"text", []byte("hello\n"), policy.BundleInvalid},
		{"a number", []byte("1"), policy.BundleInvalid},
		{"an object of no form", []byte(`{"a":1}`), policy.BundleInvalid},
		{"a bundle and more", append(slices.Clone(attested.Bundle), '{', '}'), policy.BundleInvalid},
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
		{"PyPI with text for material", edit(pypi, `"verification_material":{`, `"verification_material":"","x":{`),
			policy.BundleInvalid},
		{"PyPI with text for envelope", edit(pypi, `"envelope":{`, `"envelope":"","x":{`), policy.BundleInvalid},
		{"provenance of another version",
			edit(collection("provenance", pypi), `"version":1,"att`, `"version":3,"att`), policy.BundleInvalid},
		{"provenance without bundles", []byte(`{"version":1,"attestation_bundles":[]}`), policy.BundleInvalid},
		{"provenance with text", []byte(`{"version":1,"attestation_bundles":["x"]}`), policy.BundleInvalid},
		{"provenance with text for attestations",
			[]byte(`{"version":1,"attestation_bundles":[{"attestations":"x"}]}`), policy.BundleInvalid},
		{"provenance with a number for an attestation",
			[]byte(`{"version":1,"attestation_bundles":[{"attestations":[1]}]}`), policy.BundleInvalid},
		{"cosign with a number for a signature", []byte(`{"base64Signature":1}`), policy.BundleInvalid},
		{"cosign with a number for a certificate", []byte(`{"base64Signature":"","cert":1}`), policy.BundleInvalid},
		{"cosign without certificate", edit(cosign, `"cert"`, `"crt"`), policy.BundleInvalid},
		{"cosign with another signature", edit(cosign, `"base64Signature":"M`, `"base64Signature":"N`),
			policy.LogInvalid},
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
		{"cosign with a line break in the signature",
			edit(cosign, `"base64Signature":"M`, `"base64Signature":"\r\nM`), policy.BundleInvalid},
		{"cosign with a line break in the promise",
			edit(cosign, `"SignedEntryTimestamp":"`, `"SignedEntryTimestamp":"\n`), policy.BundleInvalid},
		{"cosign with a negative index", edit(cosign, `"logIndex":`, `"logIndex":-`), policy.BundleInvalid},
		{"cosign with a negative time", edit(cosign, `"integratedTime":`, `"integratedTime":-`), policy.BundleInvalid},
		{"cosign without payload", edit(cosign, `"Payload"`, `"payload"`), policy.BundleInvalid},
		{"cosign with text for a log entry", []byte(`{"base64Signature":"","rekorBundle":"x"}`), policy.BundleInvalid},
		{"an envelope with two signatures", edit(env, `"signatures":[`, `"signatures":[{"sig":""},`),
			policy.BundleInvalid},
		{"an envelope without signatures", []byte(`{"payloadType":"x","payload":"","signatures":[]}`),
			policy.BundleInvalid},
		{"an envelope with a number for a signature", []byte(`{"payloadType":"x","payload":"","signatures":[1]}`),
			policy.BundleInvalid},
		{"an envelope with a number for a certificate", edit(env, `"cert":"`, `"cert":1,"x":"`), policy.BundleInvalid},
		{"an envelope with text for a certificate", edit(env, `"cert":"-----BEGIN CERT`, `"cert":"-----BEGIN KERT`),
			policy.BundleInvalid},
		{"an envelope of another type", edit(env, "application/vnd.in-toto+json", "text/plain"),
			policy.StatementInvalid},
		{"a tree", []byte("tree x"), policy.BundleInvalid},
		{"an object", []byte("object x"), policy.BundleInvalid},
	} {
		path := filepath.Join(put(t, files{"evidence": c.data}), "evidence")
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
