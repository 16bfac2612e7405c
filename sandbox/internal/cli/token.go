// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/internal/issuer"
	"github.com/repopolicy/repopolicy/sandbox/internal/state"
)

func (a *app) token() *cobra.Command {
	var gh claims.GitHub
	var gl claims.GitLab
	var person claims.Email
	var audience, ref, sha, environment, event string
	cmd := &cobra.Command{
		Use: "token", Short: "print an ID token of a job or a person, as the running stack would give it",
		Example: "  SIGSTORE_ID_TOKEN=$(repopolicy-sandbox token --github acme/widget --ref refs/tags/v1.0.0) …",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := connected(a.dir)
			if err != nil {
				return err
			}
			var who claims.Claims
			gh.Ref, gh.SHA, gh.Environment, gh.Event = ref, sha, environment, event
			gl.Ref, gl.SHA, gl.Environment, gl.Source = ref, sha, environment, event
			switch {
			case gh.Repository != "":
				who = gh
			case gl.Project != "":
				who = gl
			case person.Address != "":
				who = person
			default:
				return errors.New("whose token? --github, --gitlab or --email")
			}
			i := issuer.New(c.IssuerURL, func() (*rsa.PrivateKey, error) { return state.RSAOf(a.dir, "issuer") })
			token, err := i.Mint(who, audience)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stdout, token)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&gh.Repository, "github", "", "a job of GitHub Actions in this `owner/name`")
	f.StringVar(&gl.Project, "gitlab", "", "a job of GitLab CI in this `group/project`")
	f.StringVar(&person.Address, "email", "", "a person with this `address`")
	f.StringVar(&audience, "audience", issuer.Audience, "whom the token is for")
	f.StringVar(&ref, "ref", "", "ref of the job: full on GitHub, short on GitLab")
	f.StringVar(&sha, "sha", "", "commit of the job")
	f.StringVar(&environment, "environment", "", "deployment environment of the job")
	f.StringVar(&event, "event", "", "what started the job")
	f.StringVar(&gh.Workflow, "workflow", "", "`path` of the workflow file on GitHub")
	f.StringVar(&gl.RefType, "ref-type", "", "branch or tag, on GitLab")
	f.StringVar(&person.Issuer, "connector", "", "`URL` of the provider that vouches for the address")
	cmd.MarkFlagsMutuallyExclusive("github", "gitlab", "email")
	return cmd
}
