// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
)

// choices are, for each field of a workflow's evidence, first the values that
// decideRule allows together and then others. good says how many allow.
var choices = []struct {
	field string
	good  int
	of    []string
}{
	{"Kind", 1, []string{"uri", "email", "username", "key", ""}},
	{
		"Value",
		1,
		[]string{
			choiceSAN, choiceSAN + "x", strings.Replace(choiceSAN, "release.yml", "other.yml", 1),
			strings.Replace(choiceSAN, "refs/tags/v1", "refs/heads/x@refs/tags/v1", 1), "",
		},
	},
	{"Issuer", 1, []string{githubIssuer, githubIssuer + "/x", strings.ToUpper(githubIssuer), ""}},
	{"BuildSignerURI", 1, []string{choiceSAN, choiceSAN + "x", ""}},
	{"RunnerEnvironment", 1, []string{"github-hosted", "self-hosted", ""}},
	{
		"SourceRepositoryURI",
		2,
		[]string{
			"https://github.com/acme/widget", "https://github.com/ACME/Widget", "https://github.com/acme/widgets",
			"https://github.com/acme/widget.git", "",
		},
	},
	{"SourceRepositoryDigest", 1, []string{strings.Repeat("1", 40), strings.Repeat("2", 40), ""}},
	{
		"SourceRepositoryRef", 1,
		[]string{"refs/tags/v1", "refs/tags/v2", "refs/heads/v1", "refs/heads/x@refs/tags/v1", "v1", ""},
	},
	{"SourceRepositoryID", 1, []string{"1001", "1002", ""}},
	{"SourceRepositoryOwnerID", 1, []string{"2002", "2003", ""}},
	{
		"BuildConfigURI",
		2,
		[]string{
			choiceSAN, strings.Replace(choiceSAN, "acme", "Acme", 1), choiceSAN + "x",
			strings.Replace(choiceSAN, "refs/tags/v1", "refs/heads/main", 1), "",
		},
	},
	{
		"BuildTrigger", 3,
		[]string{"push", "release", "workflow_dispatch", "schedule", "pull_request_target", "Push", ""},
	},
	{"DeploymentEnvironment", 2, []string{"release", "RELEASE", "releases", ""}},
	{"TokenSubject", 2, []string{"", "repo:acme/widget:ref:refs/tags/v1"}},
	{"WorkflowRepository", 3, []string{"", "acme/widget", "evil/widget"}},
	{"WorkflowTrigger", 2, []string{"", "pull_request_target"}},
}

const choiceSAN = "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1"

// FuzzIdentity compares the decision over one workflow rule with an oracle that
// only counts: it is allowed if every field has one of its good values.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte{})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range choices {
		for j := range choices[i].of {
			seed := make([]byte, len(choices))
			seed[i] = byte(j)
			f.Add(seed)
			for k := range seed {
				if rng.IntN(3) == 0 {
					seed[k] = byte(rng.IntN(7))
				}
			}
			f.Add(seed)
		}
	}
	p := mustPin(f, decideRule, Ids{"1001", "2002"})
	f.Fuzz(func(t *testing.T, pick []byte) {
		var id Identity
		want := true
		for i, c := range choices {
			n := 0
			if i < len(pick) {
				n = int(pick[i]) % len(c.of)
			}
			want = want && n < c.good
			reflect.ValueOf(&id).Elem().FieldByName(c.field).SetString(c.of[n])
		}
		c := Claims{Signer: id, Tags: []string{"v1"}}
		req := ask()
		req.Commit = strings.Repeat("1", 40)
		d := p.Decide(req, c.Verified(proven))
		if (d.Permitted) != want {
			t.Fatalf("%s %+v for %+v", d.Reason, d.Rules, id)
		}
		near, ok := d.Nearest()
		if !ok || (len(near.Mismatches) == 0) != want {
			t.Fatalf("%d mismatches, permitted %v", len(near.Mismatches), d.Permitted)
		}
		if pre, final := p.Precheck(req, c); final == want || pre.Permitted {
			t.Fatalf("precheck %v, decision %s", final, d.Reason)
		}
		// A second rule for other people changes nothing.
		more := mustPin(
			t,
			decideRule+"[[release]]\nname = \"people\"\ntags = [\"v*\"]\nartifacts = \"any\"\n"+
				"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n",
			Ids{"1001", "2002"},
		)
		if again := more.Decide(req, c.Verified(proven)); again.Permitted != d.Permitted {
			t.Fatal("another rule changed the outcome")
		}
	})
}

