// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// TestBeside: a root beside Sigstore's names the directory, whose word is demanded then, and
// nobody gains by keeping that root away.
func TestBeside(t *testing.T) {
	const name = "acme/beside"
	url := "https://github.com/" + name
	bindAs(t, name, true)
	dir := newOperator(t)
	dir.build()
	good := releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: name, Ref: "refs/tags/v1", Environment: "release"})

	// The ceremony, in short.
	at := t.TempDir()
	root, site := filepath.Join(at, "root"), filepath.Join(at, "site")
	private, public := keyPair(t, at, "one")
	machine, machinePublic := keyPair(t, at, "machine")
	keeper := newComputer(t)
	keeper.must(policy.ClassOK, authorProgram, "init", root, "--key", public, "--online-key", machinePublic, "--target",
		"repopolicy/directory.json="+dir.descriptorFile)
	keeper.must(policy.ClassOK, authorProgram, "sign", root, "--key", private)
	keeper.must(policy.ClassOK, authorProgram, "publish", root, "--key", machine, "--to", site)
	initial, err := os.ReadFile(filepath.Join(site, "1.root.json"))
	check(t, err)

	user := func(place string, beside ...string) *computer {
		c := newComputer(t)
		c.config = trustConfig(t, stack, "\n[[scope]]\nrepositories = [\"https://github.com/acme/beside\"]\nroots = [\"first\"]\n"+
			fmt.Sprintf("\n[[root]]\nname = \"project\"\nurl = %q\ninitial = \"project.root.json\"\nbeside = [%s]\n", place, strings.Join(beside, ", ")))
		check(t, os.WriteFile(filepath.Join(c.config, "project.root.json"), initial, 0o600))
		return c
	}
	verify := []string{"verify", "-v", "-R", url, "--tag", "v1", good}
	for _, beside := range [][]string{{`"first"`}, {`"public-good"`, `"first"`}} {
		out := user(site, beside...).must(policy.ClassOK, verify...)
		for _, want := range []string{"complete   signed", "directory  " + dir.descriptor.URL} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
	if out := user(site, `"public-good"`).must(policy.ClassOK, verify...); !strings.Contains(out, "complete   hinted") {
		t.Errorf("beside another root:\n%s", out)
	}
	if out := user(site, `"first"`).must(policy.ClassOK, "trust", "show"); !strings.Contains(out, "beside it   project") || !strings.Contains(out, "for         what first may leave open") {
		t.Error(out)
	}
	// Without the root nobody knows what it demands, and without the directory it is not met.
	user(filepath.Join(at, "nowhere"), `"first"`).must(policy.ClassUnavailable, verify...)
	user(filepath.Join(at, "nowhere"), `"first"`).must(policy.ClassUnavailable, append(verify, "--require", "first,none")...)
	cut := user(site, `"first"`)
	next := cut.transport
	cut.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if "http://"+r.URL.Host == dir.descriptor.URL {
			return nil, errors.New("there is no directory")
		}
		return next.RoundTrip(r)
	})
	cut.must(policy.ClassUnavailable, verify...)

	// Both roots cross an air gap.
	file := filepath.Join(t.TempDir(), "widget.airgap")
	user(site, `"first"`).must(policy.ClassOK, "export-bundle", "-R", url, "-o", file, good+".sigstore.json")
	inside := func() *computer {
		c := user("https://tuf.example.com", `"first"`)
		c.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("there is no network")
		})
		return c
	}
	carried := []string{"verify", "-v", "-R", url, "--tag", "v1", good, "--airgap"}
	if out := inside().must(policy.ClassOK, append(carried, file)...); !strings.Contains(out, "complete   signed") {
		t.Error(out)
	}
	data, err := os.ReadFile(file)
	check(t, err)
	for what, change := range map[string]func(b *airgap.Bundle){
		"no root beside":             func(b *airgap.Bundle) { clear(b.BesideMetadata); clear(b.BesideTargets) },
		"its metadata alone":         func(b *airgap.Bundle) { clear(b.BesideTargets) },
		"the other root's for it":    func(b *airgap.Bundle) { b.BesideMetadata, b.BesideTargets = b.Metadata, b.Targets },
		"it for the other":           func(b *airgap.Bundle) { b.Metadata, b.Targets = b.BesideMetadata, b.BesideTargets },
		"no answer of its directory": func(b *airgap.Bundle) { b.Answer = nil },
	} {
		b, err := airgap.Parse(data)
		check(t, err)
		change(b)
		changed, err := b.Encode()
		check(t, err)
		path := filepath.Join(t.TempDir(), "changed.airgap")
		check(t, os.WriteFile(path, changed, 0o600))
		for _, more := range [][]string{nil, {"--require", "first,hinted"}} {
			if code, out := inside().repopolicy(append(append(carried, path), more...)...); code == policy.ClassOK.Exit() {
				t.Errorf("%s: OK\n%s", what, out)
			}
		}
	}
}
