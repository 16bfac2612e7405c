// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	someRoot   = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	widgetFile = "widget_1.0.0.tar.gz"
)

func newPEM(t testing.TB) (*ecdsa.PrivateKey, string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return k, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// knowing gives a judge the policy with what roots say, and the keys that then may have signed.
func knowing(t testing.TB, j *Judge, p *policy.Trusted, facts ...policy.RootFact) *Judge {
	t.Helper()
	p = p.Knowing(facts)
	j.Policy = p
	for _, k := range p.Keys() {
		key, err := sigstore.ParseKey([]byte(k.PEM), time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		j.Keys = append(j.Keys, key)
	}
	return j
}

// TestRootKeyEvidence: a signature by a key that a root lists is verified by that key, and one
// whose key no root says is neither denied nor allowed.
func TestRootKeyEvidence(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	signer, text := newPEM(t)
	_, other := newPEM(t)
	quoted := func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
	rule := func(entry, more string) string {
		return "[[release]]\nname = \"key\"\ntags = \"any\"\nartifacts = [\"widget_*\"]\nkeys = [" + entry + "]\n" + more
	}
	entry := `{ root = "` + someRoot + `", target = "a.pub" }`
	pinned := `{ root = "` + someRoot + `", target = "a.pub", pem = "` + quoted(text) + `" }`
	of := policy.RootTarget{Root: someRoot, Path: "a.pub"}
	active, replaced, gone := of.Listed("Active", []byte(text)), of.Listed("Active", []byte(other)), of.Unlisted()
	silent := of.Unknown(policy.TrustRootMissing, "nobody answered")
	bad := of.Unknown(policy.TrustRootInvalid, "it is malformed")
	art := []byte("artifact")
	byKey := inst.Sign(sigstoretest.Request{Artifact: art, BareKey: true, Key: signer})
	forged := inst.Sign(sigstoretest.Request{Artifact: []byte("other"), BareKey: true, Key: signer})
	person := alice()
	person.Artifact = art
	byAlice := inst.Sign(person)
	yank := "[[yanked]]\ndigest = \"sha256:" + sha256Of(art) + "\"\n"
	adopt := "[[adopted]]\ntag = \"v1\"\ndigests = [\"sha256:" + sha256Of(art) + "\"]\n"
	for name, c := range map[string]struct {
		rule   string
		fact   policy.RootFact
		file   map[string][]byte
		reason policy.Reason
		says   string
	}{
		"active":                    {rule(entry, ""), active, map[string][]byte{"": byKey}, policy.Allowed, ""},
		"active, over another file": {rule(entry, ""), active, map[string][]byte{"": forged}, policy.ArtifactMismatch, ""},
		"replaced":                  {rule(entry, ""), replaced, map[string][]byte{"": byKey}, policy.KeyUntrusted, "no signature by any key"},
		"replaced and pinned":       {rule(pinned, ""), replaced, map[string][]byte{"": byKey}, policy.RuleMismatch, ""},
		"withdrawn": {
			rule(entry, ""), gone, map[string][]byte{"": byKey}, policy.KeyUntrusted, "lists no such target",
		},
		"no answer": {
			rule(entry, ""), silent, map[string][]byte{"": byKey}, policy.TrustRootMissing, "nobody answered",
		},
		"malformed": {
			rule(entry, ""), bad, map[string][]byte{"": byKey}, policy.TrustRootInvalid, "it is malformed",
		},
		"no answer, pinned": {
			rule(pinned, ""), silent, map[string][]byte{"": byKey}, policy.TrustRootMissing, "nobody answered",
		},
		"no answer, over another file": {rule(entry, ""), silent, map[string][]byte{"": forged}, policy.ArtifactMismatch, ""},
		"no answer, no such evidence":  {rule(entry, ""), silent, map[string][]byte{"": byAlice}, policy.RuleMismatch, ""},
		"no answer, no evidence":       {rule(entry, ""), silent, nil, policy.NoEvidence, ""},
		"no answer, beside a denial": {
			rule(entry, "") + workflowRule, silent, map[string][]byte{".sigstore.json": byKey, ".sigstore": byAlice},
			policy.TrustRootMissing, "",
		},
		"no answer, another rule allows": {
			rule(entry, "") + strings.Replace(peopleRule, `"SHA256SUMS", `, "", 1), silent,
			map[string][]byte{".sigstore.json": byKey, ".sigstore": byAlice}, policy.Allowed, "",
		},
		"no answer, yanked":  {rule(entry, "") + yank, silent, map[string][]byte{"": byKey}, policy.KeyUntrusted, ""},
		"no answer, adopted": {rule(entry, "") + adopt, silent, map[string][]byte{"": byKey}, policy.Adopted, ""},
		"no answer, after its until": {
			rule(pinned, "until = 2020-01-01T00:00:00Z\n"), silent, map[string][]byte{"": byKey}, policy.RuleMismatch, "",
		},
		"no answer, another name": {
			strings.Replace(rule(entry, ""), "widget_*", "gadget_*", 1), silent, map[string][]byte{"": byKey},
			policy.KeyUntrusted, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{widgetFile: art}
			for suffix, data := range c.file {
				if suffix == "" {
					suffix = ".sigstore.json"
				}
				files[widgetFile+suffix] = data
			}
			dir := put(t, files)
			j := knowing(t, judge(nil, root), pin(t, c.rule), c.fact)
			res := run(j, filepath.Join(dir, widgetFile))[0]
			if res.Decision.Reason != c.reason || res.Decision.Permitted != (c.reason.Class() == policy.ClassOK) {
				t.Fatalf("%s (%s), want %s", res.Decision.Reason, res.Decision.Detail, c.reason)
			}
			if !strings.Contains(res.Decision.Detail, c.says) {
				t.Errorf("it says %q, want %q", res.Decision.Detail, c.says)
			}
		})
	}
}

// TestListed: a file passes by the word of a root if the root lists exactly it, as the rule says.
func TestListed(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const art = "artifact"
	wide := sha512.Sum512([]byte(art))
	sum := policy.Digest{Alg: "sha256", Hex: sha256Of([]byte(art))}
	sum512 := policy.Digest{Alg: "sha512", Hex: hex.EncodeToString(wide[:])}
	false256, false512 := sum, sum512
	false256.Hex, false512.Hex = strings.Repeat("0", 64), strings.Repeat("0", 128)
	rule := "[[release]]\nname = \"tuf\"\ntags = [\"v*\"]\nartifacts = [\"widget_*\"]\n" +
		"tuf = { root = \"" + someRoot + "\", role = \"widget\", path = \"widget/{tag}/{name}\" }\n"
	const path = "widget/v1.0.0/" + widgetFile
	listed := func(change func(*Listed)) func(policy.RootTarget) (*Listed, error) {
		l := &Listed{
			Role: "widget", Version: 3, Expires: sigstoretest.Now.AddDate(1, 0, 0), Length: int64(len(art)),
			Digests: []policy.Digest{sum}, At: sigstoretest.Now.AddDate(0, 1, 0),
		}
		if change != nil {
			change(l)
		}
		return func(want policy.RootTarget) (*Listed, error) {
			if want.Path != path || want.Root != someRoot {
				return nil, nil
			}
			return l, nil
		}
	}
	fails := func(r policy.Reason) func(policy.RootTarget) (*Listed, error) {
		return func(policy.RootTarget) (*Listed, error) { return nil, &Failure{r, "nobody answered"} }
	}
	workflow := sigstoretest.Workflow("v1.0.0")
	workflow.Artifact = []byte(art)
	byWorkflow := inst.Sign(workflow)
	other := workflow
	other.Artifact = []byte("other")
	byOther := inst.Sign(other)
	for name, c := range map[string]struct {
		rules  string
		says   func(policy.RootTarget) (*Listed, error)
		tag    string
		files  map[string][]byte
		args   []string
		reason policy.Reason
		detail string
		asked  int
	}{
		"listed": {rule, listed(nil), "v1.0.0", nil, nil, policy.Allowed, "", 1},
		"with both digests": {
			rule, listed(func(l *Listed) { l.Digests = []policy.Digest{sum, sum512} }), "v1.0.0", nil, nil, policy.Allowed,
			"", 1,
		},
		"with sha512 alone": {
			rule, listed(func(l *Listed) { l.Digests = []policy.Digest{sum512} }), "v1.0.0", nil, nil, policy.Allowed, "", 1,
		},
		"longer": {
			rule, listed(func(l *Listed) { l.Length++ }), "v1.0.0", nil, nil, policy.ArtifactMismatch, "9 bytes, it has 8", 1,
		},
		"shorter": {
			rule, listed(func(l *Listed) { l.Length-- }), "v1.0.0", nil, nil, policy.ArtifactMismatch, "7 bytes, it has 8", 1,
		},
		"another digest": {
			rule, listed(func(l *Listed) { l.Digests = []policy.Digest{false256} }), "v1.0.0", nil, nil,
			policy.ArtifactMismatch, "sha256:000", 1,
		},
		"one of two differs": {
			rule, listed(func(l *Listed) { l.Digests = []policy.Digest{sum, false512} }), "v1.0.0", nil, nil,
			policy.ArtifactMismatch, "sha512:000", 1,
		},
		"no digest": {
			rule, listed(func(l *Listed) { l.Digests = nil }), "v1.0.0", nil, nil, policy.ArtifactMismatch,
			"without a digest", 1,
		},
		"by another role": {
			rule, listed(func(l *Listed) { l.Role = "targets" }), "v1.0.0", nil, nil, policy.RuleMismatch, "", 1,
		},
		"another tag":         {rule, listed(nil), "v1.0.1", nil, nil, policy.TargetUnlisted, "widget/v1.0.1/", 1},
		"no tag":              {rule, listed(nil), "", nil, nil, policy.NoEvidence, "--tag", 0},
		"a tag nobody allows": {rule, listed(nil), "w1", nil, nil, policy.RuleMismatch, "", 0},
		"a name nobody allows": {
			strings.Replace(rule, "widget_*", "gadget_*", 1), listed(nil), "v1.0.0", nil, nil, policy.RuleMismatch, "", 0,
		},
		"a rule that is over": {
			rule + "until = 2020-01-01T00:00:00Z\n", listed(nil), "v1.0.0", nil, nil, policy.RuleMismatch, "", 1,
		},
		"yanked": {
			rule + "[[yanked]]\ntag = \"v1.0.0\"\n", listed(nil), "v1.0.0", nil, nil, policy.YankedRelease, "", 0,
		},
		"a revoked rule": {
			rule + "[[revoked]]\nrule = \"tuf\"\n", listed(nil), "v1.0.0", nil, nil, policy.RevokedSigner, "", 0,
		},
		"not approved": {
			rule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", listed(nil), "v1.0.0", nil, nil,
			policy.RuleMismatch, "", 1,
		},
		"no answer": {
			rule, fails(policy.TrustRootMissing), "v1.0.0", nil, nil, policy.TrustRootMissing, "nobody answered", 1,
		},
		"malformed": {
			rule, fails(policy.TrustRootInvalid), "v1.0.0", nil, nil, policy.TrustRootInvalid, "nobody answered", 1,
		},
		"no answer, yanked": {
			rule + "[[yanked]]\ndigest = \"" + sum.String() + "\"\n", fails(policy.TrustRootMissing), "v1.0.0", nil, nil,
			policy.YankedRelease, "", 0,
		},
		"no answer, and a denial": {
			rule + workflowRule, fails(policy.TrustRootMissing), "v1.0.0", map[string][]byte{".sigstore.json": byOther}, nil,
			policy.TrustRootMissing, "", 1,
		},
		"no answer, another rule allows": {
			rule + workflowRule, fails(policy.TrustRootMissing), "v1.0.0", map[string][]byte{".sigstore.json": byWorkflow}, nil,
			policy.Allowed, "", 0,
		},
		"no answer about what no rule allows": {
			strings.Replace(rule, "widget_*", "gadget_*", 1), fails(policy.TrustRootMissing), "v1.0.0", nil, nil,
			policy.RuleMismatch, "", 0,
		},
		"unlisted, and a denial": {
			rule + workflowRule, listed(nil), "v1.0.1", map[string][]byte{".sigstore.json": byOther}, nil,
			policy.ArtifactMismatch, "", 1,
		},
		"a signature is none": {
			rule, listed(nil), "v1.0.1", map[string][]byte{".sigstore.json": byWorkflow}, nil, policy.TagMismatch, "", 1,
		},
		"a digest alone": {
			rule, listed(nil), "v1.0.0", nil, []string{sum.String()}, policy.NoEvidence, "", 0,
		},
		"two rules, one without an answer": {
			rule + strings.ReplaceAll(strings.ReplaceAll(rule, `"tuf"`, `"second"`), someRoot, "public-good"),
			func(want policy.RootTarget) (*Listed, error) {
				if want.Root == "public-good" {
					return nil, &Failure{policy.TrustRootMissing, "nobody answered"}
				}
				return listed(nil)(want)
			}, "v1.0.0", nil, nil, policy.Allowed, "", 1,
		},
		"two rules, the first without an answer": {
			strings.ReplaceAll(strings.ReplaceAll(rule, `"tuf"`, `"second"`), someRoot, "public-good") + rule,
			func(want policy.RootTarget) (*Listed, error) {
				if want.Root == "public-good" {
					return nil, &Failure{policy.TrustRootMissing, "nobody answered"}
				}
				return listed(nil)(want)
			}, "v1.0.0", nil, nil, policy.Allowed, "", 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{widgetFile: []byte(art)}
			for suffix, data := range c.files {
				files[widgetFile+suffix] = data
			}
			dir := put(t, files)
			j := judge(pin(t, c.rules), root)
			j.Tag = c.tag
			asked := 0
			j.Listed = func(_ context.Context, want policy.RootTarget) (*Listed, error) {
				asked++
				return c.says(want)
			}
			args := c.args
			if args == nil {
				args = []string{filepath.Join(dir, widgetFile)}
			}
			res := run(j, args...)[0]
			d := res.Decision
			if d.Reason != c.reason || d.Permitted != (c.reason.Class() == policy.ClassOK) ||
				!strings.Contains(d.Detail, c.detail) {
				t.Fatalf("%s (%s), want %s (%s)", d.Reason, d.Detail, c.reason, c.detail)
			}
			if asked != c.asked {
				t.Errorf("asked %d times, want %d", asked, c.asked)
			}
			if d.Permitted && d.Rule == "tuf" && (!slices.ContainsFunc(d.Notes, func(n policy.Note) bool {
				return n.Code == "tuf-target" && strings.Contains(n.Text, "version 3")
			}) || !res.Evidence.ByRoot || res.Evidence.Verified != nil || d.Tag != "v1.0.0") {
				t.Errorf("%+v\n%+v", d, res.Evidence)
			}
		})
	}
}

