// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	placeSchema = rekor.SchemaBase + "place-v1.json"
	placeSuffix = ".place.json"
)

// Limits of place proofs. What is beyond them is ignored, as if it were not there.
const (
	MaxPlaceFiles = 2000
	MaxPlaceBytes = 64 << 10 // of one

	MaxOpenLogs = 8
	// placeTimeout is how long all logs and the authority may take together: what they
	// show is worth having, and nothing has to wait for it.
	placeTimeout = 30 * time.Second
	// placeGap lies between the last stamp and the certificate, so that the certificate
	// begins in a later second than the stamp names.
	placeGap = time.Second
)

// PlaceProof is a file that says that a log had a tree at a time (SPEC 8.4). Nothing in it
// is verified before [PlaceProof.Verify].
type PlaceProof struct {
	Log        string // id, hex
	Checkpoint []byte // signed note, with the log's own signature alone
	Stamp      []byte // RFC 3161 response over the checkpoint
}

type placeDoc struct {
	Schema     string          `json:"schema"`
	Log        string          `json:"log"`
	Checkpoint string          `json:"checkpoint"`
	Stamp      canonical.Bytes `json:"stamp"`
}

var placeRules = strictjson.Rules{Known: []string{"schema", "log", "checkpoint", "stamp"}}

// Bytes returns the file.
func (p *PlaceProof) Bytes() []byte {
	data, err := json.Marshal(placeDoc{placeSchema, p.Log, string(p.Checkpoint), p.Stamp})
	if err != nil {
		return nil // text always encodes
	}
	return append(data, '\n')
}

// ParsePlaceProof reads a place proof. Unknown, repeated, misspelt and missing keys are
// errors.
func ParsePlaceProof(data []byte) (*PlaceProof, error) {
	if len(data) > MaxPlaceBytes {
		return nil, fmt.Errorf("a place proof of %d bytes, at most %d are read", len(data), MaxPlaceBytes)
	}
	var doc placeDoc
	if err := placeRules.Decode(data, &doc); err != nil {
		return nil, err
	}
	switch {
	case doc.Schema != placeSchema:
		return nil, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), placeSchema)
	case doc.Log == "" || strings.Trim(doc.Log, "0123456789abcdef") != "":
		return nil, fmt.Errorf("log: %q is no id in lower-case hex", clip.Text(doc.Log))
	case doc.Checkpoint == "":
		return nil, errors.New("checkpoint: missing")
	case len(doc.Stamp) == 0:
		return nil, errors.New("stamp: missing")
	}
	return &PlaceProof{doc.Log, []byte(doc.Checkpoint), doc.Stamp}, nil
}

// Verify verifies the proof under one trusted root.
func (p *PlaceProof) Verify(r *sigstore.Root) (sigstore.Place, error) {
	return r.OpenPlace(p.Log, p.Checkpoint, p.Stamp)
}

// PlaceMoment reads a place proof, verifies it under one trusted root, and returns what that
// shows.
func PlaceMoment(r *sigstore.Root, data []byte) (policy.Moment, error) {
	proof, err := ParsePlaceProof(data)
	if err != nil {
		return policy.Moment{}, err
	}
	p, err := proof.Verify(r)
	if err != nil {
		return policy.Moment{}, err
	}
	return policy.Log{ID: p.Log}.Seen(p.Size, p.Time, p.Authority), nil
}

// PlaceName returns the name of the file with a place proof that was made when a version
// was bound: the version, and twelve hex digits of the file's SHA-256.
func PlaceName(version int, data []byte) string {
	return fmt.Sprintf("%s/%d-%s%s", SignaturesDir, version, spelling.Sum(data)[:12], placeSuffix)
}

// IsPlaceName reports whether a path in a repository is where place proofs are: beside the
// signatures.
func IsPlaceName(name string) bool {
	base, ok := strings.CutPrefix(name, SignaturesDir+"/")
	return ok && !strings.Contains(base, "/") && strings.HasSuffix(base, placeSuffix)
}

