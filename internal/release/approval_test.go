// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

// approvalVectors returns the payloads of schema/testdata/approval and whether
// they are approvals.
func approvalVectors(t testing.TB) map[string]struct {
	payload []byte
	ok      bool
} {
	t.Helper()
	files, err := filepath.Glob("../../schema/testdata/approval/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	out := map[string]struct {
		payload []byte
		ok      bool
	}{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		head, body, ok := bytes.Cut(data, []byte("\n\n-- payload --\n"))
		expect := map[string]bool{
			"expect: OK\nrequirement: R-AUTH\nsource: SPEC 14.1":      true,
			"expect: INVALID\nrequirement: R-AUTH\nsource: SPEC 14.1": false,
		}
		want, known := expect[string(head)]
		if !ok || !known {
			t.Fatalf("%s: an unknown header", f)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".txt")] = struct {
			payload []byte
			ok      bool
		}{bytes.TrimSuffix(body, []byte("\n")), want}
	}
	return out
}

func TestApprovalVectors(t *testing.T) {
	for name, v := range approvalVectors(t) {
		a, err := ParseApproval(v.payload)
		if (err == nil) != v.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !v.ok {
			if d := cmp.Diff(Approval{}, a, cmp.AllowUnexported(policy.Locator{})); d != "" {
				t.Errorf("%s: an approval beside an error: %s", name, d)
			}
			continue
		}
		again, err := EncodeApproval(a)
		if err != nil || !bytes.Equal(again, v.payload) {
			t.Errorf("%s: encoded as %s (%v)", name, again, err)
		}
	}
}

// TestApprovalLimits: as many subjects as are read, and one more.
func TestApprovalLimits(t *testing.T) {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	a := Approval{Repository: repo, Tag: "v1", Commit: strings.Repeat("1", 40), Policy: strings.Repeat("c", 64)}
	for i := range maxApprovalSubjects {
		a.Subjects = append(a.Subjects, Approved{
			strings.Repeat("n", maxApprovalName-5) + fmt.Sprintf("%05d", i), strings.Repeat("a", 64),
		})
	}
	payload, err := EncodeApproval(a)
	if err != nil || len(payload) > MaxApprovalBytes {
		t.Fatalf("%d bytes, %v", len(payload), err)
	}
	if got, err := ParseApproval(payload); err != nil || len(got.Subjects) != maxApprovalSubjects {
		t.Error(err)
	}
	a.Subjects = append(a.Subjects, Approved{"one more", strings.Repeat("a", 64)})
	if _, err := EncodeApproval(a); err == nil {
		t.Error("one more than are read")
	}
	if _, err := ParseApproval(make([]byte, MaxApprovalBytes+1)); err == nil {
		t.Error("beyond the cap")
	}
}

// TestApprovalName: what a tag is called cannot lead anywhere, and two approvals
// are never the same file.
func TestApprovalName(t *testing.T) {
	for tag, want := range map[string]string{
		"v1.0.0": "v1.0.0-", "release/v1": "release-v1-", "../../x": "x-", "-rf": "rf-", `a"<b>|c`: "a--b--c-", "": "-",
	} {
		name := ApprovalName(tag, []byte("alice"), []byte("{}"))
		if tag == "" {
			want = ""
		}
		if !strings.HasPrefix(name, want) || !strings.HasSuffix(name, ApprovalSuffix) ||
			strings.ContainsAny(name, `/\<>|"`) || name[0] == '.' || !IsEvidence(name) {
			t.Errorf("%q: %s", tag, name)
		}
		if name == ApprovalName(tag, []byte("bob"), []byte("{}")) ||
			name == ApprovalName(tag, []byte("alice"), []byte("[]")) {
			t.Errorf("%q: one name for two", tag)
		}
	}
}

// FuzzApproval: what is accepted is the one encoding of what it says.
func FuzzApproval(f *testing.F) {
	for _, v := range approvalVectors(f) {
		f.Add(v.payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := ParseApproval(payload)
		if err != nil {
			return
		}
		again, err := EncodeApproval(a)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("accepted, but encoded otherwise: %v", err)
		}
		if a.Tag == "" || a.Commit == "" || len(a.Policy) != 64 || len(a.Subjects) == 0 {
			t.Fatalf("accepted without %+v", a)
		}
	})
}
