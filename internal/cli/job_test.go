// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// TestJobWithoutToken: a job that has no token to be authorised by is told so at once, and
// not asked for the consent of a person who is not there, nor taken for one who gave it.
func TestJobWithoutToken(t *testing.T) {
	env := place(t)
	env.Transport = unasked{t}
	env.Root = func(context.Context, trust.Options) ([]trust.Root, error) {
		t.Error("the trust root was asked for")
		return nil, errors.New("no network")
	}
	env.SigningConfigs = func(context.Context, bool) ([][]byte, error) {
		t.Error("the signing config was asked for")
		return nil, errors.New("no network")
	}
	token := func(audience string) string {
		claims, err := json.Marshal(
			map[string]any{
				"iss": "https://gitlab.com", "sub": "project_path:acme/widget:ref_type:tag:ref:v1", "aud": audience,
				"iat": env.Now().Unix(), "exp": env.Now().Add(5 * time.Minute).Unix(), "jti": "x",
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		b := base64.RawURLEncoding.EncodeToString
		return b([]byte(`{"alg":"RS256","kid":"x","typ":"JWT"}`)) + "." + b(claims) + "." + b([]byte("x"))
	}
	for what, c := range map[string]struct {
		vars  map[string]string
		class policy.Class
	}{
		"no token": {map[string]string{"GITLAB_CI": "true"}, policy.ClassAuth},
		"Sigstore's alone": {
			map[string]string{"GITLAB_CI": "true", "SIGSTORE_ID_TOKEN": token("sigstore")}, policy.ClassDeny,
		},
		"one for somebody else": {
			map[string]string{"GITLAB_CI": "true", "REPOPOLICY_ID_TOKEN": token("vault")}, policy.ClassDeny,
		},
		"GitHub's permission":  {map[string]string{"GITHUB_ACTIONS": "true"}, policy.ClassUsage},
		"a CI of another name": {map[string]string{"SIGSTORE_ID_TOKEN": token("sigstore")}, policy.ClassDeny},
	} {
		for _, args := range []string{
			"sign-release -R acme/widget widget_1", "sign-release -R acme/widget --yes widget_1",
			"authorize -R acme/widget widget_1",
		} {
			env.Getenv = func(name string) string { return c.vars[name] }
			var out bytes.Buffer
			env.Stdout, env.Stderr = &out, &out
			code := Main(strings.Fields(args), env)
			if hint := "id_tokens sets REPOPOLICY_ID_TOKEN"; code != c.class.Exit() ||
				strings.Contains(out.String(), "becomes public") ||
				c.vars["GITLAB_CI"] != "" && !strings.Contains(out.String(), hint) {
				t.Errorf("%s, %s: exit %d\n%s", what, args, code, out.String())
			}
		}
	}
}
