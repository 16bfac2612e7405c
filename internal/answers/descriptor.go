// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/repopolicy/repopolicy/internal/rekor"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	// MaxDescriptorBytes is the largest descriptor of a directory that is read.
	MaxDescriptorBytes = 128 << 10

	descriptorSchema = rekor.SchemaBase + "directory-v1.json"
)

// Descriptor names a directory: where it is, which key signs its checkpoints and
// which witnesses have to cosign them. It is trusted; a user or a trust root gives
// it.
type Descriptor struct {
	URL string // base URL, without a slash at its end
	// Key is the verifier key of the output log (C2SP signed-note, Ed25519). Its
	// name is the log's origin.
	Key string
	// Witnesses is the text of a witness policy; see [ParseWitnessPolicy]. "" if
	// no witness cosigns.
	Witnesses string
}

type descriptorDoc struct {
	Schema    string `json:"schema"`
	URL       string `json:"url"`
	Key       string `json:"key"`
	Witnesses string `json:"witnesses,omitempty"`
}

// ParseDescriptor reads a descriptor. Unknown, repeated and misspelt keys, a URL
// that is not https (http for this machine alone), a key of another kind than
// Ed25519 and a witness policy that demands no witness are errors.
func ParseDescriptor(data []byte) (*Descriptor, error) {
	var doc descriptorDoc
	if err := strictjson.Document(data, MaxDescriptorBytes, &doc, "schema", "url", "key", "witnesses"); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if doc.Schema != descriptorSchema {
		return nil, fmt.Errorf("directory: schema %q is not %q", clip.Text(doc.Schema), descriptorSchema)
	}
	d := &Descriptor{doc.URL, doc.Key, doc.Witnesses}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return d, nil
}

func (d *Descriptor) check() error {
	u, err := url.Parse(d.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.HasSuffix(d.URL, "/"):
		return fmt.Errorf("url: %q is not the URL of a service, without a slash at its end", clip.Text(d.URL))
	case u.Scheme != "https" && !(u.Scheme == "http" && web.Loopback(u.Hostname())):
		return fmt.Errorf("url: %q is not https", clip.Text(d.URL))
	}
	if _, err := d.verifier(); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if _, err := d.witnesses(); err != nil {
		return fmt.Errorf("witnesses: %w", err)
	}
	return nil
}

// Bytes returns the descriptor's file.
func (d *Descriptor) Bytes() []byte {
	return strictjson.Indented(descriptorDoc{descriptorSchema, d.URL, d.Key, d.Witnesses})
}

// Origin returns the name of the output log.
func (d *Descriptor) Origin() string {
	name, _, _ := strings.Cut(d.Key, "+")
	return name
}

func (d *Descriptor) verifier() (note.Verifier, error) {
	v, err := note.NewVerifier(d.Key)
	if err != nil {
		return nil, errors.New("not a verifier key (C2SP signed-note) of an Ed25519 key")
	}
	return v, nil
}

// witnesses returns the witness policy; nil if there is none.
func (d *Descriptor) witnesses() (*rekor.WitnessPolicy, error) {
	if d.Witnesses == "" {
		return nil, nil
	}
	return rekor.ParseWitnessPolicy([]byte(d.Witnesses))
}

// Open verifies the directory's own signature of a checkpoint of the output log
// (C2SP tlog-checkpoint).
func (d *Descriptor) Open(checkpoint []byte) (OutputCheckpoint, error) {
	fail := func(err error) (OutputCheckpoint, error) {
		return OutputCheckpoint{}, fmt.Errorf("checkpoint of the directory: %w", err)
	}
	if len(checkpoint) > rekor.MaxCheckpoint {
		return fail(fmt.Errorf("%d bytes, at most %d are read", len(checkpoint), rekor.MaxCheckpoint))
	}
	v, err := d.verifier()
	if err != nil {
		return fail(err)
	}
	text, err := canonical.NoteText(string(checkpoint))
	if err != nil {
		return fail(err)
	}
	cp, err := canonical.ParseCheckpoint(text)
	if err != nil {
		return fail(err)
	}
	if _, err := note.Open(checkpoint, note.VerifierList(v)); err != nil {
		return fail(err)
	}
	switch {
	case cp.Origin != v.Name():
		return fail(fmt.Errorf("it is of %q, not of %q", clip.Text(cp.Origin), v.Name()))
	case cp.Extension != "":
		return fail(errors.New("it has further lines"))
	}
	return OutputCheckpoint{cp.Size, cp.Root, checkpoint}, nil
}

// OutputCheckpoint is a checkpoint of an output log that the directory's key
// signed.
type OutputCheckpoint struct {
	Size int64
	Root [32]byte // SHA-256 (RFC 6962)
	Note []byte   // as it was read, with signatures of others that nothing covers
}

// JudgeFork does for the output log of the directory what [Fork.Judge] does for a log of the
// trusted root.
func (d *Descriptor) JudgeFork(f *rekor.Fork) (origin string, err error) {
	seen, err := d.Open(f.Seen)
	if err != nil {
		return "", fmt.Errorf("seen: %w", err)
	}
	now, err := d.Open(f.New)
	if err != nil {
		return "", fmt.Errorf("new: %w", err)
	}
	switch {
	case seen.Size != now.Size:
		return "", fmt.Errorf(
			"the directory signed both checkpoints, of %d and %d entries; "+
				"whether the one is the beginning of the other only its output log can show",
			seen.Size, now.Size,
		)
	case seen.Root == now.Root:
		return "", errors.New("the two checkpoints are of the same tree")
	}
	return d.Origin(), nil
}
