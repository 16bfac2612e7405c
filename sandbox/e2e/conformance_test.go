// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	sgroot "github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// conforming is the client of Sigstore's conformance suite, called as the suite calls it: in a
// process of its own, and in a directory with the files that are named.
type conforming struct{ bin, dir string }

// newConforming builds the client. In its directory, whose name has a blank, are an artifact, one
// that is empty, a statement about both, the trusted root and the signing configs.
func newConforming(t testing.TB) *conforming {
	t.Helper()
	c := &conforming{filepath.Join(t.TempDir(), "client"), filepath.Join(t.TempDir(), "a b")}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", c.bin, "./internal/scaffold/conformance/sigstore")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check(t, os.Mkdir(c.dir, 0o700))
	for name, data := range map[string][]byte{
		"a.txt": []byte("a\n"), "empty": nil, "other": []byte("b\n"), "root.json": stack.TrustedRoot(),
		"v1.json": stack.SigningConfig(1), "v2.json": stack.SigningConfig(2),
		"statement.json": fmt.Appendf(nil, `{"_type": "https://in-toto.io/Statement/v1", "predicateType": "x", "subject": [
  {"name": "a.txt", "digest": {"sha256": "%x"}}, {"name": "empty", "digest": {"sha256": "%x"}}]}
`, sha256.Sum256([]byte("a\n")), sha256.Sum256(nil)),
	} {
		c.write(t, name, data)
	}
	return c
}

func (c *conforming) write(t testing.TB, name string, data []byte) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(c.dir, name), data, 0o600))
}

func (c *conforming) command(t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), c.bin, args...)
	cmd.Dir, cmd.Env = c.dir, []string{"HOME=" + c.dir}
	return cmd
}

// run returns the exit code and what was printed.
func (c *conforming) run(t testing.TB, args ...string) (int, string) {
	t.Helper()
	cmd := c.command(t, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func tokenOf(t testing.TB, who claims.Claims) string {
	t.Helper()
	token, err := stack.Token(who)
	check(t, err)
	return token
}

// judged is what sigstore-go says of a bundle over an artifact.
func judged(t testing.TB, b *bundle.Bundle, artifact []byte, identity, issuer string) error {
	t.Helper()
	tr, err := sgroot.NewTrustedRootFromJSON(stack.TrustedRoot())
	check(t, err)
	v, err := verify.NewVerifier(tr, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1),
		verify.WithObserverTimestamps(1))
	check(t, err)
	id, err := verify.NewShortCertificateIdentity(issuer, "", identity, "")
	check(t, err)
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(artifact)),
		verify.WithCertificateIdentity(id)))
	return err
}

// TestConformance is the signing half of Sigstore's conformance suite, and what it does not ask.
//
// Source: https://github.com/sigstore/sigstore-conformance, test/test_bundle.py.
func TestConformance(t *testing.T) {
	c := newConforming(t)
	t.Run("signs", c.signs)
	t.Run("refuses", c.refuses)
	t.Run("stopped", c.stopped)
}

