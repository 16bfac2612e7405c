// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

type exportBundleOptions struct {
	command.Lookup
	output command.Once
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
  repopolicy verify -R acme/widget --airgap widget.airgap --as-of 2026-11-25T12:00:00Z \
    --tag v1.2.3 widget_1.2.3.tar.gz`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.exportBundle(cmd.Context(), o, args) },
	}
	o.Lookup.Flags(cmd)
	o.SourceFlags(cmd)
	o.output.Kind = "FILE"
	cmd.Flags().VarP(&o.output, "output", "o", "write this file")
	return cmd
}

func (a *app) exportBundle(ctx context.Context, o *exportBundleOptions, evidence []string) error {
	switch {
	case !o.Repo.Given:
		return &policy.Fault{Reason: policy.Usage, Text: "no repository given", Hint: "name it with -R"}
	case !o.output.Given:
		return &policy.Fault{Reason: policy.Usage, Text: "--output: not given", Hint: "name the file to write"}
	}
	if err := command.CheckOutputs(&o.output); err != nil {
		return err
	}
	b := airgap.New()
	b.Made = a.Now()
	o.Record, o.RecordBeside = into(b.Metadata, b.Targets), into(b.BesideMetadata, b.BesideTargets)
	o.RecordTargets = func(root string, target bool, name string, data []byte) {
		files := b.Root(airgap.RootName(root))
		into(files.Metadata, files.Targets)(target, name, data)
	}
	o.RecordIntroduced = func(depth int) func(bool, string, []byte) {
		return into(b.Introduced[depth-1].Metadata, b.Introduced[depth-1].Targets)
	}
	var err error
	if b.Evidence, err = pack(evidence); err != nil {
		return err
	}
	f, err := a.InForce(ctx, &o.Lookup)
	if err != nil {
		return err
	}
	b.Repository, b.Default = f.Repository, f.Snapshot.Default
	for _, file := range f.Files {
		name := file.Name
		if old, ok := b.Files[name]; ok && string(old) != string(file.Data) {
			name = find.SecondRef + name
		}
		b.Files[name] = file.Data
	}
	if f.Directory != nil {
		b.Answer, b.Pages = f.Directory.Answer(), f.Directory.AnswerPages()
	}
	if err := f.Watch.Proofs(ctx, b, evidence); err != nil {
		return err
	}
	if err := a.Finder().Carry(ctx, f); err != nil {
		return err
	}
	data, err := b.Encode()
	if err != nil {
		return policy.Faultf(policy.Usage, "it cannot be carried: %s", err)
	}
	if err := file.Write(o.output.Value, data, 0o644); err != nil {
		return command.Unwritten(err)
	}
	view := f.Resolution.Chain.View()
	a.Err.Line("%s: the policy of %s, version %d, %d %s of evidence, %d bytes", o.output.Value, f.Repository,
		len(f.Versions()), len(b.Evidence), report.Plural(len(b.Evidence), "file"), len(data))
	if b.Answer == nil {
		a.Err.Line("note: no directory answered; what else is bound cannot be known from the file alone")
	} else {
		a.Err.Line("  complete   %s as of %s", view.Completeness, view.AsOf.UTC().Format(time.RFC3339))
	}
	if len(b.Metadata) == 0 {
		a.Err.Line("note: the trusted root was a file, which is not carried")
	}
	return nil
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
				return nil, policy.Faultf(policy.Usage, "evidence: %s", err)
			}
			out[folder+carried(name)] = append([]byte{}, data...) // never nil
		}
	}
	return out, nil
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
