// SPDX-License-Identifier: Apache-2.0

package release

import (
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

func TestQuorum(t *testing.T) {
	a := &Artifact{}
	content := []policy.Digest{{Alg: "sha256", Hex: "aa"}}
	ok := &Result{
		Artifact: a, Digests: content, Decision: policy.Decision{Permitted: true, Reason: policy.Allowed},
	}
	result := func(r policy.Reason) *Result { return &Result{Artifact: a, Decision: policy.Decision{Reason: r}} }
	changed, nothing := *ok, *ok
	changed.Digests, nothing.Digests = []policy.Digest{{Alg: "sha256", Hex: "bb"}}, nil
	no, away, other := result(policy.RuleMismatch), result(policy.BelowRequired), &Result{
		Artifact: &Artifact{}, Decision: ok.Decision,
	}
	lying := &Result{Artifact: a, Decision: policy.Decision{Reason: policy.Allowed}} // a reason without the outcome
	for name, row := range map[string]struct {
		k    int
		runs []*Result
		want policy.Class
	}{
		"one of one":                    {1, []*Result{ok}, policy.ClassOK},
		"two of two":                    {2, []*Result{ok, ok}, policy.ClassOK},
		"one of two":                    {1, []*Result{no, ok}, policy.ClassOK},
		"two of three":                  {2, []*Result{ok, away, ok}, policy.ClassOK},
		"one where two are demanded":    {2, []*Result{ok, no}, policy.ClassDeny},
		"the worst of the others":       {3, []*Result{away, ok, no}, policy.ClassDeny},
		"none":                          {1, []*Result{no, no}, policy.ClassDeny},
		"a run is missing":              {2, []*Result{ok}, policy.ClassInternal},
		"nothing demanded":              {0, []*Result{ok, ok}, policy.ClassInternal},
		"negative":                      {-1, []*Result{no}, policy.ClassInternal},
		"another artifact":              {2, []*Result{ok, other}, policy.ClassInternal},
		"other content the second time": {1, []*Result{ok, &changed}, policy.ClassDeny},
		"content that nobody hashed":    {2, []*Result{ok, &nothing}, policy.ClassDeny},
		"not judged":                    {1, []*Result{ok, nil}, policy.ClassInternal},
		"a reason is no outcome":        {2, []*Result{ok, lying}, policy.ClassInternal},
	} {
		var runs [][]*Result
		for _, r := range row.runs {
			runs = append(runs, []*Result{r})
		}
		if got := Class(Quorum(row.k, runs)); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
	if got := Class(Quorum(1, [][]*Result{{ok, ok}, {ok}})); got != policy.ClassInternal {
		t.Errorf("runs of different lengths: %s", got)
	}
	if got := Class(Quorum(1, nil)); got == policy.ClassOK {
		t.Error("no run at all is OK")
	}
	if len(ok.Decision.Notes) != 0 {
		t.Error("the results themselves were changed")
	}
}
