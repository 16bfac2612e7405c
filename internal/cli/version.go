// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/policy"
)

// version returns the module version that the toolchain recorded.
func version() string {
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" {
		return bi.Main.Version
	}
	return "(devel)"
}

// userAgent names the program to servers.
func userAgent() string { return "repopolicy/" + version() + " (https://" + policy.Name + ")" }

type versionDoc struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Formats string `json:"policy_format"`
}

func (a *app) versionCommand() *cobra.Command {
	f := &format{allowed: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if f.json() {
				return a.out.json(versionDoc{schemaURL("version-v1"), version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, policy.Format})
			}
			a.out.line("repopolicy %s %s %s/%s, policy format %s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, policy.Format)
			return nil
		},
	}
	cmd.Flags().Var(f, "format", "form of the output")
	return cmd
}

// schemaURL returns the identifier of a JSON document's schema.
func schemaURL(name string) string {
	return "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/" + name + ".json"
}
