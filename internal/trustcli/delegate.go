// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) delegateCommand() *cobra.Command {
	o := &keyOptions{}
	var role string
	var anchors, repositories, paths []string
	cmd := &cobra.Command{
		Use:   "delegate DIR --anchor URL=sha256:HEX... | --role ROLE --repositories PATTERN... --identity NAME=ISSUER...",
		Short: "anchor repositories, or let others anchor theirs",
		Long: `Delegate says in a trust root which chain of policies is that of a repository: the
one that begins with the statement of this digest. Whoever names the root as a super root in
trust.toml finds the chain "anchored", whatever else is bound.

With --role and --repositories, others say that for the repositories that the patterns
match: OIDC identities (TAP 18) or keys, as many of them as --threshold demands. What the
root itself says of a repository outranks them. With --paths they list artifacts, which
"repopolicy verify --tuf" and rules with tuf let pass.`,
		Example: `  repopolicy-trust delegate foundation --anchor https://github.com/acme/widget=sha256:…
  repopolicy-trust delegate foundation --role acme --repositories 'https://github.com/acme/*' \
      --identity alice@example.com=https://accounts.google.com \
      --identity bob@example.com=https://accounts.google.com --threshold 2
  repopolicy-trust delegate foundation --role widget --paths 'widget/*/*' \
      --key alice.pub --key bob.pub --key carol.pub --threshold 2`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(
				args[0],
				func(r *author.Repository) error { return delegate(r, o, role, anchors, repositories, paths) },
			)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&anchors, "anchor", nil, "the first statement of a repository: `URL=sha256:HEX`; may be repeated")
	f.StringVar(&role, "role", "", "delegate to this `ROLE`, or let it say the anchors")
	f.StringArrayVar(&repositories, "repositories", nil,
		"`PATTERN` of the repositories that the role anchors; may be repeated")
	f.StringArrayVar(&paths, "paths", nil,
		"`PATTERN` of the targets that the role lists, such as 'widget/*/*', in which * is no slash; may be repeated")
	return cmd
}

func delegate(r *author.Repository, o *keyOptions, role string, anchors, repositories, paths []string) error {
	if len(anchors) == 0 && len(repositories) == 0 && len(paths) == 0 {
		return &policy.Fault{
			Reason: policy.Usage, Text: "nothing to delegate",
			Hint: "name a repository with --anchor, or a role's with --repositories, or what it lists with --paths",
		}
	}
	if len(repositories)+len(paths) > 0 {
		if err := delegateTo(r, o, role, repositories, paths); err != nil {
			return err
		}
	}
	for _, text := range anchors {
		anchor, err := parseAnchor(text)
		if err != nil {
			return err
		}
		path := trust.AnchorTarget(anchor.Repository)
		if err := r.Add(cmp.Or(role, author.Targets), path, anchor.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// delegateTo lets a role anchor the repositories that patterns match, and list targets with paths
// that patterns match.
func delegateTo(r *author.Repository, o *keyOptions, role string, repositories, listed []string) error {
	if role == "" {
		return policy.Faultf(policy.Usage, "--repositories and --paths without --role: whose are they?")
	}
	s, err := o.setup()
	if err != nil {
		return err
	}
	var paths []string
	for _, p := range listed {
		if err := trust.CheckPaths(p); err != nil {
			return policy.Faultf(policy.Usage, "--paths: %s", err)
		}
		paths = append(paths, p)
	}
	for _, p := range repositories {
		path, err := trust.AnchorPattern(p)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	return r.Delegate(role, paths, s)
}

// parseAnchor reads URL=sha256:HEX.
func parseAnchor(text string) (a trust.Anchor, err error) {
	i := strings.LastIndex(text, "=sha256:")
	if i < 0 {
		return a, policy.Faultf(policy.Usage,
			"--anchor: %s is not written like https://github.com/acme/widget=sha256:…", text)
	}
	if a.Repository, err = policy.NormalizeLocator(text[:i]); err != nil {
		return a, policy.Faultf(policy.Usage, "--anchor: %s", err)
	}
	d, err := policy.ParseDigest(text[i+1:])
	if err != nil {
		return a, policy.Faultf(policy.Usage, "--anchor: %s", err)
	}
	a.Statement = d.Hex
	return a, nil
}
