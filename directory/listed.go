// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// Limits of what is listed of one statement, so that nobody fills the directory.
const (
	maxSignatures     = 256
	maxPerMember      = 8         // of these, so that no member keeps the others' away
	maxSignatureBytes = 256 << 10 // of one bundle
)

// published is what is kept of a statement that is listed.
type published struct {
	Payload string      `json:"payload"`
	PAE     string      `json:"pae"`
	At      chain.Shown `json:"at"`
}

// signature is what is kept of a signature that is listed.
type signature struct {
	At     chain.Shown     `json:"at"`
	Signer policy.Identity `json:"signer"`
}

func signatureKey(s *bindings.SignatureRecord) []byte {
	return append([]byte(s.Payload+" "), bundleKey(s.Log, s.Index)...)
}

func bundleKey(log string, index int64) []byte {
	return append([]byte(log+" "), number(uint64(index))...)
}

// publishedAs returns what is kept of a statement, by one of its names; false if it is not
// listed.
func publishedAs(tx *bolt.Tx, name string) (p published, ok bool, err error) {
	ok, err = get(tx.Bucket(bucketPublished), []byte(name), &p)
	return p, ok, err
}

// eachSignature calls f with the signatures over a statement that are listed.
func eachSignature(tx *bolt.Tx, payload string, f func(r bindings.SignatureRecord, s signature) error) error {
	c := tx.Bucket(bucketSignatures).Cursor()
	prefix := []byte(payload + " ")
	for k, data := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, data = c.Next() {
		var s signature
		if err := unmarshal(k, data, &s); err != nil {
			return err
		}
		log, index := string(k[len(prefix):len(k)-9]), binary.BigEndian.Uint64(k[len(k)-8:])
		if err := f(bindings.SignatureRecord{Payload: payload, Log: log, Index: int64(index)}, s); err != nil {
			return err
		}
	}
	return nil
}

// listed returns the lines about a statement, by one of its names.
func listed(tx *bolt.Tx, name string) ([]string, error) {
	p, ok, err := publishedAs(tx, name)
	if err != nil || !ok {
		return nil, err
	}
	line, err := answers.DisclosedRecord{Payload: p.Payload, PAE: p.PAE}.Line()
	if err != nil {
		return nil, err
	}
	lines := []string{line}
	return lines, eachSignature(tx, p.Payload, func(r bindings.SignatureRecord, _ signature) error {
		line, err := r.Line()
		lines = append(lines, line)
		return err
	})
}

// recordOf returns the record of a line that is listed.
func recordOf(tx *bolt.Tx, line string) (string, error) {
	var r answers.Record
	var err error
	if r.Disclosed, r.Signature, err = answers.ParseListed(line); err != nil {
		return "", fmt.Errorf("state: %w", err)
	}
	var ok bool
	if r.Disclosed != nil {
		var p published
		p, ok, err = publishedAs(tx, r.Disclosed.Payload)
		r.At = p.At
	} else {
		var s signature
		ok, err = get(tx.Bucket(bucketSignatures), signatureKey(r.Signature), &s)
		r.At = s.At
	}
	if err != nil {
		return "", err
	}
	if !ok {
		return "", fmt.Errorf("state: %q is due and was not listed", line)
	}
	return r.Text()
}

// complete reports whether all that a statement needs is listed: itself, and signatures by a
// quorum of it and of the one that it follows. What is no policy needs none.
func complete(tx *bolt.Tx, name string) (bool, error) {
	p, ok, err := publishedAs(tx, name)
	if err != nil || !ok {
		return false, err
	}
	s, refused := rekorbind.ParseStatement(tx.Bucket(bucketStatements).Get([]byte(p.Payload)))
	if refused != nil {
		return true, nil
	}
	var signers []policy.Identity
	if err := eachSignature(tx, p.Payload, func(_ bindings.SignatureRecord, s signature) error {
		signers = append(signers, s.Signer)
		return nil
	}); err != nil {
		return false, err
	}
	if s.Previous() == "" {
		return met(&s, signers), nil
	}
	before, refused := rekorbind.ParseStatement(tx.Bucket(bucketStatements).Get([]byte(s.Previous())))
	return refused == nil && met(&s, signers) && met(&before, signers), nil
}

