// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// The roles that a root names.
const (
	roleRoot      = "root"
	roleTimestamp = "timestamp"
	roleSnapshot  = "snapshot"
	roleTargets   = "targets"
)

var topLevel = []string{roleRoot, roleTimestamp, roleSnapshot, roleTargets}

// maxKeyIDs is how many keys a role may have, and so how many signatures are
// verified of a file.
const maxKeyIDs = 256

// Role says whose signatures count for a file.
type Role struct {
	KeyIDs    []string
	Threshold int64 // of distinct principals
}

// Header is what every metadata file has.
type Header struct {
	Version int64
	Expires time.Time
}

// Root is root metadata.
type Root struct {
	Header
	Digest             string // SHA-256 of its file, in hex
	ConsistentSnapshot bool
	Keys               map[string]Key
	Roles              map[string]Role // "root", "timestamp", "snapshot", "targets"
}

// TargetFile is what targets metadata says of a file.
type TargetFile struct {
	Name   string
	Length int64
	Hashes map[string][]byte // "sha256", "sha512"
	Custom json.RawMessage   // as it is written; nil if there is none
	Role   string            // that lists it
	By     Header            // of the role's metadata
	// Via are the roles by which [Client.Find] came to it from the top-level role, the one that
	// lists it last; none for the top-level role.
	Via []string
}

// Targets is targets metadata, of the top-level role or a delegated one.
type Targets struct {
	Header
	Role        string
	Files       map[string]TargetFile
	Keys        map[string]Key // of the delegations
	Delegations []Delegation
	bins        *bins
}

// Delegation hands targets to a role.
type Delegation struct {
	Role
	Name             string
	Terminating      bool
	Paths            []string // patterns
	PathHashPrefixes []string // hex
}

// listing is what timestamp and snapshot metadata are: which version of which
// files is current.
type listing struct {
	Header
	meta map[string]fileInfo
}

type fileInfo struct {
	version int64
	length  int64 // 0: not said
	hashes  map[string][]byte
}

// document is a metadata file whose signatures nobody has verified.
type document struct {
	Header
	data       []byte // as it came
	signed     []byte // canonical form of what is signed
	body       object
	signatures []Signature
}

// read reads the parts of a metadata file of a type that all have.
func read(data []byte, kind string) (*document, error) {
	v, err := parse(data)
	if err != nil {
		return nil, malformed(kind, err)
	}
	f := &fields{}
	outer := f.object(v, kind)
	signed := outer["signed"]
	d := &document{data: data, body: f.object(signed, "signed")}
	if t := f.text(d.body["_type"], "_type"); t != kind {
		f.fail("_type", fmt.Sprintf("it is %q", t))
	}
	if s := f.text(d.body["spec_version"], "spec_version"); !supported(s) {
		f.fail("spec_version", fmt.Sprintf("%q is no version 1 of TUF", s))
	}
	d.Version = f.number(d.body["version"], "version", 1)
	expires := f.text(d.body["expires"], "expires")
	if d.Expires, err = time.Parse(time.RFC3339Nano, expires); err != nil ||
		d.Expires.Format(time.RFC3339Nano) != expires {
		f.fail("expires", "it is no time") // Go takes a comma and one digit, too
	}
	seen := map[string]bool{}
	for _, e := range f.array(outer["signatures"], "signatures") {
		o := f.object(e, "signatures")
		s := Signature{KeyID: f.text(o["keyid"], "keyid"), Sig: f.text(o["sig"], "sig"), Raw: slices.Clone(e.raw)}
		if seen[s.KeyID] {
			f.fail("signatures", "a key ID stands twice")
		}
		seen[s.KeyID] = true
		d.signatures = append(d.signatures, s)
	}
	if f.err != nil {
		return nil, malformed(kind, f.err)
	}
	d.signed = signed.appendCanonical(nil)
	return d, nil
}

// sum returns the digest of the file in hex.
func (d *document) sum() string {
	sum := sha256.Sum256(d.data)
	return hex.EncodeToString(sum[:])
}

// supported reports whether spec_version is a version 1, such as "1.0" or "1.0.31".
func supported(version string) bool {
	parts := strings.Split(version, ".")
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 31); err != nil {
			return false
		}
	}
	return parts[0] == "1" && (len(parts) == 2 || len(parts) == 3)
}

func readRoot(d *document) (*Root, error) {
	f := &fields{}
	r := &Root{
		Header: d.Header, Digest: d.sum(),
		ConsistentSnapshot: f.flag(d.body["consistent_snapshot"], "consistent_snapshot"),
		Roles:              map[string]Role{},
	}
	r.Keys = f.keys(d.body["keys"])
	roles := f.object(d.body["roles"], "roles")
	for _, name := range topLevel {
		r.Roles[name] = f.role(roles[name], "roles."+name)
	}
	if f.err != nil {
		return nil, malformed(roleRoot, f.err)
	}
	return r, nil
}

