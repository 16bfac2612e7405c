// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// evidenceSuffix is how evidence beside a file is called, there and in the repository.
const evidenceSuffix = ".sigstore.json"

type addTargetOptions struct {
	role            string
	repository, tag command.Once
}

func (a *app) addTargetCommand() *cobra.Command {
	o := &addTargetOptions{}
	cmd := &cobra.Command{
		Use:   "add-target DIR PATH=FILE...",
		Short: "stage artifacts of any size, for users to get",
		Long: `Add-target stages files of any size under a path of the repository, with their SHA-256 and
SHA-512. FILE.sigstore.json, if it lies beside a file, becomes a target of its own beside it. With
--repo and --tag the signed metadata says of which release of which repository the files are:
repopolicy get then demands that the policy of that repository allows them, too.

A run that was interrupted is run again.`,
		Example: `  repopolicy-trust add-target packages widget/widget_1.2.3.tar.gz=dist/widget_1.2.3.tar.gz \
      --repo acme/widget --tag v1.2.3`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.addTargets(cmd.Context(), o, args[0], args[1:])
		},
	}
	o.repository.Kind, o.tag.Kind = "URL", "TAG"
	f := cmd.Flags()
	f.StringVar(&o.role, "role", author.Targets, "let this `ROLE` say it")
	f.VarP(&o.repository, "repo", "R", "the files are of a release of this repository: a URL, or OWNER/NAME on github.com")
	f.Var(&o.tag, "tag", "the tag of that release")
	return cmd
}

// newTarget is a file that becomes a target.
type newTarget struct {
	path, file string
	custom     json.RawMessage
}

func (a *app) addTargets(ctx context.Context, o *addTargetOptions, dir string, args []string) error {
	custom, err := o.custom()
	if err != nil {
		return err
	}
	all, err := newTargets(args, custom)
	if err != nil {
		return err
	}
	return a.change(dir, func(r *author.Repository) error {
		for _, t := range all {
			if err := r.AddFile(ctx, o.role, t.path, t.file, t.custom); err != nil {
				return command.Unwritten(err)
			}
		}
		return nil
	})
}

// custom returns what the metadata says of the release; nil for nothing.
func (o *addTargetOptions) custom() (json.RawMessage, error) {
	if !o.repository.Given {
		if o.tag.Given {
			return nil, policy.Faultf(policy.Usage, "--tag without --repo: whose tag is it?")
		}
		return nil, nil
	}
	repo, err := policy.NormalizeLocator(o.repository.Value)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--repo: %s", err)
	}
	if o.tag.Given && !spelling.ValidTag(o.tag.Value) {
		return nil, policy.Faultf(policy.Usage, "--tag: %s cannot be a tag", o.tag.Value)
	}
	return trust.ReleaseOf{Repository: repo, Tag: o.tag.Value}.Custom(), nil
}

// newTargets reads PATH=FILE, and looks which evidence lies beside the files.
func newTargets(args []string, custom json.RawMessage) ([]newTarget, error) {
	var out []newTarget
	from := map[string]string{}
	add := func(t newTarget) error {
		if other := from[t.path]; other != "" && other != t.file {
			return policy.Faultf(policy.Usage, "%s and %s would both be %s", other, t.file, t.path)
		} else if other == "" {
			from[t.path] = t.file
			out = append(out, t)
		}
		return nil
	}
	for _, arg := range args {
		path, name, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			return nil, policy.Faultf(policy.Usage, "%s is not written like widget/widget.tar.gz=FILE", arg)
		case !oci.ValidPath(path):
			return nil, policy.Faultf(policy.Usage, "%q is no path of a target", path)
		case trust.OfRoot(path):
			return nil, &policy.Fault{
				Reason: policy.Usage, Text: path + " is read as what a trust root says", Hint: "`repopolicy-trust add` checks it",
			}
		}
		if err := regular(name); err != nil {
			return nil, policy.Faultf(policy.Usage, "%s", err)
		}
		if err := add(newTarget{path, name, custom}); err != nil {
			return nil, err
		}
		err := regular(name + evidenceSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "%s", err)
		}
		if err := add(newTarget{path: path + evidenceSuffix, file: name + evidenceSuffix}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// regular returns an error for what is no file that can be read.
func regular(path string) error {
	f, err := file.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
