// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/keys"
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
	e, err := bundle.ParseEntryWire(wire)
	if err != nil {
		return nil, refuse(policy.BundleInvalid, "log entry: %w", err)
	}
	if len(e.Body) == 0 {
		e.Body = body
	}
	return e.JSON(), nil
}

// logged is a log entry of a bundle with its body and checkpoint, of which nothing is verified.
type logged struct {
	*bundle.Entry
	log  string // hex id
	body *entryBody
	// checkpoint is that of the proof; noCheckpoint says why it cannot be read.
	checkpoint   canonical.Checkpoint
	noCheckpoint error
}

// readEntry reads an entry. The error is an [*Error].
func readEntry(e *bundle.Entry) (*logged, error) {
	switch {
	case e == nil, len(e.Body) == 0, len(e.LogID) == 0, e.Index < 0, e.Kind == "", e.Version == "":
		return nil, refuse(policy.BundleInvalid, "without log, index, kind or body")
	case e.Proof != nil && e.Proof.Checkpoint == "":
		return nil, refuse(policy.BundleInvalid, "an inclusion proof without a checkpoint")
	}
	body, err := readBody(e.Body)
	if err != nil {
		return nil, err
	}
	out := &logged{Entry: e, log: hex.EncodeToString(e.LogID), body: body}
	if e.Proof != nil {
		out.checkpoint, out.noCheckpoint = readCheckpoint(e.Proof.Checkpoint)
	}
	return out, nil
}

// promised reports whether the log gave a signed entry timestamp.
func (e *logged) promised() bool { return len(e.Promise) > 0 }

// at returns the time of the entry, which the promise covers.
func (e *logged) at() time.Time { return time.Unix(e.Time, 0).UTC() }

func logEntry(e *logged) LogEntry {
	le := LogEntry{
		LogID: e.log, TreeIndex: -1, TreeSize: -1, PromisedIndex: -1, Generation: e.body.generation,
		Body: spelling.Sum(e.Body), LeafHash: LeafHash(e.Body),
	}
	if e.promised() {
		le.PromisedIndex, le.Time = e.Index, e.at()
	}
	if p := e.Proof; p != nil && e.noCheckpoint == nil {
		cp := e.checkpoint
		le.Proven, le.Origin, le.TreeSize, le.TreeIndex = true, cp.Origin, cp.Size, p.Index
		le.Checkpoint = &Checkpoint{Origin: cp.Origin, Size: cp.Size, Root: cp.Root[:], Note: []byte(p.Checkpoint)}
	}
	return le
}

// checkFields refuses an entry whose fields disagree with its body, its checkpoint or the generation
// of its log.
func checkFields(e *logged) error {
	if e.Kind != e.body.kind || e.Version != e.body.version {
		return fmt.Errorf("called %s %s, but the body is %s %s", e.Kind, e.Version, e.body.kind, e.body.version)
	}
	second := e.body.generation == 2
	if e.Proof == nil {
		if second {
			return errors.New("a Rekor v2 entry without an inclusion proof")
		}
		return nil
	}
	if e.noCheckpoint != nil {
		return fmt.Errorf("checkpoint: %w", e.noCheckpoint)
	}
	if second == (TreeID(e.checkpoint.Origin) != "") {
		return errors.New("a Rekor v2 entry under a v1 checkpoint, or the reverse")
	}
	if err := checkProof(e.Proof, e.checkpoint); err != nil || !second {
		return err
	}
	return checkV2(e)
}

// checkProof refuses an inclusion proof whose fields disagree with its checkpoint.
func checkProof(p *bundle.Proof, cp canonical.Checkpoint) error {
	switch {
	case p.Size != 0 && p.Size != cp.Size:
		return fmt.Errorf("tree size %d, but the checkpoint says %d", p.Size, cp.Size)
	case len(p.Root) > 0 && !bytes.Equal(p.Root, cp.Root[:]):
		return errors.New("the root hash is not the checkpoint's")
	case p.Index < 0 || p.Index >= cp.Size:
		return fmt.Errorf("index %d in a tree of %d", p.Index, cp.Size)
	}
	return nil
}

// checkV2 refuses an entry of Rekor v2 that says more than such entries do, or whose body is
// not the one that its proof is of.
func checkV2(e *logged) error {
	if e.Proof.Index != e.Index {
		return fmt.Errorf("two indexes, %d and %d", e.Index, e.Proof.Index)
	}
	if e.Time != 0 || e.promised() {
		return errors.New("a Rekor v2 entry has neither a time nor a promise")
	}
	return e.included()
}