// TestListedAlone: without a policy a root's word is for the name of the file, or the path that
// the user names, and signatures are not looked at.
func TestListedAlone(t *testing.T) {
	art := []byte("artifact")
	says := func(paths ...string) func(context.Context, policy.RootTarget) (*Listed, error) {
		return func(_ context.Context, want policy.RootTarget) (*Listed, error) {
			if !slices.Contains(paths, want.Path) {
				return nil, nil
			}
			return &Listed{
				Role: "targets", Version: 1, Length: int64(len(art)), At: sigstoretest.Now,
				Digests: []policy.Digest{{Alg: "sha256", Hex: sha256Of(art)}},
			}, nil
		}
	}
	dir := put(t, map[string][]byte{
		"a.txt": art, "b.txt": art, "b.txt.sigstore.json": []byte("{}"), `c\d`: art,
		"SHA256SUMS": fmt.Appendf(nil, "%s  a.txt\n%s  b.txt\n", sha256Of(art), strings.Repeat("0", 64)),
	})
	for name, c := range map[string]struct {
		target, arg string
		says        func(context.Context, policy.RootTarget) (*Listed, error)
		want        []policy.Reason
	}{
		"by its name":            {"", "a.txt", says("a.txt"), []policy.Reason{policy.Allowed}},
		"by a path":              {"x/y", "a.txt", says("x/y"), []policy.Reason{policy.Allowed}},
		"by another name":        {"", "b.txt", says("a.txt"), []policy.Reason{policy.TargetUnlisted}},
		"not by that path":       {"x/z", "a.txt", says("x/y", "a.txt"), []policy.Reason{policy.TargetUnlisted}},
		"no root can be asked":   {"", "a.txt", nil, []policy.Reason{policy.NoEvidence}},
		"a digest":               {"", "sha256:" + sha256Of(art), says("a.txt"), []policy.Reason{policy.NoEvidence}},
		"a path that is none":    {"../a.txt", "a.txt", says("../a.txt"), []policy.Reason{policy.NoEvidence}},
		"a name that is no path": {"", `c\d`, says(`c\d`), []policy.Reason{policy.NoEvidence}},
		"the lines of a list": {"", "SHA256SUMS", says("a.txt", "b.txt"), []policy.Reason{
			policy.TargetUnlisted, policy.Allowed, policy.SumsMismatch,
		}},
	} {
		p, err := policy.FlagIdentity{Target: &policy.RootTarget{Root: "acme", Path: c.target}}.Trusted()
		if err != nil {
			t.Fatal(err)
		}
		j := judge(p)
		j.Listed = c.says
		arg := c.arg
		if !strings.HasPrefix(arg, "sha256:") {
			arg = filepath.Join(dir, arg)
		}
		var got []policy.Reason
		for _, r := range run(j, arg) {
			got = append(got, r.Decision.Reason)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestListedPackage: a root lists files, and a package is none, whatever its URL ends with.
func TestListedPackage(t *testing.T) {
	art := []byte("artifact")
	dir := put(t, map[string][]byte{"widget@1.0.0": art})
	asked := 0
	for name, want := range map[string]policy.Reason{
		"widget@1.0.0": policy.Allowed, "pkg:npm/widget@1.0.0": policy.NoEvidence,
	} {
		j := judge(pin(t, `[[release]]
name = "tuf"
tags = "any"
artifacts = "any"
tuf = { root = "public-good", role = "targets", path = "{name}" }
`))
		j.Listed = func(context.Context, policy.RootTarget) (*Listed, error) {
			asked++
			return &Listed{
				Role: "targets", Version: 1, Length: int64(len(art)), At: sigstoretest.Now,
				Digests: []policy.Digest{{Alg: "sha256", Hex: sha256Of(art)}},
			}, nil
		}
		as := others(Expand(t.Context(), []string{filepath.Join(dir, "widget@1.0.0")}, Options{}))
		if err := as[0].Expect(name); err != nil {
			t.Fatal(err)
		}
		if d := j.Run(t.Context(), as)[0].Decision; d.Reason != want || d.Permitted != (want == policy.Allowed) {
			t.Errorf("%s: %s (%s), want %s", name, d.Reason, d.Detail, want)
		}
	}
	if asked != 1 {
		t.Errorf("the root was asked %d times", asked)
	}
}

// TestListedChanged: a file that is replaced while a root is asked is not what the root lists.
func TestListedChanged(t *testing.T) {
	dir := put(t, map[string][]byte{"a.txt": []byte("artifact")})
	path := filepath.Join(dir, "a.txt")
	p, err := policy.FlagIdentity{Target: &policy.RootTarget{Root: "acme"}}.Trusted()
	if err != nil {
		t.Fatal(err)
	}
	j := judge(p)
	j.Listed = func(context.Context, policy.RootTarget) (*Listed, error) {
		sum := sha512.Sum512([]byte("poisoned"))
		return &Listed{
			Role: "targets", Length: 8, At: sigstoretest.Now,
			Digests: []policy.Digest{{Alg: "sha512", Hex: hex.EncodeToString(sum[:])}},
		}, os.WriteFile(path, []byte("poisoned"), 0o600)
	}
	if d := run(j, path)[0].Decision; d.Reason != policy.ArtifactChanged || d.Permitted {
		t.Errorf("%s (%s)", d.Reason, d.Detail)
	}
}
