// SPDX-License-Identifier: Apache-2.0

// Package airgap is the file that carries to a machine without a network all that
// is needed to judge the releases of one repository (SPEC 19): a gzip-compressed
// tar archive, so that it can be looked into. Nothing in it is verified here, and
// nothing in it is trusted for being in it.
package airgap

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a file. Compressed and inflated size are both bounded.
const (
	MaxBytes    = 32 << 20
	maxInflated = 48 << 20
	maxEntries  = 10_000
	maxName     = 256
)

const (
	schema = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/airgap-v1.json"

	aboutName         = "about.json"
	answerName        = "directory/answer.json.gz"
	pagesDir          = "directory/page/"
	filesDir          = "files/"
	metadataDir       = "trust/metadata/"
	targetsDir        = "trust/targets/"
	besideMetadataDir = "beside/metadata/"
	besideTargetsDir  = "beside/targets/"
	introducedDir     = "introduced/%d/"
	evidenceDir       = "evidence/"
	logsDir           = "logs/"
	rootsDir          = "roots/"
	rootMetadata      = "metadata"
	rootTargets       = "targets"
	maxAboutSize      = 64 << 10
)

// MaxIntroduced is how many roots that were introduced one after the other are carried.
const MaxIntroduced = 3

// TUF are files of a TUF repository, by their names there.
type TUF struct{ Metadata, Targets map[string][]byte }

// Bundle is what is carried.
type Bundle struct {
	Repository policy.Locator
	Made       time.Time // by the clock of the machine that made it
	Default    string    // ref that the forge advertised as the default branch; "" if unknown
	// Files are the signature files and place proofs of the policy, by their names in the repository.
	// Of two refs that have different ones under one name, both are here: names of
	// the second begin with "2/".
	Files map[string][]byte
	// Metadata and Targets are the trust root's TUF repository.
	Metadata, Targets map[string][]byte
	// BesideMetadata and BesideTargets are that of the root beside it.
	BesideMetadata, BesideTargets map[string][]byte
	// Roots are the TUF repositories of the roots that rules name, by [RootName].
	Roots map[string]TUF
	// Introduced are those of the root that the trust root introduces (SPEC 17.3), of the one
	// that this introduces, and so on.
	Introduced [MaxIntroduced]TUF
	// Answer is what the directory answered, nil without one.
	Answer []byte
	// Pages are those of the answer, by name.
	Pages map[string][]byte
	// Evidence are files about artifacts, by name.
	Evidence map[string][]byte
	// Logs are proofs that trees of a log are of one history, by number.
	Logs map[string][]byte
}

// publicGood is the one root that has a name in a policy.
const publicGood = "public-good"

// RootName returns how the files of a root are called that a rule names: the digest of its first
// metadata, or public-good.
func RootName(root string) string { return strings.TrimPrefix(root, "sha256:") }

// Root returns where the files of a root are kept.
func (b *Bundle) Root(name string) TUF {
	r, ok := b.Roots[name]
	if !ok {
		r = TUF{map[string][]byte{}, map[string][]byte{}}
		b.Roots[name] = r
	}
	return r
}

// New returns a bundle without content.
func New() *Bundle {
	b := &Bundle{Roots: map[string]TUF{}}
	for _, files := range []*map[string][]byte{
		&b.Files, &b.Pages, &b.Metadata, &b.Targets, &b.BesideMetadata, &b.BesideTargets, &b.Evidence, &b.Logs,
	} {
		*files = map[string][]byte{}
	}
	for i := range b.Introduced {
		b.Introduced[i] = TUF{map[string][]byte{}, map[string][]byte{}}
	}
	return b
}

type about struct {
	Schema     string    `json:"schema"`
	Repository string    `json:"repository"`
	Made       time.Time `json:"made"`
	Default    string    `json:"default"`
}

// aboutRules: whoever looks into the file must see the repository that is judged.
var aboutRules = strictjson.Rules{Known: []string{"schema", "repository", "made", "default"}}