// TestSameErrors parses texts with many faults again and again: the problems
// and their order stay the same.
func TestSameErrors(t *testing.T) {
	var many strings.Builder
	for i := range 60 {
		fmt.Fprintf(&many, "[t%d]\nk = 1\n", i)
	}
	for i := range 60 {
		fmt.Fprintf(&many, "[[release]]\nname = \"r%d\"\nq%d = 1\nz%d = 1\n", i, i, i)
	}
	src := []byte(decideHead + many.String())
	var first *ParseError
	for range 20 {
		_, err := Parse(src)
		var pe *ParseError
		if !errors.As(err, &pe) || len(pe.Problems) != maxProblems {
			t.Fatal(err)
		}
		if first == nil {
			first = pe
		} else if !reflect.DeepEqual(first, pe) {
			t.Fatal("other problems the second time")
		}
	}
	if !slices.IsSortedFunc(first.Problems, func(a, b Problem) int {
		return (a.Pos.Line-b.Pos.Line)*10000 + a.Pos.Column - b.Pos.Column
	}) {
		t.Error("not in the order of the file")
	}
}

// TestNil is case 393 for every exported method that can be called on nothing.
func TestNil(t *testing.T) {
	var none *Trusted
	var doc *Document
	if none.Genesis() != "" || none.Digest() != (Digest{}) || none.Content() != nil || none.AcceptsUnlogged() ||
		none.Keys() != nil ||
		none.DigestAlgorithms() != nil ||
		doc.Pin(Ids{}) != nil {
		t.Error("a nil policy says something")
	}
	if d, final := none.Precheck(Request{}, Claims{}); d.Permitted || !final || d.Reason != Internal {
		t.Errorf("precheck of nothing: %+v %v", d, final)
	}
	zero := (&Document{}).Pin(Ids{})
	good := claim(workflowIdentity("refs/tags/v1")).Verified(proven)
	if d := zero.Decide(ask(), good); d.Permitted || d.Reason != NoRules {
		t.Errorf("zero document: %+v", d)
	}
	p := mustPin(t, decideRule, Ids{})
	for _, id := range []Identity{{}, {Kind: KindURI}, {Kind: KindKey}, {Kind: KindEmail}} {
		if d := p.Decide(ask(), Claims{Signer: id}.Verified(proven)); d.Permitted {
			t.Errorf("%+v is allowed", id)
		}
	}
	keys := mustPin(
		t,
		"[[release]]\nname = \"k\"\ntags = \"any\"\nartifacts = \"any\"\n"+
			"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n",
		Ids{},
	)
	if d := keys.Decide(ask(), Claims{Signer: Identity{Kind: KindKey}}.Verified(proven)); d.Permitted {
		t.Error("a key without a name is allowed")
	}
	for _, src := range [][]byte{nil, {}, []byte("\n")} {
		if d, err := Parse(src); err == nil || d != nil {
			t.Error("nothing is a policy")
		}
	}
}

