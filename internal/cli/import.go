// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/propose/aqua"
	"github.com/repopolicy/repopolicy/policy"
)

type importOptions struct {
	pkg, caller command.Once
	signerRefs  []string
}

func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "draft a policy from what another tool says about who signs",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return policy.Faultf(policy.Usage, "unknown source %q", args[0])
			}
			return &policy.Fault{
				Reason: policy.Usage, Text: "no source given", Hint: "write `repopolicy import aqua FILE`",
			}
		},
	}
	cmd.AddCommand(a.importAquaCommand())
	return cmd
}

func (a *app) importAquaCommand() *cobra.Command {
	o := &importOptions{}
	cmd := &cobra.Command{
		Use:   "aqua FILE",
		Short: "draft a policy from a package of an aqua registry",
		Long: `Aqua reads a registry.yaml of aqua and prints a policy with a rule for each signer
that a package's entry names under cosign, checksum.cosign,
github_artifact_attestations or slsa_provenance, for every version. What a policy
cannot express, such as an expression that matches several workflows, stands in a
comment with the reason.

A reusable workflow of another repository needs two things that no entry says:
--caller, the workflow of the package's repository that calls it, and
--signer-ref, the exact ref at which it is called.`,
		Example: `  repopolicy import aqua registry.yaml --package acme/widget
  repopolicy import aqua registry.yaml --caller .github/workflows/release.yml \
      --signer-ref acme/ci=refs/tags/v4`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.importAqua(args[0], o) },
	}
	f := cmd.Flags()
	o.pkg.Kind, o.caller.Kind = "NAME", "PATH"
	f.Var(&o.pkg, "package", "the package to import, if the file has several")
	f.Var(&o.caller, "caller", "workflow that calls reusable workflows of other repositories")
	f.StringArrayVar(
		&o.signerRefs, "signer-ref", nil, "`OWNER/NAME=REF` of a reusable workflow's repository; may be repeated",
	)
	return cmd
}

func (a *app) importAqua(path string, o *importOptions) error {
	data, err := file.Read(path, aqua.MaxBytes)
	if err != nil {
		return policy.Faultf(policy.Usage, "registry: %s", err)
	}
	packages, err := aqua.Parse(data)
	if err != nil {
		return policy.Faultf(policy.Usage, "%s: %s", path, err)
	}
	var names []string
	packages = slices.DeleteFunc(packages, func(p aqua.Package) bool {
		if o.pkg.Given && p.Name != o.pkg.Value {
			names = append(names, p.Name)
			return true
		}
		return false
	})
	switch {
	case len(packages) == 0 && o.pkg.Given:
		return &policy.Fault{
			Reason: policy.Usage, Text: path + ": no package " + o.pkg.Value, Hint: "it has " + few(names),
		}
	case len(packages) == 0:
		return policy.Faultf(policy.Usage, "%s: no package", path)
	case len(packages) > 1:
		for _, p := range packages {
			names = append(names, p.Name)
		}
		return &policy.Fault{
			Reason: policy.Usage, Text: path + ": several packages",
			Hint: "name one with --package: " + few(names),
		}
	}
	refs := map[string]string{}
	for _, pair := range o.signerRefs {
		repo, ref, ok := strings.Cut(pair, "=")
		if _, twice := refs[strings.ToLower(repo)]; !ok || twice {
			return policy.Faultf(policy.Usage, "--signer-ref %s: write OWNER/NAME=REF, once for each repository", pair)
		}
		refs[strings.ToLower(repo)] = ref
	}
	text, err := packages[0].Policy(aqua.Options{Now: a.Now(), Caller: o.caller.Value, SignerRefs: refs})
	if err != nil {
		f := policy.Faultf(policy.Usage, "%s: %s: %s", path, packages[0].Name, err)
		if pe := (*policy.ParseError)(nil); errors.As(err, &pe) {
			f.Hint = pe.Problems[0].Hint
		}
		return f
	}
	return a.Out.Verbatim(text)
}

// few lists some of the names.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
