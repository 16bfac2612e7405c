// SPDX-License-Identifier: Apache-2.0

package signlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Steps of writing a signature, in order. After each of them the process may be
// killed and the run repeated; no step that succeeded happens twice.
const (
	StepFound = "found" // an earlier signature, in Rekor v1, of which nothing was kept
	StepDraft = "draft" // certified and signed, then stamped, and kept after each
	StepV1    = "rekor-v1"
	StepV2    = "rekor-v2"
	StepMore  = "rekor-v2-more" // in another open log of Rekor v2, after each
)

// moreTimeout is how long all further logs may take together.
const moreTimeout = time.Minute

// maxRecovered is how many entries are looked at for a signature of which nothing
// was kept.
const maxRecovered = 5 * rekor.EntriesBatch

// Journal keeps unfinished signatures; [State] is one.
type Journal interface {
	LoadEntry(id string) (JournalEntry, error)
	SaveEntry(id string, old, next JournalEntry) (bool, error)
}

// JournalEntry is what was done of one signature.
type JournalEntry struct {
	Draft []byte   `json:"draft,omitempty"`
	V1    []byte   `json:"v1,omitempty"`   // bundle with the entry of Rekor v1
	V2    []byte   `json:"v2,omitempty"`   // bundle with the entry of Rekor v2
	More  [][]byte `json:"more,omitempty"` // bundles with the entries of further logs of Rekor v2
	// Places are place proofs: of the open logs before the certificate, and of the entry.
	Places [][]byte `json:"places,omitempty"`
}

// Writer signs statements and logs the signatures in every log of its instance:
// Rekor v1 first, where strangers can find them, then Rekor v2.
type Writer struct {
	Root    *sigstore.Root
	Client  *sigstore.Client
	Journal Journal
	Now     func() time.Time
	// Index, if set, is Rekor v1, in which a signature is looked for that was made
	// before and of which nothing was kept.
	Index *web.Client
	// Everywhere says that what is logged in Rekor v2 goes into every log of it that the root
	// trusts now; Warn is told where that cannot be.
	Everywhere bool
	Warn       func(string)
	// Places, if set, makes place proofs, which are files beside the signatures.
	Places *bindings.Dater
	// Step, if set, is called after each step.
	Step func(step string)
}

// Request is one signature under a policy to make.
type Request struct {
	Statement []byte // payload, as [Encode] returns it
	Version   int
	Signature
}

// Signature is how a signature is made, whatever it is over.
type Signature struct {
	// Who names the signer, so that a run that is repeated finds what it began:
	// identity and issuer, or the id of a key.
	Who string
	// Token returns an ID token when one is needed; nil with a Key. An
	// unfinished signature needs none.
	Token func(context.Context) (string, error)
	Key   *keys.Signer
	// Check, if set, is asked about the certificate before anything is logged.
	Check func(policy.Identity) error
	// Mine, if set, says whether a signature by this identity is the one that is to
	// be made.
	Mine func(policy.Identity) bool
}

// Write makes the signature, or finishes one that was begun, in every log of the
// instance, and returns its files, those of place proofs last.
func (w *Writer) Write(ctx context.Context, r Request) ([]bindings.File, error) {
	entry, err := w.finish(
		ctx, spelling.Sum(r.Statement)+" "+r.Who, sigstore.Content{Statement: r.Statement}, r.Signature,
		w.Client.Services,
	)
	if err != nil {
		return nil, err
	}
	return w.files(r, entry)
}

// Sign makes a signature, or finishes one that was begun, in one log, the newest
// of the instance, and returns its bundle. The signature is about something else
// than the policy, so that strangers need not find it by itself.
func (w *Writer) Sign(ctx context.Context, c sigstore.Content, s Signature) ([]byte, error) {
	logs := w.Client.Services
	what := "statement " + spelling.Sum(c.Statement)
	if c.Statement == nil {
		what = fmt.Sprintf("file %x", c.Digest)
	}
	if logs.RekorV2 != "" {
		logs.RekorV1 = ""
	}
	entry, err := w.finish(ctx, what+" "+s.Who, c, s, logs)
	if err != nil {
		return nil, err
	}
	if entry.V2 != nil {
		return entry.V2, nil
	}
	return entry.V1, nil
}

