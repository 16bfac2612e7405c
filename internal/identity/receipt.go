// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	// MaxReceiptBytes is the largest receipt that is read.
	MaxReceiptBytes = 4 << 20

	maxReceiptArtifacts = 10_000
)

// Receipt says what was authorised, to whom and until when
// (schema/receipt-v1.json). Nobody signs it, so that it allows nothing: a later
// step of the same run demands with it that nothing has changed since.
type Receipt struct {
	Schema        string    `json:"schema"`
	Repository    string    `json:"repository"`
	Tag           string    `json:"tag"`    // "" if the run names none
	Commit        string    `json:"commit"` // "" if the run names none
	PolicyVersion int       `json:"policy_version"`
	Policy        string    `json:"policy_digest"`    // of the policy's text, "sha256:…"
	Statement     string    `json:"policy_statement"` // of its statement, "sha256:…"
	Stage         string    `json:"stage"`
	Identity      string    `json:"identity"`
	Issuer        string    `json:"issuer"`
	Run           string    `json:"run"`         // number of the run; "" for a person
	Attempt       string    `json:"run_attempt"` // "" where there is none
	Audience      string    `json:"audience"`
	Issued        time.Time `json:"issued"` // whole seconds, UTC
	Expires       time.Time `json:"expires"`

	Artifacts []ReceiptArtifact `json:"artifacts"`
}

// ReceiptArtifact is one artifact, with its digest if it was there.
type ReceiptArtifact struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"` // "sha256:…"
	Rule   string `json:"rule"`
}

// receiptKeys are those of a receipt, all of which are there.
var receiptKeys = []string{
	"schema", "repository", "tag", "commit", "policy_version", "policy_digest", "policy_statement", "stage", "identity",
	"issuer", "run", "run_attempt", "audience", "issued", "expires", "artifacts",
}

var receiptRules = strictjson.Rules{Known: append([]string{"name", "digest", "rule"}, receiptKeys...)}

// ParseReceipt reads a receipt strictly: exactly the keys of the schema, each
// once. The error is a [*Refusal].
func ParseReceipt(data []byte, schema string) (*Receipt, error) {
	bad := func(format string, args ...any) (*Receipt, error) {
		return nil, refusef(policy.ReceiptInvalid, format, args...)
	}
	if len(data) > MaxReceiptBytes {
		return bad("more than %d bytes", MaxReceiptBytes)
	}
	r := &Receipt{}
	if err := receiptRules.Decode(data, r); err != nil {
		return bad("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return bad("%s", err)
	}
	for _, name := range receiptKeys {
		if keys[name] == nil {
			return bad("no %s", name)
		}
	}
	switch {
	case r.Schema != schema:
		return bad("the schema is %q", clip.Text(r.Schema))
	case len(r.Artifacts) > maxReceiptArtifacts:
		return bad("more than %d artifacts", maxReceiptArtifacts)
	case r.Expires.Sub(r.Issued) > MaxLifetime || !r.Issued.Before(r.Expires):
		return bad("it is not issued before it expires, %s later at most", MaxLifetime)
	}
	return r, nil
}

// Covers reports in what a later authorisation is not what the receipt was made
// for. Its stage may be later, and each of its artifacts must be one of the
// receipt's, with the same digest where the receipt has one. The error is a
// [*Refusal].
func (r *Receipt) Covers(later *Receipt, now time.Time) error {
	no := func(format string, args ...any) error { return refusef(policy.ReceiptMismatch, format, args...) }
	for _, f := range []struct{ what, want, got string }{
		{"repository", r.Repository, later.Repository}, {"tag", r.Tag, later.Tag}, {"commit", r.Commit, later.Commit},
		{"policy", r.Statement, later.Statement}, {"policy", r.Policy, later.Policy},
		{"identity's issuer", r.Issuer, later.Issuer},
		{"run", r.Run, later.Run}, {"run attempt", r.Attempt, later.Attempt}, {"audience", r.Audience, later.Audience},
	} {
		if f.want != f.got {
			return no("its %s is %q, now it is %q", f.what, clip.Text(f.want), clip.Text(f.got))
		}
	}
	switch {
	case r.PolicyVersion != later.PolicyVersion:
		return no("it is of version %d of the policy, now it is version %d", r.PolicyVersion, later.PolicyVersion)
	case r.Run == "" && r.Identity != later.Identity:
		return no("it is for %q, now it is %q", clip.Text(r.Identity), clip.Text(later.Identity))
	case now.Before(r.Issued.Add(-maxClockSkew)):
		return no("it was issued in the future, at %s", r.Issued.Format(time.RFC3339))
	case !now.Before(r.Expires):
		return no("it expired at %s", r.Expires.Format(time.RFC3339))
	case stageRank[r.Stage] == 0 || stageRank[r.Stage] > stageRank[later.Stage]:
		return no("it is of the stage %q, now it is %q", clip.Text(r.Stage), clip.Text(later.Stage))
	}
	for _, a := range later.Artifacts {
		i := slices.IndexFunc(r.Artifacts, func(b ReceiptArtifact) bool { return b.Name == a.Name })
		switch {
		case i < 0:
			return no("it does not name %q", clip.Text(a.Name))
		case r.Artifacts[i].Digest != "" && r.Artifacts[i].Digest != a.Digest:
			return no("%q had the digest %s, now it has %q", clip.Text(a.Name), clip.Text(r.Artifacts[i].Digest),
				clip.Text(a.Digest))
		}
	}
	return nil
}

var stageRank = map[string]int{string(policy.StageSign): 1, string(policy.StagePublish): 2}
