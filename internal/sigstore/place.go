// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/spelling"
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
		return Place{}, err
	}
	if at.Before(l.Start) || !l.End.IsZero() && at.After(l.End) {
		return Place{}, refuse(policy.LogInvalid, "stamped %s, when the trusted root did not trust this log's key",
			at.Format(time.RFC3339))
	}
	return Place{cp, log, at, authority}, nil
}

// stampOver returns the time that a stamp proves, and which authority of the root says so.
func (r *Root) stampOver(stamp, data []byte) (time.Time, string, error) {
	err := errors.New("the trusted root names no time stamp authority")
	for _, a := range r.stampers {
		t, refused := a.Verify(stamp, data)
		if refused == nil {
			return t.Time.UTC(), nameOf(a, t.URI), nil
		}
		cause, _, _ := strings.Cut(refused.Error(), " {") // parameters of a parser
		err = errors.New(cause)
	}
	return time.Time{}, "", &Error{policy.TimeInvalid, fmt.Errorf("time stamp: %w", err)}
}

// nameOf tells the authorities of a root apart, which may be two by one address: one that
// lies says nothing about another.
func nameOf(a root.TimestampingAuthority, uri string) string {
	s, ok := a.(*stamper)
	if !ok || s.lib.Root == nil {
		return "time stamp authority " + uri
	}
	cert := s.lib.Leaf
	if cert == nil {
		cert = s.lib.Root
	}
	return strings.TrimSpace(uri + " (certificate " + spelling.Sum(cert.Raw)[:12] + ")")
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
func CheckpointOf(bundle []byte) (log string, note []byte, err error) {
	pb := &protobundle.Bundle{}
	if err := protojson.Unmarshal(bundle, pb); err != nil {
		return "", nil, refuse(policy.BundleInvalid, "%s", cleanProto(err))
	}
	entries := pb.GetVerificationMaterial().GetTlogEntries()
	if len(entries) != 1 || entries[0].GetInclusionProof().GetCheckpoint().GetEnvelope() == "" {
		return "", nil, refuse(policy.BundleInvalid, "not a bundle with one log entry and its checkpoint")
	}
	return hex.EncodeToString(entries[0].GetLogId().GetKeyId()),
		[]byte(entries[0].GetInclusionProof().GetCheckpoint().GetEnvelope()), nil
}
