// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/trust"
	"github.com/repopolicy/repopolicy/trust/author"
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
		data, err := file.Read(path, maxPublicKey)
		if err != nil {
			return s, faultf(policy.Usage, "--key: %s", err)
		}
		k, err := author.ParsePublicKey(data)
		if err != nil {
			return s, faultf(policy.Usage, "--key: %s: %s", path, err)
		}
		s.Keys = append(s.Keys, k)
	}
	for _, text := range o.identities {
		name, issuer, ok := strings.Cut(text, "=https://")
		if !ok {
			return s, faultf(policy.Usage, "--identity: %s is not written like alice@example.com=https://accounts.google.com", text)
		}
		k, err := author.Identity(name, "https://"+issuer)
		if err != nil {
			return s, faultf(policy.Usage, "--identity: %s", err)
		}
		s.Keys = append(s.Keys, k)
	}
	if len(s.Keys) == 0 {
		return s, &fault{reason: policy.Usage, msg: "nobody signs", hint: "name keys with --key, or identities with --identity"}
	}
	if s.Threshold == 0 {
		if len(s.Keys) > 1 { // that any of them would do is never assumed
			return s, &fault{reason: policy.Usage, msg: fmt.Sprintf("--threshold: not given, and %d may sign", len(s.Keys)), hint: "say how many of them have to"}
		}
		s.Threshold = 1
	}
	return s, nil
}

// target reads PATH=FILE.
func readTarget(text string) (path string, data []byte, err error) {
	path, from, ok := strings.Cut(text, "=")
	if !ok {
		return "", nil, faultf(policy.Usage, "%s is not written like %s=FILE", text, trust.TrustedRootTarget)
	}
	if data, err = file.Read(from, maxTargetFile); err != nil {
		return "", nil, faultf(policy.Usage, "%s", err)
	}
	if err := trust.CheckTarget(path, data); err != nil {
		return "", nil, faultf(policy.TrustRootInvalid, "%s: %s", from, err)
	}
	return path, data, nil
}

