// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestStampOrder: of two time stamps by one authority each counts, whichever stands
// first (SPEC 5.7).
func TestStampOrder(t *testing.T) {
	art := []byte("artifact")
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	now := sigstoretest.Now
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	for name, c := range map[string]struct {
		bounds string
		want   policy.Reason
	}{
		"no bounds": {"", policy.Allowed},
		"both within": {
			"since = " + at(-time.Minute) + "\nuntil = " + at(3*time.Minute) + "\n", policy.Allowed,
		},
		"ended between them":        {"until = " + at(time.Minute) + "\n", policy.RuleMismatch},
		"ended with the second":     {"until = " + at(2*time.Minute) + "\n", policy.RuleMismatch},
		"began between them":        {"since = " + at(time.Minute) + "\n", policy.RuleMismatch},
		"began with the first":      {"since = " + at(0) + "\n", policy.Allowed},
		"revoked from between them": {revokedFrom(at(time.Minute)), policy.RevokedSigner},
		"revoked from then on":      {revokedFrom(at(3 * time.Minute)), policy.Allowed},
	} {
		p := pin(t, peopleRule+c.bounds)
		for _, log := range []sigstoretest.LogKind{sigstoretest.LogV1, sigstoretest.LogV2} {
			for _, order := range [][]time.Duration{
				{0, 2 * time.Minute}, {2 * time.Minute, 0}, {2 * time.Minute, 0, 2 * time.Minute},
				{0, time.Minute, 2 * time.Minute, 0},
			} {
				r := alice()
				r.Artifact, r.Log, r.TSA = art, log, true
				r.Mutate = func(b *protobundle.Bundle) {
					var stamps []*protocommon.RFC3161SignedTimestamp
					for _, d := range order {
						stamps = append(stamps, &protocommon.RFC3161SignedTimestamp{
							SignedTimestamp: inst.Stamp(b.GetMessageSignature().Signature, now.Add(d)),
						})
					}
					b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps = stamps
				}
				dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore": inst.Sign(r)})
				res := run(judge(p, root), filepath.Join(dir, "widget_1.tar.gz"))[0]
				if res.Decision.Reason != c.want {
					t.Errorf("%s: %v: %s", name, order, res.Decision.Reason)
				}
				if slices.Contains(order, time.Minute) && res.Evidence.Verified != nil && len(res.Evidence.Verified.Times) < 3 {
					t.Errorf("%s: %v: times %v", name, order, res.Evidence.Verified.Times)
				}
			}
		}
	}
}

// revokedFrom withdraws alice from a moment on.
func revokedFrom(at string) string {
	return fmt.Sprintf(
		"[[revoked]]\nidentity = { email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }\n"+
			"compromised-since = %s\n", at,
	)
}
