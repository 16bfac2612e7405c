// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// grace is how long after its expiry a policy still judges releases that were
// signed before it (DESIGN 4, rule 5).
const grace = 90 * 24 * time.Hour

// Request is what is asked about one artifact.
type Request struct {
	// Names are the names under which the artifact is released, all of which
	// one rule must allow; none where no name is known.
	Names []string
	// Digests are the digests of the artifact's bytes that are known.
	Digests []Digest
	// Tag is the tag that the user asked for; "" to take the evidence's.
	Tag string
	// Commit is the commit that the tag is known to name; "" if unknown.
	Commit string
	// Now is the moment of judging, Skew how far the clock may be behind.
	Now  time.Time
	Skew time.Duration
	// Narrow, if set, is the signer by Identity and Issuer that is demanded beside what the
	// policy says.
	Narrow *FlagIdentity
	// Cooldown is how long before Now the latest trusted time of the evidence has
	// to be; what only an adopted digest speaks for has none.
	Cooldown time.Duration
	// Approvals are those that were verified, whatever they are for; which of
	// them count is judged here.
	Approvals []Approval

	asking *asking // set by [Trusted.Authorize] alone
}

// Note is a remark on a decision that does not change it.
type Note struct{ Code, Text string }

// Mismatch is one field in which a rule and the evidence differ.
type Mismatch struct {
	Field     string // for example "trigger"
	Extension string // Fulcio extension, for example ".20", or ""
	Kind      string // "differs", "missing", "forbidden"
	Want      string // what the rule says
	Got       string // what the evidence says; "" where it says nothing
	Hint      string
}

// Code returns a stable code such as "trigger-missing".
func (m Mismatch) Code() string { return m.Field + "-" + m.Kind }

// identityField reports whether the field is about who signed, rather than
// about what, when and under which tag.
func (m Mismatch) identityField() bool {
	switch m.Field {
	case "artifact", "tag", "time", "log", "approvals", "actor", "ref-protected":
		return false
	}
	return true
}

// RuleResult is what one rule makes of the evidence. No mismatch means that the
// rule allows it.
type RuleResult struct {
	Rule       string
	Mismatches []Mismatch
	// Open are fields that differ and that only the job that signs will show; of
	// [StagePreflight] alone.
	Open []Mismatch
}

// IdentityMatches reports whether the rule names this signer, whatever it says
// about artifact, tag and time.
func (r RuleResult) IdentityMatches() bool {
	return !slices.ContainsFunc(r.Mismatches, Mismatch.identityField)
}

// Decision is the answer for one artifact and one piece of evidence. It is
// permitted on exactly one path of [Trusted.Decide]; the zero value denies.
type Decision struct {
	Permitted bool // whether the release is allowed
	Reason    Reason
	Detail    string // what exactly, for a person; may be empty
	Rule      string // name of the rule that allows; "" if none
	Tag       string // the tag that was judged; "" if the evidence names none
	// Versions are all versions of a chain that may have been in force, of which each has to
	// allow. None for a policy without a chain, and where nothing was verified.
	Versions []InForce
	Rules    []RuleResult
	Notes    []Note
	// Compared are the fields of the rule that allows, or of the nearest one; of
	// [Trusted.Authorize] alone.
	Compared []Comparison
}

// InForce is a version of a policy by which was judged, and when it was in force. What was
// logged is judged by the version in force then (SPEC 8.4), what a trust root lists by the newest.
type InForce struct {
	Number int    // 0 for the time before version 1
	Newest int    // the number of the newest version
	Digest Digest // of the file; zero for the time before version 1
	// From is when its binding was logged, Until when that of the next version was; zero where
	// nothing says so, and Until for the newest.
	From, Until time.Time
}

// Numbers returns the numbers of the versions by which was judged.
func (d Decision) Numbers() []int {
	var out []int
	for _, v := range d.Versions {
		out = append(out, v.Number)
	}
	return out
}

// Nearest returns the rule with the fewest mismatches, the first of several,
// and false if the policy has no rule.
func (d Decision) Nearest() (RuleResult, bool) {
	if len(d.Rules) == 0 {
		return RuleResult{}, false
	}
	return slices.MinFunc(d.Rules, RuleResult.Compare), true
}

// Compare orders two results, the nearer rule first.
func (r RuleResult) Compare(o RuleResult) int { return r.weight() - o.weight() }

// weight orders rules by nearness: a rule that names the signer but not the
// artifact is nearer than one for other people, and nothing is nearer than a
// rule that misses nothing but approvals, which people can still give.
func (r RuleResult) weight() int {
	n := 0
	for _, m := range r.Mismatches {
		switch {
		case m.Field == "approvals":
			n++
		case m.identityField():
			n += 6
		default:
			n += 2
		}
	}
	return n
}

