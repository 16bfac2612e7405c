// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
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
)

var errBroken = errors.New("broken connection")

// attack is what a repository does after its clients refreshed once. Both clients
// then refresh again, from the caches that they have, and ask for a target.
type attack struct {
	name   string
	do     func(*sim)
	want   error  // nil: the target is returned
	target string // "" for a.txt
	at     time.Time
	// gotuf says why go-tuf's client does otherwise; "" if it agrees.
	gotuf string
	first func(*sim) // before the first refresh
}

func (a attack) run(t *testing.T) {
	s := newSim(t)
	if a.first != nil {
		a.first(s)
	}
	if a.at.IsZero() {
		a.at = simNow
	}
	target := a.target
	if target == "" {
		target = "a.txt"
	}
	o, ref := s.options(), s.reference()
	if _, err := run(t.Context(), o, "a.txt"); err != nil {
		t.Fatalf("before: %v", err)
	}
	_, refBefore := ref.run(simNow, "a.txt")
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
	_, refErr := ref.run(a.at, target)
	if (refErr == nil) == (err == nil) != (a.gotuf == "") {
		t.Errorf("go-tuf: %v (before: %v), ours: %v; said to differ: %q", refErr, refBefore, err, a.gotuf)
	}
	if a.want == nil || !a.at.Equal(simNow) || kept(t, o) != before {
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
	{name: "nothing new", do: func(*sim) {}},
	{name: "a new version", do: func(s *sim) { s.publish() }},
	{name: "a new file", do: func(s *sim) { s.targets["targets"].Signed.Version++; s.add("targets", "b.txt", "b"); s.publish() }, target: "b.txt"},
	{name: "no such target", do: func(*sim) {}, target: "b.txt", want: ErrNoTarget},

	// Roots.
	{name: "a new root", do: func(s *sim) { s.nextRoot(func() {}) }},
	{name: "many new roots", do: func(s *sim) {
		for range 20 {
			s.nextRoot(func() { s.rotate("root") })
		}
	}},
	{name: "root keys are rotated", do: func(s *sim) { s.nextRoot(func() { s.rotate("root") }) }},
	{name: "root by new keys only", do: func(s *sim) { s.root.Signed.Version++; s.rotate("root"); s.publishRoot() }, want: ErrUnsigned},
	{name: "root by old keys only", do: func(s *sim) {
		old := s.signers["root"]
		s.root.Signed.Version++
		s.rotate("root")
		s.signers["root"] = old
		s.publishRoot()
	}, want: ErrUnsigned},
	{name: "root below threshold", do: func(s *sim) {
		s.root.Signed.Version++
		s.files["2.root.json"] = sign(s, "root", s.root, s.signers["root"][0])
	}, want: ErrUnsigned},
	{name: "root raises its threshold", do: func(s *sim) {
		s.root.Signed.Version++
		s.root.Signed.Roles["root"].Threshold = 3
		s.files["2.root.json"] = sign(s, "root", s.root, s.signers["root"][:2]...)
	}, want: ErrUnsigned},
	{name: "root lowers its threshold", do: func(s *sim) {
		s.root.Signed.Version++
		s.root.Signed.Roles["root"].Threshold = 1
		s.files["2.root.json"] = sign(s, "root", s.root, s.signers["root"][0])
	}, want: ErrUnsigned},
	{name: "root skips a version", do: func(s *sim) {
		s.root.Signed.Version = 3
		s.publishRoot()
		s.files["2.root.json"] = s.files["3.root.json"]
	}, want: ErrMismatch},
	{name: "the same root again", do: func(s *sim) { s.files["2.root.json"] = s.files["1.root.json"] }, want: ErrMismatch},
	{name: "a bad root between good ones", do: func(s *sim) {
		s.nextRoot(func() {})
		s.files["2.root.json"] = sign(s, "root", s.root, newKey(s.t))
		s.nextRoot(func() {})
	}, want: ErrUnsigned},
	{name: "an intermediate root expired", do: func(s *sim) {
		s.nextRoot(func() { s.root.Signed.Expires = simNow.AddDate(0, 0, -1) })
		s.nextRoot(func() { s.root.Signed.Expires = simNow.AddDate(0, 0, 1) })
	}},
	{name: "the newest root expired", do: func(s *sim) {
		s.nextRoot(func() { s.root.Signed.Expires = simNow.AddDate(0, 0, -1) })
	}, want: ErrExpired},
	{name: "root expires now", do: func(s *sim) { s.nextRoot(func() { s.root.Signed.Expires = simNow }) }, want: ErrExpired, gotuf: "takes what expires now"},
	{name: "root expires in a moment", do: func(s *sim) { s.nextRoot(func() { s.root.Signed.Expires = simNow.Add(aMoment) }) }},
	{name: "root of no bytes", do: func(s *sim) { s.files["2.root.json"] = []byte{} }, want: ErrMalformed},
	{name: "endless root", do: func(s *sim) { s.files["2.root.json"] = make([]byte, maxRoot+1); s.fault["2.root.json"] = errBroken }, want: errBroken},
	{name: "root's connection breaks", do: func(s *sim) { s.nextRoot(func() {}); s.fault["2.root.json"] = errBroken }, want: errBroken},
	{name: "another type as root", do: func(s *sim) { s.files["2.root.json"] = s.files["1.targets.json"] }, want: ErrMalformed},

	// Keys.
	{name: "one key under two key IDs", do: func(s *sim) { duplicate(s, false) }, want: ErrUnsigned},
	{name: "two keys", do: func(s *sim) { duplicate(s, true) }},
	{name: "a key ID twice in a role", do: func(s *sim) {
		s.root.Signed.Version++
		s.publishRoot()
		s.edit("2.root.json", "root", func(signed map[string]any) {
			r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
			r["keyids"] = append(r["keyids"].([]any), r["keyids"].([]any)[0])
			r["threshold"] = 2
		})
	}, want: ErrMalformed},
	{name: "a signature twice", do: func(s *sim) {
		s.root.Signed.Version++
		k := s.signers["root"][0]
		if _, err := s.root.Sign(k); err != nil {
			s.t.Fatal(err)
		}
		s.files["2.root.json"] = sign(s, "root", s.root, k, s.signers["root"][1], k)
	}, want: ErrMalformed},
	{name: "signatures of keys of another role", do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.files["timestamp.json"] = sign(s, "", s.timestamp, s.signers["root"]...)
	}, want: ErrUnsigned},
	{name: "a key that the root does not have", do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.files["timestamp.json"] = sign(s, "", s.timestamp, newKey(s.t))
	}, want: ErrUnsigned},
	{name: "a signature beside a bad one", do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.files["timestamp.json"] = sign(s, "", s.timestamp, newKey(s.t), s.signers["timestamp"][0])
	}},
	{name: "no signatures", do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.files["timestamp.json"] = sign(s, "", s.timestamp, []signature.Signer{}...)
	}, want: ErrUnsigned},
	{name: "a listed key that is not there", do: func(s *sim) {
		s.root.Signed.Version++
		s.publishRoot()
		s.edit("2.root.json", "root", func(signed map[string]any) {
			r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
			r["keyids"] = append(r["keyids"].([]any), strings.Repeat("0", 64))
		})
	}, gotuf: "fails on a key ID without a key, however many others signed"},
	{name: "a threshold of 0", do: func(s *sim) { threshold(s, "timestamp", 0) }, want: ErrMalformed},
	{name: "a threshold below 0", do: func(s *sim) { threshold(s, "timestamp", -1) }, want: ErrMalformed},
	{name: "a threshold that is a fraction", do: func(s *sim) {
		s.nextRoot(func() {})
		s.files["2.root.json"] = []byte(strings.Replace(string(s.files["2.root.json"]), `"threshold": 2`, `"threshold": 1.5`, 1))
	}, want: ErrMalformed},
	{name: "more than there are keys", do: func(s *sim) { threshold(s, "timestamp", 2) }, want: ErrUnsigned},

	// Timestamp.
	{name: "timestamp rolled back", do: func(s *sim) { s.publish(); s.timestamp.Signed.Version = 1; s.publishSnapshot() },
		first: func(s *sim) { s.publish(); s.publish() }, want: ErrRollback},
	{name: "timestamp names an older snapshot", first: func(s *sim) { s.publish(); s.publish() }, do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.timestamp.Signed.Meta["snapshot.json"].Version--
		s.files["timestamp.json"] = sign(s, "timestamp", s.timestamp)
	}, want: ErrRollback},
	{name: "timestamp frozen", do: func(*sim) {}, at: simNow.AddDate(0, 0, 2),
		first: func(s *sim) { s.timestamp.Signed.Expires = simNow.AddDate(0, 0, 1); s.publish() }, want: ErrExpired},
	{name: "timestamp expires now", do: func(s *sim) { s.timestamp.Signed.Expires = simNow; s.publish() }, want: ErrExpired, gotuf: "takes what expires now"},
	{name: "timestamp missing", do: func(s *sim) { delete(s.files, "timestamp.json") }, want: fs.ErrNotExist},
	{name: "endless timestamp", do: func(s *sim) {
		s.files["timestamp.json"] = make([]byte, maxTimestamp+1)
		s.fault["timestamp.json"] = errBroken
	}, want: errBroken},
	{name: "the same version with other content", do: func(s *sim) {
		s.timestamp.Signed.Expires = simNow.AddDate(2, 0, 0)
		s.files["timestamp.json"] = sign(s, "timestamp", s.timestamp)
	}},
	{name: "timestamp without a snapshot", do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.files["timestamp.json"] = sign(s, "timestamp", s.timestamp)
		s.edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["meta"] = map[string]any{} })
	}, want: ErrMalformed},
	{name: "snapshot as timestamp", do: func(s *sim) { s.files["timestamp.json"] = s.files["snapshot.json"] }, want: ErrMalformed},

	// Snapshot: rollback, mix-and-match.
	{name: "snapshot of another version", do: func(s *sim) {
		s.publish()
		s.files[fmt.Sprintf("%d.snapshot.json", s.snapshot.Signed.Version)] = s.files["1.snapshot.json"]
	}, want: ErrMismatch},
	{name: "snapshot lowers a version", first: func(s *sim) { s.targets["targets"].Signed.Version = 5; s.publish() },
		do: func(s *sim) { s.targets["targets"].Signed.Version = 4; s.publish() }, want: ErrRollback},
	{name: "snapshot drops a role", first: func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.publish()
	}, do: func(s *sim) {
		delete(s.targets, "d")
		delete(s.snapshot.Signed.Meta, "d.json")
		s.publish()
	}, want: ErrRollback},
	{name: "snapshot without targets", do: func(s *sim) {
		s.publish()
		s.edit(fmt.Sprintf("%d.snapshot.json", s.snapshot.Signed.Version), "snapshot", func(signed map[string]any) { signed["meta"] = map[string]any{} })
	}, want: ErrMalformed},
	{name: "snapshot expired", do: func(s *sim) { s.snapshot.Signed.Expires = simNow.AddDate(0, 0, -1); s.publish() }, want: ErrExpired},
	{name: "snapshot is not what timestamp hashes", first: func(s *sim) { s.hashed = true; s.publish() }, do: func(s *sim) {
		s.publish()
		old := s.files["timestamp.json"]
		s.snapshot.Signed.Expires = simNow.AddDate(0, 1, 0)
		s.publishSnapshot()
		s.files["timestamp.json"] = old
	}, want: ErrMismatch},
	{name: "snapshot longer than announced", first: func(s *sim) { s.hashed = true; s.publish() }, do: func(s *sim) {
		s.publish()
		name := fmt.Sprintf("%d.snapshot.json", s.snapshot.Signed.Version)
		s.files[name] = append(s.files[name], ' ')
		s.fault[name] = errBroken
	}, want: errBroken},
	{name: "snapshot announced as longer than is read", do: func(s *sim) {
		s.publish()
		s.timestamp.Signed.Meta["snapshot.json"].Length = maxSnapshot + 1
		s.files["timestamp.json"] = sign(s, "timestamp", s.timestamp)
	}, want: ErrMismatch},
	{name: "snapshot missing", do: func(s *sim) { s.publish(); delete(s.files, fmt.Sprintf("%d.snapshot.json", s.snapshot.Signed.Version)) }, want: fs.ErrNotExist},

	// Fast-forward recovery.
	{name: "timestamp fast-forwarded, its key rotated", first: func(s *sim) { s.timestamp.Signed.Version = 1 << 40; s.publish() },
		do: func(s *sim) {
			s.timestamp.Signed.Version = 2
			s.nextRoot(func() { s.rotate("timestamp") })
			s.publish()
		}},
	{name: "timestamp fast-forwarded, no key rotated", first: func(s *sim) { s.timestamp.Signed.Version = 1 << 40; s.publish() },
		do: func(s *sim) { s.timestamp.Signed.Version = 2; s.nextRoot(func() {}); s.publish() }, want: ErrRollback},
	{name: "snapshot fast-forwarded, both keys rotated", first: func(s *sim) { s.snapshot.Signed.Version = 1 << 40; s.publish() },
		do: func(s *sim) {
			s.snapshot.Signed.Version = 2
			s.nextRoot(func() { s.rotate("snapshot"); s.rotate("timestamp") })
			s.publish()
		}},
	{name: "snapshot fast-forwarded, its key rotated", first: func(s *sim) { s.snapshot.Signed.Version = 1 << 40; s.publish() },
		do:    func(s *sim) { s.snapshot.Signed.Version = 2; s.nextRoot(func() { s.rotate("snapshot") }); s.publish() },
		gotuf: "keeps the timestamp unless the timestamp's key was rotated, unlike TUF 5.3.11"},
	{name: "targets fast-forwarded, snapshot key rotated", first: func(s *sim) { s.targets["targets"].Signed.Version = 1 << 40; s.publish() },
		do: func(s *sim) {
			s.targets["targets"].Signed.Version = 2
			s.nextRoot(func() { s.rotate("snapshot") })
			s.publish()
		}},
	{name: "a key is added only", first: func(s *sim) { s.timestamp.Signed.Version = 1 << 40; s.publish() },
		do: func(s *sim) {
			s.timestamp.Signed.Version = 2
			s.nextRoot(func() { s.addKey("timestamp", newKey(s.t)) })
			s.publish()
		}, want: ErrRollback},

	// Targets: arbitrary software.
	{name: "targets by another key", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.publish()
		s.files["2.targets.json"] = sign(s, "", s.targets["targets"], newKey(s.t))
	}, want: ErrUnsigned},
	{name: "targets by the snapshot's key", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.publish()
		s.files["2.targets.json"] = sign(s, "snapshot", s.targets["targets"])
	}, want: ErrUnsigned},
	{name: "targets of another version", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.publish()
		s.files["2.targets.json"] = s.files["1.targets.json"]
	}, want: ErrMismatch},
	{name: "targets expired", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.targets["targets"].Signed.Expires = simNow.AddDate(0, 0, -1)
		s.publish()
	}, want: ErrExpired},
	{name: "targets are not what snapshot hashes", first: func(s *sim) { s.hashed = true; s.publish() }, do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.publish()
		s.add("targets", "a.txt", "evil")
		s.files["2.targets.json"] = sign(s, "targets", s.targets["targets"])
	}, want: ErrMismatch},
	{name: "another content", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.add("targets", "b.txt", "good")
		s.publish()
		replace(s, "b.txt", "evil")
	}, target: "b.txt", want: ErrMismatch},
	{name: "content that is shorter", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.add("targets", "b.txt", "good")
		s.publish()
		replace(s, "b.txt", "goo")
	}, target: "b.txt", want: ErrMismatch},
	{name: "content that is missing", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.add("targets", "b.txt", "good")
		s.publish()
		clear(s.content)
	}, target: "b.txt", want: fs.ErrNotExist},
	{name: "a target without hashes", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.publish()
		s.edit("2.targets.json", "targets", func(signed map[string]any) {
			signed["targets"].(map[string]any)["a.txt"].(map[string]any)["hashes"] = map[string]any{}
		})
	}, want: ErrMalformed},
	{name: "a target with an unknown hash", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.publish()
		s.edit("2.targets.json", "targets", func(signed map[string]any) {
			signed["targets"].(map[string]any)["a.txt"].(map[string]any)["hashes"] = map[string]any{"md5": "00"}
		})
	}, want: ErrMalformed},
	{name: "a name that escapes", do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.add("targets", "../../x", "evil")
		s.publish()
	}, target: "../../x", want: errName, gotuf: "returns it; whoever keeps files under their names has to look"},

	// What is served is not what JSON means to everyone.
	{name: "a key of JSON twice", do: func(s *sim) {
		s.publish()
		s.files["timestamp.json"] = []byte(strings.Replace(string(s.files["timestamp.json"]), `"version"`, `"version": 99, "version"`, 1))
	}, want: ErrMalformed, gotuf: "takes the last one"},
	{name: "a key of JSON in another case", do: func(s *sim) {
		s.timestamp.Signed.Version++
		s.files["timestamp.json"] = sign(s, "timestamp", s.timestamp)
		s.edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["expire\u017f"] = "2020-01-01T00:00:00Z" })
	}, gotuf: "reads a key with a long s for expires"},
	{name: "something after the document", do: func(s *sim) { s.publish(); s.files["timestamp.json"] = append(s.files["timestamp.json"], "{}"...) }, want: ErrMalformed},
	{name: "a version of a newer TUF", do: func(s *sim) {
		s.publish()
		s.edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["spec_version"] = "2.0.0" })
	}, want: ErrMalformed, gotuf: "does not look at spec_version"},
	{name: "a field that nobody knows", do: func(s *sim) {
		s.publish()
		s.edit("timestamp.json", "timestamp", func(signed map[string]any) {
			signed["x-new"] = map[string]any{"a": "\"\\\u2028<&\x01", "b": []any{nil, true, 1 << 40}}
		})
	}},
	{name: "a number beyond 53 bits", do: func(s *sim) {
		s.publish()
		s.edit("timestamp.json", "timestamp", func(signed map[string]any) { signed["x-new"] = int64(1)<<62 + 1 })
	}, gotuf: "reads what it does not know as floating point and signs another number"},
	{name: "nested too deeply", do: func(s *sim) {
		s.publish()
		s.edit("timestamp.json", "timestamp", func(signed map[string]any) {
			var v any = "x"
			for range 2 * maxDepth {
				v = []any{v}
			}
			signed["x-new"] = v
		})
	}, want: ErrMalformed, gotuf: "nests up to 10000"},
}

