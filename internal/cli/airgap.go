// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// secondRef stands before the names of files that the second ref has otherwise than the
// first.
const secondRef = "2/"

type exportBundleOptions struct {
	repoOptions
	output typed
}

func (a *app) exportBundleCommand() *cobra.Command {
	o := &exportBundleOptions{}
	cmd := &cobra.Command{
		Use:   "export-bundle -R URL --output FILE [EVIDENCE...]",
		Short: "carry a policy, trust and evidence to a machine without a network",
		Long: `Export-bundle finds the policy of a repository and writes into one file all that
"repopolicy verify -R URL --airgap FILE" needs: the policy's versions with their
signatures, the directory's answer, the trust root with every rotation of its keys, and
the files that are named: evidence, checksum files and the evidence for them, approvals.
It is a tar archive; nothing in it is trusted for being there.`,
		Example: `  repopolicy export-bundle -R acme/widget --output widget.airgap widget_1.2.3.tar.gz.sigstore.json
  repopolicy export-bundle -R acme/widget --output widget.airgap SHA256SUMS SHA256SUMS.sigstore.json
  repopolicy verify -R acme/widget --airgap widget.airgap --as-of 2026-11-25T12:00:00Z --tag v1.2.3 widget_1.2.3.tar.gz`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.exportBundle(cmd.Context(), o, args) },
	}
	o.repoOptions.flags(cmd)
	o.sources(cmd)
	o.output.name = "FILE"
	cmd.Flags().VarP(&o.output, "output", "o", "write this file")
	return cmd
}

func (a *app) exportBundle(ctx context.Context, o *exportBundleOptions, evidence []string) error {
	switch {
	case !o.repo.set:
		return &fault{reason: policy.Usage, msg: "no repository given", hint: "name it with -R"}
	case !o.output.set:
		return &fault{reason: policy.Usage, msg: "--output: not given", hint: "name the file to write"}
	}
	if err := checkOutputs(&o.output); err != nil {
		return err
	}
	b := airgap.New()
	b.Made = a.Now()
	o.record, o.recordBeside = into(b.Metadata, b.Targets), into(b.BesideMetadata, b.BesideTargets)
	var err error
	if b.Evidence, err = pack(evidence); err != nil {
		return err
	}
	f, err := a.inForce(ctx, &o.repoOptions)
	if err != nil {
		return err
	}
	b.Repository, b.Default = f.repo, f.snapshot.Default
	for _, file := range f.files {
		name := file.Name
		if old, ok := b.Files[name]; ok && string(old) != string(file.Data) {
			name = secondRef + name
		}
		b.Files[name] = file.Data
	}
	if f.asked != nil {
		b.Answer, b.Pages = f.asked.Answer(), f.asked.AnswerPages()
	}
	if err := f.watch.proofs(ctx, b, evidence); err != nil {
		return err
	}
	data, err := b.Encode()
	if err != nil {
		return faultf(policy.Usage, "it cannot be carried: %s", err)
	}
	if err := file.Write(o.output.value, data, 0o644); err != nil {
		return unwritten(err)
	}
	view := f.res.Chain.View()
	a.err.line("%s: the policy of %s, version %d, %d %s of evidence, %d bytes", o.output.value, f.repo, len(f.res.Chain.Versions()), len(b.Evidence), plural(len(b.Evidence), "file"), len(data))
	if b.Answer == nil {
		a.err.line("note: no directory answered; what else is bound cannot be known from the file alone")
	} else {
		a.err.line("  complete   %s as of %s", view.Completeness, view.AsOf.UTC().Format(time.RFC3339))
	}
	if len(b.Metadata) == 0 {
		a.err.line("note: the trusted root was a file, which is not carried")
	}
	return nil
}

// carry reads the file of --airgap and lets it stand for the repository's refs, the
// directory, the trust root's metadata and evidence, but not for the question: the command
// line says which repository is meant (SPEC 19). It returns a function that removes what was
// unpacked.
func (a *app) carry(o *verifyOptions) (done func(), err error) {
	none := func() {}
	if !o.airgap.set {
		return none, nil
	}
	data, err := file.Read(o.airgap.value, airgap.MaxBytes)
	if err != nil {
		return none, faultf(policy.Usage, "--airgap: %s", err)
	}
	b, err := airgap.Parse(data)
	switch {
	case err != nil:
		return none, faultf(policy.Usage, "--airgap: %s: %s", o.airgap.value, err)
	case o.policy.set || o.git.set || o.from.set:
		return none, faultf(policy.Usage, "--airgap carries the policy: --policy, --git and --from contradict it")
	}
	if err := o.demand(b); err != nil {
		return none, err
	}
	o.carried, o.offline = b, true
	if o.asOf.set {
		if t, err := moment(o.asOf.value); err == nil {
			o.moment = t
		}
	}
	if len(o.bundles) > 0 || len(b.Evidence) == 0 {
		return none, nil
	}
	dir, err := os.MkdirTemp("", "repopolicy-")
	if err != nil {
		return none, err
	}
	if o.evidence, err = unpack(dir, b.Evidence); err != nil {
		_ = os.RemoveAll(dir)
		return none, err
	}
	return func() { _ = os.RemoveAll(dir) }, nil
}

