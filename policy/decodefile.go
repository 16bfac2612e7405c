// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// file decodes the top level (SPEC 3.2).
func (d *decoder) file(n *node, f *File) {
	switch format := n.str("format", false); {
	case !n.has("format"):
		n.missing("format", fmt.Sprintf("begin the file with format = %q", spelling.Format))
	case newerFormat(format):
		d.problems = nil
		d.report(
			"format", PolicyNewerFormat, "update repopolicy",
			"%q is newer than %q, the newest that this program understands", format, spelling.Format,
		)
		return
	case format != "" && format != spelling.Format:
		n.bad("format", "", "must be %q", spelling.Format)
	}
	if s := n.str("repository", false); s != "" {
		l, err := ParseLocator(s)
		if err != nil {
			n.bad("repository", "", "%s", err)
		}
		f.Repository = l
	} else if !n.has("repository") {
		n.missing("repository", `write repository = "https://host/owner/name"`)
	}
	f.Version = int(n.integer("version", 1))
	f.Expires = n.time("expires", true)
	f.Tombstone = n.flag("tombstone")
	f.OwnerChanged = n.flag("owner-changed")
	if s := n.str("formerly", false); s != "" {
		switch l, err := ParseLocator(s); {
		case err != nil:
			n.bad("formerly", "", "%s", err)
		case l == f.Repository:
			n.conflict(
				"formerly", "write the name that the repository had before, or leave it out",
				"is the name that it has",
			)
		case !f.Repository.IsZero() && l.Host() != f.Repository.Host():
			n.conflict("formerly", "", "a repository cannot move to another host")
		default:
			f.Formerly = l
		}
	}
	if f.Recovers = n.digest("recovers", "sha256").Hex; f.Recovers != "" && f.Version != 1 {
		n.conflict("recovers", "", "only a version 1 can recover a repository")
	}
	if m := n.table("maintainers"); m != nil {
		d.maintainers(m, &f.Maintainers)
	} else if !n.has("maintainers") {
		n.missing("maintainers", "write a [maintainers] table with threshold and [[maintainers.member]]")
	}
	names := map[string]bool{}
	for _, r := range n.tables("release", maxRules) {
		rule := d.rule(r, f.Repository)
		if names[rule.Name] && rule.Name != "" {
			d.report(r.key("name"), PolicyDuplicate, "", "another rule is named %q", rule.Name)
		}
		names[rule.Name] = true
		if a := rule.Approvals; a != nil && a.From == "maintainers" && a.Threshold > len(f.Maintainers.Members) &&
			n.has("maintainers") {
			d.report(
				r.key("approvals.threshold"), PolicyValue, "", "is %d, but there are only %d members", a.Threshold,
				len(f.Maintainers.Members),
			)
		}
		f.Rules = append(f.Rules, rule)
	}
	if f.Tombstone && n.has("release") {
		n.conflict(
			"tombstone", "remove the [[release]] tables",
			"a tombstone ends the releases of a repository and has no rules",
		)
	}
	if len(f.Rules) > 0 && !slices.ContainsFunc(f.Rules, func(r Rule) bool { return !r.GitHubRelease }) {
		n.conflict(
			"release[0]", "add a rule with a workflow or with identities",
			"github-release must not be the only way to release: it shows what GitHub recorded, not who was allowed",
		)
	}
	for _, t := range n.tables("revoked", maxListItems) {
		r := Withdrawal{selector: t.selector("identity", "rule", "key"), Since: t.time("compromised-since", false)}
		t.finish()
		f.Revoked = append(f.Revoked, r)
	}
	for _, t := range n.tables("yanked", maxListItems) {
		f.Yanked = append(f.Yanked, Withdrawal{selector: t.selector("tag", "digest")})
		t.finish()
	}
	for _, t := range n.tables("restored", maxListItems) {
		f.Restored = append(f.Restored, Withdrawal{selector: t.selector("identity", "rule", "key", "tag", "digest")})
		t.finish()
	}
	for _, t := range n.tables("adopted", maxListItems) {
		a := Adoption{Tag: t.tag("tag")}
		if !t.has("tag") {
			t.missing("tag", "")
		}
		if !t.has("digests") {
			t.missing("digests", `write digests = ["sha256:…"]`)
		}
		for i, s := range t.words("digests") {
			if s == "" {
				continue
			}
			dg, err := ParseDigest(s)
			if err != nil {
				t.bad(item("digests", i), "", "%s", err)
			}
			a.Digests = append(a.Digests, dg)
		}
		t.finish()
		f.Adopted = append(f.Adopted, a)
	}
	for _, t := range n.tables("void", maxListItems) {
		f.Void = append(f.Void, t.required("leaf"))
		t.finish()
	}
	for _, t := range n.tables("acknowledged", maxListItems) {
		f.Acknowledged = append(f.Acknowledged, t.required("evidence"))
		t.finish()
	}
	if t := n.table("handover"); t != nil {
		f.Handover = t.str("repository-id", false)
		if !t.has("repository-id") {
			t.missing("repository-id", "")
		} else if f.Handover != "" && !isNumber(f.Handover) {
			t.bad("repository-id", "", "must be the decimal number of a repository, in quotes")
		}
		t.finish()
	}
	if t := n.table("recovery"); t != nil {
		f.Recovery = t.days("delay")
		t.finish()
	}
	n.finish()
}

