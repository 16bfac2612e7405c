// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// RootTarget names a target of a trust root: a file that a TUF repository lists (SPEC 5.12,
// 5.13).
type RootTarget struct {
	// Root is "public-good", or "sha256:HEX" of the root metadata from which the repository is
	// followed; of what a user names on the command line, the name of a root in his map.
	Root string
	URL  string // below which the repository's metadata lies, if the user's map does not say; "" for nowhere
	Path string // of the target; in a rule it may have the placeholders {tag} and {name}
	Role string // the way to the role that lists it (SPEC 5.13); "" for whichever the search ends at
}

// The placeholders of the path of a rule's target.
const (
	tagPlaceholder  = "{tag}"
	namePlaceholder = "{name}"
)

const (
	publicRoot     = "public-good" // the one root that has a name in a policy
	topLevelRole   = "targets"
	maxTargetBytes = 512 // of a path or a way to a role
	maxRoots       = 16  // that a file names
	maxTargets     = 100 // from which the rules of a file take keys, each as often as it stands there
)

// place returns what tells targets apart: the root and the path.
func (t RootTarget) place() RootTarget { return RootTarget{Root: t.Root, Path: t.Path} }

// String names the target for people.
func (t RootTarget) String() string {
	text := t.Path + " of " + t.Root
	if t.Role != "" {
		text += ", listed by the role " + t.Role
	}
	return text
}

// of returns the target of an artifact under a tag; the error says why there is none. What was put
// in is never searched again: a tag may look like a placeholder.
func (t RootTarget) of(tag, name string) (RootTarget, error) {
	if t.namesTag() && tag == "" {
		return RootTarget{}, errors.New("it needs the tag: name it with --tag")
	}
	if strings.Contains(name, "/") { // it would lead to the path of another tag
		return RootTarget{}, fmt.Errorf("%q is not the name of a file", name)
	}
	t.Path = strings.NewReplacer(tagPlaceholder, tag, namePlaceholder, name).Replace(t.Path)
	if err := checkTargetPath(t.Path); err != nil {
		return RootTarget{}, fmt.Errorf("%q is no target: a path %w", t.Path, err)
	}
	return t, nil
}

// namesTag reports whether the path of a rule's target says which tag the artifact is of.
func (t RootTarget) namesTag() bool { return strings.Contains(t.Path, tagPlaceholder) }

// checkTargetPath demands a relative path of printable ASCII without empty and dot segments.
func checkTargetPath(path string) error {
	if len(path) > maxTargetBytes {
		return fmt.Errorf("has at most %d characters", maxTargetBytes)
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." || strings.Contains(seg, `\`) {
			return errors.New(`is a relative path without empty segments, "." and "..", and without '\'`)
		}
	}
	return nil
}

// checkTargetPattern demands of the path of a rule's target that only one tag and one name lead
// to a path: {tag} at most once, and {name} as the last segment, which no slash is in.
func checkTargetPattern(path string) error {
	rest, ok := strings.CutSuffix(path, namePlaceholder)
	if !ok || rest != "" && !strings.HasSuffix(rest, "/") {
		return errors.New("must end with {name} as its last segment")
	}
	rest = strings.Replace(rest, tagPlaceholder, "0", 1)
	if strings.ContainsAny(rest, "{}") {
		return errors.New("has the placeholders {tag}, at most once, and {name}, and no other '{' or '}'")
	}
	return checkTargetPath(rest + "0")
}

// rootTarget decodes the keys root and url, and whose target is at k.
func (n *node) rootTarget(k string) RootTarget {
	t := RootTarget{Root: n.asciiKey("root", false), URL: n.asciiKey("url", false), Path: n.asciiKey(k, false)}
	const hint = `write "public-good", or "sha256:…" of the root metadata to begin with, 1.root.json`
	switch {
	case !n.has("root"):
		n.missing("root", hint)
	case t.Root != "" && t.Root != publicRoot:
		if d, err := ParseDigest(t.Root); err != nil || d.Alg != "sha256" {
			n.bad("root", hint, "is neither public-good nor a sha256 digest")
			t.Root = ""
		}
	}
	if !n.has(k) {
		n.missing(k, "")
	}
	switch {
	case t.URL == "":
	case t.Root == publicRoot:
		n.conflict("url", "leave it out", "where public-good is followed from is built in")
	case spelling.CheckIssuer(t.URL) != nil:
		n.bad("url", "", "must be a plain https URL with a lower-case host, without user information, query, "+
			"fragment or escapes")
	default:
		if other := n.d.roots[t.Root]; other != "" && other != t.URL {
			n.conflict("url", "", "the same root has the url %s elsewhere", other)
		}
	}
	n.countRoot(t)
	return t
}

