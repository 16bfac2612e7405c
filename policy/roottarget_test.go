// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

const rootDigest = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

const rootTestKey = "-----BEGIN PUBLIC KEY-----\n" +
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWBkC8h/nPDK16nQDrlatHtz6nZ7p\n" +
	"aley1zXDpLyQKczrOD2WEOFyugWYgyZpmNAAnQcTv4v8gZG3Xuy6UPntgQ==\n" +
	"-----END PUBLIC KEY-----\n"

// rootPolicy returns a policy whose rules follow its head.
func rootPolicy(t testing.TB, rules ...string) *Document {
	t.Helper()
	return mustParse(t, strings.Join(rules, ""))
}

func rootRule(name, signer string, more ...string) string {
	return "[[release]]\nname = \"" + name + "\"\ntags = \"any\"\nartifacts = [\"widget_*\"]\n" + signer + "\n" +
		strings.Join(more, "\n") + "\n"
}

func TestLintRoots(t *testing.T) {
	key := func(more string) string {
		return `keys = [{ root = "` + rootDigest + `", target = "a.pub"` + more + ` }]`
	}
	tuf := func(path, more string) string {
		return `tuf = { root = "` + rootDigest + `", role = "widget", path = "` + path + `"` + more + ` }`
	}
	const url = `, url = "https://tuf.example.com"`
	patterns := func(rule string) string { return strings.Replace(rule, `tags = "any"`, `tags = ["v*"]`, 1) }
	releasers := "[release.approvals]\nthreshold = 1\nfrom = \"releasers\""
	maintainers := "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\""
	for _, c := range []struct {
		want Reason
		rule string
		path string
	}{
		{"", rootRule("a", key(url)), ""},
		{"", rootRule("a", `keys = [{ root = "public-good", target = "a.pub" }]`), ""},
		{"", rootRule("a", key(url), maintainers), ""},
		{"", rootRule("a", tuf("{name}", url)), ""},
		{"", patterns(rootRule("a", tuf("{tag}/{name}", url))), ""},
		{"lint-root-url", rootRule("a", key("")), "release[0].keys"},
		{"lint-root-url", rootRule("a", tuf("{name}", "")), "release[0].tuf"},
		{"lint-root-key-approves", rootRule("a", key(url), releasers), "release[0].approvals"},
		{"lint-tag-never", patterns(rootRule("a", tuf("{name}", url))), "release[0].tags"},
	} {
		var got []Problem
		for _, p := range rootPolicy(t, c.rule).Lint(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)) {
			if p.Reason != "lint-any-tag" && p.Reason != "lint-free-mail" {
				got = append(got, p)
			}
		}
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s\n%v, want no advice", c.rule, got)
		case c.want != "" && (len(got) != 1 || got[0].Reason != c.want || got[0].Path != c.path):
			t.Errorf("%s\n%v, want %s at %s", c.rule, got, c.want, c.path)
		}
	}
}

