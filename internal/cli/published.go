// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// defaultMaxSize is the largest artifact that is downloaded.
const defaultMaxSize = 4 << 30

// publishedOptions are the flags about what is looked for in releases and
// elsewhere.
type publishedOptions struct {
	download, maxSize, forge, npm, pypi typed
	hosts                               []string
	token                               bool
}

func (o *publishedOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.download.name, o.maxSize.name, o.forge.name, o.npm.name, o.pypi.name = "DIR", "BYTES", "KIND", "URL", "URL"
	f.Var(&o.download, "download", "write what was downloaded to this directory, if everything is allowed")
	f.Var(&o.maxSize, "max-size", "the largest file to download, such as 500M; by default 4G")
	f.Var(&o.forge, "forge", "what runs at the repository's host: github, gitlab or forgejo, which is Gitea too; known for github.com and gitlab.com")
	f.Var(&o.npm, "npm-registry", "the registry of pkg:npm packages, by default "+fetch.NPMRegistry)
	f.Var(&o.pypi, "pypi-index", "the index that is asked about wheels and, if it is given, source distributions; by default "+fetch.PyPIIndex+" about wheels")
	f.BoolVar(&o.token, "github-token", false, "show the token in GITHUB_TOKEN to GitHub's API, which lets those it knows ask more often; nobody else sees it")
	f.StringArrayVar(&o.hosts, "redirect-host", nil, "let a forge or registry send downloads on to this `HOST`; may be repeated, known for github.com and the large registries")
}

// addresses reads the URLs among the arguments. Repository and tag of a release
// are what is judged by, unless another policy or signer was named; a lock file
// names a repository too.
func (o *verifyOptions) addresses(args []string) (map[string]fetch.Address, error) {
	out := map[string]fetch.Address{}
	if o.lock.set && !o.repo.set && !o.policy.set {
		l, err := readLock(o.lock.value)
		if err != nil {
			return nil, err
		}
		o.repo.value, o.repo.set = l.Repository, true
	}
	var first fetch.Address
	for _, arg := range args {
		if !fetch.IsURL(arg) {
			continue
		}
		a, err := fetch.ParseAddress(arg)
		switch {
		case err != nil:
			return nil, &policy.Fault{Reason: policy.Usage, Text: arg + ": " + err.Error(), Hint: "a release is named like https://github.com/acme/widget/releases/tag/v1.2.3"}
		case o.offline:
			return nil, policy.Faultf(policy.Usage, "--offline: %s cannot be fetched", arg)
		case first.Tag != "" && (a.Repository != first.Repository || a.Tag != first.Tag):
			return nil, policy.Faultf(policy.Usage, "one run judges one release: %s is another than that of %s, %s", arg, first.Repository, first.Tag)
		}
		first, out[arg] = a, a
	}
	if len(out) == 0 {
		return out, nil
	}
	if o.tag.set && o.tag.value != first.Tag {
		return nil, policy.Faultf(policy.Usage, "--tag %s contradicts the release's URL, which says %s", o.tag.value, first.Tag)
	}
	o.tag.value, o.tag.set = first.Tag, true
	switch {
	case o.repo.set:
		repo, err := policy.NormalizeLocator(o.repo.value)
		if err == nil && repo != first.Repository {
			return nil, policy.Faultf(policy.Usage, "--repo %s contradicts the release's URL, which says %s", repo, first.Repository)
		}
	case !o.policy.set && !o.identity.set:
		o.repo.value, o.repo.set = first.Repository.String(), true
	}
	return out, nil
}

// publication is what a run looks at beyond this machine.
type publication struct {
	options  *publishedOptions
	net      fetch.Net
	forge    fetch.Forge // "" for that of the repository's host
	releases map[fetch.Address]release.Place
	folder   *account.Folder
	seen     map[string]*release.Input // files of places, by their URLs
}