// countRoot counts the roots of a file, each of which is followed to judge by it, and keeps where.
func (n *node) countRoot(t RootTarget) {
	if n.d.roots == nil {
		n.d.roots = map[string]string{}
	}
	if _, ok := n.d.roots[t.Root]; !ok && len(n.d.roots) == maxRoots {
		n.d.report(n.key("root"), PolicyTooLarge, "", "a policy names at most %d trust roots", maxRoots)
	}
	n.d.roots[t.Root] = cmp.Or(n.d.roots[t.Root], t.URL)
}

// ruleKeys decodes the keys of a rule: PEM texts, and tables that name a target of a trust root.
func (n *node) ruleKeys(k string) (keys, fromRoots []Key) {
	for i, v := range n.list(k, maxMembers) {
		at := item(k, i)
		m, ok := v.(map[string]any)
		if !ok {
			keys = append(keys, n.newKey(at, v, keys))
			continue
		}
		t := n.d.node(n.key(at), m)
		key := Key{From: t.rootTarget("target")}
		if err := checkTargetPath(key.From.Path); err != nil && key.From.Path != "" {
			t.bad("target", `write it as the root lists it, such as "artifact.pub"`, "%s", err)
		}
		if v, ok := t.get("pem"); ok {
			pinned := t.publicKey("pem", v)
			key.PEM, key.ID, key.Algorithm = pinned.PEM, pinned.ID, pinned.Algorithm
		}
		t.finish()
		if slices.ContainsFunc(fromRoots, func(o Key) bool { return o.From.place() == key.From.place() && o.ID == key.ID }) {
			n.d.report(n.key(at), PolicyDuplicate, "", "the key stands twice")
		}
		if n.d.targets++; n.d.targets == maxTargets+1 {
			n.d.report(n.key(at), PolicyTooLarge, "", "the rules take at most %d keys from trust roots", maxTargets)
		}
		fromRoots = append(fromRoots, key)
	}
	return keys, fromRoots
}

// target decodes the table of a rule whose artifacts a trust root lists.
func (n *node) target(k string) *RootTarget {
	t := n.table(k)
	if t == nil {
		return nil
	}
	out := t.rootTarget("path")
	if err := checkTargetPattern(out.Path); err != nil && out.Path != "" {
		t.bad("path", `write "{name}", or such as "widget/{tag}/{name}"`, "%s", err)
	}
	out.Role = t.asciiKey("role", false)
	switch {
	case !t.has("role"):
		t.missing("role", fmt.Sprintf("name the role that lists the artifacts; the root's own is %q", topLevelRole))
	case out.Role == "":
	case len(out.Role) > maxTargetBytes:
		t.bad("role", "", "has at most %d characters", maxTargetBytes)
	default:
		if err := spelling.CheckRoleWay(out.Role); err != nil {
			t.bad("role", fmt.Sprintf(`write "widget", or "all/widget" for one that "all" delegates to; the root's own is %q`,
				topLevelRole), "is no way to a role: %s", err)
		}
	}
	t.finish()
	return &out
}

// KeyTargets returns the targets from which the rules take keys, each once.
func (f *File) KeyTargets() []RootTarget {
	if f == nil {
		return nil
	}
	var out []RootTarget
	for _, r := range f.Rules {
		for _, k := range r.RootKeys {
			if !slices.ContainsFunc(out, func(t RootTarget) bool { return t.place() == k.From.place() }) {
				out = append(out, k.From)
			}
		}
	}
	return out
}

// The status of a key, as the custom part of a target says it (custom.sigstore.status).
const (
	statusActive  = "Active"
	statusExpired = "Expired"
)

// RootFact is what the current metadata of a trust root says of a target that rules take a key
// from. The zero value says nothing. A fact is made where a root was asked, and nowhere else.
type RootFact struct {
	of     RootTarget
	why    Reason // the root could not be asked; "" if it was
	detail string
	listed bool
	status string
	key    Key    // that the target is; zero if it is none
	flaw   string // why the target is no key; "" if it is one
}

// Unknown says that the root could not be followed, or the target not be had, for a reason.
func (t RootTarget) Unknown(why Reason, detail string) RootFact {
	return RootFact{of: t.place(), why: why, detail: detail}
}

// Unlisted says that the root lists no such target.
func (t RootTarget) Unlisted() RootFact { return RootFact{of: t.place()} }