// TestFlags judges by flags instead of a policy.
func TestFlags(t *testing.T) {
	alice := FlagIdentity{Identity: "alice@example.com", Issuer: "https://accounts.google.com"}
	id := Identity{Kind: KindEmail, Value: alice.Identity, Issuer: alice.Issuer}
	with := func(change func(*Identity)) Claims {
		x := id
		if change != nil {
			change(&x)
		}
		return Claims{Signer: x, Tags: []string{"v1"}}
	}
	setOnly, unlogged, both := alice, alice, alice
	setOnly.SetOnly, unlogged.Unlogged, both.SetOnly, both.Unlogged = true, true, true, true
	key := FlagIdentity{KeyID: strings.Repeat("a", 64)}
	github := FlagIdentity{Identity: releaseIdentity, NoIssuer: true}
	v := func(logged, proven bool) Verification {
		return Verification{Times: []time.Time{signed}, Logged: logged, Proven: proven}
	}
	for _, c := range []struct {
		name  string
		flags FlagIdentity
		c     Claims
		v     Verification
		tag   string
		want  Reason
	}{
		{"right", alice, with(nil), v(true, true), "", Allowed},
		{"right tag", alice, with(nil), v(true, true), "v1", Allowed},
		{"another tag", alice, with(nil), v(true, true), "v2", TagMismatch},
		{"no tag", alice, Claims{Signer: id}, v(true, true), "v1", TagUnknown},
		{"other case", alice, with(func(i *Identity) { i.Value = "Alice@example.com" }), v(true, true), "", NarrowedIdentity},
		{"other issuer", alice, with(func(i *Identity) { i.Issuer += "/" }), v(true, true), "", NarrowedIdentity},
		{"no issuer", alice, with(func(i *Identity) { i.Issuer = "" }), v(true, true), "", NarrowedIdentity},
		{"no kind", alice, with(func(i *Identity) { i.Kind = "" }), v(true, true), "", NarrowedIdentity},
		{"a key of that name", alice, with(func(i *Identity) { i.Kind = KindKey }), v(true, true), "", NarrowedIdentity},
		{"promise", alice, with(nil), v(true, false), "", NotLogged},
		{"promise taken", setOnly, with(nil), v(true, false), "", Allowed},
		{"unlogged", setOnly, with(nil), v(false, false), "", NotLogged},
		{"unlogged taken", unlogged, with(nil), v(false, false), "", Allowed},
		{"unlogged does not take a promise", unlogged, with(nil), v(true, false), "", NotLogged},
		{"both", both, with(nil), v(true, false), "", Allowed},
		{"key", key, with(func(i *Identity) { *i = Identity{Kind: KindKey, Value: key.KeyID} }), v(true, true), "", Allowed},
		{
			"another key", key,
			with(func(i *Identity) { *i = Identity{Kind: KindKey, Value: strings.Repeat("b", 64)} }), v(true, true),
			"", NarrowedIdentity,
		},
		{
			"a person named like the key", key, with(func(i *Identity) { i.Value = key.KeyID }), v(true, true), "",
			NarrowedIdentity,
		},
		{
			"GitHub", github, with(func(i *Identity) { *i = Identity{Kind: KindURI, Value: releaseIdentity} }),
			v(true, true), "", Allowed,
		},
		{
			"GitHub with an issuer", github,
			with(func(i *Identity) { *i = Identity{Kind: KindURI, Value: releaseIdentity, Issuer: "https://x.example"} }),
			v(true, true), "", NarrowedIdentity,
		},
	} {
		p, err := c.flags.Trusted()
		if err != nil {
			t.Fatal(err)
		}
		req := ask()
		req.Tag = c.tag
		d := p.Decide(req, c.c.Verified(c.v))
		if d.Reason != c.want || (d.Permitted) != (c.want == Allowed) {
			t.Errorf("%s: %s %s", c.name, d.Reason, d.Detail)
		}
		if _, final := p.Precheck(req, c.c); final && d.Permitted {
			t.Errorf("%s: refused early", c.name)
		}
		if d.Permitted && !slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Code == "no-policy" }) {
			t.Errorf("%s: does not say that no policy was consulted", c.name)
		}
		if _, ok := d.Nearest(); ok || p.Content() != nil || p.Genesis() != GenesisFlags ||
			p.AcceptsUnlogged() != c.flags.Unlogged {
			t.Errorf("%s: flags pass for a policy", c.name)
		}
	}
}

// TestNearest prefers the rule that names the signer.
func TestNearest(t *testing.T) {
	p := mustPin(t, `[[release]]
name = "people"
tags = ["v*"]
artifacts = ["widget_*"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name = "ci"
tags = ["w*"]
artifacts = ["other_*"]
workflow = ".github/workflows/release.yml"
`, Ids{})
	d := p.Decide(ask(), claim(workflowIdentity("refs/tags/v1")).Verified(proven))
	near, ok := d.Nearest()
	if !ok || near.Rule != "ci" || !near.IdentityMatches() || len(d.Rules) != 2 || d.Rules[0].IdentityMatches() {
		t.Errorf("%+v", d.Rules)
	}
}

