// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// Limits of what is handed in and waits for a build to list it.
const (
	maxWaiting      = 16 << 20 // bytes of one statement, with its signatures
	maxWaitingRepo  = 64       // statements of a repository that were bound before the one at hand
	maxRepoBytes    = 64 << 20 // all of a repository
	maxWaitingAll   = 10_000   // statements
	maxWaitingBytes = 1 << 30  // all together
	// lateLeaves is for how many leaves longer than it was promised what was handed in waits
	// for its binding: a log showed one that it then does not have.
	lateLeaves = 24

	filesPerSecond = 20 // that are verified
	filesAtOnce    = 256
	busyPause      = 2 * time.Second
	fullPause      = time.Minute
)

// Intake takes what is handed in to a directory (SPEC 16.6): statements that are bound, and
// the signatures over them that can count, from anybody. What it took is kept until a build
// lists it.
type Intake struct {
	store *Store
	maps  []*Map
	key   note.Signer
	now   func() time.Time

	mu     sync.Mutex // guards the rate
	tokens float64
	last   time.Time
}

// NewIntake returns an intake for the maps that the state has now. Key signs the receipts: it
// is that of the output log.
func NewIntake(s *Store, key note.Signer, now func() time.Time) (*Intake, error) {
	all, err := s.Maps()
	return &Intake{store: s, maps: all, key: key, now: now, tokens: filesAtOnce, last: now()}, err
}

// Refusal is the error about what is not taken.
type Refusal struct {
	Status int           // of HTTP
	After  time.Duration // when it may be taken; 0 for never
	Why    string
	Files  []string // names of the files for which nothing is taken; none for all
}

// Error says why.
func (r *Refusal) Error() string { return r.Why }

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Why: fmt.Sprintf(format, args...)}
}

func later(status int, after time.Duration, format string, args ...any) *Refusal {
	return &Refusal{Status: status, After: after, Why: fmt.Sprintf(format, args...)}
}

// allow takes the right to have so many files verified.
func (in *Intake) allow(files int) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := in.now()
	in.tokens = min(filesAtOnce, in.tokens+filesPerSecond*max(now.Sub(in.last).Seconds(), 0))
	in.last = now
	if in.tokens < float64(files) {
		return later(http.StatusTooManyRequests, busyPause, "too much is handed in at the moment")
	}
	in.tokens -= float64(files)
	return nil
}

// waiting is what is kept of a statement that was handed in, beside its files.
type waiting struct {
	PAE        string         `json:"pae"`
	Repository string         `json:"repository"` // that bound it, and whose bounds it is counted in
	At         chain.Position `json:"at"`         // of the binding; -1 if it is not known
	Bytes      int64          `json:"bytes"`
	Leaf       int64          `json:"leaf"` // by which it is listed at the latest
}

// Accept takes one statement with signatures over it, and returns the receipt. The files are
// bindings of the statement or signatures that can count; if one is neither, nothing is taken.
// Handing in again what was taken changes nothing. When it returns, what was taken is on the
// disk. The error is a [*Refusal] if the fault is not the directory's own.
func (in *Intake) Accept(files []bindings.File) ([]byte, error) {
	o, err := in.offer(files)
	if err != nil {
		return nil, err
	}
	r := answers.Receipt{Statement: o.Statement.Digest()}
	if err := in.store.update(func(tx *bolt.Tx) (err error) {
		r.Leaf, err = in.take(tx, o)
		return err
	}); err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: r.Text(in.key.Name())}, in.key)
}

// one returns the statement that all files are over.
func one(files []bindings.File) ([]byte, error) {
	var payload []byte
	var bad []string
	for _, f := range files {
		b, err := sigstore.ParseBundle(f.Data)
		switch {
		case len(f.Data) > maxSignatureBytes || err != nil || b.Statement() == nil ||
			b.Statement().PredicateType != spelling.StatementPredicate || len(b.Payload()) > spelling.MaxStatementBytes:
			bad = append(bad, f.Name)
		case payload == nil:
			payload = b.Payload()
		case !bytes.Equal(payload, b.Payload()):
			return nil, refuse(http.StatusUnprocessableEntity, "it is about more than one statement")
		}
	}
	if len(bad) > 0 || payload == nil {
		r := refuse(http.StatusUnprocessableEntity, "not a signature over a policy")
		r.Files = bad
		return nil, r
	}
	return payload, nil
}

