// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
)

var errBroken = errors.New("broken connection")

// attack is what a repository does after its clients refreshed once. Both clients
// then refresh again, from the caches that they have, and ask for a target.
type attack struct {
	name   string
	do     func(*tuftest.Sim)
	want   error  // nil: the target is returned
	target string // "" for a.txt
	at     time.Time
	// gotuf says why go-tuf's client does otherwise; "" if it agrees.
	gotuf string
	first func(*tuftest.Sim) // before the first refresh
}

// options are those of our client, with a cache of its own.
func options(s *tuftest.Sim) Options {
	return Options{
		Root: s.Files["1.root.json"], Source: s, Cache: s.T.TempDir(), Now: func() time.Time { return tuftest.Now },
	}
}

// run refreshes and returns a target.
func run(ctx context.Context, o Options, target string) ([]byte, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := c.Refresh(ctx); err != nil {
		return nil, err
	}
	return c.Target(ctx, target)
}

// stream refreshes and downloads a target into a file.
func stream(t *testing.T, o Options, target string) (string, error) {
	t.Helper()
	c, err := New(o)
	if err != nil {
		return "", err
	}
	if err := c.Refresh(t.Context()); err != nil {
		return "", err
	}
	info, err := c.Find(t.Context(), target)
	if err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "partial"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = c.Download(t.Context(), info, f, nil)
	data, rerr := os.ReadFile(f.Name())
	if rerr != nil {
		t.Fatal(rerr)
	}
	if err != nil && len(data) > 0 {
		t.Errorf("%q is left after %v", data, err)
	}
	return string(data), err
}

func (a attack) run(t *testing.T) {
	s := tuftest.New(t)
	if a.first != nil {
		a.first(s)
	}
	if a.at.IsZero() {
		a.at = tuftest.Now
	}
	target := a.target
	if target == "" {
		target = "a.txt"
	}
	o, large, ref := options(s), options(s), s.Reference()
	if _, err := run(t.Context(), o, "a.txt"); err != nil {
		t.Fatalf("before: %v", err)
	}
	if _, err := stream(t, large, "a.txt"); err != nil {
		t.Fatalf("before: %v", err)
	}
	_, refBefore := ref.Run(tuftest.Now, "a.txt")
	before := kept(t, o)
	a.do(s)
	o.Now = func() time.Time { return a.at }
	data, err := run(t.Context(), o, target)
	if !errors.Is(err, a.want) || (err == nil) != (a.want == nil) {
		t.Errorf("%v, want %v", err, a.want)
	}
	if err != nil && data != nil {
		t.Error("data beside an error")
	}
	// What streams meets the same.
	large.Now = o.Now
	streamed, serr := stream(t, large, target)
	if !errors.Is(serr, a.want) || (serr == nil) != (a.want == nil) || serr == nil && streamed != string(data) {
		t.Errorf("streamed: %q, %v, want %v", streamed, serr, a.want)
	}
	_, refErr := ref.Run(a.at, target)
	if (refErr == nil) == (err == nil) != (a.gotuf == "") {
		t.Errorf("go-tuf: %v (before: %v), ours: %v; said to differ: %q", refErr, refBefore, err, a.gotuf)
	}
	if a.want == nil || !a.at.Equal(tuftest.Now) || kept(t, o) != before {
		return
	}
	// Nothing that failed was kept in place of what was verified: the cache alone
	// serves what it did. A timestamp that was verified stays, whatever follows.
	o.Source = nil
	if data, err := run(t.Context(), o, "a.txt"); err != nil || string(data) != "content of a" {
		t.Errorf("from the cache: %q, %v", data, err)
	}
}

