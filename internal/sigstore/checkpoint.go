// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// Checkpoint is a checkpoint that the log's key signed (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64
	Root   []byte // SHA-256
	Note   []byte // as it was read, with signatures of others that nothing covers
	Own    []byte // the same with the log's own signature alone; nil in what a bundle shows
}

// readCheckpoint reads a checkpoint with its signatures, and verifies none.
func readCheckpoint(note string) (canonical.Checkpoint, error) {
	text, err := canonical.NoteText(note)
	if err != nil {
		return canonical.Checkpoint{}, err
	}
	return canonical.ParseCheckpoint(text)
}

// OpenCheckpoint verifies a checkpoint of one of the root's Rekor v2 logs. The
// error is an [*Error] with reason LogInvalid.
func (r *Root) OpenCheckpoint(log string, data []byte) (Checkpoint, error) {
	l := r.logs[log]
	if l == nil {
		return Checkpoint{}, refuse(policy.LogInvalid, "the log %s is not in the trusted root", clip.Text(log))
	}
	cp, err := openCheckpoint(l, data)
	if err == nil && cp.Origin != l.host {
		err = refuse(policy.LogInvalid, "the checkpoint is of %q, not of %q", clip.Text(cp.Origin), l.host)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return cp, nil
}

// OpenAnyCheckpoint verifies a checkpoint of whichever of the root's logs signed
// it, of either generation, and returns that log's id. The error is an [*Error]
// with reason LogInvalid.
func (r *Root) OpenAnyCheckpoint(data []byte) (cp Checkpoint, log string, err error) {
	for _, l := range r.Logs() {
		log := r.logs[l.ID]
		cp, err := openCheckpoint(log, data)
		shard := TreeID(cp.Origin) != "" && strings.HasPrefix(cp.Origin, log.host+" - ")
		if err == nil && (cp.Origin == log.host || shard) {
			return cp, l.ID, nil
		}
	}
	return Checkpoint{}, "", refuse(policy.LogInvalid, "no log of the trusted root signed the checkpoint")
}

// openCheckpoint verifies a checkpoint that the log's key signed under the name of its host.
func openCheckpoint(l *logKey, data []byte) (Checkpoint, error) {
	cp, own, err := l.open(data, 2)
	if err != nil {
		return Checkpoint{}, &Error{policy.LogInvalid, fmt.Errorf("checkpoint: %w", err)}
	}
	return Checkpoint{cp.Origin, cp.Size, cp.Root[:], data, own}, nil
}

// TreeID returns the tree id in the origin of a Rekor v1 shard's checkpoint, ""
// for another origin.
func TreeID(origin string) string {
	_, id, ok := strings.Cut(origin, " - ")
	if !ok {
		return ""
	}
	id = id[strings.LastIndex(id, " - ")+1:]
	id = strings.TrimPrefix(id, "- ")
	if strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}
