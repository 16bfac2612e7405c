// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// A guide's console blocks that need a forge and a log begin with
// "```console sandbox NAME": NAME types them at a computer of their own. A line
// "$ …" is a command, "> …" continues it, "exit N" below says how it ends, "run
// fails" that the workflow fails which it starts; what else stands there is not
// compared.
const guideBlock = "```console sandbox "

// guide is a page that is being followed.
type guide struct {
	t        *testing.T
	page     string
	people   map[string]*person
	runs     map[string]*actions // by repository
	commands int
	site     string // directory that https://tuf.acme.example serves; "" for none

	published map[string]bool // by repository
}

// person is somebody at a computer.
type person struct {
	home, cwd string
	env       []string
}

// personCommand is gh as people use it: releases, and of the whole API renaming.
const personCommand = `#!/bin/sh
if [ "$1" = release ]; then E2E_GH="$0" GH_TOKEN=sandbox-contents-write exec "$E2E_SELF" "$@"; fi
[ "$1 $2 $3" = "api -X PATCH" ] && [ "$5" = -f ] || { echo "gh: $*" >&2; exit 1; }
echo "${4#repos/} ${6#name=}" > "$E2E_RENAME"
`

func (g *guide) person(name string) *person {
	g.t.Helper()
	if p := g.people[name]; p != nil {
		return p
	}
	home := g.t.TempDir()
	p := &person{home: home, cwd: home}
	self, err := os.Executable()
	check(g.t, err)
	check(g.t, os.WriteFile(filepath.Join(home, "repopolicy"), []byte("#!/bin/sh\nexec "+self+" \"$@\"\n"), 0o700))
	author := "#!/bin/sh\n" + asAuthor + "=1 exec " + self + " \"$@\"\n"
	check(g.t, os.WriteFile(filepath.Join(home, authorProgram), []byte(author), 0o700))
	check(g.t, os.WriteFile(filepath.Join(home, "repopolicy-directory"), []byte("#!/bin/sh\n"+asDirectory+"=$"+asProgram+" exec "+self+" \"$@\"\n"), 0o700))
	check(g.t, os.WriteFile(filepath.Join(home, "gh"), []byte(personCommand), 0o700))
	p.env = []string{
		"PATH=" + home + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + home, asProgram + "=" + g.world(filepath.Join(home, "state")),
		"E2E_SELF=" + self, "E2E_RENAME=" + filepath.Join(home, "rename"), "GIT_CONFIG_GLOBAL=" + filepath.Join(home, "gitconfig"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
	}
	base := strings.TrimSuffix(stack.Forge().CloneURL("x/y"), "x/y.git")
	check(g.t, os.WriteFile(filepath.Join(home, "gitconfig"), fmt.Appendf(nil, "[user]\n\tname = %s\n\temail = %s@example.com\n[url %q]\n\tinsteadOf = https://github.com/\n[push]\n\tdefault = current\n", name, name, base), 0o600))
	g.people[name] = p
	return p
}

// world is that of the sandbox, with hosts of acme's own.
func (g *guide) world(state string) string {
	g.t.Helper()
	tuf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.site == "" {
			http.NotFound(w, r)
			return
		}
		http.FileServer(http.Dir(g.site)).ServeHTTP(w, r)
	}))
	g.t.Cleanup(tuf.Close)
	return writeWorldOf(g.t, stack, state, map[string]string{
		"tuf.acme.example": strings.TrimPrefix(tuf.URL, "http://"),
		"git.acme.example": strings.TrimPrefix(stack.URL(sandbox.Forge), "http://"),
	})
}

