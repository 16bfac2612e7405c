// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// defaultMaxSize is the largest artifact that is downloaded.
const defaultMaxSize = 4 << 30

// publication is what a run looks at beyond this machine.
type publication struct {
	client    *Client
	request   *request
	offline   bool
	net       fetch.Net
	addresses map[string]fetch.Address // by argument
	releases  map[fetch.Address]release.Place
	folder    *account.Folder
	seen      map[string]*release.Input // files of places, by their URLs

	place   release.Place    // where evidence may be that is not beside an artifact; nil for nowhere
	sources []release.Source // that are asked for it
}

// looksElsewhere reports whether an argument names something that is no file of this machine.
func looksElsewhere(arg string) bool {
	if _, isDigest, _ := release.ParseDigestArg(arg); isDigest {
		return true
	}
	return fetch.IsURL(arg) || fetch.IsImage(arg) || strings.HasPrefix(arg, "pkg:") || strings.HasPrefix(arg, "refs/tags/")
}

// published reads what a request names, and refuses what cannot be meant. Nobody is asked.
func (c *Client) published(p *Policy, req *request) (*publication, error) {
	s := c.Sources
	pub := &publication{
		client: c, request: req, offline: c.Offline || p.carried() != nil,
		addresses: map[string]fetch.Address{}, releases: map[fetch.Address]release.Place{},
		folder: account.NewFolder(req.download), seen: map[string]*release.Input{},
		net: fetch.Net{
			Transport: c.HTTP, Agent: c.agent(), MaxBytes: cmp.Or(s.MaxBytes, defaultMaxSize),
			Hosts: s.RedirectHosts, Token: s.GitHubToken, Moved: c.moved(p),
		},
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	if err := pub.readAddresses(p); err != nil {
		return nil, err
	}
	if err := pub.checkEach(); err != nil {
		return nil, err
	}
	repo := p.repo
	for _, addr := range pub.addresses {
		repo = addr.Repository
	}
	if pub.offline || len(req.bundles) > 0 || repo.IsZero() || p.pinned != nil && len(pub.addresses) == 0 {
		return pub, nil
	}
	return pub, pub.elsewhere(repo)
}

// check refuses fields that mean nothing.
func (c *Client) check() error {
	f := fetch.Forge(c.Sources.Forge)
	if f != "" && f != fetch.GitHub && f != fetch.GitLab && f != fetch.Forgejo {
		return policy.Faultf(policy.Usage, "--forge: %s is none of github, gitlab and forgejo", f)
	}
	_, err := c.sides()
	return err
}

// moved returns what is told that GitHub knows a repository under another name: it says so once,
// and demands the number that the policy is bound to, where one is known.
func (c *Client) moved(p *Policy) func(policy.Locator, string) error {
	var once sync.Once
	return func(repo policy.Locator, number string) error {
		for _, bound := range p.numbers() {
			if bound != number {
				return policy.Faultf(policy.ReleaseUnreachable,
					"%s has another name now, and number %s; the policy is that of number %s", repo, number, bound)
			}
		}
		once.Do(func() {
			c.say(fmt.Sprintf("note: %s is another address of repository number %s now; ask for it by its new name",
				repo, number))
		})
		return nil
	}
}

// check refuses what contradicts itself.
func (r *request) check() error {
	switch {
	case len(r.artifacts) == 0:
		return &policy.Fault{
			Reason: policy.Usage, Text: "no artifact given",
			Hint: "name files, a directory, a checksum file or a digest such as sha256:…",
		}
	case r.tag != "" && !spelling.ValidTag(r.tag):
		return &policy.Fault{
			Reason: policy.Usage, Text: "--tag: " + r.tag + " cannot be a tag",
			Hint: "give the tag's name without refs/tags/",
		}
	case r.cooldown < 0:
		return policy.Faultf(policy.Usage, "--cooldown: not a duration")
	case r.name != "" && len(r.artifacts) != 1:
		return policy.Faultf(policy.Usage, "--name says what one artifact is called, and there are %d", len(r.artifacts))
	case r.ignoreMissing && !slices.ContainsFunc(r.artifacts, release.IsSums):
		return policy.Faultf(policy.Usage, "--ignore-missing is about the lines of a checksum file, and no argument is one")
	}
	if r.name != "" {
		if err := (&release.Artifact{}).Expect(r.name); err != nil {
			return policy.Faultf(policy.Usage, "--name: %s", err)
		}
	}
	return nil
}

// readAddresses reads the URLs among what is judged, which are of one release.
func (pub *publication) readAddresses(p *Policy) error {
	req := pub.request
	var first fetch.Address
	for _, arg := range req.artifacts {
		if !fetch.IsURL(arg) {
			continue
		}
		a, err := pub.readAddress(p, arg, first)
		if err != nil {
			return err
		}
		first, pub.addresses[arg] = a, a
	}
	if first.Tag == "" {
		return nil
	}
	if req.tag != "" && req.tag != first.Tag {
		return policy.Faultf(policy.Usage, "--tag %s contradicts the release's URL, which says %s", req.tag, first.Tag)
	}
	req.tag = first.Tag
	return nil
}

// readAddress reads the URL of a release or of a file in it. It has to be of the policy's
// repository, and of the release of the URL before it, if there was one.
func (pub *publication) readAddress(p *Policy, arg string, before fetch.Address) (fetch.Address, error) {
	a, err := fetch.ParseAddress(arg)
	if err != nil {
		return a, fetch.RefuseAddress(arg, err)
	}
	ofPolicy := p.repo.IsZero() || a.Repository == p.repo
	switch {
	case pub.offline:
		return a, policy.Faultf(policy.Usage, "--offline: %s cannot be fetched", arg)
	case before.Tag != "" && (a.Repository != before.Repository || a.Tag != before.Tag):
		return a, policy.Faultf(policy.Usage,
			"one run judges one release: %s is another than that of %s, %s", arg, before.Repository, before.Tag)
	case !ofPolicy && p.pinned != nil:
		return a, policy.Faultf(policy.Usage,
			"--policy: %s is for %s, the release is of %s", p.path, p.repo, a.Repository)
	case !ofPolicy:
		return a, policy.Faultf(policy.Usage,
			"--repo %s contradicts the release's URL, which says %s", p.repo, a.Repository)
	}
	return a, nil
}

// checkEach refuses arguments that name nothing that can be asked for.
func (pub *publication) checkEach() error {
	req, published := pub.request, false
	for _, arg := range req.artifacts {
		var err error
		addr, isURL := pub.addresses[arg]
		name, isImage := addr.File, fetch.IsImage(arg)
		switch {
		case isImage:
			err = pub.checkImage(arg)
		case strings.HasPrefix(arg, "pkg:"):
			published = true
			var in []*release.Input
			if in, err = pub.pkg(arg); err == nil {
				name = in[0].Artifact.Name
			}
		case isURL:
			published = true
		default:
			if err := missing(arg); err != nil {
				return err
			}
			continue
		}
		switch {
		case err != nil:
			return err
		case req.name != "":
			return followingName(arg)
		case name != "" && pub.folder.Taken(name): // of a whole release the names are not known yet
			return policy.Faultf(policy.Usage, "--download: %s is there already", filepath.Join(req.download, name))
		}
	}
	if req.download != "" && !published {
		return policy.Faultf(policy.Usage, "--download: no argument is the URL of a release or a package")
	}
	return nil
}

// missing refuses what names no file of this machine and is no form of something else: most
// often it is misspelt, or is what another tool takes.
func missing(arg string) error {
	file, _, _ := strings.Cut(arg, "@sha256:") // of an OCI layout
	if _, err := os.Stat(arg); !errors.Is(err, fs.ErrNotExist) || looksElsewhere(arg) || isThere(file) {
		return nil
	}
	f := &policy.Fault{
		Reason: policy.Usage, Text: arg + ": no such file",
		Hint: "name a file, a directory, a checksum file, a digest or the URL of a release",
	}
	if m := fetch.Meant(arg); m != "" {
		f.Hint = "write " + m
	} else if near := nearName(arg); near != "" {
		f.Hint = "did you mean " + near + "?"
	}
	return f
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// nearName returns the file beside a missing one whose name is most like it, "" if none is.
func nearName(arg string) string {
	dir, base := filepath.Split(arg)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	const most = 1000
	if err != nil || len(entries) > most {
		return ""
	}
	best, distance := "", max(2, len(base)/4)
	for _, e := range entries {
		if k := levenshtein(strings.ToLower(e.Name()), strings.ToLower(base)); k < distance {
			best, distance = dir+e.Name(), k
		}
	}
	return best
}

// levenshtein returns how many letters have to be changed to make one word of the other.
func levenshtein(a, b string) int {
	const longest = 256
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}

// elsewhere finds out where evidence may be that is not beside an artifact, as far as it
// follows from the repository and the tag.
func (pub *publication) elsewhere(repo policy.Locator) error {
	if tag := pub.request.tag; tag != "" {
		r, err := pub.release(fetch.Address{Repository: repo, Tag: tag})
		if err != nil {
			return err
		}
		pub.place = r
	}
	s := pub.client.Sources
	pypi, err := fetch.PyPI(cmp.Or(s.PyPIIndex, fetch.PyPIIndex), s.PyPIIndex != "", pub.net)
	if err != nil {
		return policy.Faultf(policy.Usage, "--pypi-index: %s", err)
	}
	pub.sources = append(pub.sources, pypi)
	if pub.kind(repo) == fetch.GitHub {
		s, err := fetch.Attestations(repo, pub.net)
		if err != nil {
			return err
		}
		pub.sources = append(pub.sources, s)
	}
	return nil
}

func (pub *publication) kind(repo policy.Locator) fetch.Forge {
	return cmp.Or(fetch.Forge(pub.client.Sources.Forge), fetch.ForgeOf(repo.Host()))
}

// inputs returns what the arguments stand for.
func (pub *publication) inputs(ctx context.Context) ([]*release.Input, error) {
	req := pub.request
	var out []*release.Input
	for _, arg := range req.artifacts {
		addr, isURL := pub.addresses[arg]
		var more []*release.Input
		var err error
		switch {
		case isURL:
			more, err = pub.expand(ctx, arg, addr)
		case fetch.IsImage(arg):
			more, err = pub.image(ctx, arg)
		case strings.HasPrefix(arg, "pkg:"):
			more, err = pub.pkg(arg)
		default:
			more = release.Expand(ctx, []string{arg}, release.Options{Repo: req.worktree, IgnoreMissing: req.ignoreMissing})
		}
		if err != nil {
			return nil, err
		}
		out = append(out, pub.once(more)...)
	}
	if len(out) > release.MaxArtifacts {
		return nil, policy.Faultf(policy.ArtifactRead, "more than %d artifacts", release.MaxArtifacts)
	}
	if err := req.expect(out); err != nil {
		return nil, err
	}
	if err := pub.folder.Vacant(out); err != nil {
		return nil, policy.Faultf(policy.Usage, "--download: %s", err)
	}
	return out, nil
}

// once lets what several arguments stand for be one input, which is read once.
func (pub *publication) once(inputs []*release.Input) []*release.Input {
	for i, in := range inputs {
		a := in.Artifact
		if a.Place == nil {
			continue
		}
		url := a.Place.URL(a.Name)
		if pub.seen[url] == nil {
			pub.seen[url] = in
		}
		inputs[i] = pub.seen[url]
	}
	return inputs
}

// expect says what the one artifact is called, and demands that there is one.
func (r *request) expect(inputs []*release.Input) error {
	if r.name == "" {
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
	if err := a.Expect(r.name); err != nil {
		return policy.Faultf(policy.Usage, "--name: %s", err)
	}
	return nil
}

func followingName(arg string) *policy.Fault {
	return &policy.Fault{
		Reason: policy.Usage, Text: "--name: what " + arg + " is called follows from how you named it",
		Hint: "--name is for files of this machine and digests",
	}
}

// pkg returns the artifact that a package URL names.
func (pub *publication) pkg(arg string) ([]*release.Input, error) {
	if pub.offline {
		return nil, policy.Faultf(policy.Usage, "--offline: %s cannot be fetched", arg)
	}
	a, err := fetch.NPM(arg, cmp.Or(pub.client.Sources.NPMRegistry, fetch.NPMRegistry), pub.net)
	if err != nil {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: arg + ": " + err.Error(),
			Hint: "write pkg:npm/%40SCOPE/NAME@VERSION; a file of another registry is named by its path",
		}
	}
	a.Place = pub.folder.Keep(a.Place)
	return []*release.Input{{Artifact: a}}, nil
}

// image returns an image in a registry.
func (pub *publication) image(ctx context.Context, arg string) ([]*release.Input, error) {
	how := pub.net
	how.Credential = pub.client.credential(ctx)
	a, err := fetch.Image(ctx, arg, how)
	if err != nil {
		return nil, err
	}
	return []*release.Input{{Artifact: a}}, nil
}

// credential returns how to log in at a registry, as docker does; it says so once. Where no login
// can be had, the registry is asked as by anybody.
func (c *Client) credential(ctx context.Context) func(context.Context, string) (auth.Credential, error) {
	ask := find.MachineOf(ctx).Credential
	if ask == nil {
		return nil
	}
	var once sync.Once
	return func(ctx context.Context, host string) (auth.Credential, error) {
		login, err := ask(ctx, host)
		token := login.RefreshToken != "" || login.AccessToken != ""
		if err == nil && login != auth.EmptyCredential && !token && (login.Username == "" || login.Password == "") {
			err = errors.New("what docker left has no name or no password")
		}
		once.Do(func() {
			switch {
			case err != nil:
				c.say(fmt.Sprintf("note: no login for %s can be had: %s", host, err))
			case login != auth.EmptyCredential:
				c.say(fmt.Sprintf("note: logging in at %s as docker does", host))
			}
		})
		if err != nil {
			return auth.EmptyCredential, nil
		}
		return login, nil
	}
}

// checkImage refuses what names no image that can be asked for.
func (pub *publication) checkImage(arg string) error {
	if pub.offline {
		return policy.Faultf(policy.Usage, "--offline: %s cannot be fetched", arg)
	}
	if err := fetch.CheckImage(arg); err != nil {
		return &policy.Fault{
			Reason: policy.Usage, Text: arg + ": " + err.Error(),
			Hint: "write oci://ghcr.io/acme/widget:v1.2.3, or @sha256:… instead of the tag",
		}
	}
	return nil
}

// release returns the release of an address.
func (pub *publication) release(addr fetch.Address) (release.Place, error) {
	addr.File = ""
	if d := pub.releases[addr]; d != nil {
		return d, nil
	}
	r, err := fetch.NewRelease(addr, pub.kind(addr.Repository), pub.net)
	if err != nil {
		return nil, err
	}
	d := pub.folder.Keep(r)
	pub.releases[addr] = d
	return d, nil
}

// expand returns the files of a release, or its one file.
func (pub *publication) expand(ctx context.Context, arg string, addr fetch.Address) ([]*release.Input, error) {
	d, err := pub.release(addr)
	if err != nil {
		return nil, err
	}
	if addr.File != "" {
		return []*release.Input{{Artifact: &release.Artifact{Arg: arg, Name: addr.File, Place: d}}}, nil
	}
	return release.ExpandPlace(ctx, d), nil
}
