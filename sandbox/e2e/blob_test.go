// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// signBlob signs an artifact as any client of Sigstore does.
func signBlob(t testing.TB, artifact []byte, who claims.Claims) []byte {
	t.Helper()
	return signBlobAt(t, stack, stack, artifact, who)
}

// signBlobAt signs with the certificate authority of one stack, and lets another one
// log and stamp it.
func signBlobAt(t testing.TB, ca, log *sandbox.Stack, artifact []byte, who claims.Claims) []byte {
	t.Helper()
	token, err := ca.Token(who)
	check(t, err)
	key, err := sign.NewEphemeralKeypair(nil)
	check(t, err)
	b, err := sign.Bundle(&sign.PlainData{Data: artifact}, key, sign.BundleOptions{
		Context:                    t.Context(),
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: ca.URL(sandbox.Fulcio), Transport: ca.Transport()}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
		TimestampAuthorities:       []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: log.URL(sandbox.TSA)})},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: log.URL(sandbox.Rekor), Version: 2})},
	})
	check(t, err)
	data, err := protojson.Marshal(b)
	check(t, err)
	return data
}

// releaseFile writes an artifact with its evidence beside it and returns its path.
func releaseFile(t testing.TB, file string, who claims.Claims) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	check(t, os.WriteFile(path, []byte(file), 0o600))
	check(t, os.WriteFile(path+".sigstore.json", signBlob(t, []byte(file), who), 0o600))
	return path
}
