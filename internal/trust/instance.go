// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// The targets of a TUF repository that is a trust root.
const (
	TrustedRootTarget     = "trusted_root.json"
	SigningConfigTarget   = "signing_config.v0.2.json"          // services of Rekor v1
	SigningConfigV2Target = "signing_config_rekor_v2.v0.2.json" // services of Rekor v2
	ForgesTarget          = bindings.ForgesTarget               // optional
	DirectoryTarget       = "repopolicy/directory.json"         // optional
	PKITarget             = pki.Target                          // optional
)

// Instance is one of Sigstore's own deployments.
type Instance string

// The instances whose TUF root is built in.
const (
	PublicGood Instance = "public-good"
	Staging    Instance = "staging"
	// GitHub is GitHub's own: it signs what GitHub records of releases, and what private
	// repositories attest. It has no log.
	GitHub Instance = "github"
)

// The built-in roots are the ones that sigstore-go v1.3.0 embeds: root 14 of the
// public instance, and root 13 of the staging one; that of GitHub's is root 3, which gh v2.83
// embeds.
var (
	//go:embed pinned/public-good.root.json
	publicGoodRoot []byte
	//go:embed pinned/staging.root.json
	stagingRoot []byte
	//go:embed pinned/github.root.json
	githubRoot []byte
)

// pinned holds the roots above and, once its ceremony was held (docs/ceremony.md), this
// project's own: project.root.json and, in project.url, where it is followed from.
//
//go:embed pinned
var pinned embed.FS

// builtIn is a root that is built in.
type builtIn struct {
	root    []byte
	address string
}

var project = readProject(pinned)

func readProject(files fs.FS) builtIn {
	root, err := fs.ReadFile(files, "pinned/project.root.json")
	if err != nil {
		return builtIn{}
	}
	address, _ := fs.ReadFile(files, "pinned/project.url") // without one nothing is followed, which is an error
	return builtIn{root, strings.TrimSpace(string(address))}
}

// HasProject reports whether this project's own root is built in.
func HasProject() bool { return project.root != nil }

// pin returns the root that an instance is followed from, and its address.
func (i Instance) pin() (root []byte, address string, err error) {
	switch i {
	case PublicGood, "":
		return publicGoodRoot, "https://tuf-repo-cdn.sigstore.dev", nil
	case Staging:
		return stagingRoot, "https://tuf-repo-cdn.sigstage.dev", nil
	case GitHub:
		return githubRoot, "https://tuf-repo.github.com", nil
	}
	return nil, "", fmt.Errorf("%q is no instance", string(i))
}

// with follows the TUF repository of an instance to its newest metadata and calls use.
func (i Instance) with(ctx context.Context, o Options, use func(*tuf.Client) error) error {
	pin, address, err := i.pin()
	if err != nil {
		return &sigstore.Error{Reason: policy.Internal, Err: err}
	}
	return follow(ctx, pin, address, o, use)
}

func (i Instance) root(ctx context.Context, o Options) (out Root, err error) {
	err = i.with(ctx, o, func(c *tuf.Client) error {
		out, err = Read(ctx, i.name(), c)
		out.Identity = i.name()
		return err
	})
	return out, err
}

// Read returns the trusted root of a TUF repository, which is called name, with the
// forge table and the directory that it names. The client must have been refreshed. The
// error is a [*sigstore.Error].
func Read(ctx context.Context, name string, c *tuf.Client) (Root, error) {
	out, err := authorities(ctx, name, c)
	// A list of revoked certificates may be due more often than metadata is asked for.
	if err == nil && len(out.PKI().Faults()) > 0 && c.Again(ctx) {
		out, err = authorities(ctx, name, c)
	}
	if err != nil {
		return Root{}, err
	}
	return out, out.more(ctx, c)
}

// authorities reads the trusted root, with Fulcio's certificate authorities and others.
func authorities(ctx context.Context, name string, c *tuf.Client) (out Root, err error) {
	data, err := c.Target(ctx, TrustedRootTarget)
	if err != nil {
		return Root{}, missing(err)
	}
	if out.Root, err = sigstore.ParseRoot(name, data); err != nil {
		return Root{}, err
	}
	return out, out.private(ctx, c)
}

// private reads the certificate authorities beside Fulcio that a TUF repository names, with their
// lists of revoked certificates (SPEC 17.5). A list that is not there, or does not count by the
// time of the client, leaves the status of certificates unknown; one that is listed and cannot
// be had is an error.
func (r *Root) private(ctx context.Context, c *tuf.Client) error {
	data, err := c.Target(ctx, pki.Target)
	if errors.Is(err, tuf.ErrNoTarget) {
		return nil
	}
	if err != nil {
		return missing(err)
	}
	all, err := pki.Parse(data)
	if err != nil {
		return &sigstore.Error{Reason: policy.TrustRootInvalid, Err: fmt.Errorf("%s: %w", pki.Target, err)}
	}
	var failed error
	all = all.Current(c.Now(), func(target string) ([]byte, error) {
		list, err := c.Target(ctx, target)
		if err != nil && !errors.Is(err, tuf.ErrNoTarget) && failed == nil {
			failed = err
		}
		return list, err
	})
	if failed != nil {
		return missing(failed)
	}
	r.Root, err = r.WithPKI(all)
	return err
}

// more reads the forge table and the directory that a TUF repository names, unless there
// are some already.
func (r *Root) more(ctx context.Context, c *tuf.Client) error {
	for _, more := range []struct {
		target string
		has    bool
		read   func([]byte) error
	}{
		{
			ForgesTarget, r.Forges != nil,
			func(data []byte) (err error) { r.Forges, err = bindings.ParseForges(data); return err },
		},
		{
			DirectoryTarget, r.Directory != nil,
			func(data []byte) (err error) { r.Directory, err = answers.ParseDescriptor(data); return err },
		},
	} {
		if more.has {
			continue
		}
		data, err := c.Target(ctx, more.target)
		if errors.Is(err, tuf.ErrNoTarget) {
			continue
		}
		if err != nil {
			return missing(err)
		}
		if err := more.read(data); err != nil {
			return &sigstore.Error{Reason: policy.TrustRootInvalid, Err: fmt.Errorf("%s: %w", more.target, err)}
		}
	}
	return nil
}
