// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// decideCase is the JSON form of everything that a decision depends on beside
// the policy (SPEC 11).
type decideCase struct {
	Request struct {
		Now       time.Time      `json:"now"`
		Skew      int            `json:"skew"` // seconds
		Names     []string       `json:"names"`
		Digests   []string       `json:"digests"`
		Tag       string         `json:"tag"`
		Commit    string         `json:"commit"`
		Approvals []approvalCase `json:"approvals"`
		Narrow    *struct {
			Identity string `json:"identity"`
			Issuer   string `json:"issuer"`
		} `json:"narrow"`
	} `json:"request"`
	Ids struct {
		Repository string `json:"repository"`
		Owner      string `json:"owner"`
	} `json:"ids"`
	Claims *struct {
		Signer struct {
			Kind       Kind              `json:"kind"`
			Value      string            `json:"value"`
			Issuer     string            `json:"issuer"`
			Extensions map[string]string `json:"extensions"`
		} `json:"signer"`
		Tags          []string `json:"tags"`
		TagSource     string   `json:"tag-source"`
		GitHubRelease *struct {
			Repository   string `json:"repository"`
			RepositoryID string `json:"repository-id"`
			OwnerID      string `json:"owner-id"`
			Tag          string `json:"tag"`
		} `json:"github-release"`
	} `json:"claims"`
	Verification *struct {
		Times  []time.Time `json:"times"`
		Logged bool        `json:"logged"`
		Proven bool        `json:"proven"`
		// Chains only.
		Entries   []entryCase `json:"entries"`
		NotBefore time.Time   `json:"not-before"`
	} `json:"verification"`
}

// approvalCase is an approval of the release; what it does not say is as in the
// release (SPEC 11).
type approvalCase struct {
	Signer     signerCase  `json:"signer"`
	Repository string      `json:"repository"`
	Tag        string      `json:"tag"`
	Commit     string      `json:"commit"`
	Policy     string      `json:"policy"` // a name of a policy, or a digest; by default the one that judges
	Digests    []string    `json:"digests"`
	Times      []time.Time `json:"times"`
	Promised   bool        `json:"promised"` // into a log, and not proven
	Unlogged   bool        `json:"unlogged"`
	Entries    []entryCase `json:"entries"`
	Unverified bool        `json:"unverified"`
}

// approvals turns the cases into what the package takes. Texts are the policies by
// name, "" the one that judges.
func (in *decideInput) approvals(t testing.TB, cases []approvalCase, texts map[string]string) {
	t.Helper()
	digests := func(list []string) (out []Digest) {
		for _, s := range list {
			d, err := ParseDigest(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, d)
		}
		return out
	}
	for _, x := range cases {
		f := ApprovalFacts{Tag: x.Tag, Commit: x.Commit, Digests: in.req.Digests}
		if x.Digests != nil {
			f.Digests = digests(x.Digests)
		}
		if f.Tag == "" && len(in.claims.Tags) > 0 {
			f.Tag = in.claims.Tags[0]
		}
		if f.Commit == "" {
			f.Commit = in.claims.Signer.Commit()
		}
		if f.Policy = (Digest{"sha256", x.Policy}); !isHex(x.Policy, 64) {
			text, ok := texts[x.Policy]
			if !ok {
				t.Fatalf("no policy %q", x.Policy)
			}
			f.Policy.Hex = Sum([]byte(text))
		}
		if x.Repository == "" {
			x.Repository = "https://github.com/acme/widget"
		}
		var err error
		if f.Repository, err = ParseLocator(x.Repository); err != nil {
			t.Fatal(err)
		}
		v := Verification{Times: in.verified.Times, Logged: !x.Unlogged, Proven: !x.Promised && !x.Unlogged}
		if x.Times != nil {
			v.Times = x.Times
		}
		for _, e := range x.Entries {
			v.Entries = append(v.Entries, Entry(e))
		}
		id := Identity{Kind: x.Signer.Kind, Value: x.Signer.Value, Issuer: x.Signer.Issuer, TokenSubject: x.Signer.Subject}
		if x.Signer.Workflow {
			id.BuildSignerURI = id.Value
		}
		a := NewApproval(f, id, v)
		a.verified = !x.Unverified
		in.req.Approvals = append(in.req.Approvals, a)
	}
}

// decideWant is what a vector says beyond class and reason; a nil field is not
// compared.
type decideWant struct {
	Rule       *string  `json:"rule"`
	Tag        *string  `json:"tag"`
	Notes      []string `json:"notes"`
	Mismatches []string `json:"mismatches"`
}