func newerFormat(s string) bool {
	v, ok := strings.CutPrefix(s, "repopolicy/v")
	return ok && isNumber(v) && s != spelling.Format && v != "0"
}

// required returns the hex SHA-256 that must stand at k.
func (n *node) required(k string) string {
	if !n.has(k) {
		n.missing(k, `write "sha256:…"`)
	}
	return n.digest(k, "sha256").Hex
}

// days returns a duration written as "90d", between 30 days and ten years.
func (n *node) days(k string) time.Duration {
	s := n.str(k, false)
	if !n.has(k) {
		n.missing(k, `write "90d"`)
	}
	if s == "" {
		return 0
	}
	num, ok := strings.CutSuffix(s, "d")
	v, err := strconv.Atoi(num)
	if !ok || !isNumber(num) || err != nil || v < 30 || v > 3650 {
		n.bad(k, "", `must be a number of days between "30d" and "3650d"`)
		return 0
	}
	return time.Duration(v) * 24 * time.Hour
}

// digest returns the digest at k, of one of the algorithms if any are given.
func (n *node) digest(k string, algs ...string) Digest {
	s := n.str(k, false)
	if s == "" {
		return Digest{}
	}
	dg, err := ParseDigest(s)
	if err == nil && len(algs) > 0 && !slices.Contains(algs, dg.Alg) {
		err = fmt.Errorf("must be a %s digest", strings.Join(algs, " or "))
	}
	if err != nil {
		n.bad(k, "", "%s", err)
		return Digest{}
	}
	return dg
}

func (n *node) tag(k string) string {
	s := n.str(k, false)
	if s != "" && !spelling.ValidTag(s) {
		n.bad(k, "", "%q cannot be a tag", s)
		return ""
	}
	return s
}

// selector decodes a table in which exactly one of the keys stands.
func (n *node) selector(keys ...string) selector {
	var s selector
	found := 0
	for _, k := range keys {
		if !n.has(k) {
			n.known = append(n.known, k)
			continue
		}
		if found++; found > 1 {
			n.conflict(k, "", "only one of %s may stand here", strings.Join(keys, ", "))
		}
		switch k {
		case "identity":
			if t := n.table(k); t != nil {
				p := n.d.principal(t)
				s.Identity = &p
			}
		case "rule":
			s.Rule = n.name(k)
		case "key":
			s.Key = n.keyID(k)
		case "tag":
			s.Tag = n.tag(k)
		case "digest":
			s.Digest = n.digest(k)
		}
	}
	if found == 0 {
		n.missing(keys[0], fmt.Sprintf("one of %s must stand here", strings.Join(keys, ", ")))
	}
	return s
}

// keyID takes a PEM key, or "sha256:…" of its DER SubjectPublicKeyInfo.
func (n *node) keyID(k string) string {
	v, _ := n.get(k)
	if s, ok := v.(string); ok && strings.HasPrefix(s, "sha256:") {
		return n.digest(k, "sha256").Hex
	}
	return n.publicKey(k, v).ID
}

