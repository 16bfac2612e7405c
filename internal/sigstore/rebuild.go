// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"encoding/hex"
	"encoding/json"

	"github.com/repopolicy/repopolicy/internal/bundle"
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
	body, err := readBody(e.Body)
	if err != nil {
		return nil, refuse(policy.LogInvalid, "%w", err)
	}
	if body.kind != "dsse" {
		return nil, refuse(policy.LogInvalid, "an entry of kind %q", clip.Text(body.kind))
	}
	if !body.certificate {
		return nil, refuse(policy.CertificateBad, "signed with a bare key")
	}
	p := e.Verification.Proof
	if len(e.Verification.Promise) == 0 || p.Checkpoint == "" {
		return nil, refuse(policy.LogInvalid, "an entry without a signed entry timestamp or inclusion proof")
	}
	if len(p.Hashes) > bundle.MaxProofHashes {
		return nil, refuse(policy.LogInvalid, "%d hashes in an inclusion proof, at most %d are read", len(p.Hashes),
			bundle.MaxProofHashes)
	}
	var decoded [][]byte
	for _, h := range append([]string{e.LogID, p.RootHash}, p.Hashes...) {
		raw, err := hex.DecodeString(h)
		if err != nil {
			return nil, &Error{policy.LogInvalid, err}
		}
		decoded = append(decoded, raw)
	}
	d := &Draft{&bundle.Bundle{
		MediaType: mediaType03,
		Material:  &bundle.Material{Certificate: &bundle.Certificate{Raw: body.verifier}},
		Envelope: &bundle.Envelope{
			Payload: payload, PayloadType: payloadInToto, Signatures: []bundle.Signature{{Sig: body.signature}},
		},
	}}
	return d.logged(r, &bundle.Entry{
		Index: int64(e.LogIndex), LogID: decoded[0], Kind: body.kind, Version: body.version,
		Time: int64(e.IntegratedTime), Promise: e.Verification.Promise, Body: e.Body,
		Proof: &bundle.Proof{
			Index: int64(p.LogIndex), Root: decoded[1], Size: int64(p.TreeSize), Hashes: decoded[2:],
			Checkpoint: p.Checkpoint,
		},
	})
}