// duplicate makes timestamp need two signatures, of two keys or of one that the
// root lists under two types, and so two key IDs.
func duplicate(s *sim, other bool) {
	s.t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	k := loadSigner(s.t, priv)
	twin := keyOf(s.t, k)
	twin.Type = "ecdsa-sha2-nistp256"
	s.nextRoot(func() {
		s.rotate("timestamp")
		s.addKey("timestamp", k)
		s.root.Signed.Roles["timestamp"].Threshold = 2
		if other {
			return
		}
		s.signers["timestamp"] = s.signers["timestamp"][1:]
		r := s.root.Signed.Roles["timestamp"]
		r.KeyIDs = r.KeyIDs[1:]
		if err := s.root.Signed.AddKey(twin, "timestamp"); err != nil {
			s.t.Fatal(err)
		}
	})
	s.publish()
	if !other {
		again := s.timestamp.Signatures[0]
		again.KeyID = keyID(s.t, twin)
		s.timestamp.Signatures = append(s.timestamp.Signatures, again)
		data, err := s.timestamp.ToBytes(true)
		if err != nil {
			s.t.Fatal(err)
		}
		s.files["timestamp.json"] = data
	}
}

func threshold(s *sim, role string, n int) {
	s.nextRoot(func() { s.root.Signed.Roles[role].Threshold = n })
	s.publish()
}

