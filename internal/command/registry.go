// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	reader "github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
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

// CheckPlace refuses where nothing can be delivered.
func CheckPlace(to string) error {
	dir := to
	if oci.IsReference(to) {
		ref, err := oci.ParseReference(to)
		switch {
		case err != nil:
			return policy.Faultf(policy.Usage, "%s", err)
		case ref.Digest != "":
			return policy.Faultf(policy.Usage, "%s: a digest follows from what is pushed; name a tag", to)
		}
		if dir = ref.Layout; dir == "" {
			return nil
		}
	}
	if err := file.CheckDir(dir); err != nil {
		return Unwritten(err)
	}
	return nil
}

// Deliver writes a TUF repository to a directory, a registry or a layout.
func (r *Run) Deliver(ctx context.Context, to string, files *oci.Files) error {
	if !oci.IsReference(to) {
		resume := budget.Pause(ctx)
		defer resume()
		if err := files.WriteTree(to); err != nil {
			return err
		}
		r.Err.Line("%s: %d files of metadata, %d targets", to, len(files.Metadata), files.Distinct())
		return nil
	}
	ref, err := oci.ParseReference(to)
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	digest, err := oci.Push(ctx, ref, r.Finder().Registry(), files)
	if err != nil {
		return PushFault(policy.TrustRootMissing, err)
	}
	r.Out.Line("%s", ref.At(digest))
	r.Err.Line("%s: %d files of metadata, %d targets", to, len(files.Metadata), files.Distinct())
	return nil
}

// PushFault is that something could not be put into a registry, and how to go on.
func PushFault(r policy.Reason, err error) *policy.Fault {
	f := &policy.Fault{
		Reason: r, Text: err.Error(), Hint: "run the command again: what is there already is not sent again",
	}
	if reader.LoginRefused(err) {
		f.Hint = "log in with `docker login` or its like at that registry, with an account that may write there"
	}
	return f
}
