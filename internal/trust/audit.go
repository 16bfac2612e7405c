// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

const auditSchema = schemaBase + "audit-v1.json"

// Audit is the history of a trust root as its metadata shows it, for people and for other
// machines: who pins the same root and reads the same versions makes the same bytes of it. It
// has nothing of the machine that made it, neither its clock nor its paths.
type Audit struct {
	Schema  string               `json:"schema"`
	Verdict string               `json:"verdict"` // class of the problem; OK without one
	AsOf    Versions             `json:"as_of"`
	Roots   []AuditedRoot        `json:"roots"`
	Roles   []AuditedRole        `json:"roles"`
	Keys    map[string]KeyHolder `json:"keys"` // by the key ID of the metadata
	Problem *AuditProblem        `json:"problem,omitempty"`
}

// Versions are what an audit is of; 0 for what was not read.
type Versions struct {
	Root      int64 `json:"root"`
	Timestamp int64 `json:"timestamp"`
	Snapshot  int64 `json:"snapshot"`
	Targets   int64 `json:"targets"`
}

// AuditedRoot is one root. The step to it from the one before is a ceremony: as many of
// that one's keys as it demands have signed, and as many of its own.
type AuditedRoot struct {
	Version            int64                  `json:"version"`
	Digest             string                 `json:"digest"`
	Expires            time.Time              `json:"expires"`
	ConsistentSnapshot bool                   `json:"consistent_snapshot"`
	Before             *Signatures            `json:"signed_as_before,omitempty"` // not of the one that is pinned
	Own                Signatures             `json:"signed_as_itself"`
	Roles              map[string]AuditedKeys `json:"roles"`
	Changes            []AuditedChange        `json:"changes"`
}

// Signatures are whose of a role has signed a file.
type Signatures struct {
	Threshold int64    `json:"threshold"`
	Of        int      `json:"of"`
	By        []string `json:"by"` // key IDs
}

// AuditedKeys are who may sign for a role, and how many of them have to.
type AuditedKeys struct {
	Threshold int64    `json:"threshold"`
	Keys      []string `json:"keys"`
}

// AuditedChange is what changed of a role since the root before.
type AuditedChange struct {
	Role      string   `json:"role"`
	Added     []string `json:"added,omitempty"`
	Removed   []string `json:"removed,omitempty"`
	Threshold []int64  `json:"threshold,omitempty"` // before and after, if it changed
}

// AuditedRole is the current metadata of a role other than root.
type AuditedRole struct {
	Role    string    `json:"role"`
	By      string    `json:"delegated_by"`
	Version int64     `json:"version"`
	Digest  string    `json:"digest"`
	Expires time.Time `json:"expires"`
	AuditedKeys
	Signed       []string        `json:"signed"`
	Paths        []string        `json:"paths,omitempty"`
	HashPrefixes []string        `json:"path_hash_prefixes,omitempty"`
	Terminating  bool            `json:"terminating,omitempty"`
	Targets      []AuditedTarget `json:"targets,omitempty"`
}

// AuditedTarget is a file that a role lists.
type AuditedTarget struct {
	Path   string            `json:"path"`
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
	Usage  string            `json:"usage,omitempty"`  // as Sigstore's metadata says it
	Status string            `json:"status,omitempty"` // as well: Active, Expired
	// Found says that a client that looks for the file finds this one.
	Found bool `json:"found"`
}

// KeyHolder is whose a key is.
type KeyHolder struct {
	Type   string `json:"type"`
	Scheme string `json:"scheme"`
	Public string `json:"public_key_sha256,omitempty"` // of its PKIX form; "" for an identity
	Name   string `json:"name,omitempty"`              // identity and issuer, or whom the metadata names as the owner
}

// AuditProblem says where a history ends, and why.
type AuditProblem struct {
	File string `json:"file"`
	Code string `json:"code"` // one of AuditCodes
}

// AuditCodes are why a history ends, with their meaning.
var AuditCodes = map[string]string{
	"unavailable": "it could not be had",
	"withheld":    "it is not there, and a later version is",
	"unsigned":    "too few have signed it",
	"malformed":   "it is no metadata",
	"mismatch":    "it is not what was announced",
	"other":       "it cannot be used",
}

