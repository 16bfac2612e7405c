// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"sync"

	"github.com/spf13/cobra"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// dockerCredentials returns how to log in where `docker login` or its like did.
func dockerCredentials() func(ctx context.Context, host string) (auth.Credential, error) {
	open := sync.OnceValues(func() (*credentials.DynamicStore, error) {
		return credentials.NewStoreFromDocker(credentials.StoreOptions{})
	})
	return func(ctx context.Context, host string) (auth.Credential, error) {
		store, err := open()
		if err != nil {
			return auth.EmptyCredential, err
		}
		return credentials.Credential(store)(ctx, host)
	}
}

// registry says how registries are reached that the user names on the command line.
func (a *app) registry() oci.Options {
	return oci.Options{Transport: a.Transport, Agent: userAgent(), Credential: a.Credential}
}

func (o *repoOptions) fromFlag(cmd *cobra.Command) {
	o.from.name = "REFERENCE"
	cmd.Flags().Var(&o.from, "from", "read the policy from this registry (oci:…) or layout (oci-layout:…), or from what is attached to an image there, instead of the repository")
}

// fromRegistry reads the policy's files from a registry. It is trusted no more than the
// repository is, and asked nothing that only the forge knows.
func (a *app) fromRegistry(ctx context.Context, o *repoOptions, f *found) error {
	ref, err := o.fromReference()
	if err != nil {
		return err
	}
	f.snapshot = &git.Snapshot{}
	if f.root.Forges.NamesBranch(f.repo) {
		if o.offline {
			return &policy.Fault{Reason: policy.Usage, Text: "--offline: only " + f.repo.Host() + " can say which branch of " + f.repo.String() + " is the default one", Hint: "name a clone of it with --git DIR"}
		}
		if f.snapshot.Default, err = git.Default(ctx, f.repo.String(), userAgent(), a.Transport); err != nil {
			return gitFault(err)
		}
	}
	p, err := oci.ReadPolicy(ctx, ref, a.registry(), f.repo.String())
	switch {
	case errors.Is(err, oci.ErrNoPolicy):
		return &policy.Fault{Reason: policy.RepositoryUnreachable, Text: "--from: " + err.Error(), Hint: "`repopolicy export --oci` puts it there"}
	case err != nil:
		return policy.Faultf(policy.RepositoryUnreachable, "--from: %s", err)
	}
	for _, s := range p.Signatures {
		f.files = append(f.files, rekorbind.File(s))
	}
	for _, s := range p.Places {
		if !rekorbind.IsPlaceName(s.Name) { // a registry need not keep names
			s.Name = rekorbind.PlaceName(0, s.Data)
		}
		f.files = append(f.files, rekorbind.File(s))
	}
	for _, s := range p.Answers {
		f.answers = append(f.answers, rekorbind.File(s))
	}
	return nil
}

// exportOCI puts what a repository keeps of its policy into a registry or a layout.
func (a *app) exportOCI(ctx context.Context, o *exportOptions) error {
	switch {
	case o.to.set || o.tuf.set || o.policy.set || o.rule.set || o.tag.set || o.artifact.set || o.sign || o.signing.key.set || o.signing.expect.set:
		return policy.Faultf(policy.Usage, "--oci copies what the repository bound: of the other flags only those that find it go with it")
	case !o.signing.repo.set:
		return &policy.Fault{Reason: policy.Usage, Text: "--oci: no repository given", Hint: "name it with -R"}
	}
	ref, err := oci.ParseReference(o.oci.value)
	if err != nil {
		return &policy.Fault{Reason: policy.Usage, Text: "--oci: " + err.Error(), Hint: "write it like oci:registry.example.com/acme/widget:policy"}
	}
	if ref.Layout != "" {
		if err := file.CheckDir(ref.Layout); err != nil {
			return unwritten(err)
		}
	}
	f, err := a.inForce(ctx, &o.signing.repoOptions)
	if err != nil {
		return err
	}
	p := &oci.Policy{Repository: f.repo.String()}
	for _, s := range f.files {
		to := &p.Signatures
		if rekorbind.IsPlaceName(s.Name) {
			to = &p.Places
		}
		*to = append(*to, oci.File(s))
	}
	if f.asked != nil && f.asked.Answer() != nil {
		p.Answers = []oci.File{{Name: rekorbind.StapleName(f.root.Root, f.root.Forges), Data: f.asked.Answer()}}
	}
	digest, err := oci.PushPolicy(ctx, ref, a.registry(), p)
	if err != nil {
		return &policy.Fault{Reason: policy.ReleaseUnreachable, Text: err.Error(), Hint: "run the command again: what is there already is not sent again"}
	}
	a.out.line("%s", ref.At(digest))
	a.err.line("%s: the policy of %s, version %d, %d %s", o.oci.value, f.repo, len(f.res.Chain.Versions()), len(p.Signatures), plural(len(p.Signatures), "signature file"))
	return nil
}
