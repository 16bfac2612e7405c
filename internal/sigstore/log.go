// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/keys"
)

// logKey is a log of a trusted root, of entries or of certificates, with the window of its key.
type logKey struct {
	id         []byte
	url, host  string // host is "" if the URL names none that can sign a note
	start, end time.Time
	key        crypto.PublicKey
	alg        keys.Algorithm // by which it signs
	// spki and noted are the hints by which notes of Rekor v1 and v2 name the key.
	spki, noted uint32
	ownID       bool // the id is the SHA-256 of the key's SubjectPublicKeyInfo
}

// logAlgorithms are the kinds of keys that a trusted root gives to logs, with the algorithm by
// which each signs, whatever its size.
func logAlgorithm(details string, key crypto.PublicKey) (a keys.Algorithm, ok bool) {
	a.Name, a.Key = details, keys.Kind(key)
	switch details {
	case "PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P521_SHA_512":
		_, ok = key.(*ecdsa.PublicKey)
		a.Hash = map[string]crypto.Hash{"ECDSA P-384": crypto.SHA384, "ECDSA P-521": crypto.SHA512}[a.Key]
		if a.Hash == 0 {
			a.Hash = crypto.SHA256
		}
	case "PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_RSA_PKCS1V15_3072_SHA256", "PKIX_RSA_PKCS1V15_4096_SHA256",
		"PKCS1_RSA_PKCS1V5":
		_, ok = key.(*rsa.PublicKey)
		a.Hash = crypto.SHA256
	case "PKIX_ED25519":
		_, ok = key.(ed25519.PublicKey)
	}
	return a, ok
}

// readLogs reads the logs of a trusted root, by their ids in hex.
func readLogs(in []*bundle.Log) (map[string]*logKey, error) {
	out := map[string]*logKey{}
	for _, l := range in {
		read, err := readLog(l)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", l.URL, err)
		}
		out[hex.EncodeToString(read.id)] = read
	}
	return out, nil
}

func readLog(l *bundle.Log) (*logKey, error) {
	switch {
	case l.Hash != "SHA2_256":
		return nil, fmt.Errorf("hash algorithm %q", l.Hash)
	case len(l.ID) == 0:
		return nil, errors.New("no id")
	case l.Key == nil || len(l.Key.Raw) == 0:
		return nil, errors.New("no key")
	case l.Key.Valid == nil || l.Key.Valid.Start.IsZero():
		return nil, errors.New("the key has no begin of validity")
	}
	var key crypto.PublicKey
	var err error
	if l.Key.Details == "PKCS1_RSA_PKCS1V5" { // the staging instance's
		key, err = x509.ParsePKCS1PublicKey(l.Key.Raw)
	} else {
		key, err = x509.ParsePKIXPublicKey(l.Key.Raw)
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	alg, ok := logAlgorithm(l.Key.Details, key)
	if !ok {
		return nil, fmt.Errorf("a key %s, called %q", keys.Kind(key), l.Key.Details)
	}
	out := &logKey{id: l.ID, url: l.URL, start: l.Key.Valid.Start, end: l.Key.Valid.End, key: key, alg: alg}
	return out, out.hints()
}

// hints finds out how notes name the key: those of Rekor v1 by its SubjectPublicKeyInfo, others by
// their own rules (https://c2sp.org/signed-note, section "Verifiers").
func (l *logKey) hints() error {
	der, err := x509.MarshalPKIXPublicKey(l.key)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(der)
	l.spki, l.noted, l.ownID = binary.BigEndian.Uint32(sum[:]), binary.BigEndian.Uint32(sum[:]), bytes.Equal(sum[:], l.id)
	if u, err := url.Parse(l.url); err == nil && validName(u.Hostname()) {
		l.host = u.Hostname()
	}
	text := l.host + "\n"
	switch key := l.key.(type) {
	case ed25519.PublicKey:
		text += "\x01" + string(key)
	case *rsa.PublicKey:
		text += "\xffPKIX-RSA-PKCS#1v1.5" + string(der)
	default:
		return nil
	}
	sum = sha256.Sum256([]byte(text))
	l.noted = binary.BigEndian.Uint32(sum[:])
	return nil
}

// validName reports whether a name can sign notes.
func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsSpace) &&
		!strings.Contains(name, "+")
}

// verify reports whether the log's key signed a message.
func (l *logKey) verify(message, sig []byte) bool {
	return l.alg.Verify(l.key, l.alg.Input(message), sig)
}

// within reports whether the log's key was trusted at t; the end is inclusive.
func within(t time.Time, l *logKey) bool {
	return !t.Before(l.start) && (l.end.IsZero() || !t.After(l.end))
}

// open verifies a checkpoint that the log's key signed, in a note as its generation writes them:
// every signature of one of Rekor v1 is that key's, by SHA-256; one of Rekor v2 may have others'
// beside it, and names the log by its host. It returns the note with the log's own signature alone.
func (l *logKey) open(note []byte, generation int) (canonical.Checkpoint, []byte, error) {
	text, signatures, err := canonical.ReadNote(string(note))
	if err != nil {
		return canonical.Checkpoint{}, nil, err
	}
	cp, err := canonical.ParseCheckpoint(text)
	if err != nil {
		return cp, nil, err
	}
	if generation == 1 && l.alg.Hash == crypto.SHA384 || generation == 1 && l.alg.Hash == crypto.SHA512 {
		return cp, nil, errors.New("logs of Rekor v1 sign over a SHA-256")
	}
	if generation == 2 && l.host == "" {
		return cp, nil, errors.New("the trusted root gives no URL for the log")
	}
	own := ""
	for _, s := range signatures {
		mine := s.Hint == l.noted && s.Name == l.host
		if generation == 1 {
			mine = s.Hint == l.spki
		}
		switch {
		case mine && !l.verify([]byte(text), s.Sig):
			return cp, nil, errors.New("the log's signature of the checkpoint does not verify")
		case mine && own == "":
			own = s.Line
		case !mine && generation == 1:
			return cp, nil, errors.New("a signature of the checkpoint is not the log's")
		}
	}
	if own == "" {
		return cp, nil, errors.New("the log did not sign the checkpoint")
	}
	return cp, []byte(text + "\n" + own), nil
}
