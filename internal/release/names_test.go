// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// likeness is what looks like a name, or leads where it leads, and is another one.
var likeness = map[string]func(string) string{
	"blank before":        func(s string) string { return " " + s },
	"blank after":         func(s string) string { return s + " " },
	"tab after":           func(s string) string { return s + "\t" },
	"line feed after":     func(s string) string { return s + "\n" },
	"NUL after":           func(s string) string { return s + "\x00" },
	"zero width after":    func(s string) string { return s + "\u200b" },
	"no-break space":      func(s string) string { return "\u00a0" + s },
	"byte order mark":     func(s string) string { return "\ufeff" + s },
	"left to right mark":  func(s string) string { return s + "\u200e" },
	"a stop after":        func(s string) string { return s + "." },
	"a slash after":       func(s string) string { return s + "/" },
	"a query after":       func(s string) string { return s + "?" },
	"a fragment after":    func(s string) string { return s + "#" },
	"cut":                 func(s string) string { return s[:len(s)-1] },
	"upper case":          strings.ToUpper,
	"Cyrillic a":          func(s string) string { return strings.Replace(s, "a", "\u0430", 1) },
	"full width a":        func(s string) string { return strings.Replace(s, "a", "\uff41", 1) },
	"escaped a":           func(s string) string { return strings.Replace(s, "a", "%61", 1) },
	"e with an accent":    func(s string) string { return strings.Replace(s, "e", "\u00e9", 1) },
	"e and an accent":     func(s string) string { return strings.Replace(s, "e", "e\u0301", 1) },
	"the Kelvin sign":     func(s string) string { return strings.Replace(s, "k", "\u212a", 1) },
	"twice":               func(s string) string { return s + s },
	"the same after that": func(s string) string { return s + "," + s },
}

// TestPeopleLikeness: no name of a person is normalised (SPEC 5.5).
func TestPeopleLikeness(t *testing.T) {
	art := []byte("artifact")
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	const issuer = "https://accounts.google.com"
	people := func(kind, value string) *policy.Trusted {
		return pin(t,
			fmt.Sprintf(
				"[[release]]\nname = \"people\"\ntags = \"any\"\nartifacts = \"any\"\nidentities = [{ %s = %q, issuer = %q }]\n",
				kind, value, issuer,
			))
	}
	check := func(name string, p *policy.Trusted, r sigstoretest.Request, ok bool) {
		t.Helper()
		r.Artifact = art
		if r.RawSAN == nil {
			r.RawSAN = sigstoretest.SAN(r.SAN)
		}
		if !issuable(t, r.RawSAN) {
			return
		}
		dir := put(t, map[string][]byte{"widget": art, "widget.sigstore": inst.Sign(r)})
		if res := run(judge(p, root), filepath.Join(dir, "widget"))[0]; (res.Class() == policy.ClassOK) != ok {
			t.Errorf("%s: %q by %q: %s %s", name, r.SAN, r.Issuer, res.Class(), res.Decision.Detail)
		}
	}
	for _, who := range []struct{ kind, value string }{
		{"email", "alike@example.com"}, {"uri", "https://ci.example.com/make"},
	} {
		p := people(who.kind, who.value)
		check("itself", p, sigstoretest.Request{SAN: who.value, Issuer: issuer}, true)
		for name, f := range likeness {
			if other := f(who.value); other != who.value {
				check(name, p, sigstoretest.Request{SAN: other, Issuer: issuer}, false)
			}
			if other := f(issuer); other != issuer {
				check("issuer, "+name, p, sigstoretest.Request{SAN: who.value, Issuer: other}, false)
			}
		}
	}
	p := people("email", "alike@example.com")
	for _, other := range []string{
		"Alike@example.com", "alike@Example.com", "al.ike@example.com", "alike+x@example.com", "alike@xn--example.com",
		"alike@example.com.", "<alike@example.com>", "mailto:alike@example.com", "\"alike\"@example.com",
	} {
		check("mail", p, sigstoretest.Request{SAN: other, Issuer: issuer}, false)
	}
	// International names are those that are written, in ASCII or not at all.
	ascii := people("email", "alike@xn--bcher-kva.example")
	check("punycode", ascii, sigstoretest.Request{SAN: "alike@xn--bcher-kva.example", Issuer: issuer}, true)
	for _, other := range []string{
		"alike@b\u00fccher.example", "alike@bu\u0308cher.example", "alike@XN--bcher-kva.example",
		"alike@xn--bcher-KVA.example", "alike@bcher.example",
	} {
		check("not in punycode", ascii, sigstoretest.Request{SAN: other, Issuer: issuer}, false)
	}
	user := people("username", "alike!example.com")
	for value, ok := range map[string]bool{
		"alike!example.com": true, "Alike!example.com": false, "alike!example.com ": false, "alike!example.com\u200b": false,
		"alike\uff01example.com": false,
	} {
		check("user name", user,
			sigstoretest.Request{SAN: value, Issuer: issuer, RawSAN: sigstoretest.OtherName(sigstoretest.FulcioOID(7), value)},
			ok)
	}
	// One name, but of another kind.
	check("a URI for an address", p,
		sigstoretest.Request{Issuer: issuer, RawSAN: []byte("\x30\x13\x86\x11alike@example.com")}, false)
	check("a user name for an address", p,
		sigstoretest.Request{Issuer: issuer, RawSAN: sigstoretest.OtherName(sigstoretest.FulcioOID(7), "alike@example.com")},
		false)
}