// demand demands that the file is about the repository that the command line names: by -R,
// in the file of --lock, or by --pin, which is the digest of a statement that names it.
// Whoever can replace the file would choose it otherwise.
func (o *verifyOptions) demand(b *airgap.Bundle) error {
	switch {
	case o.repo.set:
	case o.lock.set:
		l, err := readLock(o.lock.value)
		if err != nil {
			return err
		}
		o.repo.value, o.repo.set = l.Repository, true
	case o.pin.set:
		o.repo.value, o.repo.set = b.Repository.String(), true
	default:
		return &fault{
			reason: policy.Usage, msg: "--airgap: which repository? " + o.airgap.value + " must not choose it",
			hint: fmt.Sprintf("the file says that it is about %s; if that is the one that you mean: repopolicy verify -R %s --airgap FILE …", b.Repository, b.Repository),
		}
	}
	repo, err := o.subject()
	switch {
	case err != nil:
		return err
	case repo != b.Repository:
		return &fault{
			reason: policy.Usage, msg: fmt.Sprintf("--airgap: %s is about %s, not about %s", o.airgap.value, b.Repository, repo),
			hint: "nothing was judged; carry a file of the repository that you mean: repopolicy export-bundle -R " + repo.String() + " -o FILE …",
		}
	}
	return nil
}

// unpack writes carried evidence into a directory and returns the paths. Every file keeps
// its name, whose ending says what it is, and those of one folder stay together, unless a
// file system may take their names for the same.
func unpack(dir string, evidence map[string][]byte) (paths []string, err error) {
	folders, taken := map[string]string{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(evidence)) {
		parent, base := path.Split(name)
		for n := 0; ; n++ {
			key := fmt.Sprintf("%s\x00%d", parent, n)
			if folders[key] == "" {
				folders[key] = filepath.Join(dir, fmt.Sprintf("%d", len(folders)+1))
				if err := os.Mkdir(folders[key], 0o700); err != nil {
					return nil, err
				}
			}
			folded := filepath.Join(folders[key], strings.ToLower(base))
			if taken[folded] {
				continue
			}
			taken[folded] = true
			to := filepath.Join(folders[key], base)
			if err := os.WriteFile(to, evidence[name], 0o600); err != nil {
				return nil, err
			}
			paths = append(paths, to)
			break
		}
	}
	return paths, nil
}

// pack reads files with evidence. Each keeps its name; where names of several directories
// are the same, those of the later directory go into a folder of their own, so that what
// belongs together stays together.
func pack(files []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	var dirs []string
	names := map[string][]string{} // by directory
	for _, p := range files {
		dir, name := filepath.Dir(p), filepath.Base(p)
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		if !slices.Contains(names[dir], name) {
			names[dir] = append(names[dir], name)
		}
	}
	carried := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "sha256:"); ok { // of gh attestation download, which has both
			return "sha256-" + rest
		}
		return name
	}
	for _, dir := range dirs {
		folder := ""
		for n := 2; slices.ContainsFunc(names[dir], func(name string) bool { return out[folder+carried(name)] != nil }); n++ {
			folder = fmt.Sprintf("%d/", n)
		}
		for _, name := range names[dir] {
			data, err := file.Read(filepath.Join(dir, name), release.MaxPublishedBytes)
			if err != nil {
				return nil, faultf(policy.Usage, "evidence: %s", err)
			}
			out[folder+carried(name)] = append([]byte{}, data...) // never nil
		}
	}
	return out, nil
}

// carriedFiles returns the signature files and place proofs of both refs.
func carriedFiles(b *airgap.Bundle) []rekorbind.File {
	var out []rekorbind.File
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		out = append(out, rekorbind.File{Name: strings.TrimPrefix(name, secondRef), Data: b.Files[name]})
	}
	return out
}

// carriedTrust is a TUF repository in a file for the air gap.
type carriedTrust struct{ metadata, targets map[string][]byte }

// Metadata implements tuf.Source.
func (s carriedTrust) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	return within(s.metadata, name, limit)
}

// Target implements tuf.Source.
func (s carriedTrust) Target(_ context.Context, path string, limit int64) ([]byte, error) {
	return within(s.targets, path, limit)
}

// into returns what keeps the files of a TUF repository that are read.
func into(metadata, targets map[string][]byte) func(target bool, name string, data []byte) {
	return func(target bool, name string, data []byte) {
		if target {
			targets[name] = data
		} else {
			metadata[name] = data
		}
	}
}

func within(files map[string][]byte, name string, limit int64) ([]byte, error) {
	data, ok := files[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", name, len(data), limit)
	}
	return data, nil
}

// unknown says what a verdict without a network cannot know.
func (f *found) unknown(o *repoOptions) (out []string) {
	if o.carried == nil {
		return nil
	}
	view := f.res.Chain.View()
	if view.AsOf.IsZero() || view.Completeness == chain.CompleteNone {
		out = []string{
			"what else the repository has bound: the file carries no answer of a directory that this machine knows",
			"what was removed, revoked or yanked by versions that are not in the file",
		}
	} else {
		at := view.AsOf.UTC().Format(time.RFC3339)
		out = []string{
			"what the repository has bound, revoked or yanked after " + at,
			"what the trust root has changed after the file was made, " + o.carried.Made.UTC().Format(time.RFC3339) + " by the clock of who made it",
		}
	}
	if f.root.Forges.NamesBranch(f.repo) {
		out = append(out, "whether "+o.carried.Default+" is the default branch, on which alone a binding counts: who made the file says so")
	}
	return out
}