// met reports whether enough members of a version are among the signers.
func met(s *chain.Statement, signers []policy.Identity) bool {
	if s.Document() == nil {
		return false
	}
	m := &s.Document().Content().Maintainers
	if m.Repository {
		return true
	}
	n := 0
	for _, member := range m.Members {
		one := policy.Maintainers{Members: []policy.Member{member}}
		if slices.ContainsFunc(signers, one.Names) {
			n++
		}
	}
	return n >= m.Threshold
}

// coverage returns the function from an index of a log to the first leaf that covers it: one
// there is, or the one to come.
func coverage(tx *bolt.Tx, log string, now chain.Shown) (func(index int64) (chain.Shown, error), error) {
	n := leaves(tx)
	var failed error
	sizeAt := func(leaf int) int64 {
		all, err := sizes(tx, int64(leaf))
		if err != nil {
			failed = err
		}
		return all[log]
	}
	read := int64(0) // by the newest leaf
	if n > 0 {
		read = sizeAt(int(n - 1))
	}
	return func(index int64) (chain.Shown, error) {
		if index >= read {
			return now, failed
		}
		i := sort.Search(int(n), func(leaf int) bool { return sizeAt(leaf) > index })
		at, err := momentOf(tx, int64(i))
		if failed != nil {
			err = failed
		}
		return at, err
	}, failed
}

// momentOf returns the moment of a leaf.
func momentOf(tx *bolt.Tx, index int64) (chain.Shown, error) {
	l, err := answers.ParseDirectoryLeaf(tx.Bucket(bucketLeaves).Get(number(uint64(index))))
	return chain.Shown{Leaf: index, Time: l.Time, Clock: l.Clock}, err
}

