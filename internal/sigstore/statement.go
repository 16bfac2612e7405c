// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/policy"
)

const (
	payloadInToto = "application/vnd.in-toto+json"
	statementV01  = "https://in-toto.io/Statement/v0.1"
	statementV1   = "https://in-toto.io/Statement/v1"

	maxSubjects = 1024
	maxDigests  = 32 // of one subject
	maxName     = 4 << 10

	// PredicateGitHubRelease is the type of GitHub's immutable-release
	// attestations.
	PredicateGitHubRelease = "https://in-toto.io/attestation/release/v0.1"
)

// digestHexLen are the digest algorithms of a subject that are compared, with
// the number of their hex digits. Others are carried but match nothing.
var digestHexLen = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128, "sha1": 40, "gitCommit": 40, "gitTag": 40}

// Statement is the part of an in-toto statement that is judged.
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
type Statement struct {
	Type          string
	PredicateType string
	Subjects      []Subject
	GitHubRelease *policy.GitHubRelease // nil but for that predicate type
	// Result is the verdict that the predicate itself gives, "" for predicate
	// types without one: a SLSA verification summary or an in-toto test result,
	// of which only "PASSED" speaks for its subjects.
	Result string

	byDigest map[policy.Digest][]int // indexes into Subjects
}

// Subject is one thing that a statement is about.
type Subject struct {
	Name    string // "" if the statement does not name it
	Digests []policy.Digest
}

// Find returns the subjects that have the digest.
func (s *Statement) Find(d policy.Digest) []Subject {
	var out []Subject
	for _, i := range s.byDigest[d] {
		out = append(out, s.Subjects[i])
	}
	return out
}

// parseStatement reads a statement strictly: keys are matched exactly, a key
// that stands twice, an unknown statement type, a subject without digest and a
// digest of the wrong length are errors. The predicate is not looked at, except
// GitHub's.
func parseStatement(payload []byte) (*Statement, error) {
	if !utf8.Valid(payload) {
		return nil, errors.New("not UTF-8")
	}
	st := &Statement{byDigest: map[policy.Digest][]int{}}
	var predicate json.RawMessage
	var subjects, typed, predicateType bool
	dec := json.NewDecoder(bytes.NewReader(payload))
	err := object(dec, func(key string) error {
		switch key {
		case "_type", "type": // the protobuf form of a statement reads both
			if typed {
				return errors.New("two types")
			}
			typed = true
			return str(dec, &st.Type)
		case "predicateType":
			predicateType = true
			return str(dec, &st.PredicateType)
		case "subject":
			subjects = true
			return array(dec, func() error { return st.subject(dec) })
		case "predicate":
			return dec.Decode(&predicate)
		}
		var skip json.RawMessage
		return dec.Decode(&skip)
	})
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the statement")
	}
	switch {
	case st.Type != statementV01 && st.Type != statementV1:
		return nil, fmt.Errorf("statement type %q is not known", st.Type)
	case !predicateType: // it may be empty: container-based SLSA builders wrote that
		return nil, errors.New("no predicateType")
	case !subjects || len(st.Subjects) == 0:
		return nil, errors.New("no subject")
	}
	if st.PredicateType == PredicateGitHubRelease {
		if st.GitHubRelease, err = parseGitHubRelease(predicate); err != nil {
			return nil, fmt.Errorf("predicate: %w", err)
		}
	}
	if key := resultKeys[st.PredicateType]; key != "" {
		dec := json.NewDecoder(bytes.NewReader(predicate))
		err := object(dec, func(name string) error {
			if name == key {
				return str(dec, &st.Result)
			}
			var skip json.RawMessage
			return dec.Decode(&skip)
		})
		if err == nil && st.Result == "" {
			err = fmt.Errorf("no %s", key)
		}
		if err != nil {
			return nil, fmt.Errorf("predicate: %w", err)
		}
	}
	return st, nil
}