// Listed says that the root lists the target with this content, and what the custom part of its
// metadata says of its status; "" if it says nothing.
func (t RootTarget) Listed(status string, content []byte) RootFact {
	f := RootFact{of: t.place(), listed: true, status: status}
	pub, err := keys.Parse(content)
	if err != nil {
		f.flaw = err.Error()
		return f
	}
	f.key = Key{PEM: string(content), ID: pub.ID, Algorithm: pub.Algorithm.Name, From: f.of}
	return f
}

// Of returns the target, by its root and path.
func (f RootFact) Of() RootTarget { return f.of }

// State returns what became of the target: "active", "expired", "withdrawn" (not listed),
// "useless" (no key, or of no known status) or "unknown"; the id of the key that it is, "" if
// none is known; and why it is useless or unknown.
func (f RootFact) State() (state, keyID, why string) {
	switch {
	case f.of.Root == "" || f.why != "":
		return "unknown", "", f.detail
	case !f.listed:
		return "withdrawn", "", ""
	case f.flaw != "":
		return "useless", "", "it is no key: " + f.flaw
	case f.status == statusActive:
		return "active", f.key.ID, ""
	case f.status == statusExpired:
		return "expired", f.key.ID, ""
	}
	return "useless", f.key.ID, f.statusText()
}

func (f *RootFact) statusText() string {
	return fmt.Sprintf("custom.sigstore.status must be %q or %q, it is %q", statusActive, statusExpired, f.status)
}

// Knowing returns the policy as it judges with what trust roots say of the targets that rules
// take keys from. Of a target of which nothing is said nothing is known.
//
// Versions are those of the chain that the policy is the newest version of, the first one first;
// none without a chain.
func (t *Trusted) Knowing(facts []RootFact, versions ...*File) *Trusted {
	if t == nil {
		return nil
	}
	v := *t
	v.history = newKeyHistory(versions)
	v.number = v.history.at[t.file]
	v.facts = map[RootTarget]RootFact{}
	for _, f := range facts {
		v.facts[f.of] = f
	}
	return &v
}

// Among returns the policy as it judges under one of several trust roots, more than one of which
// has to allow (SPEC 17.2): what a root says of a key that no version names, or lists as an
// artifact, counts under that root alone. Identity is "public-good", or the hex SHA-256 of the
// metadata from which the root is followed.
func (t *Trusted) Among(identity string) *Trusted {
	if t == nil {
		return nil
	}
	v := *t
	v.among, v.own = true, identity
	if spelling.IsHash(identity) {
		v.own = "sha256:" + identity
	}
	return &v
}

// elsewhere reports whether a root's word counts under other roots than the one that judges.
func (t *Trusted) elsewhere(root string) bool {
	return t != nil && t.among && root != t.own
}

// KeyTargets returns the targets from which the rules take keys, each once.
func (t *Trusted) KeyTargets() []RootTarget { return t.Content().KeyTargets() }

// withRootKeys adds to keys those that count by trust roots under a version, or did, as far as
// they are known.
func (t *Trusted) withRootKeys(out []Key, f *File) []Key {
	add := func(k Key) {
		if k.PEM != "" && !slices.ContainsFunc(out, func(o Key) bool { return o.ID == k.ID }) {
			out = append(out, Key{PEM: k.PEM, ID: k.ID, Algorithm: k.Algorithm})
		}
	}
	for _, r := range f.Rules {
		for _, k := range r.RootKeys {
			add(k)
			if t != nil {
				add(t.facts[k.From.place()].key)
			}
		}
	}
	return out
}

// verdict is what is known of a key under a rule that takes keys from trust roots.
type verdict struct {
	counts bool
	open   Reason // why it cannot be known; "" if it is
	why    Mismatch
}