// enlist lists lines, at the moment of the leaf to come, and makes them due in the maps.
func enlist(
	tx *bolt.Tx, all []*Map, lines []string, at chain.Shown, signer func(*bindings.SignatureRecord) policy.Identity,
) error {
	slices.Sort(lines) // statements first
	for _, line := range lines {
		d, sig, err := answers.ParseListed(line)
		if err != nil {
			return fmt.Errorf("state: %w", err)
		}
		var p published
		if d != nil {
			p = published{d.Payload, d.PAE, at}
			for _, name := range []string{p.Payload, p.PAE} {
				if err := put(tx.Bucket(bucketPublished), []byte(name), p); err != nil {
					return err
				}
			}
		} else {
			var ok bool
			if p, ok, err = publishedAs(tx, sig.Payload); err != nil || !ok {
				return fmt.Errorf("a signature over the statement %s, which is not listed", sig.Payload)
			}
			if err := put(tx.Bucket(bucketSignatures), signatureKey(sig), signature{at, signer(sig)}); err != nil {
				return err
			}
		}
		for _, m := range all {
			if err := m.publish(tx, p, line); err != nil {
				return err
			}
		}
		if err := unwantComplete(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// unwantComplete ends the search for a statement of which all is listed.
func unwantComplete(tx *bolt.Tx, p published) error {
	done, err := complete(tx, p.Payload)
	if err != nil || !done {
		return err
	}
	for _, name := range []string{p.Payload, p.PAE} {
		if err := unwant(tx, name); err != nil {
			return err
		}
	}
	return nil
}

// offered notes what a repository publishes of statements that are bound, for the leaf to
// come.
func offered(tx *bolt.Tx, offers []bindings.Offer, wanted func(names []string) bool) error {
	// What a statement follows comes first: its members sign, too.
	slices.SortStableFunc(offers, func(a, b bindings.Offer) int { return a.Statement.Version() - b.Statement.Version() })
	for _, o := range offers {
		d := answers.DisclosedRecord{Payload: o.Statement.Digest(), PAE: o.Statement.PAE()}
		if len(o.Payload) > spelling.MaxStatementBytes || !wanted([]string{d.Payload, d.PAE}) {
			continue
		}
		if err := offeredStatement(tx, d, o.Payload); err != nil {
			return err
		}
		have := signers{}
		if err := have.listed(tx, d.Payload); err != nil {
			return err
		}
		for _, sig := range o.Signatures {
			if len(sig.Bundle) > maxSignatureBytes ||
				tx.Bucket(bucketSignatures).Get(signatureKey(&sig.SignatureRecord)) != nil {
				continue
			}
			before := tx.Bucket(bucketStatements).Get([]byte(o.Statement.Previous()))
			if !memberOf(&o.Statement, before, sig.Signer) || !have.add(sig.Signer) {
				continue
			}
			if err := offeredSignature(tx, sig); err != nil {
				return err
			}
		}
	}
	return nil
}

// memberOf reports whether somebody is a member of a statement, or of the one before, nil if
// that is not listed: then nobody could tell from the lists that he is.
func memberOf(s *chain.Statement, before []byte, id policy.Identity) bool {
	named := func(s *chain.Statement) bool {
		return s.Document() != nil && s.Document().Content().Maintainers.Names(id)
	}
	if named(s) {
		return true
	}
	b, err := rekorbind.ParseStatement(before)
	return err == nil && named(&b)
}

// signers counts the signatures over a statement, by who signed.
type signers map[policy.Identity]int

// nameOf leaves of an identity what is the same in all of its signatures.
func nameOf(id policy.Identity) policy.Identity {
	return policy.Identity{Kind: id.Kind, Value: id.Value, Issuer: id.Issuer}
}

// add counts one more, unless there are too many.
func (s signers) add(id policy.Identity) bool {
	all := 0
	for _, n := range s {
		all += n
	}
	by := nameOf(id)
	if s[by] >= maxPerMember || all >= maxSignatures {
		return false
	}
	s[by]++
	return true
}

// listed counts those that are listed.
func (s signers) listed(tx *bolt.Tx, payload string) error {
	return eachSignature(tx, payload, func(_ bindings.SignatureRecord, sig signature) error {
		s[nameOf(sig.Signer)]++
		return nil
	})
}

// offeredStatement notes a statement, unless it is listed.
func offeredStatement(tx *bolt.Tx, d answers.DisclosedRecord, payload []byte) error {
	if _, ok, err := publishedAs(tx, d.Payload); err != nil || ok {
		return err
	}
	line, err := d.Line()
	if err != nil {
		return err
	}
	for _, name := range []string{d.Payload, d.PAE} {
		if err := tx.Bucket(bucketStatements).Put([]byte(name), payload); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketFound).Put([]byte(line), []byte{})
}

func offeredSignature(tx *bolt.Tx, sig bindings.OfferedSignature) error {
	line, err := sig.Line()
	if err != nil {
		return err
	}
	if err := tx.Bucket(bucketBundles).Put(bundleKey(sig.Log, sig.Index), sig.Bundle); err != nil {
		return err
	}
	return put(tx.Bucket(bucketFound), []byte(line), sig.Signer)
}

// handedIn returns the lines that were handed in for the leaf to come, and who signed.
func handedIn(tx *bolt.Tx) (lines []string, signers map[string]policy.Identity, err error) {
	signers = map[string]policy.Identity{}
	err = tx.Bucket(bucketFound).ForEach(func(line, data []byte) error {
		lines = append(lines, string(line))
		if strings.HasPrefix(string(line), "signature ") {
			var id policy.Identity
			if err := unmarshal(line, data, &id); err != nil {
				return err
			}
			signers[string(line)] = id
		}
		return nil
	})
	return lines, signers, err
}
