// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/formstest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

var (
	alice, pin, parseRoot, put = formstest.Alice, formstest.Pin, formstest.Root, formstest.Put
	statement, subject         = formstest.Statement, formstest.Subject
	take, lines, collection    = formstest.Take, formstest.Lines, formstest.Collection
	tagObject, commitObject    = formstest.TagObject, formstest.CommitObject
	marshal                    = formstest.Marshal
)

type (
	object     = formstest.Object
	cmsOptions = formstest.CMSOptions
)

const workflowRule = `[[release]]
name        = "binaries"
tags        = ["v*"]
artifacts   = ["widget_*.tar.gz", "SHA256SUMS"]
workflow    = ".github/workflows/release.yml"
environment = "release"
`

const peopleRule = `[[release]]
name       = "people"
tags       = "any"
artifacts  = ["widget_*.tar.gz", "SHA256SUMS", "pkg:npm/widget@*", "ghcr.io/acme/widget"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

func judge(p *policy.Trusted, roots ...*sigstore.Root) *Judge {
	return &Judge{
		Policy: p, Now: sigstoretest.Now.AddDate(0, 1, 0),
		Roots: func(context.Context) ([]*sigstore.Root, error) { return roots, nil },
	}
}

func run(j *Judge, args ...string) []*Result {
	return j.Run(context.Background(), others(Expand(context.Background(), args, Options{})))
}

// others are the artifacts of the inputs that are of no form of evidence.
func others(inputs []*Input) []*Artifact {
	var out []*Artifact
	for _, in := range inputs {
		if !in.IsEvidence() && !in.Harmless {
			out = append(out, in.Artifact)
		}
	}
	return out
}

// summary is a SLSA verification summary.
func summary(result string, subjects ...string) []byte {
	st := strings.Replace(string(statement(subjects...)), "https://slsa.dev/provenance/v1",
		"https://slsa.dev/verification_summary/v1", 1)
	return []byte(strings.Replace(st, `"predicate":{}`, fmt.Sprintf(`"predicate":{"verificationResult":%q}`, result), 1))
}

// TestBranches signs one artifact in every way that must be told apart. The
// numbers are those of the catalogue of negative cases.
func TestBranches(t *testing.T) {
	art := []byte("artifact")
	other := sigstoretest.New(t)
	now := sigstoretest.Now
	wf := func(change func(*sigstoretest.Request)) sigstoretest.Request {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = art
		if change != nil {
			change(&r)
		}
		return r
	}
	set := func(n int, v string) sigstoretest.Request {
		return wf(func(r *sigstoretest.Request) { r.Extensions[n] = v })
	}
	del := func(ns ...int) sigstoretest.Request {
		return wf(func(r *sigstoretest.Request) {
			for _, n := range ns {
				delete(r.Extensions, n)
			}
		})
	}
	mutate := func(f func(*protobundle.Bundle)) sigstoretest.Request {
		return wf(func(r *sigstoretest.Request) { r.Mutate = f })
	}
	people := func(change func(*sigstoretest.Request)) sigstoretest.Request {
		r := alice()
		r.Artifact = art
		if change != nil {
			change(&r)
		}
		return r
	}
	for _, c := range []struct {
		name   string
		rule   string
		req    sigstoretest.Request
		root   sigstoretest.RootOptions
		tag    string
		reason policy.Reason
		code   string // of a mismatch of the nearest rule
	}{
		{name: "workflow", req: wf(nil), reason: policy.Allowed},
		{name: "workflow with its tag", req: wf(nil), tag: "v1.2.3", reason: policy.Allowed},
		{name: "person", rule: peopleRule, req: people(nil), reason: policy.Allowed},
		{name: "time stamp beside the log", req: wf(func(r *sigstoretest.Request) { r.TSA = true }), reason: policy.Allowed},
		{
			name: "proof and time stamp without promise",
			req:  wf(func(r *sigstoretest.Request) { r.TSA, r.NoPromise = true, true }), reason: policy.Allowed,
		},
		{name: "another tag", req: wf(nil), tag: "v1.2.4", reason: policy.TagMismatch},
		{name: "a tag that nobody signed", rule: peopleRule, req: people(nil), tag: "v1.2.3", reason: policy.TagUnknown},

		{
			name: "case-41-iss-prefix-enterprise", req: wf(func(r *sigstoretest.Request) { r.Issuer += "/evil-enterprise" }),
			reason: policy.RuleMismatch, code: "issuer-differs",
		},
		{
			name: "case-43-iss-http", rule: peopleRule,
			req: people(func(r *sigstoretest.Request) { r.Issuer = "http://accounts.google.com" }), reason: policy.RuleMismatch,
			code: "issuer-differs",
		},
		{
			name: "case-45-iss-userinfo", rule: peopleRule,
			req:    people(func(r *sigstoretest.Request) { r.Issuer = "https://accounts.google.com@evil.example" }),
			reason: policy.RuleMismatch, code: "issuer-differs",
		},
		{
			name: "case-47-iss-case", rule: peopleRule,
			req: people(func(r *sigstoretest.Request) { r.Issuer = "https://Accounts.google.com" }), reason: policy.RuleMismatch,
			code: "issuer-differs",
		},
		{
			name: "case-48-iss-missing", rule: peopleRule, req: people(func(r *sigstoretest.Request) { r.Issuer = "" }),
			reason: policy.RuleMismatch, code: "issuer-differs",
		},
		{name: "case-48-only-v1", rule: peopleRule, req: people(func(r *sigstoretest.Request) {
			r.Issuer, r.Extensions = "", map[int]string{1: "https://accounts.google.com"}
		}), reason: policy.CertificateBad},
		{name: "case-49-iss-v1-v2-mismatch", rule: peopleRule, req: people(func(r *sigstoretest.Request) {
			r.Issuer, r.Extensions = "", map[int]string{1: "https://evil.example", 8: "https://accounts.google.com"}
		}), reason: policy.CertificateBad},
		{
			name: "case-54-email-case", rule: peopleRule,
			req: people(func(r *sigstoretest.Request) { r.SAN = "Alice@example.com" }), reason: policy.RuleMismatch,
			code: "identity-differs",
		},
		{
			name: "case-55-email-alias", rule: peopleRule,
			req: people(func(r *sigstoretest.Request) { r.SAN = "a.lice+ci@example.com" }), reason: policy.RuleMismatch,
			code: "identity-differs",
		},
		{
			name: "case-56-email-other-idp", rule: peopleRule,
			req:    people(func(r *sigstoretest.Request) { r.Issuer = "https://github.com/login/oauth" }),
			reason: policy.RuleMismatch, code: "issuer-differs",
		},
		{
			name: "case-57-email-subject-pin",
			rule: strings.Replace(peopleRule, `google.com" }`, `google.com", subject = "42" }`, 1),
			req:  people(func(r *sigstoretest.Request) { r.Extensions = map[int]string{24: "43"} }), reason: policy.RuleMismatch,
			code: "subject-differs",
		},
		{
			name: "case-60-repo-other", req: set(12, "https://github.com/acme/gadget"), reason: policy.RuleMismatch,
			code: "repository-differs",
		},
		{
			name: "case-61-repo-suffix", req: set(12, "https://github.com/acme/widget.git"), reason: policy.RuleMismatch,
			code: "repository-differs",
		},
		{name: "case-63-wf-filename-prefix", req: wf(func(r *sigstoretest.Request) {
			r.SAN = "https://github.com/acme/widget/.github/workflows/release.yml.evil.yml@refs/tags/v1.2.3"
			r.Extensions[9] = r.SAN
		}), reason: policy.RuleMismatch, code: "signer-workflow-differs"},
		{name: "case-64-ref-at-branch", req: wf(func(r *sigstoretest.Request) {
			r.SAN = "https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/x@refs/tags/v1.2.3"
			r.Extensions[9], r.Extensions[18], r.Extensions[14] = r.SAN, r.SAN, "refs/heads/x@refs/tags/v1.2.3"
		}), reason: policy.RuleMismatch, code: "ref-differs"},
		{name: "case-68-ref-pull", req: wf(func(r *sigstoretest.Request) {
			r.SAN = "https://github.com/acme/widget/.github/workflows/release.yml@refs/pull/1/merge"
			r.Extensions[9], r.Extensions[18], r.Extensions[14] = r.SAN, r.SAN, "refs/pull/1/merge"
		}), reason: policy.RuleMismatch, code: "ref-forbidden"},
		{name: "case-74-rw-foreign-signer", req: wf(func(r *sigstoretest.Request) {
			r.SAN = "https://github.com/evil/ci/.github/workflows/release.yml@refs/tags/v1.2.3"
			r.Extensions[9] = r.SAN
		}), reason: policy.RuleMismatch, code: "signer-workflow-differs"},
		{
			name:   "another workflow started",
			req:    set(18, "https://github.com/acme/widget/.github/workflows/other.yml@refs/tags/v1.2.3"),
			reason: policy.RuleMismatch, code: "caller-differs",
		},
		{name: "no caller", req: del(18), reason: policy.RuleMismatch, code: "caller-missing"},
		{
			name: "case-78-evt-prt", req: set(20, "pull_request_target"), reason: policy.RuleMismatch, code: "trigger-forbidden",
		},
		{name: "case-79-evt-comment", req: set(20, "issue_comment"), reason: policy.RuleMismatch, code: "trigger-forbidden"},
		{name: "case-81-evt-missing", req: del(20), reason: policy.RuleMismatch, code: "trigger-missing"},
		{name: "case-82-runner-self", req: set(11, "self-hosted"), reason: policy.RuleMismatch, code: "runner-differs"},
		{name: "runner missing", req: del(11), reason: policy.RuleMismatch, code: "runner-missing"},
		{name: "case-84-env-missing", req: del(23), reason: policy.RuleMismatch, code: "environment-missing"},
		{name: "another environment", req: set(23, "staging"), reason: policy.RuleMismatch, code: "environment-differs"},
		{name: "case-53-othername", rule: peopleRule, req: people(func(r *sigstoretest.Request) {
			r.RawSAN = []byte{
				0x30, 0x2b, 0xa0, 0x29, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x07, 0xa0, 0x1b, 0x0c,
				0x19,
			}
			r.RawSAN = append(r.RawSAN, "alice!example.com--------"...)
		}), reason: policy.RuleMismatch, code: "identity-differs"},
		{
			name: "two names", rule: peopleRule,
			req: people(func(r *sigstoretest.Request) {
				r.RawSAN = sigstoretest.SAN("alice@example.com", "bob@example.com")
			}),
			reason: policy.CertificateBad,
		},

		{name: "case-110-two-signatures", req: wf(func(r *sigstoretest.Request) {
			r.Statement = statement(subject("widget_1.tar.gz", art))
			r.Mutate = func(b *protobundle.Bundle) {
				e := b.GetDsseEnvelope()
				e.Signatures = append(e.Signatures, e.Signatures[0])
			}
		}), reason: policy.BundleInvalid},
		{name: "case-107-payload-type", req: wf(func(r *sigstoretest.Request) {
			r.Statement = statement(subject("widget_1.tar.gz", art))
			r.Mutate = func(b *protobundle.Bundle) { b.GetDsseEnvelope().PayloadType = "Application/vnd.in-toto+json" }
		}), reason: policy.StatementInvalid},
		{
			name: "case-108-predicate-parse-fail", req: wf(func(r *sigstoretest.Request) { r.Statement = []byte(`{"_type":`) }),
			reason: policy.StatementInvalid,
		},
		{name: "case-105-cross-type-replay", req: wf(func(r *sigstoretest.Request) {
			r.Statement = []byte(strings.Replace(string(statement(subject("widget_1.tar.gz", art))),
				"https://slsa.dev/provenance/v1", "https://github.com/repopolicy/repopolicy/policy/v1", 1))
		}), reason: policy.PredicateType},
		{
			name: "case-112-no-subject", req: wf(func(r *sigstoretest.Request) { r.Statement = statement() }),
			reason: policy.StatementInvalid,
		},
		{
			name:   "case-114-empty-digest",
			req:    wf(func(r *sigstoretest.Request) { r.Statement = statement(`{"name":"widget_1.tar.gz","digest":{}}`) }),
			reason: policy.StatementInvalid,
		},
		{name: "case-114-short-digest", req: wf(func(r *sigstoretest.Request) {
			r.Statement = statement(`{"name":"widget_1.tar.gz","digest":{"sha256":"00"}}`)
		}), reason: policy.StatementInvalid},
		{name: "case-115-subject-name-only", req: wf(func(r *sigstoretest.Request) {
			r.Statement = statement(subject("widget_1.tar.gz", []byte("other")))
		}), reason: policy.ArtifactMismatch},
		{name: "case-116-too-many-subjects", req: wf(func(r *sigstoretest.Request) {
			r.Statement = statement(slices.Repeat([]string{subject("x", art)}, 10_001)...)
		}), reason: policy.StatementInvalid},
		{
			name:   "a verification summary that passed",
			req:    wf(func(r *sigstoretest.Request) { r.Statement = summary("PASSED", subject("widget_1.tar.gz", art)) }),
			reason: policy.Allowed,
		},
		{
			name:   "a verification summary that failed",
			req:    wf(func(r *sigstoretest.Request) { r.Statement = summary("FAILED", subject("widget_1.tar.gz", art)) }),
			reason: policy.PredicateType,
		},
		{
			name:   "a verification summary without a result",
			req:    wf(func(r *sigstoretest.Request) { r.Statement = summary("", subject("widget_1.tar.gz", art)) }),
			reason: policy.StatementInvalid,
		},
		{
			name:   "statement",
			req:    wf(func(r *sigstoretest.Request) { r.Statement = statement(subject("widget_1.tar.gz", art)) }),
			reason: policy.Allowed,
		},
		{
			name:   "signed name counts, not the file's",
			req:    wf(func(r *sigstoretest.Request) { r.Statement = statement(subject("gadget.zip", art)) }),
			reason: policy.NameDiffers,
		},

		{
			name: "case-117-ts-after-notafter", req: wf(func(r *sigstoretest.Request) { r.NotBefore = now.Add(-11 * 60e9) }),
			reason: policy.TimeInvalid,
		},
		{
			name: "case-118-ts-before-notbefore", req: wf(func(r *sigstoretest.Request) { r.NotBefore = now.Add(60e9) }),
			reason: policy.TimeInvalid,
		},
		{
			name:   "time stamp outside the certificate",
			req:    wf(func(r *sigstoretest.Request) { r.TSA, r.TSAAt = true, now.AddDate(0, 0, 1) }),
			reason: policy.TimeInvalid,
		},
		{
			name: "case-120-other-ca", req: wf(func(r *sigstoretest.Request) { r.Issue = other }),
			reason: policy.CertificateChain,
		},
		{
			name: "case-131-tsa-untrusted", req: wf(func(r *sigstoretest.Request) { r.TSA, r.NoPromise = true, true }),
			root: sigstoretest.RootOptions{NoTSA: true}, reason: policy.TimeInvalid,
		},
		{name: "case-130-tsa-imprint", req: mutate(func(b *protobundle.Bundle) {}), reason: policy.Allowed},
		{
			name:   "case-134-time-zero",
			req:    mutate(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].IntegratedTime = 0 }),
			reason: policy.LogInvalid,
		},
		{
			name:   "case-134-time-negative",
			req:    mutate(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].IntegratedTime = -1 }),
			reason: policy.BundleInvalid,
		},
		{
			name: "case-136-bundle-media-type", req: mutate(func(b *protobundle.Bundle) { b.MediaType = "application/json" }),
			reason: policy.BundleInvalid,
		},
		{
			name: "case-138-key-signed", req: wf(func(r *sigstoretest.Request) { r.BareKey = true }),
			reason: policy.KeyUntrusted,
		},
		{name: "case-141-bundle-caps", req: mutate(func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = slices.Repeat(b.VerificationMaterial.TlogEntries, 33)
		}), reason: policy.BundleTooLarge},
		{
			name: "case-145-log-key-ended", req: wf(nil),
			root: sigstoretest.RootOptions{
				Log: &sigstoretest.Window{Start: now.AddDate(-2, 0, 0), End: now.AddDate(-1, 0, 0)},
			},
			reason: policy.LogInvalid,
		},
		{
			name: "case-145-log-key-ended-tsa-only", req: wf(func(r *sigstoretest.Request) { r.TSA, r.NoPromise = true, true }),
			root: sigstoretest.RootOptions{
				Log: &sigstoretest.Window{Start: now.AddDate(-2, 0, 0), End: now.AddDate(-1, 0, 0)},
			},
			reason: policy.TimeInvalid,
		},
		{
			name: "case-145-ca-ended", req: wf(nil),
			root:   sigstoretest.RootOptions{CA: &sigstoretest.Window{Start: now.AddDate(-2, 0, 0), End: now.AddDate(-1, 0, 0)}},
			reason: policy.CertificateChain,
		},
		{
			name: "case-261-rotated-key-old-ok", req: wf(nil),
			root:   sigstoretest.RootOptions{Log: &sigstoretest.Window{Start: now.AddDate(-2, 0, 0), End: now.Add(60e9)}},
			reason: policy.Allowed,
		},
		{
			name:   "ordering: tree size",
			req:    mutate(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].InclusionProof.TreeSize++ }),
			reason: policy.LogFields,
		},
		{
			name:   "ordering: root",
			req:    mutate(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].InclusionProof.RootHash[0]++ }),
			reason: policy.LogFields,
		},
		{
			name:   "ordering: index",
			req:    mutate(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].InclusionProof.LogIndex = 0 }),
			reason: policy.LogInvalid,
		},
		{
			name:   "promised index",
			req:    mutate(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].LogIndex++ }),
			reason: policy.LogInvalid,
		},
		{
			name: "set-only refused", req: wf(func(r *sigstoretest.Request) { r.NoProof = true }), reason: policy.RuleMismatch,
			code: "log-differs",
		},
		{
			name: "set-only", rule: workflowRule + "set-only = true\n",
			req: wf(func(r *sigstoretest.Request) { r.NoProof = true }), reason: policy.Allowed,
		},
		{
			name: "unlogged refused", req: wf(func(r *sigstoretest.Request) { r.Log, r.TSA = sigstoretest.LogNone, true }),
			reason: policy.NotLogged,
		},
		{
			name: "unlogged", rule: workflowRule + "unlogged = true\n",
			req: wf(func(r *sigstoretest.Request) { r.Log, r.TSA = sigstoretest.LogNone, true }), reason: policy.Allowed,
		},
		{
			name: "unlogged without time stamp", rule: workflowRule + "unlogged = true\n",
			req: wf(func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone }), reason: policy.TimeInvalid,
		},
		{name: "nothing", req: wf(func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone }), reason: policy.NotLogged},

		{
			name: "case-251-compromised-since",
			rule: workflowRule + "[[revoked]]\nrule = \"binaries\"\ncompromised-since = 2026-06-01T00:00:00Z\n", req: wf(nil),
			reason: policy.RevokedSigner,
		},
		{
			name: "case-252-compromised-before",
			rule: workflowRule + "[[revoked]]\nrule = \"binaries\"\ncompromised-since = 2026-06-02T00:00:00Z\n", req: wf(nil),
			reason: policy.Allowed,
		},
		{
			name: "case-253-yanked-tag", rule: workflowRule + "[[yanked]]\ntag = \"v1.2.3\"\n", req: wf(nil),
			reason: policy.YankedRelease,
		},
		{
			name: "case-253-yanked-digest",
			rule: workflowRule + fmt.Sprintf("[[yanked]]\ndigest = \"sha256:%x\"\n", sha256.Sum256(art)), req: wf(nil),
			reason: policy.YankedRelease,
		},
		{
			name: "until", rule: workflowRule + "until = 2026-06-01T12:00:00Z\n", req: wf(nil), reason: policy.RuleMismatch,
			code: "time-differs",
		},
		{
			name: "since", rule: workflowRule + "since = 2026-06-01T12:00:01Z\n", req: wf(nil), reason: policy.RuleMismatch,
			code: "time-differs",
		},
		{
			name: "approvals", rule: workflowRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", req: wf(nil),
			reason: policy.RuleMismatch, code: "approvals-missing",
		},
		{
			name: "approvals, beside a rule for something else",
			rule: strings.Replace(workflowRule, "widget_*", "gadget_*", 1) +
				strings.Replace(workflowRule, `"binaries"`, `"others"`, 1) +
				"[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", req: wf(nil),
			reason: policy.RuleMismatch, code: "approvals-missing",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inst := sigstoretest.New(t)
			if c.rule == "" {
				c.rule = workflowRule
			}
			dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore.json": inst.Sign(c.req)})
			j := judge(pin(t, c.rule), parseRoot(t, inst, c.root))
			j.Tag = c.tag
			res := run(j, filepath.Join(dir, "widget_1.tar.gz"))[0]
			if res.Decision.Reason != c.reason {
				t.Fatalf("got %s (%s), want %s", res.Decision.Reason, res.Decision.Detail, c.reason)
			}
			if c.code != "" {
				n, _ := res.Decision.Nearest()
				if !slices.ContainsFunc(n.Mismatches, func(m policy.Mismatch) bool { return m.Code() == c.code }) {
					t.Errorf("no mismatch %s in %+v", c.code, n.Mismatches)
				}
			}
			if (res.Class() == policy.ClassOK) != (c.reason == policy.Allowed) {
				t.Errorf("class %s for %s", res.Class(), c.reason)
			}
		})
	}
}

// TestEachRootAlone gives a certificate of one instance with a log entry of
// another: it passes a union of both roots and must pass neither.
func TestEachRootAlone(t *testing.T) {
	a, b := sigstoretest.New(t), sigstoretest.New(t)
	art := []byte("artifact")
	req := alice()
	req.Artifact, req.Issue = art, a // entry by b, certificate by a
	mixed := b.Sign(req)
	req.Issue = nil
	for name, c := range map[string]struct {
		bundle []byte
		want   policy.Class
	}{"mixed": {mixed, policy.ClassDeny}, "of a": {a.Sign(req), policy.ClassOK}, "of b": {b.Sign(req), policy.ClassOK}} {
		dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore.json": c.bundle})
		j := judge(pin(t, peopleRule), parseRoot(t, a, sigstoretest.RootOptions{}),
			parseRoot(t, b, sigstoretest.RootOptions{}))
		if res := run(j, filepath.Join(dir, "widget_1.tar.gz"))[0]; res.Class() != c.want {
			t.Errorf("%s: %s %s", name, res.Class(), res.Decision.Detail)
		}
	}
}

// TestSums judges what a checksum file vouches for.
func TestSums(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	one, two := []byte("one"), []byte("two")
	sums := fmt.Appendf(nil, "%x  widget_1.tar.gz\n%x *widget_2.tar.gz\n%x  notes.txt\n", sha256.Sum256(one),
		sha256.Sum256(two), sha256.Sum256([]byte("notes")))
	req := sigstoretest.Workflow("v1.2.3")
	req.Artifact = sums
	files := map[string][]byte{
		"widget_1.tar.gz": one, "widget_2.tar.gz": []byte("changed"), "SHA256SUMS": sums,
		"SHA256SUMS.sigstore.json": inst.Sign(req),
	}
	dir := put(t, files)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		args []string
		want []policy.Reason
	}{
		{[]string{at("widget_1.tar.gz")}, []policy.Reason{policy.Allowed}},
		{[]string{at("widget_2.tar.gz")}, []policy.Reason{policy.SumsMismatch}},
		// notes.txt is not here.
		{
			[]string{at("SHA256SUMS")},
			[]policy.Reason{policy.Allowed, policy.Allowed, policy.SumsMismatch, policy.ArtifactMissing},
		},
		{[]string{dir}, []policy.Reason{policy.Allowed, policy.Allowed, policy.SumsMismatch}},
		{[]string{fmt.Sprintf("sha256:%x", sha256.Sum256(one))}, []policy.Reason{policy.NoEvidence}},
		{[]string{at("missing")}, []policy.Reason{policy.ArtifactMissing}},
	} {
		var got []policy.Reason
		for _, r := range run(judge(pin(t, workflowRule), root), c.args...) {
			got = append(got, r.Decision.Reason)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.args, got, c.want)
		}
	}
	// Without the evidence for the list nothing is allowed.
	if err := os.Remove(at("SHA256SUMS.sigstore.json")); err != nil {
		t.Fatal(err)
	}
	for _, r := range run(judge(pin(t, workflowRule), root), at("SHA256SUMS")) {
		if r.Class() == policy.ClassOK {
			t.Errorf("%s is allowed without evidence", r.Artifact.Arg)
		}
	}
}

func TestExpand(t *testing.T) {
	dir := put(t, map[string][]byte{"a": nil, "a.sigstore.json": nil, "sub/b": nil, "sub/b.sigstore": nil})
	if err := os.Symlink("/etc/hosts", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	var names []string
	failures := 0
	for _, a := range others(Expand(t.Context(), []string{dir}, Options{})) {
		names = append(names, filepath.Base(a.Arg))
		if a.Err != nil {
			failures++
		}
	}
	if !slices.Equal(names, []string{"a", "a.sigstore.json", "link", "b", "b.sigstore"}) || failures != 1 {
		t.Errorf("got %v with %d failures", names, failures)
	}
	// A link that was named leads where its owner wants; names are as they were written.
	to := filepath.Join(t.TempDir(), "to")
	if err := os.Symlink(dir, to); err != nil {
		t.Fatal(err)
	}
	for i, a := range others(Expand(t.Context(), []string{to}, Options{})) {
		if filepath.Base(a.Arg) != names[i] || !strings.HasPrefix(a.Arg, to+string(filepath.Separator)) ||
			(a.Err != nil) != (names[i] == "link") {
			t.Errorf("by a link: %s %v", a.Arg, a.Err)
		}
	}
	if empty := others(Expand(t.Context(), []string{t.TempDir()}, Options{})); len(empty) != 1 || empty[0].Err == nil ||
		empty[0].Err.Reason != policy.NoArtifacts {
		t.Errorf("an empty directory: %+v", empty)
	}
	for _, arg := range []string{"sha256:zz", "sha512:" + strings.Repeat("A", 128), "/dev/null"} {
		if got := others(Expand(t.Context(), []string{arg}, Options{})); len(got) != 1 || got[0].Err == nil {
			t.Errorf("%s: %+v", arg, got[0])
		}
	}
}

// TestMonotone adds junk to good evidence and removes parts of bad evidence.
func TestMonotone(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	art := []byte("artifact")
	good, bad := alice(), alice()
	good.Artifact, bad.Artifact, bad.SAN = art, art, "mallory@example.com"
	pool := map[string][]byte{
		"good": inst.Sign(good), "wrong signer": inst.Sign(bad), "stranger": stranger.Sign(good), "garbage": []byte("{"),
		"empty":       nil,
		"other bytes": inst.Sign(sigstoretest.Request{SAN: good.SAN, Issuer: good.Issuer, Artifact: []byte("other")}),
	}
	dir := put(t, map[string][]byte{"widget_1.tar.gz": art})
	var names []string
	for n, data := range pool {
		names = append(names, n)
		if err := os.WriteFile(filepath.Join(dir, n), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	for set := 1; set < 1<<len(names); set++ {
		j := judge(pin(t, peopleRule), root)
		hasGood := false
		for i, n := range names {
			if set&(1<<i) != 0 {
				j.Bundles = append(j.Bundles, filepath.Join(dir, n))
				hasGood = hasGood || n == "good"
			}
		}
		res := run(j, filepath.Join(dir, "widget_1.tar.gz"))[0]
		if (res.Class() == policy.ClassOK) != hasGood {
			t.Errorf("%v: %s", j.Bundles, res.Class())
		}
	}
}

func TestAdopted(t *testing.T) {
	art := []byte("old")
	dir := put(t, map[string][]byte{"widget_0.tar.gz": art})
	adopted := fmt.Sprintf("[[adopted]]\ntag = \"v0.9.0\"\ndigests = [\"sha256:%x\"]\n", sha256.Sum256(art))
	for _, c := range []struct {
		rule, tag string
		want      policy.Reason
	}{
		{workflowRule + adopted, "", policy.Adopted},
		{workflowRule + adopted, "v0.9.0", policy.Adopted},
		{workflowRule + adopted, "v0.9.1", policy.NoEvidence},
		{workflowRule + adopted + "[[yanked]]\ntag = \"v0.9.0\"\n", "", policy.YankedRelease},
		{workflowRule, "", policy.NoEvidence},
	} {
		j := judge(pin(t, c.rule))
		j.Tag = c.tag
		if got := run(j, filepath.Join(dir, "widget_0.tar.gz"))[0].Decision.Reason; got != c.want {
			t.Errorf("tag %q: got %s, want %s", c.tag, got, c.want)
		}
	}
}

// TestYankUnknown gives a digest of an algorithm in which nothing is yanked.
func TestYankUnknown(t *testing.T) {
	inst := sigstoretest.New(t)
	art := []byte("artifact")
	req := alice()
	req.Artifact = art
	dir := put(t, map[string][]byte{"b": inst.Sign(req)})
	j := judge(pin(t, peopleRule+"[[yanked]]\ndigest = \"sha512:"+strings.Repeat("0", 128)+"\"\n"),
		parseRoot(t, inst, sigstoretest.RootOptions{}))
	j.Bundles = []string{filepath.Join(dir, "b")}
	if got := run(j, fmt.Sprintf("sha256:%x", sha256.Sum256(art)))[0].Decision.Reason; got != policy.YankUnknown {
		t.Errorf("got %s", got)
	}
}

func TestTags(t *testing.T) {
	for in, want := range map[string][]string{
		"pkg:npm/%40acme/widget@1.2.3": {"1.2.3", "v1.2.3"}, "pkg:golang/example.com/x@v1.2.3": {"v1.2.3"}, "pkg:npm/x": nil,
		"widget@1.2.3": nil,
		"pkg:":         nil, "pkg:oci/x@sha256:abc": nil, "pkg:npm/x@%00": nil,
	} {
		if got := versionTags(in); !slices.Equal(got, want) {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// TestAPI uses zero values and dead contexts: never OK, never a panic.
func TestAPI(t *testing.T) {
	inst := sigstoretest.New(t)
	req := alice()
	req.Artifact = []byte("artifact")
	dir := put(t, map[string][]byte{"widget_1.tar.gz": req.Artifact, "widget_1.tar.gz.sigstore.json": inst.Sign(req)})
	path := filepath.Join(dir, "widget_1.tar.gz")
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	good := func() *Judge { return judge(pin(t, peopleRule), parseRoot(t, inst, sigstoretest.RootOptions{})) }
	noRoots, badRoots, noTime := good(), good(), good()
	noRoots.Roots = nil
	badRoots.Roots = func(context.Context) ([]*sigstore.Root, error) { return nil, errors.New("down") }
	noTime.Now = noTime.Now.AddDate(-1, 0, 0)
	for name, res := range map[string][]*Result{
		"zero":         (&Judge{}).Run(context.Background(), others(Expand(t.Context(), []string{path}, Options{}))),
		"cancelled":    good().Run(dead, others(Expand(t.Context(), []string{path}, Options{}))),
		"no roots":     run(noRoots, path),
		"roots fail":   run(badRoots, path),
		"nil artifact": good().Run(context.Background(), []*Artifact{nil}),
		"before":       run(noTime, path),
	} {
		if Class(res) == policy.ClassOK {
			t.Errorf("%s: OK", name)
		}
	}
	if Class(nil) != policy.ClassDeny || Class([]*Result{nil}) != policy.ClassInternal {
		t.Error("no result must not be OK")
	}
	if c := Class(run(noRoots, path)); c != policy.ClassUnavailable {
		t.Errorf("no roots: %s", c)
	}
}

// TestShared judges with one root and one policy from many goroutines.
func TestShared(t *testing.T) {
	inst := sigstoretest.New(t)
	root, p := parseRoot(t, inst, sigstoretest.RootOptions{}), pin(t, peopleRule)
	req := alice()
	req.Artifact = []byte("artifact")
	files := map[string][]byte{}
	for i := range 40 {
		files[fmt.Sprintf("widget_%d.tar.gz", i)] = req.Artifact
	}
	dir := put(t, files)
	bundle := filepath.Join(put(t, map[string][]byte{"b": inst.Sign(req)}), "b")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			j := judge(p, root)
			j.Bundles = []string{bundle}
			if c := Class(run(j, dir)); c != policy.ClassOK {
				t.Errorf("%s", c)
			}
		})
	}
	wg.Wait()
}

func TestGitHubRelease(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{NoLog: true, NoCT: true})
	art := []byte("artifact")
	sign := func(repo, tag string) []byte {
		pred, err := json.Marshal(map[string]any{"repository": repo, "tag": tag, "repositoryId": 1001, "ownerId": "2002"})
		if err != nil {
			t.Fatal(err)
		}
		st := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","predicateType":%q,"predicate":%s,"subject":[%s]}`,
			sigstore.PredicateGitHubRelease, pred, subject("widget_1.tar.gz", art))
		return inst.Sign(sigstoretest.Request{
			SAN: "https://dotcom.releases.github.com", Statement: []byte(st), Log: sigstoretest.LogNone, NoSCT: true, TSA: true,
		})
	}
	rule := workflowRule +
		"[[release]]\nname = \"github\"\ntags = [\"v*\"]\nartifacts = [\"widget_*.tar.gz\"]\ngithub-release = true\n" +
		"unlogged = true\n"
	for _, c := range []struct {
		name, rule string
		bundle     []byte
		ok         bool
	}{
		{"explicit rule", rule, sign("acme/widget", "v1.2.3"), true},
		{"no rule for it", workflowRule + "unlogged = true\n", sign("acme/widget", "v1.2.3"), false},
		{"another repository", rule, sign("acme/gadget", "v1.2.3"), false},
		{"another tag", rule, sign("acme/widget", "1.2.3"), false},
	} {
		dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore": c.bundle})
		if res := run(judge(pin(t, c.rule), root),
			filepath.Join(dir, "widget_1.tar.gz"))[0]; (res.Class() == policy.ClassOK) != c.ok {
			t.Errorf("%s: %s %+v", c.name, res.Class(), res.Decision)
		}
	}
}

