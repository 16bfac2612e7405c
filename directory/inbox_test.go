// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// TestInbox: each file of an inbox is taken once, moved aside, or left for a later build.
func TestInbox(t *testing.T) {
	inst := sigstoretest.New(t)
	at := sigstoretest.Now
	one := statement(t, repoName(0), "alice")
	two := second(t, repoName(0), "bob", one)
	unbound := statement(t, repoName(1), "alice")
	read := statement(t, repoName(2), "alice")
	files := map[string][]byte{
		"z": memberFile(inst, "alice", one), "y": bindingFile(inst, repoName(0), "schedule", one, at),
		"a": memberFile(inst, "alice", two), "b": memberFile(inst, "bob", two),
		"c":       bindingFile(inst, repoName(0), "schedule", two, at.Add(time.Minute)),
		"mallory": memberFile(inst, "mallory", one), "unbound": memberFile(inst, "alice", unbound), "junk": []byte("junk"),
		"large": bytes.Repeat([]byte{' '}, maxSignatureBytes+1), "late": memberFile(inst, "alice", read),
		".part":           []byte("half"),
		"1-0.place.json":  (&bindings.PlaceProof{Log: "00", Checkpoint: []byte("x"), Stamp: []byte("x")}).Bytes(),
		"none.place.json": []byte("{}"),
		"misnamed":        (&bindings.PlaceProof{Log: "00", Checkpoint: []byte("x"), Stamp: []byte("x")}).Bytes(),
	}
	bindingFile(inst, repoName(2), "schedule", read, at)
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, files["z"], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, newTestLog(t, inst, inst.BodiesV2()), t.TempDir())
	var warned []string
	take := func(patient bool, want int) {
		t.Helper()
		n, err := d.s.Intake.Inbox(dir, patient, func(format string, args ...any) {
			warned = append(warned, fmt.Sprintf(format, args...))
		})
		if err != nil || n != want {
			t.Errorf("%d taken, not %d: %v", n, want, err)
		}
	}
	left := func() (out []string) {
		t.Helper()
		if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				out = append(out, strings.TrimPrefix(path, dir+"/"))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	receipts := []string{"receipts/" + spelling.Sum(one) + ".note", "receipts/" + spelling.Sum(two) + ".note"}
	refused := []string{
		"refused/junk", "refused/large", "refused/link", "refused/mallory", "refused/misnamed", "refused/none.place.json",
	}
	want := func(more ...string) {
		t.Helper()
		all := append(slices.Concat(receipts, refused), more...)
		slices.Sort(all)
		if diff := cmp.Diff(all, left()); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
	take(true, 2)
	want(".part", "late", "unbound")
	take(true, 0)
	d.build()
	for _, p := range [][]byte{one, two} {
		if leaf, n := d.shown(p); leaf != 0 || n == 0 {
			t.Errorf("leaf %d, %d signatures", leaf, n)
		}
	}
	take(false, 1)
	receipts, refused = append(receipts, "receipts/"+spelling.Sum(read)+".note"), append(refused, "refused/unbound")
	want(".part")
	if len(warned) != 7 {
		t.Errorf("%q", warned)
	}
	data, err := os.ReadFile(filepath.Join(dir, receipts[2]))
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.d.OpenReceipt(data)
	d.build()
	if leaf, n := d.shown(read); err != nil || r.Leaf != 1 || leaf != 1 || n != 1 {
		t.Errorf("%+v %v: leaf %d, %d signatures", r, err, leaf, n)
	}
	if _, err := d.s.Intake.Inbox(filepath.Join(dir, "none"), true, nil); err == nil {
		t.Error("an inbox that is not there")
	}
}
