// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// Names in an inbox, and how much of one is read for a build.
const (
	inboxRefused  = "refused"
	inboxReceipts = "receipts"
	maxInbox      = 4096     // files
	maxInboxBytes = 64 << 20 // all together
)

// Inbox takes the signature files that lie in a directory, each once (SPEC 16.6): what is taken
// is removed, with a receipt in "receipts"; what can never count is moved into "refused", place
// proofs, which lie beside signatures in a repository, are removed; for what there is no room now the file stays. Others may write into the directory meanwhile, if
// they give a file its name when it is whole: a name that begins with a dot is none. Patient
// leaves what is not known to be bound, for when the logs were read. Warn is told of what was
// not taken. It returns how many statements were.
func (in *Intake) Inbox(dir string, patient bool, warn func(format string, args ...any)) (int, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	b := &inbox{in, dir, root, patient, warn}
	groups, err := b.read()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, g := range groups {
		taken, err := b.statement(g)
		if err != nil {
			return n, err
		}
		if taken {
			n++
		}
	}
	return n, nil
}

type inbox struct {
	*Intake
	dir     string
	root    *os.Root
	patient bool
	warn    func(format string, args ...any)
}

// group is what lies there of a statement.
type group struct {
	payload []byte
	version int
	files   []rekorbind.File
}

// read returns what is there, oldest versions first.
func (b *inbox) read() ([]*group, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	by := map[string]*group{}
	left, n := maxInboxBytes, 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		if n++; n > maxInbox || left <= 0 {
			b.warn("the inbox holds more than is read at a time; the rest is for the next build")
			break
		}
		data, err := file.ReadIn(b.root, e.Name(), maxSignatureBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		left -= len(data)
		if err == nil && isPlaceProof(e.Name(), data) {
			if err := b.root.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		var payload []byte
		if err == nil {
			payload, err = one([]rekorbind.File{{Name: e.Name(), Data: data}})
		}
		if err != nil {
			if err := b.refuse(e.Name(), err); err != nil {
				return nil, err
			}
			continue
		}
		g := by[string(payload)]
		if g == nil {
			s, _ := rekorbind.ParseStatement(payload)
			g = &group{payload: payload, version: s.Version()}
			by[string(payload)] = g
		}
		g.files = append(g.files, rekorbind.File{Name: e.Name(), Data: data})
	}
	var out []*group
	for _, g := range by {
		out = append(out, g)
	}
	slices.SortFunc(out, func(x, y *group) int {
		return cmp.Or(cmp.Compare(x.version, y.version), bytes.Compare(x.payload, y.payload))
	})
	return out, nil
}

// isPlaceProof reports whether a file is a place proof, as lies beside signatures in a repository.
// The directory's own leaves date what it lists: it has no use for it.
func isPlaceProof(name string, data []byte) bool {
	if !rekorbind.IsPlaceName(path.Join(rekorbind.SignaturesDir, name)) {
		return false
	}
	_, err := rekorbind.ParsePlaceProof(data)
	return err == nil
}

// statement hands a statement in, and reports whether it was taken.
func (b *inbox) statement(g *group) (bool, error) {
	// Those that show that it is bound come first.
	rank := func(f rekorbind.File) int {
		bundle, err := sigstore.ParseBundle(f.Data)
		if err == nil && bundle.Signer().SourceRepositoryURI != "" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(g.files, func(x, y rekorbind.File) int { return rank(x) - rank(y) })
	taken := false
	for len(g.files) > 0 {
		n := min(len(g.files), rekorbind.MaxHandInFiles)
		receipt, err := b.Accept(g.files[:n])
		refused := isRefusal(err)
		switch {
		case refused != nil && refused.After > 0:
			b.warn("%s: %s; it stays in the inbox", g.files[0].Name, refused)
			return taken, nil
		case refused != nil && len(refused.Files) > 0: // the others may count
			for _, name := range refused.Files {
				if err := b.refuse(name, refused); err != nil {
					return taken, err
				}
			}
			g.files = slices.DeleteFunc(g.files, func(f rekorbind.File) bool { return slices.Contains(refused.Files, f.Name) })
			continue
		case refused != nil && refused.Status == http.StatusConflict && b.patient:
			return taken, nil
		case refused != nil:
			for _, f := range g.files[:n] {
				if err := b.refuse(f.Name, refused); err != nil {
					return taken, err
				}
			}
		case err != nil:
			return taken, err
		default:
			s, _ := rekorbind.ParseStatement(g.payload)
			if err := file.WriteIn(b.dir, path.Join(inboxReceipts, s.Digest()+".note"), receipt, 0o644); err != nil {
				return taken, err
			}
			for _, f := range g.files[:n] {
				if err := b.root.Remove(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return taken, err
				}
			}
			taken = true
		}
		g.files = g.files[n:]
	}
	return taken, nil
}

// refuse moves a file aside.
func (b *inbox) refuse(name string, why error) error {
	b.warn("inbox: %s is refused: %s", name, why)
	if err := b.root.Mkdir(inboxRefused, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := b.root.Rename(name, path.Join(inboxRefused, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
