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
	"strconv"

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
			path := "repos/" + repo.Path() + "/attestations/" + d.String()
			data, err := api.Fetch(ctx, path, url.Values{"per_page": {strconv.Itoa(maxPageSize)}}, "application/vnd.github+json",
				release.MaxPublishedBytes)
			if err = missing(err); errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			if err != nil {
				return nil, fmt.Errorf("GitHub's attestations: %w", err)
			}
			bundles, err := parseAttestations(data)
			var out []release.Document
			for _, b := range bundles {
				out = append(out, release.Document{URL: api.URL() + "/" + path, Data: b})
			}
			if err != nil {
				err = fmt.Errorf("GitHub's attestations: %w", err)
			}
			return out, err
		}
		return nil, nil
	}, nil
}

// parseAttestations returns the bundles of an answer. The error says that it does
// not hold all that there are: they are on further pages, or only an address of
// them is given, which is not followed.
func parseAttestations(data []byte) ([][]byte, error) {
	var doc struct {
		Attestations []struct {
			Bundle json.RawMessage `json:"bundle"`
		} `json:"attestations"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("the answer is no list of attestations: %w", err)
	}
	if doc.Attestations == nil {
		return nil, errors.New("the answer is no list of attestations")
	}
	var out [][]byte
	var err error
	for i, a := range doc.Attestations {
		switch {
		case i == maxPageSize:
			return out, fmt.Errorf("%d attestations for one digest, at most %d are looked at", len(doc.Attestations),
				maxPageSize)
		case len(a.Bundle) == 0 || bytes.Equal(a.Bundle, []byte("null")):
			err = errors.New(
				"an attestation is kept at another address, which is not followed; `gh attestation download` fetches it",
			)
		default:
			out = append(out, a.Bundle)
		}
	}
	if len(doc.Attestations) == maxPageSize && err == nil {
		err = fmt.Errorf("there may be more than %d attestations for one digest", maxPageSize)
	}
	return out, err
}
