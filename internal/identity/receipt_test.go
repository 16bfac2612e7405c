// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

const receiptSchema = "https://example.com/receipt-v1.json"

func receipt(change func(*Receipt)) *Receipt {
	d := "sha256:" + strings.Repeat("d", 64)
	r := &Receipt{
		Schema: receiptSchema, Repository: "https://github.com/acme/widget", Tag: "v1", Commit: strings.Repeat("a", 40),
		PolicyVersion: 3, Policy: d, Statement: d,
		Stage: "sign", Identity: "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1",
		Issuer: "https://token.actions.githubusercontent.com",
		Run:    "7", Attempt: "1", Audience: oidc.Audience, Issued: tokenTime, Expires: tokenTime.Add(MaxLifetime),
		Artifacts: []ReceiptArtifact{{"widget.tar.gz", d, "ci"}, {"later.txt", "", "ci"}},
	}
	if change != nil {
		change(r)
	}
	return r
}

// TestReceipt: an authorisation for one release, commit, policy or run is none
// for another, nor for later.
func TestReceipt(t *testing.T) {
	other := "sha256:" + strings.Repeat("e", 64)
	for name, c := range map[string]struct {
		later func(*Receipt)
		at    time.Duration
		fails bool
	}{
		"the same":           {nil, time.Minute, false},
		"published later":    {func(r *Receipt) { r.Stage = "publish" }, 5 * time.Minute, false},
		"one of the two":     {func(r *Receipt) { r.Artifacts = r.Artifacts[:1] }, 0, false},
		"a file that is new": {func(r *Receipt) { r.Artifacts[1].Digest = other }, 0, false},
		"another job of it":  {func(r *Receipt) { r.Identity += "x" }, 0, false},
		"another tag":        {func(r *Receipt) { r.Tag = "v1.0.1" }, 0, true},
		"another commit":     {func(r *Receipt) { r.Commit = strings.Repeat("b", 40) }, 0, true},
		"another repository": {func(r *Receipt) { r.Repository += "x" }, 0, true},
		"another policy":     {func(r *Receipt) { r.Policy = other }, 0, true},
		"another statement":  {func(r *Receipt) { r.Statement = other }, 0, true},
		"another version":    {func(r *Receipt) { r.PolicyVersion++ }, 0, true},
		"another run":        {func(r *Receipt) { r.Run = "8" }, 0, true},
		"another attempt":    {func(r *Receipt) { r.Attempt = "2" }, 0, true},
		"another audience":   {func(r *Receipt) { r.Audience = "sigstore" }, 0, true},
		"another issuer":     {func(r *Receipt) { r.Issuer += "/x" }, 0, true},
		"another digest":     {func(r *Receipt) { r.Artifacts[0].Digest = other }, 0, true},
		"digest gone":        {func(r *Receipt) { r.Artifacts[0].Digest = "" }, 0, true},
		"another file":       {func(r *Receipt) { r.Artifacts[0].Name = "other.tar.gz" }, 0, true},
		"expired":            {nil, MaxLifetime, true},
		"from the future":    {nil, -2 * time.Minute, true},
		"an earlier stage":   {func(r *Receipt) { r.Stage = "preflight" }, 0, true},
	} {
		err := receipt(nil).Covers(receipt(c.later), tokenTime.Add(c.at))
		var r *Refusal
		if (err != nil) != c.fails || err != nil && (!errors.As(err, &r) || r.Reason != policy.ReceiptMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	person := func(r *Receipt) { r.Run, r.Attempt, r.Identity = "", "", "alice@example.com" }
	if err := receipt(person).Covers(receipt(func(r *Receipt) { person(r); r.Identity = "bob@example.com" }),
		tokenTime); err == nil {
		t.Error("another person's receipt")
	}
}

func TestParseReceipt(t *testing.T) {
	data, err := json.Marshal(receipt(nil))
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	got, err := ParseReceipt(data, receiptSchema)
	if d := cmp.Diff(receipt(nil), got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	for name, bad := range map[string]string{
		"empty": "", "null": "null", "a list": "[]", "cut": good[:len(good)-1], "trailing": good + "{}",
		"a key twice":       strings.Replace(good, `"tag":`, `"tag":"v2","tag":`, 1),
		"an unknown key":    strings.Replace(good, `"tag":`, `"more":1,"tag":`, 1),
		"a key in case":     strings.Replace(good, `"tag":`, `"TAG":`, 1),
		"both cases":        strings.Replace(good, `"tag":`, `"Tag":"v2","tag":`, 1),
		"no tag":            strings.Replace(good, `"tag":"v1",`, ``, 1),
		"a null tag":        strings.Replace(good, `"tag":"v1"`, `"tag":null`, 1),
		"a number for text": strings.Replace(good, `"tag":"v1"`, `"tag":1`, 1),
		"another schema":    strings.Replace(good, "receipt-v1", "receipt-v2", 1),
		"a long life": strings.Replace(good, tokenTime.Add(MaxLifetime).Format(time.RFC3339),
			tokenTime.Add(time.Hour).Format(time.RFC3339), 1),
		"no life": strings.Replace(good, tokenTime.Add(MaxLifetime).Format(time.RFC3339),
			tokenTime.Format(time.RFC3339), 1),
		"too many files": strings.Replace(good, `"artifacts":[`,
			`"artifacts":[`+strings.Repeat(`{"name":"x","rule":"r"},`, maxReceiptArtifacts), 1),
		"bad UTF-8": strings.Replace(good, `"tag":"v1"`, "\"tag\":\"v\xff\"", 1),
		"oversized": good + strings.Repeat(" ", MaxReceiptBytes),
	} {
		var r *Refusal
		if got, err := ParseReceipt([]byte(bad), receiptSchema); got != nil || !errors.As(err, &r) ||
			r.Reason != policy.ReceiptInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReceipt: what is parsed encodes to what is parsed again, and covers nothing
// after its end.
func FuzzReceipt(f *testing.F) {
	data, err := json.Marshal(receipt(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReceipt(data, receiptSchema)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if r2, err := ParseReceipt(again, receiptSchema); err != nil || cmp.Diff(r, r2) != "" {
			t.Fatalf("%v: %s", err, cmp.Diff(r, r2))
		}
		if r.Covers(r, r.Expires) == nil {
			t.Fatal("good after its end")
		}
	})
}
