// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/report"
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

// exportOCI puts what a repository keeps of its policy into a registry or a layout.
func (a *app) exportOCI(ctx context.Context, o *exportOptions) error {
	switch {
	case o.to.Given || o.tuf.Given || o.policy.Given || o.rule.Given || o.tag.Given || o.artifact.Given || o.sign || o.signing.Key.Given || o.signing.Expect.Given:
		return policy.Faultf(policy.Usage,
			"--oci copies what the repository bound: of the other flags only those that find it go with it")
	case !o.signing.Repo.Given:
		return &policy.Fault{Reason: policy.Usage, Text: "--oci: no repository given", Hint: "name it with -R"}
	}
	ref, err := oci.ParseReference(o.oci.Value)
	if err != nil {
		return &policy.Fault{
			Reason: policy.Usage, Text: "--oci: " + err.Error(),
			Hint: "write it like oci:registry.example.com/acme/widget:policy",
		}
	}
	if ref.Layout != "" {
		if err := file.CheckDir(ref.Layout); err != nil {
			return Unwritten(err)
		}
	}
	f, err := a.InForce(ctx, &o.signing.Lookup)
	if err != nil {
		return err
	}
	p := &oci.Policy{Repository: f.Repository.String()}
	for _, s := range f.Files {
		to := &p.Signatures
		if rekorbind.IsPlaceName(s.Name) {
			to = &p.Places
		}
		*to = append(*to, oci.File(s))
	}
	if f.Directory != nil && f.Directory.Answer() != nil {
		p.Answers = []oci.File{{Name: rekorbind.StapleName(f.Root.Root, f.Root.Forges), Data: f.Directory.Answer()}}
	}
	digest, err := oci.PushPolicy(ctx, ref, a.Finder().Registry(), p)
	if err != nil {
		return &policy.Fault{
			Reason: policy.ReleaseUnreachable, Text: err.Error(),
			Hint: "run the command again: what is there already is not sent again",
		}
	}
	a.Out.Line("%s", ref.At(digest))
	a.Err.Line("%s: the policy of %s, version %d, %d %s", o.oci.Value, f.Repository, len(f.Versions()), len(p.Signatures), report.Plural(len(p.Signatures), "signature file"))
	return nil
}