// Encode returns the file. The same content is the same file.
func (b *Bundle) Encode() ([]byte, error) {
	head, err := json.MarshalIndent(
		about{schema, b.Repository.String(), b.Made.UTC().Truncate(time.Second), b.Default}, "", " ",
	)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for dir, files := range b.dirs() {
		for name, data := range files {
			all[dir+name] = data
		}
	}
	if b.Answer != nil {
		all[answerName] = b.Answer
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	add := func(name string, data []byte) error {
		err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatPAX,
		})
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	if err := add(aboutName, append(head, '\n')); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := add(name, all[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return nil, err
	}
	if _, err := Parse(buf.Bytes()); err != nil { // what could not be read again
		return nil, err
	}
	return buf.Bytes(), nil
}

func (b *Bundle) dirs() map[string]map[string][]byte {
	out := map[string]map[string][]byte{
		filesDir: b.Files, pagesDir: b.Pages, metadataDir: b.Metadata, targetsDir: b.Targets,
		besideMetadataDir: b.BesideMetadata, besideTargetsDir: b.BesideTargets, evidenceDir: b.Evidence,
		logsDir: b.Logs,
	}
	for name, r := range b.Roots {
		out[rootsDir+name+"/"+rootMetadata+"/"] = r.Metadata
		out[rootsDir+name+"/"+rootTargets+"/"] = r.Targets
	}
	for i, r := range b.Introduced {
		dir := fmt.Sprintf(introducedDir, i+1)
		out[dir+"metadata/"], out[dir+"targets/"] = r.Metadata, r.Targets
	}
	return out
}

// Parse reads a file. Anything but regular files with plain relative names, a name
// that stands twice, an unknown place, a second gzip member and bytes after the
// archive are errors.
func Parse(data []byte) (*Bundle, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxBytes)
	}
	src := bytes.NewReader(data)
	z, err := gzip.NewReader(src)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	inflated := &limited{r: z, left: maxInflated}
	b := New()
	seen := map[string]bool{}
	held := int64(0)
	r := tar.NewReader(inflated)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := checkEntry(h, seen); err != nil {
			return nil, fmt.Errorf("%.80q: %w", h.Name, err)
		}
		if held += h.Size; held > maxInflated { // a sparse file holds more than it takes
			return nil, errInflated
		}
		content := make([]byte, h.Size)
		if _, err := io.ReadFull(r, content); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		if err := b.take(h.Name, content); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	// What follows the last file fills a block, and nothing else.
	if err := zeros(inflated); err != nil {
		return nil, err
	}
	if src.Len() > 0 {
		return nil, errors.New("something follows the archive")
	}
	if !seen[aboutName] {
		return nil, errors.New(aboutName + " is missing")
	}
	return b, nil
}

var errInflated = fmt.Errorf("it holds more than %d bytes", maxInflated)

// limited is an error beyond its limit, where io.LimitReader is an end.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errInflated
	}
	return n, err
}

// zeros reads to the end, up to which there is nothing but zeros.
func zeros(r io.Reader) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			return errors.New("something follows the archive")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func checkEntry(h *tar.Header, seen map[string]bool) error {
	switch {
	case h.Typeflag != tar.TypeReg:
		return errors.New("not a regular file")
	case h.Name == "" || len(h.Name) > maxName || path.IsAbs(h.Name) || path.Clean(h.Name) != h.Name ||
		strings.HasPrefix(h.Name, "../") || strings.ContainsAny(h.Name, "\\:"):
		return errors.New("not a plain relative name")
	case strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("a name consists of printable ASCII without spaces")
	case seen[h.Name]:
		return errors.New("the name stands twice")
	case len(seen) >= maxEntries:
		return fmt.Errorf("more than %d files", maxEntries)
	}
	seen[h.Name] = true
	return nil
}

// take puts a file where it belongs.
func (b *Bundle) take(name string, content []byte) error {
	switch name {
	case aboutName:
		return b.about(content)
	case answerName:
		b.Answer = content
		return nil
	}
	if rest, ok := strings.CutPrefix(name, rootsDir); ok {
		return b.takeRoot(rest, content)
	}
	for dir, files := range b.dirs() {
		if rest, ok := strings.CutPrefix(name, dir); ok {
			files[rest] = content
			return nil
		}
	}
	return errPlace
}

var errPlace = errors.New("not a place of this format")

// takeRoot puts a file of a root that a rule names where it belongs.
func (b *Bundle) takeRoot(name string, content []byte) error {
	root, rest, _ := strings.Cut(name, "/")
	kind, file, _ := strings.Cut(rest, "/")
	if root != publicGood && !spelling.IsHash(root) || file == "" || kind != rootMetadata && kind != rootTargets {
		return errPlace
	}
	files := b.Root(root).Metadata
	if kind == rootTargets {
		files = b.Root(root).Targets
	}
	files[file] = content
	return nil
}

func (b *Bundle) about(content []byte) error {
	if len(content) > maxAboutSize {
		return fmt.Errorf("%d bytes, at most %d are read", len(content), maxAboutSize)
	}
	var a about
	if err := aboutRules.Decode(content, &a); err != nil {
		return err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(content, &keys); err != nil {
		return err
	}
	for _, key := range aboutRules.Known {
		if keys[key] == nil {
			return fmt.Errorf("the key %q is missing", key)
		}
	}
	if a.Schema != schema {
		return fmt.Errorf("schema %.80q is not %q", a.Schema, schema)
	}
	repo, err := policy.ParseLocator(a.Repository)
	if err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	// U+FFFD stands for half of a surrogate pair, too: which ref was meant is not known.
	if a.Default != "" && (!spelling.ValidRef(a.Default) || strings.ContainsRune(a.Default, utf8.RuneError)) {
		return fmt.Errorf("default: %.80q is no ref", a.Default)
	}
	b.Repository, b.Made, b.Default = repo, a.Made, a.Default
	return nil
}
