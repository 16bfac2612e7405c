// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
)

// Limits of what is read of a repository.
const (
	maxConfig = 1 << 20
	maxPacks  = 10_000
)

// Errors of a repository. Others wrap [ErrMalformed] or an error of the system.
var (
	ErrNotFound    = errors.New("not in the repository")
	ErrUnsupported = errors.New("this form of repository is not supported")
)

// Repository is a repository on disk. It is read only. A Repository is for one
// goroutine at a time.
type Repository struct {
	dir      *os.Root // of refs and objects
	own      string   // directory with the work tree's own HEAD
	packs    []*pack
	listed   bool
	meter    *meter
	inflater inflater
	cache    *cache
}

// Open opens the repository of a work tree, a linked work tree, or a bare one.
// What is read of it ends with the context, and counts against its budget.
// Repositories that keep their refs or objects in another format than files
// named by SHA-1 wrap [ErrUnsupported].
func Open(ctx context.Context, dir string) (*Repository, error) {
	own, common, err := commonDir(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(common)
	if err != nil {
		return nil, err
	}
	m := newMeter(ctx, maxWork)
	r := &Repository{dir: root, own: own, meter: m, inflater: inflater{m: m}, cache: newCache(m)}
	if err := r.checkFormat(); err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return r, nil
}

// Close releases the files that are open.
func (r *Repository) Close() error {
	r.cache.clear()
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
	return small(filepath.Join(r.own, name))
}

// small returns a file of some lines.
func small(path string) ([]byte, error) {
	data, err := file.Read(path, maxLooseRef)
	if errors.Is(err, file.ErrNotRegular) || errors.Is(err, file.ErrTooLarge) {
		err = malformed("%s", err)
	}
	return data, err
}

// pointer reads a file that holds the path of a directory.
func pointer(path, prefix, base string) (string, error) {
	data, err := small(path)
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

// config returns the last value of a setting, whose section and key are in lower case; "" if
// there is none.
func (r *Repository) config(section, subsection, key string) (string, error) {
	var found string
	err := r.eachSetting(func(s, sub, k, value string) {
		if s == section && sub == subsection && k == key {
			found = value
		}
	})
	return found, err
}

// eachSetting calls do with section and key, in lower case, subsection and value of every setting.
func (r *Repository) eachSetting(do func(section, subsection, key, value string)) error {
	data, err := r.read("config", maxConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return readConfig(data, func(section, subsection, key, value string) error {
		do(section, subsection, key, value)
		return r.meter.work(entryWork)
	})
}

// Remotes returns the URLs of all remotes by their names, as the repository's configuration has
// them. They are suggestions for a person, never trusted.
func (r *Repository) Remotes() (map[string]string, error) {
	out := map[string]string{}
	err := r.eachSetting(func(section, name, key, value string) {
		if section == "remote" && name != "" && key == "url" {
			out[name] = value
		}
	})
	return out, err
}

// checkFormat looks at the two settings that say how to read everything else.
func (r *Repository) checkFormat() error {
	f, err := r.config("extensions", "", "objectformat")
	if err != nil {
		return err
	}
	if f != "" && !strings.EqualFold(f, "sha1") {
		return fmt.Errorf("%w: its objects are named by %s", ErrUnsupported, clip.Text(f))
	}
	if f, err = r.config("extensions", "", "refstorage"); err != nil {
		return err
	}
	if f != "" && !strings.EqualFold(f, "files") {
		return fmt.Errorf("%w: its refs are kept as %s", ErrUnsupported, clip.Text(f))
	}
	return nil
}

func (r *Repository) blob(id ID) ([]byte, error) { return blobOf(r, id) }

func (r *Repository) counts() *meter { return r.meter }

// read returns a regular file of the repository's directory. Links that lead
// out of it are errors.
func (r *Repository) read(name string, limit int64) ([]byte, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := r.meter.work(entryWork); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = malformed("%s has more than %d bytes", name, limit)
	}
	return data, err
}

func (r *Repository) open(name string) (*os.File, error) {
	f, err := file.OpenIn(r.dir, name)
	if errors.Is(err, file.ErrNotRegular) {
		err = malformed("%s", err)
	}
	return f, err
}