// signs: by each log and for each kind of signer the client signs files and statements, and what it
// made verifies by itself and by sigstore-go, for nobody else and over nothing else.
func (c *conforming) signs(t *testing.T) {
	for _, who := range []struct {
		claims           claims.Claims
		identity, issuer string
	}{
		{alice, "alice@example.com", "https://accounts.google.com"},
		{ci, "https://github.com/acme/widget/.github/workflows/repopolicy.yml@refs/heads/main", claims.GitHubIssuer},
	} {
		for _, x := range []struct {
			config, signed, artifact string
			kind                     string // of the log entry
		}{
			{"v1.json", "a.txt", "a.txt", "hashedrekord 0.0.1"},
			{"v2.json", "a.txt", "a.txt", "hashedrekord 0.0.2"},
			{"v2.json", "empty", "empty", "hashedrekord 0.0.2"},
			{"v1.json", "statement.json", "a.txt", "dsse 0.0.1"},
			{"v2.json", "statement.json", "empty", "hashedrekord 0.0.2"},
		} {
			t.Run(who.identity+" "+x.config+" "+x.signed, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), x.signed+".sigstore.json")
				args := []string{"sign-bundle", "--identity-token", tokenOf(t, who.claims), "--bundle", file,
					"--trusted-root", "root.json", "--signing-config", x.config, x.signed}
				statement := x.signed != x.artifact
				if statement {
					args = slices.Insert(args, 1, "--in-toto")
				}
				if code, out := c.run(t, args...); code != 0 || out != "" {
					t.Fatalf("exit %d\n%s", code, out)
				}
				b, err := bundle.LoadJSONFromPath(file)
				check(t, err)
				m := b.GetVerificationMaterial()
				kind := m.GetTlogEntries()[0].GetKindVersion()
				switch {
				case b.GetMediaType() != "application/vnd.dev.sigstore.bundle.v0.3+json":
					t.Error(b.GetMediaType())
				case m.GetCertificate() == nil || m.GetX509CertificateChain() != nil: // no root, nor any other authority
					t.Error("the bundle has not one certificate")
				case len(m.GetTlogEntries()) != 1 || kind.GetKind()+" "+kind.GetVersion() != x.kind:
					t.Errorf("%d entries, of %s %s", len(m.GetTlogEntries()), kind.GetKind(), kind.GetVersion())
				case len(m.GetTimestampVerificationData().GetRfc3161Timestamps()) != 1:
					t.Error("not one time stamp")
				case statement && (b.GetMessageSignature() != nil ||
					!bytes.Equal(b.GetDsseEnvelope().GetPayload(), contentOf(t, filepath.Join(c.dir, x.signed)))):
					t.Error("another payload than the statement")
				case !statement && (b.GetDsseEnvelope() != nil || b.GetMessageSignature() == nil):
					t.Error("no message signature")
				}
				for what, y := range map[string]struct {
					artifact, identity, issuer string
					ok                         bool
				}{
					"as signed":        {x.artifact, who.identity, who.issuer, true},
					"another identity": {x.artifact, who.identity + "x", who.issuer, false},
					"another issuer":   {x.artifact, who.identity, "https://example.com", false},
					"another artifact": {"other", who.identity, who.issuer, false},
				} {
					content := contentOf(t, filepath.Join(c.dir, y.artifact))
					for _, arg := range []string{y.artifact, fmt.Sprintf("sha256:%x", sha256.Sum256(content))} {
						code, out := c.run(t, "verify-bundle", "--bundle", file, "--certificate-identity", y.identity,
							"--certificate-oidc-issuer", y.issuer, "--trusted-root", "root.json", arg)
						if code != map[bool]int{true: 0, false: 1}[y.ok] {
							t.Errorf("%s: %s: exit %d\n%s", what, arg, code, out)
						}
					}
					if err := judged(t, b, content, y.identity, y.issuer); (err == nil) != y.ok {
						t.Errorf("%s: sigstore-go: %v", what, err)
					}
				}
			})
		}
	}
}

// edited returns a signing config with changes.
func edited(t testing.TB, config []byte, change func(c map[string]any)) []byte {
	t.Helper()
	var c map[string]any
	check(t, json.Unmarshal(config, &c))
	change(c)
	out, err := json.Marshal(c)
	check(t, err)
	return out
}

// oneLine returns a document as one of JSON lines.
func oneLine(t testing.TB, doc []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	check(t, json.Compact(&b, doc))
	return append(b.Bytes(), '\n')
}