// rootKey judges a key, by its id, under one entry of a rule (SPEC 5.12). An empty id stands for
// a key that nothing at hand names. Without v its time is taken to be right.
func (t *Trusted) rootKey(r *Rule, k *Key, id string, now time.Time, v *Verification) verdict {
	fact, known := t.facts[k.From.place()]
	no := func(kind, hint, format string, args ...any) verdict {
		return verdict{why: Mismatch{
			Field: "key", Kind: kind, Want: "the key " + k.From.String(), Got: fmt.Sprintf(format, args...), Hint: hint,
		}}
	}
	got := "key sha256:" + id
	switch {
	case k.ID != "" && k.ID != id:
		return no("differs", "", "%s", got)
	case t.elsewhere(k.From.Root) && !t.namesKey(r, k, id):
		return no("forbidden", "name the key with pem, to let it count under each root",
			"%s; more than one root has to allow, each by itself, and another one names the key", got)
	}
	if !known {
		fact = k.From.Unknown(TrustRootMissing, "the root was not asked")
	}
	current := fact.listed && fact.key.ID == id && id != ""
	switch {
	case fact.why != "":
		out := no("missing", "", "%s", fact.detail)
		out.open = fact.why
		return out
	case current && fact.status == statusActive:
		return verdict{counts: true}
	case current && fact.status != statusExpired:
		return no("forbidden", "", "%s: %s", got, fact.statusText())
	case !current && !t.namesKey(r, k, id):
		if fact.flaw != "" {
			return no("missing", "", "%s; the target is no key: %s", got, fact.flaw)
		}
		if !fact.listed {
			return no("missing", "name the key with pem to let what it signed before `until` count",
				"%s; the root lists no such target, and no rule says which key that was", got)
		}
		return no("differs", "", "%s", got)
	}
	state := "has expired"
	if !current {
		state = "was withdrawn"
	}
	end := t.end(r, k)
	switch {
	case end.IsZero():
		return no("forbidden", "`until` in the rule, here or in a later version, lets what was signed before it count",
			"%s, which %s", got, state)
	case now.Before(end):
		return no("forbidden", "what was signed before it counts from then on", "%s, which %s; until %s has not passed",
			got, state, spelling.Stamp(end))
	}
	if v != nil {
		if _, upper := v.Bounds(); !upper.Before(end) {
			return no("forbidden", "", "%s, which %s; signed %s, not before until %s", got, state, spelling.Stamp(upper),
				spelling.Stamp(end))
		}
	}
	return verdict{counts: true}
}

// keyHistory is which keys the rules of a chain of versions take from which targets.
type keyHistory struct {
	at      map[*File]int // the place of a version in the chain, from 0
	entries map[keyPlace][]keyEntry
}

// keyPlace is a target in the rules of one name, keyEntry one version's entry about it.
type keyPlace struct {
	rule   string
	target RootTarget
}

type keyEntry struct {
	version int
	id      string // of the key that the entry pins; "" if it pins none
	until   time.Time
}

func newKeyHistory(versions []*File) *keyHistory {
	h := &keyHistory{map[*File]int{}, map[keyPlace][]keyEntry{}}
	for i, f := range versions {
		h.at[f] = i
		for _, r := range f.Rules {
			for _, k := range r.RootKeys {
				at := keyPlace{r.Name, k.From.place()}
				h.entries[at] = append(h.entries[at], keyEntry{i, k.ID, r.Until})
			}
		}
	}
	return h
}

// later returns what rules of the same name in later versions say of the same target.
func (t *Trusted) later(r *Rule, k *Key) []keyEntry {
	if t.history == nil {
		return nil
	}
	all := t.history.entries[keyPlace{r.Name, k.From.place()}]
	return all[sort.Search(len(all), func(i int) bool { return all[i].version > t.number }):]
}

// namesKey reports whether the entry, or one for the same target in the rule of that name of a
// later version, says that the target was this key.
func (t *Trusted) namesKey(r *Rule, k *Key, id string) bool {
	return id != "" && (k.ID == id ||
		k.ID == "" && slices.ContainsFunc(t.later(r, k), func(o keyEntry) bool { return o.id == id }))
}

// end returns until when a key counts that its root does not vouch for any more: the earliest
// `until` of the rule and of those that follow it; zero if none says so.
func (t *Trusted) end(r *Rule, k *Key) time.Time {
	end := r.Until
	for _, o := range t.later(r, k) {
		if !o.until.IsZero() && (end.IsZero() || o.until.Before(end)) {
			end = o.until
		}
	}
	return end
}

// matchRootKeys compares a key with those that a rule takes from trust roots, of which there is
// at least one. Without a match it returns the nearest mismatch, with the reason if it cannot be
// known whether one of them is meant.
func (t *Trusted) matchRootKeys(r *Rule, req Request, id string, v *Verification) (ok bool, near verdict) {
	for i := range r.RootKeys {
		one := t.rootKey(r, &r.RootKeys[i], id, req.Now, v)
		nearer := near.open == "" && (one.open != "" || near.why.Kind == "differs" && one.why.Kind != "differs")
		switch {
		case one.counts:
			return true, one
		case i == 0, nearer:
			near = one
		}
	}
	return false, near
}

