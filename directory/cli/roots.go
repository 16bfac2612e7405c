// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// rootOptions say under which trusted root, and which forge table, a map is.
type rootOptions struct {
	files        []string
	forges, pki  string
	name, config string
}

func (o *rootOptions) flags(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.StringArrayVar(&o.files, "trusted-root", nil,
		what+" this trusted_root.json `FILE` instead of that of Sigstore's public instance")
	f.StringVar(&o.forges, "forges", "", "forge table `FILE` that goes with --trusted-root")
	f.StringVar(&o.pki, "pki", "", "`FILE` with the certificate authorities beside Fulcio that goes with --trusted-root")
	f.StringVar(&o.name, "trust-root", "",
		what+" the root of this `NAME` in --trust-config, with its forge table and certificate authorities")
	f.StringVar(&o.config, "trust-config", "", "`FILE` that lists trust roots, as repopolicy's trust.toml does")
}

// mapOf is what a map is made under.
type mapOf struct{ root, forges, pki []byte }

// maps returns what the options name: one, or one for each file.
func (a *app) maps(ctx context.Context, o *rootOptions) ([]mapOf, error) {
	switch {
	case o.name != "" && len(o.files) > 0:
		return nil, faultf(policy.ClassUsage, "--trusted-root and --trust-root contradict each other")
	case (o.name == "") != (o.config == ""):
		return nil, faultf(policy.ClassUsage, "--trust-root and --trust-config go together")
	case (o.forges != "" || o.pki != "") && len(o.files) == 0:
		return nil, faultf(policy.ClassUsage,
			"--forges and --pki go with --trusted-root; a root that is followed brings its own")
	}
	if len(o.files) == 0 {
		r, err := a.followed(ctx, o)
		if err != nil {
			return nil, err
		}
		return []mapOf{{r.Bytes(), r.Forges.Bytes(), r.PKI().Bytes()}}, nil
	}
	var forges, authorities []byte
	var err error
	if o.forges != "" {
		if forges, err = read(o.forges, bindings.MaxForgesBytes); err != nil {
			return nil, err
		}
	}
	if o.pki != "" {
		if authorities, err = read(o.pki, pki.MaxBytes); err != nil {
			return nil, err
		}
	}
	var out []mapOf
	for _, path := range o.files {
		root, err := read(path, sigstore.MaxRootBytes)
		if err != nil {
			return nil, err
		}
		out = append(out, mapOf{root, forges, authorities})
	}
	return out, nil
}

// one is the same for what takes no more than one.
func (a *app) one(ctx context.Context, o *rootOptions) (mapOf, error) {
	all, err := a.maps(ctx, o)
	if err == nil && len(all) != 1 {
		err = faultf(policy.ClassUsage, "--trusted-root: given %d times", len(all))
	}
	if err != nil {
		return mapOf{}, err
	}
	return all[0], nil
}

// followed returns a root that is followed by TUF.
func (a *app) followed(ctx context.Context, o *rootOptions) (trust.Root, error) {
	if o.name == "" {
		return a.Root(ctx)
	}
	c, err := trust.ReadConfig(o.config)
	if err == nil && c == nil {
		err = fmt.Errorf("%s does not exist", o.config)
	}
	if err != nil {
		return trust.Root{}, &fault{class: policy.ClassUsage, err: fmt.Errorf("--trust-config: %w", err)}
	}
	if _, ok := c.Root(o.name); !ok && o.name != string(trust.PublicGood) {
		return trust.Root{}, faultf(policy.ClassUsage, "--trust-root: no root %q is configured", o.name)
	}
	how := follow()
	how.Transport = a.Transport
	how.Identities = func(ctx context.Context, name string) (*sigstore.Root, error) {
		r, err := c.Open(ctx, name, how)
		return r.Root, err
	}
	return c.Open(ctx, o.name, how)
}

// follow says how roots are followed: what is fetched is kept where repopolicy keeps
// it.
func follow() trust.Options {
	o := trust.Options{UserAgent: agent, Now: time.Now}
	if dir, err := os.UserCacheDir(); err == nil {
		o.Cache = filepath.Join(dir, "repopolicy", "tuf")
	}
	return o
}

func publicRoot(ctx context.Context) (trust.Root, error) {
	roots, err := trust.Roots(ctx, follow())
	if err != nil {
		return trust.Root{}, err
	}
	return roots[0], nil
}
