// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

const maxTargetFile = 8 << 20

// keyOptions are the flags that name who signs.
type keyOptions struct {
	keys, identities []string
	threshold, days  int
}

func (o *keyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "key", nil, "the public key in this PEM `FILE` signs; may be repeated")
	f.StringArrayVar(&o.identities, "identity", nil, "who signs in as this signs: `NAME=ISSUER`, such as alice@example.com=https://accounts.google.com; may be repeated")
	f.IntVar(&o.threshold, "threshold", 0, "how many of them have to sign; has to be given if there are several")
	f.IntVar(&o.days, "days", 0, "for how many days signatures are good; by default 365, of snapshot and timestamp 30")
}

// setup returns who signs.
func (o *keyOptions) setup() (author.Setup, error) {
	s := author.Setup{Threshold: o.threshold, Days: o.days}
	for _, path := range o.keys {
		data, err := file.Read(path, MaxPublicKey)
		if err != nil {
			return s, policy.Faultf(policy.Usage, "--key: %s", err)
		}
		k, err := author.ParsePublicKey(data)
		if err != nil {
			return s, policy.Faultf(policy.Usage, "--key: %s: %s", path, err)
		}
		s.Keys = append(s.Keys, k)
	}
	for _, text := range o.identities {
		name, issuer, ok := strings.Cut(text, "=https://")
		if !ok {
			return s, policy.Faultf(policy.Usage,
				"--identity: %s is not written like alice@example.com=https://accounts.google.com", text)
		}
		k, err := author.Identity(name, "https://"+issuer)
		if err != nil {
			return s, policy.Faultf(policy.Usage, "--identity: %s", err)
		}
		s.Keys = append(s.Keys, k)
	}
	if len(s.Keys) == 0 {
		return s, &policy.Fault{
			Reason: policy.Usage, Text: "nobody signs",
			Hint: "name keys with --key, or identities with --identity",
		}
	}
	if s.Threshold == 0 {
		if len(s.Keys) > 1 { // that any of them would do is never assumed
			return s, &policy.Fault{
				Reason: policy.Usage, Text: fmt.Sprintf("--threshold: not given, and %d may sign", len(s.Keys)),
				Hint: "say how many of them have to",
			}
		}
		s.Threshold = 1
	}
	return s, nil
}

// target reads PATH=FILE.
func readTarget(text string) (path string, data []byte, err error) {
	path, from, ok := strings.Cut(text, "=")
	if !ok {
		return "", nil, policy.Faultf(policy.Usage, "%s is not written like %s=FILE", text, trust.TrustedRootTarget)
	}
	if data, err = file.Read(from, maxTargetFile); err != nil {
		return "", nil, policy.Faultf(policy.Usage, "%s", err)
	}
	if err := trust.CheckTarget(path, data); err != nil {
		return "", nil, policy.Faultf(policy.TrustRootInvalid, "%s: %s", from, err)
	}
	return path, data, nil
}

// change opens the repository in a directory for one change and says how it then stands.
func (a *app) change(dir string, f func(*author.Repository) error) error {
	r, err := author.Open(dir, a.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return &policy.Fault{Reason: policy.Usage, Text: err.Error(), Hint: "`repopolicy trust init` begins a repository"}
	}
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	if err := f(r); err != nil {
		if FaultOf(err) != nil {
			return err
		}
		return policy.Faultf(policy.Usage, "%s", err)
	}
	return a.standing(r)
}

// standing says which roles wait for whom, and what expires soon.
func (a *app) standing(r *author.Repository) error {
	all, err := r.Status()
	if err != nil {
		return err
	}
	waiting := false
	for _, s := range all {
		switch {
		case s.Need > 0 && (s.Role == author.Root || s.Role != author.Snapshot && s.Role != author.Timestamp):
			waiting = true
			a.Err.Line("%s version %d needs %d more of %s", s.Role, s.Version, s.Need, keyNames(s.Missing))
		case s.Renew(a.Now()):
			a.Err.Line("note: %s expires %s", s.Role, s.Expires.Format("2006-01-02"))
		}
	}
	if waiting {
		a.Err.Line("next: `repopolicy trust sign`, each where the key is")
	} else {
		a.Err.Line("next: `repopolicy trust publish`")
	}
	return nil
}

func (a *app) trustInitCommand() *cobra.Command {
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
		Example: `  repopolicy trust init acme-root --key alice.pub --key bob.pub --threshold 2 --online-key publisher.pub \
      --target trusted_root.json=trusted_root.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.trustInit(args[0], o, online, targets) },
	}
	o.flags(cmd)
	cmd.Flags().StringArrayVar(&online, "online-key", nil, "the public key in this PEM `FILE` signs snapshot and timestamp")
	cmd.Flags().StringArrayVar(&targets, "target", nil, "publish a file: `PATH=FILE`; may be repeated")
	return cmd
}

func (a *app) trustInit(dir string, o *keyOptions, online, targets []string) error {
	people, err := o.setup()
	if err != nil {
		return err
	}
	machine, err := (&keyOptions{keys: online, threshold: 1}).setup()
	if err != nil {
		return &policy.Fault{
			Reason: policy.Usage, Text: "nobody signs snapshot and timestamp",
			Hint: "name the publishing machine's key with --online-key",
		}
	}
	content := map[string][]byte{}
	for _, t := range targets {
		path, data, err := readTarget(t)
		if err != nil {
			return err
		}
		content[path] = data
	}
	r, err := author.Create(dir, a.Now(), map[string]author.Setup{author.Root: people, author.Targets: people, author.Snapshot: machine, author.Timestamp: machine})
	if errors.Is(err, author.ErrExists) {
		return &policy.Fault{
			Reason: policy.Usage, Text: err.Error(),
			Hint: "nothing was changed; `repopolicy trust rotate` gives it other keys",
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

func (a *app) trustAddCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "add DIR PATH=FILE...",
		Short: "stage files that a trust root says",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error {
				for _, t := range args[1:] {
					path, data, err := readTarget(t)
					if err != nil {
						return err
					}
					if err := r.Add(role, path, data); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", author.Targets, "let this `ROLE` say it")
	return cmd
}

func (a *app) trustRotateCommand() *cobra.Command {
	o := &keyOptions{}
	var roles []string
	cmd := &cobra.Command{
		Use:   "rotate DIR [--role ROLE... --key FILE|--identity NAME=ISSUER...]",
		Short: "give roles of a trust root other keys, or renew its root",
		Long: `Rotate stages another version of the root, which those of the version before and
those of the new one have to sign. Without --role the keys stay and the root is good for
another year.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error {
				setups := map[string]author.Setup{}
				for _, role := range roles {
					s, err := o.setup()
					if err != nil {
						return err
					}
					setups[role] = s
				}
				if len(roles) == 0 && len(o.keys)+len(o.identities) > 0 {
					return policy.Faultf(policy.Usage, "--key and --identity without --role: which role do they sign for?")
				}
				return r.Rotate(setups)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().StringArrayVar(&roles, "role", nil, "give this `ROLE` other keys: root, targets, snapshot or timestamp; may be repeated")
	return cmd
}