// Audit reads the history of a root of the configuration, or of the public instance, from its
// repository alone: nothing that is kept on this machine has a part in it, and nothing in it
// depends on the time. With an error, which is a [*sigstore.Error], there may be an audit of
// what was verified until then; nil if there is none.
func (c *Config) Audit(ctx context.Context, name string, o Options) (*Audit, error) {
	var pin []byte
	var address string
	var err error
	if name == string(PublicGood) {
		pin, address, err = PublicGood.pin()
	} else if named, ok := c.Root(name); ok {
		pin, address, o, err = c.place(ctx, &named, o)
	} else {
		err = missing(fmt.Errorf("no root %q is configured", name))
	}
	if err != nil {
		return nil, err
	}
	s, done, err := opened(ctx, address, o)
	if err != nil {
		return nil, naming(address, missing(err))
	}
	defer done()
	if s == nil {
		return nil, naming(address, missing(errors.New("not asked: --offline")))
	}
	h, err := tuf.ReadHistory(ctx, tuf.Options{Root: pin, Source: s, KeyTypes: o.keyTypes})
	if h == nil {
		return nil, naming(address, invalid(err))
	}
	a := newAudit(h)
	var ends *tuf.HistoryError
	switch {
	case errors.As(err, &ends):
		code, why := auditCode(ends.Err)
		a.Problem, a.Verdict = &AuditProblem{ends.File, code}, why.Class().String()
		return a, naming(address, &sigstore.Error{Reason: why, Err: err})
	case err != nil:
		return a, naming(address, missing(err))
	}
	return a, nil
}

// auditCode returns the code of what ends a history, and its reason: what could not be had may
// be had another time or elsewhere, what was had and is wrong may not.
func auditCode(err error) (string, policy.Reason) {
	switch {
	case errors.Is(err, tuf.ErrWithheld):
		return "withheld", policy.TrustRootMissing
	case errors.Is(err, tuf.ErrUnsigned):
		return "unsigned", policy.TrustRootInvalid
	case errors.Is(err, tuf.ErrMalformed):
		return "malformed", policy.TrustRootInvalid
	case errors.Is(err, tuf.ErrMismatch), errors.Is(err, tuf.ErrRollback):
		return "mismatch", policy.TrustRootInvalid
	case errors.Is(err, tuf.ErrTooManyRoles):
		return "other", policy.TrustRootInvalid
	}
	return "unavailable", policy.TrustRootMissing
}

func newAudit(h *tuf.History) *Audit {
	a := &Audit{
		Schema: auditSchema, Verdict: policy.ClassOK.String(), Roots: []AuditedRoot{}, Roles: []AuditedRole{},
		Keys: map[string]KeyHolder{},
	}
	var before *tuf.Root
	for _, r := range h.Roots {
		a.Roots = append(a.Roots, a.root(r, before))
		before, a.AsOf.Root = r.Root, r.Version
	}
	for i, r := range h.Current {
		keys := h.Roots[len(h.Roots)-1].Keys
		a.Roles = append(a.Roles, a.role(r, keys))
		*[]*int64{&a.AsOf.Timestamp, &a.AsOf.Snapshot, &a.AsOf.Targets}[i] = r.Version
	}
	held := map[string]map[string]tuf.Key{} // of the roles that delegate, by name
	for _, r := range slices.Concat(h.Current, h.Roles) {
		if r.Targets != nil {
			held[r.Name] = r.Keys
		}
	}
	for _, r := range h.Roles {
		a.Roles = append(a.Roles, a.role(r, held[r.By]))
	}
	return a
}