// finish makes the signature that the journal keeps under id, as far as it is not
// made yet, and logs it in the logs of to. The certificate of an unfinished
// signature may have expired; then a new one is made, and the entries of the old
// one prove nothing and harm nothing.
func (w *Writer) finish(
	ctx context.Context, id string, content sigstore.Content, s Signature, to sigstore.Services,
) (JournalEntry, error) {
	none := JournalEntry{}
	if to.RekorV1 == "" && to.RekorV2 == "" {
		return none, errors.New("the Sigstore instance has no transparency log")
	}
	if to.RekorV2 != "" && to.TSA == "" { // else it is logged, and proves nothing
		return none, errors.New("the Sigstore instance has no time stamp authority, and its log of Rekor v2 shows no times")
	}
	entry, err := w.Journal.LoadEntry(id)
	if err != nil {
		return none, err
	}
	draft, err := w.resume(entry, content)
	if errors.Is(err, sigstore.ErrTooLate) {
		// What was logged in time stays; what was not cannot be any more.
		if entry.complete(to) {
			return entry, nil
		}
		if err := w.save(id, entry, none); err != nil {
			return none, err
		}
		entry, draft = none, nil
	} else if err != nil {
		return none, err
	}
	if draft == nil {
		draft, entry, err = w.recover(ctx, id, content, s, to)
		if err == nil && draft == nil {
			draft, entry, err = w.begin(ctx, id, content, s)
		}
		if err != nil {
			return none, err
		}
	}
	if !entry.complete(to) && !draft.Stamped() {
		if entry, err = w.stamp(ctx, id, draft, entry); err != nil {
			return none, err
		}
	}
	for _, log := range []struct {
		url        string
		generation int
		to         func(*JournalEntry) *[]byte
		step       string
	}{
		{to.RekorV1, 1, func(e *JournalEntry) *[]byte { return &e.V1 }, StepV1},
		{to.RekorV2, 2, func(e *JournalEntry) *[]byte { return &e.V2 }, StepV2},
	} {
		if log.url == "" || *log.to(&entry) != nil {
			continue
		}
		next := entry
		if *log.to(&next), err = w.Client.Log(ctx, w.Root, draft, log.generation, w.Now()); err != nil {
			return none, err
		}
		if err := w.save(id, entry, next); err != nil {
			return none, err
		}
		entry = next
		w.step(log.step)
	}
	if entry, err = w.more(ctx, id, draft, entry); err != nil {
		return none, err
	}
	return w.placed(ctx, id, entry), nil
}

// more logs the draft in every further open log of Rekor v2, so that nobody can bind a rival
// in one that has no binding. Where one cannot be had, as an old one that takes no entries any
// more, the signature is as good without it: place proofs order it against what is there.
func (w *Writer) more(ctx context.Context, id string, draft *sigstore.Draft, entry JournalEntry) (JournalEntry, error) {
	if !w.Everywhere || entry.V2 == nil {
		return entry, nil
	}
	within, cancel := context.WithTimeout(ctx, moreTimeout)
	defer cancel()
	for i, l := range bindings.OpenLogs(w.Root, w.Now()) {
		if l.URL == "" || entry.in(l.ID) {
			continue
		}
		err := fmt.Errorf("of more than %d open logs", bindings.MaxOpenLogs)
		next := entry
		if i < bindings.MaxOpenLogs {
			var bundle []byte
			bundle, err = w.Client.LogIn(within, w.Root, draft, l, w.Now())
			next.More = append(slices.Clone(entry.More), bundle)
		}
		if ctx.Err() != nil {
			return entry, ctx.Err()
		}
		if err != nil {
			w.Warn(fmt.Sprintf("not logged in %s, too: %s", l.URL, err))
			continue
		}
		if err := w.save(id, entry, next); err != nil {
			return entry, err
		}
		entry = next
		w.step(StepMore)
	}
	return entry, nil
}

