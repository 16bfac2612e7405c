// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/side"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// allowed are the artifacts of a run that are permitted, by their paths or addresses. What was
// judged twice must be permitted each time.
type allowed map[string]*release.Artifact

func (t *taking) allowed() allowed {
	out, denied := allowed{}, map[string]bool{}
	for _, e := range t.entries {
		if e == nil || e.Result == nil {
			continue
		}
		a := e.Result.Artifact
		if a.Path == "" && a.Place == nil {
			continue
		}
		where := beside(a, baseOf(a))
		if e.Fate != Judged || e.Result.Class() != policy.ClassOK {
			denied[where] = true
		}
		out[where] = a
	}
	for where := range denied {
		delete(out, where)
	}
	return out
}

// beside returns the path or address of a file of that name beside an artifact.
func beside(a *release.Artifact, name string) string {
	if a.Path != "" {
		return filepath.Join(filepath.Dir(a.Path), name)
	}
	return a.Place.URL(name)
}

// baseOf returns what the file of an artifact is called where it lies.
func baseOf(a *release.Artifact) string {
	if a.Path != "" {
		return filepath.Base(a.Path)
	}
	return a.Name
}

// sides makes side files of what was denied only because nothing vouches for it, if the user
// lets files of its kind lie beside what is allowed (SPEC 20.2).
func (t *taking) sides(ctx context.Context) {
	if len(t.run.Sides) == 0 {
		return
	}
	ok := t.allowed()
	for i, e := range t.entries {
		in := t.run.Inputs[i]
		kind, _ := sideKind(in, e)
		if kind == "" || !slices.Contains(t.run.Sides, kind) {
			continue
		}
		detail, err := sideOf(ctx, in.Artifact, ok)
		if err != nil {
			t.explain(i, fmt.Sprintf("it is no side file of the kind %s: %s", kind, err))
			continue
		}
		t.entries[i] = &Entry{Fate: SideFile, Detail: detail, artifact: in.Artifact}
	}
}

// sideKind returns of which kind an input may be by its name, "" if it can be none, and beside
// which file it then lies. A line of a checksum file that was named is none.
func sideKind(in *release.Input, e *Entry) (kind side.Kind, stem string) {
	a := in.Artifact
	if e == nil || e.Fate != Judged || e.Result.Decision.Reason != policy.NoEvidence || a.Err != nil || a.Listed != nil ||
		a.Path == "" && a.Place == nil {
		return "", ""
	}
	return side.Of(baseOf(a))
}

// sideOf says what a side file is. The error says why it is none.
func sideOf(ctx context.Context, a *release.Artifact, ok allowed) (string, error) {
	kind, stem := side.Of(baseOf(a))
	if stem != "" && ok[beside(a, stem)] == nil {
		return "", fmt.Errorf("%s beside it is not among what is allowed", stem)
	}
	data, err := a.Content(ctx, side.MaxBytes)
	if err != nil {
		return "", err
	}
	if kind != side.Checksums {
		return fmt.Sprintf("%s, beside %s; not verified", kind, stem), side.Check(kind, data)
	}
	list, err := side.List(baseOf(a), data)
	if err != nil {
		return "", err
	}
	for i := range list.Entries {
		e := &list.Entries[i]
		if err := confirmed(ctx, a, e, ok); err != nil {
			return "", fmt.Errorf("line %d: %w", e.Line, err)
		}
	}
	return fmt.Sprintf("%s, each line confirmed by what is allowed", kind), nil
}

// confirmed reports why an entry of a list is not about a file beside it that is allowed.
func confirmed(ctx context.Context, list *release.Artifact, e *sums.Entry, ok allowed) error {
	about := ok[beside(list, filepath.FromSlash(e.Name))]
	if about == nil {
		about = ok[beside(list, path.Base(e.Name))]
	}
	if about == nil {
		return fmt.Errorf("%s is not among what is allowed", e.Name)
	}
	var algs []string
	for _, d := range e.Digests {
		algs = append(algs, d.Alg)
	}
	digests, err := about.Digest(ctx, algs...)
	if err != nil {
		return err
	}
	for _, d := range e.Digests {
		if !slices.Contains(digests, d) {
			return fmt.Errorf("%s has another digest", e.Name)
		}
	}
	return nil
}

// others are endings of files that projects publish beside what they release, and that are
// neither evidence of any form nor side files.
var others = []struct{ suffix, what string }{
	{".gpg", "a detached OpenPGP signature"},
	{".minisig", "a minisign signature"},
	{".sha1", "a checksum"}, {".md5", "a checksum"},
	{".spdx.json", "a bill of materials"}, {".spdx", "a bill of materials"}, {".cdx.json", "a bill of materials"},
	{".cdx.xml", "a bill of materials"}, {".sbom.json", "a bill of materials"}, {".sbom", "a bill of materials"},
	{".cyclonedx.json", "a bill of materials"},
}

// what are the kinds of side files in words.
var what = map[side.Kind]string{
	side.OpenPGP: "a detached OpenPGP signature", side.Signature: "a detached signature",
	side.Certificate: "a certificate", side.Checksums: "a checksum file",
}

// maxNamed is how many of the others are named.
const maxNamed = 10

// otherOf says what a file is by its name, "" for one that stands for itself.
func otherOf(name string) string {
	lower := strings.ToLower(name)
	for _, s := range others {
		if strings.HasSuffix(lower, s.suffix) && lower != s.suffix {
			return s.what
		}
	}
	return ""
}

// explainSides says of every file that is denied for want of evidence what it seems to be, and
// how the others are judged with or without it.
func (t *taking) explainSides(ctx context.Context, results []*release.Result) {
	if len(results) < 2 {
		return
	}
	var names []string
	for _, r := range results {
		if r.Class() == policy.ClassOK && len(names) < maxNamed {
			names = append(names, r.Artifact.Arg)
		}
	}
	ok, looked := t.allowed(), 0
	for i, e := range t.entries {
		in := t.run.Inputs[i]
		kind, _ := sideKind(in, e)
		seems, flag := what[kind], ""
		if kind != "" {
			looked++
		}
		switch {
		case e.Result == nil || e.Result.Decision.Reason != policy.NoEvidence:
			continue
		case kind == "":
			seems = otherOf(baseOf(in.Artifact))
		case !slices.Contains(t.run.Sides, kind) && looked <= maxNamed:
			if _, err := sideOf(ctx, in.Artifact, ok); err == nil {
				flag = fmt.Sprintf("; --side-files %s lets it lie beside them", kind)
			}
		}
		if seems == "" {
			continue
		}
		text := fmt.Sprintf("it seems to be %s, which nothing that was signed vouches for%s", seems, flag)
		if len(names) > 0 {
			text += "; to judge the others without it, name them: " + strings.Join(names, " ")
		}
		t.explain(i, text)
	}
}
