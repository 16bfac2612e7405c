// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"encoding/json"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/policy"
)

// EntryJSON turns a dev.sigstore.rekor.v1.TransparencyLogEntry from the
// protobuf wire format into the JSON in which it stands in a bundle. If the
// entry has no body, that is body. The error is an [*Error] with reason
// BundleInvalid.
func EntryJSON(wire, body []byte) (json.RawMessage, error) {
	if len(wire) > MaxBundleBytes {
		return nil, refuse(policy.BundleTooLarge, "log entry of %d bytes, at most %d are read", len(wire), MaxBundleBytes)
	}
	e := &protorekor.TransparencyLogEntry{}
	if err := proto.Unmarshal(wire, e); err != nil {
		return nil, refuse(policy.BundleInvalid, "log entry: %s", cleanProto(err))
	}
	if len(e.GetCanonicalizedBody()) == 0 {
		e.CanonicalizedBody = body
	}
	out, err := protojson.Marshal(e)
	if err != nil {
		return nil, refuse(policy.BundleInvalid, "log entry: %s", cleanProto(err))
	}
	return out, nil
}
