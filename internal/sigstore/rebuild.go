// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// Rebuild makes the bundle of an entry as Rekor v1 answers it and of the payload
// that was signed: the entry has the rest, and its time needs no other stamp. The
// bundle is verified under the root. The error is an [*Error] or about the entry's
// form.
//
// API: https://github.com/sigstore/rekor/blob/main/openapi.yaml (LogEntry).
func (r *Root) Rebuild(entry, payload []byte) ([]byte, error) {
	var e struct {
		Body           canonical.Bytes  `json:"body"`
		IntegratedTime canonical.Number `json:"integratedTime"`
		LogID          string           `json:"logID"`
		LogIndex       canonical.Number `json:"logIndex"`
		Verification   struct {
			Promise canonical.Bytes `json:"signedEntryTimestamp"`
			Proof   struct {
				Checkpoint string           `json:"checkpoint"`
				Hashes     []string         `json:"hashes"`
				LogIndex   canonical.Number `json:"logIndex"`
				RootHash   string           `json:"rootHash"`
				TreeSize   canonical.Number `json:"treeSize"`
			} `json:"inclusionProof"`
		} `json:"verification"`
	}
	if err := json.Unmarshal(entry, &e); err != nil {
		return nil, &Error{policy.LogInvalid, err}
	}
	var body struct {
		APIVersion, Kind string
		Spec             struct {
			Signatures []struct {
				Signature canonical.Bytes
				Verifier  canonical.Bytes
			}
		}
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return nil, &Error{policy.LogInvalid, err}
	}
	if body.Kind != "dsse" || len(body.Spec.Signatures) != 1 {
		return nil, refuse(policy.LogInvalid, "an entry of kind %q", clip.Text(body.Kind))
	}
	block, _ := pem.Decode(body.Spec.Signatures[0].Verifier)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, refuse(policy.CertificateBad, "signed with a bare key")
	}
	p := e.Verification.Proof
	if len(e.Verification.Promise) == 0 || p.Checkpoint == "" {
		return nil, refuse(policy.LogInvalid, "an entry without a signed entry timestamp or inclusion proof")
	}
	if len(p.Hashes) > maxProofHashes {
		return nil, refuse(policy.LogInvalid, "%d hashes in an inclusion proof, at most %d are read", len(p.Hashes),
			maxProofHashes)
	}
	var decoded [][]byte
	for _, h := range append([]string{e.LogID, p.RootHash}, p.Hashes...) {
		raw, err := hex.DecodeString(h)
		if err != nil {
			return nil, &Error{policy.LogInvalid, err}
		}
		decoded = append(decoded, raw)
	}
	pb := &protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_Certificate{
				Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes},
			},
			TlogEntries: []*protorekor.TransparencyLogEntry{{
				LogIndex: int64(e.LogIndex), LogId: &protocommon.LogId{KeyId: decoded[0]},
				KindVersion:      &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion},
				IntegratedTime:   int64(e.IntegratedTime),
				InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: e.Verification.Promise},
				InclusionProof: &protorekor.InclusionProof{
					LogIndex: int64(p.LogIndex), RootHash: decoded[1], TreeSize: int64(p.TreeSize), Hashes: decoded[2:],
					Checkpoint: &protorekor.Checkpoint{Envelope: p.Checkpoint},
				},
				CanonicalizedBody: e.Body,
			}},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: payloadInToto,
			Signatures: []*protodsse.Signature{{Sig: body.Spec.Signatures[0].Signature}},
		}},
	}
	return finish(r, pb, &Draft{pb})
}

// finish returns the file of a bundle that was just made, if it verifies.
func finish(r *Root, pb *protobundle.Bundle, d *Draft) ([]byte, error) {
	out, err := protojson.Marshal(pb)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson is unstable in its white space on purpose
	if err := json.Compact(&compact, out); err != nil {
		return nil, err
	}
	if err := selfCheck(r, compact.Bytes(), d); err != nil {
		return nil, err
	}
	return append(compact.Bytes(), '\n'), nil
}

// Stamp adds a time stamp to a draft that has none, where the instance has an
// authority.
func (c *Client) Stamp(ctx context.Context, d *Draft) error {
	sig := d.signature()
	if len(sig) == 0 {
		return errors.New("a draft has one signature")
	}
	if c.Services.TSA == "" || d.Stamped() {
		return nil
	}
	stamp, err := c.timestamp(ctx, sig)
	if err != nil {
		return err
	}
	d.stamp(stamp)
	return nil
}

// timestamp asks the instance's authority for a time stamp over data.
func (c *Client) timestamp(ctx context.Context, data []byte) (stamp []byte, err error) {
	tsa := sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
		URL: c.Services.TSA, Timeout: c.timeout(), Retries: stampRetries,
		Transport: legible{&until{ctx, c.transport(c.Services.TSA)}},
	})
	err = guarded(c.Services.TSA, func() (err error) { stamp, err = tsa.GetTimestamp(ctx, data); return err })
	if err != nil {
		return nil, fmt.Errorf("time stamp: %s: %w", c.Services.TSA, err)
	}
	return stamp, nil
}

// Stamped reports whether the draft has a time stamp.
func (d *Draft) Stamped() bool {
	return d.pb.GetVerificationMaterial().GetTimestampVerificationData() != nil
}

func (d *Draft) stamp(stamp []byte) {
	d.pb.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
	}
}
