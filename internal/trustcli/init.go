// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) initCommand() *cobra.Command {
	o := &keyOptions{}
	var online, targets []string
	cmd := &cobra.Command{
		Use:   "init DIR --key FILE|--identity NAME=ISSUER... --online-key FILE",
		Short: "begin a trust root of your own",
		Long: `Init begins a TUF repository in a directory: its root and targets are signed by the
keys or identities that are named, so many of them as --threshold says, snapshot and
timestamp by the key of the machine that publishes. Nothing is published before they
have signed. Targets are what the root says: trusted_root.json, signing_config.v0.2.json
and signing_config_rekor_v2.v0.2.json of a private Sigstore, repopolicy/forges.json,
repopolicy/directory.json.`,
		Example: `  repopolicy-trust init acme-root --key alice.pub --key bob.pub --threshold 2 --online-key publisher.pub \
      --target trusted_root.json=trusted_root.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.init(args[0], o, online, targets) },
	}
	o.flags(cmd)
	cmd.Flags().
		Var((*command.List)(&online), "online-key", "the public key in this PEM `FILE` signs snapshot and timestamp")
	cmd.Flags().Var((*command.List)(&targets), "target", "publish a file: `PATH=FILE`; may be repeated")
	return cmd
}

func (a *app) init(dir string, o *keyOptions, online, targets []string) error {
	people, err := o.setup()
	if err != nil {
		return err
	}
	machine, err := (&keyOptions{keyFiles: online, threshold: 1}).setup()
	if err != nil {
		return &policy.Fault{
			Reason: policy.Usage, Text: "nobody signs snapshot and timestamp",
			Hint: "name the publishing machine's key with --online-key",
		}
	}
	content := map[string][]byte{}
	for _, t := range targets {
		path, data, err := readTarget(t, a.Now(), func(path string) ([]byte, error) { return content[path], nil })
		if err != nil {
			return err
		}
		content[path] = data
	}
	r, err := author.Create(
		dir,
		a.Now(),
		map[string]author.Setup{
			author.Root:      people,
			author.Targets:   people,
			author.Snapshot:  machine,
			author.Timestamp: machine,
		},
	)
	if errors.Is(err, author.ErrExists) {
		return &policy.Fault{
			Reason: policy.Usage, Text: err.Error(),
			Hint: "nothing was changed; `repopolicy-trust rotate` gives it other keys",
		}
	}
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	for path, data := range content {
		if err := r.Add(author.Targets, path, data); err != nil {
			return policy.Faultf(policy.Usage, "%s", err)
		}
	}
	return a.standing(r)
}