// IsPolicyName reports whether a path in a repository is of a file that [Collect] reads: a
// signature or a place proof.
func IsPolicyName(name string) bool { return IsSignatureName(name) || IsPlaceName(name) }

// placeFile is a place proof on its way to be verified.
type placeFile struct {
	File
	place sigstore.Place
	err   error // why it counts for nothing
}

// dates verifies place proofs and takes what they prove. None of them can stop a chain:
// what is malformed, not of the trusted root or too much is ignored.
func (c *Collection) dates(files []File) (ignored []Ignored) {
	var todo []*placeFile
	seen := map[string]bool{}
	for _, f := range files {
		p := &placeFile{File: f}
		switch sum := spelling.Sum(f.Data); {
		case seen[sum]: // the same file on both branches
			continue
		case len(seen) >= MaxPlaceFiles:
			p.err = errors.New("beyond the number of place proofs that are read")
		default:
			seen[sum] = true
		}
		todo = append(todo, p)
	}
	Parallel(len(todo), func(i int) {
		p := todo[i]
		if p.err != nil {
			return
		}
		var proof *PlaceProof
		if proof, p.err = ParsePlaceProof(p.Data); p.err == nil {
			p.place, p.err = proof.Verify(c.Root)
		}
	})
	for _, p := range todo {
		if p.err != nil {
			ignored = append(ignored, Ignored{p.Name, p.err.Error()})
			continue
		}
		c.date(p.place)
	}
	return ignored
}

// date takes what a verified place proof shows.
func (c *Collection) date(p sigstore.Place) {
	of := treeOf{p.Log, p.Origin, p.Size}
	c.compare(of, p.Checkpoint)
	if c.dated == nil {
		c.dated, c.moments = map[treeOf]sigstore.Checkpoint{}, map[treeOf][]policy.Moment{}
	}
	if _, twice := c.dated[of]; !twice {
		c.dated[of] = p.Checkpoint
	}
	c.moments[of] = append(c.moments[of], policy.Log{ID: p.Log}.Seen(p.Size, p.Time, p.Authority))
}

// Dater makes place proofs. What fails is warned of and left out: a binding is as good
// without them, and only orders less. The nil Dater makes none.
type Dater struct {
	Root   *sigstore.Root
	Client *sigstore.Client
	Logs   map[string]*web.Client // by log
	Now    func() time.Time
	Warn   func(string)

	gap time.Duration // 0 for placeGap
}

// openLogs returns the Rekor v2 logs of the root that are trusted at the time, the newest first.
func OpenLogs(r *sigstore.Root, at time.Time) []sigstore.Log {
	logs := slices.DeleteFunc(r.Logs(), func(l sigstore.Log) bool {
		return l.Generation != 2 || at.Before(l.Start) || !l.End.IsZero() && at.After(l.End)
	})
	arrange.By(logs, func(a, b sigstore.Log) int { return b.Start.Compare(a.Start) })
	return logs
}

