// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/propose/aqua"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
)

type importOptions struct {
	pkg, caller, git command.Once
	signerRefs       []string
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

A reusable workflow of another repository needs two things that few entries say: the
workflow of the package's repository that calls it, and the ref or commit at which it is
called. In a clone of that repository its workflows show both, where they show one thing;
--caller and --signer-ref say what is then still missing. Nothing that is found makes a
rule wider than the entry.`,
		Example: `  repopolicy import aqua registry.yaml --package acme/widget
  repopolicy import aqua registry.yaml --package acme/widget --git ../widget
  repopolicy import aqua registry.yaml --caller .github/workflows/release.yml \
      --signer-ref acme/ci=refs/tags/v4`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.importAqua(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	o.pkg.Kind, o.caller.Kind, o.git.Kind = "NAME", "PATH", "DIR"
	f.Var(&o.pkg, "package", "the package to import, if the file has several")
	f.Var(&o.caller, "caller", "workflow that calls reusable workflows of other repositories")
	f.Var(&o.git, "git", "clone of the package's repository, instead of the one around the working directory")
	f.Var(
		(*command.List)(&o.signerRefs), "signer-ref",
		"`OWNER/NAME=REF` or commit of a reusable workflow's repository; may be repeated",
	)
	return cmd
}

func (a *app) importAqua(ctx context.Context, path string, o *importOptions) error {
	data, err := file.Read(path, aqua.MaxBytes)
	if err != nil {
		return policy.Faultf(policy.Usage, "registry: %s", err)
	}
	packages, err := aqua.Parse(data)
	if err != nil {
		return policy.Faultf(policy.Usage, "%s: %s", path, err)
	}
	pkg, err := o.choose(path, packages)
	if err != nil {
		return err
	}
	refs := map[string]string{}
	for _, pair := range o.signerRefs {
		repo, ref, ok := strings.Cut(pair, "=")
		if _, twice := refs[strings.ToLower(repo)]; !ok || twice {
			return policy.Faultf(policy.Usage, "--signer-ref %s: write OWNER/NAME=REF, once for each repository", pair)
		}
		refs[strings.ToLower(repo)] = ref
	}
	calls, err := cloneCalls(ctx, o, pkg)
	if err != nil {
		return err
	}
	text, err := pkg.Policy(aqua.Options{Now: a.Now(), Caller: o.caller.Value, SignerRefs: refs, Calls: calls})
	if err != nil {
		return o.undrafted(path, pkg, calls != nil, err)
	}
	return a.Out.Verbatim(text)
}

// choose returns the package to import.
func (o *importOptions) choose(path string, packages []aqua.Package) (*aqua.Package, error) {
	var names []string
	var chosen []*aqua.Package
	for i := range packages {
		if names = append(names, packages[i].Name); !o.pkg.Given || packages[i].Name == o.pkg.Value {
			chosen = append(chosen, &packages[i])
		}
	}
	switch {
	case len(chosen) == 1:
		return chosen[0], nil
	case len(packages) == 0:
		return nil, policy.Faultf(policy.Usage, "%s: no package", path)
	case len(chosen) == 0:
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: path + ": no package " + o.pkg.Value, Hint: "it has " + few(names),
		}
	case o.pkg.Given:
		return nil, policy.Faultf(policy.Usage, "%s: several packages %s", path, o.pkg.Value)
	}
	return nil, &policy.Fault{
		Reason: policy.Usage, Text: path + ": several packages", Hint: "name one with --package: " + few(names),
	}
}

// cloneCalls returns how workflows of the package's repository call each other and those of others,
// by the clone that --git names or the one around the working directory; nothing if that is no
// clone of it.
func cloneCalls(ctx context.Context, o *importOptions, pkg *aqua.Package) ([]propose.Rule, error) {
	want, err := pkg.Repository()
	if err != nil {
		return nil, nil // which is said when a policy is drafted
	}
	dir := o.git.Value
	if !o.git.Given {
		if dir, err = worktree.Find("."); err != nil {
			return nil, nil
		}
	}
	p, err := cloneOf(ctx, dir)
	switch {
	case err == nil && p.Repository == want:
		tree, err := worktree.Open(dir)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "%s", err)
		}
		defer tree.Close()
		p.Files = tree
		return propose.Calls(p), nil
	case !o.git.Given:
		return nil, nil
	case err == nil:
		err = fmt.Errorf("it is not a clone of %s: its remote origin is another", want)
	}
	return nil, policy.Faultf(policy.Usage, "--git %s: %s", dir, err)
}

// cloneOf says what Git knows of a clone; its repository is that of the remote origin.
func cloneOf(ctx context.Context, dir string) (p propose.Project, err error) {
	repo, err := git.Open(ctx, dir)
	if err != nil {
		return p, err
	}
	defer repo.Close()
	remotes, err := repo.Remotes()
	if err != nil {
		return p, err
	}
	p.Repository, _ = policy.NormalizeLocator(withoutUser(remotes["origin"]))
	if p.Tags, err = repo.Tags(); err != nil {
		return p, err
	}
	snapshot, err := repo.Local()
	if err != nil {
		return p, err
	}
	p.Default = cmp.Or(strings.TrimPrefix(snapshot.Default, "refs/heads/"), "main")
	return p, nil
}

// undrafted says why there is no draft, with the next command where an option helps.
func (o *importOptions) undrafted(path string, pkg *aqua.Package, cloned bool, err error) error {
	f := policy.Faultf(policy.Usage, "%s: %s: %s", path, pkg.Name, err)
	if pe := (*policy.ParseError)(nil); errors.As(err, &pe) {
		f.Hint = pe.Problems[0].Hint
	}
	if unknown := (*aqua.UnknownError)(nil); errors.As(err, &unknown) && unknown.Flags != "" {
		f.Hint = "repopolicy import aqua " + spelling.ShellWord(path)
		for _, flag := range []struct{ name, value string }{
			{"--package", o.pkg.Value}, {"--git", o.git.Value}, {"--caller", o.caller.Value},
		} {
			if flag.value != "" {
				f.Hint += " " + flag.name + " " + spelling.ShellWord(flag.value)
			}
		}
		for _, pair := range o.signerRefs {
			f.Hint += " --signer-ref " + spelling.ShellWord(pair)
		}
		f.Hint += " " + unknown.Flags
		if !cloned && !o.git.Given {
			f.Hint += "; or run it in a clone of " + pkg.Owner + "/" + pkg.Repo
		}
	}
	return f
}

// few lists some of the names.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