// Decide judges one artifact by one policy file and verified evidence. It is deterministic.
func (t *Trusted) Decide(req Request, ev Evidence) Decision {
	if d, unfit := ev.Unfit(); unfit {
		return d
	}
	return t.decide(req, &ev.claims, &ev.verification)
}

// Precheck judges what unverified evidence claims. A true second result means
// that the evidence would be denied even if every signature on it were good,
// for the reason in the first; verifying it can be spared. Otherwise nothing is
// known. It never allows.
func (t *Trusted) Precheck(req Request, c Claims) (Decision, bool) {
	d := t.decide(req, &c, nil)
	if d.Permitted || d.Reason == "" || d.Reason.Class() == ClassStale || d.Open() {
		return Decision{}, false
	}
	return d, true
}

// Open reports whether the decision says neither yes nor no because a trust root gave no answer
// from which a rule takes keys (SPEC 5.12).
func (d Decision) Open() bool { return d.Reason == TrustRootMissing || d.Reason == TrustRootInvalid }

// WithoutKey judges what evidence claims whose key nothing at hand knows. The decision is open
// if a trust root might, and says else why no rule takes it. It never allows.
func (t *Trusted) WithoutKey(req Request, c Claims) Decision {
	c.Signer = Identity{Kind: KindKey}
	d := t.decide(req, &c, nil)
	if d.Permitted {
		return Decision{Reason: Internal, Detail: "a signature by no key was allowed"}
	}
	return d
}

// DecideAdopted judges an artifact without evidence, by the policy's
// [[adopted]] tables alone. The second result is false if they say nothing.
func (t *Trusted) DecideAdopted(req Request) (Decision, bool) {
	if t == nil || t.file == nil || req.Narrow != nil {
		return Decision{}, false
	}
	for _, a := range t.file.Adopted {
		for _, d := range req.Digests {
			if !slices.Contains(a.Digests, d) || req.Tag != "" && req.Tag != a.Tag {
				continue
			}
			dec := Decision{Tag: a.Tag}
			if req.Now.IsZero() {
				dec.Reason, dec.Detail = Internal, "the moment of judging is not known"
				return dec, true
			}
			if dec.Reason, dec.Detail = t.yanked(req, &Claims{Tags: []string{a.Tag}}); dec.Reason != "" {
				return dec, true
			}
			if req.Cooldown > 0 {
				dec.Reason, dec.Detail = ReleaseTooYoung, "the policy adopted it, and nothing shows when it was signed"
				return dec, true
			}
			dec.Notes = append(dec.Notes, Note{
				"adopted", "no signature was judged: the policy takes this digest over from the time before it",
			})
			return t.permit(dec, req, Adopted), true
		}
	}
	return Decision{}, false
}

