// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	sampleEntry = `{"logIndex":"7","logId":{"keyId":"AQI="},"kindVersion":{"kind":"dsse","version":"0.0.1"},` +
		`"integratedTime":"1700000000","inclusionPromise":{"signedEntryTimestamp":"AwQ="},"inclusionProof":` +
		`{"logIndex":"5","rootHash":"BQ==","treeSize":"9","hashes":["Bg==","Bwg="],"checkpoint":{"envelope":"log\n9\n"}},` +
		`"canonicalizedBody":"e30="}`
	sampleBundle = `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":` +
		`{"certificate":{"rawBytes":"AQ=="},"tlogEntries":[` + sampleEntry + `,{}],"timestampVerificationData":` +
		`{"rfc3161Timestamps":[{"signedTimestamp":"Ag=="},{}]}},"dsseEnvelope":{"payload":"e30=","payloadType":` +
		`"application/vnd.in-toto+json","signatures":[{"sig":"Aw==","keyid":"k"}]}}`
	sampleMessage = `{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","verificationMaterial":` +
		`{"x509CertificateChain":{"certificates":[{"rawBytes":"AQ=="},{"rawBytes":"Ag=="}]}},"messageSignature":` +
		`{"messageDigest":{"algorithm":"SHA2_256","digest":"AwQ="},"signature":"BQ=="}}`
	sampleKey  = `{"verificationMaterial":{"publicKey":{"hint":"h<\"\u0001é"}},"messageSignature":{}}`
	sampleRoot = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"baseUrl":` +
		`"https://log.example","hashAlgorithm":"SHA2_256","publicKey":{"rawBytes":"AQ==","keyDetails":` +
		`"PKIX_ECDSA_P256_SHA_256","validFor":{"start":"2021-01-12T11:53:27Z","end":"2022-01-12T11:53:27.123Z"}},` +
		`"logId":{"keyId":"Ag=="},"checkpointKeyId":{"keyId":"Aw=="},"operator":"log.example"}],` +
		`"certificateAuthorities":[{"subject":{"organization":"o","commonName":"c"},"uri":"https://ca.example",` +
		`"certChain":{"certificates":[{"rawBytes":"BA=="}]},"validFor":{"start":"2021-01-12T11:53:27Z"},` +
		`"operator":"ca.example"}],"ctlogs":[{"baseUrl":"https://ct.example","publicKey":{"validFor":{}}}],` +
		`"timestampAuthorities":[{}]}`
	sampleConfig = `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","caUrls":[{"url":` +
		`"https://ca.example","majorApiVersion":1,"validFor":{"start":"2021-01-12T11:53:27Z"},"operator":"o"}],` +
		`"oidcUrls":[{"url":"https://oidc.example","majorApiVersion":1}],"rekorTlogUrls":[{"url":` +
		`"https://log.example","majorApiVersion":2}],"rekorTlogConfig":{"selector":"EXACT","count":2},"tsaUrls":` +
		`[{"url":"https://tsa.example","majorApiVersion":1}],"tsaConfig":{"selector":"ANY"}}`
)

// samples are documents in the form in which they are written.
var samples = []string{sampleEntry, sampleBundle, sampleMessage, sampleKey, sampleRoot, sampleConfig, "{}"}

// TestSamples: each sample is of the form that protojson writes, is read by the reader of its
// kind, and written as it was.
func TestSamples(t *testing.T) {
	for _, text := range []string{sampleBundle, sampleMessage, sampleKey} {
		b, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		same(t, []byte(text), b, Parse, (*Bundle).JSON, &protobundle.Bundle{}, bundleOf)
		written(t, text, b.JSON(), &protobundle.Bundle{})
	}
	e, err := ParseEntry([]byte(sampleEntry))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []byte(sampleEntry), e, ParseEntry, (*Entry).JSON, &protorekor.TransparencyLogEntry{}, entryOf)
	written(t, sampleEntry, e.JSON(), &protorekor.TransparencyLogEntry{})
	r, err := ParseTrustedRoot([]byte(sampleRoot))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []byte(sampleRoot), r, ParseTrustedRoot, (*TrustedRoot).JSON, &prototrust.TrustedRoot{}, rootOf)
	c, err := ParseSigningConfig([]byte(sampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []byte(sampleConfig), c, ParseSigningConfig, (*SigningConfig).JSON, &prototrust.SigningConfig{}, configOf)
	written(t, sampleConfig, c.JSON(), &prototrust.SigningConfig{})
}

func written(t *testing.T, text string, ours []byte, pb proto.Message) {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), pb); err != nil {
		t.Fatal(err)
	}
	lib, err := protojson.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, lib); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(compact.String(), string(ours)); d != "" {
		t.Errorf("protojson (-) and ours (+):\n%s", d)
	}
}

// TestForm: the fields of each message are those of protobuf-specs, with their names, numbers,
// order and oneofs.
func TestForm(t *testing.T) {
	compareForm(t, (&Bundle{}).form(), (&protobundle.Bundle{}).ProtoReflect().Descriptor())
	compareForm(t, (&TrustedRoot{}).form(), (&prototrust.TrustedRoot{}).ProtoReflect().Descriptor())
	compareForm(t, (&SigningConfig{}).form(), (&prototrust.SigningConfig{}).ProtoReflect().Descriptor())
	for _, e := range []struct {
		names enumeration
		desc  protoreflect.EnumDescriptor
	}{
		{hashAlgorithms, protocommon.HashAlgorithm(0).Descriptor()},
		{publicKeyDetails, protocommon.PublicKeyDetails(0).Descriptor()},
		{serviceSelectors, prototrust.ServiceSelector(0).Descriptor()},
	} {
		want := enumeration{}
		for i := range e.desc.Values().Len() {
			v := e.desc.Values().Get(i)
			want[int64(v.Number())] = string(v.Name())
		}
		if d := cmp.Diff(want, e.names); d != "" {
			t.Errorf("%s: %s", e.desc.Name(), d)
		}
	}
}

func compareForm(t *testing.T, form message, desc protoreflect.MessageDescriptor) {
	t.Helper()
	if desc.FullName() == "google.protobuf.Timestamp" {
		return
	}
	if len(form) != desc.Fields().Len() {
		t.Errorf("%s has %d fields, not %d", desc.FullName(), desc.Fields().Len(), len(form))
		return
	}
	for i, f := range form {
		d := desc.Fields().Get(i)
		real := d.ContainingOneof() != nil && !d.ContainingOneof().IsSynthetic()
		if f.name != d.JSONName() || snake(f.name) != d.TextName() || f.num != uint64(d.Number()) ||
			(f.oneof != alone) != real {
			t.Errorf("%s.%s is not %s, %s, %d, oneof %d", desc.FullName(), d.Name(), f.name, snake(f.name), f.num, f.oneof)
		}
		if sub := d.Message(); sub != nil {
			compareForm(t, inside(t, f.value), sub)
		}
	}
}

// inside returns the fields of the message that a value is, or a list is of.
func inside(t *testing.T, v value) message {
	t.Helper()
	switch v := v.(type) {
	case message:
		return v
	case *timeValue:
		return nil
	case interface{ add() (value, error) }:
		e, err := v.add()
		if err != nil {
			t.Fatal(err)
		}
		return inside(t, e)
	case interface{ fresh() message }:
		return v.fresh()
	}
	t.Fatalf("%T is no message", v)
	return nil
}

func (v *pointerValue[T]) fresh() message {
	*v.to = new(T)
	return v.form(*v.to)
}
