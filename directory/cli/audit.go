// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/directory"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// siteOptions say which directory is asked.
type siteOptions struct {
	descriptor, site string
}

func (o *siteOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.descriptor, "directory", "", "descriptor `FILE` of the directory, as keygen prints it")
	cmd.Flags().StringVar(&o.site, "site", "", "read its files from this `DIR` instead of its URL")
	if err := cmd.MarkFlagRequired("directory"); err != nil {
		panic(err)
	}
}

func (a *app) site(o *siteOptions) (*answers.Descriptor, *web.Client, error) {
	data, err := read(o.descriptor, answers.MaxDescriptorBytes)
	if err != nil {
		return nil, nil, err
	}
	d, err := answers.ParseDescriptor(data)
	if err != nil {
		return nil, nil, &fault{class: policy.ClassUsage, err: fmt.Errorf("--directory: %w", err)}
	}
	address, transport := d.URL, a.Transport
	if o.site != "" { // a transport that knows no network
		address, transport = "http://localhost", http.NewFileTransport(http.Dir(o.site))
	}
	c, err := web.New(address, transport, agent)
	return d, c, err
}

func (a *app) auditCommand() *cobra.Command {
	o := &siteOptions{}
	roots := &rootOptions{}
	var state, key string
	cmd := &cobra.Command{
		Use: "audit", Short: "make the maps of a directory again and compare",
		Long: `Reads the output log of a directory and every log up to the inputs of each of its
leaves, applies the map function, and compares. What was audited is kept, and the
next audit goes on from there.

Exit code 0 says that every leaf is what its inputs give; 7 that one is not, or that
a log contradicts itself: the evidence is kept, a disagreement signed with --key.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.audit(cmd.Context(), o, state, key, roots)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&state, "state", "audit-state", "`DIR` in which the auditor keeps what it read")
	cmd.Flags().StringVar(&key, "key", "", "signer key `FILE` of the auditor, as keygen writes it")
	roots.flags(cmd, "make the map of")
	if err := cmd.MarkFlagRequired("key"); err != nil {
		panic(err)
	}
	return cmd
}

func (a *app) audit(ctx context.Context, o *siteOptions, state, keyFile string, roots *rootOptions) (err error) {
	a.state = state
	d, client, err := a.site(o)
	if err != nil {
		return err
	}
	key, err := read(keyFile, maxKeyFile)
	if err != nil {
		return err
	}
	signer, _, err := directory.ParseKey(key)
	if err != nil {
		return &fault{policy.ClassUsage, fmt.Errorf("--key: %w", err), "repopolicy-directory keygen makes one"}
	}
	all, err := a.maps(ctx, roots)
	if err != nil {
		return err
	}
	s, err := directory.OpenStore(state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, m := range all {
		if _, err := s.AddMap(m.root, m.forges, m.pki); err != nil {
			return err
		}
	}
	auditor := &directory.Auditor{
		Store: s, Site: client, Descriptor: d, Key: signer, Transport: a.Transport, Agent: agent, Now: a.Now,
		Progress: a.progress, Warn: func(format string, args ...any) { a.talk("note: "+format, args...) },
	}
	n, err := auditor.Audit(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%d leaves of %s are what their inputs give\n", n, d.Origin())
	return err
}
