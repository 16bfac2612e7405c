// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// expiresSoon is how long before a root's metadata expires that is said.
const expiresSoon = 7 * 24 * time.Hour

func (a *app) trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "trust roots: what is trusted, and roots of your own",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &policy.Fault{
				Reason: policy.Usage, Text: "no command given",
				Hint: "`repopolicy trust show` prints what is trusted",
			}
		},
	}
	cmd.AddCommand(a.trustShowCommand(), a.trustUpdateCommand(), a.trustExportCommand())
	cmd.AddCommand(a.trustInitCommand(), a.trustAddCommand(), a.trustDelegateCommand(), a.trustRotateCommand(), a.trustSignCommand(), a.trustPublishCommand())
	return cmd
}

type trustOptions struct {
	Roots
	offline bool
	output  Once
}

func (o *trustOptions) configFlag(cmd *cobra.Command) {
	o.TrustConfig.Kind = "FILE"
	cmd.Flags().Var(&o.TrustConfig, "trust-config", "read this file instead of trust.toml in your configuration directory")
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
		Long:  "Update follows the trust roots, or those that are named, to their newest metadata; otherwise\nthat happens once a day.",
		RunE:  func(cmd *cobra.Command, args []string) error { return a.trustShow(cmd.Context(), o, args, true) },
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
		names = []string{string(trust.PublicGood)}
		if c != nil {
			for _, r := range c.Roots {
				names = append(names, r.Name)
			}
		}
	}
	for _, name := range names { // all, before any is asked for
		if _, ok := c.Root(name); !ok && name != string(trust.PublicGood) {
			return policy.Faultf(policy.Usage, "no root %q is configured", name)
		}
	}
	class := policy.ClassOK
	for _, name := range names {
		if err := a.showRoot(ctx, c, name, trust.Options{Offline: o.offline, Fresh: fresh}); err != nil {
			f := FaultOf(err)
			if f == nil || !all {
				return err
			}
			a.Out.Line("%s\n  not usable  %s", name, f.Text)
			class = policy.Worst(class, f.Reason.Class())
		}
	}
	if c != nil && all {
		for _, s := range c.Scopes {
			more := ""
			if s.Continue {
				more = ", then what follows"
			}
			a.Out.Line("%s: %d of %s%s", strings.Join(s.Repositories, ", "), s.Threshold, strings.Join(s.Roots, ", "), more)
		}
		for _, s := range c.Anchors {
			a.Out.Line("%s: anchored by %s", strings.Join(s.Repositories, ", "), s.Root)
		}
	}
	if all {
		a.Out.Line("everything else: %s", trust.PublicGood)
	}
	if class != policy.ClassOK {
		return Decided{class}
	}
	return nil
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
	a.Out.Line("%s", name)
	named, ok := c.Root(name)
	if ok {
		a.Out.Line("  from        %s", named.URL)
	}
	switch {
	case super && len(named.Beside) > 0:
		a.Out.Line("  for         what %s may leave open: it has no trusted root", strings.Join(named.Beside, ", "))
	case super:
		a.Out.Line("  for         anchors alone: it has no trusted root")
	default:
		a.Out.Line("  root        %s", r.Digest())
	}
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
	if !expires.IsZero() {
		a.Out.Line("  expires     %s (%s)", expires.UTC().Format(time.RFC3339), role)
		if left := expires.Sub(a.Now()); left < expiresSoon {
			a.Err.Line("note: the %s of %s expires in %s; whoever keeps it has to sign it anew", role, name, left.Round(time.Hour))
		}
	}
	return nil
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
		return &policy.Fault{Reason: policy.Usage, Text: "--output: not given", Hint: "name a directory, or oci-layout:DIR"}
	}
	if err := checkPlace(o.output.Value); err != nil {
		return err
	}
	c, err := a.Finder().TrustConfig(o.Trust())
	if err != nil {
		return err
	}
	if _, ok := c.Root(name); !ok && name != string(trust.PublicGood) {
		return policy.Faultf(policy.Usage, "no root %q is configured", name)
	}
	files := &oci.Files{Metadata: map[string][]byte{}, Targets: map[string][]byte{}}
	record := into(files.Metadata, files.Targets)
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
	return a.deliver(ctx, o.output.Value, files)
}

// checkPlace refuses where nothing can be delivered.
func checkPlace(to string) error {
	dir := to
	if oci.IsReference(to) {
		ref, err := oci.ParseReference(to)
		switch {
		case err != nil:
			return policy.Faultf(policy.Usage, "%s", err)
		case ref.Digest != "":
			return policy.Faultf(policy.Usage, "%s: a digest follows from what is pushed; name a tag", to)
		}
		if dir = ref.Layout; dir == "" {
			return nil
		}
	}
	if err := file.CheckDir(dir); err != nil {
		return Unwritten(err)
	}
	return nil
}

// deliver writes a TUF repository to a directory, a registry or a layout.
func (a *app) deliver(ctx context.Context, to string, files *oci.Files) error {
	if !oci.IsReference(to) {
		if err := author.WriteTree(to, files); err != nil {
			return err
		}
		a.Err.Line("%s: %d files of metadata, %d targets", to, len(files.Metadata), len(files.Targets))
		return nil
	}
	ref, err := oci.ParseReference(to)
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	digest, err := oci.Push(ctx, ref, a.Finder().Registry(), files)
	if err != nil {
		return &policy.Fault{
			Reason: policy.TrustRootMissing, Text: err.Error(),
			Hint: "run the command again: what is there already is not sent again",
		}
	}
	a.Out.Line("%s", ref.At(digest))
	a.Err.Line("%s: %d files of metadata, %d targets", to, len(files.Metadata), len(files.Targets))
	return nil
}

// names prints keys for a person.
func keyNames(keys []author.Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprint(k))
	}
	return strings.Join(out, ", ")
}