// matchTarget compares what a trust root lists with the target of a rule. Neither matches
// anything else.
func (t *Trusted) matchTarget(r *Rule, req Request, c *Claims) []Mismatch {
	want, got := r.Target, c.Target
	switch {
	case want == nil:
		return []Mismatch{{Field: "signer", Kind: "missing", Want: r.people(), Got: got.String()}}
	case got == nil:
		return []Mismatch{{Field: "target", Kind: "missing", Want: want.String(), Got: c.Signer.describe()}}
	}
	var ms []Mismatch
	if t.elsewhere(got.Root) {
		ms = append(ms, Mismatch{Field: "root", Kind: "forbidden", Want: "the root that judges", Got: got.Root,
			Hint: "more than one root has to allow, each by itself"})
	}
	if got.Root != want.Root {
		ms = append(ms, Mismatch{Field: "root", Kind: "differs", Want: want.Root, Got: got.Root})
	}
	if got.Role != want.Role {
		ms = append(ms, Mismatch{
			Field: "role", Kind: "differs", Want: want.Role, Got: got.Role,
			Hint: "the search for the target ends at this role, which outranks those after it",
		})
	}
	for _, name := range req.Names {
		if t, err := want.of(first(c.Tags), name); err != nil || t.Path != got.Path {
			ms = append(ms, Mismatch{Field: "target", Kind: "differs", Want: want.Path, Got: got.Path})
		}
	}
	if len(req.Names) == 0 {
		ms = append(ms, Mismatch{Field: "target", Kind: "missing", Want: want.Path, Got: "an artifact without a name"})
	}
	return ms
}

// decideTarget judges what a trust root lists by the flags alone.
func (f *FlagIdentity) decideTarget(d Decision, req Request, c *Claims) Decision {
	switch want, got := f.Target, c.Target; {
	case want == nil:
		d.Reason, d.Detail = NarrowedIdentity, fmt.Sprintf("the root %s lists it", got.Root)
		return d
	case got == nil:
		d.Reason, d.Detail = NarrowedIdentity, fmt.Sprintf("it names %s", c.Signer.describe())
		return d
	case got.Root != want.Root, want.Path != "" && got.Path != want.Path,
		want.Path == "" && !slices.Contains(req.Names, got.Path), want.Role != "" && got.Role != want.Role:
		d.Reason, d.Detail = NarrowedIdentity, fmt.Sprintf("it is the target %s", got)
		return d
	}
	d.Notes = append(d.Notes, c.targetNote(), Note{
		"no-policy", "no policy was consulted: the flags name the root, nothing says that it may release",
	})
	d.Permitted, d.Reason = true, Allowed
	return d
}

// targetNote says what a verdict rests on that rests on a trust root's word.
func (c *Claims) targetNote() Note {
	return Note{"tuf-target", fmt.Sprintf(
		"the role %s of the trust root %s lists it as %s, in version %d, which expires %s; no log shows who else was told "+
			"so, or when", c.Target.Role, c.Target.Root, c.Target.Path, c.TargetVersion, spelling.Stamp(c.TargetExpires),
	)}
}

// Targets returns what evidence by trust roots will claim of an artifact of this name, of the tag
// if one is demanded: each target has its root, path and, by a rule, role. Why says which rule
// could not be asked.
func (t *Trusted) Targets(name, tag string) (out []Claims, why string) {
	switch {
	case t == nil || name == "":
		return nil, ""
	case t.flags != nil && t.flags.Target != nil:
		one := *t.flags.Target
		one.Path = cmp.Or(one.Path, name)
		if err := checkTargetPath(one.Path); err != nil {
			return nil, fmt.Sprintf("%q is no target: a path %s", one.Path, err)
		}
		return []Claims{{Target: &one}}, ""
	case t.file == nil:
		return nil, ""
	}
	for i := range t.file.Rules {
		r := &t.file.Rules[i]
		if r.Target == nil {
			continue
		}
		if t.elsewhere(r.Target.Root) {
			why = fmt.Sprintf("rule %s: %s lists it, and more than one root has to allow, each by itself", r.Name, r.Target.Root)
			continue
		}
		one, err := r.Target.of(tag, name)
		if err != nil {
			why = fmt.Sprintf("rule %s: %s", r.Name, err)
			continue
		}
		c := Claims{Target: &one}
		if r.Target.namesTag() {
			c.Tags, c.TagSource = []string{tag}, "path of the target"
		}
		if !slices.ContainsFunc(out, func(o Claims) bool { return *o.Target == one && slices.Equal(o.Tags, c.Tags) }) {
			out = append(out, c)
		}
	}
	return out, why
}
