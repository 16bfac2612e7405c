// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what a registry says about one image.
const (
	maxEvidence  = 4 << 20 // bytes of one piece
	maxReferrers = 200
	maxLayers    = 100 // of a manifest with evidence
)

// scheme is how an argument says that it is an image in a registry.
const scheme = "oci://"

// IsImage reports whether an argument names an image in a registry.
func IsImage(arg string) bool {
	return strings.HasPrefix(arg, scheme) || strings.HasPrefix(arg, "pkg:oci/")
}

// parseImage reads "oci://REGISTRY/NAME:TAG", "…@sha256:HEX" or a package URL
// "pkg:oci/NAME@sha256:HEX?repository_url=REGISTRY/NAME".
func parseImage(arg string) (registry.Reference, error) {
	text, ok := strings.CutPrefix(arg, scheme)
	if !ok {
		var err error
		if text, err = packageReference(arg); err != nil {
			return registry.Reference{}, err
		}
	}
	if strings.Count(text, "@") > 1 {
		return registry.Reference{}, errors.New("not the reference of an image")
	}
	ref, err := oci.ParseReference(text)
	if err != nil {
		return registry.Reference{}, err
	}
	if ref.Reference == "" {
		return registry.Reference{}, errors.New("the reference of an image has a tag or a digest")
	}
	if strings.ContainsAny(text, "@") {
		if d, err := policy.ParseDigest(ref.Reference); err != nil || d.Alg == "gitCommit" {
			return registry.Reference{}, fmt.Errorf("%q is no digest", clip.Text(ref.Reference))
		}
	}
	return ref, nil
}

// packageReference returns the reference of the image that a package URL names.
func packageReference(arg string) (string, error) {
	u, err := packageurl.FromString(arg)
	if err != nil || u.Type != packageurl.TypeOCI {
		return "", errors.New("not the package URL of an image")
	}
	repo := u.Qualifiers.Map()["repository_url"]
	namesRepo := repo != "" && (repo == u.Name || strings.HasSuffix(repo, "/"+u.Name))
	if !namesRepo || u.Namespace != "" || u.Subpath != "" || u.Version == "" {
		return "", errors.New("the package URL of an image has a digest and a repository_url that ends with its name")
	}
	return repo + "@" + u.Version, nil
}

// CheckImage returns why an argument names no image that can be asked for, without
// asking.
func CheckImage(arg string) error {
	_, err := parseImage(arg)
	return err
}

// Image finds an image in a registry and the evidence that is attached to it:
// referrers, by the API or the tag that stands in for it, and the tags of cosign.
// The reference is resolved once; what is judged is the digest of the manifest
// that was read.
func Image(ctx context.Context, arg string, n Net) (*release.Artifact, error) {
	ref, err := parseImage(arg)
	if err != nil {
		return nil, err
	}
	host := ref.Host()
	hosts := slices.Concat(web.Registry(host), n.Hosts)
	client := web.Fence(n.Transport, n.Agent, hosts...)
	if n.Credential != nil { // a token for somebody may have to be asked for by POST
		client = web.Gate(web.Logins(n.Transport, host), n.Agent, hosts...)
	}
	x := &image{
		ctx: ctx, repo: oci.Connect(ref, client, n.Credential), name: ref.Registry + "/" + ref.Repository,
		blobs: map[policy.Digest][]byte{},
	}
	a := &release.Artifact{Arg: arg, Name: x.name}
	d, data, err := x.repo.Resolve(ctx, ref.Reference)
	if err == nil {
		_, err = oci.ParseManifest(data)
	}
	if err != nil {
		a.Err = &release.Failure{Reason: policy.ReleaseUnreachable, Detail: err.Error()}
		if oci.LoginRefused(err) {
			a.Err.Reason = policy.RegistryLogin
		}
		return a, nil
	}
	if !strings.Contains(arg, "@") {
		a.Arg, a.Resolved = arg+"@"+d.Digest.String(), true
	}
	a.Digests = []policy.Digest{d.Digest}
	layers, err := x.evidence(d)
	a.Attach(budget.Of(ctx), layers, err)
	return a, nil
}

// image is the look at one image.
type image struct {
	ctx    context.Context
	repo   *oci.Repository
	name   string
	layers []release.Layer
	blobs  map[policy.Digest][]byte // that were fetched: a digest is one content, however often it is named
}

// evidence returns what is attached to the image. The error says that there may be
// more.
func (x *image) evidence(image oci.Descriptor) ([]release.Layer, error) {
	var errs []error
	found, err := x.repo.Referrers(x.ctx, image, maxReferrers, mayHoldEvidence)
	if err != nil {
		errs = append(errs, fmt.Errorf("referrers: %w", err))
	}
	for _, d := range found {
		errs = append(errs, x.collect(d.Digest.String()))
	}
	// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
	tag := strings.Replace(image.Digest.String(), ":", "-", 1)
	for _, suffix := range []string{".sig", ".att"} {
		if err := x.collect(tag + suffix); !errors.Is(err, errdef.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return x.layers, errors.Join(errs...)
}

// mayHoldEvidence reports whether an artifact of this type is worth a look; one
// that does not say what it is is.
func mayHoldEvidence(artifactType string) bool {
	for _, part := range []string{"sigstore", "cosign", "dsse", "in-toto"} {
		if strings.Contains(artifactType, part) {
			return true
		}
	}
	return artifactType == "" || strings.HasPrefix(artifactType, "application/vnd.oci.")
}

// collect takes the evidence out of a manifest.
func (x *image) collect(reference string) error {
	_, data, err := x.repo.Resolve(x.ctx, reference)
	if err != nil {
		return err
	}
	where := scheme + x.name + "@" + reference
	if !strings.Contains(reference, ":") {
		where = scheme + x.name + ":" + reference
	}
	layers, err := release.ParseLayers(data)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if len(layers) == 0 {
		return nil
	}
	if err := budget.Of(x.ctx).Take(2 * int64(len(data))); err != nil { // its annotations are kept
		return err
	}
	if len(layers) > maxLayers {
		return fmt.Errorf("%s has %d pieces of evidence, at most %d are read", where, len(layers), maxLayers)
	}
	var errs []error
	for _, l := range layers {
		l.Content, err = x.blob(l.Descriptor)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
			continue
		}
		l.URL = where
		x.layers = append(x.layers, l)
	}
	return errors.Join(errs...)
}

// blob returns a blob, fetched once.
func (x *image) blob(d oci.Descriptor) ([]byte, error) {
	if data, ok := x.blobs[d.Digest]; ok && int64(len(data)) == d.Size {
		return data, nil
	}
	if d.Size <= maxEvidence { // what is larger is refused below
		if err := budget.Of(x.ctx).Take(d.Size); err != nil {
			return nil, err
		}
	}
	data, err := x.repo.Blob(x.ctx, d, maxEvidence)
	if err == nil {
		x.blobs[d.Digest] = data
	}
	return data, err
}
