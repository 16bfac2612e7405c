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

	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	payloadInToto = "application/vnd.in-toto+json"
	statementV01  = "https://in-toto.io/Statement/v0.1"
	statementV1   = "https://in-toto.io/Statement/v1"

	maxSubjects = 10_000
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
	dec := json.NewDecoder(bytes.NewReader(payload))
	m := members{}
	if err := strictjson.EachMember(dec, func(key string) error { return st.member(dec, key, &m) }); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the statement")
	}
	switch {
	case st.Type != statementV01 && st.Type != statementV1:
		return nil, fmt.Errorf("statement type %q is not known", st.Type)
	case !m.predicateType: // it may be empty: container-based SLSA builders wrote that
		return nil, errors.New("no predicateType")
	case len(st.Subjects) == 0:
		return nil, errors.New("no subject")
	}
	if err := st.readPredicate(m.predicate); err != nil {
		return nil, fmt.Errorf("predicate: %w", err)
	}
	return st, nil
}

// members are what was there of a statement, and what is read last.
type members struct {
	typed, predicateType bool
	predicate            json.RawMessage
}

func (st *Statement) member(dec *json.Decoder, key string, m *members) error {
	switch key {
	case "_type", "type": // the protobuf form of a statement reads both
		if m.typed {
			return errors.New("two types")
		}
		m.typed = true
		return str(dec, &st.Type)
	case "predicateType":
		m.predicateType = true
		return str(dec, &st.PredicateType)
	case "subject":
		return strictjson.EachElement(dec, func() error { return st.subject(dec) })
	case "predicate":
		return dec.Decode(&m.predicate)
	}
	return strictjson.Skip(dec)
}

// readPredicate reads the predicates that are looked at.
func (st *Statement) readPredicate(raw json.RawMessage) (err error) {
	if st.PredicateType == PredicateGitHubRelease {
		st.GitHubRelease, err = parseGitHubRelease(raw)
		return err
	}
	key := resultKeys[st.PredicateType]
	if key == "" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	err = strictjson.EachMember(dec, func(name string) error {
		if name == key {
			return str(dec, &st.Result)
		}
		return strictjson.Skip(dec)
	})
	if err == nil && st.Result == "" {
		err = fmt.Errorf("no %s", key)
	}
	return err
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
	err := strictjson.EachMember(dec, func(key string) error {
		switch key {
		case "name":
			return str(dec, &sub.Name)
		case "digest":
			return strictjson.EachMember(dec, func(alg string) error {
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
		return strictjson.Skip(dec)
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
	err := strictjson.EachMember(dec, func(key string) error {
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
		return strictjson.Skip(dec)
	})
	return rel, err
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
