// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/config"
)

// Limits of what is read of a repository.
const (
	MaxObjectBytes = 16 << 20 // one object, and each object and delta it is made of
	maxPackedRefs  = 256 << 20
	maxLooseRef    = 4 << 10
	maxConfig      = 1 << 20
	maxDeltas      = 1000 // in one chain
	maxPacks       = 10_000
)

// Errors of a repository. Others wrap [ErrMalformed] or an error of the system.
var (
	ErrNotFound    = errors.New("not in the repository")
	ErrUnsupported = errors.New("this form of repository is not supported")
)

// Repository is a repository on disk. It is read only. A Repository is for one
// goroutine at a time.
type Repository struct {
	dir    *os.Root // of refs and objects
	own    string   // directory with the work tree's own HEAD
	packs  []*pack
	listed bool
}

// Open opens the repository of a work tree, a linked work tree, or a bare one.
// Repositories that keep their refs or objects in another format than files
// named by SHA-1 wrap [ErrUnsupported].
func Open(dir string) (*Repository, error) {
	own, common, err := commonDir(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(common)
	if err != nil {
		return nil, err
	}
	r := &Repository{dir: root, own: own}
	if err := r.checkFormat(); err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return r, nil
}

// Close releases the files that are open.
func (r *Repository) Close() error {
	for _, p := range r.packs {
		p.close()
	}
	return r.dir.Close()
}

// commonDir returns the directory of the work tree's own state, and that with
// refs and objects.
func commonDir(dir string) (own, common string, err error) {
	git := filepath.Join(dir, ".git")
	info, err := os.Lstat(git)
	switch {
	case errors.Is(err, os.ErrNotExist):
		git = dir // bare
	case err != nil:
		return "", "", err
	case info.Mode().IsRegular(): // a linked work tree or a submodule
		if git, err = pointer(git, "gitdir: ", dir); err != nil {
			return "", "", err
		}
		common, err := pointer(filepath.Join(git, "commondir"), "", git)
		if err == nil {
			own, git = git, common
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", "", err
		}
	}
	if own == "" {
		own = git
	}
	for _, name := range []string{"objects", "refs", "HEAD"} {
		if _, err := os.Lstat(filepath.Join(git, name)); err != nil {
			return "", "", fmt.Errorf("%s is not a Git repository: %w", dir, err)
		}
	}
	return own, git, nil
}

// worktree returns a small file of the work tree's own state.
func (r *Repository) worktree(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(r.own, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxLooseRef))
}

// pointer reads a file that holds the path of a directory.
func pointer(path, prefix, base string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLooseRef))
	if err != nil {
		return "", err
	}
	target, ok := strings.CutPrefix(strings.TrimSuffix(string(data), "\n"), prefix)
	if !ok || target == "" {
		return "", malformed("%s does not name a directory", path)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(base, target)
	}
	return target, nil
}

// config returns the repository's own configuration.
func (r *Repository) config() (*config.Config, error) {
	cfg := config.New()
	data, err := r.read("config", maxConfig)
	if errors.Is(err, os.ErrNotExist) {
		return cfg, nil
	} else if err != nil {
		return nil, err
	}
	if err := config.NewDecoder(bytes.NewReader(data)).Decode(cfg); err != nil {
		return nil, malformed("config: %s", err)
	}
	return cfg, nil
}

// Origin returns the URL of the remote origin as the repository's configuration
// has it, "" if there is none. It is a suggestion for a person, never trusted.
func (r *Repository) Origin() (string, error) {
	cfg, err := r.config()
	if err != nil {
		return "", err
	}
	return cfg.Section("remote").Subsection("origin").Option("url"), nil
}

// checkFormat looks at the two settings that say how to read everything else.
func (r *Repository) checkFormat() error {
	cfg, err := r.config()
	if err != nil {
		return err
	}
	ext := cfg.Section("extensions")
	if f := ext.Option("objectformat"); f != "" && !strings.EqualFold(f, "sha1") {
		return fmt.Errorf("%w: its objects are named by %s", ErrUnsupported, clip(f))
	}
	if f := ext.Option("refstorage"); f != "" && !strings.EqualFold(f, "files") {
		return fmt.Errorf("%w: its refs are kept as %s", ErrUnsupported, clip(f))
	}
	return nil
}

// read returns a regular file of the repository's directory. Links that lead
// out of it are errors.
func (r *Repository) read(name string, limit int64) ([]byte, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = malformed("%s has more than %d bytes", name, limit)
	}
	return data, err
}

func (r *Repository) open(name string) (*os.File, error) {
	info, err := r.dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, malformed("%s is not a regular file", name)
	}
	return r.dir.Open(name)
}
