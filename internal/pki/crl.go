// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// This file reads lists of revoked certificates (CRLs, RFC 5280, section 5). What it does not
// know exactly, it does not take: then nothing is known of the certificates of that issuer.

var (
	oidReason       = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidity   = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidDelta        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidDistribution = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidIndirect     = asn1.ObjectIdentifier{2, 5, 29, 29} // of an entry: another issuer
	oidExpired      = asn1.ObjectIdentifier{2, 5, 29, 60} // expiredCertsOnCRL, X.509 section 9.5.2.8
	oidAuthorityKey = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidNumber       = asn1.ObjectIdentifier{2, 5, 29, 20}
)

// Reasons of RFC 5280, section 5.3.1, for which signatures from before a certificate was revoked
// still count: the key was not in other hands.
var harmless = []int{
	3, // affiliationChanged
	4, // superseded
	5, // cessationOfOperation
	9, // privilegeWithdrawn
}

const (
	maxReason       = 10
	reasonUnused    = 7
	reasonNotDelta  = 8 // removeFromCRL
	clockLag        = 5 * time.Minute
	maxFaultDetails = 4
)

// list is a list of revoked certificates that counts: the issuer signed all of it, and it is current.
type list struct {
	issuer  []byte // name in DER
	key     crypto.PublicKey
	made    time.Time
	expired time.Time // it keeps certificates that expired from then on; zero if it says nothing
	entries map[string][]entry
}

// entry is one revocation.
type entry struct {
	at      time.Time
	invalid time.Time // from when the key may have been in other hands; zero if the list does not say
	reason  int       // 0 if the list does not say
}

// Current returns the authorities with those of their lists of revoked certificates that count at
// a moment. Get returns a target, or the error why it is not there. Why a list does not count is
// remembered: the status of certificates that it would be about is unknown then.
func (l *Authorities) Current(now time.Time, get func(target string) ([]byte, error)) *Authorities {
	if l == nil {
		return nil
	}
	out := &Authorities{data: l.data}
	left := maxCRLSum
	for _, a := range l.list {
		b := *a
		b.lists, b.faults = nil, nil
		for _, target := range b.CRLs() {
			data, err := get(target)
			if err == nil && len(data) > left {
				err = fmt.Errorf("the lists of all authorities have more than %d bytes", maxCRLSum)
			}
			var one *list
			if err == nil {
				left -= len(data)
				one, err = b.readList(data, now)
			}
			if err != nil {
				b.faults = append(b.faults, fmt.Sprintf("%s: %s", target, clip.Text(err.Error())))
				continue
			}
			b.lists = append(b.lists, one)
		}
		out.list = append(out.list, &b)
	}
	return out
}

// CheckCRL returns why a list of revoked certificates would not count at a moment, under the name
// of that target.
func (l *Authorities) CheckCRL(target string, data []byte, now time.Time) error {
	for _, a := range l.All() {
		if slices.Contains(a.CRLs(), target) {
			_, err := a.readList(data, now)
			return err
		}
	}
	return fmt.Errorf("no authority in %s names it among its crls", Target)
}

// Faults returns why certificates of the authorities have no known status, a line each.
func (l *Authorities) Faults() []string {
	var out []string
	for _, a := range l.All() {
		if a.unrevoked {
			continue
		}
		for _, f := range a.faults {
			out = append(out, a.Issuer+": "+f)
		}
	}
	return out
}

