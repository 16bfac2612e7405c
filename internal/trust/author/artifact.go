// SPDX-License-Identifier: Apache-2.0

package author

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
)

// incomingDir is where a file is copied to before it gets its name in the tree, which a web server
// may be serving.
const incomingDir = "incoming"

// AddFile stages a target of a role: the content of a file of any size, with its SHA-256 and SHA-512, and
// custom metadata unless that is nil. The content is copied into the tree in one step; a run that was
// interrupted is run again. What is there already is left as it is.
func (r *Repository) AddFile(ctx context.Context, role, to, from string, custom json.RawMessage) error {
	if !oci.ValidPath(to) {
		return fmt.Errorf("%q is no path of a target", to)
	}
	t := r.targets[role]
	if t == nil {
		return fmt.Errorf("there is no role %s", role)
	}
	if err := r.Asks(role, to); err != nil {
		return err
	}
	resume := budget.Pause(ctx)
	defer resume()
	info, content, err := describe(ctx, to, from)
	if err != nil {
		return err
	}
	if custom != nil {
		info.Custom = &custom
	}
	if err := r.store(content, hashed(to, info)); err != nil {
		return err
	}
	if old := t.Signed.Targets[to]; old != nil && old.Equal(*info) && sameCustom(old.Custom, info.Custom) {
		return nil
	}
	signed, err := r.edit(role)
	if err != nil {
		return err
	}
	signed.Targets[to] = info
	return r.save()
}

func sameCustom(a, b *json.RawMessage) bool {
	if a == nil || b == nil {
		return a == b
	}
	var x, y bytes.Buffer
	return json.Compact(&x, *a) == nil && json.Compact(&y, *b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// describe reads a file, to its end.
func describe(ctx context.Context, to, from string) (*metadata.TargetFiles, oci.Content, error) {
	none := oci.Content{}
	f, err := file.Open(from)
	if err != nil {
		return nil, none, err
	}
	defer f.Close()
	short, long := sha256.New(), sha512.New()
	n, err := io.Copy(io.MultiWriter(short, long), during{ctx, f})
	if err != nil {
		return nil, none, fmt.Errorf("%s: %w", from, err)
	}
	info := &metadata.TargetFiles{
		Length: n, Hashes: metadata.Hashes{"sha256": short.Sum(nil), "sha512": long.Sum(nil)}, Path: to,
	}
	content := oci.Content{Size: n, SHA256: [sha256.Size]byte(short.Sum(nil)), Open: func() (io.ReadCloser, error) {
		f, err := file.Open(from)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{during{ctx, f}, f}, nil
	}}
	return info, content, nil
}

// during reads until a context ends.
type during struct {
	ctx context.Context
	r   io.Reader
}

func (d during) Read(p []byte) (int, error) {
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx)
	}
	return d.r.Read(p)
}

// store puts content into the tree, unless it is there. The copy is made beside the tree, so that what an
// interrupted run leaves is never served; the next run removes it.
func (r *Repository) store(c oci.Content, name string) (err error) {
	at := path.Join(treeDir, targetsDir, name)
	if c.Is(r.path(filepath.FromSlash(at))) {
		return nil
	}
	dir, err := file.DirBelow(r.dir, path.Dir(at), 0o755)
	if err != nil {
		return err
	}
	dir.Close()
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.RemoveAll(incomingDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.RemoveAll(incomingDir)) }()
	if err := c.Update(r.dir, incomingDir+"/content"); err != nil {
		return err
	}
	return root.Rename(incomingDir+"/content", filepath.FromSlash(at))
}

// link gives each target that is in the tree by its SHA-256 its other names, too, so that every client finds it.
// What is lost or damaged is left to whoever reads it.
func (r *Repository) link() error {
	for _, role := range r.targetRoles() {
		for to, info := range r.targets[role].Signed.Targets {
			all := allNames(to, info)
			if len(all) == 1 {
				continue
			}
			c, err := r.content(to, info)
			if err != nil {
				return err
			}
			if _, err := os.Lstat(r.path(treeDir, targetsDir, filepath.FromSlash(all[0]))); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			for _, name := range all[1:] {
				if err := c.Link(r.path(treeDir, targetsDir), all[0], name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
