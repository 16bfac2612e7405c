// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// maxList is the largest list of statements that is read.
const maxList = 64 << 20

// Auditor makes the maps of another directory again from the logs (SPEC 16.5). Its
// state is like that of a directory: what was audited is not read again.
type Auditor struct {
	Store      *Store
	Site       *web.Client // where the directory is
	Descriptor *answers.Descriptor
	Key        note.Signer // signs a disagreement
	Transport  http.RoundTripper
	Agent      string
	Now        func() time.Time
	Progress   func(log string, done, total int64)
	Warn       func(format string, args ...any)
}

// Disagreement is the error about a leaf of which the inputs give something else.
// Note is the auditor's signed statement.
type Disagreement struct {
	Index int64
	Why   string
	Note  []byte
}

// Error says what differs.
func (d *Disagreement) Error() string {
	return fmt.Sprintf("leaf %d of the directory is not what its inputs give: %s", d.Index, d.Why)
}

var (
	keyOutput = []byte("output")
	keyTaken  = []byte("taken")
)

// Audit audits every leaf that is new and returns how many there are in all. The
// error is a [*Disagreement], a [*rekor.Fork] if the output log or one of its
// inputs contradicts itself, or a [*Stale].
func (a *Auditor) Audit(ctx context.Context) (int64, error) {
	signed, err := a.Site.Get(ctx, checkpointFile, maxCheckpoint)
	if err != nil {
		return 0, err
	}
	cp, err := a.Descriptor.Open(signed)
	if err != nil {
		return 0, err
	}
	all, err := a.Store.Maps()
	if err != nil {
		return 0, err
	}
	out := source{log: sigstore.Log{Log: policy.Log{ID: "output", Generation: 2}, URL: a.Site.URL()}, client: a.Site}
	out.cp = sigstore.Checkpoint{Size: cp.Size, Root: cp.Root[:], Note: cp.Note, Own: cp.Note}
	for {
		r, err := a.output()
		switch {
		case err != nil:
			return 0, err
		case r.Size > cp.Size:
			return 0, &Stale{Log: a.Site.URL(), Seen: r.Size, Size: cp.Size}
		case r.Size == cp.Size:
			if r.Size > 0 && r.Tree != hex.EncodeToString(cp.Root[:]) {
				return 0, out.fork(r, "another output log of %d entries than was audited", r.Size)
			}
			return r.Size, nil
		}
		if err := a.leaves(ctx, out, r, all); err != nil {
			return 0, err
		}
	}
}

// output returns how far the output log was audited.
func (a *Auditor) output() (r reading, err error) {
	err = a.Store.db.View(func(tx *bolt.Tx) error {
		_, err := get(tx.Bucket(bucketMeta), keyOutput, &r)
		return err
	})
	return r, err
}

// leaves audits the leaves of some tiles of the output log.
func (a *Auditor) leaves(ctx context.Context, out source, old reading, all []*Map) error {
	t := &tiles{out, rekor.NewOutputTiles(ctx, a.Site)}
	entries, err := t.next(ctx, old.Size)
	if err != nil {
		return err
	}
	tree, err := old.compact()
	if err != nil {
		return err
	}
	// All of them are proven before the first one counts.
	var reached []reading
	for _, e := range entries {
		if err := tree.Append(e.hash, nil); err != nil {
			return err
		}
		r := reading{Checkpoint: string(out.cp.Note), Tree: hex.EncodeToString(out.cp.Root), Seen: a.Now().UTC()}
		r.set(tree)
		reached = append(reached, r)
	}
	root, err := rootOf(tree)
	if err != nil {
		return err
	}
	switch ok, err := t.beginning(int64(tree.End()), root); {
	case err != nil:
		return err
	case !ok:
		return out.fork(old, "its first %d entries are not those that were audited", tree.End())
	}
	for i, e := range entries {
		if err := a.leaf(ctx, old.Size+int64(i), e.body, all, reached[i]); err != nil {
			return err
		}
	}
	return nil
}

// audited is a leaf while it is audited.
type audited struct {
	index  int64
	data   []byte
	doc    answers.DirectoryLeaf
	maps   []*Map // that can be made again
	inputs map[string][]source
	list   []byte
	lines  []string
	// What its lines name: payloads by name, and bundles by line.
	payloads map[string][]byte
	bundles  map[string][]byte
}

func (l *audited) moment() chain.Shown {
	return chain.Shown{Leaf: l.index, Time: l.doc.Time, Clock: l.doc.Clock}
}

