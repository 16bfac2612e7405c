// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"crypto/x509"
	"encoding/asn1"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// extensions returns Fulcio's extensions of a certificate by the last number of
// their OID, 1.3.6.1.4.1.57264.1.n. Those from .8 on are DER UTF8Strings.
func extensions(t *testing.T, cert *x509.Certificate) map[int]string {
	t.Helper()
	m := map[int]string{}
	arc := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1}
	for _, e := range cert.Extensions {
		if len(e.Id) != len(arc)+1 || !e.Id[:len(arc)].Equal(arc) {
			continue
		}
		n, value := e.Id[len(arc)], string(e.Value)
		if n >= 8 {
			rest, err := asn1.UnmarshalWithParams(e.Value, &value, "utf8")
			if err != nil || len(rest) > 0 {
				t.Errorf(".%d: %v, %d bytes left", n, err, len(rest))
			}
		}
		m[n] = value
	}
	return m
}

// TestExtensions compares every extension of the certificates with what
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md documents.
func TestExtensions(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	for _, row := range []struct {
		name   string
		claims claims.Claims
		san    string
		want   map[int]string
	}{
		{
			"GitHub",
			claims.GitHub{
				Repository: "acme/widget", RepositoryID: 4711, OwnerID: 42, Visibility: "private", Ref: "refs/tags/v1.2.3", SHA: commit,
				Workflow: ".github/workflows/release.yml", WorkflowName: "Release", WorkflowSHA: strings.Repeat("1", 40), Event: "workflow_dispatch",
				Environment: "release", Runner: "self-hosted", RunID: 99, RunAttempt: 3,
				JobWorkflow: "acme/ci/.github/workflows/build.yml@refs/tags/v4", JobWorkflowAt: strings.Repeat("2", 40),
			},
			"https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v4",
			map[int]string{
				1: "https://token.actions.githubusercontent.com", 2: "workflow_dispatch", 3: commit, 4: "Release", 5: "acme/widget", 6: "refs/tags/v1.2.3",
				8:  "https://token.actions.githubusercontent.com",
				9:  "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v4",
				10: strings.Repeat("2", 40), 11: "self-hosted",
				12: "https://github.com/acme/widget", 13: commit, 14: "refs/tags/v1.2.3", 15: "4711",
				16: "https://github.com/acme", 17: "42",
				18: "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1.2.3", 19: strings.Repeat("1", 40),
				20: "workflow_dispatch", 21: "https://github.com/acme/widget/actions/runs/99/attempts/3", 22: "private", 23: "release",
				24: "repo:acme/widget:environment:release",
			},
		}, {
			"GitHub without an environment",
			claims.GitHub{Repository: "acme/widget", RepositoryID: 1, OwnerID: 2, SHA: commit},
			"https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main",
			map[int]string{
				1: "https://token.actions.githubusercontent.com", 2: "push", 3: commit, 4: ".github/workflows/release.yml", 5: "acme/widget", 6: "refs/heads/main",
				8:  "https://token.actions.githubusercontent.com",
				9:  "https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main",
				10: commit, 11: "github-hosted",
				12: "https://github.com/acme/widget", 13: commit, 14: "refs/heads/main", 15: "1", 16: "https://github.com/acme", 17: "2",
				18: "https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main", 19: commit,
				20: "push", 21: "https://github.com/acme/widget/actions/runs/1/attempts/1", 22: "public",
				24: "repo:acme/widget:ref:refs/heads/main",
			},
		}, {
			"GitLab",
			claims.GitLab{
				Project: "acme/tools/widget", ProjectID: 4711, NamespaceID: 42, Ref: "v1.2.3", RefType: "tag", SHA: commit,
				Source: "web", Environment: "release", JobID: 77,
			},
			"https://gitlab.com/acme/tools/widget//.gitlab-ci.yml@refs/tags/v1.2.3",
			map[int]string{
				1: "https://gitlab.com", 8: "https://gitlab.com",
				9:  "https://gitlab.com/acme/tools/widget//.gitlab-ci.yml@refs/tags/v1.2.3",
				10: commit, 11: "gitlab-hosted",
				12: "https://gitlab.com/acme/tools/widget", 13: commit, 14: "refs/tags/v1.2.3", 15: "4711",
				16: "https://gitlab.com/acme/tools", 17: "42",
				18: "https://gitlab.com/acme/tools/widget//.gitlab-ci.yml@refs/tags/v1.2.3", 19: commit,
				20: "web", 21: "https://gitlab.com/acme/tools/widget/-/jobs/77", 22: "public", 23: "release",
				24: "project_path:acme/tools/widget:ref_type:tag:ref:v1.2.3",
			},
		}, {
			"a person",
			claims.Email{Address: "alice@example.com", Issuer: "https://github.com/login/oauth", Subject: "583231"},
			"alice@example.com",
			map[int]string{1: "https://github.com/login/oauth", 8: "https://github.com/login/oauth", 24: "583231"},
		},
	} {
		b := mustSign(t, s, blob([]byte("x")), signing{claims: row.claims})
		cert, err := x509.ParseCertificate(b.VerificationMaterial.GetCertificate().RawBytes)
		check(t, err)
		check(t, judge(trustedRoot(t, s), b, []byte("x"), row.san, row.want[8]))
		if diff := cmp.Diff(row.want, extensions(t, cert)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		id, err := identity.FromCertificate(cert) // what repopolicy makes of it
		if err != nil || id.Value != row.san || id.Issuer != row.want[8] {
			t.Errorf("%s: repopolicy reads %+v, %v", row.name, id, err)
		}
		if life := cert.NotAfter.Sub(cert.NotBefore); life != 10*time.Minute {
			t.Errorf("%s: a certificate for %s", row.name, life)
		}
	}
}

// TestForgedTokens asks Fulcio for certificates with tokens that it must refuse.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	now := time.Now()
	for name, forged := range map[string]claims.Claims{
		"another audience":     claims.Forged{From: job, Set: map[string]any{"aud": "repopolicy"}},
		"expired":              claims.Forged{From: job, Set: map[string]any{"exp": now.Add(-time.Minute).Unix()}},
		"not yet valid":        claims.Forged{From: job, Set: map[string]any{"nbf": now.Add(time.Hour).Unix()}},
		"an unpublished key":   claims.Forged{From: job, ForeignKey: true},
		"another issuer":       claims.Forged{From: job, Set: map[string]any{"iss": "https://token.actions.githubusercontent.com/acme"}},
		"no issuer":            claims.Forged{From: job, Remove: []string{"iss"}},
		"no repository id":     claims.Forged{From: job, Remove: []string{"repository_id"}},
		"no job_workflow_ref":  claims.Forged{From: job, Remove: []string{"job_workflow_ref"}},
		"unverified e-mail":    claims.Email{Address: "alice@example.com", Unverified: true},
		"no e-mail":            claims.Forged{From: claims.Email{Address: "alice@example.com"}, Remove: []string{"email"}},
		"no connector":         claims.Forged{From: claims.Email{Address: "alice@example.com"}, Remove: []string{"federated_claims"}},
		"GitLab from a person": claims.Forged{From: claims.Email{Address: "alice@example.com"}, Set: map[string]any{"iss": claims.GitLabIssuer}},
	} {
		token, err := s.Token(forged)
		check(t, err)
		if status, body := requestCertificate(t, s, token); status != http.StatusBadRequest || !strings.Contains(body, badToken) {
			// What is missing from the claims of a job shows when the
			// certificate is made.
			b, err := signing{claims: forged}.sign(t.Context(), s, blob([]byte("x")))
			if err == nil || !strings.Contains(err.Error(), "Fulcio returned") {
				t.Errorf("%s: %d %s; %v, %v", name, status, body, b, err)
			}
		}
	}
	if _, err := s.Token(claims.GitHub{Repository: "widget"}); err == nil {
		t.Error("a token for no repository")
	}
	if _, body := requestCertificate(t, s, "no.token.atall"); !strings.Contains(body, badToken) {
		t.Error(body)
	}
	token, err := s.Token(job)
	check(t, err)
	if _, body := requestCertificate(t, s, token); !strings.Contains(body, badKey) {
		t.Errorf("an honest token: %s", body)
	}
}
