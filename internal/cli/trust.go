// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/report"
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
	format  command.Format // of show and update
}

func (o *trustOptions) configFlag(cmd *cobra.Command) {
	o.TrustConfig.Kind = "FILE"
	cmd.Flags().
		Var(&o.TrustConfig, "trust-config", "read this file instead of trust.toml in your configuration directory")
}

func (a *app) trustShowCommand() *cobra.Command {
	o := &trustOptions{format: *textOrJSON()}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "print which roots are trusted, for what, and until when",
		Long: `Show prints the trust roots: Sigstore's public instance and those of your trust.toml,
where each comes from, what it has besides certificate authorities and logs, and for
which repositories it speaks. It follows each of them, off-line as far as the cache goes.`,
		Example: "  repopolicy trust show",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.trustShow(cmd.Context(), o, nil, false) },
	}
	o.configFlag(cmd)
	cmd.Flags().BoolVar(&o.offline, "offline", false, "do not use the network")
	cmd.Flags().Var(&o.format, "format", "form of the output")
	return cmd
}

func (a *app) trustUpdateCommand() *cobra.Command {
	o := &trustOptions{format: *textOrJSON()}
	cmd := &cobra.Command{
		Use:   "update [NAME...]",
		Short: "follow trust roots to their newest metadata now",
		Long: "Update follows the trust roots, or those that are named, to their newest metadata; otherwise\n" +
			"that happens once a day.",
		Example: "  repopolicy trust update\n  repopolicy trust update public-good",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.trustShow(cmd.Context(), o, args, true) },
	}
	o.configFlag(cmd)
	cmd.Flags().Var(&o.format, "format", "form of the output")
	return cmd
}

// trusted is the result of trust show and trust update as JSON.
type trusted struct {
	Schema    string          `json:"schema"`
	Roots     []trustedRoot   `json:"roots"`
	Scopes    []trustedScope  `json:"scopes"` // the first that matches decides; of none in all, null
	Anchors   []trustedAnchor `json:"anchors"`
	Otherwise string          `json:"otherwise,omitempty"` // the root for everything else
}

// trustedRoot is one root, or why it cannot be used.
type trustedRoot struct {
	Name        string             `json:"name"`
	From        string             `json:"from,omitempty"` // where it is followed
	For         string             `json:"for,omitempty"`  // of one without a trusted root
	Digest      string             `json:"root,omitempty"` // of the trusted root
	Forges      string             `json:"forges,omitempty"`
	Directory   string             `json:"directory,omitempty"`
	Beside      string             `json:"beside,omitempty"`      // who says what it does not say itself
	Authorities []trustedAuthority `json:"authorities,omitempty"` // beside Fulcio
	Faults      []string           `json:"faults,omitempty"`      // of their lists of revoked certificates
	Introduces  []trustedMore      `json:"introduces"`
	Expires     *time.Time         `json:"expires,omitempty"` // of the role of its metadata that expires first
	Role        string             `json:"role,omitempty"`
	Reason      policy.Reason      `json:"reason,omitempty"`
	Text        string             `json:"text,omitempty"`
}

// trustedAuthority is a certificate authority of an organisation.
type trustedAuthority struct {
	Issuer  string `json:"issuer"` // pki:NAME
	Subject string `json:"subject"`
}

// trustedMore is a root that another one introduces.
type trustedMore struct {
	Path         string   `json:"path"`
	Name         string   `json:"name,omitempty"`
	Repositories []string `json:"repositories,omitempty"`
	URL          string   `json:"url,omitempty"`
	Role         string   `json:"role,omitempty"`
	Yours        bool     `json:"yours,omitempty"` // the user has one of that name, which comes in its place
	Text         string   `json:"text,omitempty"`  // why it is none
}

type trustedScope struct {
	Repositories []string `json:"repositories"`
	Roots        []string `json:"roots"`
	Threshold    int      `json:"threshold"`
	Continue     bool     `json:"continue,omitempty"`
}

