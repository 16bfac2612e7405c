// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
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

// About is what a forge says of a repository.
type About struct {
	Repository policy.Locator // as it is called today, which may be another name than was asked for
	ID, Owner  string         // numbers of repository and owner, in decimal digits; no Owner if it says none
}

// Lookup asks a forge about a repository. Of one that has another name now the forge sends its
// visitors on, which is followed on the forge's own host. A token is shown if nobody else may see
// the repository. The error about one that is not there is fs.ErrNotExist.
func Lookup(ctx context.Context, repo policy.Locator, f Forge, n Net) (*About, error) {
	path := "repos/" + repo.Path()
	if f == GitLab {
		path = "projects/" + url.PathEscape(repo.Path())
	}
	api, err := n.client(f.api(repo.Host()))
	if err != nil {
		return nil, err
	}
	data, err := api.Via().Fetch(ctx, path, nil, "application/json", maxListing)
	if err = missing(err); errors.Is(err, fs.ErrNotExist) && n.Token != "" {
		ask, e := API(repo, f, n)
		if e != nil {
			return nil, e
		}
		data, err = ask(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("asking about the repository: %w", err)
	}
	return parseAbout(data, repo.Host())
}

// parseAbout reads what GitHub, Forgejo and GitLab say of a repository.
// https://docs.github.com/en/rest/repos/repos#get-a-repository
// https://docs.gitlab.com/api/projects/#retrieve-a-project
func parseAbout(data []byte, host string) (*About, error) {
	var doc struct {
		ID        uint64   `json:"id"`
		FullName  string   `json:"full_name"`
		Path      string   `json:"path_with_namespace"`
		Owner     numbered `json:"owner"`
		Namespace numbered `json:"namespace"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("the answer is about no repository: %w", err)
	}
	repo, err := policy.NormalizeLocator("https://" + host + "/" + cmp.Or(doc.FullName, doc.Path))
	if err != nil || repo.Host() != host || doc.ID == 0 {
		return nil, errors.New("the answer is about no repository")
	}
	out := &About{Repository: repo, ID: numbered{doc.ID}.String()}
	if doc.FullName != "" {
		out.Owner = doc.Owner.String()
	} else {
		out.Owner = doc.Namespace.String()
	}
	return out, nil
}

// numbered is what has a number.
type numbered struct {
	ID uint64 `json:"id"`
}

func (n numbered) String() string {
	if n.ID == 0 {
		return ""
	}
	return strconv.FormatUint(n.ID, 10)
}

// Published is a release that a forge lists.
type Published struct {
	Tag    string
	Time   time.Time
	Author string // who published it, by the forge's word; "" if it does not say
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
		Author    struct {
			Login    string `json:"login"`
			Username string `json:"username"`
		} `json:"author"`
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
		case slices.ContainsFunc(out, func(p Published) bool { return p.Tag == r.Tag }):
			return nil, fmt.Errorf("the release %q is listed twice", clip.Text(r.Tag))
		case len(out) < n:
			out = append(out, Published{r.Tag, at, cmp.Or(r.Author.Login, r.Author.Username)})
		}
	}
	return out, nil
}

// Owned returns the repositories of an organisation or user on github.com that are neither archived
// nor forks, at most so many.
// https://docs.github.com/en/rest/repos/repos#list-organization-repositories
func Owned(ctx context.Context, owner string, most int, n Net) ([]policy.Locator, error) {
	any, err := policy.ParseLocator("https://github.com/" + strings.ToLower(owner) + "/any")
	if err != nil || strings.Contains(owner, "/") {
		return nil, fmt.Errorf("%q is no owner of repositories on github.com", clip.Text(owner))
	}
	ask, err := API(any, GitHub, n)
	if err != nil {
		return nil, err
	}
	const page, mostPages = 100, 50
	kind := "orgs"
	var out []policy.Locator
	for i := 1; ; i++ {
		data, err := ask(ctx, fmt.Sprintf("%s/%s/repos?per_page=%d&page=%d", kind, owner, page, i))
		if errors.Is(err, fs.ErrNotExist) && i == 1 && kind == "orgs" {
			kind, i = "users", 0
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing the repositories of %s: %w", clip.Text(owner), err)
		}
		found, listed, err := parseOwned(data, strings.TrimSuffix(any.String(), "any"))
		if err != nil {
			return nil, err
		}
		if out = append(out, found...); len(out) > most {
			return nil, fmt.Errorf("%s has more than %d repositories", clip.Text(owner), most)
		}
		switch {
		case listed < page:
			return out, nil
		case i == mostPages:
			return nil, fmt.Errorf("%s has more than %d repositories, archived ones and forks included",
				clip.Text(owner), i*page)
		}
	}
}

// parseOwned reads a page of a list of repositories, each of which begins with a prefix, and how many it
// lists.
func parseOwned(data []byte, prefix string) (out []policy.Locator, listed int, err error) {
	var list []struct {
		FullName string `json:"full_name"`
		Archived bool   `json:"archived"`
		Fork     bool   `json:"fork"`
	}
	if err := json.Unmarshal(data, &list); err != nil || list == nil {
		return nil, 0, errors.New("the answer is no list of repositories")
	}
	for _, r := range list {
		l, err := policy.NormalizeLocator("https://github.com/" + r.FullName)
		if err != nil || !strings.HasPrefix(l.String(), prefix) {
			return nil, 0, fmt.Errorf("the list has %q, which is not asked for", clip.Text(r.FullName))
		}
		if !r.Archived && !r.Fork {
			out = append(out, l)
		}
	}
	return out, len(list), nil
}