// readList reads a list in DER, or in one PEM block, and refuses one that does not count now.
func (a *Authority) readList(data []byte, now time.Time) (*list, error) {
	rl, err := parseList(data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(a.certs, func(c *x509.Certificate) bool {
		return c.KeyUsage&x509.KeyUsageCRLSign != 0 && issues(c, rl)
	})
	switch {
	case !slices.Contains(Algorithms, rl.SignatureAlgorithm):
		return nil, fmt.Errorf("signed by %s", rl.SignatureAlgorithm)
	case i < 0:
		return nil, fmt.Errorf("no certificate of %s with the key usage CRL sign signed it", a.Issuer)
	case rl.NextUpdate.IsZero():
		return nil, errors.New("it does not say when the next one comes")
	case now.Add(clockLag).Before(rl.ThisUpdate):
		return nil, fmt.Errorf("it was made %s, later than now", spelling.Stamp(rl.ThisUpdate))
	case now.After(rl.NextUpdate):
		return nil, fmt.Errorf("the next one was due %s", spelling.Stamp(rl.NextUpdate))
	}
	out := &list{
		issuer: rl.RawIssuer, key: a.certs[i].PublicKey, made: rl.ThisUpdate, entries: map[string][]entry{},
	}
	if err := out.extensions(rl.Extensions); err != nil {
		return nil, err
	}
	for i := range rl.RevokedCertificateEntries {
		r := &rl.RevokedCertificateEntries[i]
		e, err := readEntry(r)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		serial := string(r.SerialNumber.Bytes())
		out.entries[serial] = append(out.entries[serial], e)
	}
	return out, nil
}

func issues(c *x509.Certificate, rl *x509.RevocationList) bool {
	return bytes.Equal(c.RawSubject, rl.RawIssuer) &&
		c.CheckSignature(rl.SignatureAlgorithm, rl.RawTBSRevocationList, rl.Signature) == nil
}

// parseList parses a list, of which nothing is verified.
func parseList(data []byte) (*x509.RevocationList, error) {
	if len(data) > MaxCRLBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxCRLBytes)
	}
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "X509 CRL" || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 ||
			!bytes.HasPrefix(data, []byte("-----BEGIN")) {
			return nil, errors.New(`not one PEM block "X509 CRL" and nothing else`)
		}
		data = block.Bytes
	}
	rl, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, fmt.Errorf("not a list of revoked certificates of version 2 (RFC 5280): %w", err)
	}
	if len(rl.Raw) != len(data) {
		return nil, errors.New("something follows the list")
	}
	return rl, nil
}

// extensions refuses a list that is not all that the issuer has to say of its certificates.
func (l *list) extensions(all []pkix.Extension) error {
	seen := map[string]bool{}
	for _, e := range all {
		if seen[e.Id.String()] {
			return fmt.Errorf("the extension %s stands twice", e.Id)
		}
		seen[e.Id.String()] = true
		switch {
		case e.Id.Equal(oidDelta):
			return errors.New("it lists only what is new (delta)")
		case e.Id.Equal(oidDistribution):
			return errors.New("it is partitioned or indirect (issuing distribution point)")
		case e.Id.Equal(oidExpired):
			if rest, err := asn1.UnmarshalWithParams(e.Value, &l.expired, "generalized"); err != nil || len(rest) > 0 {
				return errors.New("expiredCertsOnCRL is malformed")
			}
		case e.Critical && !e.Id.Equal(oidAuthorityKey) && !e.Id.Equal(oidNumber):
			return fmt.Errorf("the critical extension %s is not known", e.Id)
		}
	}
	return nil
}

func readEntry(r *x509.RevocationListEntry) (entry, error) {
	out := entry{at: r.RevocationTime}
	seen := map[string]bool{}
	for _, e := range r.Extensions {
		if seen[e.Id.String()] {
			return out, fmt.Errorf("the extension %s stands twice", e.Id)
		}
		seen[e.Id.String()] = true
		switch {
		case e.Id.Equal(oidReason):
			var reason asn1.Enumerated
			rest, err := asn1.Unmarshal(e.Value, &reason)
			if err != nil || len(rest) > 0 || reason < 0 || reason > maxReason || reason == reasonUnused ||
				reason == reasonNotDelta {
				return out, errors.New("the reason is not one of a whole list")
			}
			out.reason = int(reason)
		case e.Id.Equal(oidInvalidity):
			rest, err := asn1.UnmarshalWithParams(e.Value, &out.invalid, "generalized")
			if err != nil || len(rest) > 0 || out.invalid.IsZero() {
				return out, errors.New("the invalidity date is malformed")
			}
		case e.Id.Equal(oidIndirect):
			return out, errors.New("it is about a certificate of another issuer (indirect)")
		case e.Critical:
			return out, fmt.Errorf("the critical extension %s is not known", e.Id)
		}
	}
	return out, nil
}

