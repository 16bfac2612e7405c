// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// Attestations asks GitHub for the attestations of a repository about a digest: one
// request for each artifact. The newest hundred are read.
// https://docs.github.com/en/rest/repos/attestations
func Attestations(repo policy.Locator, n Net) (release.Source, error) {
	api, err := n.api(GitHub, repo.Host())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, w release.Wanted) ([]release.Document, error) {
		digests, err := w.Digests()
		if err != nil {
			return nil, err
		}
		for _, d := range digests {
			if d.Alg != "sha256" {
				continue
			}
			rest := "attestations/" + d.String()
			path := "repos/" + repo.Path() + "/" + rest
			data, err := n.repository(ctx, api, repo, rest, url.Values{"per_page": {strconv.Itoa(maxPageSize)}},
				"application/vnd.github+json", release.MaxPublishedBytes)
			if err = missing(err); errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			if err != nil {
				return nil, fmt.Errorf("GitHub's attestations: %w", n.explained(err))
			}
			found, err := parseAttestations(data)
			var out []release.Document
			for _, a := range found {
				data, e := a.bundle, error(nil)
				if a.at != "" {
					data, e = n.attestation(ctx, repo.Host(), a.at)
				}
				if e == nil {
					out = append(out, release.Document{URL: api.URL() + "/" + path, Data: data})
					continue
				}
				if err = e; errors.As(e, new(*budget.Exceeded)) || ctx.Err() != nil {
					break // no further one could be held
				}
			}
			if err != nil {
				err = fmt.Errorf("GitHub's attestations: %w", err)
			}
			return out, err
		}
		return nil, nil
	}, nil
}

// attestationHosts are where GitHub keeps the bundles that its API names by their addresses. They
// are exact: whoever rents storage there has a host beside them.
// https://docs.github.com/en/actions/how-tos/secure-your-work/use-artifact-attestations
var attestationHosts = []string{"tmaproduction.blob.core.windows.net"}

// Limits of a bundle at such an address, as it is served and inflated, and of the address itself.
const (
	maxBundle  = 16 << 20
	maxAddress = 4 << 10
)

// attestation returns the bundle at an address that api.github.com gave (SPEC 15, rule 1): over
// https, at a host of the table or one that the user named, without a token and without a redirect.
func (n Net) attestation(ctx context.Context, forge, address string) ([]byte, error) {
	u, err := url.Parse(address)
	switch {
	case len(address) > maxAddress:
		return nil, fmt.Errorf("an attestation is kept at an address of more than %d bytes", maxAddress)
	case err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Host == "":
		return nil, errors.New("an attestation is kept at an address that is none of https")
	case forge != "github.com" || !slices.Contains(attestationHosts, u.Host) && !slices.Contains(n.Hosts, u.Host):
		return nil, fmt.Errorf("an attestation is kept at %s, which is not asked; --redirect-host %s does that",
			clip.Text(u.Host), clip.Text(u.Host))
	}
	c, err := n.client("https://" + u.Host)
	if err != nil {
		return nil, err
	}
	data, err := c.GetAddress(ctx, u, maxBundle)
	if err != nil {
		return nil, err
	}
	if data, err = inflate(data); err != nil {
		return nil, fmt.Errorf("%s%s: %w", c.URL(), u.EscapedPath(), err) // without what opens it
	}
	return data, budget.Of(ctx).Take(int64(len(data))) // as long as the run lasts
}

// errDamaged is what is wrong with a bundle that is none as it is served.
var errDamaged = errors.New("neither a bundle in JSON nor one that snappy compressed, or a part of it")

// inflate returns a bundle that is a snappy block, framed, or plain JSON.
func inflate(data []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && json.Valid(data) {
		return data, nil
	}
	out, err := unsnap(data, maxBundle)
	if errors.Is(err, errLarge) {
		return nil, fmt.Errorf("an attestation has more than %d bytes", maxBundle)
	} else if err != nil {
		return nil, errDamaged
	}
	return out, nil
}

// attestation is one of an answer: the bundle, or the address where it is kept.
type attestation struct {
	bundle []byte
	at     string
}

// parseAttestations returns what an answer holds. The error says that this is not all that there
// is: the rest is on further pages, or nowhere.
func parseAttestations(data []byte) ([]attestation, error) {
	var doc struct {
		Attestations []struct {
			Bundle json.RawMessage `json:"bundle"`
			URL    string          `json:"bundle_url"`
		} `json:"attestations"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("the answer is no list of attestations: %w", err)
	}
	if doc.Attestations == nil {
		return nil, errors.New("the answer is no list of attestations")
	}
	var out []attestation
	var err error
	for i, a := range doc.Attestations {
		switch {
		case i == maxPageSize:
			return out, fmt.Errorf("%d attestations for one digest, at most %d are looked at", len(doc.Attestations),
				maxPageSize)
		case len(a.Bundle) > 0 && !bytes.Equal(a.Bundle, []byte("null")):
			out = append(out, attestation{bundle: a.Bundle})
		case a.URL != "":
			out = append(out, attestation{at: a.URL})
		default:
			err = errors.New("an attestation has neither a bundle nor the address of one")
		}
	}
	if len(doc.Attestations) == maxPageSize && err == nil {
		err = fmt.Errorf("there may be more than %d attestations for one digest", maxPageSize)
	}
	return out, err
}
