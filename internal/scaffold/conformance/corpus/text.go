// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// document writes a policy file. It is text on purpose: what is judged went
// through the parser like a maintainer's own file.
type document struct {
	b     strings.Builder
	rules int
}

func newDocument(repository string) *document {
	d := &document{}
	fmt.Fprintf(&d.b, `format     = "repopolicy/v1"
repository = %q
version    = 1
expires    = 2099-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`, repository)
	return d
}

func (d *document) text() string { return d.b.String() }

// ruleText is one [[release]] table. Fields that are not set are not written.
type ruleText struct {
	artifacts    []string // patterns; none for "any"
	refs         []string
	workflow     string
	caller       string
	signerRef    string
	signerDigest string
	triggers     []string
	runner       string
	issuer       string
	identities   []policy.Identity
	since, until time.Time
	setOnly      bool
}

func (d *document) rule(r ruleText) {
	d.rules++
	put := func(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }
	put("\n[[release]]")
	put("name      = \"rule-%d\"", d.rules)
	put("tags      = \"any\"")
	if len(r.artifacts) == 0 {
		put("artifacts = \"any\"")
	} else {
		put("artifacts = %s", list(r.artifacts))
	}
	if len(r.refs) > 0 {
		put("refs      = %s", list(r.refs))
	}
	for _, kv := range [][2]string{
		{"workflow", r.workflow}, {"caller", r.caller}, {"signer-ref", r.signerRef}, {"signer-digest", r.signerDigest},
		{"issuer", r.issuer}, {"runner", r.runner},
	} {
		if kv[1] != "" {
			put("%-9s = %q", kv[0], kv[1])
		}
	}
	if len(r.triggers) > 0 {
		put("triggers  = %s", list(r.triggers))
	}
	if len(r.identities) > 0 {
		put("identities = [")
		for _, id := range r.identities {
			put("  { %s = %q, issuer = %q },", id.Kind, id.Value, id.Issuer)
		}
		put("]")
	}
	if !r.since.IsZero() {
		put("since     = %s", r.since.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if !r.until.IsZero() {
		put("until     = %s", r.until.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if r.setOnly {
		put("set-only  = true")
	}
}

func list(s []string) string {
	q := make([]string, len(s))
	for i := range s {
		q[i] = fmt.Sprintf("%q", s[i])
	}
	return "[" + strings.Join(q, ", ") + "]"
}