func (f *fields) keys(v value) map[string]Key {
	out := map[string]Key{}
	for id, e := range f.object(v, "keys") {
		o := f.object(e, "keys."+clip.Text(id))
		f.object(o["keyval"], "keyval")
		out[id] = Key{
			ID: id, Type: f.text(o["keytype"], "keytype"), Scheme: f.text(o["scheme"], "scheme"),
			Value: slices.Clone(o["keyval"].raw), Canonical: e.appendCanonical(nil), Words: o.words("keytype", "scheme"),
		}
	}
	return out
}

// words returns the members that are text, but for some.
func (o object) words(but ...string) map[string]string {
	var out map[string]string
	for name, v := range o {
		text, ok := v.data.(string)
		if !ok || slices.Contains(but, name) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = text
	}
	return out
}

func (f *fields) role(v value, at string) Role {
	o := f.object(v, at)
	r := Role{f.texts(o["keyids"], at+".keyids", maxKeyIDs), f.number(o["threshold"], at+".threshold", 1)}
	if slices.Sort(r.KeyIDs); len(slices.Compact(slices.Clone(r.KeyIDs))) != len(r.KeyIDs) {
		f.fail(at+".keyids", "one stands twice")
	}
	return r
}

func readListing(d *document, kind string) (*listing, error) {
	f := &fields{}
	l := &listing{d.Header, map[string]fileInfo{}}
	for name, e := range f.object(d.body["meta"], "meta") {
		at := "meta." + clip.Text(name)
		o := f.object(e, at)
		info := fileInfo{version: f.number(o["version"], at+".version", 1)}
		if v, ok := o["length"]; ok {
			info.length = f.number(v, at+".length", 1)
		}
		if v, ok := o["hashes"]; ok {
			info.hashes = f.hashes(v, at+".hashes")
		}
		l.meta[name] = info
	}
	want := roleTargets
	if kind == roleTimestamp {
		want = roleSnapshot
	}
	if _, ok := l.meta[want+".json"]; !ok {
		f.fail("meta", "nothing about "+want+".json")
	}
	if f.err != nil {
		return nil, malformed(kind, f.err)
	}
	return l, nil
}

func (f *fields) hashes(v value, at string) map[string][]byte {
	out := map[string][]byte{}
	for alg, e := range f.object(v, at) {
		sum, err := hex.DecodeString(f.text(e, at))
		h, known := hashes[alg]
		if err != nil || !known || len(sum) != h().Size() {
			f.fail(at, fmt.Sprintf("no digest of a known algorithm: %q", clip.Text(alg)))
		}
		out[alg] = sum
	}
	if len(out) == 0 {
		f.fail(at, "there is none")
	}
	return out
}

func readTargets(d *document, role string) (*Targets, error) {
	f := &fields{}
	t := &Targets{Header: d.Header, Role: role, Files: map[string]TargetFile{}}
	for name, e := range f.object(d.body["targets"], "targets") {
		at := "targets." + clip.Text(name)
		o := f.object(e, at)
		t.Files[name] = TargetFile{
			Name: name, Role: role, By: d.Header, Custom: slices.Clone(o["custom"].raw),
			Length: f.number(o["length"], at+".length", 0), Hashes: f.hashes(o["hashes"], at+".hashes"),
		}
	}
	if v, ok := d.body["delegations"]; ok {
		f.delegations(v, t)
	}
	if f.err != nil {
		return nil, malformed(role, f.err)
	}
	return t, nil
}

func (f *fields) delegations(v value, t *Targets) {
	o := f.object(v, "delegations")
	t.Keys = f.keys(o["keys"])
	roles, listed := o["roles"]
	succinct, binned := o["succinct_roles"]
	switch {
	case listed && binned:
		f.fail("delegations", "both roles and succinct_roles")
	case binned:
		t.bins = f.bins(succinct)
	case listed:
		for _, e := range f.array(roles, "delegations.roles") {
			t.Delegations = append(t.Delegations, f.delegation(e))
		}
	}
	seen := map[string]bool{}
	for _, d := range t.Delegations {
		if seen[d.Name] {
			f.fail("delegations.roles", fmt.Sprintf("%q stands twice", clip.Text(d.Name)))
		}
		seen[d.Name] = true
	}
}

func (f *fields) delegation(v value) Delegation {
	o := f.object(v, "delegations.roles")
	d := Delegation{
		Role: f.role(v, "delegations.roles"), Name: f.text(o["name"], "name"),
		Terminating: f.flag(o["terminating"], "terminating"),
	}
	if d.Name == "" || slices.Contains(topLevel, d.Name) {
		f.fail("name", fmt.Sprintf("%q cannot be delegated to", d.Name))
	}
	paths, byPath := o["paths"]
	prefixes, byHash := o["path_hash_prefixes"]
	if byPath && byHash {
		f.fail("delegations.roles", "both paths and path_hash_prefixes")
	}
	if byPath {
		d.Paths = f.texts(paths, "paths", maxPatterns)
		for _, p := range d.Paths {
			if err := checkPattern(p); err != nil {
				f.fail("paths", err.Error())
			}
		}
	}
	if byHash {
		d.PathHashPrefixes = f.texts(prefixes, "path_hash_prefixes", maxPatterns)
	}
	return d
}