// until returns before which moment a signature counts by a certificate that was revoked; zero
// if none does (SPEC 17.5).
func (e *entry) until() time.Time {
	switch {
	case !slices.Contains(harmless, e.reason) && e.invalid.IsZero():
		return time.Time{}
	case e.invalid.IsZero() || e.at.Before(e.invalid):
		return e.at
	}
	return e.invalid
}

// Revoked returns why a signature by a certificate, which was made by all of the trusted times,
// does not count: a certificate on each path that counts was revoked, or it is not known whether
// one was. The error has the reason CertificateRevoked or RevocationUnknown; nil if the
// signature counts. Without a time, and without a path, nothing counts.
func (a *Authority) Revoked(paths [][]*x509.Certificate, times []time.Time) error {
	if len(paths) == 0 || len(times) == 0 {
		return refuse(policy.Internal, "no path or no time")
	}
	var worst *Error
	for _, p := range paths {
		why := a.revoked(p, times)
		if why == nil {
			return nil
		}
		if worst == nil || why.Reason == policy.RevocationUnknown { // this path might count
			worst = why
		}
	}
	return worst
}

// revoked judges one path: what is revoked outweighs what is not known.
func (a *Authority) revoked(path []*x509.Certificate, times []time.Time) *Error {
	if a.unrevoked {
		return nil
	}
	var unknown *Error
	for i, c := range path[:len(path)-1] {
		known := false
		for _, l := range a.lists {
			if !bytes.Equal(l.issuer, c.RawIssuer) || !keys.Same(l.key, path[i+1].PublicKey) {
				continue
			}
			if why := l.revoked(c, times); why != nil {
				return why
			}
			known = known || l.knows(c) || a.keepsExpired
		}
		if !known && unknown == nil {
			unknown = a.unknown(c, path[i+1])
		}
	}
	return unknown
}

// knows reports whether a certificate would be on the list if it was revoked.
func (l *list) knows(c *x509.Certificate) bool {
	return !c.NotAfter.Before(l.made) || !l.expired.IsZero() && !c.NotAfter.Before(l.expired)
}

// revoked returns why a certificate does not count for signatures that were made by the times.
func (l *list) revoked(c *x509.Certificate, times []time.Time) *Error {
	for _, e := range l.entries[string(c.SerialNumber.Bytes())] {
		until := e.until()
		for _, t := range times {
			switch {
			case until.IsZero():
				return refuse(policy.CertificateRevoked,
					"%q, serial number %x, was revoked %s, and the list does not say that its key was in nobody else's hands "+
						"before (reason %d)",
					clip.Text(c.Subject.String()), c.SerialNumber, spelling.Stamp(e.at), e.reason)
			case !t.Before(until):
				return refuse(policy.CertificateRevoked,
					"%q, serial number %x, counts for nothing from %s on, and this was signed %s",
					clip.Text(c.Subject.String()), c.SerialNumber, spelling.Stamp(until), spelling.Stamp(t))
			}
		}
	}
	return nil
}

// unknown says why it is not known whether a certificate was revoked.
func (a *Authority) unknown(c, issuer *x509.Certificate) *Error {
	for _, l := range a.lists {
		if bytes.Equal(l.issuer, c.RawIssuer) && keys.Same(l.key, issuer.PublicKey) {
			return refuse(policy.RevocationUnknown, "%q expired %s, and the list of %s need not keep it: a signature by it "+
				"counts if the list says expiredCertsOnCRL, or the trust root keeps-expired",
				clip.Text(c.Subject.String()), spelling.Stamp(c.NotAfter), a.Issuer)
		}
	}
	why := "none is listed"
	if n := len(a.faults); n > 0 {
		why = strings.Join(a.faults[:min(n, maxFaultDetails)], "; ")
	}
	return refuse(policy.RevocationUnknown, "no current list of revoked certificates by %q: %s",
		clip.Text(issuer.Subject.String()), why)
}
