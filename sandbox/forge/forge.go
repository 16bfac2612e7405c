// SPDX-License-Identifier: Apache-2.0

// Package forge is a small forge beside the sandbox: bare Git repositories over
// smart HTTP, with the numeric ids, renames, transfers and re-creations that
// identities hang on, releases with their files, attestations, and a runner of workflows
// that gives a job the token which GitHub would give it. It plays registries of images
// behind logins and registries of packages, and answers in the manners of all of them.
package forge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// Tokens lets a job ask for ID tokens; the sandbox's issuer does.
type Tokens interface {
	ActionsJob(claims.GitHub) (requestURL, requestToken string, end func(), err error)
}

// Repository is what the forge knows of a repository.
type Repository struct {
	ID            int64  `json:"id"`
	Path          string `json:"full_name"` // owner/name
	OwnerID       int64  `json:"owner_id"`
	DefaultBranch string `json:"default_branch"`
	Visibility    string `json:"visibility"`
}

// Forge is a running forge.
type Forge struct {
	dir    string
	url    string
	tokens Tokens

	mu     sync.Mutex
	state  state
	hidden map[string]int // refs, by how many times they are hidden

	manner     Manner
	answered   int // requests to the API that counted against its limit
	registries map[string]*Registry
	packages   packages
}

type state struct {
	NextID  int64                  `json:"nextID"`
	NextRun int64                  `json:"nextRun"`
	Owners  map[string]int64       `json:"owners"`
	Repos   map[string]*Repository `json:"repos"` // by path
	Moved   map[string]int64       `json:"moved"` // former paths

	Releases     map[int64]map[string]*Release          `json:"releases"`     // by repository and tag
	Attestations map[int64]map[string][]json.RawMessage `json:"attestations"` // by repository and digest
}

// The numbers of the first repository and owner; real ones are of this size.
const firstID = 700_000_001

// Open opens the forge that a directory holds. It is reached at url.
func Open(dir, url string, tokens Tokens) (*Forge, error) {
	if err := os.MkdirAll(filepath.Join(dir, "repos"), 0o700); err != nil {
		return nil, err
	}
	f := &Forge{dir: dir, url: url, tokens: tokens, hidden: map[string]int{}, registries: registries(), state: state{
		NextID: firstID, NextRun: 1, Owners: map[string]int64{}, Repos: map[string]*Repository{}, Moved: map[string]int64{},
		Releases: map[int64]map[string]*Release{}, Attestations: map[int64]map[string][]json.RawMessage{},
	}}
	data, err := os.ReadFile(f.file())
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &f.state)
	}
	return f, err
}

// Close ends the forge.
func (f *Forge) Close() error { return nil }

func (f *Forge) file() string { return filepath.Join(f.dir, "state.json") }

// save writes the state in one step. The caller holds mu.
func (f *Forge) save() error {
	data, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return err
	}
	tmp := f.file() + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, f.file())
}

// split checks a path of the form owner/name.
func split(path string) (owner, name string, err error) {
	owner, name, ok := strings.Cut(path, "/")
	for _, s := range []string{owner, name} {
		if s == "" || s[0] == '.' || s[0] == '-' || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			ok = false
		}
	}
	if !ok || strings.HasSuffix(name, ".git") {
		return "", "", fmt.Errorf("forge: %q is not owner/name", path)
	}
	return owner, name, nil
}

// owner returns the number of an owner, who is made at first use. The caller
// holds mu.
func (f *Forge) owner(name string) int64 {
	if id, ok := f.state.Owners[name]; ok {
		return id
	}
	id := f.state.NextID
	f.state.NextID++
	f.state.Owners[name] = id
	return id
}

// Create makes an empty public repository with a new number and the default
// branch main. A path that was left by a rename can be used again, and no longer
// leads to the renamed repository.
func (f *Forge) Create(path string) (Repository, error) {
	owner, _, err := split(path)
	if err != nil {
		return Repository{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.state.Repos[path]; ok {
		return Repository{}, fmt.Errorf("forge: %s exists", path)
	}
	r := &Repository{ID: f.state.NextID, Path: path, DefaultBranch: "main", Visibility: "public"}
	f.state.NextID++
	r.OwnerID = f.owner(owner)
	if _, err := git(f.bare(r.ID), nil, "init", "--quiet", "--bare", "--initial-branch", r.DefaultBranch, "."); err != nil {
		return Repository{}, err
	}
	f.state.Repos[path] = r
	delete(f.state.Moved, path)
	return *r, f.save()
}

// Find returns the repository at a path; a former path finds it too, as long as
// no other repository took it.
func (f *Forge) Find(path string) (Repository, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, err := f.find(path)
	if err != nil {
		return Repository{}, err
	}
	return *r, nil
}

func (f *Forge) find(path string) (*Repository, error) {
	if r, ok := f.state.Repos[path]; ok {
		return r, nil
	}
	if id, ok := f.state.Moved[path]; ok {
		for _, r := range f.state.Repos {
			if r.ID == id {
				return r, nil
			}
		}
	}
	return nil, fmt.Errorf("forge: no repository %s: %w", path, fs.ErrNotExist)
}

// Move renames a repository or, where the owner differs, transfers it. Its
// number stays; that of its owner is the new owner's.
func (f *Forge) Move(from, to string) error {
	owner, _, err := split(to)
	if err != nil {
		return err
	}
	return f.change(from, func(r *Repository) error {
		if _, taken := f.state.Repos[to]; taken {
			return fmt.Errorf("forge: %s exists", to)
		}
		delete(f.state.Repos, r.Path)
		delete(f.state.Moved, to)
		f.state.Moved[r.Path] = r.ID
		r.Path, r.OwnerID = to, f.owner(owner)
		f.state.Repos[to] = r
		return nil
	})
}

// Delete removes a repository. One that is created at its path again has another
// number.
func (f *Forge) Delete(path string) error {
	return f.change(path, func(r *Repository) error {
		delete(f.state.Repos, r.Path)
		for former, id := range f.state.Moved {
			if id == r.ID {
				delete(f.state.Moved, former)
			}
		}
		delete(f.state.Releases, r.ID)
		delete(f.state.Attestations, r.ID)
		return os.RemoveAll(f.bare(r.ID))
	})
}

// SetDefaultBranch names the branch that HEAD stands for.
func (f *Forge) SetDefaultBranch(path, branch string) error {
	return f.change(path, func(r *Repository) error {
		r.DefaultBranch = branch
		_, err := git(f.bare(r.ID), nil, "symbolic-ref", "HEAD", "refs/heads/"+branch)
		return err
	})
}

// SetVisibility makes a repository public, private or internal.
func (f *Forge) SetVisibility(path, visibility string) error {
	return f.change(path, func(r *Repository) error {
		r.Visibility = visibility
		return nil
	})
}

func (f *Forge) change(path string, do func(*Repository) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, err := f.find(path)
	if err == nil {
		err = do(r)
	}
	if err != nil {
		return err
	}
	return f.save()
}

// CloneURL is where Git clones a repository from and pushes to.
func (f *Forge) CloneURL(path string) string { return f.url + "/" + path + ".git" }

// Hide hides a ref of every repository from clones and reads until undo is
// called.
func (f *Forge) Hide(ref string) (undo func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden[ref]++
	return sync.OnceValue(func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.hidden[ref]--; f.hidden[ref] == 0 {
			delete(f.hidden, ref)
		}
		return nil
	})
}

func (f *Forge) bare(id int64) string {
	return filepath.Join(f.dir, "repos", fmt.Sprintf("%d.git", id))
}