func (d *decoder) maintainers(n *node, m *Maintainers) {
	m.Threshold = int(n.integer("threshold", 1))
	m.Repository = n.flag("repository")
	names := map[string]bool{}
	identities := map[Principal]string{}
	keys := map[string]string{}
	for _, t := range n.tables("member", maxMembers) {
		mem := Member{Name: t.name("name")}
		if !t.has("name") {
			t.missing("name", "")
		}
		if names[mem.Name] && mem.Name != "" {
			d.report(t.key("name"), PolicyDuplicate, "", "another member is named %q", mem.Name)
		}
		names[mem.Name] = true
		mem.Identities = t.principals("identities")
		mem.Keys = t.memberKeys("keys")
		if !t.has("identities") && !t.has("keys") {
			t.missing("identities", "a member needs an identity or a key")
		}
		for i, id := range mem.Identities {
			id.Subject = ""
			if who, dup := identities[id]; dup && id.Value != "" {
				d.report(
					t.key(item("identities", i)), PolicyDuplicate, "thresholds count people: list an identity once",
					"the identity already belongs to %q", who,
				)
			}
			identities[id] = mem.Name
		}
		for i, k := range mem.Keys {
			if who, dup := keys[k.ID]; dup && k.ID != "" {
				d.report(
					t.key(item("keys", i)), PolicyDuplicate, "thresholds count people: list a key once",
					"the key already belongs to %q", who,
				)
			}
			keys[k.ID] = mem.Name
		}
		t.finish()
		m.Members = append(m.Members, mem)
	}
	switch {
	case m.Repository && n.has("member"):
		n.conflict("repository", "", "the repository's own workflow is then the only maintainer; remove the members")
	case m.Repository:
		if m.Threshold > 1 {
			n.bad("threshold", "", "must be 1: the repository is the only principal")
		}
	case !n.has("member"):
		n.missing("member", "write at least one [[maintainers.member]]")
	case m.Threshold > len(m.Members):
		n.bad("threshold", "", "is %d, but there are only %d members", m.Threshold, len(m.Members))
	}
	n.finish()
}

// name returns a short name for rules and members.
func (n *node) name(k string) string {
	s := n.str(k, false)
	if s == "" {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') &&
			(i == 0 || strings.IndexByte("-._", c) < 0) {
			n.bad(k, "", "consists of ASCII letters, digits, '-', '.' and '_' and begins with a letter or digit")
			return ""
		}
	}
	if len(s) > maxKeyBytes {
		n.bad(k, "", "has at most %d characters", maxKeyBytes)
		return ""
	}
	return s
}

func (n *node) principals(k string) []Principal {
	var out []Principal
	for i, t := range n.tables(k, maxMembers) {
		p := n.d.principal(t)
		if p.Value != "" &&
			slices.ContainsFunc(
				out, func(q Principal) bool { return q.Kind == p.Kind && q.Value == p.Value && q.Issuer == p.Issuer },
			) {
			n.d.report(n.key(item(k, i)), PolicyDuplicate, "", "the identity stands twice")
		}
		out = append(out, p)
	}
	return out
}

// principal decodes { email|uri|username = …, issuer = …, subject = … }.
func (d *decoder) principal(n *node) Principal {
	var p Principal
	for _, kind := range []Kind{KindEmail, KindURI, KindUsername} {
		k := string(kind)
		v := n.asciiKey(k, kind == KindUsername)
		if !n.has(k) {
			continue
		}
		if p.Kind != "" {
			n.conflict(k, "", "an identity has one kind: %s or %s", p.Kind, kind)
		}
		p.Kind, p.Value = kind, v
		if strings.Contains(v, "*") {
			n.bad(k, "list each identity", "identities are exact: there are no patterns")
		}
	}
	if p.Kind == "" {
		hint := `write { email = "…", issuer = "…" }; the kinds are email, uri and username`
		if n.has("sub") {
			hint = "the raw `sub` claim is never matched; " + hint
		}
		n.missing("email", hint)
	}
	p.Issuer = n.voucher("issuer")
	p.Subject = n.asciiKey("subject", true)
	if spelling.IsPKI(p.Issuer) {
		if p.Kind == KindUsername {
			n.bad("username", "name an email or a uri", "a certificate authority of a trust root certifies no user names")
		}
		if n.has("subject") {
			n.bad("subject", "", "a certificate of a trust root's own authority has no token subject")
		}
	}
	switch err := checkPrincipal(p); {
	case p.Value == "" || p.Issuer == "":
	case isCIIssuer(p.Issuer):
		n.bad(
			"issuer", `write a rule with workflow = "…"`,
			"an identity of a CI workflow is named by its workflow, which checks more than the certificate's name",
		)
	case err != nil:
		n.bad(string(p.Kind), "", "%s", err)
	}
	n.finish()
	return p
}