// TestWorkflowLikeness: names of workflows are put together and compared, never
// taken apart or normalised, wherever in the certificate they stand (SPEC 5.3).
func TestWorkflowLikeness(t *testing.T) {
	art := []byte("artifact")
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	p := pin(t, workflowRule)
	check := func(name string, change func(*sigstoretest.Request), ok bool) {
		t.Helper()
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = art
		change(&r)
		if r.RawSAN != nil && !issuable(t, r.RawSAN) {
			return
		}
		dir := put(t, map[string][]byte{"widget_1.tar.gz": art, "widget_1.tar.gz.sigstore": inst.Sign(r)})
		if res := run(judge(p, root), filepath.Join(dir, "widget_1.tar.gz"))[0]; (res.Class() == policy.ClassOK) != ok {
			t.Errorf("%s: %s %s", name, res.Class(), res.Decision.Detail)
		}
	}
	san := sigstoretest.Workflow("v1.2.3").SAN
	const repo = "https://github.com/acme/widget"
	// Each of the places alone, and those that must agree together.
	places := map[string]func(r *sigstoretest.Request, to string){
		"SAN":        func(r *sigstoretest.Request, to string) { r.SAN, r.RawSAN = to, rawURI(to) },
		".9":         func(r *sigstoretest.Request, to string) { r.Extensions[9] = to },
		".18":        func(r *sigstoretest.Request, to string) { r.Extensions[18] = to },
		"SAN and .9": func(r *sigstoretest.Request, to string) { r.SAN, r.RawSAN, r.Extensions[9] = to, rawURI(to), to },
		"SAN, .9 and .18": func(r *sigstoretest.Request, to string) {
			r.SAN, r.RawSAN, r.Extensions[9], r.Extensions[18] = to, rawURI(to), to, to
		},
	}
	path := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	paths := map[string]func(string) string{
		"case of the file":           path("release.yml", "Release.yml"),
		"case of the suffix":         path("release.yml", "release.YML"),
		"case of the directory":      path(".github/", ".GitHub/"),
		"another suffix":             path("release.yml", "release.yaml"),
		"two slashes":                path("/.github", "//.github"),
		"two slashes below":          path("workflows/", "workflows//"),
		"a dot":                      path("/.github", "/./.github"),
		"a dot below":                path("workflows/", "workflows/./"),
		"up and down":                path("workflows/", "workflows/../workflows/"),
		"an escaped dot":             path("/.github", "/%2egithub"),
		"an escaped slash":           path("workflows/", "workflows%2f"),
		"an escaped at":              path("@", "%40"),
		"a backslash":                path("workflows/", "workflows\\"),
		"no slash":                   path("widget/", "widget"),
		"a long s":                   path("release", "relea\u017fe"),
		"a blank before the ref":     path("@", "@ "),
		"a blank after the file":     path("@", " @"),
		"two ats":                    path("@", "@@"),
		"another file before an at":  path("@", "@x@"),
		"case of the ref":            path("refs/tags/", "Refs/tags/"),
		"case of the tag":            path("@refs/tags/v", "@refs/tags/V"),
		"a branch of that name":      path("refs/tags", "refs/heads"),
		"no kind of ref":             path("refs/tags/", ""),
		"another protocol":           path("https", "http"),
		"a port":                     path("github.com", "github.com:443"),
		"a user":                     path("https://", "https://git@"),
		"a stop after the host":      path("github.com", "github.com."),
		"another host":               path("github.com", "www.github.com"),
		"a repository's suffix":      path("widget/", "widget.git/"),
		"a longer repository":        path("widget/", "widget2/"),
		"below the repository":       path("widget/", "widget/x/"),
		"the owner's other name":     path("acme", "acme-inc"),
		"a dotless i in the name":    path("widget", "w\u0131dget"),
		"an escaped letter in there": path("widget", "%77idget"),
	}
	for name, f := range likeness {
		paths[name] = f
	}
	check("itself", func(*sigstoretest.Request) {}, true)
	for name, f := range paths {
		if f(san) == san {
			continue
		}
		for place, set := range places {
			check(place+", "+name, func(r *sigstoretest.Request) { set(r, f(san)) }, false)
		}
		if other := f(repo); other != repo && other != strings.ToUpper(repo) {
			check(".12, "+name, func(r *sigstoretest.Request) { r.Extensions[12] = other }, false)
		}
	}
	for n, values := range map[int][]string{
		8: {
			"https://token.actions.githubusercontent.com/", "https://token.actions.githubusercontent.com/acme",
			"https://TOKEN.actions.githubusercontent.com", "http://token.actions.githubusercontent.com",
		},
		14: {
			"refs/tags/v1.2.3 ", "refs/tags/V1.2.3", "refs//tags/v1.2.3", "refs/tags/./v1.2.3", "refs/tags/v1.2.3/", "v1.2.3",
			"refs/tags/v1%2e2.3",
		},
		20: {"Push", "push ", " push", "push,release"},
		11: {"GitHub-hosted", "github-hosted ", "self-hosted"},
		23: {"release ", " release", "release/", "relea\u017fe"},
	} {
		for _, v := range values {
			check(fmt.Sprintf(".%d, %q", n, v), func(r *sigstoretest.Request) {
				if n == 8 {
					r.Issuer = v
				}
				r.Extensions[n] = v
				if n == 8 {
					delete(r.Extensions, n)
				}
			}, false)
		}
	}
	// GitHub folds owner and name, and environments; nothing else.
	folded := strings.Replace(san, "acme/widget", "Acme/WIDGET", 1)
	check("case of owner and name", func(r *sigstoretest.Request) { places["SAN, .9 and .18"](r, folded) }, true)
	check("case of the repository", func(r *sigstoretest.Request) { r.Extensions[12] = "https://github.com/Acme/Widget" },
		true)
	check("case of the environment", func(r *sigstoretest.Request) { r.Extensions[23] = "Release" }, true)
}