// change opens the repository in a directory for one change and says how it then stands.
func (a *app) change(dir string, f func(*author.Repository) error) error {
	r, err := author.Open(dir, a.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return &fault{reason: policy.Usage, msg: err.Error(), hint: "`repopolicy trust init` begins a repository"}
	}
	if err != nil {
		return faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	if err := f(r); err != nil {
		if faultOf(err) != nil {
			return err
		}
		return faultf(policy.Usage, "%s", err)
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
			a.err.line("%s version %d needs %d more of %s", s.Role, s.Version, s.Need, keyNames(s.Missing))
		case s.Renew(a.Now()):
			a.err.line("note: %s expires %s", s.Role, s.Expires.Format("2006-01-02"))
		}
	}
	if waiting {
		a.err.line("next: `repopolicy trust sign`, each where the key is")
	} else {
		a.err.line("next: `repopolicy trust publish`")
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
		return &fault{reason: policy.Usage, msg: "nobody signs snapshot and timestamp", hint: "name the publishing machine's key with --online-key"}
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
		return &fault{reason: policy.Usage, msg: err.Error(), hint: "nothing was changed; `repopolicy trust rotate` gives it other keys"}
	}
	if err != nil {
		return faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	for path, data := range content {
		if err := r.Add(author.Targets, path, data); err != nil {
			return faultf(policy.Usage, "%s", err)
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

func (a *app) trustDelegateCommand() *cobra.Command {
	o := &keyOptions{}
	var role string
	var anchors, repositories []string
	cmd := &cobra.Command{
		Use:   "delegate DIR --anchor URL=sha256:HEX... | --role ROLE --repositories PATTERN... --identity NAME=ISSUER...",
		Short: "anchor repositories, or let others anchor theirs",
		Long: `Delegate says in a trust root which chain of policies is that of a repository: the
one that begins with the statement of this digest. Whoever names the root as a super root in
trust.toml finds the chain "anchored", whatever else is bound.

With --role and --repositories, others say that for the repositories that the patterns
match: OIDC identities (TAP 18) or keys, as many of them as --threshold demands. What the
root itself says of a repository outranks them.`,
		Example: `  repopolicy trust delegate foundation --anchor https://github.com/acme/widget=sha256:…
  repopolicy trust delegate foundation --role acme --repositories 'https://github.com/acme/*' \
      --identity alice@example.com=https://accounts.google.com --identity bob@example.com=https://accounts.google.com --threshold 2`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error { return delegate(r, o, role, anchors, repositories) })
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&anchors, "anchor", nil, "the first statement of a repository: `URL=sha256:HEX`; may be repeated")
	f.StringVar(&role, "role", "", "delegate to this `ROLE`, or let it say the anchors")
	f.StringArrayVar(&repositories, "repositories", nil, "`PATTERN` of the repositories that the role anchors; may be repeated")
	return cmd
}

func delegate(r *author.Repository, o *keyOptions, role string, anchors, repositories []string) error {
	if len(anchors) == 0 && len(repositories) == 0 {
		return &fault{reason: policy.Usage, msg: "nothing to delegate", hint: "name a repository with --anchor, or a role's with --repositories"}
	}
	if len(repositories) > 0 {
		if role == "" {
			return faultf(policy.Usage, "--repositories without --role: whose are they?")
		}
		s, err := o.setup()
		if err != nil {
			return err
		}
		var paths []string
		for _, p := range repositories {
			path, err := trust.AnchorPattern(p)
			if err != nil {
				return err
			}
			paths = append(paths, path)
		}
		if err := r.Delegate(role, paths, s); err != nil {
			return err
		}
	}
	for _, text := range anchors {
		i := strings.LastIndex(text, "=sha256:")
		if i < 0 {
			return faultf(policy.Usage, "--anchor: %s is not written like https://github.com/acme/widget=sha256:…", text)
		}
		repo, err := policy.NormalizeLocator(text[:i])
		if err != nil {
			return faultf(policy.Usage, "--anchor: %s", err)
		}
		d, err := policy.ParseDigest(text[i+1:])
		if err != nil {
			return faultf(policy.Usage, "--anchor: %s", err)
		}
		by := role
		if by == "" {
			by = author.Targets
		}
		if err := r.Add(by, trust.AnchorTarget(repo), trust.Anchor{Repository: repo, Statement: d.Hex}.Bytes()); err != nil {
			return err
		}
	}
	return nil
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
					return faultf(policy.Usage, "--key and --identity without --role: which role do they sign for?")
				}
				return r.Rotate(setups)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().StringArrayVar(&roles, "role", nil, "give this `ROLE` other keys: root, targets, snapshot or timestamp; may be repeated")
	return cmd
}

func (a *app) trustSignCommand() *cobra.Command {
	o := &signOptions{}
	cmd := &cobra.Command{
		Use:   "sign DIR [--key FILE|--signer PROGRAM --public-key FILE]",
		Short: "sign what is staged of a trust root",
		Long: `Sign signs everything that is staged and waits for the key: one in a file, one that
another program has (docs/maintainer.md), or an OIDC identity, which signs in and whose
signature, certificate and log entry become part of the metadata (TAP 18).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error { return a.trustSign(cmd.Context(), o, r) })
		},
	}
	o.key.name, o.signer.program.name, o.signer.public.name = "FILE", "PROGRAM", "FILE"
	f := cmd.Flags()
	f.Var(&o.key, "key", "sign with the private key in this PEM file")
	f.Var(&o.signer.program, "signer", "let this program sign")
	f.StringArrayVar(&o.signer.args, "signer-arg", nil, "an `ARGUMENT` of the program; may be repeated")
	f.Var(&o.signer.public, "public-key", "the public key of --signer, PEM")
	f.BoolVar(&o.device, "device", false, "sign in on another device")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.StringArrayVar(&o.configs, "signing-config", nil, "sign with the services that this signing config `FILE` names; may be repeated")
	o.rootFlags(cmd, "")
	return cmd
}

func (a *app) trustSign(ctx context.Context, o *signOptions, r *author.Repository) error {
	s, err := a.authorSigner(ctx, o)
	if err != nil {
		return err
	}
	roles, err := r.Sign(ctx, s)
	switch {
	case errors.Is(err, author.ErrNotWanted):
		return &fault{reason: policy.NotMaintainer, msg: err.Error(), hint: "nothing was signed; another key or identity is waited for"}
	case err != nil:
		return &fault{reason: policy.SigningFailed, msg: err.Error(), hint: "run the command again"}
	}
	if len(roles) == 0 {
		a.err.line("nothing is left for this key to sign")
		return nil
	}
	a.err.line("signed: %s", strings.Join(roles, ", "))
	return nil
}

// authorSigner returns who the flags say signs.
func (a *app) authorSigner(ctx context.Context, o *signOptions) (author.Signer, error) {
	switch {
	case o.key.set && o.signer.set():
		return nil, faultf(policy.Usage, "--key and --signer contradict each other")
	case o.key.set:
		return fileSigner(o.key.value)
	case o.signer.set():
		s, err := o.signer.signer()
		if err != nil {
			return nil, err
		}
		out, err := author.NewRemoteSigner(s.Public(), s.Sign)
		if err != nil {
			return nil, faultf(policy.Usage, "--public-key: %s", err)
		}
		return out, nil
	}
	services, err := a.services(ctx, o, policy.Locator{})
	if err != nil {
		return nil, err
	}
	roots, err := a.anyRoots(ctx, &o.rootOptions, false)
	if err != nil {
		return nil, rootFault(err)
	}
	token, err := a.personal(ctx, o, services)
	if err != nil {
		return nil, err
	}
	claims, err := oidc.UnverifiedClaims(token)
	if err != nil {
		return nil, faultf(policy.LoginNeeded, "%s", err)
	}
	who := claims.Email
	if who == "" {
		who = claims.Subject
	}
	if err := a.agree(o, fmt.Sprintf("%s, signed in at %s, becomes public for ever with the signature. Go on?", who, claims.Issuer)); err != nil {
		return nil, err
	}
	client := &sigstore.Client{Services: services, Transport: a.Transport, Timeout: a.Timeout}
	return &author.IdentitySigner{Certify: func(ctx context.Context, digest [sha256.Size]byte) (string, string, func(context.Context) ([]byte, error), error) {
		d, err := client.Draft(ctx, sigstore.Content{SHA256: digest}, token, nil)
		if err != nil {
			return "", "", nil, err
		}
		cert, err := d.Certificate()
		if err != nil {
			return "", "", nil, err
		}
		id, err := oidc.FromCertificate(cert)
		if err != nil {
			return "", "", nil, err
		}
		generation := 1
		if services.RekorV1 == "" {
			generation = 2
		}
		log := func(ctx context.Context) ([]byte, error) {
			return client.Log(ctx, roots[0].Root, d, generation, a.Now())
		}
		return id.Value, id.Issuer, log, nil
	}}, nil
}

func fileSigner(path string) (author.Signer, error) {
	data, err := file.Read(path, maxPublicKey)
	if err != nil {
		return nil, faultf(policy.Usage, "--key: %s", err)
	}
	private, err := author.ParsePrivateKey(data)
	if err != nil {
		return nil, faultf(policy.Usage, "--key: %s: %s", path, err)
	}
	s, err := author.NewSigner(private)
	if err != nil {
		return nil, faultf(policy.Usage, "--key: %s: %s", path, err)
	}
	return s, nil
}

func (a *app) trustPublishCommand() *cobra.Command {
	o := &trustOptions{}
	var keys []string
	cmd := &cobra.Command{
		Use:   "publish DIR --key FILE [--to DIR|oci:REGISTRY/NAME[:TAG]|oci-layout:DIR]",
		Short: "publish a trust root: as a directory, from a web server or from a registry",
		Long: `Publish makes what is staged and signed current, with snapshot and timestamp signed by the
key of the machine. Run without changes it renews these before they expire, so that a
scheduled job can do it. What our own client would refuse is not published. DIR/repository
is what a web server serves; --to copies it elsewhere or pushes it into a registry, one
manifest for one consistent snapshot, whose digest is printed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.trustPublish(cmd.Context(), o, args[0], keys) },
	}
	o.output.name = "PLACE"
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "sign snapshot and timestamp with the private key in this PEM `FILE`; may be repeated")
	f.Var(&o.output, "to", "write it here, too")
	o.rootFlags(cmd, "")
	return cmd
}

