// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

// delegateOptions are the flags of delegate.
type delegateOptions struct {
	keyOptions
	introduced
	role, withdrawn, removed string
	anchors, repositories    []string
	listed                   []string // patterns of targets
}

func (a *app) delegateCommand() *cobra.Command {
	o := &delegateOptions{}
	cmd := &cobra.Command{
		Use: "delegate DIR --anchor URL=sha256:HEX... | --root NAME=FILE --url URL --scope PATTERN... | " +
			"--role ROLE --repositories PATTERN... --identity NAME=ISSUER...",
		Short: "anchor repositories, introduce other roots, or let others do so",
		Long: `Delegate says in a trust root which chain of policies is that of a repository: the
one that begins with the statement of this digest. Whoever names the root as a super root in
trust.toml finds the chain "anchored", whatever else is bound.

With --root it introduces another trust root, which judges the repositories of --scope in
its place: its own certificate authorities, logs, directory and forges, followed from the
metadata in FILE through every rotation. Whoever names this root in a [[scope]] of trust.toml
has the other one judge, and is told so; on github.com and gitlab.com no introduced root does.

With --role, others say that for the repositories that the patterns match, --repositories
of anchors and --scope of roots: OIDC identities (TAP 18) or keys, as many of them as
--threshold demands. What the root itself says of a repository outranks them. With --paths
they list artifacts, which "repopolicy verify --tuf" and rules with tuf let pass. --withdraw
and --remove-role take back what was delegated.`,
		Example: `  repopolicy-trust delegate foundation --anchor https://github.com/acme/widget=sha256:…
  repopolicy-trust delegate foundation --role acme --repositories 'https://github.com/acme/*' \
      --identity alice@example.com=https://accounts.google.com \
      --identity bob@example.com=https://accounts.google.com --threshold 2
  repopolicy-trust delegate foundation --role widget --paths 'widget/*/*' \
      --key alice.pub --key bob.pub --key carol.pub --threshold 2
  repopolicy-trust delegate foundation --root acme=acme.root.json --url https://tuf.acme.example \
      --scope 'https://git.acme.example/**' --key alice.pub --key bob.pub --threshold 2
  repopolicy-trust delegate foundation --role acme --withdraw acme`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return a.change(args[0], func(r *author.Repository) error { return a.delegate(cmd.Context(), r, o) })
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.Var((*command.List)(&o.anchors), "anchor", "the first statement of a repository: `URL=sha256:HEX`; may be repeated")
	f.StringVar(&o.role, "role", "", "delegate to this `ROLE`, or let it say what is said")
	f.Var((*command.List)(&o.repositories), "repositories",
		"`PATTERN` of the repositories that the role anchors; may be repeated")
	f.Var((*command.List)(&o.listed), "paths",
		"`PATTERN` of the targets that the role lists, such as 'widget/*/*', in which * is no slash; may be repeated")
	f.StringVar(&o.root, "root", "", "introduce a root: `NAME=FILE` with the metadata to begin with")
	f.StringVar(&o.url, "url", "", "where its TUF repository is: an https `URL`, or oci:REGISTRY/NAME")
	f.Var((*command.List)(&o.scope), "scope",
		"`PATTERN` of the repositories that it judges, or for which the role introduces roots; may be repeated")
	f.StringVar(&o.by, "identities", "",
		"under whose root its keepers sign that are identities: public-good, which is the default, or introducer")
	f.StringVar(&o.withdrawn, "withdraw", "", "introduce the root of this `NAME` no more")
	f.StringVar(&o.removed, "remove-role", "", "delegate to this `ROLE` no more")
	return cmd
}

// check refuses flags that say nothing, or contradict each other.
func (o *delegateOptions) check() error {
	says := len(o.anchors)+len(o.repositories)+len(o.listed)+len(o.scope) > 0 || o.root != ""
	back := o.withdrawn != "" || o.removed != ""
	switch {
	case !says && !back:
		return &policy.Fault{
			Reason: policy.Usage, Text: "nothing to delegate",
			Hint: "name a repository with --anchor, a root with --root, or what is a role's with --repositories, --scope or --paths",
		}
	case says && back, o.withdrawn != "" && o.removed != "":
		return policy.Faultf(policy.Usage, "--withdraw and --remove-role stand alone: one change after the other")
	case o.root != "" && len(o.scope) == 0:
		return &policy.Fault{
			Reason: policy.Usage, Text: "--root without --scope: which repositories does it judge?",
			Hint: "name them with --scope 'https://git.acme.example/**'",
		}
	case o.root == "" && (o.url != "" || o.by != ""):
		return policy.Faultf(policy.Usage, "--url and --identities are about the root that --root introduces")
	case len(o.repositories)+len(o.listed) > 0 && o.role == "":
		return policy.Faultf(policy.Usage, "--repositories and --paths without --role: whose are they?")
	case o.root == "" && len(o.scope) > 0 && o.role == "":
		return policy.Faultf(policy.Usage, "--scope without --root and --role: who judges them, or who says so?")
	}
	return nil
}

func (a *app) delegate(ctx context.Context, r *author.Repository, o *delegateOptions) error {
	switch {
	case o.removed != "":
		return r.Undelegate(o.removed)
	case o.withdrawn != "":
		return withdraw(r, cmp.Or(o.role, author.Targets), o.withdrawn, nil)
	}
	var anchors []trust.Anchor
	for _, text := range o.anchors {
		anchor, err := parseAnchor(text)
		if err != nil {
			return err
		}
		anchors = append(anchors, anchor)
	}
	added, err := a.introductions(ctx, r, &o.introduced)
	if err != nil {
		return err
	}
	role, err := o.delegateTo(r, added)
	if err != nil {
		return err
	}
	role = cmp.Or(role, author.Targets)
	if err := introduce(r, role, added); err != nil {
		return err
	}
	for _, anchor := range anchors {
		if err := r.Add(role, trust.AnchorTarget(anchor.Repository), anchor.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// delegateTo lets a role anchor repositories and introduce roots for them, if somebody is
// named who signs for it, and returns the role that says what is said; "" for the root itself.
func (o *delegateOptions) delegateTo(r *author.Repository, added map[string]*trust.Introduction) (string, error) {
	keys := len(o.keyFiles)+len(o.identities) > 0
	paths, err := o.paths()
	if err != nil {
		return "", err
	}
	role, err := o.roleOf(r, o.role, keys, paths)
	if err != nil {
		return "", err
	}
	if err := checkIntroductions(r, cmp.Or(role, author.Targets), added); err != nil {
		return "", err
	}
	if !keys && (added != nil || len(paths) == 0) {
		return role, nil
	}
	s, err := o.setup()
	if err != nil {
		return "", err
	}
	return role, r.Delegate(role, paths, s)
}

// paths returns the patterns of the targets that a role is to say.
func (o *delegateOptions) paths() (paths []string, err error) {
	for _, p := range o.listed {
		if err := trust.CheckPaths(p); err != nil {
			return nil, policy.Faultf(policy.Usage, "--paths: %s", err)
		}
		paths = append(paths, p)
	}
	for _, p := range o.repositories {
		path, err := trust.AnchorPattern(p)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	if len(o.scope) == 0 {
		return paths, nil
	}
	places, err := o.places()
	return append(paths, slices.Sorted(maps.Keys(places))...), err
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