// decide runs the rules (SPEC 5). Without v, what depends on verification is
// taken to hold.
func (t *Trusted) decide(req Request, c *Claims, v *Verification) Decision {
	if t != nil && !t.unbound.IsZero() {
		return t.decideUnbound(req, c, v)
	}
	d := Decision{}
	switch {
	case t == nil || t.file == nil && t.flags == nil:
		d.Reason, d.Detail = Internal, "there is no trusted policy"
		return d
	case req.Now.IsZero():
		d.Reason, d.Detail = Internal, "the moment of judging is not known"
		return d
	}
	if v != nil {
		if _, upper := v.Bounds(); upper.After(req.Now.Add(req.Skew)) {
			d.Reason, d.Detail = EvidenceInFuture, fmt.Sprintf(
				"signed %s, judged as of %s", spelling.Stamp(upper), spelling.Stamp(req.Now),
			)
			return d
		} else if req.Cooldown > 0 && upper.Add(req.Cooldown).After(req.Now) {
			d.Reason, d.Detail = ReleaseTooYoung, fmt.Sprintf(
				"signed %s, judged as of %s", spelling.Stamp(upper), spelling.Stamp(req.Now),
			)
			return d
		}
	}
	if req.Narrow != nil &&
		(c.Signer.Kind == KindKey || c.Signer.Value != req.Narrow.Identity || c.Signer.Issuer != req.Narrow.Issuer) {
		d.Reason, d.Detail = NarrowedIdentity, fmt.Sprintf("it names %s", c.Signer.describe())
		return d
	}
	f := t.file
	switch {
	case f == nil:
	case f.Tombstone:
		d.Reason = PolicyEnded
		return d
	case len(f.Rules) == 0:
		d.Reason = NoRules
		return d
	}

	tags, why, detail := t.tags(req, c)
	if why != "" {
		d.Reason, d.Detail = why, detail
		return d
	}
	d.Tag = first(tags)
	if t.flags != nil {
		return t.flags.decide(d, req, c, v)
	}
	// Every spelling counts here: asking for another one is no way around.
	if d.Reason, d.Detail = t.yanked(req, c); d.Reason != "" {
		return d
	}

	var match *Rule
	var unknown *Decision
	var revoked string
	for i := range f.Rules {
		r := &f.Rules[i]
		ms, open := t.match(r, req, c, v)
		res := RuleResult{Rule: r.Name, Mismatches: ms}
		if req.asking != nil {
			res.ask(req.asking, r)
		}
		d.Rules = append(d.Rules, res)
		undecided := open != "" && len(res.Mismatches) == 1
		if len(res.Mismatches) > 0 && !undecided || match != nil {
			continue
		}
		switch why := t.revoked(r, c, v); {
		case undecided && why == "" && unknown == nil:
			m := res.Mismatches[0]
			unknown = &Decision{Reason: open, Detail: fmt.Sprintf("rule %s: %s: %s", r.Name, m.Want, m.Got)}
		case undecided:
		case why != "":
			revoked = why
		default:
			match = r
		}
	}
	switch {
	case match == nil && unknown != nil && !t.expiredBy(v):
		// Only a root that gave no answer could say whether the rule allows it.
		d.Reason, d.Detail = unknown.Reason, unknown.Detail
		return d
	case match == nil && revoked != "":
		d.Reason, d.Detail = RevokedSigner, revoked
		return d
	case match == nil:
		d.Reason, d.Tag = RuleMismatch, t.nearestTag(&d, req, c)
		return d
	}
	if t.expiredBy(v) {
		_, upper := v.Bounds()
		d.Reason, d.Detail = ExpiredAtRelease, fmt.Sprintf(
			"signed %s, the policy expired %s", spelling.Stamp(upper), spelling.Stamp(f.Expires),
		)
		return d
	}
	tags, _ = match.judged(req, c)
	d.Tag = first(slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !match.Tags.Match(tag) }))
	d.Rule = match.Name
	d.Notes = append(d.Notes, t.notes(match, c, v)...)
	if match.Approvals != nil {
		if names, _ := t.approved(match, req, c); len(names) > 0 {
			d.Notes = append(d.Notes, Note{"approved", "approved by " + strings.Join(names, ", ")})
		}
	}
	return t.permit(d, req, Allowed)
}

// expiredBy reports whether a trusted time is after the policy's expiry.
func (t *Trusted) expiredBy(v *Verification) bool {
	if v == nil {
		return false
	}
	_, upper := v.Bounds()
	return upper.After(t.file.Expires)
}

// permit is the one place that permits: what is left to judge is the age of the
// policy itself.
func (t *Trusted) permit(d Decision, req Request, why Reason) Decision {
	head := t.file
	if t.head != nil {
		head = t.head
	}
	expires := head.Expires
	switch {
	case t.head != nil && head.Tombstone: // nothing will ever renew it
	case t.strict && !req.Now.Before(expires):
		d.Reason, d.Detail = PolicyExpired, fmt.Sprintf("it expired %s", spelling.Stamp(expires))
		return d
	case req.Now.After(expires.Add(grace)):
		d.Reason, d.Detail = PolicyStale, fmt.Sprintf("it expired %s", spelling.Stamp(expires))
		return d
	case req.Now.After(expires):
		d.Notes = append(d.Notes, Note{"policy-expired", fmt.Sprintf(
			"the policy expired %s; releases signed before that are judged until %s", spelling.Stamp(expires),
			spelling.Stamp(expires.Add(grace)),
		)})
	}
	d.Permitted, d.Reason = true, why
	return d
}

func (f *FlagIdentity) decide(d Decision, req Request, c *Claims, v *Verification) Decision {
	id := &c.Signer
	var bad bool
	if f.Target != nil || c.Target != nil {
		return f.decideTarget(d, req, c)
	}
	if f.KeyID != "" {
		bad = id.Kind != KindKey || id.Value != f.KeyID
	} else {
		bad = id.Kind == KindKey || id.Kind == "" || id.Value != f.Identity || id.Issuer != f.Issuer
	}
	if bad {
		d.Reason, d.Detail = NarrowedIdentity, fmt.Sprintf("it names %s", id.describe())
		return d
	}
	if v != nil {
		if m := logMismatch(f.SetOnly, f.Unlogged, v); m != nil {
			d.Reason, d.Detail = NotLogged, m.Got
			return d
		}
		if v.Logged && !v.Proven {
			d.Notes = append(d.Notes, noteSetOnly)
		}
	}
	d.Notes = append(d.Notes, Note{
		"no-policy", "no policy was consulted: the flags name the signer, nothing says that it may release",
	})
	d.Permitted, d.Reason = true, Allowed
	return d
}