// TestWhatAPolicyNeeds covers what a caller asks a policy before it verifies.
func TestWhatAPolicyNeeds(t *testing.T) {
	h := func(alg string, n int) string { return alg + ":" + strings.Repeat("a", n) }
	p := mustPin(
		t,
		decideRule+"unlogged = true\n[[yanked]]\ndigest = \""+h("sha512", 128)+"\"\n[[yanked]]\ndigest = \""+h(
			"gitCommit", 40,
		)+"\"\n[[yanked]]\ntag = \"v0\"\n"+
			"[[adopted]]\ntag = \"v0\"\ndigests = [\""+h(
			"sha384",
			96,
		)+"\", \""+h("sha512", 128)+"\"]\n",
		Ids{},
	)
	if got := p.DigestAlgorithms(); !slices.Equal(got, []string{"sha512", "sha384"}) {
		t.Errorf("algorithms %q", got)
	}
	if !p.AcceptsUnlogged() || mustPin(t, decideRule, Ids{}).AcceptsUnlogged() || len(p.Keys()) != 0 {
		t.Error("what the rules accept")
	}
	wants := mustPin(t, decideRule+"[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", Ids{})
	got := wants.DigestAlgorithms()
	if !wants.DemandsApprovals() || p.DemandsApprovals() || !slices.Equal(got, []string{"sha256"}) {
		t.Errorf("approvals are of %v", got)
	}
	if p.Digest().Alg != "sha256" || p.Content().Version != 1 || p.Genesis() != GenesisPinned {
		t.Error("what was pinned")
	}
}

func TestMessages(t *testing.T) {
	for want, got := range map[string]string{
		"":               Pos{}.String(),
		"3:4":            Pos{3, 4}.String(),
		"3:4: a.b: no":   Problem{Pos: Pos{3, 4}, Path: "a.b", Msg: "no"}.String(),
		"no":             Problem{Msg: "no"}.String(),
		"invalid policy": (&ParseError{}).Error(),
		"1:1: one (and 1 more)": (&ParseError{[]Problem{
			{Pos: Pos{1, 1}, Msg: "one"}, {Pos: Pos{2, 1}, Msg: "two"},
		}}).Error(),
		"any":                      PatternSet{any: true}.String(),
		"semver (1.2.3 or v1.2.3)": PatternSet{semver: true}.String(),
		"a, b":                     PatternSet{list: []Pattern{{"a"}, {"b"}}}.String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if (&ParseError{}).Reason() != Internal || Locator.Path(Locator{}) != "" {
		t.Error("nothing is no error code")
	}
}

// TestLintTable: each piece of advice appears for what it is about, and not for
// a policy that follows all of it.
func TestLintTable(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	two := strings.Replace(
		decideHead, "threshold = 1", "threshold = 2", 1,
	) + "[[maintainers.member]]\nname = \"bob\"\n" +
		"identities = [{ email = \"bob@example.com\", issuer = \"https://github.com/login/oauth\" }]\n"
	const alice = `{ email = "alice@example.com", issuer = "https://accounts.google.com" }`
	good := two + decideRule
	rule := func(from, to string) string { return two + strings.Replace(decideRule, from, to, 1) }
	second := strings.Replace(decideRule, "binaries", "second", 1)
	for _, c := range []struct {
		want Reason
		src  string
		path string
	}{
		{"", good, ""},
		{"", good + strings.Replace(second, "widget_*", "docs_*", 1), ""},
		{"", good + strings.Replace(second, "v*", "w*", 1), ""},
		{"", good + "until = 2026-01-01T00:00:00Z\n" + second + "since = 2026-01-01T00:00:00Z\n", ""},
		{"", good + "overlaps = true\n" + second, ""},
		{"lint-expired", strings.Replace(good, "2027-01-01", "2026-01-01", 1), "expires"},
		{"lint-expires-late", strings.Replace(good, "2027-01-01", "2028-01-01", 1), "expires"},
		{"lint-no-rules", two, "version"},
		{"lint-threshold", strings.Replace(good, "threshold = 2", "threshold = 1", 1), "maintainers.threshold"},
		{
			"lint-repository-only",
			good[:strings.Index(good, "threshold")] + "threshold = 1\nrepository = true\n" + decideRule,
			"maintainers.repository",
		},
		{
			"lint-free-mail", strings.ReplaceAll(decideHead+decideRule, "alice@example.com", "alice@GMail.com"),
			"maintainers.member[0].identities[0]",
		},
		{
			"lint-issuer", strings.Replace(good, "https://accounts.google.com", "https://accounts.google.com/", 1),
			"maintainers.member[0].identities[0]",
		},
		{
			"lint-issuer", strings.Replace(good, "https://accounts.google.com", "https://accounts.google.com:443", 1),
			"maintainers.member[0].identities[0]",
		},
		{
			"lint-issuer", strings.Replace(good, "https://accounts.google.com", "https://accounts.google.com/.", 1),
			"maintainers.member[0].identities[0]",
		},
		{"lint-member-case", strings.Replace(good, "name = \"bob\"", "name = \"Alice\"", 1), "maintainers.member[1].name"},
		{
			"lint-member-case",
			strings.Replace(good, "identities = ["+alice+"]",
				"identities = ["+alice+", "+strings.Replace(alice, "alice", "Alice", 1)+"]", 1),
			"maintainers.member[0].identities[1]",
		},
		{"lint-no-environment", rule("environment = \"release\"\n", ""), "release[0].name"},
		{"lint-runner", rule("environment", "runner = \"any\"\nenvironment"), "release[0].runner"},
		{
			"lint-dispatch",
			rule("environment = \"release\"\n", "refs = [\"refs/heads/main\"]\ntriggers = [\"workflow_dispatch\"]\n"),
			"release[0].triggers",
		},
		{"lint-signer-branch", rule("environment", "signer-ref = \"refs/heads/main\"\nenvironment"), "release[0].signer-ref"},
		{"lint-any-tag", rule(`["v*"]`, `"any"`), "release[0].tags"},
		{"lint-any-artifact", rule(`["widget_*"]`, `"any"`), "release[0].artifacts"},
		{"lint-unlogged", rule("environment", "unlogged = true\nenvironment"), "release[0].unlogged"},
		{"lint-set-only", rule("environment", "set-only = true\nenvironment"), "release[0].set-only"},
		{"lint-overlap", good + second, "release[1].tags"},
		{"lint-overlap", good + strings.Replace(second, `["v*"]`, `"semver"`, 1), "release[1].tags"},
		{"lint-overlap", good + "overlaps = true\n" + strings.Replace(second, `["widget_*"]`, `"any"`, 1), "release[1].tags"},
		{"lint-yank-by-tag", rule(`["v*"]`, `"any"`) + "[[yanked]]\ntag = \"v1\"\n", "yanked[0]"},
	} {
		doc, err := Parse([]byte(c.src))
		if err != nil {
			t.Fatalf("%s: %v", c.want, err)
		}
		found := false
		for _, p := range doc.Lint(now) {
			found = found || p.Reason == c.want && p.Path == c.path
			if p.Pos == (Pos{}) || p.Msg == "" || !strings.HasPrefix(string(p.Reason), "lint-") {
				t.Errorf("%s: %+v", c.want, p)
			}
			if c.want == "" {
				t.Errorf("advice about a good policy: %s", p)
			}
		}
		if !found && c.want != "" {
			t.Errorf("no %s at %s: %v", c.want, c.path, doc.Lint(now))
		}
	}
}

func TestSemverVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "semver") {
		if got := (PatternSet{semver: true}).Match(v.Field("tag")); got != (v.Header["expect"] == "OK") {
			t.Errorf("%s: %q: %v", v.Name, v.Field("tag"), got)
		}
	}
}