// offer verifies files under the roots of all maps.
func (in *Intake) offer(files []bindings.File) (*bindings.Offer, error) {
	payload, err := one(files)
	if err != nil {
		return nil, err
	}
	s, refused := rekorbind.ParseStatement(payload)
	v := verified{offer: &bindings.Offer{Payload: payload, Statement: s}}
	if refused != nil {
		return v.offer, nil // only a binding that was read shows that it is one
	}
	earlier, err := in.earlier(s.Previous())
	if err != nil {
		return nil, err
	}
	for _, m := range in.maps {
		for _, o := range bindings.Offers(m.root, m.forges, files, earlier) {
			if o.Statement.Digest() == s.Digest() {
				v.add(m, o)
			}
		}
	}
	var bad []string
	for _, f := range files {
		if !v.holds(f.Data) {
			bad = append(bad, f.Name)
		}
	}
	if len(bad) > 0 {
		r := refuse(http.StatusUnprocessableEntity, "neither a binding of the statement nor a signature over it "+
			"by a member of it or of the version before")
		r.Files = bad
		return nil, r
	}
	return v.offer, nil
}

// earlier returns the statement of that name, listed or handed in; none for "".
func (in *Intake) earlier(name string) (out [][]byte, err error) {
	if name == "" {
		return nil, nil
	}
	err = in.store.db.View(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bucketStatements, bucketHandedIn} {
			if before := tx.Bucket(b).Get([]byte(name)); before != nil {
				out = append(out, bytes.Clone(before))
			}
		}
		return nil
	})
	return out, err
}

// verified is what files that were handed in show under the roots of the maps.
type verified struct {
	offer *bindings.Offer
	bound []bindings.OfferedBinding // also in logs that are not read
}

// add adds what they show under the root of one map.
func (v *verified) add(m *Map, o bindings.Offer) {
	for _, sig := range o.Signatures {
		same := func(x bindings.OfferedSignature) bool { return x.SignatureRecord == sig.SignatureRecord }
		if !slices.ContainsFunc(v.offer.Signatures, same) {
			v.offer.Signatures = append(v.offer.Signatures, sig)
		}
	}
	v.bound = append(v.bound, o.Bindings...)
	for _, b := range o.Bindings {
		if m.reads(b, &v.offer.Statement) {
			v.offer.Bindings = append(v.offer.Bindings, b)
		}
	}
}

// holds reports whether a file is a signature or a binding.
func (v *verified) holds(data []byte) bool {
	isSignature := func(x bindings.OfferedSignature) bool { return bytes.Equal(x.Bundle, data) }
	isBinding := func(x bindings.OfferedBinding) bool { return bytes.Equal(x.Bundle, data) }
	return slices.ContainsFunc(v.offer.Signatures, isSignature) || slices.ContainsFunc(v.bound, isBinding)
}

// reads reports whether the map will show a binding when its log is read that far.
func (m *Map) reads(b bindings.OfferedBinding, s *chain.Statement) bool {
	for _, l := range m.logs() {
		if l.ID != b.Log {
			continue
		}
		if l.Generation == 1 {
			return true
		}
		bound, err := m.fn.Bind(l.Generation, b.Log, b.Index, b.Body)
		return err == nil && bound != nil && (bound.Statement == s.PAE() || bound.Statement == s.Digest())
	}
	return false
}

// next returns the index of the leaf that lists what is handed in now, at the latest.
func (s *Store) next(tx *bolt.Tx) int64 {
	n := leaves(tx)
	if tx.Bucket(bucketMeta).Get(keyPending) != nil || s.asking.Load() > 0 {
		n++ // the build on its way has decided what it reads, or is about to
	}
	return n
}

// take keeps an offer, and returns the leaf by which it is listed.
func (in *Intake) take(tx *bolt.Tx, o *bindings.Offer) (int64, error) {
	d := answers.DisclosedRecord{Payload: o.Statement.Digest(), PAE: o.Statement.PAE()}
	var w waiting
	known, err := get(tx.Bucket(bucketWaiting), []byte(d.Payload), &w)
	if err != nil {
		return 0, err
	}
	p, listed, err := publishedAs(tx, d.Payload)
	if err != nil {
		return 0, err
	}
	if !known {
		if w, err = in.begin(tx, o, &d); err != nil {
			return 0, err
		}
	}
	leaf := max(p.At.Leaf, w.Leaf) // of what is there already
	added := int64(0)
	if !listed && !known {
		added = int64(len(o.Payload))
		if err := tx.Bucket(bucketHandedIn).Put([]byte(d.Payload), o.Payload); err != nil {
			return 0, err
		}
	}
	sigs, err := takeSignatures(tx, d.Payload, o.Signatures)
	if err != nil {
		return 0, err
	}
	if sigs.count == 0 && (listed || known) {
		return max(leaf, sigs.leaf), nil // all of it is there
	}
	added += sigs.bytes
	w.Bytes += added
	if w.Leaf, err = in.listedBy(tx, o.Statement.Previous()); err != nil {
		return 0, err
	}
	if err := in.room(tx, d.Payload, &w, added); err != nil {
		return 0, err
	}
	return w.Leaf, put(tx.Bucket(bucketWaiting), []byte(d.Payload), w)
}

