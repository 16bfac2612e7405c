// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// connection is what a client needs to know of a running stack. It is also kept
// in the directory, for the other verbs.
type connection struct {
	Dir             string   `json:"dir"`
	PID             int      `json:"pid"`
	TUFURL          string   `json:"tufURL"`
	TUFRoot         string   `json:"tufRoot"`
	TrustedRoot     string   `json:"trustedRoot"`
	SigningConfig   string   `json:"signingConfig"`
	SigningConfigV1 string   `json:"signingConfigRekorV1,omitempty"`
	IssuerURL       string   `json:"issuerURL"`
	FulcioURL       string   `json:"fulcioURL"`
	CTLogURL        string   `json:"ctlogURL"`
	RekorURL        string   `json:"rekorURL"`
	RekorShards     []string `json:"rekorShards"`
	RekorV1URL      string   `json:"rekorV1URL,omitempty"`
	TSAURL          string   `json:"tsaURL"`
	ForgeURL        string   `json:"forgeURL"`
	WitnessPolicy   string   `json:"witnessPolicy,omitempty"`
}

const connectionFile = "up.json"

func (a *app) up() *cobra.Command {
	var o sandbox.Options
	var format, postgres string
	var v1 bool
	cmd := &cobra.Command{
		Use: "up", Short: "run a stack until interrupted, and print what a client needs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "env" && format != "json" {
				return fmt.Errorf("--format %q is neither env nor json", format)
			}
			if v1 || postgres != "" {
				if a.RekorV1 == nil {
					return errors.New("this binary is without Rekor v1; repopolicy-sandbox-rekorv1 has it")
				}
				o.RekorV1 = a.RekorV1(postgres)
			}
			begin := time.Now()
			o.Progress = func(what string) { fmt.Fprintf(a.Stderr, "starting: %s\n", what) }
			s, err := sandbox.Start(cmd.Context(), a.dir, o)
			if err != nil {
				return unavailable(err)
			}
			defer s.Close()
			fmt.Fprintf(a.Stderr, "ready after %s; stop with Ctrl-C\n", time.Since(begin).Round(time.Millisecond))
			// The verb token reads the issuer's key, which is there with the first token.
			if _, err := s.Token(claims.Email{Address: "sandbox@localhost.localdomain"}); err != nil {
				return unavailable(err)
			}
			c, err := connect(a.dir, s)
			if err != nil {
				return unavailable(err)
			}
			defer os.Remove(filepath.Join(a.dir, connectionFile))
			if err := a.print(c, format); err != nil {
				return unavailable(err)
			}
			<-cmd.Context().Done()
			fmt.Fprintln(a.Stderr, "stopping")
			if err := s.Close(); err != nil {
				return unavailable(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "env", "what is printed on standard output: env or json")
	cmd.Flags().IntVar(&o.Witnesses, "witnesses", 0, "witnesses that cosign the checkpoints of Rekor v2")
	cmd.Flags().BoolVar(&v1, "rekor-v1", false, "also run Rekor v1, in memory")
	cmd.Flags().StringVar(&postgres, "postgres", "", "also run Rekor v1, on the PostgreSQL database at this `URL`")
	return cmd
}

// connect writes the files that a client reads into the directory.
func connect(dir string, s *sandbox.Stack) (*connection, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := s.TUFRoot()
	if err != nil {
		return nil, err
	}
	client := filepath.Join(dir, "client")
	if err := os.MkdirAll(client, 0o700); err != nil {
		return nil, err
	}
	c := &connection{
		Dir: dir, PID: os.Getpid(), TUFURL: s.URL(sandbox.TUF), IssuerURL: s.URL(sandbox.Issuer), FulcioURL: s.URL(sandbox.Fulcio),
		CTLogURL: s.URL(sandbox.CTLog), RekorURL: s.URL(sandbox.Rekor), RekorShards: s.Shards(), RekorV1URL: s.URL(sandbox.RekorV1),
		TSAURL: s.URL(sandbox.TSA), ForgeURL: s.URL(sandbox.Forge), WitnessPolicy: s.WitnessPolicy(),
	}
	for _, f := range []struct {
		path *string
		name string
		data []byte
	}{
		{&c.TUFRoot, "root.json", root},
		{&c.TrustedRoot, "trusted_root.json", s.TrustedRoot()},
		{&c.SigningConfig, "signing_config.json", s.SigningConfig(2)},
		{&c.SigningConfigV1, "signing_config_rekor_v1.json", s.SigningConfig(1)},
	} {
		if f.data == nil {
			continue
		}
		*f.path = filepath.Join(client, f.name)
		if err := os.WriteFile(*f.path, f.data, 0o600); err != nil {
			return nil, err
		}
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(filepath.Join(dir, connectionFile), append(data, '\n'), 0o600)
}

// connected reads what connect wrote.
func connected(dir string) (*connection, error) {
	data, err := os.ReadFile(filepath.Join(dir, connectionFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, unavailable(fmt.Errorf("no sandbox is up in %s", dir))
	} else if err != nil {
		return nil, unavailable(err)
	}
	c := &connection{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, unavailable(fmt.Errorf("%s: %w", connectionFile, err))
	}
	return c, nil
}

func (a *app) print(c *connection, format string) error {
	if format == "json" {
		e := json.NewEncoder(a.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(c)
	}
	for _, v := range [][2]string{
		{"DIR", c.Dir}, {"TUF_URL", c.TUFURL}, {"TUF_ROOT", c.TUFRoot}, {"TRUSTED_ROOT", c.TrustedRoot},
		{"SIGNING_CONFIG", c.SigningConfig}, {"SIGNING_CONFIG_REKOR_V1", c.SigningConfigV1},
		{"ISSUER_URL", c.IssuerURL}, {"FULCIO_URL", c.FulcioURL}, {"CTLOG_URL", c.CTLogURL}, {"REKOR_URL", c.RekorURL},
		{"REKOR_SHARDS", strings.Join(c.RekorShards, " ")}, {"REKOR_V1_URL", c.RekorV1URL},
		{"TSA_URL", c.TSAURL}, {"FORGE_URL", c.ForgeURL}, {"WITNESS_POLICY", c.WitnessPolicy},
	} {
		if v[1] != "" {
			if _, err := fmt.Fprintf(a.Stdout, "export SANDBOX_%s=%s\n", v[0], quote(v[1])); err != nil {
				return err
			}
		}
	}
	return nil
}

// quote makes one word of a POSIX shell of a string.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
