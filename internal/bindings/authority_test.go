// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

type certificate struct {
	Kind       policy.Kind       `json:"kind"`
	Value      string            `json:"value"`
	Issuer     string            `json:"issuer"`
	Extensions map[string]string `json:"extensions"`
}

func (c certificate) identity(t testing.TB) policy.Identity {
	id := policy.Identity{Kind: c.Kind, Value: c.Value, Issuer: c.Issuer}
	fields := map[string]*string{
		".2": &id.WorkflowTrigger, ".3": &id.WorkflowSHA, ".4": &id.WorkflowName, ".5": &id.WorkflowRepository,
		".6": &id.WorkflowRef,
		".9": &id.BuildSignerURI, ".10": &id.BuildSignerDigest, ".11": &id.RunnerEnvironment, ".12": &id.SourceRepositoryURI,
		".13": &id.SourceRepositoryDigest, ".14": &id.SourceRepositoryRef, ".15": &id.SourceRepositoryID,
		".16": &id.SourceRepositoryOwner,
		".17": &id.SourceRepositoryOwnerID, ".18": &id.BuildConfigURI, ".19": &id.BuildConfigDigest, ".20": &id.BuildTrigger,
		".21": &id.RunInvocationURI, ".22": &id.Visibility, ".23": &id.DeploymentEnvironment, ".24": &id.TokenSubject,
	}
	for ext, v := range c.Extensions {
		if fields[ext] == nil {
			t.Fatalf("unknown extension %s", ext)
		}
		*fields[ext] = v
	}
	return id
}

type authorityWant struct {
	Keys      []string `json:"keys"`
	Ref       string   `json:"ref"`
	Extension string   `json:"extension"`
}

func TestAuthorityVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "authority") {
		t.Run(v.Name, func(t *testing.T) {
			var forges *bindings.Forges
			if text, ok := v.Sections(t)["forges.json"]; ok {
				var err error
				forges, err = bindings.ParseForges([]byte(text))
				if (err != nil) != (v.Header["expect"] == "INVALID") || (err != nil) != (forges == nil) {
					t.Fatalf("the table: %v", err)
				}
				if err != nil {
					return
				}
				if forges.Digest() != spelling.Sum([]byte(text)) {
					t.Error("another digest")
				}
			}
			var c certificate
			var want authorityWant
			vectors.Strict(t, v.Sections(t)["certificate.json"], &c)
			vectors.Strict(t, v.Sections(t)["want.json"], &want)
			b, err := forges.Authority(c.identity(t))
			if (err == nil) != (v.Header["expect"] == "OK") || (err == nil) == b.IsZero() {
				t.Fatalf("got %v, want %s", err, v.Header["expect"])
			}
			if d := cmp.Diff(want.Keys, bindings.Keys(b)); d != "" || b.Ref != want.Ref {
				t.Errorf("keys (-want +got):\n%sref %q", d, b.Ref)
			}
			var u *bindings.Unauthorized
			if errors.As(err, &u) && (u.Extension != want.Extension || u.Error() == "") {
				t.Errorf("refused for %s, want %s", u, want.Extension)
			}
		})
	}
}

// TestAuthorityNeedsEverything: from a certificate that binds, no extension that
// is looked at can be taken away or changed.
func TestAuthorityNeedsEverything(t *testing.T) {
	needed := []string{".9", ".11", ".12", ".14", ".15", ".17", ".18", ".20"}
	for _, v := range vectors.Read(t, "authority") {
		if v.Header["expect"] != "OK" || v.Sections(t)["forges.json"] != "" {
			continue
		}
		var c certificate
		vectors.Strict(t, v.Sections(t)["certificate.json"], &c)
		var none *bindings.Forges
		good, err := none.Authority(c.identity(t))
		if err != nil {
			t.Fatal(err)
		}
		for ext, val := range c.Extensions {
			for what, other := range map[string]string{"removed": "", "longer": val + "x", "shorter": val[:len(val)-1]} {
				id := certificate{c.Kind, c.Value, c.Issuer, map[string]string{}}
				for k, x := range c.Extensions {
					id.Extensions[k] = x
				}
				id.Extensions[ext] = other
				b, err := none.Authority(id.identity(t))
				must := slices.Contains(needed, ext) || ext == ".23" && strings.HasPrefix(v.Name, "gitlab")
				number := (ext == ".15" || ext == ".17") && what == "shorter" // another number
				if err == nil && must && !number {
					t.Errorf("%s: binds with %s %s", v.Name, ext, what)
				}
				if err == nil && !must && b != good {
					t.Errorf("%s: %s %s binds something else", v.Name, ext, what)
				}
			}
		}
	}
}