var noteSetOnly = Note{"set-only", "the log promised to include the entry; inclusion was not proven"}

// notes says what a verdict rests on where that is less than usual.
func (t *Trusted) notes(r *Rule, c *Claims, v *Verification) []Note {
	var out []Note
	if v != nil && v.Logged && !v.Proven {
		out = append(out, noteSetOnly)
	}
	if c.Target != nil {
		return append(out, c.targetNote())
	}
	if v != nil && !v.Logged {
		out = append(out, Note{
			"unlogged", "the evidence is in no transparency log; a time stamp authority alone vouches for its time",
		})
	}
	if r.GitHubRelease {
		out = append(out, Note{
			"github-release", "GitHub recorded this release; that shows what is in it, not who was allowed to make it",
		})
	}
	if r.Workflow != nil {
		if c.Signer.legacy() {
			out = append(out, Note{
				"legacy-certificate",
				"the certificate is from before April 2023: runner, environment, repository id and calling workflow " +
					"are not recorded in it",
			})
		} else if t.ids.Repository == "" {
			out = append(out, Note{
				"ids-not-pinned", "repository and owner are compared by name: no genesis pins their numbers",
			})
		}
	}
	return out
}

// yanked returns the reason for which [[yanked]] denies, "" if it does not. The
// commit of a yanked gitCommit is that of the artifact, the tag or the signer.
func (t *Trusted) yanked(req Request, c *Claims) (Reason, string) {
	unknown := ""
	commits := []string{req.Commit, c.Signer.Commit()}
	for _, y := range t.withdrawn.yanked {
		switch {
		case y.Tag != "" && t.yanksTag(&y, req, c):
			return YankedRelease, "tag " + y.Tag
		case y.Digest != Digest{} && slices.Contains(req.Digests, y.Digest):
			return YankedRelease, y.Digest.String()
		case y.Digest.Alg == "gitCommit":
			if slices.Contains(commits, y.Digest.Hex) {
				return YankedRelease, y.Digest.String()
			}
		case y.Digest != Digest{} &&
			!slices.ContainsFunc(req.Digests, func(d Digest) bool { return d.Alg == y.Digest.Alg }):
			unknown = fmt.Sprintf("no %s digest of the artifact is known", y.Digest.Alg)
		}
	}
	if unknown != "" && !onlyCommits(req.Digests) && (req.asking == nil || len(req.Digests) > 0) {
		return YankUnknown, unknown
	}
	return "", ""
}

// onlyCommits reports whether the artifact is a Git commit or tag, which have no
// digest of another kind.
func onlyCommits(ds []Digest) bool {
	return len(ds) > 0 && !slices.ContainsFunc(ds, func(d Digest) bool {
		return d.Alg != "gitCommit" && d.Alg != "gitTag" && d.Alg != "sha1"
	})
}

// revoked returns why [[revoked]] denies a match of r, "" if it does not. Where
// the trusted times lie on both sides of compromised-since, it denies.
func (t *Trusted) revoked(r *Rule, c *Claims, v *Verification) string {
	for _, x := range t.withdrawn.revoked {
		what := ""
		switch id := &c.Signer; {
		case x.Identity != nil:
			if id.Kind == x.Identity.Kind && id.Value == x.Identity.Value && id.Issuer == x.Identity.Issuer &&
				(x.Identity.Subject == "" || id.TokenSubject == "" || id.TokenSubject == x.Identity.Subject) {
				what = "identity " + x.Identity.Value
			}
		case x.Rule != "":
			if x.Rule == r.Name {
				what = "rule " + x.Rule
			}
		case x.Key != "":
			if id.Kind == KindKey && id.Value == x.Key {
				what = "key sha256:" + x.Key
			}
		}
		if what == "" {
			continue
		}
		if x.Since.IsZero() {
			return what
		}
		if v == nil {
			continue
		}
		if _, upper := v.Bounds(); !upper.Before(x.Since) {
			return fmt.Sprintf(
				"%s, compromised since %s, signed %s", what, spelling.Stamp(x.Since), spelling.Stamp(upper),
			)
		}
	}
	return ""
}

// describe names the identity for a message.
func (id *Identity) describe() string {
	switch {
	case id.Kind == KindKey:
		return "key sha256:" + id.Value
	case id.Issuer == "":
		return id.Value
	}
	return strings.Join([]string{id.Value, "by", id.Issuer}, " ")
}
