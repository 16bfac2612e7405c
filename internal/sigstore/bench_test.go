// SPDX-License-Identifier: Apache-2.0

//go:build unix

package sigstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// BenchmarkDistinct verifies bundles that have nothing in common but their instance, beside as many
// signatures by crypto/ecdsa alone as each of them has. The figure "x" is how many times as long
// a bundle takes, by processor time, that of collecting its garbage included.
func BenchmarkDistinct(b *testing.B) {
	for _, c := range []struct {
		name       string
		p384, p256 int
		req        request
		opt        Options
	}{
		// Of the certificate; of SCT, promise, checkpoint and content.
		{"v1 message", 1, 4, message(nil), Options{}},
		{"v1 envelope", 1, 4, envelope(nil), Options{}},
		// Of the certificate; of SCT, checkpoint, time stamp and content.
		{"v2 message", 1, 4, v2(nil), Options{}},
		{"v2 envelope", 1, 4, envelope(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2, true }), Options{}},
		// Of the certificate; of SCT, promise and content.
		{"promise alone", 1, 3, message(func(r *request) { r.NoProof = true }), Options{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const n = 64
			inst := sigstoretest.New(b)
			root := inst.Root(roots{})
			var bundles [n][]byte
			for i := range bundles {
				bundles[i] = inst.Sign(c.req)
			}
			alone := signatures(b, c.p384, c.p256)
			var judged, verified time.Duration
			for range b.N {
				r, err := ParseRoot("test", root)
				if err != nil {
					b.Fatal(err)
				}
				judge(b, r, bundles[0], c.opt) // the root's own chains are verified once
				for _, data := range bundles[1:] {
					start := processor(b)
					judge(b, r, data, c.opt)
					middle := processor(b)
					alone()
					judged, verified = judged+middle-start, verified+processor(b)-middle
				}
			}
			b.ReportMetric(float64(judged.Nanoseconds())/float64(b.N*(n-1)), "ns/bundle")
			b.ReportMetric(float64(judged)/float64(verified), "x")
		})
	}
}

// processor returns the time that the process had a processor for.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// judge reads and verifies a bundle of the artifact.
func judge(b testing.TB, r *Root, data []byte, o Options) {
	parsed, err := ParseBundle(data)
	if err == nil {
		_, err = parsed.Verify(r, sha(artifact), nil, o)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// signatures returns what verifies so many signatures.
func signatures(b *testing.B, p384, p256 int) func() {
	sum := sha256.Sum256(nil)
	var all []func() bool
	for curve, count := range map[elliptic.Curve]int{elliptic.P384(): p384, elliptic.P256(): p256} {
		for range count {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, func() bool { return ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) })
		}
	}
	return func() {
		for _, verify := range all {
			if !verify() {
				b.Fatal("a signature that was just made")
			}
		}
	}
}

// TestAllocations: what a bundle costs beside its signatures is mostly what it allocates.
func TestAllocations(t *testing.T) {
	inst := sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		req  request
		most float64
	}{
		"v1 message":  {message(nil), 520},
		"v2 envelope": {envelope(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2, true }), 610},
	} {
		data := inst.Sign(c.req)
		if n := testing.AllocsPerRun(20, func() { judge(t, r, data, Options{}) }); n > c.most {
			t.Errorf("%s: %v allocations, at most %v", name, n, c.most)
		}
	}
}
