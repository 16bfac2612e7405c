// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// shown is how many of an element's failures a line names.
const shown = 20

// spread is how many bytes of an element are flipped where not all are.
const spread = 32

// unauthenticated lists the kinds of elements in which a flipped bit may go
// unnoticed, each with its reason.
//
//go:embed bitflip.txt
var unauthenticated string

// exceptions reads lines of the form "kind = reason".
func exceptions(text string) (map[string]string, error) {
	out := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, reason, ok := strings.Cut(line, " = ")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d: not \"kind = reason\"", i+1)
		}
		out[strings.TrimSpace(kind)] = reason
	}
	return out, nil
}

// flips counts what came of flipped bits, by kind of element.
type flips struct {
	mu     sync.Mutex
	counts map[string]*flipCount
	except map[string]string
}

type flipCount struct{ flipped, unnoticed int }

// flipJob is one element of one bundle.
type flipJob struct {
	tc   *testCase
	q    judging
	want *release.Result // of the bundle as it is
	// without is the result without the log entry or time stamp that the leaf
	// belongs to, nil if the bundle is refused without it.
	without *release.Result
	leaf    leaf
}

// flipBits flips one bit in the bytes of every element of accepted bundles: of
// each sort of bundle the first, and with all set in every byte rather than in
// some. A changed bundle must be refused, unless the kind of element is listed
// as unauthenticated; then it may be accepted with the very same result, or
// with that of the bundle without the log entry or time stamp it is part of.
func (c *corpus) flipBits(t *tally, all bool) error {
	except, err := exceptions(unauthenticated)
	if err != nil {
		return fmt.Errorf("bitflip.txt: %w", err)
	}
	f := &flips{counts: map[string]*flipCount{}, except: except}
	scratch, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var jobs []flipJob
	for _, tc := range c.sample() {
		js, err := c.flipJobs(tc)
		if err != nil {
			t.check(false, tc.ID, "bit flips: %s", err)
			continue
		}
		jobs = append(jobs, js...)
	}
	parallel(len(jobs), func(i int) {
		j := jobs[i]
		j.q.bundle = filepath.Join(scratch, fmt.Sprintf("%d.json", i))
		f.run(t, j, all)
	})
	f.print(t)
	return nil
}

// sample returns the first accepted case of each ecosystem, media type, content
// and sort of log entries.
func (c *corpus) sample() []*testCase {
	seen := map[string]bool{}
	var out []*testCase
	for _, tc := range c.cases {
		if tc.Bundle == nil || tc.Expected.Verdict != "accept" {
			continue
		}
		sort := fmt.Sprint(tc.Ecosystem, tc.Bundle.MediaType, tc.Bundle.Content, tc.TransparencyLog)
		if !seen[sort] {
			seen[sort] = true
			out = append(out, tc)
		}
	}
	return out
}

