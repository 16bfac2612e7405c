// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	aDirectory = `{"schema":"https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/directory-v1.json",` +
		`"url":"https://directory.example.com",` +
		`"key":"directory.example.com+d0c395f4+AQ6r5CWazrvwe504DzSzW5fAF+EMr9G3wweCcPJLg2md"}`
	aForge = `{"schema":"https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/forges-v1.json",` +
		`"forges":[{"host":"git.example.com","kind":"gitlab","issuers":["https://git.example.com"]}]}`
)

// besides is a root that says these things beside others.
func besides(t *testing.T, targets map[string]string) *tuftest.Sim {
	t.Helper()
	s := tuftest.New(t)
	s.Targets["targets"].Signed.Version++
	for name, content := range targets {
		s.Add("targets", name, content)
	}
	s.Publish()
	return s
}

// TestBesideRefused: what stands beside what must be clear.
func TestBesideRefused(t *testing.T) {
	const start = "format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"a\"\nurl = \"x\"\ninitial = \"y\"\n"
	const second = "[[root]]\nname = \"b\"\nurl = \"x\"\ninitial = \"y\"\n"
	for name, row := range map[string]struct{ text, want string }{
		"one":           {start + "beside = [\"public-good\"]\n", ""},
		"two under one": {start + "beside = [\"public-good\", \"b\"]\n" + second, ""},
		"itself":        {start + "beside = [\"a\"]\n", "not another root"},
		"nobody":        {start + "beside = [\"c\"]\n", "not another root"},
		"twice":         {start + "beside = [\"public-good\", \"public-good\"]\n", `has the root "a" beside it`},
		"two beside one": {
			start + "beside = [\"public-good\"]\n" + second + "beside = [\"public-good\"]\n", `has the root "a" beside it`,
		},
		"one after other": {
			start + "beside = [\"b\"]\n" + second + "beside = [\"public-good\"]\n", `has the root "a" beside it`,
		},
		"each other":       {start + "beside = [\"b\"]\n" + second + "beside = [\"a\"]\n", "beside it"},
		"no list of names": {start + "beside = \"public-good\"\n", ":"},
	} {
		_, err := ParseConfig([]byte(row.text))
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}

// TestComplete: what a root does not say itself, the one beside it does, and only it.
func TestComplete(t *testing.T) {
	own, err := answers.ParseDescriptor([]byte(strings.Replace(aDirectory, "https://directory", "https://own", 1)))
	check(t, err)
	both := map[string]string{DirectoryTarget: aDirectory, ForgesTarget: aForge}
	const config = "format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"up\"\nurl = \"https://tuf.example\"\ninitial = " +
		"\"1.root.json\"\nbeside = [\"public-good\"]\n"
	for name, row := range map[string]struct {
		targets         map[string]string
		root            string
		has             Root
		directory, host string
		want            policy.Reason
	}{
		"both": {both, "public-good", Root{}, "https://directory.example.com", "git.example.com", ""},
		"a directory alone": {
			map[string]string{DirectoryTarget: aDirectory}, "public-good", Root{}, "https://directory.example.com", "", "",
		},
		"neither":           {nil, "public-good", Root{}, "", "", ""},
		"its own directory": {both, "public-good", Root{Directory: own}, "https://own.example.com", "git.example.com", ""},
		"not beside that":   {both, "up", Root{}, "", "", ""},
		"half a directory": {
			map[string]string{DirectoryTarget: aDirectory[:40]}, "public-good", Root{}, "", "", policy.TrustRootInvalid,
		},
		"a table with a fault": {
			map[string]string{ForgesTarget: "{}"}, "public-good", Root{}, "", "", policy.TrustRootInvalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := besides(t, row.targets)
			c, err := ParseConfig([]byte(config))
			check(t, err)
			c.Dir = t.TempDir()
			check(t, os.WriteFile(filepath.Join(c.Dir, "1.root.json"), s.Files["1.root.json"], 0o600))
			o := Options{Source: s, Now: func() time.Time { return tuftest.Now }}
			demand := func(got Root, err error) {
				t.Helper()
				var e *sigstore.Error
				switch {
				case row.want != "":
					if !errors.As(err, &e) || e.Reason != row.want || got.Directory != nil || got.Forges != nil {
						t.Errorf("%+v %v", got, err)
					}
				case err != nil:
					t.Error(err)
				case (row.directory == "") != (got.Directory == nil) || got.Directory != nil && got.Directory.URL != row.directory:
					t.Errorf("directory %+v", got.Directory)
				case (row.host == "") != (got.Forges == nil):
					t.Errorf("forges %s", got.Forges.Bytes())
				}
			}
			demand(c.Complete(t.Context(), row.root, row.has, o))
			// Nothing is demanded of whom nobody can ask, and so nothing is verified.
			if row.root == "public-good" && row.has.Directory == nil {
				o := o
				o.Source, o.Offline = nil, true
				if got, err := c.Complete(t.Context(), row.root, row.has, o); err == nil {
					t.Errorf("without an answer: %+v", got)
				}
			}
			// The same as this project's own, without a word of the user.
			if row.root != "public-good" {
				return
			}
			defer func(old builtIn) { project = old }(project)
			project = readProject(fstest.MapFS{
				"pinned/project.root.json": {Data: s.Files["1.root.json"]},
				"pinned/project.url":       {Data: []byte("https://tuf.example\n")},
			})
			if !HasProject() || project.address != "https://tuf.example" {
				t.Errorf("%+v", project)
			}
			demand((*Config)(nil).Complete(t.Context(), row.root, row.has, o))
			if got, err := (*Config)(nil).Complete(t.Context(), "staging", Root{}, o); err != nil || got.Directory != nil {
				t.Errorf("beside another root: %+v %v", got, err)
			}
		})
	}
}

// TestProject: the root that is built in, if there is one, can be followed from somewhere.
func TestProject(t *testing.T) {
	if HasProject() && !strings.HasPrefix(project.address, "https://") && !strings.HasPrefix(project.address, "oci:") {
		t.Errorf("followed from %q", project.address)
	}
	if p := readProject(fstest.MapFS{"pinned/project.url": {Data: []byte("https://tuf.example")}}); p.root != nil ||
		p.address != "" {
		t.Errorf("an address without a root: %+v", p)
	}
	half := readProject(fstest.MapFS{"pinned/project.root.json": {Data: besides(t, nil).Files["1.root.json"]}})
	defer func(old builtIn) { project = old }(project)
	project = half
	if got, err := (*Config)(nil).Complete(t.Context(), "public-good", Root{}, Options{
		Now: func() time.Time { return tuftest.Now },
	}); err == nil {
		t.Errorf("a root without an address: %+v", got)
	}
}