type trustedAnchor struct {
	Repositories []string `json:"repositories"`
	Root         string   `json:"root"`
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
	doc := &trusted{Schema: report.SchemaURL("trust-v1"), Roots: []trustedRoot{}}
	class := policy.ClassOK
	for _, name := range names {
		one, err := a.rootOf(ctx, c, name, trust.Options{Offline: o.offline, Fresh: fresh})
		if err != nil {
			f := command.FaultOf(err)
			if f == nil || !all {
				return err
			}
			one = &trustedRoot{Name: name, Introduces: []trustedMore{}, Reason: f.Reason, Text: f.Text}
			class = policy.Worst(class, f.Reason.Class())
		}
		doc.Roots = append(doc.Roots, *one)
	}
	if all {
		doc.scopes(c)
	}
	if o.format.JSON() {
		err = a.Out.JSON(doc)
	} else {
		a.printTrusted(doc)
	}
	if err == nil && class != policy.ClassOK {
		err = command.Decided{Class: class}
	}
	return err
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

// scopes says which roots speak for which repositories.
func (t *trusted) scopes(c *trust.Config) {
	t.Scopes, t.Anchors, t.Otherwise = []trustedScope{}, []trustedAnchor{}, string(trust.PublicGood)
	if c == nil {
		return
	}
	for _, s := range c.Scopes {
		t.Scopes = append(t.Scopes, trustedScope{s.Repositories, s.Roots, s.Threshold, s.Continue})
	}
	for _, s := range c.Anchors {
		t.Anchors = append(t.Anchors, trustedAnchor{s.Repositories, s.Root})
	}
}

// rootOf follows a root and says what it is.
func (a *app) rootOf(ctx context.Context, c *trust.Config, name string, how trust.Options) (*trustedRoot, error) {
	out := &trustedRoot{Name: name, Introduces: []trustedMore{}}
	how.Followed = func(r string, h tuf.Header) {
		at := h.Expires.UTC()
		out.Role, out.Expires = r, &at
	}
	r, err := a.Finder().Open(ctx, c, name, how)
	super := out.Role != "" && errors.Is(err, tuf.ErrNoTarget) // it has no trusted root, and may anchor
	if err != nil && !super {
		return nil, find.RootFault(err)
	}
	named, ok := c.Root(name)
	if ok { // it was followed a moment ago
		listed, err := c.Introductions(ctx, name, a.Finder().Named(c, trust.Options{Offline: how.Offline}))
		if err != nil {
			return nil, find.RootFault(err)
		}
		out.From = named.URL
		out.introduces(c, listed)
	}
	switch {
	case super && len(named.Beside) > 0:
		out.For = fmt.Sprintf("what %s may leave open: it has no trusted root", strings.Join(named.Beside, ", "))
	case super && len(out.Introduces) > 0:
		out.For = "anchors, and the roots that it introduces: it has no trusted root"
	case super:
		out.For = "anchors alone: it has no trusted root"
	default:
		out.Digest = r.Digest().String()
	}
	if r.Forges != nil {
		out.Forges = "sha256:" + r.Forges.Digest()
	}
	if r.Directory != nil {
		out.Directory = r.Directory.URL
	}
	if r.Root != nil {
		out.authorities(r.PKI())
	}
	if by := c.Beside(name); by != "" {
		out.Beside = by
	} else if name == string(trust.PublicGood) && trust.HasProject() {
		out.Beside = "the root of this project"
	}
	return out, nil
}

// authorities says which certificate authorities the root names beside Fulcio, and what is wrong with
// their lists of revoked certificates.
func (r *trustedRoot) authorities(l *pki.Authorities) {
	for _, p := range l.All() {
		r.Authorities = append(r.Authorities, trustedAuthority{p.Issuer, clip.Text(p.Certificates()[0].Subject.String())})
	}
	for _, f := range l.Faults() {
		r.Faults = append(r.Faults, fmt.Sprint(f))
	}
}

// introduces says which roots the root introduces.
func (r *trustedRoot) introduces(c *trust.Config, listed []trust.ListedIntroduction) {
	for _, l := range listed {
		one := trustedMore{Path: l.Path}
		if l.Err != nil {
			one.Text = l.Err.Error()
		} else {
			_, own := c.Root(l.Name)
			one.Name, one.Repositories, one.URL, one.Role, one.Yours = l.Name, l.Repositories, l.URL, l.Role, own
		}
		r.Introduces = append(r.Introduces, one)
	}
}

func (a *app) printTrusted(doc *trusted) {
	for _, r := range doc.Roots {
		a.printRoot(&r)
	}
	for _, s := range doc.Scopes {
		more := ""
		if s.Continue {
			more = ", then what follows"
		}
		a.Out.Line("%s: %d of %s%s", strings.Join(s.Repositories, ", "), s.Threshold, strings.Join(s.Roots, ", "),
			more)
	}
	for _, s := range doc.Anchors {
		a.Out.Line("%s: anchored by %s", strings.Join(s.Repositories, ", "), s.Root)
	}
	if doc.Otherwise != "" {
		a.Out.Line("everything else: %s", doc.Otherwise)
	}
}

func (a *app) printRoot(r *trustedRoot) {
	a.Out.Line("%s", r.Name)
	besides := r.Beside
	if besides != "" {
		besides += ", for what it does not say itself"
	}
	for _, f := range [][2]string{
		{"not usable", r.Text}, {"from", r.From}, {"for", r.For}, {"root", r.Digest}, {"forges", r.Forges},
		{"directory", r.Directory}, {"beside it", besides},
	} {
		if f[1] != "" {
			a.Out.Line("  %-11s %s", f[0], f[1])
		}
	}
	for _, p := range r.Authorities {
		a.Out.Line("  authority   %s: %s", p.Issuer, p.Subject)
	}
	for _, f := range r.Faults {
		a.Err.Line("warning: %s: signatures by certificates of unknown status decide nothing: %s", r.Name, f)
	}
	for _, l := range r.Introduces {
		own := ""
		switch {
		case l.Text != "":
			a.Out.Line("  introduces  nobody at %s: %s", l.Path, l.Text)
			continue
		case l.Yours:
			own = "; yours of that name comes in its place"
		}
		a.Out.Line("  introduces  %s for %s, from %s, says its role %s%s", l.Name, strings.Join(l.Repositories,
			", "), l.URL,
			l.Role, own)
	}
	if r.Expires != nil {
		a.Out.Line("  expires     %s (%s)", r.Expires.Format(time.RFC3339), r.Role)
		if left := r.Expires.Sub(a.Now()); left < expiresSoon {
			a.Err.Line("note: the %s of %s expires in %s; whoever keeps it has to sign it anew", r.Role, r.Name,
				left.Round(time.Hour))
		}
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
		Example: "  repopolicy trust export public-good -o carried\n  repopolicy trust export acme -o oci-layout:carried",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.trustExport(cmd.Context(), o, args[0]) },
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
