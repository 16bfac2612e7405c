// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	maxTokenBytes = 64 << 10
	// A clock may be so far ahead of the issuer's.
	maxClockSkew = time.Minute
	// maxDate is the end of the year 9999, the last that RFC 3339 can write.
	maxDate = 253402300799
	// MaxLifetime is how long a token may be good for, from when it was issued.
	MaxLifetime = 10 * time.Minute

	maxHeaderBytes = 8 << 10
	maxClaims      = 200
	maxClaimDepth  = 8
	maxClaimBytes  = 4 << 10
)

// Algorithms are the signature algorithms that are taken (RFC 7518): public keys
// only, so that nothing that an issuer publishes can make a token.
var Algorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}

// Refusal is why a token is not taken.
type Refusal struct {
	Reason policy.Reason
	Text   string
}

// Error returns what is wrong.
func (r *Refusal) Error() string { return r.Text }

func refusef(reason policy.Reason, format string, args ...any) error {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}

// Unverified is a token of which nobody has checked the signature.
type Unverified struct {
	Raw                string
	Algorithm, KeyID   string
	Issuer, Subject    string
	Audience           []string
	Expires, NotBefore time.Time // NotBefore is zero if the token does not say
	IssuedAt           time.Time
	values             map[string]any
}

// ParseToken reads a signed JSON Web Token in its compact form (RFC 7515 and
// 7519) strictly: three parts of unpadded base64url, header and claims one JSON
// object each without a key that stands twice, an algorithm of [Algorithms], no
// key or address of one in the header, text where the registered claims want it.
// The error is a [*Refusal].
func ParseToken(raw string) (*Unverified, error) {
	bad := func(format string, args ...any) (*Unverified, error) {
		return nil, refusef(policy.TokenInvalid, format, args...)
	}
	header, claims, err := decodeToken(raw)
	if err != nil {
		return bad("%s", err)
	}
	t := &Unverified{Raw: raw}
	if err := t.readHeader(header); err != nil {
		return bad("%s", err)
	}
	if t.values, err = strictObject(claims); err != nil {
		return bad("the token's claims: %s", err)
	}
	if err := t.readClaims(); err != nil {
		return bad("%s", err)
	}
	return t, nil
}

// decodeToken returns the header and the claims of a token as JSON.
func decodeToken(raw string) (header, claims []byte, err error) {
	malformed := errors.New("not a signed JSON Web Token")
	if len(raw) > maxTokenBytes {
		return nil, nil, fmt.Errorf("a token of %d bytes, at most %d are read", len(raw), maxTokenBytes)
	}
	if strings.Count(raw, ".") != 2 || strings.ContainsAny(raw, "\r\n") { // which base64 would skip
		return nil, nil, malformed
	}
	var decoded [3][]byte
	for i, p := range strings.Split(raw, ".") {
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(p); err != nil || len(decoded[i]) == 0 {
			return nil, nil, malformed
		}
	}
	return decoded[0], decoded[1], nil
}

// readHeader reads the algorithm and the name of the key.
func (t *Unverified) readHeader(data []byte) error {
	if len(data) > maxHeaderBytes {
		return fmt.Errorf("the token's header has %d bytes, at most %d are read", len(data), maxHeaderBytes)
	}
	header, err := strictObject(data)
	if err != nil {
		return fmt.Errorf("the token's header: %w", err)
	}
	t.Algorithm, _ = header["alg"].(string)
	t.KeyID, _ = header["kid"].(string)
	if !slices.Contains(Algorithms, t.Algorithm) {
		return fmt.Errorf("tokens with the algorithm %q are not taken", clip.Text(t.Algorithm))
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "zip", "enc"} {
		if _, ok := header[name]; ok {
			return fmt.Errorf("the token's header has %q: keys come from the issuer alone, "+
				"and extensions are not known", name)
		}
	}
	return nil
}

// readClaims reads the registered claims (RFC 7519, section 4.1).
func (t *Unverified) readClaims() error {
	if err := t.readText("iss", &t.Issuer); err != nil {
		return err
	}
	if err := t.readText("sub", &t.Subject); err != nil {
		return err
	}
	switch aud := t.values["aud"].(type) {
	case string:
		t.Audience = []string{aud}
	case []any:
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				return errors.New("the claim aud is not text")
			}
			t.Audience = append(t.Audience, s)
		}
	default:
		return errors.New("the claim aud is missing or not text")
	}
	if err := t.readTime("exp", &t.Expires); err != nil {
		return err
	}
	if err := t.readTime("iat", &t.IssuedAt); err != nil {
		return err
	}
	if _, ok := t.values["nbf"]; !ok {
		return nil
	}
	return t.readTime("nbf", &t.NotBefore)
}