// resultKeys are the predicate types that give a verdict, and where it stands.
// https://slsa.dev/spec/v1.1/verification_summary,
// https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
var resultKeys = map[string]string{
	"https://slsa.dev/verification_summary/v0.1":      "verification_result",
	"https://slsa.dev/verification_summary/v0.2":      "verificationResult",
	"https://slsa.dev/verification_summary/v1":        "verificationResult",
	"https://in-toto.io/attestation/test-result/v0.1": "result",
}

func (st *Statement) subject(dec *json.Decoder) error {
	if len(st.Subjects) == maxSubjects {
		return fmt.Errorf("more than %d subjects", maxSubjects)
	}
	var sub Subject
	var digests int
	err := object(dec, func(key string) error {
		switch key {
		case "name":
			return str(dec, &sub.Name)
		case "digest":
			return object(dec, func(alg string) error {
				if digests++; digests > maxDigests {
					return fmt.Errorf("a subject with more than %d digests", maxDigests)
				}
				var hx string
				if err := str(dec, &hx); err != nil {
					return err
				}
				return sub.add(alg, hx)
			})
		}
		var skip json.RawMessage
		return dec.Decode(&skip)
	})
	if err != nil {
		return err
	}
	if len(sub.Digests) == 0 {
		return errors.New("a subject without a digest")
	}
	if len(sub.Name) > maxName {
		return fmt.Errorf("a subject's name has %d bytes, at most %d are read", len(sub.Name), maxName)
	}
	for _, d := range sub.Digests {
		st.byDigest[d] = append(st.byDigest[d], len(st.Subjects))
	}
	st.Subjects = append(st.Subjects, sub)
	return nil
}

// add takes one digest. Some producers write "SHA256"; the algorithms' names
// are taken without regard to case, and two spellings must agree.
func (sub *Subject) add(alg, hx string) error {
	if l := strings.ToLower(alg); strings.HasPrefix(l, "sha") {
		alg = l
	}
	if hx == "" {
		return fmt.Errorf("an empty %s digest", alg)
	}
	n, known := digestHexLen[alg]
	d := policy.Digest{Alg: alg, Hex: strings.ToLower(hx)}
	if known && (len(hx) != n || strings.Trim(d.Hex, "0123456789abcdef") != "") {
		return fmt.Errorf("a malformed %s digest", alg)
	}
	for _, o := range sub.Digests {
		if o.Alg == d.Alg && o != d {
			return fmt.Errorf("two different %s digests of one subject", alg)
		}
	}
	sub.Digests = append(sub.Digests, d)
	return nil
}

// parseGitHubRelease reads the predicate of an immutable release. Numbers may
// be written as JSON numbers or strings.
func parseGitHubRelease(raw json.RawMessage) (*policy.GitHubRelease, error) {
	rel := &policy.GitHubRelease{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err := object(dec, func(key string) error {
		switch key {
		case "repository":
			return str(dec, &rel.Repository)
		case "tag":
			return str(dec, &rel.Tag)
		case "repositoryId":
			return number(dec, &rel.RepositoryID)
		case "ownerId":
			return number(dec, &rel.OwnerID)
		}
		var skip json.RawMessage
		return dec.Decode(&skip)
	})
	return rel, err
}

// object reads one JSON object and calls f for the value of each key.
func object(dec *json.Decoder, f func(key string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return errors.New("a key that is not text")
		}
		if seen[key] {
			return fmt.Errorf("the key %q stands twice", key)
		}
		seen[key] = true
		if err := f(key); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

func array(dec *json.Decoder, f func() error) error {
	if err := delim(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		if err := f(); err != nil {
			return err
		}
	}
	return delim(dec, ']')
}

func delim(dec *json.Decoder, want json.Delim) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("expected %q", want.String())
	}
	return nil
}

func str(dec *json.Decoder, to *string) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	s, ok := tok.(string)
	if !ok {
		return errors.New("expected text")
	}
	*to = s
	return nil
}

func number(dec *json.Decoder, to *string) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch v := tok.(type) {
	case string:
		*to = v
	case json.Number:
		*to = v.String()
	default:
		return errors.New("expected a number")
	}
	return nil
}
