// SPDX-License-Identifier: Apache-2.0

package forms_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

const tagRule = `[[release]]
name       = "tags"
tags       = ["v*"]
artifacts  = ["refs/tags/v*"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// TestCMS gives the reader of signatures what it must refuse.
func TestCMS(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const commit = "1111111111111111111111111111111111111111"
	stranger := sigstoretest.New(t)
	for _, c := range []struct {
		what string
		o    cmsOptions
		edit func([]byte) []byte
		want policy.Reason
	}{
		{"good", cmsOptions{}, nil, policy.Allowed},
		{"over other content", cmsOptions{Digest: bytes.Repeat([]byte{1}, 32)}, nil, policy.SignatureInvalid},
		{"a short digest", cmsOptions{Digest: []byte{1}}, nil, policy.SignatureInvalid},
		{"no log entry", cmsOptions{NoEntry: true}, nil, policy.NoLogProof},
		{"an empty log entry", cmsOptions{NoEntry: true, EmptyEntry: true}, nil, policy.BundleInvalid},
		{"no certificate", cmsOptions{NoCert: true}, nil, policy.BundleInvalid},
		{"a certificate twice", cmsOptions{TwoCerts: true}, nil, policy.BundleInvalid},
		{"two signers", cmsOptions{TwoSigners: true}, nil, policy.BundleInvalid},
		{"content inside", cmsOptions{Content: []byte("x")}, nil, policy.BundleInvalid},
		{"an attribute twice", cmsOptions{Twice: true}, nil, policy.BundleInvalid},
		{"no content type", cmsOptions{NoType: true}, nil, policy.BundleInvalid},
		{"another hash", cmsOptions{OtherHash: true}, nil, policy.BundleInvalid},
		{"a trailing byte", cmsOptions{Trailing: true}, nil, policy.BundleInvalid},
		{"text after it", cmsOptions{}, func(b []byte) []byte { return append(b, "more\n"...) }, policy.KeyUntrusted},
		{"another message", cmsOptions{},
			func(b []byte) []byte { return bytes.Replace(b, []byte("release"), []byte("Release"), 1) },
			policy.SignatureInvalid},
		{"PGP", cmsOptions{},
			func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("SIGNED MESSAGE"), []byte("PGP SIGNATURE")) },
			policy.KeyUntrusted},
		{"SSH", cmsOptions{},
			func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("SIGNED MESSAGE"), []byte("SSH SIGNATURE")) },
			policy.KeyUntrusted},
		{"two signatures", cmsOptions{},
			func(b []byte) []byte { return append(b, b[bytes.Index(b, []byte("-----BEGIN")):]...) },
			policy.BundleInvalid},
		{"no signature", cmsOptions{}, func(b []byte) []byte { return b[:bytes.Index(b, []byte("-----BEGIN"))] },
			policy.NoEvidence},
		{"no CMS", cmsOptions{}, func(b []byte) []byte {
			return append(b[:bytes.Index(b, []byte("-----BEGIN"))],
				"-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----\n"...)
		}, policy.BundleInvalid},
		{"a name that is no tag", cmsOptions{},
			func(b []byte) []byte { return bytes.Replace(b, []byte("tag v1"), []byte("tag v1..2"), 1) },
			policy.BundleInvalid},
		{"of a tree", cmsOptions{},
			func(b []byte) []byte { return bytes.Replace(b, []byte("type commit"), []byte("type tree"), 1) },
			policy.BundleInvalid},
	} {
		content := tagObject(t, inst, alice(), "v1", commit, c.o)
		if c.edit != nil {
			content = c.edit(slices.Clone(content))
		}
		id, err := git.Hash(git.Tag, content)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(put(t, files{"tag": content}), "tag")
		j := judge(pin(t, tagRule), root)
		j.Bundles = []string{path}
		if res := run(j, "gitTag:"+string(id))[0]; res.Decision.Reason != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, res.Decision.Reason, res.Decision.Detail, c.want)
		}
	}
	// Under another instance's root nothing of this is worth anything.
	content := tagObject(t, stranger, alice(), "v1", commit, cmsOptions{})
	id, err := git.Hash(git.Tag, content)
	if err != nil {
		t.Fatal(err)
	}
	j := judge(pin(t, tagRule), root)
	j.Bundles = []string{filepath.Join(put(t, files{"tag": content}), "tag")}
	if res := run(j, "gitTag:"+string(id))[0]; res.Class() == policy.ClassOK {
		t.Error("another instance's signature is allowed")
	}
}
