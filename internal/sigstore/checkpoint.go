// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	sumdb "golang.org/x/mod/sumdb/note"

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
	l := r.material.RekorLogs()[log]
	if l == nil {
		return Checkpoint{}, refuse(policy.LogInvalid, "the log %s is not in the trusted root", clip.Text(log))
	}
	cp, name, err := openCheckpoint(l, data)
	if err == nil && cp.Origin != name {
		err = refuse(policy.LogInvalid, "the checkpoint is of %q, not of %q", clip.Text(cp.Origin), name)
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
		cp, name, err := openCheckpoint(r.material.RekorLogs()[l.ID], data)
		shard := TreeID(cp.Origin) != "" && strings.HasPrefix(cp.Origin, name+" - ")
		if err == nil && (cp.Origin == name || shard) {
			return cp, l.ID, nil
		}
	}
	return Checkpoint{}, "", refuse(policy.LogInvalid, "no log of the trusted root signed the checkpoint")
}

// openCheckpoint verifies a checkpoint that the log's key signed, and returns the
// name under which it signs.
func openCheckpoint(l *root.TransparencyLog, data []byte) (Checkpoint, string, error) {
	v, err := noteVerifier(l)
	if err != nil {
		return Checkpoint{}, "", &Error{policy.LogInvalid, err}
	}
	cp, err := readCheckpoint(string(data))
	if err != nil {
		return Checkpoint{}, "", &Error{policy.LogInvalid, fmt.Errorf("checkpoint: %w", err)}
	}
	n, err := sumdb.Open(data, sumdb.VerifierList(v))
	if err != nil {
		return Checkpoint{}, "", &Error{policy.LogInvalid, fmt.Errorf("checkpoint: %w", err)}
	}
	own, err := sumdb.Sign(&sumdb.Note{Text: n.Text, Sigs: n.Sigs})
	if err != nil {
		return Checkpoint{}, "", &Error{policy.LogInvalid, fmt.Errorf("checkpoint: %w", err)}
	}
	return Checkpoint{cp.Origin, cp.Size, cp.Root[:], data, own}, v.Name(), nil
}

// noteVerifier returns what verifies the log's own signature of a note. The name
// in it is the host of the log's URL, as every Sigstore client derives it.
func noteVerifier(l *root.TransparencyLog) (sumdb.Verifier, error) {
	u, err := url.Parse(l.BaseURL)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the trusted root gives no URL for the log")
	}
	v, err := signature.LoadVerifier(l.PublicKey, l.SignatureHashFunc)
	if err != nil {
		return nil, err
	}
	return note.NewNoteVerifier(u.Hostname(), v)
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
