// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
	"time"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/sigstoretest"
)

// World is what tests of a directory start from: a chain of two versions of
// acme/widget, and each of its bindings once more, in a log of Rekor v2 that an
// honest reader sees like this.
type World struct {
	Inst       *sigstoretest.Instance
	Root       *sigstore.Root
	Files      []File
	Log        string
	Bodies     [][]byte
	Checkpoint []byte
	Payloads   [2][]byte
	c          *chained
}

// NewWorld returns a world under a root with logs of these generations.
func NewWorld(t testing.TB, generations ...int) *World {
	c := newChained(t, generations...)
	w := &World{c.inst, c.root, c.files, hex.EncodeToString(shardID), nil, nil, [2][]byte{c.one, c.two}, c}
	w.Refresh()
	return w
}

// Refresh reads the log again.
func (w *World) Refresh() {
	h := w.c.honest()
	w.Bodies, w.Checkpoint = h.bodies, h.checkpoint
}

// Bind logs a binding, of which the file is returned.
func (w *World) Bind(repo string, payload []byte) File {
	_, _, bundles := w.c.log(workflow(repo, payload))
	return File{SignaturesDir + "/more.sigstore.json", bundles[0]}
}

// NewState returns an empty state.
func NewState(t testing.TB) *State { return newState(t) }

// NewWorldFrom returns one with a Rekor v1 log and one of Rekor v2 that begins then.
func NewWorldFrom(t testing.TB, start time.Time) *World {
	w := NewWorld(t, 2)
	data := w.Inst.Root(sigstoretest.RootOptions{LogV2: &sigstoretest.Window{Start: start}, Mutate: func(tr *prototrust.TrustedRoot) { tr.Tlogs[1].LogId.KeyId = shardID }})
	root, err := sigstore.ParseRoot("test", data)
	check(t, err)
	w.Root, w.c.root = root, root
	return w
}

// EntriesV1 returns the bindings that no file holds as Rekor v1 answers them, in
// order, the log's id and the checkpoints of its shards.
func (w *World) EntriesV1(t testing.TB) (entries []json.RawMessage, log string, checkpoints []string) {
	for _, n := range w.c.names {
		entries = append(entries, w.c.v1[n])
	}
	checkpoints = []string{w.Inst.ShardV1(1, 1000), w.Inst.ShardV1(4711, 0)}
	slices.Sort(checkpoints)
	return entries, w.Root.Logs()[0].ID, checkpoints
}

// SetTimeout sets how long a directory has.
func SetTimeout(d *Directory, limit time.Duration) { d.timeout = limit }