func (t *Unverified) readText(name string, to *string) error {
	v, ok := t.values[name].(string)
	if !ok || v == "" || len(v) > maxClaimBytes {
		return fmt.Errorf("the claim %s is not text", name)
	}
	*to = v
	return nil
}

func (t *Unverified) readTime(name string, to *time.Time) error {
	n, ok := t.values[name].(json.Number)
	if !ok {
		return fmt.Errorf("the claim %s is missing or not a number", name)
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 0 || f > maxDate {
		return fmt.Errorf("the claim %s is not a time", name)
	}
	*to = time.Unix(int64(f), 0).UTC()
	return nil
}

// Check reports why a token must not be taken for an audience at a moment,
// whoever signed it: it is not for that audience alone, not yet or no longer
// valid, or good for too long. The error is a [*Refusal].
func (t *Unverified) Check(i Issuer, audience string, now time.Time) error {
	no := func(format string, args ...any) error { return refusef(policy.TokenRefused, format, args...) }
	end := t.Expires
	switch latest := t.IssuedAt.Add(MaxLifetime); {
	case t.For(audience) != nil:
		return t.For(audience)
	case !t.Expires.After(t.IssuedAt):
		return no("it expires before it is issued")
	case !t.NotBefore.IsZero() && t.NotBefore.After(now.Add(maxClockSkew)):
		return no("it is not valid before %s", t.NotBefore.Format(time.RFC3339))
	case t.IssuedAt.After(now.Add(maxClockSkew)):
		return no("it was issued in the future, at %s", t.IssuedAt.Format(time.RFC3339))
	case t.Expires.After(latest) && !i.LongLived:
		return no("it is good for %s, at most %s are taken", t.Expires.Sub(t.IssuedAt), MaxLifetime)
	case t.Expires.After(latest):
		end = latest
	}
	if !now.Before(end.Add(maxClockSkew)) {
		return no("it expired at %s", end.Format(time.RFC3339))
	}
	return nil
}

// For is the error that the token says that it is for somebody else, too, or only. That
// can be known before anybody is asked about the token.
func (t *Unverified) For(audience string) error {
	if len(t.Audience) != 1 || t.Audience[0] != audience {
		return refusef(policy.TokenRefused, "it is for %q, not for %q alone", t.Audience, audience)
	}
	return nil
}

// End returns when the token is no longer taken.
func (t *Unverified) End() time.Time {
	if latest := t.IssuedAt.Add(MaxLifetime); t.Expires.After(latest) {
		return latest
	}
	return t.Expires
}

// text returns a claim as Fulcio writes it into a certificate, "" if the token
// has none. What is neither text nor a truth value nor a whole number is an
// error, as is text that could not be an identity.
func (t *Unverified) text(name string) (string, error) {
	switch v := t.values[name].(type) {
	case nil:
		return "", nil
	case string:
		if len(v) > maxClaimBytes ||
			strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
			return "", refusef(policy.TokenInvalid, "the claim %s is too long or has control characters", name)
		}
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && n >= 0 && n < 1<<53 {
			return strconv.FormatInt(n, 10), nil
		}
	}
	return "", refusef(policy.TokenInvalid, "the claim %s is not text", name)
}

// strictObject decodes one JSON object in which no key stands twice, at any
// depth, with numbers as they are written.
func strictObject(data []byte) (map[string]any, error) {
	if !json.Valid(data) || bytes.ContainsRune(data, '\ufffd') {
		return nil, errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	n := 0
	v, err := strictValue(dec, 0, &n)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not an object")
	}
	return m, nil
}

func strictValue(dec *json.Decoder, depth int, n *int) (any, error) {
	if *n++; *n > maxClaims*maxClaimDepth || depth > maxClaimDepth {
		return nil, errors.New("too many or too deep values")
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		out := map[string]any{}
		return out, strictjson.RestOfObject(dec, func(name string) (err error) {
			out[name], err = strictValue(dec, depth+1, n)
			return err
		})
	case json.Delim('['):
		out := []any{}
		return out, strictjson.RestOfArray(dec, func() error {
			v, err := strictValue(dec, depth+1, n)
			out = append(out, v)
			return err
		})
	}
	return tok, nil
}
