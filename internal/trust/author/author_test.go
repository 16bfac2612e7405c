// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/internal/web"
)

var now = time.Now().UTC().Truncate(time.Second)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sameContent compares content by what its author says of it.
var sameContent = cmp.Comparer(func(a, b oci.Content) bool { return a.Size == b.Size && a.SHA256 == b.SHA256 })

// person has a key.
type person struct {
	key    Key
	signer Signer
}

func newPerson(t testing.TB, kind string) person {
	t.Helper()
	var private crypto.Signer
	var err error
	switch kind {
	case "ecdsa", "remote":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "p384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	check(t, err)
	key, err := PublicKey(private.Public())
	check(t, err)
	with, err := keys.Local(private, keys.OfTUF)
	if kind == "remote" {
		with, err = keys.Remote(
			private.Public(), keys.OfTUF,
			func(_ context.Context, _ *keys.Signer, digest []byte) ([]byte, error) {
				return private.Sign(rand.Reader, digest, crypto.SHA256)
			},
		)
	}
	check(t, err)
	signer, err := NewSigner(with)
	check(t, err)
	return person{key, signer}
}

// world is a repository with three people, two of whom sign, and a machine.
type world struct {
	t                       testing.TB
	dir                     string
	alice, bob, carol, host person
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, dir: t.TempDir(), alice: newPerson(t, "ecdsa"), bob: newPerson(t, "ed25519"),
		carol: newPerson(t, "remote"), host: newPerson(t, "rsa"),
	}
	r, err := Create(w.dir, now, w.roles())
	check(t, err)
	r.Close()
	return w
}

func (w *world) roles() map[string]Setup {
	people := Setup{Keys: []Key{w.alice.key, w.bob.key, w.carol.key}, Threshold: 2}
	machine := Setup{Keys: []Key{w.host.key}, Threshold: 1}
	return map[string]Setup{Root: people, Targets: people, Snapshot: machine, Timestamp: machine}
}

// do opens the repository, as every command does.
func (w *world) do(at time.Time, f func(r *Repository) error) error {
	w.t.Helper()
	r, err := Open(w.dir, at)
	check(w.t, err)
	defer r.Close()
	return f(r)
}

func (w *world) must(f func(r *Repository) error) {
	w.t.Helper()
	check(w.t, w.do(now, f))
}

func (w *world) add(path, content string) {
	w.t.Helper()
	w.must(func(r *Repository) error { return r.Add(Targets, path, []byte(content)) })
}

func (w *world) sign(people ...person) {
	w.t.Helper()
	for _, p := range people {
		w.must(func(r *Repository) error { _, err := r.Sign(w.t.Context(), p.signer); return err })
	}
}

func (w *world) publish() error {
	w.t.Helper()
	return w.do(now, func(r *Repository) error { return r.Publish(w.t.Context(), []Signer{w.host.signer}, nil) })
}

func (w *world) files() *oci.Files {
	w.t.Helper()
	var out *oci.Files
	w.must(func(r *Repository) (err error) { out, err = r.Files(w.t.Context()); return err })
	return out
}

// serve serves the tree, and returns its URL.
func (w *world) serve() string {
	s := httptest.NewServer(http.FileServer(http.Dir(Tree(w.dir))))
	w.t.Cleanup(s.Close)
	return s.URL
}

func (w *world) firstRoot() []byte {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(Tree(w.dir), "1.root.json"))
	check(w.t, err)
	return data
}

// read lets our client read a target from a source.
func (w *world) read(s tuf.Source, path string) (string, error) {
	w.t.Helper()
	c, err := tuf.New(tuf.Options{Root: w.firstRoot(), Source: s, Now: func() time.Time { return now }})
	check(w.t, err)
	if err := c.Refresh(w.t.Context()); err != nil {
		return "", err
	}
	data, err := c.Target(w.t.Context(), path)
	return string(data), err
}

