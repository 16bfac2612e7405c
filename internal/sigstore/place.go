// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// maxStampBytes is the largest RFC 3161 response that is read.
const maxStampBytes = 16 << 10

// Place is what a place proof shows (SPEC 8.4): a tree of a log existed at a time, by the
// word of a time stamp authority of the trusted root.
type Place struct {
	Checkpoint
	Log       string
	Time      time.Time
	Authority string // one of the root, never ""
}

// OpenPlace verifies a place proof of one of the root's Rekor v2 logs: a checkpoint with
// the log's signature alone, and a time stamp (RFC 3161) over its bytes from while the log
// was trusted. The error is an [*Error], with reason LogInvalid about the log, its
// checkpoint or its window, TimeInvalid about the stamp.
func (r *Root) OpenPlace(log string, checkpoint, stamp []byte) (Place, error) {
	logs := r.Logs()
	i := slices.IndexFunc(logs, func(l Log) bool { return l.ID == log })
	if i < 0 {
		return Place{}, refuse(policy.LogInvalid, "the log %s is not in the trusted root", clip.Text(log))
	}
	l := logs[i]
	if l.Generation != 2 {
		return Place{}, refuse(policy.LogInvalid, "the log %s is not one of Rekor v2", clip.Text(log))
	}
	cp, err := r.OpenCheckpoint(log, checkpoint)
	switch {
	case err != nil:
		return Place{}, err
	case !bytes.Equal(cp.Own, checkpoint):
		return Place{}, refuse(policy.LogInvalid, "the checkpoint has other signatures than one of the log")
	case cp.Size == 0:
		return Place{}, refuse(policy.LogInvalid, "the checkpoint is of an empty tree")
	case len(stamp) > maxStampBytes:
		return Place{}, refuse(policy.TimeInvalid, "a time stamp of %d bytes, at most %d are read", len(stamp), maxStampBytes)
	}
	at, authority, err := r.stampOver(stamp, checkpoint)
	if err != nil {
		return Place{}, &Error{policy.TimeInvalid, fmt.Errorf("time stamp: %w", err)}
	}
	if at.Before(l.Start) || !l.End.IsZero() && at.After(l.End) {
		return Place{}, refuse(policy.LogInvalid, "stamped %s, when the trusted root did not trust this log's key",
			at.Format(time.RFC3339))
	}
	return Place{cp, log, at, authority.name()}, nil
}

// StampCheckpoint asks the instance's authority for a time stamp over a checkpoint of one
// of the root's Rekor v2 logs, and returns the place proof. It makes nothing public.
func (c *Client) StampCheckpoint(
	ctx context.Context, r *Root, log string, note []byte,
) (checkpoint, stamp []byte, err error) {
	cp, err := r.OpenCheckpoint(log, note)
	if err != nil {
		return nil, nil, err
	}
	if stamp, err = c.timestamp(ctx, cp.Own); err != nil {
		return nil, nil, err
	}
	if _, err := r.OpenPlace(log, cp.Own, stamp); err != nil {
		return nil, nil, fmt.Errorf("what %s answered is no place proof: %w", c.Services.TSA, err)
	}
	return cp.Own, stamp, nil
}

// CheckpointOf returns the checkpoint under which a bundle proves its one log entry, and
// the id of the log. Nothing of it is verified.
func CheckpointOf(data []byte) (log string, note []byte, err error) {
	b, err := bundle.Parse(data)
	if err != nil {
		return "", nil, refuse(policy.BundleInvalid, "%w", err)
	}
	if b.Material == nil || len(b.Material.Entries) != 1 || b.Material.Entries[0].Proof == nil ||
		b.Material.Entries[0].Proof.Checkpoint == "" {
		return "", nil, refuse(policy.BundleInvalid, "not a bundle with one log entry and its checkpoint")
	}
	e := b.Material.Entries[0]
	return hex.EncodeToString(e.LogID), []byte(e.Proof.Checkpoint), nil
}
