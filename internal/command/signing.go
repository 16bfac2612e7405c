// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	// Audience is that of the ID tokens by which Fulcio certifies.
	Audience = "sigstore"

	maxSigningConfig = 1 << 20
	defaultIssuer    = "https://oauth2.sigstore.dev/auth"
)

// Signing are the flags that say who signs, and with which services.
type Signing struct {
	Configs []string
	Key     Once
	// Certificate is a file with the certificate in whose name the key signs.
	Certificate Once
	Device      bool
	Yes         bool
	Signer      SignerFlags
	Expect      Once // who is to sign in
	// WithoutV1 leaves out Rekor v1, for good: see docs/maintainer.md.
	WithoutV1 bool
	// WithV2 asks the public instance for the services of Rekor v2, too.
	WithV2 bool
}

// KeyFlags defines the flags by which a key signs, here or in a program.
func (o *Signing) KeyFlags(cmd *cobra.Command) {
	o.Key.Kind, o.Signer.Program.Kind, o.Signer.Public.Kind = "FILE", "PROGRAM", "FILE"
	o.Certificate.Kind = "FILE"
	f := cmd.Flags()
	f.Var(&o.Key, "key", "sign with this PEM private key instead of signing in")
	f.Var(&o.Signer.Program, "signer",
		"let this program sign: the digest on its standard input, the signature on its standard output; no shell")
	f.Var((*List)(&o.Signer.Args), "signer-arg", "`ARGUMENT` for the program; may be repeated")
	f.Var(&o.Signer.Public, "public-key", "PEM public key of the program's key")
	f.Var(&o.Certificate, "certificate",
		"PEM certificate of the key, by an authority that the trust root names: sign in the name that it certifies")
}

// LogFlags defines the flags that say in which generation of Rekor is logged.
func (o *Signing) LogFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.WithV2, "with-v2", false, "log in Rekor v2 of Sigstore's public instance, too")
	cmd.Flags().BoolVar(&o.WithoutV1, "without-v1", false, "log in Rekor v2 alone: the version is in no index and never"+
		" ordered against releases in Rekor v1, also later")
}

// ByKey reports whether a key signs, not somebody who signs in.
func (o *Signing) ByKey() bool { return o.Key.Given || o.Signer.Given() }

// CheckKey refuses flags that contradict a key, or a program that has it.
func (o *Signing) CheckKey() error {
	switch {
	case o.Certificate.Given && !o.ByKey():
		return &policy.Fault{
			Reason: policy.Usage, Text: "--certificate without a key: who signs?",
			Hint: "name the key of the certificate with --key, or the program that has it with --signer and --public-key",
		}
	case o.Key.Given && o.Signer.Given():
		return policy.Faultf(policy.Usage, "--key and --signer contradict each other")
	case o.Expect.Given && o.ByKey():
		return policy.Faultf(policy.Usage, "--expect-identity is about who signs in, and a key signs")
	case o.Device && o.ByKey():
		return policy.Faultf(policy.Usage, "--device is about signing in, and a key signs")
	}
	return nil
}

// CheckSigner refuses flags with which nothing can be signed: by a key, by a program
// that has it, or by somebody who signs in.
func (r *Run) CheckSigner(o *Signing, t *find.Trust) error {
	if err := o.CheckKey(); err != nil {
		return err
	}
	if err := r.CheckConfigs(o, t); err != nil {
		return err
	}
	if o.ByKey() {
		_, err := o.By(keys.Of)
		if err == nil && o.Certificate.Given {
			err = r.CheckConsent(o)
		}
		return err
	}
	if _, err := o.Expected(); err != nil {
		return err
	}
	return r.CheckConsent(o)
}

// CheckConfigs refuses signing configs by which nothing can be signed.
func (r *Run) CheckConfigs(o *Signing, t *find.Trust) error {
	configs, err := o.readConfigs(t)
	if err == nil && len(configs) > 0 {
		_, err = r.parseConfigs(o, configs)
	}
	return err
}

// CheckConsent refuses to begin what nobody can agree to.
func (r *Run) CheckConsent(o *Signing) error {
	if o.Yes || r.Terminal && r.Stdin != nil {
		return nil
	}
	return &policy.Fault{
		Reason: policy.Usage, Text: "name and address of whoever signs, which becomes public for ever with the signature",
		Hint: "there is no terminal to answer on; say --yes",
	}
}

