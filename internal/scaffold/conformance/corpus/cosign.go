// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/propose/export"
	"github.com/repopolicy/repopolicy/policy"
)

// runCosign exports a policy for every case whose signer a person's rule can
// name, runs the command with the cosign at path and compares: what cosign takes
// the policy must allow, and what the policy refuses cosign must.
func (c *corpus) runCosign(t *tally, path string) {
	parallel(len(c.cases), func(i int) {
		tc := c.cases[i]
		what := tc.ID + " with cosign"
		if tc.Bundle == nil || tc.Identity == nil || tc.Artifact == nil || tc.Artifact.Path == nil ||
			!exists(c.path(*tc.Artifact.Path)) {
			return
		}
		q, signer, err := c.question(tc)
		if err != nil {
			return // refused before anything is judged
		}
		d := newDocument("https://example.com/acme/widget")
		kind := policy.KindEmail
		if strings.Contains(signer.Identity, "://") {
			kind = policy.KindURI
		}
		d.rule(
			ruleText{
				identities: []policy.Identity{{Kind: kind, Value: signer.Identity, Issuer: signer.Issuer}},
				setOnly:    true,
			},
		)
		doc, err := policy.Parse([]byte(d.text()))
		if err != nil {
			t.leave("not exported: no person", "%s: %s", tc.ID, err)
			return
		}
		dir, err := os.MkdirTemp("", "corpus-cosign-")
		if err != nil {
			t.check(false, what, "%s", err)
			return
		}
		defer os.RemoveAll(dir)
		artifact := filepath.Join(dir, "artifact")
		bundle, err := os.ReadFile(c.path(tc.Bundle.Path))
		if err == nil {
			err = os.WriteFile(artifact+".sigstore.json", bundle, 0o600)
		}
		if err == nil {
			err = os.Symlink(absolute(c.path(*tc.Artifact.Path)), artifact)
		}
		if err != nil {
			t.check(false, what, "%s", err)
			return
		}
		text, err := export.Export("cosign", export.Request{Doc: doc, Artifact: artifact, Now: time.Now()})
		if r := (*export.Refusal)(nil); errors.As(err, &r) {
			t.check(false, what, "refused: %s", err)
			return
		}
		// The case's own root stands in for the one that cosign would fetch.
		root := c.named[tc.Trust.Root]
		if rel, ok := strings.CutPrefix(tc.Trust.Root, "custom:"); ok {
			root = rel
		}
		cmd := exec.Command(
			"sh", "-c",
			strings.ReplaceAll(text, "cosign verify-blob ", `"$COSIGN" verify-blob --trusted-root "$ROOT" `),
		)
		cmd.Env = append(os.Environ(), "COSIGN="+path, "ROOT="+c.path(root))
		out, err := cmd.CombinedOutput()
		q.policy = doc.Pin(policy.Ids{})
		r := q.result()
		if err == nil {
			t.check(permitted(r), what, "cosign takes what the policy says is %s", describe(r))
			return
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		// Narrower is allowed where the command cannot know: it takes signatures of
		// the file only, and cosign no time but the log's.
		narrower := strings.Contains(string(bundle), `"dsseEnvelope"`) || tc.Verify.Tlog == 0 ||
			tc.Verify.SignedTimestamps > 0
		t.check(refused(r) || narrower, what, "the policy allows what cosign refuses: %s", lines[len(lines)-1])
	})
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
