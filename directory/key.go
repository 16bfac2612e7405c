// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/canonical"
)

var errKey = errors.New("not a signer key (C2SP signed-note) of an Ed25519 key")

// Keygen returns a new key for the output log of that origin: the signer key, to be
// kept, and the verifier key, for the directory's descriptor.
func Keygen(origin string) (signer, verifier string, err error) {
	return note.GenerateKey(rand.Reader, origin)
}

// ParseKey reads a signer key and returns its verifier key, too.
func ParseKey(data []byte) (note.Signer, string, error) {
	text := string(bytes.TrimSpace(data))
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, "", errKey // what the library says quotes nothing of it
	}
	_, secret, _ := strings.Cut(strings.TrimPrefix(text, "PRIVATE+KEY+"+signer.Name()+"+"), "+")
	raw, err := canonical.ParseBase64(secret)
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, "", errKey
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(signer.Name(), public)
	return signer, vkey, err
}

// checkpointSize returns the size in a checkpoint whose signature was verified.
func checkpointSize(signed string) (int64, error) {
	text, err := canonical.NoteText(signed)
	if err != nil {
		return 0, err
	}
	cp, err := canonical.ParseCheckpoint(text)
	return cp.Size, err
}