// vectorKinds are the directories of schema/testdata.
var vectorKinds = []string{
	"policy", "pattern", "locator", "refname", "semver", "decide", "statement", "authority", "approval", "chain",
	"prefixmap", "unbound", "lock",
}

// kindHeaders are further headers of some kinds.
var kindHeaders = map[string][]string{"statement": {"digest", "pae", "previous"}}

// TestCases checks the list of catalogue cases: every line names a vector or a
// test that exists, no case stands twice, and every vector whose source is a
// case is listed.
func TestCases(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(src)) {
			if name, ok := strings.CutPrefix(line, "func "); ok {
				if name, _, _ = strings.Cut(name, "("); name != "" { // of a method
					tests[name] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../schema/testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	cited := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") || line == "\n" {
			continue
		}
		id, where, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " -> ")
		if !ok || seen[id] || len(strings.Fields(id)) != 2 {
			t.Errorf("malformed, or twice: %q", line)
			continue
		}
		seen[id] = true
		for w := range strings.SplitSeq(where, ", ") {
			kind, name, _ := strings.Cut(w, "/")
			path := map[string]string{"script": "../cmd/repopolicy/testdata/" + name + ".txtar", "ci": "../.ci/" + name}[kind]
			if path != "" {
				number, _, _ := strings.Cut(id, " ")
				data, err := os.ReadFile(path)
				_, rest, ok := strings.Cut(string(data), "case "+number)
				if err != nil || !ok || rest == "" || '0' <= rest[0] && rest[0] <= '9' {
					t.Errorf("%s: %s does not say that it is about it: %v", id, w, err)
				}
			} else if kind, name, ok := strings.Cut(w, "/"); ok {
				data, err := os.ReadFile("../schema/testdata/" + kind + "/" + name + ".txt")
				if err != nil || !strings.Contains(string(data), "source: case "+id+"\n") {
					t.Errorf("%s: the vector %s is not about it: %v", id, w, err)
				}
				cited[w] = true
			} else if !tests[w] {
				t.Errorf("%s: there is no test %s", id, w)
			}
		}
	}
	for _, kind := range vectorKinds {
		for _, v := range vectors.Read(t, kind) {
			if strings.HasPrefix(v.Header["source"], "case ") && !cited[kind+"/"+v.Name] {
				t.Errorf("%s/%s is about %s, which does not list it", kind, v.Name, v.Header["source"])
			}
		}
	}
}

