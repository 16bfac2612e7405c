// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/repopolicy/repopolicy/policy"
)

// TestSelection: of a list in a signing config that service is used which sigstore-go would use; a
// config by which it would use several, or which it refuses, is refused.
func TestSelection(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	type service struct {
		URL             string            `json:"url"`
		MajorAPIVersion int               `json:"majorApiVersion"`
		ValidFor        map[string]string `json:"validFor,omitempty"`
		Operator        string            `json:"operator"`
	}
	is := func(url string, version int, operator, start, end string) service {
		s := service{"https://" + url, version, map[string]string{}, operator}
		if start != "" {
			s.ValidFor["start"] = start
		}
		if end != "" {
			s.ValidFor["end"] = end
		}
		return s
	}
	const old, begun, next = "2024-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "2027-01-01T00:00:00Z"
	moment := now.Format(time.RFC3339)
	for name, x := range map[string]struct {
		list     []service
		selector string // "" for ANY
		count    int
		want     []string // one of them is used, "" for no service; nil if the config is refused
	}{
		"one":             {list: []service{is("a", 2, "x", old, "")}, want: []string{"a"}},
		"none":            {want: []string{""}},
		"the newest":      {list: []service{is("a", 2, "x", old, ""), is("b", 2, "x", begun, "")}, want: []string{"b"}},
		"of one start":    {list: []service{is("a", 2, "x", old, ""), is("b", 2, "x", old, "")}, want: []string{"a", "b"}},
		"not begun":       {list: []service{is("a", 2, "x", old, ""), is("b", 2, "x", next, "")}, want: []string{"a"}},
		"begun now":       {list: []service{is("a", 2, "x", old, ""), is("b", 2, "x", moment, "")}, want: []string{"b"}},
		"over":            {list: []service{is("a", 2, "x", old, ""), is("b", 2, "x", begun, begun)}, want: []string{"a"}},
		"over now":        {list: []service{is("a", 2, "x", old, moment)}, want: []string{"a"}},
		"all over":        {list: []service{is("a", 2, "x", old, begun)}, want: []string{""}},
		"without a start": {list: []service{is("a", 2, "x", "", next)}, want: []string{"a"}},
		"another version": {list: []service{is("a", 3, "x", old, ""), is("b", 2, "x", old, "")}, want: []string{"b"}},
		"version 1, too":  {list: []service{is("a", 1, "x", begun, ""), is("b", 2, "x", old, "")}, want: []string{"b"}},
		"any of two operators": {
			list: []service{is("a", 2, "x", old, ""), is("b", 2, "y", begun, "")}, want: []string{"a", "b"},
		},
		"exactly one": {
			list: []service{is("a", 2, "x", old, "")}, selector: "EXACT", count: 1, want: []string{"a"},
		},
		"exactly two of two": {
			list: []service{is("a", 2, "x", old, ""), is("b", 2, "y", old, "")}, selector: "EXACT", count: 2,
		},
		"exactly two of one": {list: []service{is("a", 2, "x", old, "")}, selector: "EXACT", count: 2},
		"exactly none":       {list: []service{is("a", 2, "x", old, "")}, selector: "EXACT"},
		"all, which is one":  {list: []service{is("a", 2, "x", old, "")}, selector: "ALL", want: []string{"a"}},
		"all of one operator": {
			list: []service{is("a", 2, "x", old, ""), is("b", 2, "x", begun, "")}, selector: "ALL", want: []string{"b"},
		},
		"all of two operators": {list: []service{is("a", 2, "x", old, ""), is("b", 2, "y", old, "")}, selector: "ALL"},
		"all, of which one is over": {
			list: []service{is("a", 2, "x", old, ""), is("b", 2, "y", old, begun)}, selector: "ALL", want: []string{"a"},
		},
		"all, of two versions": {
			list: []service{is("a", 2, "x", old, ""), is("b", 1, "y", old, "")}, selector: "ALL", want: []string{"a"},
		},
		"all, of versions to come": {
			list: []service{is("a", 2, "x", old, ""), is("b", 3, "y", old, ""), is("c", 3, "z", old, "")}, selector: "ALL",
			want: []string{"a"},
		},
	} {
		for _, kind := range []string{"rekorTlog", "tsa"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				list := slices.Clone(x.list)
				versions := []uint32{1, 2}
				if kind == "tsa" { // its only version is 1
					for i := range list {
						list[i].MajorAPIVersion = map[int]int{1: 0, 2: 1, 3: 3}[list[i].MajorAPIVersion]
					}
					versions = versions[:1]
				}
				data, err := json.Marshal(map[string]any{
					"mediaType": signingConfigType, kind + "Urls": list,
					kind + "Config": map[string]any{"selector": cmp.Or(x.selector, "ANY"), "count": x.count},
				})
				if err != nil {
					t.Fatal(err)
				}
				s, err := ParseSigningConfigs(now, data)
				got := strings.TrimPrefix(s.TSA+s.RekorV2, "https://")
				var e *Error
				if x.want == nil && (!errors.As(err, &e) || e.Reason != policy.TrustRootInvalid) ||
					x.want != nil && (err != nil || !slices.Contains(x.want, got)) {
					t.Errorf("%q %v", got, err)
				}
				oracle, err := root.NewSigningConfigFromJSON(data)
				if err != nil {
					t.Fatal(err)
				}
				all, by := oracle.RekorLogURLs(), oracle.RekorLogURLsConfig
				if kind == "tsa" {
					all, by = oracle.TimestampAuthorityURLs(), oracle.TimestampAuthorityURLsConfig
				}
				theirs, err := root.SelectServices(all, by(), versions, now)
				one := err == nil && len(theirs) == 1
				if used := len(x.want) > 0 && x.want[0] != ""; one != used ||
					one && !slices.Contains(x.want, strings.TrimPrefix(theirs[0].URL, "https://")) {
					t.Errorf("sigstore-go: %v %v", theirs, err)
				}
			})
		}
	}
}
