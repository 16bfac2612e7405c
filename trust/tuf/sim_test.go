// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// simNow is the moment at which the simulator's clients live.
var simNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// sim is a TUF repository that go-tuf authors, in memory, and that does to its
// clients what a test tells it to.
type sim struct {
	t         testing.TB
	signers   map[string][]signature.Signer // of each role
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   map[string]*metadata.Metadata[metadata.TargetsType]
	files     map[string][]byte // as served, by the name of the metadata file
	content   map[string][]byte // as served, by the path of the target
	hashed    bool              // timestamp and snapshot name lengths and hashes
	asked     []string
	fault     map[string]error // instead of a file
}

func newKey(t testing.TB) signature.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return loadSigner(t, priv)
}

func loadSigner(t testing.TB, priv crypto.PrivateKey) signature.Signer {
	t.Helper()
	var s signature.Signer
	var err error
	switch k := priv.(type) {
	case ed25519.PrivateKey:
		s, err = signature.LoadSigner(k, crypto.Hash(0))
	case *ecdsa.PrivateKey:
		hash := crypto.SHA256
		if k.Curve == elliptic.P384() {
			hash = crypto.SHA384
		}
		s, err = signature.LoadSigner(k, hash)
	case *rsa.PrivateKey:
		s, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keyOf(t testing.TB, s signature.Signer) *metadata.Key {
	t.Helper()
	pub, err := s.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := pub.(*ecdsa.PublicKey); ok && p.Curve == elliptic.P384() {
		k.Scheme = metadata.KeySchemeECDSA_SHA2_P384
	}
	return k
}

func keyID(t testing.TB, k *metadata.Key) string {
	t.Helper()
	id, err := k.ID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newSim publishes a first version of everything: root needs two of three keys,
// the others one of one.
func newSim(t testing.TB) *sim {
	t.Helper()
	far := simNow.AddDate(1, 0, 0)
	s := &sim{
		t: t, signers: map[string][]signature.Signer{}, root: metadata.Root(far), timestamp: metadata.Timestamp(far), snapshot: metadata.Snapshot(far),
		targets: map[string]*metadata.Metadata[metadata.TargetsType]{"targets": metadata.Targets(far)},
		files:   map[string][]byte{}, content: map[string][]byte{}, fault: map[string]error{},
	}
	for role, n := range map[string]int{"root": 3, "timestamp": 1, "snapshot": 1, "targets": 1} {
		for range n {
			s.addKey(role, newKey(t))
		}
	}
	s.root.Signed.Roles["root"].Threshold = 2
	s.add("targets", "a.txt", "content of a")
	s.publishRoot()
	s.publish()
	return s
}

func (s *sim) addKey(role string, k signature.Signer) {
	s.t.Helper()
	if err := s.root.Signed.AddKey(keyOf(s.t, k), role); err != nil {
		s.t.Fatal(err)
	}
	s.signers[role] = append(s.signers[role], k)
}

// rotate gives a role other keys.
func (s *sim) rotate(role string) {
	s.t.Helper()
	for _, id := range append([]string{}, s.root.Signed.Roles[role].KeyIDs...) {
		if err := s.root.Signed.RevokeKey(id, role); err != nil {
			s.t.Fatal(err)
		}
	}
	n := len(s.signers[role])
	s.signers[role] = nil
	for range n {
		s.addKey(role, newKey(s.t))
	}
}

// add puts a file into a role's targets.
func (s *sim) add(role, name, content string) {
	s.t.Helper()
	f, err := metadata.TargetFile().FromBytes(name, []byte(content), "sha256")
	if err != nil {
		s.t.Fatal(err)
	}
	s.targets[role].Signed.Targets[name] = f
	dir, file := path.Split(name)
	s.content[dir+fmt.Sprintf("%x", []byte(f.Hashes["sha256"]))+"."+file] = []byte(content)
	s.content[name] = []byte(content)
}

// delegate makes a role with a key of its own.
func (s *sim) delegate(from string, d metadata.DelegatedRole) {
	s.t.Helper()
	if s.targets[d.Name] == nil {
		s.targets[d.Name] = metadata.Targets(simNow.AddDate(1, 0, 0))
		s.signers[d.Name] = []signature.Signer{newKey(s.t)}
	}
	t := &s.targets[from].Signed
	if t.Delegations == nil {
		t.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	if d.Threshold == 0 {
		d.Threshold = 1
	}
	for _, k := range s.signers[d.Name] {
		key := keyOf(s.t, k)
		t.Delegations.Keys[keyID(s.t, key)] = key
		d.KeyIDs = append(d.KeyIDs, keyID(s.t, key))
	}
	t.Delegations.Roles = append(t.Delegations.Roles, d)
}

func sign[T metadata.Roles](s *sim, role string, m *metadata.Metadata[T], by ...signature.Signer) []byte {
	s.t.Helper()
	m.ClearSignatures()
	if by == nil {
		by = s.signers[role]
	}
	for _, k := range by {
		if _, err := m.Sign(k); err != nil {
			s.t.Fatal(err)
		}
	}
	data, err := m.ToBytes(true)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// publishRoot serves the root, signed by its keys and those named.
func (s *sim) publishRoot(also ...signature.Signer) {
	s.t.Helper()
	by := append(append([]signature.Signer{}, s.signers["root"]...), also...)
	s.files[fmt.Sprintf("%d.root.json", s.root.Signed.Version)] = sign(s, "root", s.root, by...)
}

// nextRoot serves another version of the root, made by change, signed by the old
// keys and the new ones.
func (s *sim) nextRoot(change func()) {
	s.t.Helper()
	old := append([]signature.Signer{}, s.signers["root"]...)
	s.root.Signed.Version++
	change()
	var also []signature.Signer
	for _, k := range old {
		if !contains(s.signers["root"], k) {
			also = append(also, k)
		}
	}
	s.publishRoot(also...)
}

func contains(list []signature.Signer, k signature.Signer) bool {
	for _, e := range list {
		if e == k {
			return true
		}
	}
	return false
}

func info(version int64, data []byte, hashed bool) *metadata.MetaFiles {
	m := metadata.MetaFile(version)
	if hashed {
		f, err := metadata.TargetFile().FromBytes("x", data, "sha256")
		if err != nil {
			panic(err)
		}
		m.Length, m.Hashes = f.Length, f.Hashes
	}
	return m
}

// publish serves all targets, and new versions of snapshot and timestamp.
func (s *sim) publish() {
	s.t.Helper()
	for role, m := range s.targets {
		data := sign(s, role, m)
		s.files[fmt.Sprintf("%d.%s.json", m.Signed.Version, role)] = data
		s.files[role+".json"] = data
		s.snapshot.Signed.Meta[role+".json"] = info(m.Signed.Version, data, s.hashed)
	}
	if len(s.files["timestamp.json"]) > 0 {
		s.snapshot.Signed.Version++
		s.timestamp.Signed.Version++
	}
	s.publishSnapshot()
}

// publishSnapshot serves snapshot and timestamp as they are.
func (s *sim) publishSnapshot() {
	s.t.Helper()
	data := sign(s, "snapshot", s.snapshot)
	s.files[fmt.Sprintf("%d.snapshot.json", s.snapshot.Signed.Version)] = data
	s.files["snapshot.json"] = data
	s.timestamp.Signed.Meta["snapshot.json"] = info(s.snapshot.Signed.Version, data, s.hashed)
	s.files["timestamp.json"] = sign(s, "timestamp", s.timestamp)
}

// edit changes the signed part of a served file and signs it anew, by the keys of
// a role, in canonical form: what no library would write.
func (s *sim) edit(name, role string, change func(signed map[string]any)) {
	s.t.Helper()
	var doc struct {
		Signed     map[string]any   `json:"signed"`
		Signatures []map[string]any `json:"signatures"`
	}
	if err := json.Unmarshal(s.files[name], &doc); err != nil {
		s.t.Fatal(err)
	}
	change(doc.Signed)
	message, err := cjson.EncodeCanonical(doc.Signed)
	if err != nil {
		s.t.Fatal(err)
	}
	doc.Signatures = nil
	for _, k := range s.signers[role] {
		doc.Signatures = append(doc.Signatures, s.signature(k, message))
	}
	data, err := json.Marshal(doc)
	if err != nil {
		s.t.Fatal(err)
	}
	s.files[name] = data
}

func (s *sim) signature(k signature.Signer, message []byte) map[string]any {
	s.t.Helper()
	sig, err := k.SignMessage(bytes.NewReader(message))
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]any{"keyid": keyID(s.t, keyOf(s.t, k)), "sig": fmt.Sprintf("%x", sig)}
}

// serve returns what the simulator serves under a name.
func (s *sim) serve(from map[string][]byte, name string, limit int64) ([]byte, error) {
	s.asked = append(s.asked, name)
	if err := s.fault[name]; err != nil {
		return nil, err
	}
	data, ok := from[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return data, nil
}

func (s *sim) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	return s.serve(s.files, name, limit)
}

func (s *sim) Target(_ context.Context, path string, limit int64) ([]byte, error) {
	return s.serve(s.content, path, limit)
}

// DownloadFile is how go-tuf's client asks the simulator.
func (s *sim) DownloadFile(address string, limit int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	name, metadataFile := strings.CutPrefix(u.Path, "/metadata/")
	from := s.files
	if !metadataFile {
		name, from = strings.TrimPrefix(u.Path, "/targets/"), s.content
	}
	data, err := s.serve(from, name, limit)
	switch {
	case err != nil && from[name] == nil && s.fault[name] == nil:
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: address}
	case err != nil:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: err.Error()}
	}
	return data, nil
}

// reference is go-tuf's client of the simulator, with a cache of its own.
type reference struct {
	s    *sim
	root []byte
	dir  string
}

func (s *sim) reference() *reference {
	return &reference{s, s.files["1.root.json"], s.t.TempDir()}
}

// run refreshes at a time and returns a target.
func (r *reference) run(now time.Time, target string) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cfg, err := config.New("https://repository.example/metadata", r.root)
	if err != nil {
		return nil, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = r.dir+"/metadata", r.dir+"/targets"
	cfg.RemoteTargetsURL = "https://repository.example/targets"
	cfg.Fetcher = r.s
	up, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	up.UnsafeSetRefTime(now)
	if err := up.Refresh(); err != nil {
		return nil, err
	}
	info, err := up.GetTargetInfo(target)
	if err != nil {
		return nil, err
	}
	_, data, err = up.DownloadTarget(info, "", "")
	return data, err
}

// options are those of our client, with a cache of its own.
func (s *sim) options() Options {
	return Options{Root: s.files["1.root.json"], Source: s, Cache: s.t.TempDir(), Now: func() time.Time { return simNow }}
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
