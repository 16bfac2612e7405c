// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// expiresSoon is how long before a root's metadata expires that is said.
const expiresSoon = 7 * 24 * time.Hour

func (a *app) trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "trust roots: what is trusted, and copies of it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &policy.Fault{
				Reason: policy.Usage, Text: "no command given",
				Hint: "`repopolicy trust show` prints what is trusted",
			}
		},
	}
	cmd.AddCommand(a.trustShowCommand(), a.trustUpdateCommand(), a.trustExportCommand(), a.trustAuditCommand())
	for _, verb := range []string{"init", "add", "delegate", "rotate", "sign", "publish"} {
		cmd.AddCommand(command.Moved(verb, "repopolicy-trust "+verb))
	}
	return cmd
}

type trustOptions struct {
	command.Roots
	offline bool
	output  command.Once
}

func (o *trustOptions) configFlag(cmd *cobra.Command) {
	o.TrustConfig.Kind = "FILE"
	cmd.Flags().
		Var(&o.TrustConfig, "trust-config", "read this file instead of trust.toml in your configuration directory")
}

func (a *app) trustShowCommand() *cobra.Command {
	o := &trustOptions{}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "print which roots are trusted, for what, and until when",
		Long: `Show prints the trust roots: Sigstore's public instance and those of your trust.toml,
where each comes from, what it has besides certificate authorities and logs, and for
which repositories it speaks. It follows each of them, off-line as far as the cache goes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trustShow(cmd.Context(), o, nil, false) },
	}
	o.configFlag(cmd)
	cmd.Flags().BoolVar(&o.offline, "offline", false, "do not use the network")
	return cmd
}

func (a *app) trustUpdateCommand() *cobra.Command {
	o := &trustOptions{}
	cmd := &cobra.Command{
		Use:   "update [NAME...]",
		Short: "follow trust roots to their newest metadata now",
		Long: "Update follows the trust roots, or those that are named, to their newest metadata; otherwise\n" +
			"that happens once a day.",
		RunE: func(cmd *cobra.Command, args []string) error { return a.trustShow(cmd.Context(), o, args, true) },
	}
	o.configFlag(cmd)
	return cmd
}

// trustShow prints roots; fresh asks for newer metadata first.
func (a *app) trustShow(ctx context.Context, o *trustOptions, names []string, fresh bool) error {
	c, err := a.Finder().TrustConfig(o.Trust())
	if err != nil {
		return err
	}
	all := len(names) == 0
	if all {
		names = everyRoot(c)
	}
	for _, name := range names { // all, before any is asked for
		if err := isRoot(c, name); err != nil {
			return err
		}
	}
	class := policy.ClassOK
	for _, name := range names {
		if err := a.showRoot(ctx, c, name, trust.Options{Offline: o.offline, Fresh: fresh}); err != nil {
			f := command.FaultOf(err)
			if f == nil || !all {
				return err
			}
			a.Out.Line("%s", name)
			a.Out.Line("  not usable  %s", f.Text)
			class = policy.Worst(class, f.Reason.Class())
		}
	}
	if all {
		a.showScopes(c)
	}
	if class != policy.ClassOK {
		return command.Decided{Class: class}
	}
	return nil
}

// everyRoot returns the names of the roots that are trusted.
func everyRoot(c *trust.Config) []string {
	names := []string{string(trust.PublicGood)}
	if c != nil {
		for _, r := range c.Roots {
			names = append(names, r.Name)
		}
	}
	return names
}

// isRoot refuses a name that no root has.
func isRoot(c *trust.Config, name string) error {
	if _, ok := c.Root(name); !ok && name != string(trust.PublicGood) {
		return policy.Faultf(policy.Usage, "no root %q is configured", name)
	}
	return nil
}

// showScopes prints which roots speak for which repositories.
func (a *app) showScopes(c *trust.Config) {
	if c != nil {
		for _, s := range c.Scopes {
			more := ""
			if s.Continue {
				more = ", then what follows"
			}
			repositories, roots := strings.Join(s.Repositories, ", "), strings.Join(s.Roots, ", ")
			a.Out.Line("%s: %d of %s%s", repositories, s.Threshold, roots, more)
		}
		for _, s := range c.Anchors {
			a.Out.Line("%s: anchored by %s", strings.Join(s.Repositories, ", "), s.Root)
		}
	}
	a.Out.Line("everything else: %s", trust.PublicGood)
}

func (a *app) showRoot(ctx context.Context, c *trust.Config, name string, how trust.Options) error {
	var expires time.Time
	var role string
	how.Followed = func(r string, h tuf.Header) { role, expires = r, h.Expires }
	r, err := a.Finder().Open(ctx, c, name, how)
	super := role != "" && errors.Is(err, tuf.ErrNoTarget) // it has no trusted root, and may anchor
	if err != nil && !super {
		return find.RootFault(err)
	}
	named, ok := c.Root(name)
	var others []trust.ListedIntroduction
	if ok { // it was followed a moment ago
		if others, err = c.Introductions(ctx, name, a.Finder().Named(c, trust.Options{Offline: how.Offline})); err != nil {
			return find.RootFault(err)
		}
	}
	a.Out.Line("%s", name)
	if ok {
		a.Out.Line("  from        %s", named.URL)
	}
	switch {
	case super && len(named.Beside) > 0:
		a.Out.Line("  for         what %s may leave open: it has no trusted root", strings.Join(named.Beside, ", "))
	case super && len(others) > 0:
		a.Out.Line("  for         anchors, and the roots that it introduces: it has no trusted root")
	case super:
		a.Out.Line("  for         anchors alone: it has no trusted root")
	default:
		a.Out.Line("  root        %s", r.Digest())
	}
	a.showContent(c, name, r)
	a.showIntroductions(c, others)
	if !expires.IsZero() {
		a.showExpiry(name, role, expires)
	}
	return nil
}

// showContent prints what a root has besides certificate authorities and logs.
func (a *app) showContent(c *trust.Config, name string, r trust.Root) {
	if r.Forges != nil {
		a.Out.Line("  forges      sha256:%s", r.Forges.Digest())
	}
	if r.Directory != nil {
		a.Out.Line("  directory   %s", r.Directory.URL)
	}
	if by := c.Beside(name); by != "" {
		a.Out.Line("  beside it   %s, for what it does not say itself", by)
	} else if name == string(trust.PublicGood) && trust.HasProject() {
		a.Out.Line("  beside it   the root of this project, for what it does not say itself")
	}
}

// showIntroductions prints which roots a root introduces.
func (a *app) showIntroductions(c *trust.Config, listed []trust.ListedIntroduction) {
	for _, l := range listed {
		if l.Err != nil {
			a.Out.Line("  introduces  nobody at %s: %s", l.Path, l.Err)
			continue
		}
		own := ""
		if _, ok := c.Root(l.Name); ok {
			own = "; yours of that name comes in its place"
		}
		a.Out.Line("  introduces  %s for %s, from %s, says its role %s%s", l.Name, strings.Join(l.Repositories, ", "), l.URL,
			l.Role, own)
	}
}

// showExpiry prints until when a root is good.
func (a *app) showExpiry(name, role string, expires time.Time) {
	a.Out.Line("  expires     %s (%s)", expires.UTC().Format(time.RFC3339), role)
	if left := expires.Sub(a.Now()); left < expiresSoon {
		a.Err.Line("note: the %s of %s expires in %s; whoever keeps it has to sign it anew", role, name,
			left.Round(time.Hour))
	}
}

func (a *app) trustExportCommand() *cobra.Command {
	o := &trustOptions{}
	cmd := &cobra.Command{
		Use:   "export NAME --output DIR|oci-layout:DIR",
		Short: "copy a trust root with every rotation, for a machine without a network",
		Long: `Export follows a trust root from the metadata that this machine pins, and writes
what it read, every root on the way, the current metadata and all targets, as a
directory or OCI layout that the "url" of a [[root]] can name.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.trustExport(cmd.Context(), o, args[0]) },
	}
	o.configFlag(cmd)
	o.output.Kind = "DIR"
	cmd.Flags().VarP(&o.output, "output", "o", "write it here")
	return cmd
}

func (a *app) trustExport(ctx context.Context, o *trustOptions, name string) error {
	if !o.output.Given {
		return &policy.Fault{
			Reason: policy.Usage, Text: "--output: not given", Hint: "name a directory, or oci-layout:DIR",
		}
	}
	if err := command.CheckPlace(o.output.Value); err != nil {
		return err
	}
	c, err := a.Finder().TrustConfig(o.Trust())
	if err != nil {
		return err
	}
	if err := isRoot(c, name); err != nil {
		return err
	}
	files := &oci.Files{Metadata: map[string][]byte{}, Targets: map[string]oci.Content{}}
	record := func(target bool, name string, data []byte) {
		if target {
			files.Targets[name] = oci.Bytes(data)
		} else {
			files.Metadata[name] = data
		}
	}
	how := a.Finder().Named(c, trust.Options{Record: record})
	if name == string(trust.PublicGood) {
		how = a.Finder().Followed(trust.Options{Record: record})
	}
	if err := c.Fetch(ctx, name, how); err != nil {
		return find.RootFault(err)
	}
	if len(files.Metadata) == 0 {
		return policy.Faultf(policy.TrustRootMissing, "%s is not followed from TUF metadata", name)
	}
	return a.Deliver(ctx, o.output.Value, files)
}