// leaf audits one leaf, and keeps that it did.
func (a *Auditor) leaf(ctx context.Context, index int64, data []byte, all []*Map, reached reading) error {
	l := &audited{index: index, data: data, inputs: map[string][]source{}}
	var err error
	if l.doc, err = answers.ParseDirectoryLeaf(data); err != nil {
		return a.disagree(l, prefixmap.Hash{}, prefixmap.Hash{}, "%s", err)
	}
	if err := a.extends(l); err != nil {
		return err
	}
	for _, m := range all {
		i := slices.IndexFunc(l.doc.Maps, func(ml answers.MapLeaf) bool { return ml.ID() == m.ID })
		if i < 0 {
			continue
		}
		l.maps = append(l.maps, m)
		if l.inputs[m.ID], err = a.sources(ctx, l, m, l.doc.Maps[i]); err != nil {
			return err
		}
	}
	if len(l.maps) < len(l.doc.Maps) && a.Warn != nil {
		a.Warn("leaf %d has %d maps, of which %d are of a trusted root that was not given and are not audited", index,
			len(l.doc.Maps), len(l.doc.Maps)-len(l.maps))
	}
	if len(l.maps) == 0 {
		return errors.New("the directory has no map of the trusted root")
	}
	if err := a.published(ctx, l); err != nil {
		return err
	}
	b := &Builder{Store: a.Store, Progress: a.Progress}
	if err := b.read(ctx, l.maps, l.inputs, l.moment()); err != nil {
		return err
	}
	return a.compare(l, reached)
}

// extends demands that all maps of a leaf were made of the same inputs, and that
// these are not from before those of the leaf before. That they are of one history
// is shown by reading them.
func (a *Auditor) extends(l *audited) error {
	if err := a.sameInputs(l); err != nil {
		return err
	}
	var before []byte
	if err := a.Store.db.View(func(tx *bolt.Tx) error {
		before = bytes.Clone(tx.Bucket(bucketLeaves).Get(number(uint64(l.index - 1))))
		return nil
	}); err != nil {
		return err
	}
	switch {
	case before != nil:
		return a.extendsLeaf(l, before)
	case l.doc.Clock != 0:
		return a.wrong(l, "the clock of the first leaf is %s", l.doc.Clock)
	}
	return nil
}

// wrong is disagree about a leaf as a whole.
func (a *Auditor) wrong(l *audited, format string, args ...any) error {
	return a.disagree(l, prefixmap.Hash{}, prefixmap.Hash{}, format, args...)
}

// sameInputs demands that all maps of a leaf were made of the same trees.
func (a *Auditor) sameInputs(l *audited) error {
	inputs := map[string]string{}
	for _, ml := range l.doc.Maps {
		of := map[string]string{}
		for _, in := range ml.Inputs {
			of[in.Log] += in.Checkpoint
		}
		for log, checkpoints := range of {
			if inputs[log] == "" {
				inputs[log] = checkpoints
			} else if inputs[log] != checkpoints {
				return a.disagree(l, ml.Hash, prefixmap.Hash{},
					"its maps were made of different trees of the log %s", log)
			}
		}
	}
	return nil
}

// extendsLeaf demands that a leaf has no fewer entries than the one before, and that its time
// and clock go on.
func (a *Auditor) extendsLeaf(l *audited, before []byte) error {
	old, err := answers.ParseDirectoryLeaf(before)
	if err != nil {
		return err
	}
	was, err := LeafSizes(before)
	if err != nil {
		return err
	}
	now, err := LeafSizes(l.data)
	if err != nil {
		return a.wrong(l, "%s", err)
	}
	for log, size := range was {
		if later, ok := now[log]; ok && later < size {
			return a.wrong(l, "of the log %s it has %d entries, and the leaf before %d", log, later, size)
		}
	}
	if l.doc.Time.Before(old.Time) {
		return a.wrong(l, "it is as of %s, before the leaf before", l.doc.Time.Format(time.RFC3339))
	}
	if l.doc.Clock != old.Tick(l.doc.Time) {
		return a.wrong(l, "its clock is %s, and that of the leaf before gives %s", l.doc.Clock, old.Tick(l.doc.Time))
	}
	return nil
}

// sources returns the inputs of a map as far as the leaf says it has read them.
func (a *Auditor) sources(ctx context.Context, l *audited, m *Map, ml answers.MapLeaf) ([]source, error) {
	var out []source
	used := 0
	for _, log := range m.logs() {
		client, err := web.New(log.URL, a.Transport, a.Agent)
		if err != nil {
			return nil, err
		}
		var bases []source
		if log.Generation == 1 { // where a shard begins, only the service says
			if bases, err = askV1(ctx, m.root, log, client, a.Now().UTC()); err != nil {
				return nil, err
			}
		}
		var of []source
		for _, in := range ml.Inputs {
			if in.Log != log.ID {
				continue
			}
			used++
			src, err := input(m, log, in, bases)
			if err != nil {
				return nil, a.disagree(l, ml.Hash, prefixmap.Hash{}, "input %s: %s", in.Log, err)
			}
			src.client, src.seen = client, a.Now().UTC()
			of = append(of, src)
		}
		if len(of) == 0 || log.Generation == 2 && len(of) > 1 {
			return nil, a.disagree(l, ml.Hash, prefixmap.Hash{}, "%d inputs are of the log %s", len(of), log.ID)
		}
		slices.SortFunc(of, func(x, y source) int { return cmp.Compare(x.base, y.base) })
		out = append(out, of...)
	}
	if used != len(ml.Inputs) {
		return nil, a.disagree(l, ml.Hash, prefixmap.Hash{}, "an input is of no log of the trusted root")
	}
	return out, nil
}