// issuable reports whether crypto/x509 reads a certificate with that name at all;
// of another one there is no evidence.
func issuable(t testing.TB, san []byte) bool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x509.ParseCertificate(der)
	return err == nil
}

// rawURI is a name that need not be a URI.
func rawURI(s string) []byte {
	if len(s) > 127 {
		name := append([]byte{0x86, 0x82, byte(len(s) >> 8), byte(len(s))}, s...)
		return append([]byte{0x30, 0x82, byte(len(name) >> 8), byte(len(name))}, name...)
	}
	return append([]byte{0x30, byte(len(s) + 2), 0x86, byte(len(s))}, s...)
}

// TestReleaseLikeness: the repository and tag of GitHub's release attestations
// (SPEC 5.6).
func TestReleaseLikeness(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{NoLog: true, NoCT: true})
	art := []byte("artifact")
	p := pin(t,
		workflowRule+
			"[[release]]\nname = \"github\"\ntags = [\"v*\"]\nartifacts = \"any\"\ngithub-release = true\nunlogged = true\n")
	const by, repo = "https://dotcom.releases.github.com", "acme/widget"
	check := func(name, san, repo string, ok bool) {
		t.Helper()
		pred, err := json.Marshal(map[string]any{
			"repository": repo, "tag": "v1.2.3", "repositoryId": 1001, "ownerId": "2002",
		})
		if err != nil {
			t.Fatal(err)
		}
		st := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","predicateType":%q,"predicate":%s,"subject":[%s]}`,
			sigstore.PredicateGitHubRelease, pred, subject("widget", art))
		if !issuable(t, rawURI(san)) {
			return
		}
		data := inst.Sign(sigstoretest.Request{
			RawSAN: rawURI(san), Statement: []byte(st), Log: sigstoretest.LogNone, NoSCT: true, TSA: true,
		})
		dir := put(t, map[string][]byte{"widget": art, "widget.sigstore": data})
		if res := run(judge(p, root), filepath.Join(dir, "widget"))[0]; (res.Class() == policy.ClassOK) != ok {
			t.Errorf("%s: %q, %q: %s %s", name, san, repo, res.Class(), res.Decision.Detail)
		}
	}
	check("itself", by, repo, true)
	check("case", by, "Acme/Widget", true)
	for name, f := range likeness {
		if other := f(by); other != by {
			check(name, other, repo, false)
		}
		if other := f(repo); other != repo && other != strings.ToUpper(repo) {
			check("repository, "+name, by, other, false)
		}
	}
	for _, other := range []string{
		"acme//widget", "acme/./widget", "/acme/widget", "acme/widget.git", "github.com/acme/widget", "acme\\widget",
		"acme%2fwidget", "acme",
	} {
		check("path", by, other, false)
	}
}
