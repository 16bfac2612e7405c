// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
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

// First returns the statement of a first version, of another repository.
func (w *World) First(repo string) []byte {
	payload, _ := w.c.statement(strings.ReplaceAll(testPolicy, "https://github.com/acme/widget", repo), "")
	return payload
}

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

// SignedWorkflow logs a binding whose certificate has all that GitHub's have, and
// returns the body of its entry.
func (w *World) SignedWorkflow(repo string, payload []byte) []byte {
	r := workflow(repo, payload)
	r.Extensions = maps.Clone(r.Extensions)
	const sha = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c"
	maps.Copy(r.Extensions, map[int]string{
		2: "repository_dispatch", 3: sha, 4: "repopolicy", 5: repo[len("https://github.com/"):], 6: "refs/heads/main", 10: sha, 13: sha, 16: "https://github.com/acme", 19: sha,
		21: repo + "/actions/runs/16543219876/attempts/1", 22: "public", 24: "repo:" + repo[len("https://github.com/"):] + ":ref:refs/heads/main",
	})
	w.c.log(r)
	bodies := w.Inst.BodiesV2()
	return bodies[len(bodies)-1]
}

// NewRoot returns the world's root as one that has verified no certificate yet.
func (w *World) NewRoot() *sigstore.Root { return w.c.rootWith(2) }

// BindAs logs a binding by a repository of that number, of which the file is
// returned.
func (w *World) BindAs(repo, number string, payload []byte) File {
	r := workflow(repo, payload)
	r.Extensions[15] = number
	_, _, bundles := w.c.log(r)
	return File{SignaturesDir + "/more.sigstore.json", bundles[0]}
}

// WorldOfTwo is a root with two logs of one generation, and checkpoints: of each, and
// of the first at another size.
type WorldOfTwo struct {
	Root       *sigstore.Root
	Log, Other string
	Notes      [3]string
}

// NewWorldOfTwo returns one.
func NewWorldOfTwo(t testing.TB, generation int) *WorldOfTwo {
	c, other := newChained(t, generation), sigstoretest.New(t)
	id := bytes.Repeat([]byte{3}, 32)
	w := &WorldOfTwo{}
	if generation == 1 {
		w.Notes = [3]string{c.inst.ShardV1(4711, 0), other.ShardV1(4711, 0), ""}
		c.inst.Sign(sigstoretest.Request{Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com"})
		w.Notes[2] = c.inst.ShardV1(4711, 0)
	} else {
		bodies := c.inst.BodiesV2()
		w.Notes = [3]string{string(c.inst.CheckpointV2(bodies, c.inst.Origin())), string(other.CheckpointV2(bodies, other.Origin())), string(c.inst.CheckpointV2(bodies[:2], c.inst.Origin()))}
	}
	var more *prototrust.TransparencyLogInstance
	_ = other.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) { more = tr.Tlogs[generation-1] }})
	if generation == 2 {
		more.LogId.KeyId = id
	}
	w.Other = hex.EncodeToString(more.LogId.KeyId)
	data := c.inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs[1].LogId.KeyId = shardID
		w.Log = hex.EncodeToString(tr.Tlogs[generation-1].LogId.KeyId)
		tr.Tlogs = []*prototrust.TransparencyLogInstance{tr.Tlogs[generation-1], more}
	}})
	var err error
	w.Root, err = sigstore.ParseRoot("test", data)
	check(t, err)
	return w
}
