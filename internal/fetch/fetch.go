// SPDX-License-Identifier: Apache-2.0

// Package fetch finds what a project has published: releases of forges, GitHub's
// attestations, packages of npm and PyPI, images in registries.
//
// Every address is put together here from what the user named. What a service
// answers is a hint which names to ask for, or evidence that is yet to be judged.
// No address out of an answer is asked, except that downloads may lead to hosts that
// are named here or by the user. No credentials are sent, but a token to GitHub's API
// if the user says so.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what services answer.
const (
	maxListing  = 8 << 20
	maxAssets   = 1000 // of a release, as on GitHub
	maxKept     = 32 << 20
	maxName     = 255
	maxPageSize = 100
)

// Net is how services are reached.
type Net struct {
	Transport http.RoundTripper // nil for the default one
	Agent     string            // User-Agent
	// MaxBytes is the largest artifact that is downloaded.
	MaxBytes int64
	// Hosts are further hosts that the user lets services send downloads on to.
	Hosts []string
	// Token, if set, is shown to GitHub's API and to nobody else: those whom it
	// knows may ask it more often.
	Token string
	// Credential returns how to log in at a registry; nil asks as anybody. Only the registry and its
	// token service are shown it.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
	// Moved, if set, is told that GitHub knows a repository under another name, and its number
	// there. An error of it ends the look-up. Without it no such look-up is made.
	Moved func(repo policy.Locator, number string) error
}

func (n Net) client(base string) (*web.Client, error) { return web.New(base, n.Transport, n.Agent) }

// api returns a client for the API of the forge at a host.
func (n Net) api(f Forge, host string) (*web.Client, error) {
	c, err := n.client(f.api(host))
	if err != nil || n.Token == "" || host != "github.com" {
		return c, err
	}
	return c.Authorized(n.Token)
}

// repository asks GitHub's API below a repository. If that has another name now, GitHub answers with
// a redirect; of it the number of the repository is read, and nothing else (SPEC 15, rule 1).
func (n Net) repository(
	ctx context.Context, api *web.Client, repo policy.Locator, rest string, query url.Values, accept string, limit int64,
) ([]byte, error) {
	data, err := api.Fetch(ctx, "repos/"+repo.Path()+"/"+rest, query, accept, limit)
	sent := new(*web.RedirectError)
	if n.Moved == nil || !errors.As(err, sent) {
		return data, err
	}
	number := numberOf((*sent).To, api.URL())
	if number == "" {
		return nil, err
	}
	if err := n.Moved(repo, number); err != nil {
		return nil, err
	}
	return api.Fetch(ctx, "repositories/"+number+"/"+rest, query, accept, limit)
}

// numberOf returns the number of a repository in an address of GitHub's API that is that of one.
func numberOf(to *url.URL, api string) string {
	path, ok := strings.CutPrefix(to.String(), api+"/repositories/")
	number, _, below := strings.Cut(path, "/")
	const longest = 20
	if !ok || !below || number == "" || len(number) > longest || number[0] == '0' {
		return ""
	}
	if strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return number
}

// explained adds to an error of GitHub's API what the token in question has to do with it: who may
// ask more often, and who is shown what is private, of which it says to others that it is not there.
func (n Net) explained(err error) error {
	var status *web.StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch known := n.Token != ""; {
	case status.Limited && !known:
		return fmt.Errorf("%w; --github-token shows the token in GITHUB_TOKEN, and those it knows may ask more often", err)
	case status.Missing() && !known:
		return fmt.Errorf("%w; GitHub says so of what is private, too: --github-token shows the token in GITHUB_TOKEN", err)
	case status.Code == http.StatusUnauthorized && known:
		return fmt.Errorf("%w; GitHub does not accept the token in GITHUB_TOKEN", err)
	}
	return err
}

// missing turns a service's word that it has nothing of that name into
// fs.ErrNotExist.
func missing(err error) error {
	var status *web.StatusError
	if errors.As(err, &status) && status.Missing() {
		return &absent{err}
	}
	return err
}

// absent is the error of something that a service says is not there.
type absent struct{ error }

func (a *absent) Is(target error) bool { return target == fs.ErrNotExist }
func (a *absent) Unwrap() error        { return a.error }

func readAll(d *web.Download) ([]byte, error) {
	data, err := io.ReadAll(d) // the download ends at its limit
	if e := d.Close(); err == nil {
		err = e
	}
	return data, err
}

func invalid(format string, args ...any) error {
	return &release.Failure{Reason: policy.ReleaseInvalid, Detail: fmt.Sprintf(format, args...)}
}

// checkName accepts names that are those of a file in one directory on every
// system, and that look like what they are.
func checkName(name string) error {
	bad := func(why string) error { return invalid("%q is not the name of a file: %s", clip.Text(name), why) }
	switch {
	case name == "" || len(name) > maxName:
		return bad(fmt.Sprintf("it has 1 to %d bytes", maxName))
	case !utf8.ValidString(name):
		return bad("it is not UTF-8")
	case strings.ContainsAny(name, `/\:*?"<>|`):
		return bad("it has a character that separates or that not every system allows")
	case strings.HasPrefix(name, "-"):
		return bad("a program would take it for a flag")
	case strings.Trim(name, ".") == "" || strings.HasSuffix(name, ".") || strings.TrimSpace(name) != name:
		return bad("it ends in a dot, or has white space around it")
	case strings.ContainsFunc(name, unseen):
		return bad("it has a character that is not seen")
	case isDevice(name):
		return bad("it is a device on some systems")
	}
	return nil
}

// unseen reports whether a character is not seen where a name is shown.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError
}

// isDevice reports whether Windows takes a name for that of a device.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch device := strings.TrimRight(stem, "0123456789¹²³ "); device {
	case "com", "lpt":
		return stem != device
	}
	switch strings.TrimRight(stem, " ") {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	return false
}

// escape makes path segments of a text, whose slashes it keeps.
func escape(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
