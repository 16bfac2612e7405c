// SPDX-License-Identifier: Apache-2.0

package sigstoretest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	treeID = 4711
	// shardOffset is how far Rekor v1's index over all shards is ahead of the
	// tree's own.
	shardOffset = 1000
)

// log is a transparency log of either generation.
type log struct {
	t      testing.TB
	host   string
	v2     bool
	key    *ecdsa.PrivateKey
	id     []byte
	hashes []tlog.Hash // stored hashes
	bodies [][]byte
	size   int64
}

func newLog(t testing.TB, host string, v2 bool) *log {
	l := &log{t: t, host: host, v2: v2, key: newKey(t, elliptic.P256())}
	_, l.id = spki(t, l.key.Public())
	for n := range 3 { // a log is never empty
		l.append([]byte{byte(n)})
	}
	return l
}

func (l *log) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) append(record []byte) (index int64) {
	h, err := tlog.StoredHashes(l.size, record, l.reader())
	l.check(err)
	l.hashes = append(l.hashes, h...)
	l.bodies = append(l.bodies, record)
	l.size++
	return l.size - 1
}

func (l *log) reader() tlog.HashReaderFunc {
	return func(idx []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, n := range idx {
			out = append(out, l.hashes[n])
		}
		return out, nil
	}
}

// ServeV2 answers for the log of Rekor v2: its newest checkpoint, and the tiles of its tree.
func (i *Instance) ServeV2(w http.ResponseWriter, r *http.Request) {
	l := i.v2
	name := strings.TrimPrefix(r.URL.Path, "/api/v2/")
	if name == "checkpoint" {
		_, _ = w.Write(i.CheckpointV2(l.bodies, l.host))
		return
	}
	t, err := tlog.ParseTilePath("tile/8/" + strings.TrimPrefix(name, "tile/"))
	if err != nil || tlog.StoredHashIndex(8*t.L, t.N<<8+int64(t.W)-1) >= int64(len(l.hashes)) {
		http.NotFound(w, r)
		return
	}
	data, err := tlog.ReadTileData(t, l.reader())
	l.check(err)
	_, _ = w.Write(data)
}

// body is what a log entry says.
type body struct {
	kind, version string
	json          []byte
}

func (l *log) json(v any) []byte {
	out, err := json.Marshal(v)
	l.check(err)
	return out
}

// entry adds the body to the log and returns the entry.
func (l *log) entry(r Request, b body, at time.Time) *protorekor.TransparencyLogEntry {
	l.t.Helper()
	index := l.append(b.json)
	e := &protorekor.TransparencyLogEntry{
		LogIndex: index, LogId: &protocommon.LogId{KeyId: l.id},
		KindVersion: &protorekor.KindVersion{Kind: b.kind, Version: b.version}, CanonicalizedBody: b.json,
	}
	if !l.v2 {
		e.LogIndex += shardOffset
		e.IntegratedTime = at.Unix()
		if !r.NoPromise {
			e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: l.promise(e)}
		}
		if r.NoProof {
			return e
		}
	}
	proof, err := tlog.ProveRecord(l.size, index, l.reader())
	l.check(err)
	root, err := tlog.TreeHash(l.size, l.reader())
	l.check(err)
	e.InclusionProof = &protorekor.InclusionProof{
		LogIndex: index, TreeSize: l.size, RootHash: root[:],
		Checkpoint: &protorekor.Checkpoint{Envelope: l.checkpoint(root)},
	}
	for _, h := range proof {
		e.InclusionProof.Hashes = append(e.InclusionProof.Hashes, h[:])
	}
	return e
}

// promise returns the signed entry timestamp of an entry.
func (l *log) promise(e *protorekor.TransparencyLogEntry) []byte {
	sum := sha256.Sum256(l.json(map[string]any{
		"body": base64.StdEncoding.EncodeToString(
			e.CanonicalizedBody,
		), "integratedTime": e.IntegratedTime, "logID": hex.EncodeToString(l.id), "logIndex": e.LogIndex,
	}))
	sig, err := ecdsa.SignASN1(rand.Reader, l.key, sum[:])
	l.check(err)
	return sig
}

// Promise makes the Rekor v1 log sign the entry's time and index as they stand,
// whatever they are.
func (i *Instance) Promise(e *protorekor.TransparencyLogEntry) {
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: i.v1.promise(e)}
}

// PromiseV1 returns what makes any body an entry of the Rekor v1 log at any time and index.
func (i *Instance) PromiseV1(body []byte, index int64, at time.Time) []byte {
	return i.v1.promise(
		&protorekor.TransparencyLogEntry{LogIndex: index, IntegratedTime: at.Unix(), CanonicalizedBody: body},
	)
}

