// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestLapse: a version that is bound, and that the forge hides from the directory, lapses for
// its clients after the grace, also for who has the files; on the last day of the grace
// anybody can hand it in, and then it counts.
func TestLapse(t *testing.T) {
	const day = 24 * time.Hour
	lastDay := 1 + int(chain.Grace/day) // the first leaf with it is that of day 1
	for name, handedIn := range map[string]int{
		"never": -1, "at once": 1, "on the last day": lastDay, "a day too late": lastDay + 1,
	} {
		t.Run(name, func(t *testing.T) {
			inst := sigstoretest.New(t)
			one := statement(t, repoName(0), "alice")
			two := second(t, repoName(0), "bob", one)
			first := [][]byte{memberFile(inst, "alice", one), bindingFile(inst, repoName(0), "schedule", one, sigstoretest.Now)}
			shown := len(inst.BodiesV2())
			at := sigstoretest.Now.Add(time.Minute)
			next := [][]byte{
				memberFile(inst, "alice", two), memberFile(inst, "bob", two), bindingFile(inst, repoName(0), "schedule", two, at),
			}
			log := newTestLog(t, inst, inst.BodiesV2())
			log.show(shown)
			d := newDesk(t, log, t.TempDir())
			server := httptest.NewServer(d.s)
			defer server.Close()
			d.d.URL = server.URL
			client, err := web.New(server.URL, nil, "test")
			if err != nil {
				t.Fatal(err)
			}
			root, err := sigstore.ParseRoot("test", testRoot(inst))
			if err != nil {
				t.Fatal(err)
			}
			repo, err := policy.ParseLocator(repoName(0))
			if err != nil {
				t.Fatal(err)
			}
			var files []bindings.File
			for _, data := range slices.Concat(first, next) {
				files = append(files, bindings.File{Name: "f.sigstore.json", Data: data})
			}
			resolve := func() (*chain.Chain, error) {
				dir := &answers.Directory{Root: root, Descriptor: &d.d, Client: client, Now: func() time.Time { return d.now }}
				r := &bindings.Resolver{
					Root: root, Lookups: []bindings.Lookup{dir}, DefaultRefs: []string{"refs/heads/main"}, Now: d.now,
				}
				res, err := r.Resolve(t.Context(), repo, files)
				if err != nil {
					return nil, err
				}
				return res.Chain, res.Failed[dir.Name()]
			}
			if _, _, err := d.d.HandIn(t.Context(), client, answers.Unlisted(root, nil, files[:2], nil)[0]); err != nil {
				t.Fatal(err)
			}
			handed := false
			for today := range lastDay + 3 {
				log.show(shown)
				if today > 0 {
					log.show(len(log.bodies))
				}
				if today == handedIn {
					offers := answers.Unlisted(root, nil, files, nil)
					receipt, _, err := d.d.HandIn(t.Context(), client, offers[len(offers)-1])
					if err != nil || receipt.Leaf != int64(today) || receipt.Statement != spelling.Sum(two) {
						t.Fatalf("%+v: %v", receipt, err)
					}
					handed = handedIn <= lastDay
				}
				d.now = sigstoretest.Now.Add(time.Duration(today) * day)
				if _, err := d.b.Build(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := d.s.Advance(); err != nil {
					t.Fatal(err)
				}
				if today == 0 {
					continue // the directory has not read it
				}
				resolved, err := resolve()
				if err != nil {
					t.Fatal(err)
				}
				version := 0
				if vs := resolved.Versions(); len(vs) > 0 {
					version = vs[len(vs)-1].Number
				}
				lapsed := slices.ContainsFunc(resolved.Alarms(), func(a chain.Alarm) bool { return a.Code == "lapsed" })
				want, reason := 1, policy.Reason("")
				switch {
				case handed:
					want = 2
				case today <= lastDay:
					reason = policy.Undisclosed
				}
				if version != want || resolved.Reason() != reason || lapsed != (!handed && today > lastDay) {
					t.Errorf("day %d: version %d, %q, lapsed %v: %+v", today, version, resolved.Reason(), lapsed, resolved.Problems())
				}
			}
		})
	}
}
