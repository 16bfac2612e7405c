// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"encoding/hex"
	"testing"

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
