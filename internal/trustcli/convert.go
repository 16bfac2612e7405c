// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

// withdrawn is what the versions up to one revoked and yanked. What they restored stays in
// it: TUF compares no times, and to allow less is no harm.
type withdrawn struct {
	revoked []policy.Withdrawal
	yanked  bool
}

func (w *withdrawn) add(f *policy.File) {
	w.revoked, w.yanked = append(w.revoked, f.Revoked...), w.yanked || len(f.Yanked) > 0
}

func (w *withdrawn) rule(name string) bool {
	return slices.ContainsFunc(w.revoked, func(x policy.Withdrawal) bool { return x.Rule == name })
}

func (w *withdrawn) identity(p policy.Principal) bool {
	return slices.ContainsFunc(w.revoked, func(x policy.Withdrawal) bool {
		return x.Identity != nil && x.Identity.Kind == p.Kind && x.Identity.Value == p.Value &&
			x.Identity.Issuer == p.Issuer
	})
}

func (w *withdrawn) key(k policy.Key) bool {
	return slices.ContainsFunc(w.revoked, func(x policy.Withdrawal) bool { return x.Key == k.ID })
}

// tufVersion returns a version in the terms of TUF, and what of its rules was left out. An
// error says what of its maintainers TUF would count otherwise.
func tufVersion(doc *policy.Document, gone withdrawn) (v author.Version, notes []string, err error) {
	c := doc.Content()
	v = author.Version{
		Number: int64(c.Version), Expires: c.Expires, Target: command.DefaultPolicy, Policy: doc.Text(),
		People: author.Setup{Threshold: c.Maintainers.Threshold},
	}
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
	case r.Target != nil:
		return out, errors.New("a role of another root lists its artifacts")
	case len(r.RootKeys) > 0:
		return out, errors.New("TUF does not know that another root may withdraw a key")
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
