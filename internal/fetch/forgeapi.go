// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// API returns what asks the API of the forge of a repository for a path, which may have a query.
// The error about something that is not there is fs.ErrNotExist.
func API(repo policy.Locator, f Forge, n Net) (func(ctx context.Context, path string) ([]byte, error), error) {
	api, err := n.api(f, repo.Host())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, path string) ([]byte, error) {
		u, err := url.Parse(path)
		if err != nil {
			return nil, err
		}
		data, err := api.Fetch(ctx, u.EscapedPath(), u.Query(), "application/json", maxListing)
		return data, missing(err)
	}, nil
}

// Published is a release that a forge lists.
type Published struct {
	Tag  string
	Time time.Time
}

// Releases returns the newest releases that the forge of a repository lists, at most n.
func Releases(ctx context.Context, repo policy.Locator, f Forge, n int, how Net) ([]Published, error) {
	ask, err := API(repo, f, how)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("repos/%s/releases?per_page=%d&limit=%d", repo.Path(), n, n)
	if f == GitLab {
		path = fmt.Sprintf("projects/%s/releases?per_page=%d", url.PathEscape(repo.Path()), n)
	}
	data, err := ask(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("listing the releases: %w", err)
	}
	return parseReleases(data, n)
}

// parseReleases reads a list of releases as GitHub, Forgejo and GitLab write it. Drafts are left
// out, and so is what is beyond n.
func parseReleases(data []byte, n int) ([]Published, error) {
	var list []struct {
		Tag       string    `json:"tag_name"`
		Draft     bool      `json:"draft"`
		Published time.Time `json:"published_at"`
		Released  time.Time `json:"released_at"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("the answer is no list of releases: %w", err)
	}
	if list == nil {
		return nil, errors.New("the answer is no list of releases")
	}
	var out []Published
	for _, r := range list {
		at := r.Published
		if at.IsZero() {
			at = r.Released
		}
		switch {
		case r.Draft:
		case r.Tag == "" || at.IsZero():
			return nil, errors.New("a release of the list has no tag or no time")
		case len(out) < n:
			out = append(out, Published{r.Tag, at})
		}
	}
	return out, nil
}
