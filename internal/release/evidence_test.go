// SPDX-License-Identifier: Apache-2.0

package release

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestHugeArtifact is case 285: hashing takes constant memory.
func TestHugeArtifact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 512<<20); err != nil { // sparse
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Digests(path, []string{"sha256"}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

// TestUnrecognised: what looks like evidence by its name only is judged.
func TestUnrecognised(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	art := []byte("artifact")
	r := alice()
	r.Artifact = art
	for _, name := range []string{"widget_1.tar.gz.bundle", "widget_1.tar.gz.sig", "widget_1.tar.gz.jsonl",
		"widget_1.tar.gz.pem", "multiple.intoto.jsonl", "widget_1.tar.gz.attestation", "other.sig", "x.pem"} {
		dir := put(t,
			map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore.json": inst.Sign(r),
				name: []byte("#!/bin/sh\nevil\n")})
		res := run(judge(pin(t, peopleRule), root), dir)
		if len(res) != 2 || Class(res) == policy.ClassOK {
			t.Errorf("%s: %d artifacts, %s", name, len(res), Class(res))
		}
	}
}

// TestEvidenceSets tries every set of evidence in several forms, good and bad:
// the verdict is OK if and only if a good one is in the set, so junk changes
// nothing and removing never helps.
func TestEvidenceSets(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const name = "widget_1.tar.gz"
	art := []byte("artifact")
	r := alice()
	r.Statement = statement(subject(name, art))
	m := alice()
	m.Statement, m.SAN = r.Statement, "mallory@example.com"
	broken := alice()
	broken.Statement = r.Statement
	broken.Mutate = func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures[0].Sig[9] ^= 1 }
	pool := []struct {
		file string
		data []byte
		good bool
	}{
		{name + ".sigstore.json", inst.Sign(m), false},
		{name + ".sigstore", take(t, stranger.Sign(r)).Bundle, false},
		{name + ".publish.attestation", take(t, inst.Sign(r)).PyPI(t), true},
		{name + ".attestations.json", collection("npm", inst.Sign(broken), inst.Sign(m)), false},
		{name + ".intoto.jsonl", take(t, inst.Sign(r)).Envelope(t), false},
		{name + ".sig", []byte("junk"), false},
		{"multiple.intoto.jsonl", lines([]byte("{"), inst.Sign(m), inst.Sign(r)), true},
	}
	for set := range 1 << len(pool) {
		files := map[string][]byte{name: art}
		good := false
		for i, p := range pool {
			if set&(1<<i) != 0 {
				files[p.file] = p.data
				good = good || p.good
			}
		}
		res := run(judge(pin(t, peopleRule), root), filepath.Join(put(t, files), name))[0]
		if (res.Class() == policy.ClassOK) != good {
			t.Errorf("set %b: %s, want good %v", set, res.Decision.Reason, good)
		}
	}
}
