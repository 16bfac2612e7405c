// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Ours judges a bundle with our own verification, under the same rules as [Root.Verify].
func Ours(r *sigstore.Root, data []byte, digest policy.Digest, key *sigstore.Key, unlogged bool) (*Facts, error) {
	b, err := sigstore.ParseBundle(data)
	if err != nil {
		return nil, err
	}
	v, err := b.Verify(r, digest, key, sigstore.Options{Unlogged: unlogged})
	if err != nil {
		return nil, err
	}
	f := &Facts{Signer: v.Signer.Value + " by " + v.Signer.Issuer}
	if key != nil {
		f.Signer = "key"
	}
	for _, t := range v.Times {
		f.Times = append(f.Times, timeFact(t.Source, t.Time, t.URI))
	}
	for _, e := range v.Entries {
		f.Entries = append(f.Entries, fmt.Sprintf("%s %d promised %d, index %d, body %s", e.LogID, e.Generation,
			e.PromisedIndex, e.TreeIndex, e.Body))
	}
	return f.sorted(), nil
}

// stricter are the ways in which we refuse what the library takes, by the reason and a part of the
// text. docs/design/011 says of each why.
var stricter = []struct {
	reason policy.Reason
	text   string
	why    string
}{
	{policy.BundleInvalid, "not a bundle: ", "form of JSON"},
	{policy.BundleInvalid, "media type ", "media type"},
	{policy.BundleInvalid, "the body of the entry does not have the form", "form of a body"},
	{policy.BundleInvalid, "an entry of kind ", "kind of an entry"},
	{policy.BundleInvalid, "without log, index, kind or body", "form of an entry"},
	{policy.BundleInvalid, "an envelope has exactly one signature", "count of signatures"},
	{policy.BundleInvalid, "negative time", "form of an entry"},
	{policy.BundleInvalid, "an empty signature", "form of a signature"},
	{policy.BundleInvalid, "digest algorithm ", "digest of a message"},
	{policy.BundleInvalid, " digest of ", "digest of a message"},
	{policy.BundleTooLarge, "", "limits"},
	{policy.StatementInvalid, "", "statements"},
	{policy.NeedsNewerVersion, "", "algorithms of tomorrow"},
	{policy.LogFields, "", "fields of an entry"},
	{policy.LogInvalid, "checkpoint: ", "form of a checkpoint"},
	{policy.LogInvalid, "with numbers that no log has", "numbers of a promise"},
	{policy.CertificateBad, "", "profile of certificates"},
	{policy.CertificateChain, "", "paths"},
	{policy.SCTInvalid, "", "SCTs"},
	{policy.TimeInvalid, "time stamp: ", "form of a time stamp"},
	{policy.TimeInvalid, "when the trusted root did not trust this log", "windows of logs"},
}

// Verdict is how two judgements differ.
type Verdict struct {
	Same     bool
	Accepted bool   // by ours
	Asked    bool   // the library was asked about what we refuse
	Stricter string // why ours refuses what the library takes, if that is listed
	Text     string // both, where they differ
}

// Compare compares judgements of one bundle. Facts that are lost because an entry or a time stamp
// is read more strictly are a stricter judgement; others are none.
func Compare(ours *Facts, err error, theirs *Facts, theirErr error) Verdict {
	text := fmt.Sprintf("ours: %+v, %v\nsigstore-go: %+v, %v", ours, err, theirs, theirErr)
	switch {
	case err != nil && theirErr != nil:
		return Verdict{Same: true, Asked: true}
	case err == nil && theirErr != nil:
		return Verdict{Text: "we accept what the library refuses\n" + text}
	case err == nil:
		return compareFacts(ours, theirs, text)
	}
	var e *sigstore.Error
	if !errors.As(err, &e) {
		return Verdict{Text: "not a plain refusal\n" + text}
	}
	for _, s := range stricter {
		if s.reason == e.Reason && strings.Contains(e.Error(), s.text) {
			return Verdict{Stricter: s.why, Text: text}
		}
	}
	return Verdict{Text: "we refuse what the library accepts, and do not say why\n" + text}
}

func compareFacts(ours, theirs *Facts, text string) Verdict {
	switch {
	case reflect.DeepEqual(ours, theirs):
		return Verdict{Same: true, Accepted: true}
	case ours.Signer == theirs.Signer && within(ours.Times, theirs.Times) && within(ours.Entries, theirs.Entries):
		return Verdict{Accepted: true, Stricter: "an entry or time stamp counts as absent", Text: text}
	}
	return Verdict{Text: "other facts\n" + text}
}

// within reports whether all of some facts are among others.
func within(some, all []string) bool {
	has := map[string]bool{}
	for _, f := range all {
		has[f] = true
	}
	for _, f := range some {
		if !has[f] {
			return false
		}
	}
	return true
}

// Both judges a bundle by ours and by the library; of a bundle that we refuse the library is asked
// only for all.
func Both(
	r *sigstore.Root, theirs *Root, key *sigstore.Key, data []byte, digest policy.Digest, unlogged, all bool,
) Verdict {
	ours, err := Ours(r, data, digest, key, unlogged)
	if err != nil && !all {
		return Verdict{Same: true}
	}
	facts, theirErr := theirs.Verify(data, digest, unlogged)
	v := Compare(ours, err, facts, theirErr)
	if err == nil && theirErr != nil {
		// A time stamp that we read more strictly counts as absent; so it could be left out.
		for _, less := range without(data) {
			if facts, err := theirs.Verify(less, digest, unlogged); err == nil && reflect.DeepEqual(ours, facts) {
				return Verdict{Accepted: true, Stricter: "an entry or time stamp counts as absent", Text: v.Text}
			}
		}
	}
	if v.Same || v.Stricter != "" || theirErr != nil || err == nil {
		return v
	}
	for _, one := range alone(data) { // the reason is that of the last entry
		ours, err := Ours(r, one, digest, key, unlogged)
		facts, theirErr := theirs.Verify(one, digest, unlogged)
		if w := Compare(ours, err, facts, theirErr); w.Stricter != "" {
			return w
		}
	}
	return v
}

// without returns a bundle without each of its time stamps.
func without(data []byte) (out [][]byte) {
	for i := 0; ; i++ {
		doc, err := Decode(data)
		d, _ := doc.(map[string]any)
		m, _ := d["verificationMaterial"].(map[string]any)
		t, _ := m["timestampVerificationData"].(map[string]any)
		stamps, _ := t["rfc3161Timestamps"].([]any)
		if err != nil || i >= len(stamps) {
			return out
		}
		t["rfc3161Timestamps"] = append(stamps[:i:i], stamps[i+1:]...)
		less, err := json.Marshal(doc)
		if err != nil {
			return out
		}
		out = append(out, less)
	}
}

// alone returns a bundle with each of its log entries alone.
func alone(data []byte) (out [][]byte) {
	for i := 0; ; i++ {
		doc, err := Decode(data)
		d, _ := doc.(map[string]any)
		m, _ := d["verificationMaterial"].(map[string]any)
		entries, _ := m["tlogEntries"].([]any)
		if err != nil || i >= len(entries) {
			return out
		}
		m["tlogEntries"] = entries[i : i+1]
		for _, version := range []string{"0.1", "0.2"} {
			d["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=" + version
			one, err := json.Marshal(doc)
			if err != nil {
				return out
			}
			out = append(out, one)
		}
	}
}