func checkPrincipal(p Principal) error {
	switch p.Kind {
	case KindEmail:
		local, domain, ok := strings.Cut(p.Value, "@")
		if !ok || local == "" || strings.Contains(domain, "@") || spelling.CheckHost(strings.ToLower(domain)) != nil {
			return fmt.Errorf("%q is not an e-mail address", p.Value)
		}
	case KindURI:
		scheme, rest, ok := strings.Cut(p.Value, "://")
		if !ok || scheme == "" || rest == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
			return fmt.Errorf("%q is not a URI with a scheme and an authority", p.Value)
		}
		host, path, _ := strings.Cut(rest, "/")
		if host == "" || strings.Contains(host, "@") {
			return errors.New("a URI needs a host and must not contain user information")
		}
		if path != "" {
			for seg := range strings.SplitSeq(path, "/") {
				if seg == "." || seg == ".." || seg == "" && scheme == "spiffe" {
					return errors.New("a URI must not have dot segments or, for SPIFFE, empty ones")
				}
			}
		}
	}
	return nil
}

// CI issuers whose certificates a rule must match field by field.
const (
	githubIssuer = "https://token.actions.githubusercontent.com"
	gitlabIssuer = "https://gitlab.com"
)

func isCIIssuer(s string) bool {
	return s == githubIssuer || strings.HasPrefix(s, githubIssuer+"/") || s == gitlabIssuer
}

// issuer returns the OIDC issuer at k, an exact https URL.
func (n *node) issuer(k string) string {
	s := n.asciiKey(k, false)
	if !n.has(k) {
		n.missing(k, "name the OIDC issuer, for example https://accounts.google.com")
	}
	if s == "" {
		return ""
	}
	if err := spelling.CheckIssuer(s); err != nil {
		n.bad(k, "", "%s", err)
		return ""
	}
	return s
}

// voucher returns who vouches for an identity at k: an OIDC issuer, or a certificate authority
// of a trust root (SPEC 17.5).
func (n *node) voucher(k string) string {
	if v, ok := n.m[k].(string); !ok || !spelling.IsPKI(v) {
		return n.issuer(k)
	}
	s := n.asciiKey(k, false)
	if err := spelling.CheckPKI(s); err != nil {
		n.bad(k, "write the issuer as the trust root has it, for example pki:acme", "%s", err)
		return ""
	}
	return s
}

// memberKeys returns the keys of a member. A chain of versions is judged by the files alone, so
// that no key comes from elsewhere.
func (n *node) memberKeys(k string) []Key {
	var out []Key
	for i, v := range n.list(k, maxMembers) {
		if _, table := v.(map[string]any); table {
			n.bad(item(k, i), "write the key itself, in PEM",
				"a maintainer's key stands in the policy: one from a trust root can only release")
			continue
		}
		out = append(out, n.newKey(item(k, i), v, out))
	}
	return out
}

// newKey returns a key, and reports it if it is among those before it.
func (n *node) newKey(k string, v any, before []Key) Key {
	key := n.publicKey(k, v)
	if key.ID != "" && slices.ContainsFunc(before, func(o Key) bool { return o.ID == key.ID }) {
		n.d.report(n.key(k), PolicyDuplicate, "", "the key stands twice")
	}
	return key
}

func (n *node) publicKey(k string, v any) Key {
	s := n.text(k, v, true)
	if s == "" {
		return Key{}
	}
	pub, err := keys.Parse([]byte(s))
	var unknown *keys.Unknown
	switch {
	case errors.As(err, &unknown): // of a policy that a newer program may read (SPEC 3.6)
		n.d.report(n.key(k), PolicyNewerFormat, keys.Hint(err), "%s", err)
		return Key{}
	case err != nil:
		n.bad(k, keys.Hint(err), "%s", err)
		return Key{}
	}
	return Key{PEM: s, ID: pub.ID, Algorithm: pub.Algorithm.Name}
}
