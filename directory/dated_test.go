// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestDated: an input is dated by the newest certificate of the trusted root that an entry of it
// carries, in whatever steps it was read; a stranger's certificate, and a key, date nothing.
func TestDated(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	at := func(minutes int) time.Time { return sigstoretest.Now.Add(time.Duration(minutes) * time.Minute) }
	payload := statement(t, repoName(0), "alice")
	entry := func(of *sigstoretest.Instance, when time.Time) []byte {
		sign(of, repoName(0), "schedule", payload, when.Add(90*time.Second)) // certificates begin a minute before
		bodies := of.BodiesV2()
		return bodies[len(bodies)-1]
	}
	var bodies [][]byte
	for _, minutes := range []int{-90, -50, -70, -60} { // an older one is logged later
		bodies = append(bodies, entry(inst, at(minutes)))
	}
	bodies = append(bodies, entry(stranger, at(-1)), []byte("junk"))
	bodies = append(bodies, entry(inst, at(-40)))
	minute := func(minutes int) string { return at(minutes).Truncate(time.Minute).UTC().Format(time.RFC3339) }
	for name, x := range map[string]struct {
		sizes []int
		want  string
	}{
		"one":                        {[]int{1}, minute(-90)},
		"at once":                    {[]int{4}, minute(-50)},
		"one after the other":        {[]int{1, 2, 3, 4}, minute(-50)},
		"strangers'":                 {[]int{6}, minute(-50)},
		"all":                        {[]int{7}, minute(-40)},
		"all, in steps":              {[]int{3, 5, 7}, minute(-40)},
		"nothing new was read since": {[]int{4, 4}, minute(-50)},
	} {
		l := newTestLog(t, inst, bodies)
		b := testBuilder(t, l, t.TempDir(), nil)
		for _, n := range x.sizes {
			l.show(n)
			if _, err := b.Build(t.Context()); err != nil {
				t.Fatal(name, err)
			}
		}
		if got := newestLeaf(t, b.Store).Maps[0].Inputs[0].Newest; got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}

	// Nothing dates a log of which all certificates are strangers', nor an empty one.
	l := newTestLog(t, inst, bodies[4:6])
	b := testBuilder(t, l, t.TempDir(), nil)
	for _, n := range []int{0, 2} {
		l.show(n)
		if _, err := b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := newestLeaf(t, b.Store).Maps[0].Inputs[0].Newest; got != "" {
			t.Errorf("dated %s by nothing", got)
		}
	}
}

func newestLeaf(t *testing.T, s *Store) (out answers.DirectoryLeaf) {
	t.Helper()
	if err := s.db.View(func(tx *bolt.Tx) (err error) {
		out, err = answers.ParseDirectoryLeaf(tx.Bucket(bucketLeaves).Get(number(uint64(leaves(tx) - 1))))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
