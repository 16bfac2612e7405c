// SPDX-License-Identifier: Apache-2.0

package bindtest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"

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
	Files      []bindings.File
	Log        string
	Bodies     [][]byte
	Checkpoint []byte
	Payloads   [2][]byte
	c          *Chained
}

// NewWorld returns a world under a root with logs of these generations.
func NewWorld(t testing.TB, generations ...int) *World {
	c := NewChained(t, generations...)
	w := &World{c.Inst, c.Root, c.Files, hex.EncodeToString(ShardID), nil, nil, [2][]byte{c.One, c.Two}, c}
	w.Refresh()
	return w
}

// Refresh reads the log again.
func (w *World) Refresh() {
	h := w.c.Honest()
	w.Bodies, w.Checkpoint = h.Bodies, h.Checkpoint
}

// Bind logs a binding, of which the file is returned.
func (w *World) Bind(repo string, payload []byte) bindings.File {
	_, _, bundles := w.c.Log(Workflow(repo, payload))
	return bindings.File{Name: bindings.SignaturesDir + "/more.sigstore.json", Data: bundles[0]}
}

// First returns the statement of a first version, of another repository.
func (w *World) First(repo string) []byte {
	payload, _ := w.c.Statement(strings.ReplaceAll(TestPolicy, "https://github.com/acme/widget", repo), "")
	return payload
}

// NewWorldFrom returns one with a Rekor v1 log and one of Rekor v2 that begins then.
func NewWorldFrom(t testing.TB, start time.Time) *World {
	w := NewWorld(t, 2)
	data := w.Inst.Root(
		sigstoretest.RootOptions{
			LogV2:  &sigstoretest.Window{Start: start},
			Mutate: func(tr *prototrust.TrustedRoot) { tr.Tlogs[1].LogId.KeyId = ShardID },
		},
	)
	root, err := sigstore.ParseRoot("test", data)
	Check(t, err)
	w.Root, w.c.Root = root, root
	return w
}

// EntriesV1 returns the bindings that no file holds as Rekor v1 answers them, in
// order, the log's id and the checkpoints of its shards.
func (w *World) EntriesV1(t testing.TB) (entries []json.RawMessage, log string, checkpoints []string) {
	for _, n := range w.c.Names {
		entries = append(entries, w.c.V1[n])
	}
	checkpoints = []string{w.Inst.ShardV1(1, 1000), w.Inst.ShardV1(4711, 0)}
	slices.Sort(checkpoints)
	return entries, w.Root.Logs()[0].ID, checkpoints
}

// SignedWorkflow logs a binding whose certificate has all that GitHub's have, and
// returns the body of its entry.
func (w *World) SignedWorkflow(repo string, payload []byte) []byte {
	r := Workflow(repo, payload)
	r.Extensions = maps.Clone(r.Extensions)
	const sha = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c"
	maps.Copy(r.Extensions, map[int]string{
		2: "repository_dispatch", 3: sha, 4: "repopolicy", 5: repo[len("https://github.com/"):], 6: "refs/heads/main",
		10: sha, 13: sha, 16: "https://github.com/acme", 19: sha,
		21: repo + "/actions/runs/16543219876/attempts/1", 22: "public",
		24: "repo:" + repo[len("https://github.com/"):] + ":ref:refs/heads/main",
	})
	w.c.Log(r)
	bodies := w.Inst.BodiesV2()
	return bodies[len(bodies)-1]
}

// NewRoot returns the world's root as one that has verified no certificate yet.
func (w *World) NewRoot() *sigstore.Root { return w.c.RootWith(2) }

// BindAs logs a binding by a repository of that number, of which the file is
// returned.
func (w *World) BindAs(repo, number string, payload []byte) bindings.File {
	r := Workflow(repo, payload)
	r.Extensions[15] = number
	_, _, bundles := w.c.Log(r)
	return bindings.File{Name: bindings.SignaturesDir + "/more.sigstore.json", Data: bundles[0]}
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
	c, other := NewChained(t, generation), sigstoretest.New(t)
	id := bytes.Repeat([]byte{3}, 32)
	w := &WorldOfTwo{}
	if generation == 1 {
		w.Notes = [3]string{c.Inst.ShardV1(4711, 0), other.ShardV1(4711, 0), ""}
		c.Inst.Sign(
			sigstoretest.Request{
				Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com",
			},
		)
		w.Notes[2] = c.Inst.ShardV1(4711, 0)
	} else {
		bodies := c.Inst.BodiesV2()
		w.Notes = [3]string{
			string(c.Inst.CheckpointV2(bodies, c.Inst.Origin())), string(other.CheckpointV2(bodies, other.Origin())),
			string(c.Inst.CheckpointV2(bodies[:2], c.Inst.Origin())),
		}
	}
	var more *prototrust.TransparencyLogInstance
	_ = other.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) { more = tr.Tlogs[generation-1] }})
	if generation == 2 {
		more.LogId.KeyId = id
	}
	w.Other = hex.EncodeToString(more.LogId.KeyId)
	data := c.Inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs[1].LogId.KeyId = ShardID
		w.Log = hex.EncodeToString(tr.Tlogs[generation-1].LogId.KeyId)
		tr.Tlogs = []*prototrust.TransparencyLogInstance{tr.Tlogs[generation-1], more}
	}})
	var err error
	w.Root, err = sigstore.ParseRoot("test", data)
	Check(t, err)
	return w
}