// in reports whether the signature is in that log of Rekor v2.
func (e JournalEntry) in(log string) bool {
	return slices.ContainsFunc(append([][]byte{e.V2}, e.More...), func(bundle []byte) bool {
		id, _, err := sigstore.CheckpointOf(bundle)
		return err == nil && id == log
	})
}

// placed adds a place proof of each entry in Rekor v2 that has none.
func (w *Writer) placed(ctx context.Context, id string, entry JournalEntry) JournalEntry {
	for _, bundle := range append([][]byte{entry.V2}, entry.More...) {
		place := w.Places.Beside(ctx, bundle, entry.Places)
		if place == nil {
			continue
		}
		next := entry
		next.Places = append(slices.Clone(entry.Places), place)
		if err := w.save(id, entry, next); err != nil { // it is logged, and what shows that comes first
			w.Places.Warn("the place proof of the entry is not kept: " + err.Error())
		}
		entry = next
	}
	return entry
}

func (e JournalEntry) complete(s sigstore.Services) bool {
	return (s.RekorV1 == "" || e.V1 != nil) && (s.RekorV2 == "" || e.V2 != nil)
}

func (w *Writer) step(s string) {
	if w.Step != nil {
		w.Step(s)
	}
}

func (w *Writer) save(id string, old, next JournalEntry) error {
	ok, err := w.Journal.SaveEntry(id, old, next)
	if err == nil && !ok {
		err = errors.New("another process is making the same signature; try again when it is done")
	}
	return err
}

// resume returns the draft of an unfinished signature, nil if there is none.
func (w *Writer) resume(e JournalEntry, content sigstore.Content) (*sigstore.Draft, error) {
	if e.Draft == nil {
		return nil, nil
	}
	d, err := sigstore.ParseDraft(e.Draft)
	if err != nil {
		return nil, err
	}
	if !d.Content().Same(content) {
		return nil, errors.New("the unfinished signature in the journal is over something else")
	}
	return d, w.inTime(d)
}

// inTime returns why a draft cannot be logged any more.
func (w *Writer) inTime(d *sigstore.Draft) error {
	cert, err := d.Certificate()
	if err == nil && cert != nil && w.Now().After(cert.NotAfter) {
		err = sigstore.ErrTooLate
	}
	return err
}

// recover looks for a signature that was logged in Rekor v1 by a run of which
// nothing was kept, and goes on from there; nil if there is none that can be
// finished. That the index cannot be asked is no obstacle: a second signature
// proves the same.
func (w *Writer) recover(
	ctx context.Context, id string, content sigstore.Content, s Signature, to sigstore.Services,
) (*sigstore.Draft, JournalEntry, error) {
	if w.Index == nil || s.Mine == nil || to.RekorV1 == "" || content.Statement == nil {
		return nil, JournalEntry{}, nil
	}
	uuids, err := rekor.Search(ctx, w.Index, spelling.Sum(content.Statement))
	if err != nil {
		return nil, JournalEntry{}, ctx.Err()
	}
	for batch := range slices.Chunk(uuids[:min(len(uuids), maxRecovered)], rekor.EntriesBatch) {
		entries, err := rekor.Retrieve(ctx, w.Index, batch)
		if err != nil {
			return nil, JournalEntry{}, ctx.Err()
		}
		for _, e := range entries {
			draft, entry := w.rebuild(ctx, e.Data, content.Statement, s, to)
			if draft == nil {
				continue
			}
			if err := w.save(id, JournalEntry{}, entry); err != nil {
				return nil, JournalEntry{}, err
			}
			w.step(StepFound)
			return draft, entry, nil
		}
	}
	return nil, JournalEntry{}, nil
}