func (id *Identity) extensions() map[string]*string {
	return map[string]*string{
		".2": &id.WorkflowTrigger, ".3": &id.WorkflowSHA, ".4": &id.WorkflowName, ".5": &id.WorkflowRepository, ".6": &id.WorkflowRef,
		".9": &id.BuildSignerURI, ".10": &id.BuildSignerDigest, ".11": &id.RunnerEnvironment, ".12": &id.SourceRepositoryURI,
		".13": &id.SourceRepositoryDigest, ".14": &id.SourceRepositoryRef, ".15": &id.SourceRepositoryID, ".16": &id.SourceRepositoryOwner,
		".17": &id.SourceRepositoryOwnerID, ".18": &id.BuildConfigURI, ".19": &id.BuildConfigDigest, ".20": &id.BuildTrigger,
		".21": &id.RunInvocationURI, ".22": &id.Visibility, ".23": &id.DeploymentEnvironment, ".24": &id.TokenSubject,
	}
}

// sections splits a body into its "-- name --" parts.
func sections(t testing.TB, body []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(string(body)) {
		if n, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(n, " --\n") {
			name = strings.TrimSuffix(n, " --\n")
			out[name] = ""
			continue
		}
		if name == "" {
			t.Fatalf("text before the first section: %q", line)
		}
		out[name] += line
	}
	return out
}

func strict(t testing.TB, text string, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatal(err)
	}
}

// decideInput is a vector as the package takes it.
type decideInput struct {
	text     string // of the policy
	ids      Ids
	req      Request
	claims   *Claims
	verified *Verification
	want     decideWant
	cases    []approvalCase
}

func readDecide(t testing.TB, v vector) decideInput {
	t.Helper()
	parts := sections(t, v.body)
	in := readEvidence(t, parts["evidence.json"])
	in.text = parts["policy.toml"]
	in.approvals(t, in.cases, map[string]string{"": in.text})
	if w, ok := parts["want.json"]; ok {
		strict(t, w, &in.want)
	}
	return in
}

// readEvidence returns a request and the evidence for it.
func readEvidence(t testing.TB, text string) decideInput {
	t.Helper()
	var c decideCase
	strict(t, text, &c)
	in := decideInput{ids: Ids(c.Ids), cases: c.Request.Approvals}
	in.req = Request{
		Names: c.Request.Names, Tag: c.Request.Tag, Commit: c.Request.Commit,
		Now: c.Request.Now, Skew: time.Duration(c.Request.Skew) * time.Second,
	}
	for _, s := range c.Request.Digests {
		d, err := ParseDigest(s)
		if err != nil {
			t.Fatal(err)
		}
		in.req.Digests = append(in.req.Digests, d)
	}
	if n := c.Request.Narrow; n != nil {
		in.req.Narrow = &Narrow{n.Identity, n.Issuer}
	}
	if c.Claims == nil {
		return in
	}
	in.claims = &Claims{
		Signer: Identity{Kind: c.Claims.Signer.Kind, Value: c.Claims.Signer.Value, Issuer: c.Claims.Signer.Issuer},
		Tags:   c.Claims.Tags, TagSource: c.Claims.TagSource,
	}
	fields := in.claims.Signer.extensions()
	for ext, val := range c.Claims.Signer.Extensions {
		if fields[ext] == nil {
			t.Fatalf("unknown extension %s", ext)
		}
		*fields[ext] = val
	}
	if g := c.Claims.GitHubRelease; g != nil {
		in.claims.GitHubRelease = &GitHubRelease{g.Repository, g.RepositoryID, g.OwnerID, g.Tag}
	}
	if x := c.Verification; x != nil {
		in.verified = &Verification{Times: x.Times, Logged: x.Logged, Proven: x.Proven, NotBefore: x.NotBefore}
		for _, e := range x.Entries {
			in.verified.Entries = append(in.verified.Entries, Entry(e))
		}
	}
	return in
}

func (in *decideInput) pin(t testing.TB) *Trusted {
	t.Helper()
	doc, err := Parse([]byte(in.text))
	if err != nil {
		t.Fatal(err)
	}
	return doc.Pin(in.ids)
}

// decide is the runner's protocol: evidence if there is any, else what the
// policy adopted, else nothing was found.
func (in *decideInput) decide(p *Trusted) Decision {
	switch {
	case in.claims == nil:
		if d, ok := DecideAdopted(p, in.req); ok {
			return d
		}
		return Decision{Reason: NoEvidence}
	case in.verified == nil:
		return Decide(p, in.req, Evidence{claims: *in.claims})
	}
	return Decide(p, in.req, NewEvidence(*in.claims, *in.verified))
}