// readConfigs reads the signing configs that are named; none for those of the instance.
func (o *Signing) readConfigs(t *find.Trust) ([][]byte, error) {
	if o.WithV2 && (o.WithoutV1 || len(o.Configs) > 0) {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--with-v2 is about Sigstore's public instance, beside Rekor v1",
			Hint: "of another instance name both signing configs with --signing-config; --without-v1 implies Rekor v2",
		}
	}
	var configs [][]byte
	for _, path := range o.Configs {
		data, err := file.Read(path, maxSigningConfig)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "--signing-config: %s", err)
		}
		configs = append(configs, data)
	}
	if len(configs) == 0 && len(t.Files) > 0 {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--trusted-root without --signing-config",
			Hint: "a private instance is named by both",
		}
	}
	return configs, nil
}

// Services returns where to sign for a repository.
func (r *Run) Services(
	ctx context.Context, o *Signing, t *find.Trust, repo policy.Locator,
) (sigstore.Services, error) {
	configs, err := o.readConfigs(t)
	if err != nil {
		return sigstore.Services{}, err
	}
	if len(configs) == 0 {
		name, c, err := r.Finder().RootOf(t, repo)
		if err != nil {
			return sigstore.Services{}, err
		}
		switch v2 := o.WithV2 || o.WithoutV1; {
		case name == string(trust.PublicGood) && r.SigningConfigs != nil:
			configs, err = r.SigningConfigs(ctx, v2)
		case name == string(trust.PublicGood):
			configs, err = trust.SigningConfigs(ctx, r.Finder().Followed(trust.Options{}), v2)
		default:
			configs, err = c.SigningConfigs(ctx, name, repo, r.Finder().Named(c, trust.Options{}))
		}
		if err != nil {
			return sigstore.Services{}, policy.Faultf(policy.TrustRootMissing, "signing config: %s", err)
		}
	}
	return r.parseConfigs(o, configs)
}

// parseConfigs returns where signing configs say that is signed.
func (r *Run) parseConfigs(o *Signing, configs [][]byte) (sigstore.Services, error) {
	s, err := sigstore.ParseSigningConfigs(r.Now(), configs...)
	if err != nil {
		return s, policy.Faultf(policy.TrustRootInvalid, "signing config: %s", err)
	}
	if err := s.Secret(); err != nil {
		return s, policy.Faultf(policy.TrustRootInvalid, "signing config: %s", err)
	}
	if o.WithoutV1 {
		if s.RekorV2 == "" {
			return s, &policy.Fault{
				Reason: policy.Usage, Text: "--without-v1: the signing config names no Rekor v2",
				Hint: "name one that does with --signing-config",
			}
		}
		s.RekorV1 = ""
	}
	return s, nil
}

// Personal returns the token of a person: the ambient one, or by signing in.
func (r *Run) Personal(ctx context.Context, o *Signing, s sigstore.Services) (string, error) {
	token, err := r.Ambient(ctx, Audience)
	if err == nil || !errors.Is(err, oidc.ErrNoToken) {
		return token, err
	}
	if !r.Terminal && !o.Device {
		return "", &policy.Fault{
			Reason: policy.LoginNeeded, Text: "nobody can sign in without a terminal",
			Hint: "set SIGSTORE_ID_TOKEN, or use --device or --key",
		}
	}
	issuer := s.Issuer
	if issuer == "" {
		issuer = defaultIssuer
	}
	say := func(text string) { r.Err.Line("%s", text) }
	open := func(url string) error {
		r.Err.Line("sign in in the browser: %s", url)
		return openBrowser(url)
	}
	resume := budget.Pause(ctx) // people take the time they need
	defer resume()
	token, err = sigstore.SignIn(ctx, issuer, o.Device, r.Transport, say, open)
	if err != nil {
		return "", policy.Faultf(policy.LoginNeeded, "signing in: %s", err)
	}
	return token, nil
}

func openBrowser(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	_ = exec.Command(name, args...).Start() // the URL was printed, too
	return nil
}

// Agree asks on a terminal; without one, --yes must have been given.
func (r *Run) Agree(o *Signing, question string) error {
	if o.Yes {
		return nil
	}
	if !r.Terminal || r.Stdin == nil {
		return &policy.Fault{Reason: policy.Usage, Text: question, Hint: "there is no terminal to answer on; say --yes"}
	}
	r.Err.Ask(question + " [y/N]")
	answer, err := io.ReadAll(io.LimitReader(lineReader{r.Stdin}, 16))
	if err != nil || !strings.EqualFold(strings.TrimSpace(string(answer)), "y") {
		return &policy.Fault{Reason: policy.Usage, Text: "not signed"}
	}
	return nil
}

// lineReader reads up to the end of a line.
type lineReader struct{ r io.Reader }

func (l lineReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:1])
	if n == 1 && p[0] == '\n' {
		return 0, io.EOF
	}
	return n, err
}
