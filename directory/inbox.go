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

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
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
// proofs, which lie beside signatures in a repository, are removed; for what there is no room now
// the file stays. Others may write into the directory meanwhile, if they give a file its name when
// it is whole: a name that begins with a dot is none. Patient leaves what is not known to be bound,
// for when the logs were read. Warn is told of what was not taken. It returns how many statements
// were.
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
	files   []bindings.File
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
		payload, err := b.payload(e.Name(), data, err)
		if err != nil {
			return nil, err
		}
		if payload == nil {
			continue
		}
		g := by[string(payload)]
		if g == nil {
			s, _ := rekorbind.ParseStatement(payload)
			g = &group{payload: payload, version: s.Version()}
			by[string(payload)] = g
		}
		g.files = append(g.files, bindings.File{Name: e.Name(), Data: data})
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

// payload returns the statement that a file is about. It is nil for a place proof, which is
// removed, and for a file that is refused: it could not be read, or is about none.
func (b *inbox) payload(name string, data []byte, unread error) ([]byte, error) {
	if unread != nil {
		return nil, b.refuse(name, unread)
	}
	if isPlaceProof(name, data) {
		if err := b.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, nil
	}
	payload, err := one([]bindings.File{{Name: name, Data: data}})
	if err != nil {
		return nil, b.refuse(name, err)
	}
	return payload, nil
}

// isPlaceProof reports whether a file is a place proof, as lies beside signatures in a repository.
// The directory's own leaves date what it lists: it has no use for it.
func isPlaceProof(name string, data []byte) bool {
	if !bindings.IsPlaceName(path.Join(bindings.SignaturesDir, name)) {
		return false
	}
	_, err := bindings.ParsePlaceProof(data)
	return err == nil
}

// statement hands a statement in, and reports whether it was taken.
func (b *inbox) statement(g *group) (bool, error) {
	// Those that show that it is bound come first.
	rank := func(f bindings.File) int {
		bundle, err := sigstore.ParseBundle(f.Data)
		if err == nil && bundle.Signer().SourceRepositoryURI != "" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(g.files, func(x, y bindings.File) int { return rank(x) - rank(y) })
	taken := false
	for len(g.files) > 0 {
		n := min(len(g.files), answers.MaxHandInFiles)
		receipt, err := b.Accept(g.files[:n])
		if refused := isRefusal(err); refused != nil {
			if stay, err := b.drop(g, n, refused); stay || err != nil {
				return taken, err
			}
			continue
		}
		if err == nil {
			err = b.receive(g, n, receipt)
		}
		if err != nil {
			return taken, err
		}
		taken = true
	}
	return taken, nil
}

// drop drops those of the next n files of a group that were refused: the named ones, since the
// others may count, or all. It reports that they stay if they may be taken later.
func (b *inbox) drop(g *group, n int, refused *Refusal) (stay bool, err error) {
	names := refused.Files
	switch {
	case refused.After > 0:
		b.warn("%s: %s; it stays in the inbox", g.files[0].Name, refused)
		return true, nil
	case len(names) > 0:
	case refused.Status == http.StatusConflict && b.patient:
		return true, nil
	default:
		for _, f := range g.files[:n] {
			names = append(names, f.Name)
		}
	}
	for _, name := range names {
		if err := b.refuse(name, refused); err != nil {
			return false, err
		}
	}
	g.files = slices.DeleteFunc(g.files, func(f bindings.File) bool { return slices.Contains(names, f.Name) })
	return false, nil
}

// receive writes the receipt for the next n files of a group, and removes them.
func (b *inbox) receive(g *group, n int, receipt []byte) error {
	s, _ := rekorbind.ParseStatement(g.payload)
	if err := file.WriteIn(b.dir, path.Join(inboxReceipts, s.Digest()+".note"), receipt, 0o644); err != nil {
		return err
	}
	for _, f := range g.files[:n] {
		if err := b.root.Remove(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	g.files = g.files[n:]
	return nil
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