// refuses: where the client cannot sign it exits with 1, says why, and leaves no file. It asks for a
// certificate, which makes a name public, only once all else is in order.
func (c *conforming) refuses(t *testing.T) {
	good := tokenOf(t, alice)
	services := func(key string, field string, value any) func(map[string]any) {
		return func(c map[string]any) {
			for _, s := range c[key].([]any) {
				s.(map[string]any)[field] = value
			}
		}
	}
	set := func(key string, value any) func(map[string]any) { return func(c map[string]any) { c[key] = value } }
	all := func(key string) func(map[string]any) { // of two operators
		return func(c map[string]any) {
			first := c[key+"Urls"].([]any)[0].(map[string]any)
			second := maps.Clone(first)
			second["operator"] = "x"
			c[key+"Urls"], c[key+"Config"] = []any{first, second}, map[string]any{"selector": "ALL"}
		}
	}
	forged := func(claim string, value any) claims.Claims {
		return claims.Forged{From: alice, Set: map[string]any{claim: value}}
	}
	past := time.Now().Add(-time.Minute).Unix()
	root := oneLine(t, stack.TrustedRoot())
	const nowhere = "http://127.0.0.1:1"
	busy := malice.Status{Code: 503}
	over := map[string]string{"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}
	soon := map[string]string{"start": "2999-01-01T00:00:00Z"}
	check(t, os.Mkdir(filepath.Join(c.dir, "folder"), 0o700))
	for what, x := range map[string]struct {
		v1     bool                 // the log is Rekor v1, else v2
		who    claims.Claims        // alice, unless set
		change func(map[string]any) // of the signing config
		config []byte               // in its place
		root   []byte
		args   func([]string) []string
		bundle string
		file   string
		in     string // content of a statement
		fails  sandbox.Service
		fault  malice.Fault
		says   string
		asked  bool // for a certificate
	}{
		"an expired token":    {who: forged("exp", past), says: "400", asked: true},
		"for another service": {who: forged("aud", "other"), says: "400", asked: true},
		"by another issuer":   {who: forged("iss", "https://example.com"), says: "400", asked: true},
		"by another key":      {who: claims.Forged{From: alice, ForeignKey: true}, says: "400", asked: true},
		"an unverified address": {
			who: claims.Email{Address: "x@example.com", Unverified: true}, says: "has not verified",
		},
		"no token at all": {args: func(a []string) []string { return slices.Delete(a, 1, 3) }, says: "one identity token"},
		"a token twice": {
			args: func(a []string) []string { return slices.Insert(a, 1, a[1:3]...) }, says: "one identity token",
		},
		"no token by form":   {args: func(a []string) []string { a[2] = "x"; return a }, says: "not a JSON Web Token"},
		"an empty token":     {args: func(a []string) []string { a[2] = ""; return a }, says: "ID token"},
		"two artifacts":      {args: func(a []string) []string { return append(a, "a.txt") }, says: "one artifact"},
		"a flag too late":    {args: func(a []string) []string { return append(a, "--staging") }, says: "one artifact"},
		"no artifact":        {args: func(a []string) []string { return a[:len(a)-1] }, says: "one artifact"},
		"no bundle":          {args: func(a []string) []string { return slices.Delete(a, 3, 5) }, says: "one bundle"},
		"an unknown flag":    {args: func(a []string) []string { return slices.Insert(a, 1, "--key", "x") }, says: "-key"},
		"the artifact's own": {bundle: "a.txt", says: "is there already"},
		"in no directory":    {bundle: "nowhere/x", says: "nowhere"},
		"at a directory":     {bundle: "folder", says: "is there already"},
		"a missing artifact": {file: "nothing", says: "nothing"},
		"a directory":        {file: "folder", says: "not a regular file"},

		"a statement, cut": {in: `{"_type":"https://in-toto.io/Statement/v1"`, says: "statement"},
		"an empty statement": {
			file: "empty", args: func(a []string) []string { return slices.Insert(a, 1, "--in-toto") }, says: "statement",
		},
		"of nothing":           {in: `{"_type":"https://in-toto.io/Statement/v1","predicateType":"x"}`, says: "no subject"},
		"of no type":           {in: `{"predicateType":"x","subject":[{"digest":{"x":"y"}}]}`, says: "statement type"},
		"a statement of 1 MiB": {in: strings.Repeat(" ", 1<<20) + "{}", says: "too large"},

		"Fulcio is down":       {change: services("caUrls", "url", nowhere), says: nowhere},
		"Fulcio is busy":       {fails: sandbox.Fulcio, fault: busy, says: "503", asked: true},
		"Fulcio is another":    {fails: sandbox.Fulcio, fault: malice.RotatedKey{}, says: "does not verify", asked: true},
		"the TSA is down":      {change: services("tsaUrls", "url", nowhere), says: nowhere, asked: true},
		"the TSA is busy":      {fails: sandbox.TSA, fault: busy, says: "503", asked: true},
		"the TSA is another":   {fails: sandbox.TSA, fault: malice.RotatedKey{}, says: "does not verify", asked: true},
		"Rekor v1 is down":     {v1: true, change: services("rekorTlogUrls", "url", nowhere), says: nowhere, asked: true},
		"Rekor v1 is busy":     {v1: true, fails: sandbox.RekorV1, fault: busy, says: "503", asked: true},
		"Rekor v1 says half":   {v1: true, fails: sandbox.RekorV1, fault: malice.Half{}, says: "no log entry", asked: true},
		"Rekor v2 is down":     {change: services("rekorTlogUrls", "url", nowhere), says: nowhere, asked: true},
		"Rekor v2 is busy":     {fails: sandbox.Rekor, fault: busy, says: "503", asked: true},
		"Rekor v2 is another":  {fails: sandbox.Rekor, fault: malice.RotatedKey{}, says: "does not verify", asked: true},
		"Fulcio is over":       {change: services("caUrls", "validFor", over), says: "no certificate authority"},
		"Fulcio is of a time":  {change: services("caUrls", "validFor", soon), says: "no certificate authority"},
		"another Fulcio API":   {change: services("caUrls", "majorApiVersion", 2), says: "no certificate authority"},
		"no Fulcio":            {change: set("caUrls", []any{}), says: "no certificate authority"},
		"a token in the clear": {change: services("caUrls", "url", "http://fulcio.example"), says: "https URL only"},
		"Rekor v1 is over": {
			v1: true, change: services("rekorTlogUrls", "validFor", over), says: "no transparency log",
		},
		"Rekor v2 is over":  {change: services("rekorTlogUrls", "validFor", over), says: "no transparency log"},
		"another Rekor API": {change: services("rekorTlogUrls", "majorApiVersion", 3), says: "no transparency log"},
		"no log":            {change: set("rekorTlogUrls", []any{}), says: "no transparency log"},
		"the TSA is over":   {change: services("tsaUrls", "validFor", over), says: "time stamp authority"},
		"another TSA API":   {change: services("tsaUrls", "majorApiVersion", 2), says: "time stamp authority"},
		"no TSA":            {change: set("tsaUrls", []any{}), says: "time stamp authority"},
		"exactly two logs": {
			change: set("rekorTlogConfig", map[string]any{"selector": "EXACT", "count": 2}), says: "EXACT",
		},
		"exactly no log":     {change: set("rekorTlogConfig", map[string]any{"selector": "EXACT"}), says: "EXACT"},
		"exactly two stamps": {change: set("tsaConfig", map[string]any{"selector": "EXACT", "count": 2}), says: "EXACT"},
		"all logs":           {change: all("rekorTlog"), says: "ALL"},
		"all stamps":         {change: all("tsa"), says: "ALL"},
		"a config of another type": {
			change: set("mediaType", "application/vnd.dev.sigstore.signingconfig.v0.1+json"), says: "media type",
		},
		"a config that is none": {config: []byte("{"), says: "signing config: "},
		"a root that is none":   {root: []byte("{}"), says: "trusted root: "},
		"two roots":             {root: append(root, root...), says: "2 trusted roots"},
	} {
		t.Run(what, func(t *testing.T) {
			token := good
			if x.who != nil {
				token = tokenOf(t, x.who)
			}
			config := stack.SigningConfig(2)
			if x.v1 {
				config = stack.SigningConfig(1)
			}
			if x.change != nil {
				config = edited(t, config, x.change)
			}
			if x.config != nil {
				config = x.config
			}
			c.write(t, "config.json", config)
			trusted := stack.TrustedRoot()
			if x.root != nil {
				trusted = x.root
			}
			c.write(t, "trusted.json", trusted)
			out := t.TempDir()
			to, artifact := filepath.Join(out, "x.sigstore.json"), "a.txt"
			if x.bundle != "" {
				to = x.bundle
			}
			if x.file != "" {
				artifact = x.file
			}
			args := []string{"sign-bundle", "--identity-token", token, "--bundle", to, "--trusted-root", "trusted.json",
				"--signing-config", "config.json", artifact}
			if x.in != "" {
				c.write(t, "in.json", []byte(x.in))
				args[len(args)-1] = "in.json"
				args = slices.Insert(args, 1, "--in-toto")
			}
			if x.args != nil {
				args = x.args(args)
			}
			if x.fault != nil {
				undo, err := stack.Misbehave(x.fails, x.fault)
				check(t, err)
				defer func() { check(t, undo()) }()
			}
			before := stack.Requests(sandbox.Fulcio)
			code, said := c.run(t, args...)
			if code != 1 || !strings.Contains(said, x.says) || strings.Contains(said, token) {
				t.Errorf("exit %d, want %q\n%s", code, x.says, said)
			}
			if asked := stack.Requests(sandbox.Fulcio) > before; asked != x.asked {
				t.Errorf("asked for a certificate: %t\n%s", asked, said)
			}
			if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
				t.Errorf("left %v (%v)", left, err)
			}
			if got := contentOf(t, filepath.Join(c.dir, "a.txt")); string(got) != "a\n" {
				t.Errorf("the artifact is %q", got)
			}
		})
	}
}

// stopped: whoever stops the client before it has logged finds no file, and the next run signs.
func (c *conforming) stopped(t *testing.T) {
	out := t.TempDir()
	args := []string{"sign-bundle", "--identity-token", tokenOf(t, alice), "--bundle", filepath.Join(out, "x"),
		"--trusted-root", "root.json", "--signing-config", "v1.json", "a.txt"}
	for _, service := range []sandbox.Service{sandbox.Fulcio, sandbox.TSA, sandbox.RekorV1} {
		undo, err := stack.Misbehave(service, malice.Drop{})
		check(t, err)
		before := stack.Requests(service)
		cmd := c.command(t, args...)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		check(t, cmd.Start())
		for end := time.Now().Add(time.Minute); stack.Requests(service) == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is not asked", service)
			}
		}
		check(t, cmd.Process.Signal(os.Interrupt))
		if cmd.Wait() == nil {
			t.Errorf("%s: it went on", service)
		}
		check(t, undo())
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v (%v)", service, left, err)
		}
	}
	if code, said := c.run(t, args...); code != 0 {
		t.Errorf("exit %d\n%s", code, said)
	}
}
