// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// environ keeps the user's configuration of Git out.
func environ(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=sandbox", "GIT_AUTHOR_EMAIL=sandbox@localhost", "GIT_COMMITTER_NAME=sandbox", "GIT_COMMITTER_EMAIL=sandbox@localhost",
	}, more...)
}

// git runs Git in a directory, which it makes, and returns its output without
// the last line feed.
func git(dir string, stdin io.Reader, args ...string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, stdin, environ()
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(talk.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// Commit adds a commit with these files, by path, to a branch, which it makes at
// first use, and returns its hash. An empty content removes the file.
func (f *Forge) Commit(path, branch string, files map[string]string) (string, error) {
	r, err := f.Find(path)
	if err != nil {
		return "", err
	}
	dir, ref := f.bare(r.ID), "refs/heads/"+branch
	var b bytes.Buffer
	message := "change " + strings.Join(slices.Sorted(maps.Keys(files)), ", ")
	fmt.Fprintf(&b, "commit %s\ncommitter sandbox <sandbox@localhost> %d +0000\ndata %d\n%s\n", ref, time.Now().Unix(), len(message), message)
	if _, err := git(dir, nil, "rev-parse", "--verify", "--quiet", ref); err == nil {
		fmt.Fprintf(&b, "from %s^0\n", ref)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.ContainsAny(name, "\"\n\\") || !filepath.IsLocal(name) {
			return "", fmt.Errorf("forge: a file cannot be called %q", name)
		}
		if content := files[name]; content == "" {
			fmt.Fprintf(&b, "D %s\n", name)
		} else {
			fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
		}
	}
	if _, err := git(dir, &b, "fast-import", "--quiet"); err != nil {
		return "", err
	}
	return git(dir, nil, "rev-parse", ref)
}

// SetRef points a ref, such as refs/tags/v1, to a commit.
func (f *Forge) SetRef(path, ref, commit string) error {
	r, err := f.Find(path)
	if err != nil {
		return err
	}
	_, err = git(f.bare(r.ID), nil, "update-ref", ref, commit)
	return err
}

// resolve returns the commit of a full ref or a hash.
func (f *Forge) resolve(id int64, ref string) (string, error) {
	return git(f.bare(id), nil, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
}

// show returns a file of a commit.
func (f *Forge) show(id int64, commit, path string) ([]byte, error) {
	cmd := exec.Command("git", "cat-file", "blob", commit+":"+path)
	cmd.Dir, cmd.Env = f.bare(id), environ()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("forge: no file %s in %s: %w", path, commit, fs.ErrNotExist)
	}
	return out, nil
}

// workflows lists the workflow files of a commit.
func (f *Forge) workflows(id int64, commit string) ([]string, error) {
	out, err := git(f.bare(id), nil, "ls-tree", "--name-only", commit, ".github/workflows/")
	if err != nil {
		return nil, err
	}
	var files []string
	for name := range strings.SplitSeq(out, "\n") {
		if strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml") {
			files = append(files, name)
		}
	}
	return files, nil
}

// changed lists the files in which two commits differ.
func (f *Forge) changed(id int64, before, after string) ([]string, error) {
	out, err := git(f.bare(id), nil, "diff", "--name-only", before, after)
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}

// ServeHTTP serves Git's smart protocol at /owner/name.git and the files of
// releases at /owner/name/releases/download, and, as github.com has them on other
// hosts, the API's /repos/owner/name and /repositories/id, files of a commit at
// raw.githubusercontent.com, attestations and the content of releases. Forgejo and GitHub
// Enterprise have the API below /api/v1 and /api/v3 of their one host. What is private is shown by
// the API to who has a token; Git serves it to everybody here, and so are raw files.
func (f *Forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if f.serveRegistries(w, r) || f.servePackages(w, r) {
		return
	}
	switch r.Host {
	case "raw.githubusercontent.com":
		f.serveRaw(w, r, path)
		return
	case assetHost:
		f.serveAssetHost(w, r, path)
		return
	case storeHost, OtherStore:
		f.serveStore(w, r, path)
		return
	}
	for _, base := range []string{"", "api/v1/", "api/v3/"} {
		if rest, ok := strings.CutPrefix(path, base+"repos/"); ok {
			f.serveRepos(w, r, base, rest)
			return
		}
		if rest, ok := strings.CutPrefix(path, base+"repositories/"); ok {
			f.serveNumber(w, r, rest)
			return
		}
	}
	if path == "" {
		fmt.Fprintln(w, "the sandbox's forge")
		return
	}
	parts := strings.SplitN(path, "/", 3)
	if len(parts) < 3 {
		http.NotFound(w, r)
		return
	}
	asked := parts[0] + "/" + strings.TrimSuffix(parts[1], ".git")
	f.mu.Lock()
	repo, err := f.find(asked)
	env := f.hiding()
	var id int64
	var now string
	public := false
	if err == nil {
		id, now, public = repo.ID, repo.Path, repo.Visibility == "public"
	}
	f.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.NotFound(w, r)
		return
	case now != asked && strings.HasPrefix(parts[2], "releases/"):
		http.Redirect(w, r, "/"+now+"/"+parts[2], http.StatusMovedPermanently)
		return
	case now != asked: // renamed
		http.Redirect(w, r, "/"+now+".git/"+parts[2]+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		return
	}
	if rest, ok := strings.CutPrefix(parts[2], "releases/download/"); ok {
		if !public { // github.com knows its users by cookies
			http.NotFound(w, r)
			return
		}
		f.serveDownload(w, r, id, rest)
		return
	}
	binary, err := exec.LookPath("git")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	clone := r.Clone(r.Context())
	clone.URL.Path = fmt.Sprintf("/%d.git/%s", id, parts[2])
	backend := &cgi.Handler{
		Path: binary, Args: []string{"http-backend"}, Dir: f.dir, Stderr: io.Discard,
		Env: append(environ("GIT_PROJECT_ROOT="+filepath.Join(f.dir, "repos"), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=sandbox"), env...),
	}
	if v := r.Header.Get("Git-Protocol"); v != "" {
		backend.Env = append(backend.Env, "GIT_PROTOCOL="+v)
	}
	backend.ServeHTTP(w, clone)
}

// hiding is Git's configuration that hides refs. The caller holds mu.
func (f *Forge) hiding() []string {
	env := []string{fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(f.hidden))}
	for i, ref := range slices.Sorted(maps.Keys(f.hidden)) {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=uploadpack.hideRefs", i), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, ref))
	}
	return env
}

// serveRepos serves owner/name and what is below it of an API. Of a repository that has another
// name now GitHub sends its clients on to its number, and Forgejo to its name.
func (f *Forge) serveRepos(w http.ResponseWriter, r *http.Request, base, rest string) {
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 {
		notFound(w)
		return
	}
	asked, below := parts[0]+"/"+parts[1], ""
	if len(parts) == 3 {
		below = "/" + parts[2]
	}
	repo, err := f.Find(asked)
	switch {
	case mistakes(w, r), f.refuses(w, r):
	case err != nil || !f.shows(r, repo):
		notFound(w)
	case repo.Path != asked:
		at := fmt.Sprintf("https://%s/%srepositories/%d%s", r.Host, base, repo.ID, below)
		if base == "api/v1/" {
			at = fmt.Sprintf("https://%s/%srepos/%s%s", r.Host, base, repo.Path, below)
		}
		if r.URL.RawQuery != "" {
			at += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", at)
		writeJSON(w, http.StatusMovedPermanently, map[string]any{"message": "Moved Permanently", "url": at})
	case below == "":
		f.serveRepository(w, &repo)
	default:
		f.serveAPI(w, r, repo, parts[2])
	}
}

// serveNumber serves a repository by its number, and what is below it.
func (f *Forge) serveNumber(w http.ResponseWriter, r *http.Request, rest string) {
	number, below, _ := strings.Cut(rest, "/")
	f.mu.Lock()
	var found *Repository
	for _, repo := range f.state.Repos {
		if fmt.Sprint(repo.ID) == number {
			c := *repo
			found = &c
		}
	}
	f.mu.Unlock()
	switch {
	case mistakes(w, r), f.refuses(w, r):
	case found == nil || !f.shows(r, *found):
		notFound(w)
	case below == "":
		f.serveRepository(w, found)
	default:
		f.serveAPI(w, r, *found, below)
	}
}

// shows reports whether a request may see what the API has of a repository.
func (f *Forge) shows(r *http.Request, repo Repository) bool {
	return repo.Visibility == "public" || knows(r)
}

func (f *Forge) serveRepository(w http.ResponseWriter, found *Repository) {
	owner, name, _ := strings.Cut(found.Path, "/")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client went away
		"id": found.ID, "name": name, "full_name": found.Path, "default_branch": found.DefaultBranch, "visibility": found.Visibility,
		"private": found.Visibility != "public", "owner": map[string]any{"id": found.OwnerID, "login": owner},
		"html_url": "https://github.com/" + found.Path, "clone_url": f.CloneURL(found.Path),
	})
}

// serveRaw serves owner/name/<ref>/<file>; a ref is HEAD, a full one or a hash.
func (f *Forge) serveRaw(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.SplitN(path, "/", 3)
	if len(parts) < 3 {
		http.NotFound(w, r)
		return
	}
	repo, err := f.Find(parts[0] + "/" + parts[1])
	if err != nil {
		http.NotFound(w, r)
		return
	}
	ref, file, _ := strings.Cut(parts[2], "/")
	if strings.HasPrefix(parts[2], "refs/") {
		p := strings.SplitN(parts[2], "/", 4)
		if len(p) < 4 {
			http.NotFound(w, r)
			return
		}
		ref, file = strings.Join(p[:3], "/"), p[3]
	}
	f.mu.Lock()
	hidden := f.hidden[ref] > 0
	f.mu.Unlock()
	commit, err := f.resolve(repo.ID, ref)
	if err != nil || hidden {
		http.NotFound(w, r)
		return
	}
	data, err := f.show(repo.ID, commit, file)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(data) // the client went away
}
