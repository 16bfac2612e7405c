// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/directory"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) publishCommand() *cobra.Command {
	var state, site string
	cmd := &cobra.Command{
		Use: "publish", Short: "write the site again from the state",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.state = state
			s, err := directory.OpenStore(state)
			if err != nil {
				return err
			}
			return errors.Join(s.Publish(site, a.note), s.Close())
		},
	}
	cmd.Flags().StringVar(&state, "state", defaultStateDir, "`DIR` in which the directory keeps what it read")
	cmd.Flags().StringVar(&site, "site", "", "`DIR` to write the answers into")
	if err := cmd.MarkFlagRequired("site"); err != nil {
		panic(err)
	}
	return cmd
}

func (a *app) keygenCommand() *cobra.Command {
	var url, witnesses string
	cmd := &cobra.Command{
		Use: "keygen FILE", Short: "make the key of a new directory, and print its descriptor",
		Long: `Writes a new signer key into FILE, which must not be there, and prints the
descriptor that clients and trust roots name the directory by.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			origin, err := originOf(url)
			if err != nil {
				return err
			}
			signer, verifier, err := directory.Keygen(origin)
			if err != nil {
				return err
			}
			d := answers.Descriptor{URL: url, Key: verifier}
			if witnesses != "" {
				text, err := read(witnesses, maxWitnessFile)
				if err != nil {
					return err
				}
				d.Witnesses = string(text)
			}
			if _, err := answers.ParseDescriptor(d.Bytes()); err != nil {
				return &fault{class: policy.ClassUsage, err: err}
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return &fault{class: policy.ClassUsage, err: err}
			}
			_, err = fmt.Fprintln(f, signer)
			if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
				return err
			}
			_, err = a.Stdout.Write(d.Bytes())
			return err
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "`URL` at which the directory will be served")
	cmd.Flags().StringVar(&witnesses, "witnesses", "", "witness policy `FILE` for the descriptor")
	if err := cmd.MarkFlagRequired("url"); err != nil {
		panic(err)
	}
	return cmd
}

// originOf returns the name of the output log at a URL: the URL without its scheme.
func originOf(address string) (string, error) {
	_, origin, ok := strings.Cut(address, "://")
	if !ok {
		return "", faultf(policy.ClassUsage, "--url: %q is not the URL of a service", address)
	}
	return origin, nil
}
