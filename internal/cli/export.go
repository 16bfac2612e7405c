// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/propose/export"
	"github.com/repopolicy/repopolicy/policy"
)

type exportOptions struct {
	policy, rule, tag, artifact, tuf, oci typed
	to                                    format
	sign                                  bool
	signing                               signOptions // of the metadata
}

func (a *app) exportCommand() *cobra.Command {
	o := &exportOptions{}
	cmd := &cobra.Command{
		Use:   "export --to TARGET|--tuf DIR|--oci REFERENCE [flags]",
		Short: "write the policy for cosign, gh, policy-controller, Kyverno, clients of TUF or registries",
		Long: `Export writes the rules of a policy as commands for cosign or gh, or as objects
for Sigstore's policy-controller or Kyverno. The result never allows more than the
policy: where a rule says something that the target cannot express, nothing is
written and every such field is named with its place.

An export is a snapshot of one version. Commands end with the policy's expiry;
objects for a cluster must be replaced when the policy changes or expires.

--tuf writes TUF metadata instead: for each version of the chain that -R finds, or for
one policy file, a root whose keys are the maintainers and targets that list the
policy and delegate to people whom rules name (TAP 18). --sign adds the signature of whoever
signs in, or of --key. What TUF cannot express is refused where it says who maintains, and left out
with a note where it says who releases.

--oci copies what the repository that -R names keeps of its policy, every version with its
signatures, into a registry or an image layout: under a tag, or attached to the image
whose digest the reference names. --from of other commands reads it there.`,
		Example: `  repopolicy export --policy policy.toml --to gh --tag v1.2.3 --artifact widget_1.2.3.tar.gz
  repopolicy export --policy policy.toml --to policy-controller --rule images
  repopolicy export -R acme/widget --oci oci:registry.example.com/acme/widget:policy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.oci.set:
				return a.exportOCI(cmd.Context(), o)
			case o.tuf.set:
				return a.exportTUF(cmd.Context(), o)
			case o.signing.repo.set, o.signing.from.set:
				return policy.Faultf(policy.Usage,
					"-R and --from go with --tuf and --oci: for other verifiers a policy file is exported")
			case o.sign, o.signing.key.set, o.signing.expect.set:
				return policy.Faultf(policy.Usage, "--sign, --key and --expect-identity go with --tuf")
			}
			return a.export(o)
		},
	}
	f := cmd.Flags()
	o.policy.name, o.rule.name, o.tag.name, o.artifact.name, o.to.allowed = "FILE", "NAME", "TAG", "FILE", export.Targets()
	f.Var(&o.policy, "policy", "export this policy file, by default "+defaultPolicy)
	f.Var(&o.to, "to", "for which verifier")
	f.Var(&o.rule, "rule", "export this rule alone")
	f.Var(&o.tag, "tag", "for the release of this tag")
	f.Var(&o.artifact, "artifact", "for this file")
	o.tuf.name, o.signing.key.name = "DIR", "FILE"
	f.Var(&o.tuf, "tuf", "write TUF metadata into this directory")
	o.oci.name = "REFERENCE"
	f.Var(&o.oci, "oci", "copy the policy that -R finds there: oci:REGISTRY/NAME or oci-layout:DIR, with :TAG or @DIGEST of an image")
	f.BoolVar(&o.sign, "sign", false, "sign the metadata")
	f.Var(&o.signing.key, "key", "sign with the private key in this PEM file")
	f.BoolVarP(&o.signing.yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.StringArrayVar(&o.signing.configs, "signing-config", nil, "sign with the services that this signing config `FILE` names; may be repeated")
	o.signing.expectFlag(cmd)
	o.signing.repoOptions.flags(cmd)
	o.signing.sources(cmd)
	return cmd
}

func (a *app) export(o *exportOptions) error {
	if !o.to.set {
		return &policy.Fault{
			Reason: policy.Usage, Text: "--to: not given",
			Hint: "name one of " + strings.Join(export.Targets(), ", "),
		}
	}
	path := o.policy.value
	if !o.policy.set {
		path = defaultPolicy
	}
	doc, err := loadPolicy(path)
	if err != nil {
		return err
	}
	text, err := export.Export(o.to.value, export.Request{
		Doc: doc, Path: path, Rule: o.rule.value, Tag: o.tag.value, Artifact: o.artifact.value, Now: a.Now(),
	})
	var r *export.Refusal
	if errors.As(err, &r) {
		return refusedExport(path, o.to.value, r)
	}
	if err != nil {
		return policy.Faultf(policy.Usage, "%s: %s", path, err)
	}
	// Neither a policy nor an export holds a character that is not printable; to
	// escape anything would change what is to be run.
	return a.out.Verbatim(text)
}

// refusedExport says for every field why it stops the export.
func refusedExport(path, target string, r *export.Refusal) *policy.Fault {
	f := policy.Faultf(policy.Usage, "the policy cannot be exported to %s without allowing more", target)
	for _, p := range r.Problems {
		f.More = append(f.More, fmt.Sprintf("%s:%s: %s: %s", path, p.Pos, p.Path, p.Msg))
		if p.Hint != "" && !slices.Contains(strings.Split(f.Hint, "; "), p.Hint) {
			f.Hint = strings.TrimPrefix(f.Hint+"; "+p.Hint, "; ")
		}
	}
	return f
}