// input returns what one input says.
func input(m *Map, l sigstore.Log, in answers.Input, shards []source) (source, error) {
	if l.Generation == 2 {
		cp, err := m.root.OpenCheckpoint(l.ID, []byte(in.Checkpoint))
		return source{log: l, cp: cp}, err
	}
	src, err := newSourceV1(m.root, l, []byte(in.Checkpoint), nil, time.Time{})
	if err != nil {
		return src, err
	}
	i := slices.IndexFunc(shards, func(s source) bool { return s.shard == src.shard })
	if i < 0 {
		return src, errors.New("the log has no such shard")
	}
	src.base = shards[i].base
	return src, nil
}

// published fetches the list of a leaf, and every statement and signature in it.
func (a *Auditor) published(ctx context.Context, l *audited) error {
	for _, ml := range l.doc.Maps {
		if ml.Disclosed != l.doc.Maps[0].Disclosed {
			return a.disagree(l, ml.Hash, prefixmap.Hash{}, "its maps list different statements")
		}
	}
	data, err := a.Site.Get(ctx, path.Join(l.maps[0].ID, "disclosed", strconv.FormatInt(l.index, 10)), maxList)
	if err != nil {
		return fmt.Errorf("list of leaf %d: %w", l.index, err)
	}
	if len(data) > 0 {
		l.lines = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
	want, text := answers.NewPublished(l.lines)
	if want != l.doc.Maps[0].Disclosed || !bytes.Equal(text, data) {
		return a.disagree(l, prefixmap.Hash{}, prefixmap.Hash{}, "the list of statements is not that of the leaf")
	}
	l.list, l.payloads, l.bundles = data, map[string][]byte{}, map[string][]byte{}
	for _, line := range l.lines {
		d, sig, err := answers.ParseListed(line)
		if err != nil {
			return a.disagree(l, prefixmap.Hash{}, prefixmap.Hash{}, "the list has the line %q", line)
		}
		if sig != nil {
			if l.bundles[line], err = a.Site.Get(ctx, signaturePath(sig.Log, sig.Index), maxSignatureBytes); err != nil {
				return fmt.Errorf("signature of leaf %d: %w", l.index, err)
			}
			continue
		}
		payload, err := a.Site.Get(ctx, statementPath(d.Payload), spelling.MaxStatementBytes)
		if err != nil {
			return fmt.Errorf("statement of leaf %d: %w", l.index, err)
		}
		if !slices.Equal(names(payload), []string{d.PAE, d.Payload}) {
			return a.disagree(l, prefixmap.Hash{}, prefixmap.Hash{}, "what it holds as the statement %s is another one",
				d.Payload)
		}
		l.payloads[d.Payload], l.payloads[d.PAE] = payload, payload
	}
	return nil
}

// compare applies the list, and compares each map with the leaf.
func (a *Auditor) compare(l *audited, reached reading) error {
	if err := a.Store.update(func(tx *bolt.Tx) error {
		taken := int64(-1) // the leaf whose list was applied when an audit was cut off
		if _, err := get(tx.Bucket(bucketMeta), keyTaken, &taken); err != nil || taken == l.index {
			return err
		}
		if err := a.take(tx, l); err != nil {
			return err
		}
		return put(tx.Bucket(bucketMeta), keyTaken, l.index)
	}); err != nil {
		return err
	}
	for _, m := range l.maps {
		if err := a.Store.settle(m); err != nil {
			return err
		}
	}
	return a.Store.update(func(tx *bolt.Tx) error {
		for _, m := range l.maps {
			got, err := m.leaf(tx, l.inputs[m.ID], l.doc.Time)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(l.doc.Maps, func(ml answers.MapLeaf) bool { return ml.ID() == m.ID })
			switch said := l.doc.Maps[i]; {
			case said.Hash != got.Hash:
				return a.disagree(l, said.Hash, got.Hash, "the map %s has the root %x, its inputs give %x", m.ID, said.Hash,
					got.Hash)
			case said.Labels != got.Labels:
				return a.disagree(l, said.Hash, got.Hash, "the map %s has %d labels, its inputs give %d", m.ID, said.Labels,
					got.Labels)
			default:
				for j, in := range said.Inputs { // it may know of less
					if in.Dated().After(got.Inputs[j].Dated()) {
						return a.disagree(l, said.Hash, got.Hash, "the log %s is dated %s, its entries give %q", in.Log, in.Newest,
							got.Inputs[j].Newest)
					}
				}
			}
		}
		if err := tx.Bucket(bucketLeaves).Put(number(uint64(l.index)), l.data); err != nil {
			return err
		}
		return put(tx.Bucket(bucketMeta), keyOutput, reached)
	})
}

// take lists what the leaf lists, if it may.
func (a *Auditor) take(tx *bolt.Tx, l *audited) error {
	for name, payload := range l.payloads {
		if err := tx.Bucket(bucketStatements).Put([]byte(name), payload); err != nil {
			return err
		}
	}
	signers := map[string]policy.Identity{}
	for _, line := range l.lines {
		d, sig, err := answers.ParseListed(line)
		if err != nil {
			return err
		}
		if d != nil {
			if err := a.mayListStatement(tx, l, line, d); err != nil {
				return err
			}
			continue
		}
		if signers[line], err = a.mayListSignature(tx, l, line, sig); err != nil {
			return err
		}
	}
	return enlist(tx, l.maps, slices.Clone(l.lines), l.moment(), func(r *bindings.SignatureRecord) policy.Identity {
		line, _ := r.Line() // it was read from one
		return signers[line]
	})
}

// every reports whether all maps of the leaf are audited.
func (l *audited) every() bool { return len(l.maps) == len(l.doc.Maps) }

func (a *Auditor) wrongLine(l *audited, line, why string) error {
	return a.wrong(l, "line %q: %s", line, why)
}

// mayListStatement demands that a statement is bound, and listed for the first time.
func (a *Auditor) mayListStatement(tx *bolt.Tx, l *audited, line string, d *answers.DisclosedRecord) error {
	switch _, before, err := publishedAs(tx, d.Payload); {
	case err != nil:
		return err
	case before:
		return a.wrongLine(l, line, "it was listed before")
	case l.every() && !slices.ContainsFunc(l.maps, func(m *Map) bool { return m.bound(tx, d) }):
		return a.wrongLine(l, line, "no entry binds it")
	}
	return nil
}

// mayListSignature demands that a signature is by a member, over a statement that is listed, and
// listed for the first time. It returns who signed.
func (a *Auditor) mayListSignature(
	tx *bolt.Tx, l *audited, line string, sig *bindings.SignatureRecord,
) (id policy.Identity, err error) {
	if tx.Bucket(bucketSignatures).Get(signatureKey(sig)) != nil {
		return id, a.wrongLine(l, line, "it was listed before")
	}
	_, known, err := publishedAs(tx, sig.Payload)
	if err != nil {
		return id, err
	}
	if !known && l.payloads[sig.Payload] == nil {
		return id, a.wrongLine(l, line, "its statement is not listed")
	}
	id, ok := a.signer(tx, l, sig, l.bundles[line])
	if !ok && l.every() {
		return id, a.wrongLine(l, line, "what it holds as that signature is none by a member")
	}
	return id, nil
}

// signer verifies a signature that is listed, and returns whose it is.
func (a *Auditor) signer(
	tx *bolt.Tx, l *audited, sig *bindings.SignatureRecord, bundle []byte,
) (policy.Identity, bool) {
	var earlier [][]byte
	if s, err := rekorbind.ParseStatement(tx.Bucket(bucketStatements).Get([]byte(sig.Payload))); err == nil &&
		s.Previous() != "" {
		if before := tx.Bucket(bucketStatements).Get([]byte(s.Previous())); before != nil {
			earlier = append(earlier, before)
		}
	}
	for _, m := range l.maps {
		for _, o := range bindings.Offers(m.root, m.forges, []bindings.File{{Name: "signature", Data: bundle}}, earlier) {
			for _, s := range o.Signatures {
				if s.SignatureRecord == *sig {
					return s.Signer, true
				}
			}
		}
	}
	return policy.Identity{}, false
}

// disagree returns the disagreement with a leaf, signed.
func (a *Auditor) disagree(l *audited, said, got prefixmap.Hash, format string, args ...any) error {
	leaf := sha256.Sum256(l.data)
	text := fmt.Sprintf("repopolicy directory audit v1\n%s\n%d %x\n%x %x\n", a.Descriptor.Origin(), l.index, leaf, said,
		got)
	signed, err := note.Sign(&note.Note{Text: text}, a.Key)
	if err != nil {
		return err
	}
	return &Disagreement{l.index, fmt.Sprintf(format, args...), signed}
}