func (a *app) publication(o *publishedOptions) (*publication, error) {
	p := &publication{options: o, net: fetch.Net{Transport: a.Transport, Agent: userAgent(), MaxBytes: defaultMaxSize, Hosts: o.hosts}, releases: map[fetch.Address]release.Place{}, folder: account.NewFolder(o.download.value), seen: map[string]*release.Input{}}
	if o.maxSize.set {
		n, err := parseSize(o.maxSize.value)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "--max-size: %s", err)
		}
		p.net.MaxBytes = n
	}
	if o.token {
		if a.Getenv != nil {
			p.net.Token = a.Getenv("GITHUB_TOKEN")
		}
		if p.net.Token == "" {
			return nil, policy.Faultf(policy.Usage, "--github-token: GITHUB_TOKEN is not set")
		}
	}
	if o.forge.set {
		p.forge = fetch.Forge(o.forge.value)
		if !slices.Contains([]fetch.Forge{fetch.GitHub, fetch.GitLab, fetch.Forgejo}, p.forge) {
			return nil, policy.Faultf(policy.Usage, "--forge: %s is none of github, gitlab and forgejo", o.forge.value)
		}
	}
	return p, nil
}

// parseSize reads a number of bytes, with K, M, G or T for powers of 1024.
func parseSize(s string) (int64, error) {
	digits, shift := s, 0
	if i := strings.IndexAny(s, "KMGT"); i >= 0 && i == len(s)-1 {
		digits, shift = s[:i], 10*(1+strings.IndexByte("KMGT", s[i]))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%s is not a number of bytes, such as 500M", s)
	}
	return n << shift, nil
}

func (p *publication) kind(repo policy.Locator) fetch.Forge {
	if p.forge != "" {
		return p.forge
	}
	return fetch.ForgeOf(repo.Host())
}

// look says where evidence may be that is not beside an artifact: in the release
// that a URL names, or in that of the repository and the tag.
func (a *app) look(j *release.Judge, sum *summary, o *verifyOptions, p *publication, addresses map[string]fetch.Address) error {
	var repo policy.Locator
	for _, addr := range addresses {
		repo = addr.Repository
	}
	if o.policy.set && !repo.IsZero() && sum.Policy.Repository != repo.String() {
		return policy.Faultf(policy.Usage, "--policy: %s is for %s, the release is of %s", o.policy.value, sum.Policy.Repository, repo)
	}
	if o.offline || len(o.bundles) > 0 {
		return nil
	}
	if repo.IsZero() && o.repo.set {
		var err error
		if repo, err = policy.NormalizeLocator(o.repo.value); err != nil {
			return err
		}
	}
	if repo.IsZero() {
		return nil
	}
	return p.elsewhere(j, repo, o.tag.value)
}

// inputs returns what the arguments stand for.
func (p *publication) inputs(ctx context.Context, args []string, addresses map[string]fetch.Address, o *verifyOptions) ([]*release.Input, error) {
	var out []*release.Input
	for _, arg := range args {
		addr, isURL := addresses[arg]
		var more []*release.Input
		var err error
		switch {
		case isURL:
			more, err = p.expand(ctx, arg, addr)
		case fetch.IsImage(arg):
			more, err = p.image(ctx, arg, o)
		case strings.HasPrefix(arg, "pkg:"):
			more, err = p.pkg(arg, o)
		default:
			more = release.Expand(ctx, []string{arg}, release.Options{Repo: o.git.value, IgnoreMissing: o.ignoreMissing})
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p.once(more)...)
	}
	if len(out) > release.MaxArtifacts {
		return nil, policy.Faultf(policy.ArtifactRead, "more than %d artifacts", release.MaxArtifacts)
	}
	if o.ignoreMissing && !slices.ContainsFunc(args, release.IsSums) {
		return nil, policy.Faultf(policy.Usage, "--ignore-missing is about the lines of a checksum file, and no argument is one")
	}
	if err := o.expect(out); err != nil {
		return nil, err
	}
	if err := p.folder.Vacant(out); err != nil {
		return nil, policy.Faultf(policy.Usage, "--download: %s", err)
	}
	return out, nil
}

// once lets what several arguments stand for be one input, which is read once.
func (p *publication) once(inputs []*release.Input) []*release.Input {
	for i, in := range inputs {
		a := in.Artifact
		if a.Place == nil {
			continue
		}
		url := a.Place.URL(a.Name)
		if p.seen[url] == nil {
			p.seen[url] = in
		}
		inputs[i] = p.seen[url]
	}
	return inputs
}

