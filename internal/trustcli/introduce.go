// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

// introduced are the flags about roots that a root introduces (SPEC 17.3).
type introduced struct {
	root, url, by string
	scope         []string
}

// places returns the targets that introduce a root for the scope, each with the patterns
// that it is about.
func (i *introduced) places() (map[string][]string, error) {
	if err := trust.CheckScope(i.scope); err != nil {
		return nil, policy.Faultf(policy.Usage, "--scope: %s", err)
	}
	out := map[string][]string{}
	for _, p := range i.scope {
		path := trust.IntroductionTarget(p)
		out[path] = append(out[path], p)
	}
	return out, nil
}

// introductions returns the introductions that the flags say, by target; none without --root.
func (a *app) introductions(ctx context.Context, r *author.Repository, i *introduced) (
	map[string]*trust.Introduction, error,
) {
	if i.root == "" {
		return nil, nil
	}
	name, path, ok := strings.Cut(i.root, "=")
	switch {
	case !ok:
		return nil, policy.Faultf(policy.Usage, "--root: %s is not written like acme=acme.root.json", i.root)
	case i.url == "":
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--url: not given", Hint: "say where everybody finds the TUF repository of " + name,
		}
	case i.by != "" && i.by != "public-good" && i.by != "introducer":
		return nil, policy.Faultf(policy.Usage, "--identities: write public-good or introducer")
	}
	initial, err := file.Read(path, trust.MaxIntroductionBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--root: %s", err)
	}
	places, err := i.places()
	if err != nil {
		return nil, err
	}
	out := map[string]*trust.Introduction{}
	for at, patterns := range places {
		in := &trust.Introduction{
			Name: name, Repositories: patterns, URL: i.url, Initial: initial, ByIntroducer: i.by == "introducer",
		}
		if err := trust.CheckTarget(at, in.Bytes(), a.Now(), r.Target); err != nil {
			return nil, policy.Faultf(policy.Usage, "--root: %s", err)
		}
		out[at] = in
	}
	// What nobody could begin with is not introduced.
	if err := trust.Begins(ctx, initial, a.Now, a.identities(r, i)); err != nil {
		return nil, policy.Faultf(policy.TrustRootInvalid, "%s: nobody can begin with it: %s", path, err)
	}
	return out, nil
}

// identities opens the trusted root under which keepers of an introduced root sign that are OIDC
// identities.
func (a *app) identities(r *author.Repository, i *introduced) func(context.Context, string) (*sigstore.Root, error) {
	if i.by != "introducer" {
		return func(ctx context.Context, _ string) (*sigstore.Root, error) {
			roots, err := a.Finder().Public(ctx, trust.Options{})
			if err != nil {
				return nil, err
			}
			return roots[0].Root, nil
		}
	}
	return func(context.Context, string) (*sigstore.Root, error) {
		data, err := r.Target(trust.TrustedRootTarget)
		if err == nil && data == nil {
			err = fmt.Errorf("%s is not there, by which the introducer would certify", trust.TrustedRootTarget)
		}
		if err != nil {
			return nil, err
		}
		return sigstore.ParseRoot("introducer", data)
	}
}

// standingIntroductions are those that a role lists, by target.
func standingIntroductions(r *author.Repository, role string) (map[string]*trust.Introduction, error) {
	listed, err := r.Listed(role, trust.IntroductionsDir)
	if err != nil {
		return nil, err
	}
	out := map[string]*trust.Introduction{}
	for path, data := range listed {
		if out[path], err = trust.ParseIntroduction(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

// checkIntroductions refuses what would leave repositories without anybody who judges them:
// two roots that are introduced for one. What a role said of the root before is replaced.
func checkIntroductions(r *author.Repository, role string, added map[string]*trust.Introduction) error {
	roles := append(slices.Sorted(maps.Keys(r.Delegated())), author.Targets)
	for _, other := range roles {
		standing, err := standingIntroductions(r, other)
		if err != nil {
			return err
		}
		for _, at := range slices.Sorted(maps.Keys(standing)) {
			for _, path := range slices.Sorted(maps.Keys(added)) {
				if err := agree(standing[at], added[path], at == path, other == role); err != nil {
					return &policy.Fault{
						Reason: policy.Usage, Text: fmt.Sprintf("--scope: %s: %s", at, err),
						Hint: "`repopolicy-trust delegate DIR --withdraw " + standing[at].Name + "` withdraws what is there",
					}
				}
			}
		}
	}
	return nil
}

// agree returns why two introductions cannot stand beside each other.
func agree(old, added *trust.Introduction, same, replaced bool) error {
	if old.Name == added.Name && replaced {
		return nil
	}
	if same && replaced {
		return fmt.Errorf("the root %s is introduced there, and one for each place", old.Name)
	}
	if old.Is(added) {
		return nil
	}
	for _, o := range old.Repositories {
		for _, p := range added.Repositories {
			if trust.Overlap(o, p) {
				return fmt.Errorf("%s is introduced for %s, which %s meets: for no repository two roots", old.Name, o, p)
			}
		}
	}
	return nil
}

// introduce stages introductions of one root in a role, instead of those that it had of it.
func introduce(r *author.Repository, role string, added map[string]*trust.Introduction) error {
	for _, path := range slices.Sorted(maps.Keys(added)) {
		if err := r.Asks(role, path); err != nil {
			return err
		}
	}
	for _, in := range added {
		if err := withdraw(r, role, in.Name, added); err != nil {
			return err
		}
		break
	}
	for _, path := range slices.Sorted(maps.Keys(added)) {
		if err := r.Add(role, path, added[path].Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// withdraw stages that a role introduces a root at no other place than those that are kept.
func withdraw(r *author.Repository, role, name string, kept map[string]*trust.Introduction) error {
	standing, err := standingIntroductions(r, role)
	if err != nil {
		return err
	}
	n := 0
	for _, path := range slices.Sorted(maps.Keys(standing)) {
		if standing[path].Name != name {
			continue
		}
		if n++; kept[path] != nil {
			continue
		}
		if err := r.Remove(role, path); err != nil {
			return err
		}
	}
	if n == 0 && kept == nil {
		return policy.Faultf(policy.Usage, "--withdraw: %s introduces no root %s", role, name)
	}
	return nil
}

// roleOf returns which role is meant to introduce roots: that of the flag, or one that is
// called like the root if somebody is named to sign for it.
func (i *introduced) roleOf(r *author.Repository, role string, keys bool, paths []string) (string, error) {
	name, _, _ := strings.Cut(i.root, "=")
	if role != "" || !keys || name == "" {
		return role, nil
	}
	if has, ok := r.Delegated()[name]; ok && !slices.Equal(slices.Sorted(slices.Values(has)), paths) {
		return "", &policy.Fault{
			Reason: policy.Usage,
			Text: fmt.Sprintf("the role %s is there, for %s, and a delegation takes the place of the one before", name,
				strings.Join(has, ", ")),
			Hint: "name another one with --role, or that one with all that it is for: --scope, --repositories",
		}
	}
	return name, nil
}
