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
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

type fromPolicyOptions struct {
	command.Lookup
	command.Signing
	policy command.Once
	sign   bool
}

func (a *app) fromPolicyCommand() *cobra.Command {
	o := &fromPolicyOptions{}
	cmd := &cobra.Command{
		Use:   "from-policy DIR [--policy FILE|-R URL] [--sign]",
		Short: "write TUF metadata that says what a policy says",
		Long: `From-policy writes TUF metadata into a directory: for each version of the chain that
-R finds, or for one policy file, a root whose keys are the maintainers and targets that
list the policy and delegate to people whom rules name (TAP 18). --sign adds the
signature of whoever signs in, or of --key. What TUF cannot express is refused where it
says who maintains, and left out with a note where it says who releases.`,
		Example: `  repopolicy-trust from-policy tuf --policy policy.toml
  repopolicy-trust from-policy tuf -R acme/widget --sign`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.fromPolicy(cmd.Context(), o, args[0]) },
	}
	o.policy.Kind = "FILE"
	f := cmd.Flags()
	f.Var(&o.policy, "policy", "translate this policy file, by default "+command.DefaultPolicy)
	f.BoolVar(&o.sign, "sign", false, "sign the metadata")
	signerFlags(cmd, &o.Signing)
	o.Flags(cmd)
	o.SourceFlags(cmd)
	return cmd
}

func (a *app) fromPolicy(ctx context.Context, o *fromPolicyOptions, dir string) error {
	if err := a.checkFromPolicy(o, dir); err != nil {
		return err
	}
	docs, err := a.documents(ctx, o)
	if err != nil {
		return err
	}
	versions, err := a.translate(docs)
	if err != nil {
		return err
	}
	var signer author.Signer
	if o.sign {
		if signer, err = a.signer(ctx, &o.Signing, o.Trust()); err != nil {
			return err
		}
	}
	signed, missing, err := author.WriteChain(ctx, dir, versions, signer)
	switch {
	case err != nil && o.sign:
		return signFault(err, "nothing was signed; sign as a maintainer")
	case err != nil:
		return policy.Faultf(policy.Usage, "%s", err)
	}
	if len(signed) > 0 {
		a.Err.Line("signed: %s", strings.Join(signed, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		a.Err.Line("%s needs %d more %s", name, missing[name], report.Plural(missing[name], "signature"))
	}
	return nil
}

// checkFromPolicy refuses flags by which nothing can be written or signed.
func (a *app) checkFromPolicy(o *fromPolicyOptions, dir string) error {
	switch {
	case o.policy.Given && o.Repo.Given:
		return policy.Faultf(policy.Usage, "--policy and --repo contradict each other")
	case o.ByKey() && !o.sign:
		return policy.Faultf(policy.Usage, "--key or --signer without --sign")
	case o.Expect.Given && !o.sign:
		return policy.Faultf(policy.Usage, "--expect-identity without --sign")
	case o.From.Given && !o.Repo.Given:
		return policy.Faultf(policy.Usage, "--from without -R: which repository?")
	}
	if err := command.CheckFolder(dir); err != nil {
		return err
	}
	if o.Repo.Given {
		if err := a.CheckFind(&o.Lookup, false); err != nil {
			return err
		}
	}
	if o.sign {
		return a.checkSigner(&o.Signing, o.Trust())
	}
	return nil
}

// documents returns the versions of the policy that the flags name.
func (a *app) documents(ctx context.Context, o *fromPolicyOptions) ([]*policy.Document, error) {
	if !o.Repo.Given {
		doc, err := command.LoadPolicy(cmp.Or(o.policy.Value, command.DefaultPolicy))
		return []*policy.Document{doc}, err
	}
	f, err := a.InForce(ctx, &o.Lookup)
	if err != nil {
		return nil, err
	}
	var docs []*policy.Document
	for _, v := range f.Versions() {
		docs = append(docs, v.Document)
	}
	return docs, nil
}

// translate returns versions in the terms of TUF, and says what was left out.
func (a *app) translate(docs []*policy.Document) ([]author.Version, error) {
	var versions []author.Version
	var gone withdrawn
	for _, doc := range docs {
		gone.add(doc.Content())
		v, notes, err := tufVersion(doc, gone)
		if err != nil {
			return nil, policy.Faultf(policy.Usage,
				"version %d cannot be exported without allowing more: %s", doc.Content().Version, err)
		}
		for _, n := range notes {
			a.Err.Line("note: version %d: left out: %s", v.Number, n)
		}
		versions = append(versions, v)
	}
	return versions, nil
}
