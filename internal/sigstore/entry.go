// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/spelling"
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

func logEntry(entry *tlog.Entry) LogEntry {
	tle := entry.TransparencyLogEntry()
	body := tle.GetCanonicalizedBody()
	le := LogEntry{
		LogID: hex.EncodeToString([]byte(entry.LogKeyID())), TreeIndex: -1, TreeSize: -1, PromisedIndex: -1, Generation: 1,
		Body: spelling.Sum(body), LeafHash: LeafHash(body),
	}
	if entry.IsRekorV2() {
		le.Generation = 2
	}
	if entry.HasInclusionPromise() {
		le.PromisedIndex, le.Time = tle.GetLogIndex(), time.Unix(tle.GetIntegratedTime(), 0).UTC()
	}
	if p := tle.GetInclusionProof(); p != nil {
		cp, err := readCheckpoint(p.GetCheckpoint().GetEnvelope())
		if err == nil {
			le.Proven, le.Origin, le.TreeSize, le.TreeIndex = true, cp.Origin, cp.Size, p.GetLogIndex()
			le.Checkpoint = &Checkpoint{
				Origin: cp.Origin, Size: cp.Size, Root: cp.Root[:], Note: []byte(p.GetCheckpoint().GetEnvelope()),
			}
		}
	}
	return le
}

// checkFields refuses an entry whose fields disagree with those that its proof
// covers. sigstore-go v1.3.0 leaves some of them unread: the tree size beside a
// Rekor v1 proof, index and root beside a v2 proof, which kind of log the kind
// of body belongs to, kind and version of the body, which it compares with
// themselves, and the body of a v2 entry, instead of which it takes what it
// rebuilds from the bundle.
func checkFields(entry *tlog.Entry) error {
	tle := entry.TransparencyLogEntry()
	var body struct{ Kind, APIVersion string }
	if err := json.Unmarshal(tle.GetCanonicalizedBody(), &body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if kv := tle.GetKindVersion(); kv.GetKind() != body.Kind || kv.GetVersion() != body.APIVersion {
		return fmt.Errorf("called %s %s, but the body is %s %s",
			kv.GetKind(), kv.GetVersion(), body.Kind, body.APIVersion)
	}
	p := tle.GetInclusionProof()
	if p == nil {
		if entry.IsRekorV2() {
			return errors.New("a Rekor v2 entry without an inclusion proof")
		}
		return nil
	}
	cp, err := readCheckpoint(p.GetCheckpoint().GetEnvelope())
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if entry.IsRekorV2() == (TreeID(cp.Origin) != "") {
		return errors.New("a Rekor v2 entry under a v1 checkpoint, or the reverse")
	}
	if err := checkProof(p, cp); err != nil || !entry.IsRekorV2() {
		return err
	}
	return checkV2(entry, cp)
}

// checkProof refuses an inclusion proof whose fields disagree with its checkpoint.
func checkProof(p *protorekor.InclusionProof, cp canonical.Checkpoint) error {
	switch {
	case p.GetTreeSize() != 0 && p.GetTreeSize() != cp.Size:
		return fmt.Errorf("tree size %d, but the checkpoint says %d", p.GetTreeSize(), cp.Size)
	case len(p.GetRootHash()) > 0 && !bytes.Equal(p.GetRootHash(), cp.Root[:]):
		return errors.New("the root hash is not the checkpoint's")
	case p.GetLogIndex() < 0 || p.GetLogIndex() >= cp.Size:
		return fmt.Errorf("index %d in a tree of %d", p.GetLogIndex(), cp.Size)
	}
	return nil
}

// checkV2 refuses an entry of Rekor v2 that says more than such entries do, or whose body is
// not the one that its proof is of.
func checkV2(entry *tlog.Entry, cp canonical.Checkpoint) error {
	tle := entry.TransparencyLogEntry()
	p := tle.GetInclusionProof()
	if p.GetLogIndex() != tle.GetLogIndex() {
		return fmt.Errorf("two indexes, %d and %d", tle.GetLogIndex(), p.GetLogIndex())
	}
	if tle.GetIntegratedTime() != 0 || entry.HasInclusionPromise() {
		return errors.New("a Rekor v2 entry has neither a time nor a promise")
	}
	h := rfc6962.DefaultHasher
	leaf, index, size := h.HashLeaf(tle.GetCanonicalizedBody()), uint64(p.GetLogIndex()), uint64(cp.Size)
	if err := merkle.VerifyInclusion(h, index, size, leaf, p.GetHashes(), cp.Root[:]); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}
