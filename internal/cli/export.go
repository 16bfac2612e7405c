// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/propose/export"
	"github.com/repopolicy/repopolicy/policy"
)

type exportOptions struct {
	command.Lookup
	policy, rule, tag, artifact, oci command.Once
	to                               command.Format
	strict                           bool
}

func (a *app) exportCommand() *cobra.Command {
	o := &exportOptions{}
	cmd := &cobra.Command{
		Use:   "export --to TARGET|--oci REFERENCE [flags]",
		Short: "write the policy for other verifiers, registries, forges and people",
		Long: `Export writes the rules of a policy in the form of something else: commands for
cosign or gh, objects for Sigstore's policy-controller or Kyverno, trusted publishers of
npm or PyPI, identities for pylock.toml, a part of an entry of aqua's registry, a script
that adds settings on GitHub, or a page VERIFY.md for people.

Each is the strictest rule that the target can express, and what it does not check
stands in comments beginning "not checked". With --strict the result allows no more than
the policy: where a target cannot express a field, nothing is written and every such
field is named with its place.

An export is a snapshot of one version. Commands end with the policy's expiry;
objects for a cluster must be replaced when the policy changes or expires.

--oci copies what the repository that -R names keeps of its policy, every version with its
signatures, into a registry or an image layout: under a tag, or attached to the image
whose digest the reference names. --from of other commands reads it there.`,
		Example: `  repopolicy export --policy policy.toml --to gh --tag v1.2.3 --artifact widget_1.2.3.tar.gz
  repopolicy export --policy policy.toml --to policy-controller --rule images
  repopolicy export --to github > settings.sh
  repopolicy export -R acme/widget --oci oci:registry.example.com/acme/widget:policy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.oci.Given:
				return a.exportOCI(cmd.Context(), o)
			case o.Repo.Given, o.From.Given:
				return policy.Faultf(policy.Usage,
					"-R and --from go with --oci: for other verifiers a policy file is exported")
			}
			return a.export(o)
		},
	}
	f := cmd.Flags()
	o.policy.Kind, o.rule.Kind, o.tag.Kind, o.artifact.Kind, o.to.Allowed = "FILE", "NAME", "TAG", "FILE", export.Targets()
	f.Var(&o.policy, "policy", "export this policy file, by default "+command.DefaultPolicy)
	f.Var(&o.to, "to", "for which verifier")
	f.Var(&o.rule, "rule", "export this rule alone")
	f.Var(&o.tag, "tag", "for the release of this tag")
	f.Var(&o.artifact, "artifact", "for this file")
	f.BoolVar(&o.strict, "strict", false, "write nothing where the target cannot check all that a rule says")
	o.oci.Kind = "REFERENCE"
	f.Var(&o.oci, "oci", "copy the policy that -R finds there: oci:REGISTRY/NAME or oci-layout:DIR, "+
		"with :TAG or @DIGEST of an image")
	o.Flags(cmd)
	o.SourceFlags(cmd)
	refuseTUF(f)
	return cmd
}

// refuseTUF says to those who type what was `repopolicy export --tuf` once where it is now.
func refuseTUF(f *pflag.FlagSet) {
	const moved = refused("TUF metadata is written by another program: " +
		"type `repopolicy-trust from-policy DIR`, with the other flags as before")
	f.VarP(moved, "yes", "y", "")
	for _, name := range []string{"tuf", "sign", "key", "signing-config", "expect-identity"} {
		f.Var(moved, name, "")
	}
	for _, name := range []string{"tuf", "sign", "key", "signing-config", "expect-identity", "yes"} {
		_ = f.MarkHidden(name)
	}
	f.Lookup("sign").NoOptDefVal, f.Lookup("yes").NoOptDefVal = "true", "true"
}

func (a *app) export(o *exportOptions) error {
	if !o.to.Given {
		return &policy.Fault{
			Reason: policy.Usage, Text: "--to: not given",
			Hint: "name one of " + strings.Join(export.Targets(), ", "),
		}
	}
	path := o.policy.Value
	if !o.policy.Given {
		path = command.DefaultPolicy
	}
	doc, err := command.LoadPolicy(path)
	if err != nil {
		return err
	}
	text, err := export.Export(o.to.Value, export.Request{
		Doc: doc, Path: path, Rule: o.rule.Value, Tag: o.tag.Value, Artifact: o.artifact.Value, Now: a.Now(),
		Strict: o.strict,
	})
	var r *export.Refusal
	if errors.As(err, &r) {
		return refusedExport(path, o.to.Value, o.strict, r)
	}
	if err != nil {
		return policy.Faultf(policy.Usage, "%s: %s", path, err)
	}
	// Neither a policy nor an export holds a character that is not printable; to
	// escape anything would change what is to be run.
	return a.Out.Verbatim(text)
}

// refusedExport says for every field why it stops the export.
func refusedExport(path, target string, strict bool, r *export.Refusal) *policy.Fault {
	f := policy.Faultf(policy.Usage, "the policy cannot be exported to %s", target)
	if strict {
		f.Text += " without allowing more"
	}
	for _, p := range r.Problems {
		f.More = append(f.More, fmt.Sprintf("%s:%s: %s: %s", path, p.Pos, p.Path, p.Msg))
		if p.Hint != "" && !slices.Contains(strings.Split(f.Hint, "; "), p.Hint) {
			f.Hint = strings.TrimPrefix(f.Hint+"; "+p.Hint, "; ")
		}
	}
	return f
}
