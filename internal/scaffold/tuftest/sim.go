// SPDX-License-Identifier: Apache-2.0

// Package tuftest is a TUF repository for tests, authored by go-tuf, that serves
// its clients in memory what a test tells it to.
package tuftest

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
	"io"
	"io/fs"
	"math"
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

// Now is the moment at which the simulator's clients live.
var Now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// Sim is a TUF repository that go-tuf authors, in memory, and that does to its
// clients what a test tells it to.
type Sim struct {
	T         testing.TB
	Signers   map[string][]signature.Signer // of each role
	Root      *metadata.Metadata[metadata.RootType]
	Timestamp *metadata.Metadata[metadata.TimestampType]
	Snapshot  *metadata.Metadata[metadata.SnapshotType]
	Targets   map[string]*metadata.Metadata[metadata.TargetsType]
	Files     map[string][]byte // as served, by the name of the metadata file
	Content   map[string][]byte // as served, by the path of the target
	Hashed    bool              // timestamp and snapshot name lengths and hashes
	Asked     []string
	Fault     map[string]error // instead of a file
}

// NewKey returns a new Ed25519 key.
func NewKey(t testing.TB) signature.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return LoadSigner(t, priv)
}

// LoadSigner returns the signer of a private key: Ed25519, ECDSA or RSA.
func LoadSigner(t testing.TB, priv crypto.PrivateKey) signature.Signer {
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

// KeyOf returns the public key of a signer as metadata has it.
func KeyOf(t testing.TB, s signature.Signer) *metadata.Key {
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

// KeyID returns the ID that go-tuf gives a key.
func KeyID(t testing.TB, k *metadata.Key) string {
	t.Helper()
	id, err := k.ID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// New publishes a first version of everything: root needs two of three keys,
// the others one of one.
func New(t testing.TB) *Sim {
	t.Helper()
	far := Now.AddDate(1, 0, 0)
	s := &Sim{
		T: t, Signers: map[string][]signature.Signer{}, Root: metadata.Root(far), Timestamp: metadata.Timestamp(far),
		Snapshot: metadata.Snapshot(far),
		Targets:  map[string]*metadata.Metadata[metadata.TargetsType]{"targets": metadata.Targets(far)},
		Files:    map[string][]byte{}, Content: map[string][]byte{}, Fault: map[string]error{},
	}
	for role, n := range map[string]int{"root": 3, "timestamp": 1, "snapshot": 1, "targets": 1} {
		for range n {
			s.AddKey(role, NewKey(t))
		}
	}
	s.Root.Signed.Roles["root"].Threshold = 2
	s.Add("targets", "a.txt", "content of a")
	s.PublishRoot()
	s.Publish()
	return s
}

// AddKey gives a top-level role a further key.
func (s *Sim) AddKey(role string, k signature.Signer) {
	s.T.Helper()
	if err := s.Root.Signed.AddKey(KeyOf(s.T, k), role); err != nil {
		s.T.Fatal(err)
	}
	s.Signers[role] = append(s.Signers[role], k)
}

// Rotate gives a role other keys.
func (s *Sim) Rotate(role string) {
	s.T.Helper()
	for _, id := range append([]string{}, s.Root.Signed.Roles[role].KeyIDs...) {
		if err := s.Root.Signed.RevokeKey(id, role); err != nil {
			s.T.Fatal(err)
		}
	}
	n := len(s.Signers[role])
	s.Signers[role] = nil
	for range n {
		s.AddKey(role, NewKey(s.T))
	}
}

// Add puts a file into a role's targets.
func (s *Sim) Add(role, name, content string) {
	s.T.Helper()
	f, err := metadata.TargetFile().FromBytes(name, []byte(content), "sha256")
	if err != nil {
		s.T.Fatal(err)
	}
	s.Targets[role].Signed.Targets[name] = f
	dir, file := path.Split(name)
	s.Content[dir+fmt.Sprintf("%x", []byte(f.Hashes["sha256"]))+"."+file] = []byte(content)
	s.Content[name] = []byte(content)
}

// Delegate makes a role with a key of its own.
func (s *Sim) Delegate(from string, d metadata.DelegatedRole) {
	s.T.Helper()
	if s.Targets[d.Name] == nil {
		s.Targets[d.Name] = metadata.Targets(Now.AddDate(1, 0, 0))
		s.Signers[d.Name] = []signature.Signer{NewKey(s.T)}
	}
	t := &s.Targets[from].Signed
	if t.Delegations == nil {
		t.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	if d.Threshold == 0 {
		d.Threshold = 1
	}
	for _, k := range s.Signers[d.Name] {
		key := KeyOf(s.T, k)
		t.Delegations.Keys[KeyID(s.T, key)] = key
		d.KeyIDs = append(d.KeyIDs, KeyID(s.T, key))
	}
	t.Delegations.Roles = append(t.Delegations.Roles, d)
}

// Sign returns a metadata file, signed by a role's keys or by those named.
func Sign[T metadata.Roles](s *Sim, role string, m *metadata.Metadata[T], by ...signature.Signer) []byte {
	s.T.Helper()
	m.ClearSignatures()
	if by == nil {
		by = s.Signers[role]
	}
	for _, k := range by {
		if _, err := m.Sign(k); err != nil {
			s.T.Fatal(err)
		}
	}
	data, err := m.ToBytes(true)
	if err != nil {
		s.T.Fatal(err)
	}
	return data
}

// PublishRoot serves the root, signed by its keys and those named.
func (s *Sim) PublishRoot(also ...signature.Signer) {
	s.T.Helper()
	by := append(append([]signature.Signer{}, s.Signers["root"]...), also...)
	s.Files[fmt.Sprintf("%d.root.json", s.Root.Signed.Version)] = Sign(s, "root", s.Root, by...)
}

// NextRoot serves another version of the root, made by change, signed by the old
// keys and the new ones.
func (s *Sim) NextRoot(change func()) {
	s.T.Helper()
	old := append([]signature.Signer{}, s.Signers["root"]...)
	s.Root.Signed.Version++
	change()
	var also []signature.Signer
	for _, k := range old {
		if !contains(s.Signers["root"], k) {
			also = append(also, k)
		}
	}
	s.PublishRoot(also...)
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

// Publish serves all targets, and new versions of snapshot and timestamp.
func (s *Sim) Publish() {
	s.T.Helper()
	for role, m := range s.Targets {
		data := Sign(s, role, m)
		s.Files[fmt.Sprintf("%d.%s.json", m.Signed.Version, role)] = data
		s.Files[role+".json"] = data
		s.Snapshot.Signed.Meta[role+".json"] = info(m.Signed.Version, data, s.Hashed)
	}
	if len(s.Files["timestamp.json"]) > 0 {
		s.Snapshot.Signed.Version++
		s.Timestamp.Signed.Version++
	}
	s.PublishSnapshot()
}

// PublishSnapshot serves snapshot and timestamp as they are.
func (s *Sim) PublishSnapshot() {
	s.T.Helper()
	data := Sign(s, "snapshot", s.Snapshot)
	s.Files[fmt.Sprintf("%d.snapshot.json", s.Snapshot.Signed.Version)] = data
	s.Files["snapshot.json"] = data
	s.Timestamp.Signed.Meta["snapshot.json"] = info(s.Snapshot.Signed.Version, data, s.Hashed)
	s.Files["timestamp.json"] = Sign(s, "timestamp", s.Timestamp)
}

// Edit changes the signed part of a served file and signs it anew, by the keys of
// a role, in canonical form: what no library would write.
func (s *Sim) Edit(name, role string, change func(signed map[string]any)) {
	s.T.Helper()
	var doc struct {
		Signed     map[string]any   `json:"signed"`
		Signatures []map[string]any `json:"signatures"`
	}
	if err := json.Unmarshal(s.Files[name], &doc); err != nil {
		s.T.Fatal(err)
	}
	change(doc.Signed)
	message, err := cjson.EncodeCanonical(doc.Signed)
	if err != nil {
		s.T.Fatal(err)
	}
	doc.Signatures = nil
	for _, k := range s.Signers[role] {
		doc.Signatures = append(doc.Signatures, s.Signature(k, message))
	}
	data, err := json.Marshal(doc)
	if err != nil {
		s.T.Fatal(err)
	}
	s.Files[name] = data
}

// Signature returns a signature of bytes as metadata carries it.
func (s *Sim) Signature(k signature.Signer, message []byte) map[string]any {
	s.T.Helper()
	sig, err := k.SignMessage(bytes.NewReader(message))
	if err != nil {
		s.T.Fatal(err)
	}
	return map[string]any{"keyid": KeyID(s.T, KeyOf(s.T, k)), "sig": fmt.Sprintf("%x", sig)}
}

// serve returns what the simulator serves under a name.
func (s *Sim) serve(from map[string][]byte, name string, limit int64) ([]byte, error) {
	s.Asked = append(s.Asked, name)
	if err := s.Fault[name]; err != nil {
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

// Metadata returns a metadata file; see tuf.Source.
func (s *Sim) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	return s.serve(s.Files, name, limit)
}

// Target returns a target; see tuf.Source.
func (s *Sim) Target(_ context.Context, path string, limit int64) ([]byte, error) {
	return s.serve(s.Content, path, limit)
}

// Open returns a target from a byte on; see tuf.Opener.
func (s *Sim) Open(_ context.Context, path string, from, _ int64) (io.ReadCloser, int64, error) {
	data, err := s.serve(s.Content, path, math.MaxInt64)
	if err != nil {
		return nil, 0, err
	}
	from = min(from, int64(len(data)))
	return io.NopCloser(bytes.NewReader(data[from:])), from, nil
}

// DownloadFile is how go-tuf's client asks the simulator.
func (s *Sim) DownloadFile(address string, limit int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	name, metadataFile := strings.CutPrefix(u.Path, "/metadata/")
	from := s.Files
	if !metadataFile {
		name, from = strings.TrimPrefix(u.Path, "/targets/"), s.Content
	}
	data, err := s.serve(from, name, limit)
	switch {
	case err != nil && from[name] == nil && s.Fault[name] == nil:
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: address}
	case err != nil:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: err.Error()}
	}
	return data, nil
}

// Reference is go-tuf's client of the simulator, with a cache of its own.
type Reference struct {
	s    *Sim
	Root []byte
	dir  string
}

// Reference returns go-tuf's client.
func (s *Sim) Reference() *Reference {
	return &Reference{s, s.Files["1.root.json"], s.T.TempDir()}
}

// Run refreshes at a time and returns a target.
func (r *Reference) Run(now time.Time, target string) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cfg, err := config.New("https://repository.example/metadata", r.Root)
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
