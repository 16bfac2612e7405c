// SPDX-License-Identifier: Apache-2.0

package rekorv1

import (
	"context"
	"sync"
	"time"

	"github.com/google/trillian"
	trillianstorage "github.com/google/trillian/storage"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// unique makes a storage keep [trillianstorage.LogStorage]'s promise about
// duplicates. Trillian's storage in memory does not: it logs a leaf a second
// time, and Rekor, which expects one proof for a hash, answers 500 for that entry
// from then on. A client that repeats a request whose answer it did not get, since
// it was killed while the entry waited, is all it takes.
type unique struct {
	trillianstorage.LogStorage
	mu     sync.Mutex
	leaves map[int64]map[string]*trillian.LogLeaf // by tree and identity hash
}

// QueueLeaves implements trillianstorage.LogStorage.
func (u *unique) QueueLeaves(ctx context.Context, tree *trillian.Tree, leaves []*trillian.LogLeaf, at time.Time) ([]*trillian.QueuedLogLeaf, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.leaves[tree.TreeId]
	if known == nil {
		known = map[string]*trillian.LogLeaf{}
		u.leaves[tree.TreeId] = known
	}
	out := make([]*trillian.QueuedLogLeaf, len(leaves))
	for i, l := range leaves {
		id := string(l.LeafIdentityHash)
		if first := known[id]; first != nil {
			out[i] = &trillian.QueuedLogLeaf{Leaf: first, Status: status.Newf(codes.AlreadyExists, "leaf already exists: %x", id).Proto()}
			continue
		}
		first := proto.Clone(l).(*trillian.LogLeaf) // the sequencer changes the other
		queued, err := u.LogStorage.QueueLeaves(ctx, tree, leaves[i:i+1], at)
		if err != nil {
			return nil, err
		}
		known[id], out[i] = first, queued[0]
	}
	return out, nil
}