// taken are the signatures of an offer that were not there.
type taken struct {
	count int
	bytes int64
	leaf  int64 // that lists the last of those that were there; 0 for none
}

// takeSignatures keeps the signatures over a statement that are not there yet, as many as its
// signers may have.
func takeSignatures(tx *bolt.Tx, payload string, offered []bindings.OfferedSignature) (out taken, err error) {
	have := signers{}
	if err := have.listed(tx, payload); err != nil {
		return out, err
	}
	if err := eachHandedIn(tx, payload, func(_ []byte, sig handedSignature) error {
		have[nameOf(sig.Signer)]++
		return nil
	}); err != nil {
		return out, err
	}
	b := tx.Bucket(bucketHandedIn)
	for _, sig := range offered {
		key := signatureKey(&sig.SignatureRecord)
		var old signature
		there, err := get(tx.Bucket(bucketSignatures), key, &old)
		switch {
		case err != nil:
			return out, err
		case there:
			out.leaf = max(out.leaf, old.At.Leaf)
			continue
		case b.Get(key) != nil:
			continue
		case !have.add(sig.Signer):
			continue // the others must not fail for it
		}
		if err := put(b, key, handedSignature{sig.Log, sig.Index, sig.Signer, sig.Bundle}); err != nil {
			return out, err
		}
		out.bytes += int64(len(sig.Bundle))
		out.count++
	}
	return out, nil
}

// listedBy returns the leaf by which a statement will be listed: not before the statement that
// it follows, by whose members it may be signed.
func (in *Intake) listedBy(tx *bolt.Tx, previous string) (int64, error) {
	leaf := in.store.next(tx)
	if previous == "" {
		return leaf, nil
	}
	var before waiting
	_, err := get(tx.Bucket(bucketWaiting), []byte(previous), &before)
	return max(leaf, before.Leaf), err
}

// handedSignature is a signature that waits.
type handedSignature struct {
	Log    string          `json:"log"`
	Index  int64           `json:"index"`
	Signer policy.Identity `json:"signer"`
	Bundle []byte          `json:"bundle"`
}

func eachHandedIn(tx *bolt.Tx, payload string, f func(key []byte, sig handedSignature) error) error {
	prefix := []byte(payload + " ")
	c := tx.Bucket(bucketHandedIn).Cursor()
	for k, data := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, data = c.Next() {
		var sig handedSignature
		if err := unmarshal(k, data, &sig); err != nil {
			return err
		}
		if err := f(k, sig); err != nil {
			return err
		}
	}
	return nil
}

// begin returns what is to be kept of a statement of which nothing waits: it has to be bound.
func (in *Intake) begin(tx *bolt.Tx, o *bindings.Offer, d *answers.DisclosedRecord) (waiting, error) {
	places := map[string]chain.Position{}
	read := false
	for _, m := range in.maps {
		more, err := m.places(tx, d)
		if err != nil {
			return waiting{}, err
		}
		for repo, at := range more {
			places[repo] = at
		}
		read = read || m.bound(tx, d)
	}
	for _, b := range o.Bindings {
		if name := b.Repository.String(); places[name] == (chain.Position{}) {
			places[name] = b.Position
		}
	}
	w := waiting{PAE: d.PAE, At: chain.Position{Index: -1}}
	switch own := o.Statement.Repository().String(); {
	case len(places) == 0 && !read:
		return w, refuse(http.StatusConflict, "no binding of the statement was read, and no file proves one")
	case places[own] != (chain.Position{}):
		w.Repository, w.At = own, places[own]
	default: // bound by another repository, or before that was noted
		for repo, at := range places {
			if w.Repository == "" || repo < w.Repository {
				w.Repository, w.At = repo, at
			}
		}
	}
	return w, nil
}

// room demands room for a statement. What waits keeps its turn by the place of its binding:
// what was bound later takes none of it, and nothing is put out.
func (in *Intake) room(tx *bolt.Tx, payload string, w *waiting, added int64) error {
	all, bytes, repoBytes, before := 0, added, added, 0
	if err := tx.Bucket(bucketWaiting).ForEach(func(name, data []byte) error {
		var x waiting
		if err := unmarshal(name, data, &x); err != nil {
			return err
		}
		all, bytes = all+1, bytes+x.Bytes
		if x.Repository != w.Repository {
			return nil
		}
		repoBytes += x.Bytes
		later := x.At.Index < 0 || w.At.Index >= 0 && (x.At.Log != w.At.Log || x.At.Index > w.At.Index)
		if string(name) != payload && !later {
			before++
		}
		return nil
	}); err != nil {
		return err
	}
	switch {
	case w.Bytes > maxWaiting:
		return later(http.StatusTooManyRequests, fullPause, "more than %d bytes of the statement wait", maxWaiting)
	case before >= maxWaitingRepo, repoBytes > maxRepoBytes:
		return later(http.StatusTooManyRequests, fullPause, "too much of %s waits for the next build", w.Repository)
	case all >= maxWaitingAll, bytes > maxWaitingBytes:
		return later(http.StatusServiceUnavailable, fullPause, "too much waits for the next build")
	}
	return nil
}

