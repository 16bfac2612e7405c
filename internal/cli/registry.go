// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// exportOCI puts what a repository keeps of its policy into a registry or a layout.
func (a *app) exportOCI(ctx context.Context, o *exportOptions) error {
	ref, err := o.place()
	if err != nil {
		return err
	}
	f, err := a.InForce(ctx, &o.Lookup)
	if err != nil {
		return err
	}
	p := kept(f)
	digest, err := oci.PushPolicy(ctx, ref, a.Finder().Registry(), p)
	if err != nil {
		return command.PushFault(policy.ReleaseUnreachable, err)
	}
	a.Out.Line("%s", ref.At(digest))
	n := len(p.Signatures)
	a.Err.Line("%s: the policy of %s, version %d, %d %s",
		o.oci.Value, f.Repository, len(f.Versions()), n, report.Plural(n, "signature file"))
	return nil
}

// place reads --oci, and refuses what does not go with it.
func (o *exportOptions) place() (ref oci.Reference, err error) {
	switch {
	case o.to.Given || o.policy.Given || o.rule.Given || o.tag.Given || o.artifact.Given || o.strict:
		return ref, policy.Faultf(policy.Usage,
			"--oci copies what the repository bound: of the other flags only those that find it go with it")
	case !o.Repo.Given:
		return ref, &policy.Fault{Reason: policy.Usage, Text: "--oci: no repository given", Hint: "name it with -R"}
	}
	if ref, err = oci.ParseReference(o.oci.Value); err != nil {
		return ref, &policy.Fault{
			Reason: policy.Usage, Text: "--oci: " + err.Error(),
			Hint: "write it like oci:registry.example.com/acme/widget:policy",
		}
	}
	if ref.Layout != "" {
		if err := file.CheckDir(ref.Layout); err != nil {
			return ref, command.Unwritten(err)
		}
	}
	return ref, nil
}

// kept returns what a repository keeps of its policy.
func kept(f *find.Found) *oci.Policy {
	p := &oci.Policy{Repository: f.Repository.String()}
	for _, s := range f.Files {
		to := &p.Signatures
		if bindings.IsPlaceName(s.Name) {
			to = &p.Places
		}
		*to = append(*to, oci.File(s))
	}
	if f.Directory != nil && f.Directory.Answer() != nil {
		p.Answers = []oci.File{{Name: bindings.StapleName(f.Root.Root, f.Root.Forges), Data: f.Directory.Answer()}}
	}
	return p
}
