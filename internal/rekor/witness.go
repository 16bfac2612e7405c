// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/canonical"
)

// MaxWitnessPolicyBytes is the largest witness policy that is read.
const MaxWitnessPolicyBytes = 64 << 10

// WitnessPolicy says which witnesses must have cosigned a checkpoint: each has
// seen it consistent with every checkpoint that it cosigned before, so that a log
// cannot show another history to those who trust the same witnesses (C2SP
// tlog-witness, tlog-cosignature).
type WitnessPolicy struct{ policy torchwood.Policy }

// ParseWitnessPolicy reads a witness policy as Sigsum, Tessera and torchwood write
// it: lines "witness NAME VKEY [URL]", "group NAME N MEMBER…" and "quorum NAME".
// A policy that demands no witness is an error.
func ParseWitnessPolicy(data []byte) (*WitnessPolicy, error) {
	if len(data) > MaxWitnessPolicyBytes {
		return nil, fmt.Errorf("witness policy of %d bytes, at most %d are read", len(data), MaxWitnessPolicyBytes)
	}
	p, err := torchwood.ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("witness policy: %w", err)
	}
	if p.Check("", nil) == nil {
		return nil, errors.New("witness policy: it demands no witness")
	}
	return &WitnessPolicy{p}, nil
}

// Seen returns the latest moment of which the witnesses say that the checkpoint
// was there: until then enough of them had cosigned it. A cosignature from the future of
// now, beyond what clocks differ by, is none, and two keys of one name are one witness.
func (w *WitnessPolicy) Seen(checkpoint []byte, now time.Time) (time.Time, error) {
	text, err := canonical.NoteText(string(checkpoint))
	if err != nil {
		return time.Time{}, err
	}
	cp, err := canonical.ParseCheckpoint(text)
	if err != nil {
		return time.Time{}, err
	}
	n, err := note.Open(checkpoint, w.policy)
	if err != nil {
		return time.Time{}, fmt.Errorf("no quorum of witnesses: %w", err)
	}
	type stamped struct {
		note.Signature
		at int64
	}
	var sigs []stamped
	var enough []note.Signature // the logs' own, which have no time
	for _, s := range n.Sigs {
		v, err := w.policy.Verifier(s.Name, s.Hash)
		if err != nil {
			return time.Time{}, err
		}
		if _, ok := v.(*torchwood.CosignatureVerifier); !ok {
			enough = append(enough, s)
			continue
		}
		at, err := torchwood.CosignatureTimestamp(s)
		if err != nil {
			return time.Time{}, fmt.Errorf("cosignature of %s: %w", s.Name, err)
		}
		if !time.Unix(at, 0).After(now.Add(Leeway)) {
			sigs = append(sigs, stamped{s, at})
		}
	}
	arrange.By(sigs, func(a, b stamped) int { return cmp.Compare(b.at, a.at) })
	err = errors.New("none of them signed")
	signed := map[string]bool{}
	for _, s := range sigs {
		if signed[s.Name] {
			continue
		}
		signed[s.Name] = true
		enough = append(enough, s.Signature)
		if err = w.policy.Check(cp.Origin, enough); err == nil {
			return time.Unix(s.at, 0).UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("no quorum of witnesses: %w", err)
}
