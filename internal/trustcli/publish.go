// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

type publishOptions struct {
	command.Roots
	keys   []string
	output command.Once
}

func (a *app) publishCommand() *cobra.Command {
	o := &publishOptions{}
	cmd := &cobra.Command{
		Use:   "publish DIR --key FILE [--to DIR|oci:REGISTRY/NAME[:TAG]|oci-layout:DIR]",
		Short: "publish a trust root: as a directory, from a web server or from a registry",
		Long: `Publish makes what is staged and signed current, with snapshot and timestamp signed by the
key of the machine. Run without changes it renews these before they expire, so that a
scheduled job can do it. What our own client would refuse is not published. DIR/repository
is what a web server serves; --to copies it elsewhere or pushes it into a registry, one
manifest for one consistent snapshot, whose digest is printed.`,
		Example: `  repopolicy-trust publish foundation --key publisher.pem
  repopolicy-trust publish foundation --key publisher.pem --to oci:registry.example.com/acme/root`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.publish(cmd.Context(), o, args[0]) },
	}
	o.output.Kind = "PLACE"
	f := cmd.Flags()
	f.Var((*command.List)(&o.keys), "key",
		"sign snapshot and timestamp with the private key in this PEM `FILE`; may be repeated")
	f.Var(&o.output, "to", "write it here, too")
	o.RootFlags(cmd, "")
	return cmd
}

func (a *app) publish(ctx context.Context, o *publishOptions, dir string) error {
	var signers []author.Signer
	for _, path := range o.keys {
		s, err := fileSigner(path)
		if err != nil {
			return err
		}
		signers = append(signers, s)
	}
	if o.output.Given {
		if err := command.CheckPlace(o.output.Value); err != nil {
			return err
		}
	}
	r, err := author.Open(dir, a.Now())
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	types := trust.Identities(
		ctx,
		string(trust.PublicGood),
		func(ctx context.Context, _ string) (*sigstore.Root, error) {
			roots, err := a.Finder().AnyRoots(ctx, o.Trust(), trust.Options{})
			if err != nil {
				return nil, err
			}
			return roots[0].Root, nil
		},
	)
	err = r.Publish(ctx, signers, types)
	var incomplete *author.Incomplete
	switch {
	case errors.As(err, &incomplete):
		for _, s := range incomplete.Roles {
			a.Err.Line("%s version %d needs %d more of %s", s.Role, s.Version, s.Need, keyNames(s.Missing))
		}
		return &policy.Fault{
			Reason: policy.BelowThreshold, Text: incomplete.Error(),
			Hint: "they run `repopolicy-trust sign`; the machine's own key is named with --key",
		}
	case err != nil:
		return policy.Faultf(policy.TrustRootInvalid, "%s", err)
	}
	first, err := file.Read(filepath.Join(author.Tree(dir), "1.root.json"), sigstore.MaxRootBytes)
	if err != nil {
		return err
	}
	a.Err.Line("rules of policies name this root sha256:%s", spelling.Sum(first))
	if !o.output.Given {
		a.Err.Line("published in %s", author.Tree(dir))
		return nil
	}
	files, err := r.Files(ctx)
	if err != nil {
		return err
	}
	return a.Deliver(ctx, o.output.Value, files)
}