// TestRecorded: the forge's own root speaks for what it records of releases, and for nothing else.
func TestRecorded(t *testing.T) {
	public, forge := sigstoretest.New(t), sigstoretest.New(t)
	root := parseRoot(t, public, sigstoretest.RootOptions{})
	recorded := parseRoot(t, forge, sigstoretest.RootOptions{NoLog: true, NoCT: true})
	art := []byte("artifact")
	const san = "https://dotcom.releases.github.com"
	statement := func(predicate string) []byte {
		return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","predicateType":%q,"predicate":`+
			`{"repository":"acme/widget","tag":"v1.2.3","repositoryId":"1001","ownerId":"2002"},"subject":[%s]}`,
			predicate, subject("widget_1.tar.gz", art))
	}
	unlogged := func(r sigstoretest.Request) sigstoretest.Request {
		r.Log, r.NoSCT, r.TSA = sigstoretest.LogNone, true, true
		return r
	}
	record := unlogged(sigstoretest.Request{SAN: san, Statement: statement(sigstore.PredicateGitHubRelease)})
	other := record
	other.Statement = statement("https://slsa.dev/provenance/v1")
	workflow := unlogged(sigstoretest.Workflow("v1.2.3"))
	workflow.Statement = statement(sigstore.PredicateGitHubRelease)
	person := unlogged(alice())
	person.Statement = statement(sigstore.PredicateGitHubRelease)
	const forRecords = "[[release]]\nname = \"github\"\ntags = [\"v*\"]\nartifacts = \"any\"\n" +
		"github-release = true\nunlogged = true\n"
	loose := strings.Replace(workflowRule, "environment", "unlogged = true\nenvironment", 1) +
		peopleRule + "unlogged = true\n" + forRecords
	down := func(context.Context) ([]*sigstore.Root, error) {
		return nil, &Failure{policy.TrustRootMissing, "the network is down"}
	}
	have := func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{recorded}, nil }
	for name, c := range map[string]struct {
		request sigstoretest.Request
		rule    string
		roots   func(context.Context) ([]*sigstore.Root, error)
		want    policy.Class
		says    string
	}{
		"a record":               {record, loose, have, policy.ClassOK, ""},
		"no root for it":         {record, loose, nil, policy.ClassDeny, "which is not in the trusted root"},
		"its root not had":       {record, loose, down, policy.ClassUnavailable, "the network is down"},
		"no rule for it":         {record, workflowRule, have, policy.ClassDeny, ""},
		"another predicate":      {other, loose, have, policy.ClassDeny, ""},
		"a workflow's word":      {workflow, loose, have, policy.ClassDeny, ""},
		"a person's word":        {person, loose, have, policy.ClassDeny, ""},
		"a workflow, root down":  {workflow, loose, down, policy.ClassDeny, ""},
		"no rule, its root down": {record, workflowRule, down, policy.ClassDeny, ""},
	} {
		dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore": forge.Sign(c.request)})
		j := judge(pin(t, c.rule), root)
		j.Recorded = c.roots
		res := run(j, filepath.Join(dir, "widget_1.tar.gz"))[0]
		if res.Class() != c.want || !strings.Contains(res.Decision.Detail, c.says) {
			t.Errorf("%s: %s %s", name, res.Class(), res.Decision.Detail)
		}
	}
}