func TestMaintainersBind(t *testing.T) {
	table, err := bindings.ParseForges(
		[]byte(
			`{"schema":"` + bindings.ForgesSchema +
				`","forges":[{"host":"git.example.com","kind":"github","issuers":["https://git.example.com/x"]}]}`,
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	for repo, want := range map[string][2]bool{
		"https://github.com/a/b":      {false, false},
		"https://gitlab.com/a/b":      {false, false},
		"https://git.example.com/a/b": {true, false},
		"https://codeberg.org/a/b":    {true, true},
	} {
		l, err := policy.ParseLocator(repo)
		if err != nil {
			t.Fatal(err)
		}
		var none *bindings.Forges
		if got := [2]bool{none.MaintainersBind(l), table.MaintainersBind(l)}; got != want {
			t.Errorf("%s: %v", repo, got)
		}
	}
	if (*bindings.Forges)(nil).Digest() != "" || bindings.Keys(chain.Binding{}) != nil {
		t.Error("nothing has a digest or keys")
	}
	if _, err := bindings.ParseForges(make([]byte, bindings.MaxForgesBytes+1)); err == nil {
		t.Error("a table beyond the cap was read")
	}
	if _, err := bindings.ParseForges([]byte(strings.Repeat("[", 1<<19))); err == nil {
		t.Error("a deep table was read")
	}
}

// FuzzForges: an accepted table never takes anything from the built-in one, and
// a certificate binds at most the repository that it names.
func FuzzForges(f *testing.F) {
	var cert string
	for _, v := range vectors.Read(f, "authority") {
		if v.Name == "github" {
			cert = v.Sections(f)["certificate.json"]
		}
		f.Add(
			[]byte(v.Sections(f)["forges.json"]), "https://github.com/acme/widget",
			"https://token.actions.githubusercontent.com",
		)
	}
	var c certificate
	vectors.Strict(f, cert, &c)
	f.Fuzz(func(t *testing.T, table []byte, repo, issuer string) {
		forges, err := bindings.ParseForges(table)
		if err != nil {
			forges = nil
		}
		id := c.identity(t)
		if _, err := forges.Authority(id); err != nil {
			t.Fatal("a table broke github.com")
		}
		old := id.SourceRepositoryURI
		id.SourceRepositoryURI, id.Issuer = repo, issuer
		for _, f := range []*string{&id.Value, &id.BuildSignerURI, &id.BuildConfigURI} {
			*f = repo + strings.TrimPrefix(*f, old)
		}
		b, err := forges.Authority(id)
		if err != nil {
			return
		}
		if !strings.EqualFold(b.Repository.String(), repo) || b.RepositoryID != id.SourceRepositoryID {
			t.Fatalf("%q binds %s", repo, b.Repository)
		}
		if b.Repository.Host() == "github.com" && !strings.HasPrefix(issuer, "https://") {
			t.Fatalf("%q spoke for github.com", issuer)
		}
		for _, k := range bindings.Keys(b) {
			if strings.Count(k, "#") > 1 {
				t.Fatalf("key %q", k)
			}
		}
	})
}

func FuzzAuthority(f *testing.F) {
	for _, v := range vectors.Read(f, "authority") {
		if c, ok := v.Sections(f)["certificate.json"]; ok {
			f.Add([]byte(c))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c certificate
		if json.Unmarshal(data, &c) != nil {
			return
		}
		for ext := range c.Extensions {
			if !slices.Contains([]string{".9", ".11", ".12", ".14", ".15", ".17", ".18", ".20", ".23"}, ext) {
				delete(c.Extensions, ext)
			}
		}
		id := c.identity(t)
		b, err := (*bindings.Forges)(nil).Authority(id)
		if err != nil {
			return
		}
		path := "/.github/workflows/repopolicy.yml@"
		if b.Repository.Host() == "gitlab.com" {
			path = "//.gitlab-ci.yml@"
		}
		if id.Value != id.SourceRepositoryURI+path+id.SourceRepositoryRef ||
			!strings.EqualFold(id.SourceRepositoryURI, b.Repository.String()) {
			t.Fatalf("%q binds %s", id.Value, b.Repository)
		}
	})
}