// rebuild returns what can be finished of an entry that anyone may have made; nil
// if it is not the signature that is to be made, or too old for what is missing.
func (w *Writer) rebuild(
	ctx context.Context, raw, statement []byte, s Signature, to sigstore.Services,
) (*sigstore.Draft, JournalEntry) {
	none := func() (*sigstore.Draft, JournalEntry) { return nil, JournalEntry{} }
	bundle, err := w.Root.Rebuild(raw, statement)
	if err != nil {
		return none()
	}
	draft, err := sigstore.ParseDraft(bundle)
	if err != nil {
		return none()
	}
	signer, err := draft.Identity(w.Root)
	if err != nil || !s.Mine(signer) || s.Check != nil && s.Check(signer) != nil {
		return none()
	}
	entry := JournalEntry{V1: bundle}
	if !entry.complete(to) {
		if w.inTime(draft) != nil || w.Client.Stamp(ctx, draft) != nil {
			return none()
		}
	}
	if entry.Draft, err = draft.MarshalJSON(); err != nil {
		return none()
	}
	return draft, entry
}

func (w *Writer) begin(
	ctx context.Context, id string, content sigstore.Content, r Signature,
) (*sigstore.Draft, JournalEntry, error) {
	token := ""
	if r.Key == nil {
		var err error
		if token, err = r.Token(ctx); err != nil {
			return nil, JournalEntry{}, err
		}
	}
	places := w.Places.Newest(ctx) // before the certificate, so that what it shows came before
	draft, err := w.Client.Draft(ctx, content, token, r.Key)
	if err != nil {
		return nil, JournalEntry{}, err
	}
	if r.Check != nil {
		signer, err := draft.Identity(w.Root)
		if err != nil {
			return nil, JournalEntry{}, err
		}
		if err := r.Check(signer); err != nil {
			return nil, JournalEntry{}, err
		}
	}
	if err := w.Root.Check(draft, w.Now()); err != nil {
		return nil, JournalEntry{}, err
	}
	data, err := draft.MarshalJSON()
	if err != nil {
		return nil, JournalEntry{}, err
	}
	entry := JournalEntry{Draft: data, Places: places}
	return draft, entry, w.save(id, JournalEntry{}, entry)
}

// stamp gives a draft that is kept its time stamp, where the instance has an authority.
// Should that fail, the next run goes on with the same certificate.
func (w *Writer) stamp(
	ctx context.Context, id string, draft *sigstore.Draft, entry JournalEntry,
) (JournalEntry, error) {
	err := w.Client.Stamp(ctx, draft)
	if err == nil {
		err = w.Root.Check(draft, w.Now())
	}
	if err != nil {
		return entry, err
	}
	next := entry
	if next.Draft, err = draft.MarshalJSON(); err != nil {
		return entry, err
	}
	if err := w.save(id, entry, next); err != nil {
		return entry, err
	}
	w.step(StepDraft)
	return next, nil
}

// files returns the files of a finished signature: one for each log, since most
// clients refuse a bundle with entries of both, and its place proofs.
func (w *Writer) files(r Request, e JournalEntry) ([]bindings.File, error) {
	d, err := sigstore.ParseDraft(e.Draft)
	if err != nil {
		return nil, err
	}
	var out []bindings.File
	if e.V1 != nil {
		out = append(out, bindings.File{Name: bindings.SignatureName(r.Version, d.Signer(), true), Data: e.V1})
	}
	if e.V2 != nil {
		out = append(out, bindings.File{Name: bindings.SignatureName(r.Version, d.Signer(), false), Data: e.V2})
	}
	for _, bundle := range e.More {
		log, _, err := sigstore.CheckpointOf(bundle)
		if err != nil {
			return nil, err
		}
		out = append(out, bindings.File{Name: bindings.SignatureIn(r.Version, d.Signer(), log), Data: bundle})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("version %d was signed and not logged", r.Version)
	}
	for _, p := range e.Places {
		out = append(out, bindings.File{Name: bindings.PlaceName(r.Version, p), Data: p})
	}
	return out, nil
}