// TestVectorHeaders: every vector has known headers, a known class and a known
// reason, and names do not hide what they are.
func TestVectorHeaders(t *testing.T) {
	reasons := map[string]Class{}
	for _, r := range Reasons() {
		reasons[string(r)] = r.Class()
	}
	known := []string{"expect", "reason", "requirement", "source", "position", "schema"}
	total, fail := 0, 0
	for _, kind := range vectorKinds {
		for _, v := range vectors.Read(t, kind) {
			total++
			if v.Header["expect"] != "OK" {
				fail++
			}
			for k, val := range v.Header {
				switch {
				case !slices.Contains(known, k) && !slices.Contains(kindHeaders[kind], k):
					t.Errorf("%s/%s: unknown header %s", kind, v.Name, k)
				case k == "reason" && reasons[val] == classUnset:
					t.Errorf("%s/%s: unknown reason %s", kind, v.Name, val)
				case k == "reason" && kind != "policy" && reasons[val].String() != v.Header["expect"]:
					t.Errorf("%s/%s: %s is not of class %s", kind, v.Name, val, v.Header["expect"])
				case k == "requirement" && !strings.HasPrefix(val, "R-"):
					t.Errorf("%s/%s: requirement %s", kind, v.Name, val)
				}
			}
			if (kind == "policy" || kind == "decide") && v.Header["expect"] != "OK" && v.Header["reason"] == "" {
				t.Errorf("%s/%s: no reason", kind, v.Name)
			}
		}
	}
	if total < 400 || fail < 300 {
		t.Errorf("%d vectors, %d of which must fail", total, fail)
	}
}

// TestReasonsAreUsed: the constants of reason.go and the rows of the table are
// the same set, and the exit codes are frozen.
func TestReasonsAreUsed(t *testing.T) {
	src, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	var names, rows []string
	for line := range strings.Lines(string(src)) {
		f := strings.Fields(line)
		if len(f) == 4 && f[1] == "Reason" && f[2] == "=" {
			names = append(names, f[0])
		}
		if len(f) > 1 && strings.HasSuffix(f[0], ",") && strings.HasPrefix(f[1], "Class") {
			rows = append(rows, strings.Trim(f[0], "{,")) // a row may have lines of its own
		}
	}
	slices.Sort(names)
	slices.Sort(rows)
	if len(names) == 0 || !slices.Equal(names, rows) {
		t.Errorf("constants %q\nrows %q", names, rows)
	}
	var got []string
	for _, c := range Classes() {
		got = append(got, fmt.Sprintf("%d %s", c.Exit(), c))
	}
	want := []string{
		"0 OK", "1 DENY", "2 USAGE", "3 UNAVAILABLE", "4 AUTH", "5 NO_POLICY", "6 INVALID", "7 ALARM", "8 STALE",
		"70 INTERNAL",
	}
	if !slices.Equal(got, want) {
		t.Errorf("exit codes %q", got)
	}
}

// TestSchemaIsClosed: every object of the schema refuses keys that it does not
// name.
func TestSchemaIsClosed(t *testing.T) {
	data, err := os.ReadFile("../schema/policy-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["type"] == "object" && v["additionalProperties"] != false {
				t.Errorf("%s is open", path)
			}
			for k, x := range v {
				walk(path+"/"+k, x)
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprint(path, "/", i), x)
			}
		}
	}
	walk("", root)
}