// Newest returns proofs of the newest checkpoint of every Rekor v2 log of the root that is
// trusted now: whatever they have logged lies before what is certified from then on.
func (d *Dater) Newest(ctx context.Context) [][]byte {
	if d == nil || d.Client.Services.TSA == "" {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	var out [][]byte
	for i, l := range OpenLogs(d.Root, d.Now()) {
		if d.Logs[l.ID] == nil {
			continue
		}
		if i >= MaxOpenLogs {
			d.Warn(fmt.Sprintf("no place proof of %s: of more than %d open logs", l.URL, MaxOpenLogs))
			break
		}
		note, err := d.Logs[l.ID].Get(within, "api/v2/checkpoint", rekor.MaxCheckpoint)
		if err != nil {
			d.Warn(fmt.Sprintf("no place proof of %s: %s", l.URL, err))
			continue
		}
		if cp, err := d.Root.OpenCheckpoint(l.ID, note); err == nil && cp.Size == 0 {
			continue // nothing lies in it
		}
		data, err := d.stamp(within, l.ID, note)
		if err != nil {
			d.Warn(fmt.Sprintf("no place proof of %s: %s", l.URL, err))
			continue
		}
		out = append(out, data)
	}
	if len(out) > 1 { // within one log the index decides
		pause := time.NewTimer(cmp.Or(d.gap, placeGap))
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
	return out
}

// Beside returns a proof of the checkpoint under which a bundle of Rekor v2 proves its entry,
// unless one of those at hand is of that; nil if it cannot be had.
func (d *Dater) Beside(ctx context.Context, bundle []byte, have [][]byte) []byte {
	if d == nil || d.Client.Services.TSA == "" || bundle == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	log, note, err := sigstore.CheckpointOf(bundle)
	if err != nil {
		d.Warn("no place proof of the entry: " + err.Error())
		return nil
	}
	cp, err := d.Root.OpenCheckpoint(log, note)
	if err == nil && slices.ContainsFunc(have, func(data []byte) bool {
		p, err := ParsePlaceProof(data)
		return err == nil && p.Log == log && bytes.Equal(p.Checkpoint, cp.Own)
	}) {
		return nil
	}
	data, err := d.stamp(ctx, log, note)
	if err != nil {
		d.Warn("no place proof of the entry: " + err.Error())
		return nil
	}
	return data
}

// Of returns a proof of the checkpoint under which a bundle of Rekor v2 proves its entry; nil
// for another bundle, or if it cannot be had.
func (d *Dater) Of(ctx context.Context, bundle []byte) []byte {
	log, _, err := sigstore.CheckpointOf(bundle)
	if err != nil ||
		!slices.ContainsFunc(d.Root.Logs(), func(l sigstore.Log) bool { return l.ID == log && l.Generation == 2 }) {
		return nil
	}
	return d.Beside(ctx, bundle, nil)
}

// Undated returns the bindings of a statement in Rekor v2 that no place proof at hand dates,
// though a stamp shows that their instance has an authority: what was not to be had when they
// were made can be had later. In a log whose window is over it is worth nothing.
func Undated(r *sigstore.Root, forges *Forges, files []File, payload []byte, now time.Time) [][]byte {
	signatures, proofs := split(files)
	c := &Collection{Root: r}
	c.dates(proofs)
	dated := func(e policy.Entry) bool {
		for of := range c.dated {
			if of.log == e.Log && of.size > e.Index {
				return true
			}
		}
		return false
	}
	open := func(e policy.Entry) bool {
		return slices.ContainsFunc(OpenLogs(r, now), func(l sigstore.Log) bool { return l.ID == e.Log })
	}
	var out [][]byte
	for _, f := range distinct(signatures) {
		if d, err := sigstore.ParseDraft(f.Data); f.err != nil || err != nil || !d.Stamped() ||
			!bytes.Equal(d.Content().Statement, payload) {
			continue
		}
		b, err := sigstore.ParseBundle(f.Data)
		if err != nil || b.Statement() == nil {
			continue
		}
		v, err := b.Verify(r, b.Statement().Subjects[0].Digests[0], nil, sigstore.Options{})
		if err != nil {
			continue
		}
		if _, err := forges.Authority(b.SignerUnder(r)); err != nil {
			continue
		}
		if slices.ContainsFunc(v.Placed(), func(p sigstore.Placed) bool { return open(p.At) && !dated(p.At) }) {
			out = append(out, f.Data)
		}
	}
	return out
}

func (d *Dater) stamp(ctx context.Context, log string, note []byte) ([]byte, error) {
	checkpoint, stamp, err := d.Client.StampCheckpoint(ctx, d.Root, log, note)
	if err != nil {
		return nil, err
	}
	return (&PlaceProof{log, checkpoint, stamp}).Bytes(), nil
}