// included verifies that the body is in the tree of the checkpoint, which nobody has verified.
func (e *logged) included() error {
	h := rfc6962.DefaultHasher
	cp, p := &e.checkpoint, e.Proof
	leaf, index, size := h.HashLeaf(e.Body), uint64(p.Index), uint64(cp.Size)
	if err := merkle.VerifyInclusion(h, index, size, leaf, p.Hashes, cp.Root[:]); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

// signing is what log entries have to show of a signature.
type signing struct {
	leaf      *x509.Certificate // nil for a bare key
	key       *Key
	alg       keys.Algorithm // by which Rekor v2 shows it
	signature []byte
	hash      crypto.Hash   // of a file, or of an envelope that is shown as one
	digest    []byte        // by hash; nil for an envelope
	pae       func() []byte // of an envelope: what is signed
	payload   string        // of an envelope: hex SHA-256
}

// shows refuses an entry that is about something else than the signature.
func (e *logged) shows(s *signing) error {
	b := e.body
	if b.generation == 2 {
		digest, verifier := s.digest, []byte(nil)
		if digest == nil {
			digest = s.alg.Input(s.pae())
		}
		if s.leaf != nil {
			verifier = s.leaf.Raw
		} else {
			verifier = s.key.der
		}
		if s.alg.Hash == 0 || !bytes.Equal(e.Body, bodyV2(s.alg, digest, s.signature, verifier, s.leaf != nil)) {
			return errors.New("the entry is of another signature")
		}
		return nil
	}
	if err := b.by(s.leaf, s.key); err != nil {
		return err
	}
	switch {
	case !bytes.Equal(b.signature, s.signature):
		return errors.New("the entry is of another signature")
	case s.digest == nil && (b.payload == "" || b.payload != s.payload):
		return errors.New("the entry is not of the payload")
	case s.digest != nil && (b.hash != s.hash || !bytes.Equal(b.digest, s.digest)):
		return errors.New("the entry is of another digest")
	}
	return nil
}

// vouch verifies that a log of the root has the entry: every promise and every proof that comes
// with it, at least one.
func (r *Root) vouch(e *logged) error {
	log := r.logs[e.log]
	switch {
	case log == nil:
		return errors.New("the log is not in the trusted root")
	case !e.promised() && e.Proof == nil:
		return errors.New("an entry without an inclusion proof and without a promise")
	case e.promised():
		if err := log.checkPromise(e); err != nil {
			return err
		}
		if !within(e.at(), log) {
			return errors.New("promised when the trusted root did not trust the log's key")
		}
	}
	if e.Proof == nil {
		return nil
	}
	cp, _, err := log.open([]byte(e.Proof.Checkpoint), e.body.generation)
	switch {
	case err != nil:
		return fmt.Errorf("checkpoint: %w", err)
	case e.body.generation == 2:
		if cp.Origin != log.host {
			return errors.New("the checkpoint is of another log")
		}
		return nil // checkV2 found it included
	case e.Proof.Size != cp.Size || !bytes.Equal(e.Proof.Root, cp.Root[:]):
		return errors.New("the proof is not of the checkpoint's tree")
	}
	return e.included()
}

// maxExact bounds the numbers that RFC 8785 writes as they are.
const maxExact = 1<<53 - 1

// checkPromise verifies a signed entry timestamp: ECDSA over the SHA-256 of a document in canonical
// JSON.
//
// Format: https://github.com/sigstore/rekor/blob/main/pkg/api/entries.go, signEntry.
func (l *logKey) checkPromise(e *logged) error {
	if e.body.generation != 1 || e.Time <= 0 || e.Time > maxExact || e.Index > maxExact {
		return errors.New("a promise of Rekor v2, or with numbers that no log has")
	}
	text := []byte(`{"body":"`)
	text = base64.StdEncoding.AppendEncode(text, e.Body)
	text = append(text, `","integratedTime":`...)
	text = strconv.AppendInt(text, e.Time, 10)
	text = append(text, `,"logID":"`+e.log+`","logIndex":`...)
	text = strconv.AppendInt(text, e.Index, 10)
	sum := sha256.Sum256(append(text, '}'))
	key, ok := l.key.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(key, sum[:], e.Promise) {
		return errors.New("the signed entry timestamp does not verify")
	}
	return nil
}