// types lets somebody type a command, and returns how it ended. A push to a
// repository's default branch, or of a tag, starts its workflows; fails says that a
// run is to fail.
func (g *guide) types(name, command string, fails bool) (int, string) {
	g.t.Helper()
	p := g.person(name)
	heads, tags := map[string]string{}, map[string]string{}
	for repo := range g.runs {
		heads[repo], tags[repo] = mainOf(g.t, repo), tagsOf(g.t, repo)
	}
	token, err := stack.Token(claims.Email{Address: name + "@example.com"})
	check(g.t, err)
	cmd := exec.CommandContext(g.t.Context(), "bash", "-c", command+"\ncode=$?; pwd > "+filepath.Join(p.home, "cwd")+"; exit $code")
	cmd.Dir, cmd.Env = p.cwd, append([]string{"SIGSTORE_ID_TOKEN=" + token}, p.env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(p.home, "cwd")); err == nil {
		p.cwd = strings.TrimSpace(string(data))
	}
	if data, err := os.ReadFile(filepath.Join(p.home, "rename")); err == nil {
		from, to, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
		owner, _, _ := strings.Cut(from, "/")
		check(g.t, errors.Join(stack.Forge().Move(from, owner+"/"+to), os.Remove(filepath.Join(p.home, "rename"))))
		g.runs[owner+"/"+to] = newActions(g.t, owner+"/"+to)
		heads[owner+"/"+to] = heads[from]
		delete(g.runs, from)
	}
	for repo, a := range g.runs {
		if head := mainOf(g.t, repo); head != heads[repo] {
			jobs := strings.Join(a.trigger("push", heads[repo]), ", ")
			if strings.Contains(jobs, "failure") {
				g.t.Errorf("%s: %s: the workflow: %s\n%s", g.page, command, jobs, a.out.String())
			}
		}
		for line := range strings.Lines(tagsOf(g.t, repo)) {
			_, ref, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if !ok || strings.Contains(tags[repo], line) {
				continue
			}
			before := a.out.Len()
			jobs := strings.Join(a.fire(forge.Event{Name: "push", Ref: ref}), ", ")
			if strings.Contains(jobs, "failure") != fails {
				g.t.Errorf("%s: %s: the workflows for %s: %s\n%s", g.page, command, ref, jobs, a.out.String()[before:])
			}
			fails = false
		}
	}
	if fails {
		g.t.Errorf("%s: %s: no run failed", g.page, command)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// tagsOf returns the tags of a repository, one "commit, tab, ref" a line.
func tagsOf(t testing.TB, repo string) string {
	t.Helper()
	return git(t, ".", "ls-remote", "--refs", "--tags", stack.Forge().CloneURL(repo)) + "\n"
}

// mainOf returns the commit of a repository's default branch.
func mainOf(t testing.TB, repo string) string {
	t.Helper()
	hash, _, _ := strings.Cut(git(t, ".", "ls-remote", stack.Forge().CloneURL(repo), "refs/heads/main"), "\t")
	return hash
}

// repository puts a repository with a release workflow on the forge.
func (g *guide) repository(name, visibility string) {
	g.t.Helper()
	_, err := stack.Forge().Create(name)
	check(g.t, err)
	_, err = stack.Forge().Commit(name, "main", map[string]string{".github/workflows/release.yml": "on:\n  push:\n    tags: ['v*']\npermissions: {}\njobs:\n  release:\n    runs-on: ubuntu-latest\n    environment: release\n    permissions:\n      id-token: write\n    steps:\n      - run: make\n" + attestStep})
	check(g.t, err)
	check(g.t, stack.Forge().SetVisibility(name, visibility))
	g.runs[name] = newActions(g.t, name)
}

// release publishes what the repository's release workflow made, and puts it
// where somebody downloads to.
func (g *guide) release(name, repo string) {
	g.t.Helper()
	r, err := stack.Forge().Find(repo)
	check(g.t, err)
	const file = "widget_1.2.3.tar.gz"
	path := filepath.Join(g.person(name).home, file)
	check(g.t, os.WriteFile(path, []byte(file), 0o600))
	bundle := signBlob(g.t, []byte(file), claims.GitHub{Repository: repo, RepositoryID: r.ID, OwnerID: r.OwnerID, Ref: "refs/tags/v1.2.3", Environment: "release"})
	check(g.t, os.WriteFile(path+".sigstore.json", bundle, 0o600))
	if !g.published[repo] {
		check(g.t, stack.Forge().Release(repo, "v1.2.3", map[string]string{file: file, file + ".sigstore.json": string(bundle)}))
		g.published[repo] = true
	}
}

// follow types everything that a page shows. In a page with another owner than
// acme, the repositories are that owner's.
func (g *guide) follow(page, owner string) {
	g.t.Helper()
	g.page = page
	text, err := os.ReadFile(filepath.Join("../..", page))
	check(g.t, err)
	text = bytes.ReplaceAll(text, []byte("acme/"), []byte(owner+"/"))
	blocks := strings.Split(string(text), guideBlock)
	for _, block := range blocks[1:] {
		body, _, ok := strings.Cut(block, "\n```")
		if !ok {
			g.t.Fatalf("%s: a block that does not end", page)
		}
		lines := strings.Split(body, "\n")
		name := lines[0]
		for i := 1; i < len(lines); {
			command, ok := strings.CutPrefix(lines[i], "$ ")
			if i++; !ok {
				continue
			}
			for i < len(lines) && strings.HasPrefix(lines[i], "> ") {
				command += "\n" + lines[i][2:]
				i++
			}
			want := 0
			fails := i < len(lines) && lines[i] == "run fails"
			if i < len(lines) && strings.HasPrefix(lines[i], "exit ") {
				want, err = strconv.Atoi(lines[i][5:])
				check(g.t, err)
			}
			if name == "user" && (strings.Contains(command, "widget_1.2.3.tar.gz") || strings.Contains(command, "/releases/")) {
				g.release(name, owner+"/widget")
			}
			g.commands++
			if code, out := g.types(name, command, fails); code != want {
				g.t.Fatalf("%s: %s: $ %s\nexit %d, want %d\n%s", page, name, command, code, want, out)
			}
		}
	}
}

// organisation follows the page for organisations: acme has a private Sigstore, and a forge.
func (g *guide) organisation() {
	g.t.Helper()
	const page = "docs/organisation.md"
	keeper := g.person("keeper").home
	check(g.t, os.WriteFile(filepath.Join(keeper, "trusted_root.json"), stack.TrustedRoot(), 0o600))
	check(g.t, os.WriteFile(filepath.Join(keeper, "signing_config.json"), stack.SigningConfig(1), 0o600))
	check(g.t, os.Symlink(keeper, filepath.Join(g.person("user").home, "keeper")))
	_, err := stack.Forge().Create("acme/tool")
	check(g.t, err)
	_, err = stack.Forge().Commit("acme/tool", "main", map[string]string{"README": "a tool\n"})
	check(g.t, err)
	g.site = filepath.Join(keeper, "acme-site")
	g.follow(page, "acme")
	text, err := os.ReadFile(filepath.Join("../..", page))
	check(g.t, err)
	// Each row of the table was typed.
	_, rows, _ := strings.Cut(string(text), "| you rely on |")
	rows, _, _ = strings.Cut(rows, "\n\n")
	n := 0
	for row := range strings.Lines(rows) {
		cells := strings.Split(row, "|")
		name := strings.Trim(cells[len(cells)-2], " `")
		if strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "--t") || name == "below" {
			continue
		}
		n++
		if !regexp.MustCompile(`(?m)^\$ repopolicy (verify|show) .*` + regexp.QuoteMeta(name) + `\b`).Match(text) {
			g.t.Errorf("%s: nobody types %s", page, name)
		}
	}
	if n < 10 {
		g.t.Errorf("%s: %d combinations", page, n)
	}
}

// TestGuides follows the guides, in the order in which they build on each other.
func TestGuides(t *testing.T) {
	if err := exec.Command("bash", "-c", "sed --version").Run(); err != nil {
		t.Skip("the pages are typed into bash with GNU sed: ", err)
	}
	g := &guide{t: t, people: map[string]*person{}, runs: map[string]*actions{}, published: map[string]bool{}}
	g.repository("acme/widget", "public")
	g.repository("acme/secret", "private")
	g.follow("docs/maintainer.md", "acme")
	if g.commands < 30 {
		t.Errorf("only %d commands in the maintainer's guide", g.commands)
	}
	_, err := stack.Forge().Create("acme/gear")
	check(t, err)
	_, err = stack.Forge().Commit("acme/gear", "main", map[string]string{"README": "gear\n"})
	check(t, err)
	g.runs["acme/gear"] = newActions(t, "acme/gear")
	before := g.commands
	g.follow("docs/release-engineer.md", "acme")
	if n := g.commands - before; n < 25 {
		t.Errorf("only %d commands in the release engineer's guide", n)
	}
	g.follow("docs/consumer.md", "acme")
	g.follow("docs/air-gap.md", "acme")
	g.organisation()
	g.follow("docs/ceremony.md", "acme")
	before = g.commands
	for _, name := range []string{"operator", "user"} { // whose files the page names
		check(t, os.Symlink(g.person(name).home, filepath.Join(g.person("auditor").home, name)))
	}
	g.follow("docs/directory.md", "acme")
	if n := g.commands - before; n < 10 {
		t.Errorf("only %d commands in the directory's guide", n)
	}
	g = &guide{t: t, people: map[string]*person{}, runs: map[string]*actions{}, published: map[string]bool{}}
	g.repository("readme/widget", "public")
	g.follow("README.md", "readme")
	if g.commands < 4 {
		t.Errorf("only %d commands in the README", g.commands)
	}
}
