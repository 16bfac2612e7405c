// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/export"
	"github.com/repopolicy/repopolicy/policy"
)

type exportOptions struct {
	policy, rule, tag, artifact typed
	to                          format
}

func (a *app) exportCommand() *cobra.Command {
	o := &exportOptions{}
	cmd := &cobra.Command{
		Use:   "export --to TARGET [flags]",
		Short: "write the policy for cosign, gh, policy-controller or Kyverno",
		Long: `Export writes the rules of a policy as commands for cosign or gh, or as objects
for Sigstore's policy-controller or Kyverno. The result never allows more than the
policy: where a rule says something that the target cannot express, nothing is
written and every such field is named with its place.

An export is a snapshot of one version. Commands end with the policy's expiry;
objects for a cluster must be replaced when the policy changes or expires.`,
		Example: `  repopolicy export --policy policy.toml --to gh --tag v1.2.3 --artifact widget_1.2.3.tar.gz
  repopolicy export --policy policy.toml --to policy-controller --rule images`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.export(o) },
	}
	f := cmd.Flags()
	o.policy.name, o.rule.name, o.tag.name, o.artifact.name, o.to.allowed = "FILE", "NAME", "TAG", "FILE", export.Targets()
	f.Var(&o.policy, "policy", "export this policy file, by default "+defaultPolicy)
	f.Var(&o.to, "to", "for which verifier")
	f.Var(&o.rule, "rule", "export this rule alone")
	f.Var(&o.tag, "tag", "for the release of this tag")
	f.Var(&o.artifact, "artifact", "for this file")
	return cmd
}

func (a *app) export(o *exportOptions) error {
	if !o.to.set {
		return &fault{reason: policy.Usage, msg: "--to: not given", hint: "name one of " + strings.Join(export.Targets(), ", ")}
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
		return faultf(policy.Usage, "%s: %s", path, err)
	}
	// Neither a policy nor an export holds a character that is not printable; to
	// escape more would change what is to be run.
	a.out.raw(text)
	return nil
}

// refusedExport says for every field why it stops the export.
func refusedExport(path, target string, r *export.Refusal) *fault {
	f := faultf(policy.Usage, "the policy cannot be exported to %s without allowing more", target)
	for _, p := range r.Problems {
		f.more = append(f.more, fmt.Sprintf("%s:%s: %s: %s", path, p.Pos, p.Path, p.Msg))
		if p.Hint != "" && !slices.Contains(strings.Split(f.hint, "; "), p.Hint) {
			f.hint = strings.TrimPrefix(f.hint+"; "+p.Hint, "; ")
		}
	}
	return f
}