// gatherStep is how many statements are taken over in one transaction.
const gatherStep = 16

// gather takes over, for the leaf to come, what was handed in of statements whose binding is
// mapped. What is handed in meanwhile is for the next leaf.
func (b *Builder) gather(all []*Map, leaf int64) error {
	var names []string
	bound := map[string]bool{} // of these
	if err := b.Store.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketWaiting).ForEach(func(name, data []byte) error {
			var w waiting
			if err := unmarshal(name, data, &w); err != nil {
				return err
			}
			d := answers.DisclosedRecord{Payload: string(name), PAE: w.PAE}
			names = append(names, d.Payload)
			bound[d.Payload] = slices.ContainsFunc(all, func(m *Map) bool { return m.bound(tx, &d) })
			return nil
		})
	}); err != nil {
		return err
	}
	for step := range slices.Chunk(names, gatherStep) {
		if err := b.Store.update(func(tx *bolt.Tx) error {
			for _, name := range step {
				if err := b.takeOver(tx, name, bound, leaf); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// takeOver finds a statement that waits, and its signatures. What waits for too long is
// dropped.
func (b *Builder) takeOver(tx *bolt.Tx, name string, bound map[string]bool, leaf int64) error {
	var w waiting
	if ok, err := get(tx.Bucket(bucketWaiting), []byte(name), &w); err != nil || !ok {
		return err
	}
	late := leaf > w.Leaf+lateLeaves
	if !bound[name] && !late {
		return nil
	}
	if !bound[name] {
		b.warn("%s: what was handed in as bound at %d of the log %s is not bound there, and is dropped",
			w.Repository, w.At.Index, w.At.Log)
	}
	s, err := takeOverStatement(tx, name, w.PAE, bound[name])
	if err != nil {
		return err
	}
	before := tx.Bucket(bucketStatements).Get([]byte(s.Previous()))
	if before == nil && bound[s.Previous()] {
		before = tx.Bucket(bucketHandedIn).Get([]byte(s.Previous()))
	}
	left, err := takeOverSignatures(tx, name, late, func(signer policy.Identity) bool {
		return bound[name] && memberOf(&s, before, signer)
	})
	if err != nil || left {
		return err
	}
	return tx.Bucket(bucketWaiting).Delete([]byte(name))
}

// takeOverSignatures lists the signatures that count of those that wait, and reports whether
// others go on waiting. If it is late, these are dropped.
func takeOverSignatures(
	tx *bolt.Tx, name string, late bool, counts func(signer policy.Identity) bool,
) (left bool, err error) {
	done := [][]byte{[]byte(name)}
	err = eachHandedIn(tx, name, func(key []byte, sig handedSignature) error {
		if counts(sig.Signer) {
			done = append(done, bytes.Clone(key))
			return takeOverSignature(tx, name, sig)
		}
		if late {
			done = append(done, bytes.Clone(key))
		} else { // it waits for what it follows
			left = true
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	for _, key := range done {
		if err := tx.Bucket(bucketHandedIn).Delete(key); err != nil {
			return false, err
		}
	}
	return left, nil
}

// takeOverStatement returns a statement that waits, and lists it if it is bound and was not
// listed before.
func takeOverStatement(tx *bolt.Tx, name, pae string, bound bool) (chain.Statement, error) {
	payload := bytes.Clone(tx.Bucket(bucketHandedIn).Get([]byte(name)))
	if payload == nil { // it was listed before
		payload = tx.Bucket(bucketStatements).Get([]byte(name))
	} else if bound {
		if err := offeredStatement(tx, answers.DisclosedRecord{Payload: name, PAE: pae}, payload); err != nil {
			return chain.Statement{}, err
		}
	}
	s, _ := rekorbind.ParseStatement(payload)
	return s, nil
}

// takeOverSignature lists a signature, unless it was listed before.
func takeOverSignature(tx *bolt.Tx, name string, sig handedSignature) error {
	r := bindings.SignatureRecord{Payload: name, Log: sig.Log, Index: sig.Index}
	if tx.Bucket(bucketSignatures).Get(signatureKey(&r)) != nil {
		return nil
	}
	return offeredSignature(tx, bindings.OfferedSignature{SignatureRecord: r, Signer: sig.Signer, Bundle: sig.Bundle})
}

// isRefusal returns the refusal in an error; nil if there is none.
func isRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}
