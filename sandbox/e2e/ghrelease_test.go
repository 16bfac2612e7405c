// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/sandbox/internal/issuer"
)

// asGH names the environment variable with which this test binary is the few
// commands of gh that our workflows run, against the forge's API.
const asGH = "E2E_GH"

func gh(args []string) int {
	if err := runGH(args); err != nil {
		fmt.Fprintln(os.Stderr, "gh:", err)
		return 1
	}
	return 0
}

func runGH(args []string) error {
	var w world
	data, err := os.ReadFile(os.Getenv(asProgram))
	if err == nil {
		err = json.Unmarshal(data, &w)
	}
	if err != nil {
		return err
	}
	c := ghClient{http.Client{Transport: &issuer.Transport{Base: http.DefaultTransport, Hosts: w.Hosts}}}
	if len(args) == 4 && args[0] == "api" && strings.HasSuffix(args[1], "/dispatches") && args[2] == "-f" {
		if os.Getenv("GH_TOKEN") != "sandbox-contents-write" {
			return errors.New("HTTP 403")
		}
		if args[1] != "repos/"+os.Getenv("GITHUB_REPOSITORY")+"/dispatches" || args[3] != "event_type=repopolicy" {
			return fmt.Errorf("unexpected %q", args)
		}
		return os.WriteFile(os.Getenv("E2E_DISPATCHED"), []byte(args[3]), 0o600)
	}
	if len(args) > 1 && args[0] == "issue" {
		return ghIssue(args[1:])
	}
	if len(args) < 3 || args[0] != "release" {
		return fmt.Errorf("unexpected %q", args)
	}
	f := flag.NewFlagSet("gh", flag.ContinueOnError)
	repo, dir := f.String("repo", "", ""), f.String("dir", "", "")
	draft := f.Bool("draft", false, "")
	f.String("title", "", "")
	f.Bool("verify-tag", false, "")
	f.Bool("generate-notes", false, "")
	if err := f.Parse(args[3:]); err != nil {
		return err
	}
	base := "https://api.github.com/repos/" + *repo + "/releases"
	switch tag := args[2]; args[1] {
	case "create":
		body, err := json.Marshal(map[string]any{"tag_name": tag, "draft": *draft})
		if err != nil {
			return err
		}
		var rel ghRelease
		if err := c.do(http.MethodPost, base, bytes.NewReader(body), &rel); err != nil {
			return err
		}
		return c.upload(*repo, rel.ID, f.Args())
	case "upload":
		rel, err := c.release(base, tag)
		if err != nil {
			return err
		}
		return c.upload(*repo, rel.ID, f.Args())
	case "download":
		rel, err := c.release(base, tag)
		if err != nil {
			return err
		}
		if err := os.Mkdir(*dir, 0o700); err != nil {
			return err
		}
		for _, a := range rel.Assets {
			var content bytes.Buffer
			if err := c.do(http.MethodGet, fmt.Sprintf("%s/assets/%d", base, a.ID), nil, &content); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(*dir, a.Name), content.Bytes(), 0o600); err != nil {
				return err
			}
		}
		return nil
	case "edit":
		rel, err := c.release(base, tag)
		if err != nil {
			return err
		}
		return c.do(http.MethodPatch, fmt.Sprintf("%s/%d", base, rel.ID), strings.NewReader(fmt.Sprintf(`{"draft":%t}`, *draft)), nil)
	}
	return fmt.Errorf("unexpected %q", args)
}

type ghRelease struct {
	ID     int64  `json:"id"`
	Tag    string `json:"tag_name"`
	Assets []struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	} `json:"assets"`
}

type ghClient struct{ http http.Client }

// upload puts files into a release.
func (c *ghClient) upload(repo string, release int64, files []string) error {
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		at := fmt.Sprintf("https://uploads.github.com/repos/%s/releases/%d/assets?name=%s", repo, release, url.QueryEscape(filepath.Base(file)))
		if err := c.do(http.MethodPost, at, bytes.NewReader(content), nil); err != nil {
			return err
		}
	}
	return nil
}

// release finds a release, or a draft of one.
func (c *ghClient) release(base, tag string) (ghRelease, error) {
	var all []ghRelease
	err := c.do(http.MethodGet, base, nil, &all)
	for _, r := range all {
		if r.Tag == tag {
			return r, err
		}
	}
	return ghRelease{}, errors.Join(err, errors.New("release not found"))
}

// do sends a request and reads the answer into out: a buffer, or a JSON value.
func (c *ghClient) do(method, at string, body io.Reader, out any) error {
	req, err := http.NewRequest(method, at, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+os.Getenv("GH_TOKEN"))
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, at, resp.Status, data)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *bytes.Buffer:
		_, err = out.Write(data)
	default:
		err = json.Unmarshal(data, out)
	}
	return err
}