// TestFlagTarget: what the user names as a root lets pass what that root lists, under the path
// that is named or else the file's name, and nothing that is signed.
func TestFlagTarget(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	at := func(root, path string) Claims {
		return Claims{Target: &RootTarget{Root: root, Path: path, Role: "targets"}}
	}
	signed := Claims{Signer: Identity{Kind: KindEmail, Value: "alice@example.com", Issuer: "https://accounts.google.com"}}
	narrow := &FlagIdentity{Identity: "alice@example.com", Issuer: "https://accounts.google.com"}
	req := Request{Names: []string{"a.txt"}, Now: now}
	narrowed, tagged, old, fresh := req, req, req, req
	narrowed.Narrow, tagged.Tag, old.Now, fresh.Cooldown = narrow, "v1", now.Add(-time.Hour), time.Hour
	for name, c := range map[string]struct {
		target RootTarget
		claims Claims
		req    Request
		want   Reason
	}{
		"listed under its name":       {RootTarget{Root: "acme"}, at("acme", "a.txt"), req, Allowed},
		"listed under the path":       {RootTarget{Root: "acme", Path: "x/b"}, at("acme", "x/b"), req, Allowed},
		"another root":                {RootTarget{Root: "acme"}, at("public-good", "a.txt"), req, NarrowedIdentity},
		"another path":                {RootTarget{Root: "acme", Path: "x/b"}, at("acme", "a.txt"), req, NarrowedIdentity},
		"another name":                {RootTarget{Root: "acme"}, at("acme", "b.txt"), req, NarrowedIdentity},
		"a path that ends so":         {RootTarget{Root: "acme"}, at("acme", "x/a.txt"), req, NarrowedIdentity},
		"another role":                {RootTarget{Root: "acme", Role: "x"}, at("acme", "a.txt"), req, NarrowedIdentity},
		"signed":                      {RootTarget{Root: "acme"}, signed, req, NarrowedIdentity},
		"a signer is demanded, too":   {RootTarget{Root: "acme"}, at("acme", "a.txt"), narrowed, NarrowedIdentity},
		"a tag is demanded":           {RootTarget{Root: "acme"}, at("acme", "a.txt"), tagged, TagUnknown},
		"as of the past":              {RootTarget{Root: "acme"}, at("acme", "a.txt"), old, EvidenceInFuture},
		"that it be of some age":      {RootTarget{Root: "acme"}, at("acme", "a.txt"), fresh, ReleaseTooYoung},
		"no signer, and nothing else": {RootTarget{Root: "acme"}, Claims{}, req, NarrowedIdentity},
	} {
		p, err := FlagIdentity{Target: &c.target}.Trusted()
		if err != nil {
			t.Fatal(err)
		}
		d := p.Decide(c.req, c.claims.Verified(Verification{Times: []time.Time{now}}))
		if d.Reason != c.want || d.Permitted != (c.want == Allowed) {
			t.Errorf("%s: %s (%s), want %s", name, d.Reason, d.Detail, c.want)
		}
		if d.Permitted && (len(d.Notes) != 2 || d.Notes[0].Code != "tuf-target" || d.Notes[1].Code != "no-policy") {
			t.Errorf("%s: notes %v", name, d.Notes)
		}
	}
	signer, err := narrow.Trusted()
	if err != nil {
		t.Fatal(err)
	}
	if d := signer.Decide(req, at("acme", "a.txt").Verified(Verification{Times: []time.Time{now}})); d.Permitted {
		t.Error("what a root lists passed for what a signer signed")
	}
	for _, bad := range []FlagIdentity{
		{Target: &RootTarget{}}, {Target: &RootTarget{Root: "acme"}, KeyID: "x"},
		{Target: &RootTarget{Root: "acme"}, Identity: "a", Issuer: "b"},
		{Target: &RootTarget{Root: "acme"}, Unlogged: true},
	} {
		if _, err := bad.Trusted(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// TestTargets: which targets are asked for, and why not.
func TestTargets(t *testing.T) {
	tuf := func(name, path string) string {
		return rootRule(name, `tuf = { root = "public-good", role = "targets", path = "`+path+`" }`)
	}
	doc := rootPolicy(t, tuf("a", "w/{tag}/{name}"), tuf("b", "all/{name}"), tuf("c", "all/{name}"), decideRule)
	for _, c := range []struct{ name, tag, want, why string }{
		{"x", "v1", "w/v1/x[v1] all/x[]", ""},
		{"x", "a/b", "w/a/b/x[a/b] all/x[]", ""},
		{"x", "{name}", "w/{name}/x[{name}] all/x[]", ""},
		{"{tag}", "v1", "w/v1/{tag}[v1] all/{tag}[]", ""},
		{"x", "", "all/x[]", "needs the tag"},
		{"..", "v1", "", "is no target"},
		{"x", "..", "all/x[]", "is no target"},
		{"x", "a/../b", "all/x[]", "is no target"},
		{"x", "/a", "all/x[]", "is no target"},
		{"b/x", "a", "", "is not the name of a file"},
		{`a\b`, "v1", "", "is no target"},
		{strings.Repeat("x", maxTargetBytes), "v1", "", "at most 512"},
		{"", "v1", "", ""},
	} {
		got, why := doc.Pin(Ids{}).Targets(c.name, c.tag)
		var text []string
		for _, x := range got {
			text = append(text, x.Target.Path+"["+strings.Join(x.Tags, " ")+"]")
			if x.Target.Root != "public-good" || x.Target.Role != "targets" {
				t.Errorf("%q: %v", c.name, x.Target)
			}
		}
		if strings.Join(text, " ") != c.want || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%q of %q: %q (%s), want %q (%s)", c.name, c.tag, text, why, c.want, c.why)
		}
	}
	if got, why := (*Trusted)(nil).Targets("x", ""); got != nil || why != "" {
		t.Error("nobody asks for something")
	}
}

// TestRootFacts: what a fact says, and that the zero value says nothing.
func TestRootFacts(t *testing.T) {
	const text = rootTestKey
	pub, err := keys.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	id := pub.ID
	at := RootTarget{Root: "public-good", URL: "https://tuf.example.com", Path: "a.pub", Role: "x"}
	for _, c := range []struct {
		fact            RootFact
		state, key, why string
	}{
		{RootFact{}, "unknown", "", ""},
		{at.Unknown(TrustRootMissing, "it is gone"), "unknown", "", "it is gone"},
		{at.Unlisted(), "withdrawn", "", ""},
		{at.Listed("Active", []byte(text)), "active", id, ""},
		{at.Listed("Expired", []byte(text)), "expired", id, ""},
		{at.Listed("", []byte(text)), "useless", id, `it is ""`},
		{at.Listed("Active", []byte("x")), "useless", "", "it is no key"},
	} {
		state, key, why := c.fact.State()
		if state != c.state || key != c.key || !strings.Contains(why, c.why) {
			t.Errorf("%q %q %q, want %q %q %q", state, key, why, c.state, c.key, c.why)
		}
		if of := c.fact.Of(); of != (RootTarget{}) && of != (RootTarget{Root: "public-good", Path: "a.pub"}) {
			t.Errorf("it is of %+v", of)
		}
	}
	known := rootPolicy(t, rootRule("a", `keys = [{ root = "public-good", target = "a.pub" }]`)).Pin(Ids{})
	if keys := known.Keys(); len(keys) != 0 {
		t.Errorf("keys that nobody listed: %v", keys)
	}
	known = known.Knowing([]RootFact{at.Listed("Expired", []byte(text))})
	if keys := known.Keys(); !slices.Equal(keys, []Key{{PEM: text, ID: id, Algorithm: pub.Algorithm.Name}}) {
		t.Errorf("keys %v", keys)
	}
	if keys := known.ApprovalKeys(); len(keys) != 0 {
		t.Errorf("approved with a key of a root: %v", keys)
	}
	var nobody *Trusted
	if nobody.Knowing(nil) != nil || nobody.KeyTargets() != nil || nobody.Keys() != nil {
		t.Error("nobody knows something")
	}
}

// FuzzTargetPattern: of a pattern that is taken, one tag and one name alone lead to a path.
func FuzzTargetPattern(f *testing.F) {
	for _, s := range [][5]string{
		{"widget/{tag}/{name}", "v1", "a", "v2", "b"}, {"{name}", "v1", "a", "v1", "b"},
		{"{tag}/{name}", "a", "b", "a/b", "c"}, {"w-{tag}.d/{name}", "{name}", "{tag}", "1", "2"},
		{"{tag}x/{name}", "x", "y", "xx", "y"}, {"{name}/{name}", "a", "b", "c", "d"},
		{"a/{tag}-{name}", "1-2", "3", "1", "2-3"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, pattern, tag, name, otherTag, otherName string) {
		if checkTargetPattern(pattern) != nil {
			return
		}
		r := RootTarget{Path: pattern}
		for _, s := range []string{tag, otherTag} {
			if s != "" && !spelling.ValidTag(s) {
				return
			}
		}
		a, err := r.of(tag, name)
		b, also := r.of(otherTag, otherName)
		if err == nil && (strings.Contains(name, "/") || r.namesTag() && tag == "" || checkTargetPath(a.Path) != nil) {
			t.Fatalf("%q: %q of %q leads to %q", pattern, name, tag, a.Path)
		}
		if err != nil || also != nil {
			return
		}
		if same := (tag == otherTag || !r.namesTag()) && name == otherName; (a.Path == b.Path) != same {
			t.Fatalf("%q: %q of %q and %q of %q lead to %q and %q", pattern, name, tag, otherName, otherTag, a.Path, b.Path)
		}
	})
}