func replace(s *sim, name, content string) {
	for path := range s.content {
		if strings.HasSuffix(path, name) {
			s.content[path] = []byte(content)
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

// delegated returns a step that publishes what build delegates.
func delegated(build func(*sim)) func(*sim) {
	return func(s *sim) {
		s.targets["targets"].Signed.Version++
		build(s)
		s.publish()
	}
}

var delegations = []attack{
	{name: "a delegated file", target: "d/x.txt", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "a file that is not delegated", target: "e/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.add("d", "e/x.txt", "x")
	})},
	{name: "a wildcard over a separator", target: "d/e/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.add("d", "d/e/x.txt", "x")
	})},
	{name: "a pattern that is read in two ways", target: "d/x.txt", want: ErrMalformed, gotuf: "takes ! for itself", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/[!a].txt", "d/*"}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "a malformed pattern", target: "d/x.txt", want: ErrMalformed, gotuf: "takes it to match nothing", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"[", "d/*"}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "the first role answers", target: "d/x.txt", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.add("e", "d/x.txt", "evil")
		s.add("d", "d/x.txt", "x")
	})},
	{name: "a role behind the first", target: "d/x.txt", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.add("e", "d/x.txt", "x")
	})},
	{name: "a role behind a terminating one", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}, Terminating: true})
		s.delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.add("e", "d/x.txt", "evil")
	})},
	{name: "a terminating role further down", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.delegate("d", metadata.DelegatedRole{Name: "f", Paths: []string{"d/*"}, Terminating: true})
		s.add("e", "d/x.txt", "evil")
	})},
	{name: "a delegated role by another key", target: "d/x.txt", want: ErrUnsigned, do: func(s *sim) {
		delegated(func(s *sim) {
			s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.add("d", "d/x.txt", "x")
		})(s)
		s.files["1.d.json"] = sign(s, "", s.targets["d"], newKey(s.t))
	}},
	{name: "an unverifiable role hides none behind it", target: "d/x.txt", want: ErrUnsigned, do: func(s *sim) {
		delegated(func(s *sim) {
			s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
			s.add("e", "d/x.txt", "evil")
		})(s)
		s.files["1.d.json"] = sign(s, "", s.targets["d"], newKey(s.t))
	}},
	{name: "a role that the snapshot does not list", target: "d/x.txt", want: ErrMismatch, do: func(s *sim) {
		s.targets["targets"].Signed.Version++
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		d := s.targets["d"]
		delete(s.targets, "d")
		s.publish()
		s.files["1.d.json"] = sign(s, "d", d)
	}},
	{name: "a delegated role expired", target: "d/x.txt", want: ErrExpired, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.add("d", "d/x.txt", "x")
		s.targets["d"].Signed.Expires = simNow.AddDate(0, 0, -1)
	})},
	{name: "two of two keys", target: "d/x.txt", do: delegated(func(s *sim) {
		s.signers["d"] = []signature.Signer{newKey(s.t), newKey(s.t)}
		s.targets["d"] = metadata.Targets(simNow.AddDate(1, 0, 0))
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}, Threshold: 2})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "one of two keys", target: "d/x.txt", want: ErrUnsigned, do: func(s *sim) {
		delegated(func(s *sim) {
			s.signers["d"] = []signature.Signer{newKey(s.t), newKey(s.t)}
			s.targets["d"] = metadata.Targets(simNow.AddDate(1, 0, 0))
			s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}, Threshold: 2})
			s.add("d", "d/x.txt", "x")
		})(s)
		s.files["1.d.json"] = sign(s, "", s.targets["d"], s.signers["d"][0])
	}},
	{name: "a cycle", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.delegate("d", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.delegate("e", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.delegate("e", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
	})},
	{name: "as deep as is followed", target: "d/x.txt", do: delegated(func(s *sim) { deep(s, maxRoles) })},
	{name: "deeper", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) { deep(s, maxRoles+1) })},
	{name: "a top-level role delegated to", target: "d/x.txt", want: ErrMalformed, gotuf: "lets anyone be delegated to", do: delegated(func(s *sim) {
		d := *keyOf(s.t, s.signers["snapshot"][0])
		s.targets["targets"].Signed.Delegations = &metadata.Delegations{
			Keys:  map[string]*metadata.Key{keyID(s.t, &d): &d},
			Roles: []metadata.DelegatedRole{{Name: "snapshot", KeyIDs: []string{keyID(s.t, &d)}, Threshold: 1, Paths: []string{"x/*"}}},
		}
		s.add("targets", "d/x.txt", "x")
	})},
	{name: "a role delegated to twice", target: "d/x.txt", want: ErrMalformed, gotuf: "takes the first", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"e/*"}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "paths and prefixes at once", target: "d/x.txt", want: ErrMalformed, do: func(s *sim) {
		delegated(func(s *sim) {
			s.delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.add("d", "d/x.txt", "x")
		})(s)
		s.edit("2.targets.json", "targets", func(signed map[string]any) {
			d := signed["delegations"].(map[string]any)["roles"].([]any)[0].(map[string]any)
			d["path_hash_prefixes"] = []any{"0"}
		})
	}},
	{name: "hex prefixes", target: "d/x.txt", gotuf: "compares the prefix with base64", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", PathHashPrefixes: []string{hexDigest("d/x.txt")[:3]}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "base64 prefixes", target: "d/x.txt", want: ErrNoTarget, gotuf: "compares the prefix with base64", do: delegated(func(s *sim) {
		sum, _ := hex.DecodeString(hexDigest("d/x.txt"))
		s.delegate("targets", metadata.DelegatedRole{Name: "d", PathHashPrefixes: []string{base64.URLEncoding.EncodeToString(sum)[:5]}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "prefixes of other files", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "d", PathHashPrefixes: []string{hexDigest("d/y.txt")[:8]}})
		s.add("d", "d/x.txt", "x")
	})},
	{name: "succinct bins", target: "d/x.txt", do: delegated(func(s *sim) { succinct(s, 10, "d/x.txt", "d/x.txt") })},
	{name: "the bin of another file", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *sim) { succinct(s, 4, "d/x.txt", "d/y.txt") })},
	{name: "bins of 32 bits", target: "d/x.txt", do: delegated(func(s *sim) { succinct(s, 32, "d/x.txt", "d/x.txt") })},
	{name: "bins of 33 bits", target: "d/x.txt", want: ErrMalformed, do: delegated(func(s *sim) { succinct(s, 33, "d/x.txt", "d/x.txt") })},
	{name: "a strange name of a role", target: "d/x.txt", do: delegated(func(s *sim) {
		s.delegate("targets", metadata.DelegatedRole{Name: "../?#%2f ä", Paths: []string{"d/*"}})
		s.add("../?#%2f ä", "d/x.txt", "x")
	})},
}

func hexDigest(s string) string {
	f, err := metadata.TargetFile().FromBytes("x", []byte(s), "sha256")
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(f.Hashes["sha256"])
}

// deep delegates through as many roles as named, the top-level one included.
func deep(s *sim, roles int) {
	from := "targets"
	for i := range roles {
		name := fmt.Sprintf("r%d", i)
		s.delegate(from, metadata.DelegatedRole{Name: name, Paths: []string{"d/*"}})
		from = name
	}
	s.add(from, "d/x.txt", "x")
}

// succinct has the bins of succinct roles, in which the bin of a file lists
// another.
func succinct(s *sim, bits int, file, of string) {
	k := newKey(s.t)
	key := keyOf(s.t, k)
	sr := &metadata.SuccinctRoles{KeyIDs: []string{keyID(s.t, key)}, Threshold: 1, BitLength: bits, NamePrefix: "bin"}
	s.targets["targets"].Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{keyID(s.t, key): key}, SuccinctRoles: sr}
	for _, name := range []string{file, of} {
		if bits > 32 {
			return
		}
		role := sr.GetRolesForTarget(name)[0].Name
		if s.targets[role] == nil {
			s.targets[role] = metadata.Targets(simNow.AddDate(1, 0, 0))
		}
		s.signers[role] = []signature.Signer{k}
	}
	s.add(sr.GetRolesForTarget(of)[0].Name, file, "x")
}

// keyRows change the key of timestamp, and what its type says of it.
var keyRows = []attack{
	{name: "RSA", do: func(s *sim) { otherKey(s, rsaOf(s.t, 2048), nil) }},
	{name: "a small RSA key", do: func(s *sim) { otherKey(s, rsaOf(s.t, 1024), nil) }, want: ErrUnsigned, gotuf: "takes RSA of 1024 bits"},
	{name: "ECDSA P-256", do: func(s *sim) { otherKey(s, ecdsaOf(s.t, elliptic.P256()), nil) }},
	{name: "ECDSA P-384", do: func(s *sim) { otherKey(s, ecdsaOf(s.t, elliptic.P384()), nil) }},
	{name: "ECDSA by the type of 2021 in PEM", do: func(s *sim) {
		otherKey(s, ecdsaOf(s.t, elliptic.P256()), func(k map[string]any) { k["keytype"] = "ecdsa-sha2-nistp256" })
	}},
	{name: "ECDSA in hex", gotuf: "reads PEM alone: Sigstore's first four roots", do: func(s *sim) {
		priv := ecdsaOf(s.t, elliptic.P256())
		otherKey(s, priv, func(k map[string]any) {
			point, err := priv.PublicKey.Bytes()
			if err != nil {
				s.t.Fatal(err)
			}
			k["keytype"] = "ecdsa-sha2-nistp256"
			k["keyval"] = map[string]any{"public": hex.EncodeToString(point)}
		})
	}},
	{name: "P-384 as P-256", do: func(s *sim) {
		otherKey(s, ecdsaOf(s.t, elliptic.P384()), func(k map[string]any) { k["scheme"] = "ecdsa-sha2-nistp256" })
	}, want: ErrUnsigned},
	{name: "ECDSA as RSA", do: func(s *sim) {
		otherKey(s, ecdsaOf(s.t, elliptic.P256()), func(k map[string]any) { k["keytype"] = "rsa"; k["scheme"] = "rsassa-pss-sha256" })
	}, want: ErrUnsigned},
	{name: "RSA as ECDSA", do: func(s *sim) {
		otherKey(s, rsaOf(s.t, 2048), func(k map[string]any) { k["keytype"] = "ecdsa"; k["scheme"] = "ecdsa-sha2-nistp256" })
	}, want: ErrUnsigned},
	{name: "a scheme of another type", do: func(s *sim) {
		otherKey(s, ecdsaOf(s.t, elliptic.P256()), func(k map[string]any) { k["scheme"] = "ed25519" })
	}, want: ErrUnsigned, gotuf: "does not look at the scheme"},
	{name: "an unknown type", do: func(s *sim) {
		otherKey(s, ecdsaOf(s.t, elliptic.P256()), func(k map[string]any) { k["keytype"] = "quantum" })
	}, want: ErrUnsigned},
	{name: "an unknown type beside a known one", do: func(s *sim) {
		s.root.Signed.Version++
		s.publishRoot()
		s.edit("2.root.json", "root", func(signed map[string]any) {
			signed["keys"].(map[string]any)["q"] = map[string]any{"keytype": "quantum", "scheme": "entangled", "keyval": map[string]any{"public": ""}}
			r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
			r["keyids"] = append(r["keyids"].([]any), "q")
		})
		s.publish()
	}, gotuf: "fails on a key of a type that it does not know"},
	{name: "a short Ed25519 key", do: func(s *sim) {
		s.nextRoot(func() { s.rotate("timestamp") })
		s.publish()
		s.edit("2.root.json", "root", func(signed map[string]any) {
			id := s.root.Signed.Roles["timestamp"].KeyIDs[0]
			signed["keys"].(map[string]any)[id].(map[string]any)["keyval"] = map[string]any{"public": "00ff"}
		})
	}, want: ErrUnsigned},
}

// otherKey gives timestamp another key, which change describes otherwise.
func otherKey(s *sim, priv any, change func(key map[string]any)) {
	s.t.Helper()
	k := loadSigner(s.t, priv)
	id := keyID(s.t, keyOf(s.t, k))
	s.nextRoot(func() {
		s.rotate("timestamp")
		r := s.root.Signed.Roles["timestamp"]
		r.KeyIDs, s.signers["timestamp"] = nil, nil
		s.addKey("timestamp", k)
	})
	if change != nil {
		s.edit(fmt.Sprintf("%d.root.json", s.root.Signed.Version), "root", func(signed map[string]any) {
			change(signed["keys"].(map[string]any)[id].(map[string]any))
		})
	}
	s.publish()
	if n := len(s.timestamp.Signatures); n > 0 {
		s.timestamp.Signatures[0].KeyID = id // go-tuf names P-384 by another ID
		data, err := s.timestamp.ToBytes(true)
		if err != nil {
			s.t.Fatal(err)
		}
		s.files["timestamp.json"] = data
	}
}

func rsaOf(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecdsaOf(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
