// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

// allowedBy is an artifact that versions of a policy allow.
func allowedBy(name string, by ...InForce) Artifact {
	return Artifact{
		Artifact: name, Verdict: "OK", Reason: policy.Allowed, Permitted: true, Rule: "binaries", Tag: "v1",
		JudgedBy: by, Evidence: &Evidence{
			Verified: true, Checked: true, Times: []Time{{Time: time.Date(2026, 7, 2, 0, 0, 0, 0, time.UTC)}},
			Signer: &Signer{
				Kind: policy.KindURI, Identity: "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1",
				Repository: "https://github.com/acme/widget", Environment: "release",
				Config: "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1",
			},
		},
	}
}

// TestVerdictText: once, or once for each set of versions, it is said by which versions was judged.
// What weakens a verdict is in it without a flag.
func TestVerdictText(t *testing.T) {
	day := func(month time.Month, day int) *time.Time {
		at := time.Date(2026, month, day, 12, 0, 0, 0, time.UTC)
		return &at
	}
	one := InForce{Version: 1, Newest: 3, From: day(1, 1), Until: day(6, 1)}
	two := InForce{Version: 2, Newest: 3, From: day(6, 1), Until: day(11, 25)}
	three := InForce{Version: 3, Newest: 3, From: day(11, 25)}
	found := func() *Summary {
		return &Summary{AsOf: *day(12, 1), Roots: []string{"public-good"}, Policy: &PolicySummary{
			Repository: "https://github.com/acme/widget", Version: 3, Genesis: "first", Completeness: "hinted",
			KnownAsOf: day(12, 1),
		}}
	}
	const released = "released by acme/widget v1 (release.yml, environment release), 2026-07-02\n"
	const sure = "first: yes (first); complete: as the log's index says (hinted)"
	for name, c := range map[string]struct {
		artifacts []Artifact
		change    func(*Report)
		want      string
	}{
		"an older version judged": {
			[]Artifact{allowedBy("a", two)}, nil,
			"OK    a  " + released + "policy version 2 of 3, in force when it was logged (2026-06-01 - 2026-11-25); " +
				sure + "\n",
		},
		"one for all": {
			[]Artifact{allowedBy("a", three), allowedBy("b", three)}, nil,
			"OK    a  " + released + "OK    b  " + released +
				"policy version 3 of 3, in force since 2026-11-25; " + sure + "\nOK: 2 of 2 artifacts allowed\n",
		},
		"each another": {
			[]Artifact{allowedBy("a", one), allowedBy("b", three), allowedBy("c", one), allowedBy("d", one, two)}, nil,
			"OK    a  " + released + "OK    b  " + released + "OK    c  " + released + "OK    d  " + released +
				"policy version 1 of 3, in force when it was logged (2026-01-01 - 2026-06-01): a, c\n" +
				"policy version 3 of 3, in force since 2026-11-25: b\n" +
				"policy version 1 or 2 of 3: which was in force when it was logged is not known, so each has to allow " +
				"(2 in force 2026-06-01 - 2026-11-25): d\n" +
				"policy of acme/widget: " + sure + "\nOK: 4 of 4 artifacts allowed\n",
		},
		"before it was bound": {
			[]Artifact{allowedBy("a", InForce{Newest: 1, Until: day(1, 1)})}, nil,
			"OK    a  " + released + "policy version 1 of 1, which reaches back to before it was bound (until 2026-01-01); " +
				sure + "\n",
		},
		"less is known": {
			[]Artifact{allowedBy("a b", three)}, func(r *Report) {
				r.Criteria.Policy.Genesis, r.Criteria.Policy.Completeness = "claimed", "none"
				r.Criteria.Policy.KnownAsOf = day(11, 27)
				r.Criteria.Roots = []string{"acme"}
				r.Criteria.Unknown = []string{"what was yanked"}
				r.Alarms = []string{"fork: two"}
				r.Artifacts[0].Notes = []Note{{"set-only", "a promise"}}
				r.NotJudged = []Input{
					{Input: "e", Fate: "evidence", For: "a b"}, {Input: "x.asc", Fate: "side-file", Detail: "openpgp"},
				}
			},
			"OK    'a b'  " + released + "note: a promise\n" +
				"not judged: 1, side files, which nobody vouches for\n  x.asc: openpgp\n" +
				"policy version 3 of 3, in force since 2026-11-25; first: only its own word (claimed); complete: nobody was " +
				"asked (none), as of 2026-11-27T12:00:00Z; `repopolicy help assurance` says what that leaves open; trust: acme\n" +
				"alarm: fork: two\nnot known: what was yanked\n",
		},
		"a run that is worse than what it judged": {
			[]Artifact{allowedBy("a", three)}, func(r *Report) { r.Verdict = "DENY" },
			"OK    a  " + released + "policy version 3 of 3, in force since 2026-11-25; " + sure +
				"\nDENY: 1 of 1 artifact allowed\n",
		},
		"evidence that failed": {
			[]Artifact{{Artifact: "a", Verdict: "DENY", Reason: policy.SignatureInvalid, Message: "no", Evidence: &Evidence{
				Checked: true, Signer: &Signer{Kind: policy.KindEmail, Identity: "alice@example.com", Issuer: "https://issuer"},
			}}}, nil,
			"DENY  a  no [signature-invalid]\n  claims       alice@example.com (https://issuer); that did not verify\n" +
				"policy version 3, the newest; " + sure + "\n",
		},
		"signed elsewhere, under another name": {
			[]Artifact{allowedBy("https://example.com/a", three)}, func(r *Report) {
				ev := r.Artifacts[0].Evidence
				ev.Name, ev.Signer.Identity = "b", "https://github.com/acme/ci/.github/workflows/sign.yml@refs/tags/v2"
			},
			"OK    https://example.com/a (signed as b)  released by acme/widget v1 (release.yml, signed in " +
				"acme/ci/.github/workflows/sign.yml@refs/tags/v2, environment release), 2026-07-02\n" +
				"policy version 3 of 3, in force since 2026-11-25; " + sure + "\n",
		},
	} {
		r := &Report{Verdict: "OK", Criteria: found(), Artifacts: c.artifacts}
		if !c.artifacts[0].Permitted {
			r.Verdict = "DENY"
		}
		if c.change != nil {
			c.change(r)
		}
		var out bytes.Buffer
		NewPrinter(&out).Verdict(r, false)
		if d := cmp.Diff(c.want, out.String()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// FuzzWrap breaks lines: no word is broken or lost, and no line is wider than the terminal but one
// that is a single word.
func FuzzWrap(f *testing.F) {
	long := strings.Repeat("x", 90) + " y"
	for _, s := range []string{"", "a b", "  policy     sha256:0123, pinned by you", "日本語 widget", long} {
		f.Add(s, uint8(20))
	}
	f.Fuzz(func(t *testing.T, s string, width uint8) {
		text, columns := Escape(s), int(width)+1
		lines := wrap(text, columns, hang(text))
		if got := strings.Fields(strings.Join(lines, " ")); !cmp.Equal(got, strings.Fields(text)) {
			t.Errorf("%q becomes %q", text, lines)
		}
		for _, l := range lines {
			if cells(l) > columns && len(strings.Fields(l)) > 1 && cells(text) > columns {
				t.Errorf("%d cells of %d: %q", cells(l), columns, l)
			}
		}
	})
}

// TestAlike: what is wrong with one file of evidence is said once, whatever else is alike five times,
// and how many more there are. With -v each is named.
func TestAlike(t *testing.T) {
	invalid := func(name, path, detail string) Artifact {
		return Artifact{
			Artifact: name, Verdict: "INVALID", Reason: policy.BundleInvalid, Message: "malformed", Detail: detail,
			Evidence: &Evidence{Path: path, Signer: &Signer{}},
		}
	}
	missing := func(name, differs string) Artifact {
		return Artifact{
			Artifact: name, Verdict: "DENY", Reason: policy.RuleMismatch, Message: "no rule",
			Nearest: &Rule{Rule: "r", Mismatches: []Mismatch{{Field: "ref", Want: "a", Got: differs}}},
		}
	}
	r := &Report{Verdict: "INVALID", Criteria: &Summary{Roots: []string{"public-good"}}}
	for i := range 1000 {
		r.Artifacts = append(r.Artifacts, invalid(fmt.Sprint("f", i), "one.json", "why"), missing(fmt.Sprint("g", i), "b"))
	}
	r.Artifacts = append(r.Artifacts, invalid("other", "two.json", "why"), invalid("third", "one.json", "else"),
		missing("fourth", "c"))
	print := func(full bool) string {
		var out bytes.Buffer
		NewPrinter(&out).Verdict(r, full)
		return out.String()
	}
	text := print(false)
	for want, n := range map[string]int{
		"INVALID  f0  malformed [bundle-invalid]": 1, "because      why": 2, "because      else": 1,
		"ref is b": 5, "ref is c": 1,
		"INVALID  999 more as f0 is [bundle-invalid]; -v names them\n": 1, "  995 more as g0 is [rule-mismatch]": 1,
		"INVALID: 0 of 2003 artifacts allowed": 1, " f1 ": 0, " g4 ": 1, " g5 ": 0, " other ": 1, " third ": 1, " fourth ": 1,
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q %d times, want %d", want, got, n)
		}
	}
	if text := print(true); strings.Contains(text, "more as") || !strings.Contains(text, "f999") {
		t.Error("-v leaves some out")
	}
	if t.Failed() {
		t.Logf("%.3000s", text)
	}
}

// TestReportInPieces: a report that is written artifact by artifact is the document that it would be
// in one piece.
func TestReportInPieces(t *testing.T) {
	for _, n := range []int{0, 1, 3, 700} {
		r := &Report{
			Schema: SchemaURL("verdict-v1"), Criteria: &Summary{}, Artifacts: []Artifact{}, NotJudged: []Input{},
			Alarms: []string{"\n  \"artifacts\": []", "::error::"},
		}
		for i := range n {
			x := allowedBy(fmt.Sprintf("widget_%d ::set-output ü \n  \"artifacts\": []", i), InForce{Version: 1})
			x.Digests = Digests{{Alg: "sha256", Hex: "ab"}, {Alg: "sha512", Hex: "cd"}}
			r.Artifacts = append(r.Artifacts, x)
		}
		want, err := document(r)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := NewPrinter(&b).JSON(r); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, b.String()); d != "" {
			t.Errorf("%d: %s", n, d)
		}
		var back Report
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Artifacts) != n {
			t.Errorf("%d: %v", n, err)
		}
	}
}