// IDV1 returns the id of the Rekor v1 log, in hex.
func (i *Instance) IDV1() string { return hex.EncodeToString(i.v1.id) }

// Fork returns an instance with the same keys whose logs go on from here in
// another way.
func (i *Instance) Fork() *Instance {
	out := *i
	out.v1, out.v2 = i.v1.fork(), i.v2.fork()
	return &out
}

func (l *log) fork() *log {
	out := *l
	out.hashes, out.bodies = slices.Clone(l.hashes), slices.Clone(l.bodies)
	return &out
}

// ConsistencyV1 returns the proof, in hex, that the Rekor v1 log's tree of one size
// is the beginning of that of another.
func (i *Instance) ConsistencyV1(first, last int64) []string {
	i.t.Helper()
	p, err := tlog.ProveTree(last, first, i.v1.reader())
	i.check(err)
	out := []string{}
	for _, h := range p {
		out = append(out, hex.EncodeToString(h[:]))
	}
	return out
}

// BodiesV2 returns the entries of the Rekor v2 log, by index.
func (i *Instance) BodiesV2() [][]byte { return slices.Clone(i.v2.bodies) }

// CheckpointV2 returns a checkpoint of the Rekor v2 log over whatever entries it
// is asked to show, under its own origin or another one.
func (i *Instance) CheckpointV2(bodies [][]byte, origin string, extension ...string) []byte {
	i.t.Helper()
	l := &log{t: i.t, host: i.v2.host, v2: true, key: i.v2.key, id: i.v2.id}
	for _, b := range bodies {
		l.append(b)
	}
	root := tlog.Hash(sha256.Sum256(nil)) // of the empty tree
	if l.size > 0 {
		var err error
		root, err = tlog.TreeHash(l.size, l.reader())
		l.check(err)
	}
	return []byte(l.note(origin, root, extension...))
}

// SignV2 returns a checkpoint of the Rekor v2 log over any tree. Extension lines come
// after the root (C2SP tlog-checkpoint).
func (i *Instance) SignV2(size int64, root [32]byte, extension ...string) []byte {
	i.t.Helper()
	l := &log{t: i.t, host: i.v2.host, v2: true, key: i.v2.key, id: i.v2.id, size: size}
	return []byte(l.note(i.v2.host, root, extension...))
}

// NoteV1 returns a note that the Rekor v1 log signed, whatever its text is.
func (i *Instance) NoteV1(text string) string { return i.v1.sign(text) }

// NoteV2 returns a note that the Rekor v2 log signed, whatever its text is.
func (i *Instance) NoteV2(text string) string { return i.v2.sign(text) }

// Origin returns the origin of the Rekor v2 log's checkpoints.
func (i *Instance) Origin() string { return i.v2.host }

func (l *log) note(origin string, root tlog.Hash, extension ...string) string {
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, l.size, base64.StdEncoding.EncodeToString(root[:]))
	for _, line := range extension {
		text += line + "\n"
	}
	return l.sign(text)
}

func (l *log) sign(text string) string {
	signed, err := note.Sign(&note.Note{Text: text}, noteSigner{l})
	l.check(err)
	return string(signed)
}

func (l *log) checkpoint(root tlog.Hash) string {
	if l.v2 {
		return l.note(l.host, root)
	}
	signer, err := signature.LoadECDSASigner(l.key, crypto.SHA256)
	l.check(err)
	cp, err := util.CreateAndSignCheckpoint(context.Background(), l.host, treeID, uint64(l.size), root[:], signer)
	l.check(err)
	return string(cp)
}

// ShardV1 returns a checkpoint of another tree of the Rekor v1 log; of the one that
// it fills for the number 4711.
func (i *Instance) ShardV1(tree, size int64) string {
	i.t.Helper()
	root := tlog.Hash{1}
	if tree == treeID {
		size = i.v1.size
		var err error
		root, err = tlog.TreeHash(size, i.v1.reader())
		i.check(err)
	}
	signer, err := signature.LoadECDSASigner(i.v1.key, crypto.SHA256)
	i.check(err)
	cp, err := util.CreateAndSignCheckpoint(context.Background(), i.v1.host, tree, uint64(size), root[:], signer)
	i.check(err)
	return string(cp)
}

// noteSigner signs C2SP checkpoints with an ECDSA key as Rekor v2 does.
type noteSigner struct{ l *log }

func (s noteSigner) Name() string    { return s.l.host }
func (s noteSigner) KeyHash() uint32 { return binary.BigEndian.Uint32(s.l.id) }
func (s noteSigner) Sign(msg []byte) ([]byte, error) {
	sum := sha256.Sum256(msg)
	return ecdsa.SignASN1(rand.Reader, s.l.key, sum[:])
}
