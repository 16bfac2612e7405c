// SPDX-License-Identifier: Apache-2.0

package author

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
)

// periodField is where the metadata says for how many days a role is signed, in the
// words of tuf-on-ci: https://github.com/theupdateframework/tuf-on-ci.
const periodField = "x-tuf-on-ci-expiry-period"

const day = 24 * time.Hour

// defaultDays are for how long a role is signed.
var defaultDays = map[string]int{Root: 365, Targets: 365, Snapshot: 30, Timestamp: 30}

// Limits of a repository.
const (
	maxDays = 10 * 365
	maxKeys = 64 // of a role
)

// Setup says who signs for a role, and for how long.
type Setup struct {
	Keys      []Key
	Threshold int
	Days      int // 0 for what is usual
}

// Create stages the first version of a repository. What a run that was interrupted
// left is begun again; the error is ErrExists if there is a repository.
func Create(dir string, now time.Time, roles map[string]Setup) (*Repository, error) {
	r, err := open(dir, now)
	if err != nil {
		return nil, err
	}
	if r.root != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", dir, ErrExists)
	}
	r.root, r.targets = metadata.Root(), map[string]*metadata.Metadata[metadata.TargetsType]{Targets: metadata.Targets()}
	r.staged = map[string]bool{Root: true, Targets: true}
	for _, role := range Roles {
		s, ok := roles[role]
		if !ok {
			err = errors.Join(err, fmt.Errorf("nobody signs for %s", role))
			continue
		}
		err = errors.Join(err, r.assign(role, s))
	}
	if err == nil {
		r.root.Signed.Expires, r.targets[Targets].Signed.Expires = r.until(Root), r.until(Targets)
		err = r.save()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// assign gives a top-level role its keys.
func (r *Repository) assign(role string, s Setup) error {
	if s.Threshold < 1 || s.Threshold > len(s.Keys) {
		return fmt.Errorf("%s: a threshold of %d with %d keys", role, s.Threshold, len(s.Keys))
	}
	if len(s.Keys) > maxKeys {
		return fmt.Errorf("%s: %d keys, at most %d are taken", role, len(s.Keys), maxKeys)
	}
	if s.Days < 0 || s.Days > maxDays {
		return fmt.Errorf("%s: signed for %d days, at most %d are allowed", role, s.Days, maxDays)
	}
	to := r.root.Signed.Roles[role]
	for _, id := range slices.Clone(to.KeyIDs) {
		if err := r.root.Signed.RevokeKey(id, role); err != nil {
			return err
		}
	}
	for _, k := range s.Keys {
		if slices.Contains(to.KeyIDs, k.id) {
			return fmt.Errorf("%s: %s is given twice", role, k)
		}
		if err := r.root.Signed.AddKey(k.tuf, role); err != nil {
			return err
		}
	}
	r.learn(s.Keys)
	to.Threshold = s.Threshold
	if s.Days > 0 {
		if to.UnrecognizedFields == nil {
			to.UnrecognizedFields = map[string]any{}
		}
		to.UnrecognizedFields[periodField] = s.Days
	}
	return nil
}

// days returns for how long a role is signed; those that are delegated to as long
// as the one that lists targets.
func (r *Repository) days(role string) int {
	if !slices.Contains(Roles, role) {
		role = Targets
	}
	switch d := r.root.Signed.Roles[role].UnrecognizedFields[periodField].(type) {
	case int:
		return d
	case float64:
		if d >= 1 && d <= maxDays {
			return int(d)
		}
	}
	return defaultDays[role]
}

func (r *Repository) until(role string) time.Time {
	return r.now.Add(time.Duration(r.days(role)) * day)
}

// Rotate stages another root: roles that are named get other keys, and expiry is
// counted from now. Without any it is renewed.
func (r *Repository) Rotate(roles map[string]Setup) error {
	if r.before == nil {
		return errors.New("the first root is not published yet; make the repository anew instead")
	}
	if !r.staged[Root] {
		r.root.Signed.Version = r.before.Signed.Version + 1
	}
	r.staged[Root] = true
	r.root.ClearSignatures()
	for role, s := range roles {
		if !slices.Contains(Roles, role) {
			return fmt.Errorf("%s is not a role of the root", role)
		}
		if err := r.assign(role, s); err != nil {
			return err
		}
		// What the old keys signed is signed anew by the new ones.
		if _, ok := r.targets[role]; ok {
			if _, err := r.edit(role); err != nil {
				return err
			}
		}
	}
	r.root.Signed.Expires = r.until(Root)
	return r.save()
}

// edit returns the metadata of a role that lists targets, as a version that nobody
// has signed.
func (r *Repository) edit(role string) (*metadata.TargetsType, error) {
	t := r.targets[role]
	if t == nil {
		return nil, fmt.Errorf("there is no role %s", role)
	}
	if !r.staged[role] {
		t.Signed.Version++
	}
	r.staged[role] = true
	t.ClearSignatures()
	t.Signed.Expires = r.until(role)
	return &t.Signed, nil
}

// Renew stages the role anew without another change.
func (r *Repository) Renew(role string) error {
	if _, err := r.edit(role); err != nil {
		return err
	}
	return r.save()
}

// Add stages a target of a role; what is there already is left as it is.
func (r *Repository) Add(role, path string, data []byte) error {
	if !oci.ValidPath(path) {
		return fmt.Errorf("%q is no path of a target", path)
	}
	if len(data) > maxFile {
		return fmt.Errorf("%s has %d bytes, at most %d are read", path, len(data), maxFile)
	}
	t := r.targets[role]
	if t == nil {
		return fmt.Errorf("there is no role %s", role)
	}
	info, err := metadata.TargetFile().FromBytes(path, data, "sha256")
	if err != nil {
		return err
	}
	if old := t.Signed.Targets[path]; old != nil && old.Equal(*info) {
		return nil
	}
	if err := r.Asks(role, path); err != nil {
		return err
	}
	if err := file.Update(r.dir, treeDir+"/"+targetsDir+"/"+hashed(path, info), data); err != nil {
		return err
	}
	signed, err := r.edit(role)
	if err != nil {
		return err
	}
	signed.Targets[path] = info
	return r.save()
}

// Lists reports whether a role lists a target with this content.
func (r *Repository) Lists(role, path string, data []byte) bool {
	t := r.targets[role]
	if t == nil || t.Signed.Targets[path] == nil {
		return false
	}
	info, err := metadata.TargetFile().FromBytes(path, data, "sha256")
	return err == nil && t.Signed.Targets[path].Equal(*info)
}

// KeyStatus is what the custom part of a target says of a key in it, as Sigstore's root does
// (custom.sigstore).
type KeyStatus struct {
	Status string `json:"status"`
	Usage  string `json:"usage,omitempty"`
}

// KeyStatus returns what a role says of a key that it lists; the zero value if nothing.
func (r *Repository) KeyStatus(role, path string) KeyStatus {
	var custom struct {
		Sigstore KeyStatus `json:"sigstore"`
	}
	if t := r.targets[role]; t != nil && t.Signed.Targets[path] != nil && t.Signed.Targets[path].Custom != nil {
		_ = json.Unmarshal(*t.Signed.Targets[path].Custom, &custom) // of another form it says nothing
	}
	return custom.Sigstore
}

// SetKeyStatus stages what a role says of a key that it lists. Other members of its custom part
// stay.
func (r *Repository) SetKeyStatus(role, path string, s KeyStatus) error {
	t := r.targets[role]
	if t == nil || t.Signed.Targets[path] == nil {
		return fmt.Errorf("%s lists no target %s", role, path)
	}
	if r.KeyStatus(role, path) == s {
		return nil
	}
	custom := map[string]any{}
	if old := t.Signed.Targets[path].Custom; old != nil {
		if err := json.Unmarshal(*old, &custom); err != nil {
			return fmt.Errorf("custom of %s: %w", path, err)
		}
	}
	custom["sigstore"] = s
	raw, err := json.Marshal(custom)
	if err != nil {
		return err
	}
	signed, err := r.edit(role)
	if err != nil {
		return err
	}
	signed.Targets[path].Custom = (*json.RawMessage)(&raw)
	return r.save()
}

// Remove stages that a role has no such target any more.
func (r *Repository) Remove(role, path string) error {
	t := r.targets[role]
	if t == nil || t.Signed.Targets[path] == nil {
		return fmt.Errorf("%s lists no target %s", role, path)
	}
	signed, err := r.edit(role)
	if err != nil {
		return err
	}
	delete(signed.Targets, path)
	return r.save()
}

// Asks returns an error if a path is none that the role is asked about.
func (r *Repository) Asks(role, path string) error {
	if role == Targets {
		return nil
	}
	for _, d := range r.delegations() {
		if d.Name != role {
			continue
		}
		if ok, err := d.IsDelegatedPath(path); err != nil || ok {
			return err
		}
		return fmt.Errorf("nobody would ask %s about %s: it is delegated %s", role, path, strings.Join(d.Paths, ", "))
	}
	return fmt.Errorf("nobody delegates to %s", role)
}

// Listed returns what a role lists at paths that begin so, as it is staged or published, by path.
func (r *Repository) Listed(role, prefix string) (map[string][]byte, error) {
	t := r.targets[role]
	if t == nil {
		return nil, fmt.Errorf("there is no role %s", role)
	}
	out := map[string][]byte{}
	for path, info := range t.Signed.Targets {
		if !strings.HasPrefix(path, prefix) {
			continue
		}
		data, err := file.Read(r.path(treeDir, targetsDir, filepath.FromSlash(hashed(path, info))), maxFile)
		if err == nil {
			err = info.VerifyLengthHashes(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out[path] = data
	}
	return out, nil
}

// Target returns a target that the top-level role lists; nil if it does not.
func (r *Repository) Target(path string) ([]byte, error) {
	listed, err := r.Listed(Targets, path)
	return listed[path], err
}

// Delegated returns the roles that are delegated to and the patterns of each.
func (r *Repository) Delegated() map[string][]string {
	out := map[string][]string{}
	for _, d := range r.delegations() {
		out[d.Name] = d.Paths
	}
	return out
}

// Undelegate stages that a role answers for nothing any more.
func (r *Repository) Undelegate(role string) error {
	if !slices.ContainsFunc(r.delegations(), func(d metadata.DelegatedRole) bool { return d.Name == role }) {
		return fmt.Errorf("nobody delegates to %s", role)
	}
	signed, err := r.edit(Targets)
	if err != nil {
		return err
	}
	to := signed.Delegations
	to.Roles = slices.DeleteFunc(to.Roles, func(d metadata.DelegatedRole) bool { return d.Name == role })
	dropKeys(to)
	if len(to.Roles) == 0 {
		signed.Delegations = nil
	}
	return r.save()
}

func (r *Repository) delegations() []metadata.DelegatedRole {
	if t := r.targets[Targets]; t != nil && t.Signed.Delegations != nil {
		return t.Signed.Delegations.Roles
	}
	return nil
}

// Delegate stages that another role answers for targets that a pattern matches. A
// role that exists gets these patterns, keys and this threshold instead of its own.
// Delegations end the search, so that nobody behind answers for what this role
// leaves out.
func (r *Repository) Delegate(role string, patterns []string, s Setup) error {
	switch {
	case !validRole(role):
		return fmt.Errorf("%q is no name of a role", role)
	case len(patterns) == 0:
		return errors.New("a delegation has patterns of paths")
	case s.Threshold < 1 || s.Threshold > len(s.Keys) || len(s.Keys) > maxKeys:
		return fmt.Errorf("%s: a threshold of %d with %d keys", role, s.Threshold, len(s.Keys))
	}
	d := metadata.DelegatedRole{Name: role, Threshold: s.Threshold, Terminating: true, Paths: patterns}
	for _, k := range s.Keys {
		if slices.Contains(d.KeyIDs, k.id) {
			return fmt.Errorf("%s: %s is given twice", role, k)
		}
		d.KeyIDs = append(d.KeyIDs, k.id)
	}
	r.learn(s.Keys)
	signed, err := r.edit(Targets)
	if err != nil {
		return err
	}
	replaceDelegation(signed, d, s.Keys)
	if r.targets[role] == nil {
		r.targets[role] = metadata.Targets()
		r.targets[role].Signed.Version = r.listed[role+".json"] // of a role that was there before
	}
	if _, err := r.edit(role); err != nil {
		return err
	}
	return r.save()
}

// validRole reports whether a role that is delegated to can have this name.
func validRole(name string) bool {
	return name != "" && len(name) <= 64 && name[0] != '.' && !slices.Contains(Roles, name) &&
		!strings.ContainsFunc(name, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
		})
}

// replaceDelegation adds a delegation, or puts it in the place of that to the same role. Keys that
// no delegation names any more are left out.
func replaceDelegation(t *metadata.TargetsType, d metadata.DelegatedRole, keys []Key) {
	if t.Delegations == nil {
		t.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	to := t.Delegations
	for _, k := range keys {
		to.Keys[k.id] = k.tuf
	}
	i := slices.IndexFunc(to.Roles, func(o metadata.DelegatedRole) bool { return o.Name == d.Name })
	if i < 0 {
		to.Roles = append(to.Roles, d)
	} else {
		to.Roles[i] = d
	}
	dropKeys(to)
}

// dropKeys leaves out the keys that no delegation names.
func dropKeys(d *metadata.Delegations) {
	maps.DeleteFunc(d.Keys, func(id string, _ *metadata.Key) bool {
		return !slices.ContainsFunc(d.Roles, func(o metadata.DelegatedRole) bool { return slices.Contains(o.KeyIDs, id) })
	})
}
