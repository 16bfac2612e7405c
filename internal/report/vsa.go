// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// A SLSA verification summary attestation v1, as an in-toto statement that
// nobody has signed yet. https://slsa.dev/spec/v1.0/verification_summary
const (
	StatementType = "https://in-toto.io/Statement/v1"
	VSAType       = "https://slsa.dev/verification_summary/v1"
	vsaSLSA       = "1.0" // version of the specification that the fields follow

	// LevelReleaser is the level of an allowed release: a policy of format v1
	// names its signer for it. It claims nothing about how it was built, so it
	// is none of SLSA's levels; the specification leaves such names to verifiers.
	LevelReleaser = "REPOPOLICY_RELEASER_V1"
)

type VSA struct {
	Type          string        `json:"_type"`
	Subject       []vsaResource `json:"subject"`
	PredicateType string        `json:"predicateType"`
	Predicate     vsaPredicate  `json:"predicate"`
}

// vsaResource is an in-toto ResourceDescriptor.
type vsaResource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest"`
}

type vsaPredicate struct {
	Verifier     vsaVerifier   `json:"verifier"`
	TimeVerified time.Time     `json:"timeVerified"`
	ResourceURI  string        `json:"resourceUri"`
	Policy       vsaResource   `json:"policy"`
	Inputs       []vsaResource `json:"inputAttestations,omitempty"`
	Result       string        `json:"verificationResult"`
	Levels       []string      `json:"verifiedLevels"`
	SLSAVersion  string        `json:"slsaVersion"`
}

type vsaVerifier struct {
	ID string `json:"id"`
}

// NewVSA returns the report, which must name a policy, as one statement about all
// artifacts whose digest is known: PASSED if every artifact is allowed, else
// FAILED. Where no digest is known there is no such statement. The time is that
// as of which was judged, so that nothing looks fresher than it is.
func NewVSA(r *Report) (*VSA, error) {
	p := r.Criteria.Policy
	alg, hx, _ := strings.Cut(p.Digest, ":")
	s := &VSA{
		Type: StatementType, PredicateType: VSAType,
		Predicate: vsaPredicate{
			Verifier:     vsaVerifier{"https://" + spelling.Name},
			TimeVerified: r.Criteria.AsOf, ResourceURI: p.Repository,
			Policy: vsaResource{URI: policyURI(p), Digest: map[string]string{alg: hx}},
			Result: "FAILED", Levels: []string{"FAILED"}, SLSAVersion: vsaSLSA,
		},
	}
	passed := r.Exit == policy.ClassOK.Exit()
	var evidence []*Evidence
	seen := map[string]bool{}
	for i := range r.Artifacts {
		x := &r.Artifacts[i]
		passed = passed && x.Permitted && len(x.Digests) > 0
		if len(x.Digests) > 0 {
			s.Subject = append(s.Subject, vsaResource{Name: x.Artifact, Digest: x.Digests.object()})
		}
		if ev := x.Evidence; ev != nil && !seen[ev.Path] {
			seen[ev.Path] = true
			evidence = append(evidence, ev)
		}
	}
	if len(s.Subject) == 0 {
		return nil, &policy.Fault{
			Reason: r.Artifacts[0].Reason,
			Text:   "--format vsa: no digest of any artifact is known, so a verification summary would be about nothing",
		}
	}
	s.Predicate.Inputs = InputAttestations(evidence)
	if passed {
		s.Predicate.Result, s.Predicate.Levels = "PASSED", []string{LevelReleaser}
	}
	return s, nil
}

// policyURI names the policy: its file, or the repository's own.
func policyURI(p *PolicySummary) string {
	if p.Path == "" {
		return p.Repository + "#" + bindings.PolicyFile
	}
	return fileURI(p.Path)
}

// InputAttestations returns the files of evidence with the digests of what was read
// of them. The specification wants all of them or none, so one that is no file (a Git
// object, an image in a layout) leaves none.
func InputAttestations(evidence []*Evidence) []vsaResource {
	var out []vsaResource
	for _, ev := range evidence {
		sum, ok := strings.CutPrefix(ev.Digest, "sha256:")
		if !ok {
			return nil
		}
		uri := ev.Path
		if !fetch.IsURL(uri) {
			uri = fileURI(uri)
		}
		out = append(out, vsaResource{URI: uri, Digest: map[string]string{"sha256": sum}})
	}
	return out
}

func Sum256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