func (a *app) trustPublish(ctx context.Context, o *trustOptions, dir string, keys []string) error {
	var signers []author.Signer
	for _, path := range keys {
		s, err := fileSigner(path)
		if err != nil {
			return err
		}
		signers = append(signers, s)
	}
	r, err := author.Open(dir, a.Now())
	if err != nil {
		return faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	types := trust.Identities(ctx, string(trust.PublicGood), func(ctx context.Context, _ string) (*sigstore.Root, error) {
		roots, err := a.anyRoots(ctx, &o.rootOptions, false)
		if err != nil {
			return nil, err
		}
		return roots[0].Root, nil
	})
	err = r.Publish(ctx, signers, types)
	var incomplete *author.Incomplete
	switch {
	case errors.As(err, &incomplete):
		for _, s := range incomplete.Roles {
			a.err.line("%s version %d needs %d more of %s", s.Role, s.Version, s.Need, keyNames(s.Missing))
		}
		return &fault{reason: policy.BelowThreshold, msg: incomplete.Error(), hint: "they run `repopolicy trust sign`; the machine's own key is named with --key"}
	case err != nil:
		return faultf(policy.TrustRootInvalid, "%s", err)
	}
	if !o.output.set {
		a.err.line("published in %s", author.Tree(dir))
		return nil
	}
	files, err := r.Files(ctx)
	if err != nil {
		return err
	}
	return a.deliver(ctx, o.output.value, files)
}
