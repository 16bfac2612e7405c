// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

type getOptions struct {
	command.Lookup
	root, output, policy, tag, cooldown, maxSize, airgap command.Once
	hosts                                                []string
	force, quiet                                         bool
}

// maxGet is the largest target that is downloaded without --max-size.
const maxGet = 4 << 30

func (a *app) getCommand() *cobra.Command {
	o := &getOptions{}
	cmd := &cobra.Command{
		Use:   "get REPOSITORY//PATH [-o FILE]",
		Short: "download an artifact from a TUF repository, and judge it",
		Long: `Get downloads a target of a TUF repository: from a registry (oci:REGISTRY/NAME[:TAG]//PATH), an
image layout (oci-layout:DIR//PATH), a web server (https://HOST/TREE//PATH), a directory (DIR//PATH, with a
slash or a dot in DIR) or, by its name, a [[root]] of your trust.toml (NAME//PATH).

The root metadata to begin with is yours: that of the [[root]] whose url is the repository, or of --root.
Nothing is trusted because the repository says it. The file appears under its name when length and
hashes are those of the signed metadata and, if the metadata names a repository or you do with
-R, the policy of that repository allows it. What was interrupted goes on where it stopped.`,
		Example: `  repopolicy get acme//widget/widget_1.2.3.tar.gz
  repopolicy get oci:registry.example/packages//widget/widget_1.2.3.tar.gz --root acme.root.json
  repopolicy get https://tuf.acme.example//widget/widget_1.2.3.tar.gz -R acme/widget --tag v1.2.3 -o widget.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.get(cmd.Context(), o, args[0]) },
	}
	o.flags(cmd)
	return cmd
}

func (o *getOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.root.Kind, o.output.Kind, o.policy.Kind, o.tag.Kind = "FILE|sha256:HEX", "FILE", "FILE", "TAG"
	o.cooldown.Kind, o.maxSize.Kind = "DURATION", "BYTES"
	o.Lookup.Flags(cmd)
	o.Lookup.SourceFlags(cmd)
	f.Var(&o.root, "root", "begin with the root metadata in this file, or with that of this digest")
	f.VarP(&o.output, "output", "o", "write the artifact here; by default under its own name in the working directory")
	f.BoolVar(&o.force, "force", false, "replace another file that is there")
	f.Var(&o.policy, "policy", "judge by this policy file")
	f.Var(&o.tag, "tag", "demand evidence for this tag; by default the one that the signed metadata names")
	f.Var(&o.cooldown, "cooldown", "refuse releases that were signed less than this long ago, such as 72h")
	o.airgap.Kind = "FILE"
	f.Var(&o.airgap, "airgap", "judge by what this file of export-bundle carries, without a network")
	f.Var(&o.maxSize, "max-size", "the largest file to download, such as 500M; by default 4G")
	f.Var((*command.List)(&o.hosts), "redirect-host",
		"let a registry send downloads on to this `HOST`; may be repeated, known for the large registries")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors; the exit code tells")
}

// getting is one run of get.
type getting struct {
	*app
	options *getOptions
	address getAddress
	limit   int64
	output  string
	root    []byte         // of --root
	rootSum string         // hex SHA-256 of --root
	repo    policy.Locator // of -R or of the file of --policy; zero without
}

func (a *app) get(ctx context.Context, o *getOptions, arg string) error {
	address, err := parseGetAddress(arg)
	if err != nil {
		return &policy.Fault{
			Reason: policy.Usage, Text: fmt.Sprintf("%s: %s", arg, err),
			Hint: "write it like oci:registry.example/packages//widget/widget.tar.gz; the path is that of the metadata",
		}
	}
	g := &getting{app: a, options: o, address: address, limit: maxGet, output: cmp.Or(o.output.Value, address.base())}
	if err := g.check(); err != nil {
		return err
	}
	err = g.follow(ctx, func(c *tuf.Client) error { return g.from(ctx, c) })
	return find.RootFault(err)
}

// check refuses what cannot be meant, before anybody is asked.
func (g *getting) check() (err error) {
	o := g.options
	if o.maxSize.Given {
		if g.limit, err = command.ParseSize(o.maxSize.Value); err != nil {
			return policy.Faultf(policy.Usage, "--max-size: %s", err)
		}
	}
	if !o.output.Given {
		if err := plainFile(g.output); err != nil {
			return &policy.Fault{Reason: policy.Usage, Text: err.Error(), Hint: "name the file with -o"}
		}
	}
	if err := g.readRoot(); err != nil {
		return err
	}
	if g.repo, err = g.named(); err != nil {
		return err
	}
	if err := command.CheckOutputs(&command.Once{Value: g.output, Given: true}); err != nil {
		return err
	}
	return g.isReachable(g.address.place)
}

// unknown stands for a repository that is not named yet.
const unknown = "https://repository.invalid/unknown/unknown"

// judging returns the flags with which verify would judge the artifact.
func (g *getting) judging() *verifyOptions {
	o := g.options
	return &verifyOptions{
		Lookup: o.Lookup, policy: o.policy, tag: o.tag, cooldown: o.cooldown, airgap: o.airgap, quiet: o.quiet,
		name: command.Once{Value: g.address.base(), Given: true},
	}
}

// named returns the repository that the flags name, zero if they name none: by -R, --lock or a policy. They are
// checked as if a file was at hand.
func (g *getting) named() (repo policy.Locator, err error) {
	o, v := g.options, g.judging()
	silent := !o.Repo.Given && !o.policy.Given && !o.Lock.Given
	if silent {
		v.Repo.Value, v.Repo.Given = unknown, true
		v.airgap = command.Once{} // which carries another one
	}
	if o.Repo.Given {
		if _, err := policy.NormalizeLocator(o.Repo.Value); err != nil {
			return repo, notLocator(err)
		}
	}
	q, err := g.question(v, []string{"sha256:" + strings.Repeat("0", 64)})
	switch {
	case err != nil || silent:
		return repo, err
	case q.pinned == nil:
		return policy.NormalizeLocator(q.repo)
	}
	doc, err := command.ParsePolicy(o.policy.Value, q.pinned)
	if err != nil {
		return repo, err
	}
	return doc.Content().Repository, nil
}

// isReachable refuses a place on the network where it must not be used.
func (g *getting) isReachable(place string) error {
	switch o := g.options; {
	case !onNetwork(place):
		return nil
	case o.Offline:
		return policy.Faultf(policy.Usage, "--offline: %s cannot be read without the network", place)
	case o.airgap.Given:
		return policy.Faultf(policy.Usage, "--airgap: %s cannot be read without the network", place)
	}
	return nil
}

// onNetwork reports whether a place is not on this machine.
func onNetwork(place string) bool {
	return strings.HasPrefix(place, oci.SchemeRegistry) || strings.Contains(place, "://")
}

// follow follows the repository from the user's own root metadata.
func (g *getting) follow(ctx context.Context, use func(*tuf.Client) error) error {
	o, f := g.options, g.Finder()
	c, err := f.TrustConfig(o.Trust())
	if err != nil {
		return err
	}
	how := f.Named(c, trust.Options{Fresh: true, Offline: o.Offline || o.airgap.Given})
	how.Hosts = o.hosts
	name, place := g.address.root, g.address.place
	switch {
	case name != "" && o.root.Given:
		return policy.Faultf(policy.Usage, "--root contradicts %s, which trust.toml follows from its own root metadata", name)
	case name != "":
		named, ok := c.Root(name)
		if !ok {
			return &policy.Fault{
				Reason: policy.Usage, Text: "no root " + name + " is configured",
				Hint: "list it as a [[root]] of trust.toml; a directory is written ./" + name,
			}
		}
		if err := g.isReachable(named.URL); err != nil {
			return err
		}
		return c.Follow(ctx, name, "", how, use)
	case o.root.Given:
		pin, err := g.pin(ctx, how)
		if err != nil {
			return err
		}
		return trust.FollowFrom(ctx, pin, place, how, use)
	}
	switch names := c.At(place); len(names) {
	case 1:
		return c.Follow(ctx, names[0], place, how, use)
	case 0:
		return &policy.Fault{
			Reason: policy.Usage, Text: "nobody said which root metadata of " + place + " to trust",
			Hint: "list it as a [[root]] of trust.toml, or name the metadata that you got from its maintainers: " +
				"--root FILE or --root sha256:HEX",
		}
	default:
		return policy.Faultf(policy.Usage, "several roots of trust.toml are at %s; name one: %s//%s", place, names[0],
			g.address.path)
	}
}

// readRoot reads --root.
func (g *getting) readRoot() error {
	text := g.options.root.Value
	if !strings.HasPrefix(text, "sha256:") {
		if !g.options.root.Given {
			return nil
		}
		data, err := file.Read(text, sigstore.MaxRootBytes)
		if err != nil {
			return policy.Faultf(policy.Usage, "--root: %s", err)
		}
		g.root = data
		return nil
	}
	d, err := policy.ParseDigest(text)
	if err != nil {
		return policy.Faultf(policy.Usage, "--root: %s", err)
	}
	g.rootSum = d.Hex
	return nil
}

// pin returns the root metadata that --root names.
func (g *getting) pin(ctx context.Context, how trust.Options) ([]byte, error) {
	if g.root != nil {
		return g.root, nil
	}
	return trust.PinOf(ctx, g.rootSum, g.address.place, how)
}

// from gets the target from a repository whose metadata is current.
func (g *getting) from(ctx context.Context, c *tuf.Client) error {
	t, err := c.Find(ctx, g.address.path)
	switch {
	case errors.Is(err, tuf.ErrNoTarget):
		return &policy.Fault{
			Reason: policy.ArtifactMissing, Text: g.address.String() + ": the repository has no such target",
			Hint: "check the path; it is the whole one of the metadata",
		}
	case err != nil:
		return policy.Faultf(policy.TrustRootMissing, "%s: %s", g.address, err)
	case t.Length > g.limit:
		return &policy.Fault{
			Reason: policy.BudgetExceeded,
			Text:   fmt.Sprintf("%s has %d bytes, at most %d are downloaded", t.Name, t.Length, g.limit),
			Hint:   "allow more with --max-size",
		}
	}
	of, err := trust.ParseCustom(t.Custom)
	if err != nil {
		return &policy.Fault{
			Reason: policy.TrustRootInvalid, Text: fmt.Sprintf("%s: %s", g.address, err),
			Hint: "a newer version of this program may understand it",
		}
	}
	if err := g.agree(of); err != nil {
		return err
	}
	s, err := file.OpenScratch(ctx, g.output)
	if err != nil {
		return command.Unwritten(err)
	}
	d := &delivery{getting: g, client: c, target: t, of: of, scratch: s}
	return errors.Join(d.run(ctx), s.Close())
}

// agree refuses what the user and the signed metadata say differently.
func (g *getting) agree(of *trust.ReleaseOf) error {
	o := g.options
	switch {
	case of == nil && g.repo.IsZero() && (o.tag.Given || o.cooldown.Given || o.airgap.Given || o.Lookup.Any()):
		return &policy.Fault{
			Reason: policy.Usage, Text: "nothing to judge by: the metadata of " + g.address.String() + " names no repository",
			Hint: "name it with -R",
		}
	case of == nil:
		return nil
	case !g.repo.IsZero() && g.repo != of.Repository:
		return &policy.Fault{
			Reason: policy.ArtifactMismatch,
			Text:   fmt.Sprintf("%s is of %s by the signed metadata, not of %s", g.address, of.Repository, g.repo),
			Hint:   "nothing was downloaded; name the repository that you mean, or get another file",
		}
	case o.tag.Given && of.Tag != "" && o.tag.Value != of.Tag:
		return &policy.Fault{
			Reason: policy.TagMismatch,
			Text:   fmt.Sprintf("%s is of tag %s by the signed metadata, not of %s", g.address, of.Tag, o.tag.Value),
			Hint:   "nothing was downloaded",
		}
	}
	return nil
}

// sameContent reports whether a file that is there already is the target, and leaves one that is not.
func (d *delivery) sameContent(ctx context.Context) (there os.FileInfo, err error) {
	f, err := d.scratch.There()
	if err != nil || f == nil {
		return nil, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := d.target.Same(ctx, f); err == nil {
		return before, nil
	} else if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if d.options.force {
		return nil, nil
	}
	return nil, &policy.Fault{
		Reason: policy.Usage, Text: d.output + " is there already, and is something else than " + d.address.String(),
		Hint: "name another file with -o, or replace it with --force",
	}
}

// sum names a target by its content, for a file.
func sumOf(t tuf.TargetFile) string {
	for _, alg := range []string{"sha256", "sha512"} {
		if h := t.Hashes[alg]; h != nil {
			return hex.EncodeToString(h[:16])
		}
	}
	return "unknown"
}

// wrote says where the artifact is now.
func (g *getting) wrote() {
	if path, err := filepath.Abs(g.output); err == nil && !g.options.quiet {
		g.Err.Line("wrote %s", path)
	}
}

func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }
