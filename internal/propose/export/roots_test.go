// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"strings"
	"testing"
)

// TestRoots: no other verifier asks a trust root, so that its keys and targets are left out of
// every export but the page for people, and of a strict one refused.
func TestRoots(t *testing.T) {
	_, key := newKey(t)
	quoted := strings.ReplaceAll(key, "\n", `\n`)
	rule := func(signer string) string {
		return "\n[[release]]\nname = \"r\"\ntags = \"any\"\nartifacts = [\"ghcr.io/acme/widget\"]\n" + signer + "\n"
	}
	entry := `{ root = "public-good", target = "artifact.pub" }`
	pinned := `{ root = "public-good", target = "artifact.pub", pem = "` + quoted + `" }`
	tuf := rule(`tuf = { root = "public-good", role = "widget", path = "{name}" }`)
	for _, to := range Targets() {
		for name, rules := range map[string]string{
			"a key": rule("keys = [" + entry + "]"), "a key that is pinned": rule("keys = [" + pinned + "]"), "a target": tuf,
			"a certificate": rule(`identities = [{ email = "alice@acme.example", issuer = "pki:acme" }]`),
		} {
			names := "public-good"
			if name == "a certificate" {
				names = "pki:acme"
			}
			r := Request{Doc: parse(t, head+rules), Path: "policy.toml", Now: now()}
			text, err := Export(to, r)
			if to == "verify-md" {
				if err != nil || !strings.Contains(text, names) {
					t.Errorf("%s to %s: %v\n%s", name, to, err, text)
				}
			} else if refusal := (*Refusal)(nil); !errors.As(err, &refusal) || text != "" {
				t.Errorf("%s to %s: %v\n%s", name, to, err, text)
			}
			r.Strict = true
			if text, err := Export(to, r); err == nil && to != "verify-md" {
				t.Errorf("%s, strictly to %s:\n%s", name, to, text)
			}
		}
	}
	for _, to := range []string{"cosign", "policy-controller", "kyverno"} {
		r := Request{Doc: parse(t, head+rule(`keys = ["`+quoted+`", `+pinned+`]`)), Path: "policy.toml", Now: now()}
		text, err := Export(to, r)
		if err != nil || !strings.Contains(text, "a key that a trust root may withdraw") {
			t.Errorf("beside another key to %s: %v\n%s", to, err, text)
		}
		if n := strings.Count(text, "BEGIN PUBLIC KEY"); n != 1 {
			t.Errorf("beside another key to %s: %d keys\n%s", to, n, text)
		}
		r.Strict = true
		if text, err := Export(to, r); err == nil {
			t.Errorf("beside another key, strictly to %s:\n%s", to, text)
		}
	}
}