func TestDecideVectors(t *testing.T) {
	for _, v := range vectors(t, "decide") {
		t.Run(v.name, func(t *testing.T) {
			in := readDecide(t, v)
			p := in.pin(t)
			d := in.decide(p)
			if string(d.Reason) != v.header["reason"] || d.Reason.Class().String() != v.header["expect"] {
				t.Errorf("got %s %s (%s), want %s %s", d.Reason.Class(), d.Reason, d.Detail, v.header["expect"], v.header["reason"])
			}
			if (d.Outcome == Permitted) != (v.header["expect"] == "OK") {
				t.Errorf("outcome %d", d.Outcome)
			}
			if w := in.want.Rule; w != nil && d.Rule != *w {
				t.Errorf("rule %q, want %q", d.Rule, *w)
			}
			if w := in.want.Tag; w != nil && d.Tag != *w {
				t.Errorf("tag %q, want %q", d.Tag, *w)
			}
			if w := in.want.Notes; w != nil {
				got := []string{}
				for _, n := range d.Notes {
					got = append(got, n.Code)
				}
				if !slices.Equal(w, got) {
					t.Errorf("notes %q, want %q", got, w)
				}
			}
			if w := in.want.Mismatches; w != nil {
				near, ok := d.Nearest()
				var got []string
				for _, m := range near.Mismatches {
					got = append(got, m.Code())
					if m.Want == "" {
						t.Errorf("%s does not say what the rule wants", m.Code())
					}
				}
				slices.Sort(got)
				if !ok || !slices.Equal(w, got) {
					t.Errorf("the nearest rule %q differs in %q, want %q", near.Rule, got, w)
				}
			}
			for range 3 {
				if again := in.decide(p); !reflect.DeepEqual(d, again) {
					t.Fatal("another decision the second time")
				}
			}
		})
	}
}

// TestPrecheckAgrees: what is refused early is refused after verification too,
// whatever the verification finds; and nothing is ever allowed early.
func TestPrecheckAgrees(t *testing.T) {
	at := func(s string) time.Time {
		x, err := time.Parse(timeFormat, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	var results []Verification
	for _, ts := range [][]time.Time{nil, {{}}, {at("2020-01-01T00:00:00Z")}, {at("2026-06-01T12:00:00Z")}, {at("2026-06-01T11:00:00Z"), at("2026-06-01T13:00:00Z")}, {at("2026-12-31T23:59:59Z")}, {at("2030-01-01T00:00:00Z")}} {
		for i := range 4 {
			results = append(results, Verification{Times: ts, Logged: i&1 != 0, Proven: i&2 != 0})
		}
	}
	for _, v := range vectors(t, "decide") {
		in := readDecide(t, v)
		if in.claims == nil {
			continue
		}
		p := in.pin(t)
		pre, final := Precheck(p, in.req, *in.claims)
		if pre.Outcome != Denied || final != (pre.Reason != "") || final && pre.Reason.Class() == ClassOK {
			t.Errorf("%s: precheck %+v", v.name, pre)
		}
		if final && v.header["expect"] == "OK" {
			t.Errorf("%s: refused early as %s", v.name, pre.Reason)
		}
		for _, r := range results {
			if d := Decide(p, in.req, NewEvidence(*in.claims, r)); final && d.Outcome != Denied {
				t.Errorf("%s: refused early as %s, allowed with %+v", v.name, pre.Reason, r)
			}
		}
	}
}

// TestMonotone damages every part of the evidence of every vector: a denial
// never becomes a permission by removing something, and no permission survives
// the loss of a field that its rule compares.
func TestMonotone(t *testing.T) {
	for _, v := range vectors(t, "decide") {
		in := readDecide(t, v)
		if in.claims == nil || in.verified == nil {
			continue
		}
		p := in.pin(t)
		allowed := v.header["expect"] == "OK"
		try := func(what string, c Claims, x Verification, ids Ids) {
			changed := in
			changed.ids = ids
			q := p
			if ids != in.ids {
				q = changed.pin(t)
			}
			if d := Decide(q, in.req, NewEvidence(c, x)); d.Outcome == Permitted && !allowed {
				t.Errorf("%s: allowed after %s", v.name, what)
			}
		}
		for ext := range in.claims.Signer.extensions() {
			// What no certificate authority ever signed: a certificate of today
			// with the extensions of 2022, and a yanked commit taken out.
			if v.name == "legacy-in-part" && ext == ".23" || v.name == "yanked-commit-of-run" && ext == ".13" {
				continue
			}
			c := *in.claims
			f := c.Signer.extensions()[ext]
			if *f == "" {
				continue
			}
			*f = ""
			try("removing "+ext, c, *in.verified, in.ids)
		}
		c := *in.claims
		c.Signer.Issuer = ""
		if c.GitHubRelease == nil {
			try("removing the issuer", c, *in.verified, in.ids)
		}
		c = *in.claims
		c.Signer.Kind = ""
		try("removing the kind", c, *in.verified, in.ids)
		c = *in.claims
		c.GitHubRelease = nil
		try("removing the predicate", c, *in.verified, in.ids)
		if in.claims.Tags != nil && v.header["reason"] != string(YankedRelease) && !strings.Contains(in.text, `tags = "any"`) {
			c = *in.claims
			c.Tags = nil
			try("removing the tags", c, *in.verified, in.ids)
		}
		x := *in.verified
		x.Times = nil
		try("removing the times", *in.claims, x, in.ids)
		x = *in.verified
		x.Proven = false
		if v.header["source"] != "SPEC 5.9" {
			try("removing the proof", *in.claims, x, in.ids)
		}
		if in.ids == (Ids{}) {
			try("pinning another repository id", *in.claims, *in.verified, Ids{Repository: "31337"})
		}
	}
}