// flipJobs returns a job for every element of a case's bundle.
func (c *corpus) flipJobs(tc *testCase) ([]flipJob, error) {
	q, signer, err := c.question(tc)
	if err != nil {
		return nil, err
	}
	want := q.result()
	if signer.Unlogged { // a log entry that is there must count
		signer.Unlogged = false
		p, err := signer.Trusted()
		if err != nil {
			return nil, err
		}
		strict := q
		strict.policy = p
		if r := strict.result(); permitted(r) {
			q, want = strict, r
		}
	}
	if !permitted(want) {
		return nil, fmt.Errorf("not accepted as it is: %s", describe(want))
	}
	// The bytes of the artifact need not be read for every flip.
	q.artifact = &release.Artifact{
		Arg: q.artifact.Arg, Name: q.artifact.Name, Subject: q.artifact.Subject, Digests: want.Digests,
	}
	data, err := os.ReadFile(q.bundle)
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	without, err := dispensable(q, doc)
	if err != nil {
		return nil, err
	}
	var jobs []flipJob
	for _, l := range leaves(doc) {
		j := flipJob{tc, q, want, without[l.owner], l}
		if j.without != nil {
			j.leaf.kind = strings.TrimRight(l.owner, "[]0123456789") + "[dispensable]"
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// dispensable returns the result of the bundle without each log entry and time
// stamp that it can do without.
func dispensable(q judging, doc any) (map[string]*release.Result, error) {
	f, err := os.CreateTemp("", "corpus*.json")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	f.Close()
	q.bundle = f.Name()
	out := map[string]*release.Result{}
	for n := 0; ; n++ {
		text, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		var less map[string]any
		if err := json.Unmarshal(text, &less); err != nil {
			return nil, err
		}
		what := remove(less, n)
		if what == "" {
			return out, nil
		}
		if text, err = json.Marshal(less); err != nil {
			return nil, err
		}
		if err := os.WriteFile(q.bundle, text, 0o600); err != nil {
			return nil, err
		}
		if r := q.result(); permitted(r) {
			out[what] = r
		}
	}
}

func (f *flips) run(t *tally, j flipJob, all bool) {
	kinds := j.leaf.regions()
	step := 1
	if !all {
		step = max(1, (len(kinds)+spread-1)/spread)
	}
	counts := map[string]*flipCount{}
	bad := map[string][]string{}
	for i := 0; i < len(kinds); i += step {
		kind := kinds[i]
		if counts[kind] == nil {
			counts[kind] = &flipCount{}
		}
		counts[kind].flipped++
		bit := i % j.leaf.bits()
		r, err := j.judge(i, bit)
		switch {
		case err != nil:
			bad[kind] = append(bad[kind], err.Error())
		case r.Class() == policy.ClassInternal:
			bad[kind] = append(bad[kind], fmt.Sprintf("%d.%d %s", i, bit, describe(r)))
		case !permitted(r):
		case f.except[kind] == "":
			counts[kind].unnoticed++
			bad[kind] = append(bad[kind], fmt.Sprintf("%d.%d accepted", i, bit))
		default:
			counts[kind].unnoticed++
			if !same(r, j.want) && (j.without == nil || !same(r, j.without)) {
				bad[kind] = append(bad[kind], fmt.Sprintf("%d.%d accepted with another result", i, bit))
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		n := len(bad[kind])
		t.check(
			n == 0, j.tc.ID, "flipped bits of %s: want %d refusals, got %d that are not (byte.bit): %s", kind,
			counts[kind].flipped, n, strings.Join(bad[kind][:min(n, shown)], ", "),
		)
	}
	f.add(counts)
}

// judge judges the bundle with one bit flipped.
func (j *flipJob) judge(i, bit int) (*release.Result, error) {
	if err := os.WriteFile(j.q.bundle, j.leaf.flipped(i, bit), 0o600); err != nil {
		return nil, err
	}
	return j.q.result(), nil
}

// same reports whether two results establish the same facts.
func same(a, b *release.Result) bool {
	return reflect.DeepEqual(covered(a.Evidence.Verified), covered(b.Evidence.Verified)) &&
		a.Evidence.Signer == b.Evidence.Signer &&
		reflect.DeepEqual(a.Decision, b.Decision) &&
		a.Evidence.Predicate == b.Evidence.Predicate
}

// covered returns what was verified without the text of checkpoints, which is kept
// as it was read, with lines that no key of the root signed.
func covered(v *sigstore.Verified) *sigstore.Verified {
	if v == nil {
		return nil
	}
	out := *v
	out.Entries = slices.Clone(v.Entries)
	for i, e := range out.Entries {
		if e.Checkpoint != nil {
			cp := *e.Checkpoint
			cp.Note = nil
			out.Entries[i].Checkpoint = &cp
		}
	}
	return &out
}

func (f *flips) add(counts map[string]*flipCount) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, n := range counts {
		sum := f.counts[kind]
		if sum == nil {
			sum = &flipCount{}
			f.counts[kind] = sum
		}
		sum.flipped += n.flipped
		sum.unnoticed += n.unnoticed
	}
}

func (f *flips) print(t *tally) {
	for _, kind := range slices.Sorted(maps.Keys(f.counts)) {
		n := f.counts[kind]
		t.leave(
			"flipped bits, by kind of element", "%s: %d flipped, %d refused", kind, n.flipped, n.flipped-n.unnoticed,
		)
		if n.unnoticed > 0 && f.except[kind] != "" {
			t.leave(
				"flipped bits that change nothing", "%s: %d of %d: %s", kind, n.unnoticed, n.flipped, f.except[kind],
			)
		}
	}
}