// kept returns which roots and which timestamp are kept.
func kept(t *testing.T, o Options) string {
	t.Helper()
	out := ""
	for _, pattern := range []string{"*/roots/*", "*/timestamp.json"} {
		names, err := filepath.Glob(filepath.Join(o.Cache, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out += name + string(data)
		}
	}
	return out
}

const aMoment = time.Second

var attacks = []attack{
	{name: "nothing new", do: func(*tuftest.Sim) {}},
	{name: "a new version", do: func(s *tuftest.Sim) { s.Publish() }},
	{name: "a new file", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Add("targets", "b.txt", "b")
		s.Publish()
	}, target: "b.txt"},
	{name: "no such target", do: func(*tuftest.Sim) {}, target: "b.txt", want: ErrNoTarget},

	// Roots.
	{name: "a new root", do: func(s *tuftest.Sim) { s.NextRoot(func() {}) }},
	{name: "many new roots", do: func(s *tuftest.Sim) {
		for range 20 {
			s.NextRoot(func() { s.Rotate("root") })
		}
	}},
	{name: "root keys are rotated", do: func(s *tuftest.Sim) { s.NextRoot(func() { s.Rotate("root") }) }},
	{
		name: "root by new keys only",
		do:   func(s *tuftest.Sim) { s.Root.Signed.Version++; s.Rotate("root"); s.PublishRoot() }, want: ErrUnsigned,
	},
	{name: "root by old keys only", do: func(s *tuftest.Sim) {
		old := s.Signers["root"]
		s.Root.Signed.Version++
		s.Rotate("root")
		s.Signers["root"] = old
		s.PublishRoot()
	}, want: ErrUnsigned},
	{name: "root below threshold", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		s.Files["2.root.json"] = tuftest.Sign(s, "root", s.Root, s.Signers["root"][0])
	}, want: ErrUnsigned},
	{name: "root raises its threshold", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		s.Root.Signed.Roles["root"].Threshold = 3
		s.Files["2.root.json"] = tuftest.Sign(s, "root", s.Root, s.Signers["root"][:2]...)
	}, want: ErrUnsigned},
	{name: "root lowers its threshold", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		s.Root.Signed.Roles["root"].Threshold = 1
		s.Files["2.root.json"] = tuftest.Sign(s, "root", s.Root, s.Signers["root"][0])
	}, want: ErrUnsigned},
	{name: "root skips a version", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version = 3
		s.PublishRoot()
		s.Files["2.root.json"] = s.Files["3.root.json"]
	}, want: ErrMismatch},
	{
		name: "the same root again", do: func(s *tuftest.Sim) { s.Files["2.root.json"] = s.Files["1.root.json"] },
		want: ErrMismatch,
	},
	{name: "a bad root between good ones", do: func(s *tuftest.Sim) {
		s.NextRoot(func() {})
		s.Files["2.root.json"] = tuftest.Sign(s, "root", s.Root, tuftest.NewKey(s.T))
		s.NextRoot(func() {})
	}, want: ErrUnsigned},
	{name: "an intermediate root expired", do: func(s *tuftest.Sim) {
		s.NextRoot(func() { s.Root.Signed.Expires = tuftest.Now.AddDate(0, 0, -1) })
		s.NextRoot(func() { s.Root.Signed.Expires = tuftest.Now.AddDate(0, 0, 1) })
	}},
	{name: "the newest root expired", do: func(s *tuftest.Sim) {
		s.NextRoot(func() { s.Root.Signed.Expires = tuftest.Now.AddDate(0, 0, -1) })
	}, want: ErrExpired},
	{
		name: "root expires now", do: func(s *tuftest.Sim) { s.NextRoot(func() { s.Root.Signed.Expires = tuftest.Now }) },
		want: ErrExpired, gotuf: "takes what expires now",
	},
	{
		name: "root expires in a moment",
		do:   func(s *tuftest.Sim) { s.NextRoot(func() { s.Root.Signed.Expires = tuftest.Now.Add(aMoment) }) },
	},
	{name: "root of no bytes", do: func(s *tuftest.Sim) { s.Files["2.root.json"] = []byte{} }, want: ErrMalformed},
	{name: "endless root", do: func(s *tuftest.Sim) {
		s.Files["2.root.json"] = make([]byte, maxRoot+1)
		s.Fault["2.root.json"] = errBroken
	}, want: errBroken},
	{
		name: "root's connection breaks",
		do:   func(s *tuftest.Sim) { s.NextRoot(func() {}); s.Fault["2.root.json"] = errBroken }, want: errBroken,
	},
	{
		name: "another type as root", do: func(s *tuftest.Sim) { s.Files["2.root.json"] = s.Files["1.targets.json"] },
		want: ErrMalformed,
	},

	// Keys.
	{name: "one key under two key IDs", do: func(s *tuftest.Sim) { duplicate(s, false) }, want: ErrUnsigned},
	{name: "two keys", do: func(s *tuftest.Sim) { duplicate(s, true) }},
	{name: "a key ID twice in a role", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		s.PublishRoot()
		s.Edit("2.root.json", "root", func(signed map[string]any) {
			r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
			r["keyids"] = append(r["keyids"].([]any), r["keyids"].([]any)[0])
			r["threshold"] = 2
		})
	}, want: ErrMalformed},
	{name: "a signature twice", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		k := s.Signers["root"][0]
		if _, err := s.Root.Sign(k); err != nil {
			s.T.Fatal(err)
		}
		s.Files["2.root.json"] = tuftest.Sign(s, "root", s.Root, k, s.Signers["root"][1], k)
	}, want: ErrMalformed},
	{name: "signatures of keys of another role", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Version++
		s.Files["timestamp.json"] = tuftest.Sign(s, "", s.Timestamp, s.Signers["root"]...)
	}, want: ErrUnsigned},
	{name: "a key that the root does not have", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Version++
		s.Files["timestamp.json"] = tuftest.Sign(s, "", s.Timestamp, tuftest.NewKey(s.T))
	}, want: ErrUnsigned},
	{name: "a signature beside a bad one", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Version++
		s.Files["timestamp.json"] = tuftest.Sign(s, "", s.Timestamp, tuftest.NewKey(s.T), s.Signers["timestamp"][0])
	}},
	{name: "no signatures", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Version++
		s.Files["timestamp.json"] = tuftest.Sign(s, "", s.Timestamp, []signature.Signer{}...)
	}, want: ErrUnsigned},
	{name: "a listed key that is not there", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		s.PublishRoot()
		s.Edit("2.root.json", "root", func(signed map[string]any) {
			r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
			r["keyids"] = append(r["keyids"].([]any), strings.Repeat("0", 64))
		})
	}, gotuf: "fails on a key ID without a key, however many others signed"},
	{name: "a threshold of 0", do: func(s *tuftest.Sim) { threshold(s, "timestamp", 0) }, want: ErrMalformed},
	{name: "a threshold below 0", do: func(s *tuftest.Sim) { threshold(s, "timestamp", -1) }, want: ErrMalformed},
	{name: "a threshold that is a fraction", do: func(s *tuftest.Sim) {
		s.NextRoot(func() {})
		s.Files["2.root.json"] = []byte(strings.Replace(string(s.Files["2.root.json"]), `"threshold": 2`, `"threshold": 1.5`,
			1))
	}, want: ErrMalformed},
	{name: "more than there are keys", do: func(s *tuftest.Sim) { threshold(s, "timestamp", 2) }, want: ErrUnsigned},

	// Timestamp.
	{name: "timestamp rolled back",
		do:    func(s *tuftest.Sim) { s.Publish(); s.Timestamp.Signed.Version = 1; s.PublishSnapshot() },
		first: func(s *tuftest.Sim) { s.Publish(); s.Publish() }, want: ErrRollback},
	{name: "timestamp names an older snapshot", first: func(s *tuftest.Sim) { s.Publish(); s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Timestamp.Signed.Version++
			s.Timestamp.Signed.Meta["snapshot.json"].Version--
			s.Files["timestamp.json"] = tuftest.Sign(s, "timestamp", s.Timestamp)
		}, want: ErrRollback},
	{name: "timestamp frozen", do: func(*tuftest.Sim) {}, at: tuftest.Now.AddDate(0, 0, 2),
		first: func(s *tuftest.Sim) { s.Timestamp.Signed.Expires = tuftest.Now.AddDate(0, 0, 1); s.Publish() },
		want:  ErrExpired},
	{
		name: "timestamp expires now", do: func(s *tuftest.Sim) { s.Timestamp.Signed.Expires = tuftest.Now; s.Publish() },
		want: ErrExpired, gotuf: "takes what expires now",
	},
	{name: "timestamp missing", do: func(s *tuftest.Sim) { delete(s.Files, "timestamp.json") }, want: fs.ErrNotExist},
	{name: "endless timestamp", do: func(s *tuftest.Sim) {
		s.Files["timestamp.json"] = make([]byte, maxTimestamp+1)
		s.Fault["timestamp.json"] = errBroken
	}, want: errBroken},
	{name: "the same version with other content", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Expires = tuftest.Now.AddDate(2, 0, 0)
		s.Files["timestamp.json"] = tuftest.Sign(s, "timestamp", s.Timestamp)
	}},
	{name: "timestamp without a snapshot", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Version++
		s.Files["timestamp.json"] = tuftest.Sign(s, "timestamp", s.Timestamp)
		s.Edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["meta"] = map[string]any{} })
	}, want: ErrMalformed},
	{
		name: "snapshot as timestamp", do: func(s *tuftest.Sim) { s.Files["timestamp.json"] = s.Files["snapshot.json"] },
		want: ErrMalformed,
	},

	// Snapshot: rollback, mix-and-match.
	{name: "snapshot of another version", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Files[fmt.Sprintf("%d.snapshot.json", s.Snapshot.Signed.Version)] = s.Files["1.snapshot.json"]
	}, want: ErrMismatch},
	{name: "snapshot lowers a version",
		first: func(s *tuftest.Sim) { s.Targets["targets"].Signed.Version = 5; s.Publish() },
		do:    func(s *tuftest.Sim) { s.Targets["targets"].Signed.Version = 4; s.Publish() }, want: ErrRollback},
	{name: "snapshot drops a role", first: func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Publish()
	}, do: func(s *tuftest.Sim) {
		delete(s.Targets, "d")
		delete(s.Snapshot.Signed.Meta, "d.json")
		s.Publish()
	}, want: ErrRollback},
	{name: "snapshot without targets", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Edit(fmt.Sprintf("%d.snapshot.json", s.Snapshot.Signed.Version), "snapshot", func(signed map[string]any) {
			signed["meta"] = map[string]any{}
		})
	}, want: ErrMalformed},
	{
		name: "snapshot expired",
		do:   func(s *tuftest.Sim) { s.Snapshot.Signed.Expires = tuftest.Now.AddDate(0, 0, -1); s.Publish() },
		want: ErrExpired,
	},
	{name: "snapshot is not what timestamp hashes", first: func(s *tuftest.Sim) { s.Hashed = true; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Publish()
			old := s.Files["timestamp.json"]
			s.Snapshot.Signed.Expires = tuftest.Now.AddDate(0, 1, 0)
			s.PublishSnapshot()
			s.Files["timestamp.json"] = old
		}, want: ErrMismatch},
	{name: "snapshot longer than announced", first: func(s *tuftest.Sim) { s.Hashed = true; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Publish()
			name := fmt.Sprintf("%d.snapshot.json", s.Snapshot.Signed.Version)
			s.Files[name] = append(s.Files[name], ' ')
			s.Fault[name] = errBroken
		}, want: errBroken},
	{name: "snapshot announced as longer than is read", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Timestamp.Signed.Meta["snapshot.json"].Length = maxSnapshot + 1
		s.Files["timestamp.json"] = tuftest.Sign(s, "timestamp", s.Timestamp)
	}, want: ErrMismatch},
	{name: "snapshot missing", do: func(s *tuftest.Sim) {
		s.Publish()
		delete(s.Files, fmt.Sprintf("%d.snapshot.json", s.Snapshot.Signed.Version))
	}, want: fs.ErrNotExist},

	// Fast-forward recovery.
	{name: "timestamp fast-forwarded, its key rotated",
		first: func(s *tuftest.Sim) { s.Timestamp.Signed.Version = 1 << 40; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Timestamp.Signed.Version = 2
			s.NextRoot(func() { s.Rotate("timestamp") })
			s.Publish()
		}},
	{name: "timestamp fast-forwarded, no key rotated",
		first: func(s *tuftest.Sim) { s.Timestamp.Signed.Version = 1 << 40; s.Publish() },
		do:    func(s *tuftest.Sim) { s.Timestamp.Signed.Version = 2; s.NextRoot(func() {}); s.Publish() },
		want:  ErrRollback},
	{name: "snapshot fast-forwarded, both keys rotated",
		first: func(s *tuftest.Sim) { s.Snapshot.Signed.Version = 1 << 40; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Snapshot.Signed.Version = 2
			s.NextRoot(func() { s.Rotate("snapshot"); s.Rotate("timestamp") })
			s.Publish()
		}},
	{name: "snapshot fast-forwarded, its key rotated",
		first: func(s *tuftest.Sim) { s.Snapshot.Signed.Version = 1 << 40; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Snapshot.Signed.Version = 2
			s.NextRoot(func() { s.Rotate("snapshot") })
			s.Publish()
		},
		gotuf: "keeps the timestamp unless the timestamp's key was rotated, unlike TUF 5.3.11"},
	{name: "targets fast-forwarded, snapshot key rotated",
		first: func(s *tuftest.Sim) { s.Targets["targets"].Signed.Version = 1 << 40; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Targets["targets"].Signed.Version = 2
			s.NextRoot(func() { s.Rotate("snapshot") })
			s.Publish()
		}},
	{name: "a key is added only", first: func(s *tuftest.Sim) { s.Timestamp.Signed.Version = 1 << 40; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Timestamp.Signed.Version = 2
			s.NextRoot(func() { s.AddKey("timestamp", tuftest.NewKey(s.T)) })
			s.Publish()
		}, want: ErrRollback},

	// Targets: arbitrary software.
	{name: "targets by another key", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Publish()
		s.Files["2.targets.json"] = tuftest.Sign(s, "", s.Targets["targets"], tuftest.NewKey(s.T))
	}, want: ErrUnsigned},
	{name: "targets by the snapshot's key", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Publish()
		s.Files["2.targets.json"] = tuftest.Sign(s, "snapshot", s.Targets["targets"])
	}, want: ErrUnsigned},
	{name: "targets of another version", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Publish()
		s.Files["2.targets.json"] = s.Files["1.targets.json"]
	}, want: ErrMismatch},
	{name: "targets expired", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Targets["targets"].Signed.Expires = tuftest.Now.AddDate(0, 0, -1)
		s.Publish()
	}, want: ErrExpired},
	{name: "targets are not what snapshot hashes", first: func(s *tuftest.Sim) { s.Hashed = true; s.Publish() },
		do: func(s *tuftest.Sim) {
			s.Targets["targets"].Signed.Version++
			s.Publish()
			s.Add("targets", "a.txt", "evil")
			s.Files["2.targets.json"] = tuftest.Sign(s, "targets", s.Targets["targets"])
		}, want: ErrMismatch},
	{name: "another content", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Add("targets", "b.txt", "good")
		s.Publish()
		replace(s, "b.txt", "evil")
	}, target: "b.txt", want: ErrMismatch},
	{name: "content that is shorter", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Add("targets", "b.txt", "good")
		s.Publish()
		replace(s, "b.txt", "goo")
	}, target: "b.txt", want: ErrMismatch},
	{name: "content that is missing", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Add("targets", "b.txt", "good")
		s.Publish()
		clear(s.Content)
	}, target: "b.txt", want: fs.ErrNotExist},
	{name: "a target without hashes", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Publish()
		s.Edit("2.targets.json", "targets", func(signed map[string]any) {
			signed["targets"].(map[string]any)["a.txt"].(map[string]any)["hashes"] = map[string]any{}
		})
	}, want: ErrMalformed},
	{name: "a target with an unknown hash", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Publish()
		s.Edit("2.targets.json", "targets", func(signed map[string]any) {
			signed["targets"].(map[string]any)["a.txt"].(map[string]any)["hashes"] = map[string]any{"md5": "00"}
		})
	}, want: ErrMalformed},
	{name: "a name that escapes", do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Add("targets", "../../x", "evil")
		s.Publish()
	}, target: "../../x", want: errName, gotuf: "returns it; whoever keeps files under their names has to look"},

	// What is served is not what JSON means to everyone.
	{name: "a key of JSON twice", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Files["timestamp.json"] = []byte(strings.Replace(string(s.Files["timestamp.json"]), `"version"`,
			`"version": 99, "version"`, 1))
	}, want: ErrMalformed, gotuf: "takes the last one"},
	{name: "a key of JSON in another case", do: func(s *tuftest.Sim) {
		s.Timestamp.Signed.Version++
		s.Files["timestamp.json"] = tuftest.Sign(s, "timestamp", s.Timestamp)
		s.Edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["expire\u017f"] = "2020-01-01T00:00:00Z" })
	}, gotuf: "reads a key with a long s for expires"},
	{name: "something after the document", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Files["timestamp.json"] = append(s.Files["timestamp.json"], "{}"...)
	}, want: ErrMalformed},
	{name: "a version of a newer TUF", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["spec_version"] = "2.0.0" })
	}, want: ErrMalformed, gotuf: "does not look at spec_version"},
	{name: "a field that nobody knows", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Edit("timestamp.json", "timestamp", func(signed map[string]any) {
			signed["x-new"] = map[string]any{"a": "\"\\\u2028<&\x01", "b": []any{nil, true, 1 << 40}}
		})
	}},
	{name: "a number beyond 53 bits", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["x-new"] = int64(1)<<62 + 1 })
	}, gotuf: "reads what it does not know as floating point and signs another number"},
	{name: "nested too deeply", do: func(s *tuftest.Sim) {
		s.Publish()
		s.Edit("timestamp.json", "timestamp", func(signed map[string]any) {
			var v any = "x"
			for range 2 * maxDepth {
				v = []any{v}
			}
			signed["x-new"] = v
		})
	}, want: ErrMalformed, gotuf: "nests up to 10000"},
}

func threshold(s *tuftest.Sim, role string, n int) {
	s.NextRoot(func() { s.Root.Signed.Roles[role].Threshold = n })
	s.Publish()
}

func replace(s *tuftest.Sim, name, content string) {
	for path := range s.Content {
		if strings.HasSuffix(path, name) {
			s.Content[path] = []byte(content)
		}
	}
}

// TestAttacks runs every attack against this client, and against go-tuf's, which
// must do the same except where the row says otherwise.
func TestAttacks(t *testing.T) {
	for _, a := range slices.Concat(attacks, delegations, keyRows) {
		t.Run(a.name, a.run)
	}
}