// goTUF lets go-tuf's client read a target over HTTP.
func (w *world) goTUF(url, path string) (string, error) {
	w.t.Helper()
	c, err := config.New(url, w.firstRoot())
	check(w.t, err)
	c.LocalMetadataDir, c.LocalTargetsDir, c.RemoteTargetsURL = w.t.TempDir(), w.t.TempDir(), url+"/targets"
	u, err := updater.New(c)
	check(w.t, err)
	if err := u.Refresh(); err != nil {
		return "", err
	}
	info, err := u.GetTargetInfo(path)
	if err != nil {
		return "", err
	}
	_, data, err := u.DownloadTarget(info, "", "")
	return string(data), err
}

// everywhere reads a target with both clients from every place.
func (w *world) everywhere(path, want string) {
	w.t.Helper()
	url := w.serve()
	client, err := web.New(url, nil, "test")
	check(w.t, err)
	targets, err := web.New(url+"/targets", nil, "test")
	check(w.t, err)
	layout, err := oci.ParseReference("oci-layout:" + w.t.TempDir())
	check(w.t, err)
	_, err = oci.Push(w.t.Context(), layout, oci.Options{}, w.files())
	check(w.t, err)
	snapshot, err := oci.Open(w.t.Context(), layout, oci.Options{})
	check(w.t, err)
	defer snapshot.Close()
	for name, s := range map[string]tuf.Source{
		"HTTP": tuf.HTTP(client, targets), "OCI": snapshot, "memory": w.files().Source(),
	} {
		if got, err := w.read(s, path); err != nil || got != want {
			w.t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if got, err := w.goTUF(url, path); err != nil || got != want {
		w.t.Errorf("go-tuf: %q %v", got, err)
	}
}

// TestLife follows a repository from its first root through additions, rotations
// and delegations; our client and go-tuf's read each step from the first root on.
func TestLife(t *testing.T) {
	w := newWorld(t)
	if _, err := Create(w.dir, now, w.roles()); !errors.Is(err, ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	w.add("trusted_root.json", "one")
	var short *Incomplete
	if err := w.publish(); !errors.As(err, &short) || len(short.Roles) != 2 || short.Roles[0].Need != 2 ||
		len(short.Roles[0].Missing) != 3 {
		t.Fatalf("published unsigned: %v", err)
	}
	w.sign(w.alice)
	if err := w.publish(); !errors.As(err, &short) || short.Roles[0].Need != 1 || len(short.Roles[0].Missing) != 2 {
		t.Fatalf("published with one signature: %v", err)
	}
	w.sign(w.alice, w.carol)
	check(t, w.publish())
	w.everywhere("trusted_root.json", "one")
	before := w.files()
	check(t, w.publish()) // nothing to do
	if diff := cmp.Diff(before, w.files(), sameContent); diff != "" {
		t.Error(diff)
	}

	// A change after a signature is no longer signed.
	w.add("repopolicy/forges.json", "{}")
	w.sign(w.alice, w.bob)
	w.add("trusted_root.json", "two")
	if err := w.publish(); !errors.As(err, &short) {
		t.Fatalf("published with signatures of something else: %v", err)
	}
	w.sign(w.bob, w.carol)
	check(t, w.publish())
	w.everywhere("trusted_root.json", "two")
	w.everywhere("repopolicy/forges.json", "{}")

	// Carol leaves, dave comes, another machine publishes.
	dave, machine := newPerson(t, "ecdsa"), newPerson(t, "ecdsa")
	people := Setup{Keys: []Key{w.alice.key, w.bob.key, dave.key}, Threshold: 2}
	w.must(func(r *Repository) error {
		m := Setup{Keys: []Key{machine.key}, Threshold: 1}
		return r.Rotate(map[string]Setup{Root: people, Targets: people, Snapshot: m, Timestamp: m})
	})
	w.host = machine
	w.sign(w.alice, dave)
	if err := w.publish(); !errors.As(err, &short) || short.Roles[0].Role != Root || short.Roles[0].Need != 1 {
		t.Fatalf("a root without a quorum of the one before: %v", err)
	}
	err := w.do(now, func(r *Repository) error { _, err := r.Sign(t.Context(), newPerson(t, "ecdsa").signer); return err })
	if !errors.Is(err, ErrNotWanted) {
		t.Errorf("a stranger: %v", err)
	}
	w.sign(w.carol)
	check(t, w.publish())
	w.everywhere("trusted_root.json", "two")

	// A role of its own for one project.
	eve := newPerson(t, "ed25519")
	const path = "repopolicy/anchors/github.com/acme/widget.json"
	w.must(func(r *Repository) error {
		return r.Delegate(
			"acme", []string{"repopolicy/anchors/github.com/acme/*"}, Setup{Keys: []Key{eve.key}, Threshold: 1},
		)
	})
	if err := w.do(now, func(r *Repository) error { return r.Add("acme", "trusted_root.json", nil) }); err == nil {
		t.Error("a target that nobody asks the role about")
	}
	w.must(func(r *Repository) error { return r.Add("acme", path, []byte("by acme")) })
	w.sign(w.alice, w.bob, eve)
	check(t, w.publish())
	w.everywhere(path, "by acme")
	w.add(path, "by the root")
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	w.everywhere(path, "by the root")
	w.must(func(r *Repository) error { return r.Remove(Targets, path) })
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	w.everywhere(path, "by acme")
}

// TestUndelegate: a role that is gone answers for nothing, and whoever knew it goes on; it can
// come back.
func TestUndelegate(t *testing.T) {
	w := newWorld(t)
	eve, frank := newPerson(t, "ed25519"), newPerson(t, "ecdsa")
	delegate := func(to person) {
		t.Helper()
		w.must(func(r *Repository) error {
			return r.Delegate("acme", []string{"d/*"}, Setup{Keys: []Key{to.key}, Threshold: 1})
		})
	}
	delegate(eve)
	w.must(func(r *Repository) error { return r.Add("acme", "d/x", []byte("by acme")) })
	w.sign(w.alice, w.bob, eve)
	check(t, w.publish())
	cache := t.TempDir()
	read := func() (string, error) {
		t.Helper()
		files := w.files()
		c, err := tuf.New(tuf.Options{
			Root: files.Metadata["1.root.json"], Source: files.Source(), Cache: cache, Now: func() time.Time { return now },
		})
		check(t, err)
		check(t, c.Refresh(t.Context()))
		data, err := c.Target(t.Context(), "d/x")
		return string(data), err
	}
	if got, err := read(); err != nil || got != "by acme" {
		t.Fatal(got, err)
	}
	w.must(func(r *Repository) error {
		listed, err := r.Listed("acme", "")
		if err == nil && (len(listed) != 1 || string(listed["d/x"]) != "by acme" || len(r.Delegated()["acme"]) != 1) {
			err = fmt.Errorf("%s %v", listed, r.Delegated())
		}
		return errors.Join(err, r.Undelegate("acme"))
	})
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	if got, err := read(); !errors.Is(err, tuf.ErrNoTarget) {
		t.Errorf("%q %v", got, err)
	}
	w.must(func(r *Repository) error {
		all, err := r.Status()
		if len(all) != 4 || len(r.Delegated()) != 0 {
			err = fmt.Errorf("%+v %v", all, r.Delegated())
		}
		if _, err := r.Listed("acme", ""); err == nil {
			t.Error("a role that is gone lists something")
		}
		return err
	})
	if err := w.do(now, func(r *Repository) error { return r.Undelegate("acme") }); err == nil {
		t.Error("gone twice")
	}
	// By other keys, and with nothing of what it had.
	delegate(frank)
	w.sign(w.alice, w.bob, frank)
	check(t, w.publish())
	if got, err := read(); !errors.Is(err, tuf.ErrNoTarget) {
		t.Errorf("%q %v", got, err)
	}
	w.must(func(r *Repository) error { return r.Add("acme", "d/x", []byte("again")) })
	w.sign(frank)
	check(t, w.publish())
	if got, err := read(); err != nil || got != "again" {
		t.Error(got, err)
	}
	w.everywhere("d/x", "again")
}

// TestForged: signatures that are none are found before anything is published.
func TestForged(t *testing.T) {
	w := newWorld(t)
	w.add("trusted_root.json", "one")
	w.sign(w.alice, w.bob)
	path := filepath.Join(w.dir, stagedDir, "targets.json")
	data, err := os.ReadFile(path)
	check(t, err)
	check(t, os.WriteFile(path, []byte(strings.Replace(string(data), `"length":3`, `"length":4`, 1)), 0o600))
	if err := w.publish(); err == nil || errors.As(err, new(*Incomplete)) {
		t.Errorf("published: %v", err)
	}
	if entries, err := os.ReadDir(Tree(w.dir)); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

// TestInterrupted: wherever publishing stops, clients read what was or what is to
// be, and the next run ends it.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	w.add("trusted_root.json", "one")
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	w.must(func(r *Repository) error { return r.Rotate(nil) })
	w.add("trusted_root.json", "two")
	w.sign(w.alice, w.bob)
	// What a run that had no key of the machine would leave.
	if err := w.do(now, func(r *Repository) error { return r.Publish(t.Context(), nil, nil) }); err == nil {
		t.Fatal("published without the machine")
	}
	w.must(func(r *Repository) error { _, err := r.Sign(t.Context(), w.host.signer); return err })
	before := t.TempDir()
	check(t, os.CopyFS(filepath.Join(before, "x"), os.DirFS(w.dir)))
	check(t, w.publish())
	after := w.files()
	names := after.Ordered()
	for n := range len(names) + 1 {
		again := &world{t: t, dir: filepath.Join(t.TempDir(), "x"), host: w.host}
		check(t, os.CopyFS(again.dir, os.DirFS(filepath.Join(before, "x"))))
		for _, name := range names[:n] {
			check(t, os.WriteFile(filepath.Join(Tree(again.dir), name), after.Metadata[name], 0o600))
		}
		want := "one"
		if n == len(names) {
			want = "two"
		}
		got, err := again.read(
			tuf.FS(os.DirFS(Tree(again.dir)), os.DirFS(filepath.Join(Tree(again.dir), targetsDir))),
			"trusted_root.json",
		)
		if err != nil || got != want {
			t.Errorf("after %v: %q %v", names[:n], got, err)
		}
		if err := again.publish(); err != nil {
			t.Errorf("after %v: %v", names[:n], err)
			continue
		}
		if diff := cmp.Diff(after, again.files(), sameContent); diff != "" {
			t.Errorf("after %v: %s", names[:n], diff)
		}
	}
}

// TestExpiry: what expires soon is said, snapshot and timestamp are made anew by
// publishing, and nothing that has expired is published.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	w.add("trusted_root.json", "one")
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	renew := func(at time.Time) (out []string) {
		check(t, w.do(at, func(r *Repository) error {
			status, err := r.Status()
			for _, s := range status {
				if s.Renew(at) {
					out = append(out, s.Role)
				}
			}
			return err
		}))
		return out
	}
	for after, want := range map[time.Duration][]string{
		0: nil, 22 * day: nil, 23 * day: {Snapshot, Timestamp}, 280 * day: {Root, Targets, Snapshot, Timestamp},
	} {
		if diff := cmp.Diff(want, renew(now.Add(after))); diff != "" {
			t.Errorf("after %s: %s", after, diff)
		}
	}
	later := now.Add(300 * day)
	publish := func(at time.Time) error {
		return w.do(at, func(r *Repository) error { return r.Publish(t.Context(), []Signer{w.host.signer}, nil) })
	}
	check(t, publish(later))
	if got := renew(later); !slices.Equal(got, []string{Root, Targets}) {
		t.Errorf("after publishing: %v", got)
	}
	expired := now.Add(366 * day)
	if err := publish(expired); !errors.Is(err, tuf.ErrExpired) {
		t.Errorf("published what has expired: %v", err)
	}
	check(t, w.do(expired, func(r *Repository) error { return errors.Join(r.Rotate(nil), r.Renew(Targets)) }))
	w.sign(w.alice, w.carol)
	check(t, publish(expired))
	if got := renew(expired); got != nil {
		t.Errorf("after renewal: %v", got)
	}
}

// TestKeyTypes: what a key of each kind signs, our client and go-tuf's read.
func TestKeyTypes(t *testing.T) {
	for _, kind := range []string{"ecdsa", "p384", "ed25519", "rsa", "remote"} {
		t.Run(kind, func(t *testing.T) {
			w := &world{t: t, dir: t.TempDir(), host: newPerson(t, kind)}
			all := Setup{Keys: []Key{w.host.key}, Threshold: 1}
			r, err := Create(w.dir, now, map[string]Setup{Root: all, Targets: all, Snapshot: all, Timestamp: all})
			check(t, err)
			r.Close()
			w.add("a.txt", kind)
			w.sign(w.host)
			check(t, w.publish())
			w.everywhere("a.txt", kind)
		})
	}
}

// TestRefused: what must not be staged.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	check(t, err)
	if _, err := PublicKey(p521.Public()); err == nil {
		t.Error("a key on P-521")
	}
	logs, err := keys.Local(p521, keys.Of)
	check(t, err)
	if _, err := NewSigner(logs); err == nil {
		t.Error("the signer of such a key")
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	if logs, err = keys.Local(rsaKey, keys.Of); err == nil {
		_, err = NewSigner(logs)
	}
	if err == nil {
		t.Error("an RSA key with the padding of the logs")
	}
	if _, err := PublicKey("key"); err == nil {
		t.Error("a key that is text")
	}
	for _, id := range [][2]string{
		{"", "https://a.example"}, {"a", ""}, {"a\n", "https://a.example"}, {"a", "a.example"},
	} {
		if _, err := Identity(id[0], id[1]); err == nil {
			t.Errorf("%q", id)
		}
	}
	for name, roles := range map[string]func(m map[string]Setup){
		"no root":       func(m map[string]Setup) { delete(m, Root) },
		"no threshold":  func(m map[string]Setup) { m[Root] = Setup{Keys: m[Root].Keys} },
		"too high":      func(m map[string]Setup) { m[Root] = Setup{Keys: m[Root].Keys, Threshold: 4} },
		"a key twice":   func(m map[string]Setup) { m[Root] = Setup{Keys: []Key{w.alice.key, w.alice.key}, Threshold: 2} },
		"for ever":      func(m map[string]Setup) { m[Root] = Setup{Keys: m[Root].Keys, Threshold: 1, Days: maxDays + 1} },
		"negative days": func(m map[string]Setup) { m[Root] = Setup{Keys: m[Root].Keys, Threshold: 1, Days: -1} },
	} {
		m := w.roles()
		roles(m)
		if _, err := Create(t.TempDir(), now, m); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	ok := Setup{Keys: []Key{w.alice.key}, Threshold: 1}
	for name, f := range map[string]func(r *Repository) error{
		"a path up":          func(r *Repository) error { return r.Add(Targets, "../x", nil) },
		"an absolute path":   func(r *Repository) error { return r.Add(Targets, "/x", nil) },
		"a backslash":        func(r *Repository) error { return r.Add(Targets, `a\x`, nil) },
		"a control":          func(r *Repository) error { return r.Add(Targets, "a\n", nil) },
		"another role":       func(r *Repository) error { return r.Add("acme", "x", nil) },
		"nothing to remove":  func(r *Repository) error { return r.Remove(Targets, "x") },
		"too large":          func(r *Repository) error { return r.Add(Targets, "x", make([]byte, maxFile+1)) },
		"a reserved role":    func(r *Repository) error { return r.Delegate(Root, []string{"*"}, ok) },
		"a role in a path":   func(r *Repository) error { return r.Delegate("a/b", []string{"*"}, ok) },
		"no patterns":        func(r *Repository) error { return r.Delegate("a", nil, ok) },
		"nobody":             func(r *Repository) error { return r.Delegate("a", []string{"*"}, Setup{Threshold: 1}) },
		"rotated at once":    func(r *Repository) error { return r.Rotate(nil) },
		"renewed is no role": func(r *Repository) error { return r.Renew("a") },
	} {
		if err := w.do(now, f); err == nil {
			t.Errorf("%s: staged", name)
		}
	}
	if _, err := Open(t.TempDir(), now); err == nil {
		t.Error("an empty directory is a repository")
	}
}
