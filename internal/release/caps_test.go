// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// TestLongestList: the longest checksum file fits into a run with itself and what lies beside it.
func TestLongestList(t *testing.T) {
	var list bytes.Buffer
	for i := range sums.MaxEntries {
		fmt.Fprintf(&list, "%064x  widget_%d.tar.gz\n", i, i)
	}
	dir := put(t, map[string][]byte{"SHA256SUMS": list.Bytes(), "README": []byte("read me")})
	args := []string{filepath.Join(dir, "SHA256SUMS"), filepath.Join(dir, "README")}
	in := Expand(context.Background(), args, Options{})
	if len(in) != sums.MaxEntries+2 {
		t.Fatalf("%d inputs, the first %+v", len(in), in[0].Artifact.Err)
	}
	for i, want := range map[int]string{0: "SHA256SUMS", 1: "widget_0.tar.gz", sums.MaxEntries + 1: "README"} {
		if got := in[i].Artifact.Arg; got != filepath.Join(dir, want) {
			t.Errorf("input %d is %s, want %s", i, got, want)
		}
	}
	fmt.Fprintf(&list, "%064x  one-too-many\n", 1)
	dir = put(t, map[string][]byte{"SHA256SUMS": list.Bytes()})
	in = Expand(context.Background(), []string{filepath.Join(dir, "SHA256SUMS")}, Options{})
	if len(in) != 1 || in[0].Artifact.Err == nil || in[0].Artifact.Err.Reason != policy.SumsInvalid ||
		!strings.Contains(in[0].Artifact.Err.Detail, fmt.Sprintf("line %d: it lists more than", sums.MaxEntries+1)) {
		t.Errorf("%d inputs, the first %+v", len(in), in[0].Artifact.Err)
	}
}

// TestManySubjects: one statement is about 10,000 artifacts, each of which it allows under its name,
// and about none if it has one more.
func TestManySubjects(t *testing.T) {
	inst := sigstoretest.New(t)
	for _, c := range []struct {
		n    int
		want policy.Class
	}{{10_000, policy.ClassOK}, {10_001, policy.ClassDeny}} {
		var subjects, args []string
		for i := range c.n {
			name := fmt.Sprintf("widget_%d.tar.gz", i)
			sum := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
			subjects = append(subjects, fmt.Sprintf(`{"name":%q,"digest":{"sha256":%q}}`, name, sum))
			args = append(args, "sha256:"+sum)
		}
		req := alice()
		req.Statement = []byte(`{"_type":"https://in-toto.io/Statement/v1",` +
			`"predicateType":"https://slsa.dev/provenance/v1","predicate":{},"subject":[` + strings.Join(subjects, ",") + `]}`)
		dir := put(t, map[string][]byte{"all.sigstore.json": inst.Sign(req)})
		j := judge(pin(t, peopleRule), parseRoot(t, inst, sigstoretest.RootOptions{}))
		j.Bundles = []string{filepath.Join(dir, "all.sigstore.json")}
		results := run(j, append(args, "sha256:"+strings.Repeat("0", 64))...)
		copies := map[*Evidence]int{}
		for i, r := range results[:c.n] {
			if r.Class() != c.want {
				t.Fatalf("%d subjects, number %d: %+v", c.n, i, r.Decision)
			}
			if copies[r.Evidence]++; c.want == policy.ClassOK && r.SignedName() != fmt.Sprintf("widget_%d.tar.gz", i) {
				t.Fatalf("number %d is called %q", i, r.SignedName())
			}
		}
		if c.want == policy.ClassOK && len(copies) > 2 {
			t.Errorf("%d copies of one piece of evidence", len(copies))
		}
		if r := results[c.n]; r.Class() == policy.ClassOK {
			t.Error("what is no subject is allowed")
		}
	}
}