func (a *Audit) root(r tuf.RootVersion, before *tuf.Root) AuditedRoot {
	a.holders(r.Keys)
	out := AuditedRoot{
		Version: r.Version, Digest: "sha256:" + r.Digest, Expires: r.Expires.UTC(),
		ConsistentSnapshot: r.ConsistentSnapshot, Own: signatures(r.Own), Roles: map[string]AuditedKeys{},
		Changes: []AuditedChange{},
	}
	if r.Before != nil {
		s := signatures(*r.Before)
		out.Before = &s
	}
	for _, role := range slices.Sorted(maps.Keys(r.Roles)) {
		is := r.Roles[role]
		out.Roles[role] = auditedKeys(is)
		if before == nil {
			continue
		}
		was := before.Roles[role]
		c := AuditedChange{Role: role, Added: without(is.KeyIDs, was.KeyIDs), Removed: without(was.KeyIDs, is.KeyIDs)}
		if was.Threshold != is.Threshold {
			c.Threshold = []int64{was.Threshold, is.Threshold}
		}
		if len(c.Added)+len(c.Removed)+len(c.Threshold) > 0 {
			out.Changes = append(out.Changes, c)
		}
	}
	return out
}

// without returns what of a is not in b, in its order.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Sorted(slices.Values(a)), func(s string) bool { return slices.Contains(b, s) })
}

func signatures(s tuf.Signers) Signatures {
	return Signatures{s.Threshold, len(s.KeyIDs), append([]string{}, s.Signed...)}
}

func auditedKeys(r tuf.Role) AuditedKeys {
	return AuditedKeys{r.Threshold, append([]string{}, slices.Sorted(slices.Values(r.KeyIDs))...)}
}

func (a *Audit) role(r tuf.RoleVersion, keys map[string]tuf.Key) AuditedRole {
	a.holders(keys)
	out := AuditedRole{
		Role: r.Name, By: r.By, Version: r.Version, Digest: "sha256:" + r.Digest, Expires: r.Expires.UTC(),
		AuditedKeys: auditedKeys(r.Signers.Role), Signed: append([]string{}, r.Signers.Signed...),
	}
	if d := r.Delegation; d != nil {
		out.Paths, out.HashPrefixes, out.Terminating = d.Paths, d.PathHashPrefixes, d.Terminating
	}
	if r.Targets == nil {
		return out
	}
	for _, path := range slices.Sorted(maps.Keys(r.Files)) {
		f := r.Files[path]
		t := AuditedTarget{Path: path, Length: f.Length, Hashes: map[string]string{}, Found: r.Answers[path]}
		for alg, sum := range f.Hashes {
			t.Hashes[alg] = hex.EncodeToString(sum)
		}
		t.Usage, t.Status = standing(f.Custom)
		out.Targets = append(out.Targets, t)
	}
	return out
}

// standing returns what Sigstore's metadata says of a file: what it is for, and whether it is
// in use.
func standing(custom json.RawMessage) (usage, status string) {
	var c struct {
		Sigstore struct {
			Usage  string `json:"usage"`
			Status string `json:"status"`
		} `json:"sigstore"`
	}
	if json.Unmarshal(custom, &c) != nil { // it is not ours to judge
		return "", ""
	}
	return c.Sigstore.Usage, c.Sigstore.Status
}

// holders says whose keys are; what newer metadata says takes the place of what older one did.
// Another key of an ID, which metadata may have from version to version, is named with its
// digest, too.
func (a *Audit) holders(keys map[string]tuf.Key) {
	for id, k := range keys {
		holder := KeyHolder{k.Type, k.Scheme, k.PublicKey(), nameOf(k)}
		if old, ok := a.Keys[id]; ok {
			if old.Public != holder.Public {
				id += "#" + holder.Public
			} else if holder.Name == "" {
				holder.Name = old.Name
			}
		}
		a.Keys[id] = holder
	}
}

// nameOf returns whose a key is: the identity of TAP 18, or the owner in the words of
// tuf-on-ci.
func nameOf(k tuf.Key) string {
	if k.Type == KeyTypeOIDC {
		var v struct{ Identity, Issuer string }
		if json.Unmarshal(k.Value, &v) == nil {
			return v.Identity + " of " + v.Issuer
		}
	}
	for _, member := range []string{"x-tuf-on-ci-keyowner", "x-tuf-on-ci-online-uri"} {
		if name := k.Words[member]; name != "" {
			return name
		}
	}
	return ""
}

// Bytes returns the audit as a document, the same bytes for the same audit.
func (a *Audit) Bytes() ([]byte, error) {
	data, err := json.MarshalIndent(a, "", "  ")
	return append(data, '\n'), err
}
