// SPDX-License-Identifier: Apache-2.0

package find

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

const mapOfMallory = `format = "repopolicy-trust/v1"

[[root]]
name    = "mallory"
url     = "https://tuf.mallory.example"
initial = "root.json"

[[scope]]
repositories = ["https://github.com/**"]
roots        = ["mallory"]
`

// TestConfigDir: no variable of the environment and no file where a command is run
// says what is trusted.
func TestConfigDir(t *testing.T) {
	before, err := UserConfigDir()
	if err != nil || before == "" {
		t.Skip("the system knows no home of this user, who has no configuration then: ", err)
	}
	dir := t.TempDir()
	for _, path := range []string{"trust.toml", ".config/repopolicy/trust.toml", "repopolicy/trust.toml"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(mapOfMallory), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "USERPROFILE", "APPDATA", "REPOPOLICY_CONFIG", "TUF_ROOT",
		"SIGSTORE_ROOT_FILE",
	} {
		t.Setenv(name, dir)
	}
	t.Chdir(dir)
	after, err := UserConfigDir()
	if err != nil || after != before || strings.HasPrefix(after, dir) {
		t.Errorf("%s before, %s after: %v", before, after, err)
	}
}

// TestConfigOf: only who is certainly not listed, or has no home, has no configuration.
func TestConfigOf(t *testing.T) {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "repopolicy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "trust.toml"), []byte(mapOfMallory), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		user *user.User
		err  error
		want string // the root that judges
	}{
		"listed":                   {&user.User{HomeDir: home}, nil, "mallory"},
		"without a home":           {&user.User{}, nil, "public-good"},
		"not listed":               {nil, user.UnknownUserIdError(65534), "public-good"},
		"not listed, says another": {nil, fmt.Errorf("service: %w", user.UnknownUserIdError(65534)), "public-good"},
		"no list":                  {nil, &fs.PathError{Op: "open", Path: "/etc/passwd", Err: syscall.ENOENT}, "public-good"},
		"not to be opened":         {nil, &fs.PathError{Op: "open", Path: "/etc/passwd", Err: syscall.EACCES}, ""},
		"not to be read":           {nil, &fs.PathError{Op: "read", Path: "/etc/passwd", Err: syscall.EIO}, ""},
		"too many open files":      {nil, &fs.PathError{Op: "open", Path: "/etc/passwd", Err: syscall.EMFILE}, ""},
		"a service that is gone":   {nil, errors.New("user: lookup userid 1000: connection refused"), ""},
		"unknown by name":          {nil, user.UnknownUserError("mallory"), ""}, // nobody was looked up by name
	} {
		f := &Finder{Machine: Machine{ConfigDir: func() (string, error) { return configOf(row.user, row.err) }}}
		scopes, _, err := f.Scopes(&Trust{}, repo)
		if row.want != "" {
			if err != nil || len(scopes) != 1 || scopes[0].Roots[0] != row.want {
				t.Errorf("%s: %v, want %s: %v", name, scopes, row.want, err)
			}
			continue
		}
		if w := (*policy.Fault)(nil); !errors.As(err, &w) || w.Reason != policy.TrustRootMissing ||
			!strings.Contains(w.Text, row.err.Error()) {
			t.Errorf("%s: %v: %v", name, scopes, err)
		}
		if _, _, err := f.Scopes(&Trust{Files: []string{"a.json"}}, repo); err != nil {
			t.Errorf("%s, and roots that are named: %v", name, err)
		}
		if _, by, err := f.anchor(t.Context(), &Query{Repository: repo}); err == nil {
			t.Errorf("%s: no anchor by %q", name, by)
		}
	}
}

func TestTrustConfig(t *testing.T) {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "trust.toml")
	f := &Finder{Machine: Machine{ConfigDir: func() (string, error) { return dir, nil }}}
	scopes := func(o *Trust) (string, policy.Reason) {
		s, _, err := f.Scopes(o, repo)
		if w := (*policy.Fault)(nil); errors.As(err, &w) {
			return "", w.Reason
		}
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range s {
			names = append(names, strings.Join(x.Roots, "+"))
		}
		return strings.Join(names, ","), ""
	}
	named := func(name string) *Trust { return &Trust{Name: name} }
	files := &Trust{Files: []string{"a.json"}}
	for _, row := range []struct {
		what, text string
		o          *Trust
		want       string
		reason     policy.Reason
	}{
		{"no file", "", &Trust{}, string(trust.PublicGood), ""},
		{"no file, a root by name", "", named("mallory"), "", policy.Usage},
		{"no file, the public one by name", "", named("public-good"), "public-good", ""},
		{"no file, a file that is named", "", &Trust{Config: filepath.Join(dir, "x")}, "", policy.Usage},
		{"a scope", mapOfMallory, &Trust{}, "mallory", ""},
		{"a scope, by name", mapOfMallory, named("mallory"), "mallory", ""},
		{"a scope, another by name", mapOfMallory, named("public-good"), "", policy.Usage},
		{"a scope, files", mapOfMallory, files, "", ""},
		{"files and a name", mapOfMallory, &Trust{Files: []string{"a.json"}, Name: "mallory"}, "", policy.Usage},
		{"no scope, by name", strings.Split(mapOfMallory, "[[scope]]")[0], named("mallory"), "", policy.Usage},
		{"no scope", strings.Split(mapOfMallory, "[[scope]]")[0], &Trust{}, "public-good", ""},
		{"malformed", mapOfMallory + "x", &Trust{}, "", policy.TrustRootInvalid},
	} {
		os.Remove(file)
		if row.text != "" {
			if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, reason := scopes(row.o)
		if got != row.want || reason != row.reason {
			t.Errorf("%s: %q (%s), want %q (%s)", row.what, got, reason, row.want, row.reason)
		}
	}
}