// expect says what the one artifact is called, and demands that there is one.
func (o *verifyOptions) expect(inputs []*release.Input) error {
	if !o.name.set {
		return nil
	}
	if n := account.Expected(inputs); n != 1 && len(inputs) != 1 {
		return policy.Faultf(policy.Usage, "--name says what one artifact is called, and there are %d", n)
	}
	a := inputs[0].Artifact
	if i := slices.IndexFunc(inputs, func(in *release.Input) bool { return !in.IsEvidence() && !in.Harmless }); i >= 0 {
		a = inputs[i].Artifact
	}
	if a.Place != nil || a.Resolved || a.Tag != "" {
		return followingName(a.Arg)
	}
	if err := a.Expect(o.name.value); err != nil {
		return policy.Faultf(policy.Usage, "--name: %s", err)
	}
	return nil
}

func followingName(arg string) *policy.Fault {
	return &policy.Fault{Reason: policy.Usage, Text: "--name: what " + arg + " is called follows from how you named it", Hint: "--name is for files of this machine and digests"}
}

// pkg returns the artifact that a package URL names.
func (p *publication) pkg(arg string, o *verifyOptions) ([]*release.Input, error) {
	if o.offline {
		return nil, policy.Faultf(policy.Usage, "--offline: %s cannot be fetched", arg)
	}
	registry := fetch.NPMRegistry
	if p.options.npm.set {
		registry = p.options.npm.value
	}
	a, err := fetch.NPM(arg, registry, p.net)
	if err != nil {
		return nil, &policy.Fault{Reason: policy.Usage, Text: arg + ": " + err.Error(), Hint: "write pkg:npm/%40SCOPE/NAME@VERSION; a file of another registry is named by its path"}
	}
	a.Place = p.folder.Keep(a.Place)
	return []*release.Input{{Artifact: a}}, nil
}

// image returns an image in a registry.
func (p *publication) image(ctx context.Context, arg string, o *verifyOptions) ([]*release.Input, error) {
	if err := p.checkImage(arg, o); err != nil {
		return nil, err
	}
	a, err := fetch.Image(ctx, arg, p.net)
	if err != nil {
		return nil, err
	}
	return []*release.Input{{Artifact: a}}, nil
}

// checkImage refuses what names no image that can be asked for.
func (p *publication) checkImage(arg string, o *verifyOptions) error {
	if o.offline {
		return policy.Faultf(policy.Usage, "--offline: %s cannot be fetched", arg)
	}
	if err := fetch.CheckImage(arg); err != nil {
		return &policy.Fault{Reason: policy.Usage, Text: arg + ": " + err.Error(), Hint: "write oci://ghcr.io/acme/widget:v1.2.3, or @sha256:… instead of the tag"}
	}
	return nil
}

// release returns the release of an address.
func (p *publication) release(addr fetch.Address) (release.Place, error) {
	addr.File = ""
	if d := p.releases[addr]; d != nil {
		return d, nil
	}
	r, err := fetch.NewRelease(addr, p.kind(addr.Repository), p.net)
	if err != nil {
		return nil, err
	}
	d := p.folder.Keep(r)
	p.releases[addr] = d
	return d, nil
}

// expand returns the files of a release, or its one file.
func (p *publication) expand(ctx context.Context, arg string, addr fetch.Address) ([]*release.Input, error) {
	d, err := p.release(addr)
	if err != nil {
		return nil, err
	}
	if addr.File != "" {
		return []*release.Input{{Artifact: &release.Artifact{Arg: arg, Name: addr.File, Place: d}}}, nil
	}
	return release.ExpandPlace(ctx, d), nil
}

// elsewhere adds to a judge where evidence may be that is not beside an artifact,
// as far as it follows from the repository and the tag.
func (p *publication) elsewhere(j *release.Judge, repo policy.Locator, tag string) error {
	kind := p.kind(repo)
	if tag != "" {
		r, err := p.release(fetch.Address{Repository: repo, Tag: tag})
		if err != nil {
			return err
		}
		j.Release = r
	}
	index := fetch.PyPIIndex
	if p.options.pypi.set {
		index = p.options.pypi.value
	}
	pypi, err := fetch.PyPI(index, p.options.pypi.set, p.net)
	if err != nil {
		return policy.Faultf(policy.Usage, "--pypi-index: %s", err)
	}
	j.Sources = append(j.Sources, pypi)
	if kind == fetch.GitHub {
		s, err := fetch.Attestations(repo, p.net)
		if err != nil {
			return err
		}
		j.Sources = append(j.Sources, s)
	}
	return nil
}
