// SPDX-License-Identifier: Apache-2.0

package services

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/tle"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/rekor/pkg/types/dsse"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	"github.com/sigstore/rekor/pkg/types/hashedrekord"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/bundle"
)

// TestProposals: logs are sent what their own libraries would send.
func TestProposals(t *testing.T) {
	key := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sign := func(data []byte) ([]byte, []byte) {
		sum := sha256.Sum256(data)
		sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return sum[:], sig
	}
	p := &Proposal{Verifier: der, Details: "PKIX_ECDSA_P256_SHA_256"}
	p.Digest, p.Signature = sign([]byte("a file"))
	ours, err := p.v1()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := hashedrekord.New().CreateProposedEntry(t.Context(), "", types.ArtifactProperties{
		PublicKeyBytes: [][]byte{p.pem()}, PKIFormat: "x509", SignatureBytes: p.Signature,
		ArtifactHash: "sha256:" + hex.EncodeToString(p.Digest),
	})
	sameJSON(t, ours, theirs, err)

	const kind, payload = "application/vnd.in-toto+json", `{"a":"<&>"}`
	_, sig := sign([]byte("DSSEv1 28 " + kind + " 11 " + payload))
	p.Signature = sig
	p.Envelope = &bundle.Envelope{
		Payload: []byte(payload), PayloadType: kind, Signatures: []bundle.Signature{{Sig: sig}},
	}
	if ours, err = p.v1(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(struct { // the form that earlier releases logged
		Payload     []byte              `json:"payload"`
		PayloadType string              `json:"payloadType"`
		Signatures  []map[string][]byte `json:"signatures"`
	}{[]byte(payload), kind, []map[string][]byte{{"sig": sig}}})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = dsse.New().CreateProposedEntry(t.Context(), "", types.ArtifactProperties{
		PublicKeyBytes: [][]byte{p.pem()}, ArtifactBytes: text,
	})
	sameJSON(t, ours, theirs, err)

	for _, certificate := range []bool{false, true} {
		p.Certificate = certificate
		verifier := &rekortiles.Verifier{
			KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
			Verifier:   &rekortiles.Verifier_PublicKey{PublicKey: &rekortiles.PublicKey{RawBytes: der}},
		}
		if certificate {
			verifier.Verifier = &rekortiles.Verifier_X509Certificate{
				X509Certificate: &protocommon.X509Certificate{RawBytes: der},
			}
		}
		want := &rekortiles.CreateEntryRequest{Spec: &rekortiles.CreateEntryRequest_HashedRekordRequestV002{
			HashedRekordRequestV002: &rekortiles.HashedRekordRequestV002{
				Digest: p.Digest, Signature: &rekortiles.Signature{Content: p.Signature, Verifier: verifier},
			},
		}}
		got := &rekortiles.CreateEntryRequest{}
		if err := protojson.Unmarshal(p.v2(), got); err != nil || !proto.Equal(want, got) {
			t.Errorf("%s, %v, want %v", p.v2(), err, want)
		}
	}
}

func sameJSON(t *testing.T, ours []byte, theirs models.ProposedEntry, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	var a, b map[string]any
	if json.Unmarshal(ours, &a) != nil || json.Unmarshal(lib, &b) != nil {
		t.Fatalf("%s, %s", ours, lib)
	}
	if spec, ok := b["spec"].(map[string]any); ok && spec["signatures"] == nil {
		delete(spec, "signatures") // which only the log writes
	}
	if d := cmp.Diff(b, a); d != "" {
		t.Errorf("library (-) and ours (+):\n%s", d)
	}
}

// FuzzEntryV1: what is read of an answer of Rekor v1 is what rekor's own library makes of it.
func FuzzEntryV1(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"00":{"body":"e30=","logID":"","verification":{"inclusionProof":{}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, err := entryV1(data)
		if err != nil {
			return
		}
		var all models.LogEntry
		if err := json.Unmarshal(data, &all); err != nil || len(all) != 1 {
			t.Fatalf("the library reads %d entries of %q: %v", len(all), data, err)
		}
		for _, e := range all {
			lib, err := tle.GenerateTransparencyLogEntry(e)
			if err != nil {
				return // of a body that is no entry; ours is judged with the bundle
			}
			text, err := protojson.Marshal(lib)
			if err != nil {
				return
			}
			theirs, err := bundle.ParseEntry(text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(theirs, ours); d != "" {
				t.Fatalf("%q: library (-) and ours (+):\n%s", data, d)
			}
		}
	})
}
