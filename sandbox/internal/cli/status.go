// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const (
	probeTimeout = 3 * time.Second
	maxProbe     = 1 << 20
)

type probe struct {
	Service string `json:"service"`
	URL     string `json:"url"`
	Up      bool   `json:"up"`
	Detail  string `json:"detail"`
}

func (a *app) status() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "status", Short: "ask every service of the running stack whether it is well", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("--format %q is neither text nor json", format)
			}
			c, err := connected(a.dir)
			if err != nil {
				return err
			}
			services := [][3]string{
				{"issuer", c.IssuerURL, "/.well-known/openid-configuration"},
				{"fulcio", c.FulcioURL, "/api/v2/trustBundle"},
				{"ctlog", c.CTLogURL, "/ct/v1/get-roots"},
				{"tsa", c.TSAURL, "/certchain"},
				{"tuf", c.TUFURL, "/timestamp.json"},
				{"forge", c.ForgeURL, "/"},
			}
			for _, url := range c.RekorShards {
				services = append(services, [3]string{"rekor-v2", url, "/api/v2/checkpoint"})
			}
			if c.RekorV1URL != "" {
				services = append(services, [3]string{"rekor-v1", c.RekorV1URL, "/api/v1/log"})
			}
			down := 0
			probes := make([]probe, len(services))
			for i, s := range services {
				probes[i] = ask(cmd.Context(), s[0], s[1], s[2])
				if !probes[i].Up {
					down++
				}
			}
			if format == "json" {
				e := json.NewEncoder(a.Stdout)
				e.SetIndent("", "  ")
				err = e.Encode(probes)
			} else {
				for _, p := range probes {
					mark := "up  "
					if !p.Up {
						mark = "DOWN"
					}
					if _, err = fmt.Fprintf(a.Stdout, "%s  %-9s %s  %s\n", mark, p.Service, p.URL, p.Detail); err != nil {
						break
					}
				}
			}
			if err != nil {
				return unavailable(err)
			}
			if down > 0 {
				return unavailable(fmt.Errorf("%d of %d services are down", down, len(probes)))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

func ask(ctx context.Context, service, url, path string) probe {
	p := probe{Service: service, URL: url}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		p.Detail = err.Error()
		return p
	}
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Detail = err.Error()
		return p
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxProbe))
	p.Up = err == nil && resp.StatusCode < http.StatusBadRequest
	p.Detail = fmt.Sprintf("%s in %s", resp.Status, time.Since(begin).Round(100*time.Microsecond))
	return p
}
