// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

// exportTUF writes a chain as TUF metadata.
func (a *app) exportTUF(ctx context.Context, o *exportOptions) error {
	switch {
	case o.to.Given || o.rule.Given || o.tag.Given || o.artifact.Given:
		return policy.Faultf(policy.Usage, "--tuf writes the whole policy: --to, --rule, --tag and --artifact contradict it")
	case o.policy.Given && o.signing.Repo.Given:
		return policy.Faultf(policy.Usage, "--policy and --repo contradict each other")
	case o.signing.Key.Given && !o.sign:
		return policy.Faultf(policy.Usage, "--key without --sign")
	case o.signing.Expect.Given && !o.sign:
		return policy.Faultf(policy.Usage, "--expect-identity without --sign")
	case o.signing.From.Given && !o.signing.Repo.Given:
		return policy.Faultf(policy.Usage, "--from without -R: which repository?")
	}
	if err := CheckFolders(&o.tuf); err != nil {
		return err
	}
	if o.signing.Repo.Given {
		if err := a.CheckFind(&o.signing.Lookup, false); err != nil {
			return err
		}
	}
	if o.sign {
		if err := a.checkAuthor(&o.signing); err != nil {
			return err
		}
	}
	var docs []*policy.Document
	if o.signing.Repo.Given {
		f, err := a.InForce(ctx, &o.signing.Lookup)
		if err != nil {
			return err
		}
		for _, v := range f.Versions() {
			docs = append(docs, v.Document)
		}
	} else {
		path := o.policy.Value
		if !o.policy.Given {
			path = DefaultPolicy
		}
		doc, err := LoadPolicy(path)
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	var versions []author.Version
	var gone withdrawn
	for _, doc := range docs {
		gone.add(doc.Content())
		v, notes, err := tufVersion(doc, gone)
		if err != nil {
			return policy.Faultf(policy.Usage,
				"version %d cannot be exported without allowing more: %s", doc.Content().Version, err)
		}
		for _, n := range notes {
			a.Err.Line("note: version %d: left out: %s", v.Number, n)
		}
		versions = append(versions, v)
	}
	var signer author.Signer
	if o.sign {
		var err error
		if signer, err = a.authorSigner(ctx, &o.signing); err != nil {
			return err
		}
	}
	signed, missing, err := author.WriteChain(ctx, o.tuf.Value, versions, signer)
	var f *policy.Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, author.ErrNotWanted):
		return &policy.Fault{
			Reason: policy.NotMaintainer, Text: err.Error(),
			Hint: "nothing was signed; sign as a maintainer",
		}
	case err != nil && o.sign:
		return &policy.Fault{Reason: policy.SigningFailed, Text: err.Error(), Hint: "run the command again"}
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

// withdrawn is what the versions up to one revoked and yanked. What they restored stays in
// it: TUF compares no times, and to allow less is no harm.
type withdrawn struct {
	revoked []policy.Revocation
	yanked  bool
}

func (w *withdrawn) add(f *policy.File) {
	w.revoked, w.yanked = append(w.revoked, f.Revoked...), w.yanked || len(f.Yanked) > 0
}

func (w *withdrawn) rule(name string) bool {
	return slices.ContainsFunc(w.revoked, func(x policy.Revocation) bool { return x.Rule == name })
}

func (w *withdrawn) identity(p policy.Principal) bool {
	return slices.ContainsFunc(w.revoked, func(x policy.Revocation) bool {
		return x.Identity != nil && x.Identity.Kind == p.Kind && x.Identity.Value == p.Value && x.Identity.Issuer == p.Issuer
	})
}

func (w *withdrawn) key(k policy.Key) bool {
	return slices.ContainsFunc(w.revoked, func(x policy.Revocation) bool { return x.Key == k.ID })
}

// tufVersion returns a version in the terms of TUF, and what of its rules was left out. An
// error says what of its maintainers TUF would count otherwise.
func tufVersion(doc *policy.Document, gone withdrawn) (v author.Version, notes []string, err error) {
	c := doc.Content()
	v = author.Version{Number: int64(c.Version), Expires: c.Expires, Target: DefaultPolicy, Policy: doc.Text(), People: author.Setup{Threshold: c.Maintainers.Threshold}}
	if c.Maintainers.Repository {
		return v, nil, errors.New("the repository's workflow maintains it, which has another name in every certificate")
	}
	for _, m := range c.Maintainers.Members {
		keys, err := tufKeys(m.Identities, m.Keys)
		if err != nil {
			return v, nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		if len(keys) > 1 && v.People.Threshold > 1 {
			return v, nil, fmt.Errorf("%s has %d identities and keys, each of which TUF would count", m.Name, len(keys))
		}
		v.People.Keys = append(v.People.Keys, keys...)
	}
	for _, r := range c.Rules {
		release, err := tufRelease(r, gone)
		if err != nil {
			notes = append(notes, fmt.Sprintf("rule %s: %s", r.Name, err))
			continue
		}
		v.Releases = append(v.Releases, release)
	}
	return v, notes, nil
}

// tufRelease returns a rule as a delegation; an error if that would allow more.
func tufRelease(r policy.Rule, gone withdrawn) (author.Release, error) {
	out := author.Release{Name: r.Name, Setup: author.Setup{Threshold: 1}}
	switch {
	case r.Workflow != nil || r.GitHubRelease:
		return out, errors.New("a workflow has another name in every certificate")
	case !r.Tags.Any(), !r.Since.IsZero(), !r.Until.IsZero(), r.Approvals != nil, r.Preflight != nil:
		return out, errors.New("TUF knows no tags, periods and approvals")
	case len(r.Artifacts.Patterns()) == 0:
		return out, errors.New("its artifacts are no patterns")
	}
	identities := slices.DeleteFunc(slices.Clone(r.Identities), gone.identity)
	keys := slices.DeleteFunc(slices.Clone(r.Keys), gone.key)
	switch {
	case slices.Contains(author.Roles, r.Name):
		return out, errors.New("a role of TUF has its name")
	case gone.rule(r.Name):
		return out, errors.New("it is revoked")
	case gone.yanked:
		return out, errors.New("TUF cannot leave out what is yanked")
	case len(identities)+len(keys) == 0:
		return out, errors.New("everybody whom it names is revoked")
	}
	for _, p := range r.Artifacts.Patterns() {
		out.Patterns = append(out.Patterns, p.String())
	}
	var err error
	out.Keys, err = tufKeys(identities, keys)
	return out, err
}

// tufKeys returns identities and keys as keys of TUF.
func tufKeys(identities []policy.Principal, keys []policy.Key) ([]author.Key, error) {
	var out []author.Key
	for _, p := range identities {
		switch {
		case p.Kind != policy.KindEmail && p.Kind != policy.KindURI:
			return nil, fmt.Errorf("%s: only e-mail addresses and URIs are identities of TAP 18", p.Value)
		case p.Subject != "":
			return nil, fmt.Errorf("%s: TAP 18 has no subject", p.Value)
		}
		k, err := author.Identity(p.Value, p.Issuer)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	for _, key := range keys {
		if key.PEM == "" {
			return nil, fmt.Errorf("key sha256:%s: only its digest is written", key.ID)
		}
		k, err := author.ParsePublicKey([]byte(key.PEM))
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}
