// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// flooded is a directory of a repository with so many more bindings of its own version.
func flooded(t testing.TB, more int) *site {
	t.Helper()
	s := newSite(t)
	for range more {
		s.Bind(repo, s.Payloads[1])
	}
	s.Refresh()
	s.read(s.Bodies)
	s.Paged, s.Rest = true, true
	s.Build(built)
	return s
}

// TestLargeAnswer: pages of an answer that is not held are verified one by one, and prove
// what they prove in one that is; what is wrong with one of them is an error.
func TestLargeAnswer(t *testing.T) {
	s := flooded(t, 300)
	q := bindings.Query{Repository: locator(t, repo)}
	held, slim := s.lookup(nil), s.lookup(nil)
	answers.SetHeld(slim, 3)
	one, err := held.Find(t.Context(), q)
	check(t, err)
	before := len(s.Requests())
	two, err := slim.Find(t.Context(), q)
	check(t, err)
	if len(one.Leaves) != 304 || len(two.Leaves) != len(one.Leaves) || two.Completeness != one.Completeness ||
		len(two.Directory.Bindings) != len(one.Directory.Bindings) {
		t.Errorf("%d and %d leaves, %s and %s", len(one.Leaves), len(two.Leaves), one.Completeness, two.Completeness)
	}
	// What the number has is what the name has, and is not asked for.
	if n := len(s.Requests()) - before; n != 6 {
		t.Errorf("%d requests: %v", n, s.Requests()[before:])
	}
	if held.Answer() == nil || len(held.AnswerPages()) != 10 || slim.Answer() != nil || len(slim.AnswerPages()) != 0 {
		t.Errorf("%d and %d pages are held", len(held.AnswerPages()), len(slim.AnswerPages()))
	}
	res := resolve(t, s.World, s.Files, slim)
	if res.Chain.Reason() != "" || len(res.Failed) > 0 || res.Chain.View().Completeness != chain.CompleteProven {
		t.Errorf("%s %v %s", res.Chain.Reason(), res.Failed, res.Chain.View().Completeness)
	}
	for name, tamper := range map[string]func(p string, f []byte) []byte{
		"withheld":      func(p string, f []byte) []byte { return unless(p, "/2.json.gz", f, nil) },
		"rest withheld": func(p string, f []byte) []byte { return unless(p, ".p/", f, nil) },
		"malformed":     func(p string, f []byte) []byte { return unless(p, "/0.json.gz", f, []byte("x")) },
		"doubled": func(p string, f []byte) []byte {
			if strings.HasSuffix(p, "/1.json.gz") {
				return s.File(strings.Replace(p, "/1.json.gz", "/0.json.gz", 1))
			}
			return f
		},
		"rest cut": func(p string, f []byte) []byte {
			if !strings.Contains(p, ".p/") {
				return f
			}
			page, err := answers.ParsePage(f)
			check(t, err)
			page.Records = page.Records[:len(page.Records)-1]
			f, err = page.Encode()
			check(t, err)
			return f
		},
		"another entry": func(p string, f []byte) []byte {
			if !strings.HasSuffix(p, "/1.json.gz") {
				return f
			}
			page, err := answers.ParsePage(f)
			check(t, err)
			page.Records[3].Binding.Body = page.Records[4].Binding.Body
			f, err = page.Encode()
			check(t, err)
			return f
		},
		"without its proof": func(p string, f []byte) []byte {
			if !strings.HasSuffix(p, "/1.json.gz") {
				return f
			}
			page, err := answers.ParsePage(f)
			check(t, err)
			page.Records[3].Binding.Inclusion = nil
			f, err = page.Encode()
			check(t, err)
			return f
		},
	} {
		s.Tamper = tamper
		if found, err := slim.Find(t.Context(), q); err == nil {
			t.Errorf("%s: %d leaves", name, len(found.Leaves))
		}
	}
	s.Tamper = nil
	for name, change := range map[string]func(k *answers.KeyAnswer){
		"one more":  func(k *answers.KeyAnswer) { k.Rest++ },
		"one less":  func(k *answers.KeyAnswer) { k.Rest-- },
		"full":      func(k *answers.KeyAnswer) { k.Rest = 0 },
		"block cut": func(k *answers.KeyAnswer) { k.Blocks = k.Blocks[:len(k.Blocks)-1] },
		"two blocks": func(k *answers.KeyAnswer) {
			k.Blocks[0], k.Blocks[1] = k.Blocks[1], k.Blocks[0]
		},
		"left out": func(k *answers.KeyAnswer) {
			*k = answers.KeyAnswer{Key: k.Key, Path: k.Path, Top: s.Top(k.Key)}
		},
		"left out, as if there were more": func(k *answers.KeyAnswer) {
			top := s.Top(k.Key)
			top.Depth -= 8
			*k = answers.KeyAnswer{Key: k.Key, Path: k.Path, Top: top}
		},
	} {
		s.Change = func(a *answers.Answer) {
			if len(a.Keys) > 0 {
				change(&a.Keys[0])
			}
		}
		if found, err := slim.Find(t.Context(), q); err == nil {
			t.Errorf("%s: %d leaves, %s", name, len(found.Leaves), found.Completeness)
		}
	}
	s.Change = nil
	// What it omits and what is none is seen, but there is no evidence of that size.
	for _, k := range []string{repo, number} {
		s.Records[k] = s.Records[k][1:]
	}
	s.Build(built)
	res = resolve(t, s.World, s.Files, slim)
	if res.Lie != nil || len(res.Failed) != 1 || res.Chain.View().Completeness != chain.CompleteNone {
		t.Errorf("%v %s", res.Failed, res.Chain.View().Completeness)
	}
	// Of several answers one is held, and never more than a run may.
	some := budget.New(1 << 20)
	for range 3 {
		if _, err := slim.Find(budget.With(t.Context(), some), q); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	ctx := budget.With(t.Context(), budget.New(100<<10))
	if _, err := slim.Find(ctx, q); !errors.As(err, new(*budget.Exceeded)) {
		t.Errorf("beyond the run's memory: %v", err)
	}
}

// TestLeftOut: what a directory proves to be beyond its answers makes what is known of that
// repository nothing, never a lie and never a pass.
func TestLeftOut(t *testing.T) {
	fill := func(s *site, key string) { // nobody reads these
		for n := range answers.MaxKeyRecords {
			digest := fmt.Sprintf("%064x", n)
			s.Records[key] = append(
				s.Records[key], answers.Record{Disclosed: &answers.DisclosedRecord{Payload: digest, PAE: digest}},
			)
		}
	}
	for name, change := range map[string]func(s *site){
		"the name":   func(s *site) { fill(s, repo); fill(s, number) },
		"the number": func(s *site) { fill(s, number) },
		"numbers": func(s *site) {
			for n := range answers.MaxAnswerKeys {
				s.BindAs(repo, fmt.Sprint(3000+n), s.Payloads[1])
			}
			s.Refresh()
			s.read(s.Bodies)
			s.Directory.Change = func(a *answers.Answer) { a.Keys = a.Keys[:min(len(a.Keys), answers.MaxAnswerKeys)] }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			change(s)
			s.Paged, s.LeaveOut = true, true
			s.Build(built)
			d := s.lookup(nil)
			found, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)})
			if err != nil || found.Completeness != chain.CompleteNone || found.Directory != nil || d.Answer() != nil {
				t.Fatalf("%s %v", found.Completeness, err)
			}
			res := resolve(t, s.World, s.Files, d)
			if res.Lie != nil || len(res.Failed) > 0 || res.Chain.View().Completeness != chain.CompleteNone ||
				decideWith(t, res.Chain).Class() == policy.ClassOK {
				t.Errorf("%v %s", res.Failed, res.Chain.View().Completeness)
			}
			// Others have their answers.
			found, err = d.Find(t.Context(), bindings.Query{Repository: locator(t, "https://github.com/acme/other")})
			if err != nil || found.Completeness != chain.CompleteProven {
				t.Errorf("another repository: %s %v", found.Completeness, err)
			}
		})
	}
}

// decideWith judges a release that no rule could allow.
func decideWith(t testing.TB, c *chain.Chain) policy.Reason {
	t.Helper()
	d, _ := c.Trusted(demand).Precheck(policy.Request{Now: now}, policy.Claims{})
	return d.Reason
}

// TestThousandsOfBindings: as many bindings of one's own version as anybody can log in a run
// do not end a repository for those who ask a directory.
func TestThousandsOfBindings(t *testing.T) {
	n := 1_300 // 4,300 and more take a minute
	switch {
	case os.Getenv("REPOPOLICY_LONG") != "":
		n = answers.MaxKeyRecords - 10
	case testing.Short():
		t.Skip("thousands of signatures")
	}
	s := flooded(t, n)
	d := s.lookup(nil)
	start := time.Now()
	res := resolve(t, s.World, s.Files, d)
	if res.Chain.Reason() != "" || len(res.Failed) > 0 || res.Chain.View().Completeness != chain.CompleteProven {
		t.Errorf("%s %v %s", res.Chain.Reason(), res.Failed, res.Chain.View().Completeness)
	}
	t.Logf("%d bindings: %d requests, %s", n, len(s.Requests()), time.Since(start).Round(time.Millisecond))
}
