// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/names"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
)

// effective are the runs of a candidate by which it releases: those for tags if there are any
// that a tag or release starts, else those for branches. A run by hand may be for either.
func (c *candidate) effective() (o *occasion, tagged bool) {
	byHand := func(e string) bool { return e == "workflow_dispatch" }
	started := slices.ContainsFunc(c.tagged.events, func(e string) bool { return !byHand(e) })
	if started || len(c.branch.pubs) == 0 {
		return &c.tagged, true
	}
	return &c.branch, false
}

// decide makes rules of what the survey found.
func (s *survey) decide(o Options) {
	taggedKinds := map[kind]bool{}
	for _, c := range s.candidates {
		if on, tagged := c.effective(); tagged {
			for _, k := range on.kinds() {
				taggedKinds[k] = true
			}
		}
	}
	for _, c := range s.candidates {
		on, tagged := c.effective()
		if !tagged && o.Workflow == "" {
			s.withoutBuilds(c, on, taggedKinds)
		}
		if len(on.pubs) > 0 {
			s.rulesOf(c, on, tagged, o)
		}
		if tagged && o.Workflow == "" {
			s.beside(c, taggedKinds, o)
		}
	}
	s.withoutWeaker()
	s.say()
}

// beside adds rules for what a candidate that releases by tags publishes by pushes to branches
// alone: another kind, such as packages beside images.
func (s *survey) beside(c *candidate, taggedKinds map[kind]bool, o Options) {
	on := c.branch
	on.events = slices.DeleteFunc(slices.Clone(on.events), func(e string) bool { return e == "workflow_dispatch" })
	on.pubs = slices.DeleteFunc(slices.Clone(on.pubs), func(p publication) bool {
		return slices.Contains(c.tagged.kinds(), p.producer.kind)
	})
	if len(on.events) == 0 || len(on.pubs) == 0 {
		return
	}
	if s.withoutBuilds(c, &on, taggedKinds); len(on.pubs) > 0 {
		s.rulesOf(c, &on, false, o)
	}
}

// withoutBuilds takes away what a run for a branch publishes and is none of a release: what
// tags release, too, and files and images of every push.
func (s *survey) withoutBuilds(c *candidate, on *occasion, tagged map[kind]bool) {
	on.pubs = slices.DeleteFunc(on.pubs, func(p publication) bool {
		why := s.build(c, on, p, tagged)
		if why != "" {
			s.note(c, "%s", why)
		}
		return why != ""
	})
}

// build says why what is published for a branch is none of a release; "" if it is.
func (s *survey) build(c *candidate, on *occasion, p publication, tagged map[kind]bool) string {
	k, everyPush := p.producer.kind, slices.Contains(on.events, "push")
	conditional := slices.ContainsFunc(p.unsure, ofRelease)
	switch {
	case k == npmPackages: // its versions are in the evidence
		return ""
	case tagged[k] || !k.registry() && (tagged[files] || tagged[images]):
		return "no rule for its runs for a branch: tags release, and these name none"
	case s.clocked(c, on, k):
		return "question: is what is signed on a schedule a release? There is no rule for it; " +
			"name the file with --workflow if it is"
	case !everyPush || conditional || !slices.ContainsFunc(on.refs, ofBuilds):
		return ""
	case k.registry() && s.byHand(c, k):
		return "no rule for its pushes to a branch: what is released is started by hand"
	case on.registers() || p.producer.name == "GoReleaser":
		return "" // GoReleaser wants a tag to stand there
	}
	return "question: is every push to " + strings.Join(on.refs, ", ") +
		" a release? There is no rule for it; name the file with --workflow if it is"
}

// clocked reports whether a kind is signed by the clock: images by nothing else, files that nothing
// uploads by a person, too.
func (s *survey) clocked(c *candidate, on *occasion, k kind) bool {
	return !k.registry() && on.scheduled(k == files && len(s.uploads[c.caller]) == 0)
}

// scheduled reports whether the clock starts the runs, and nothing else but, if that may be, a person.
func (o *occasion) scheduled(byHand bool) bool {
	return slices.Contains(o.events, "schedule") && !slices.ContainsFunc(o.events, func(e string) bool {
		return e != "schedule" && (!byHand || e != "workflow_dispatch")
	})
}

// registers reports whether something goes to a registry that takes a version once.
func (o *occasion) registers() bool {
	return slices.ContainsFunc(o.pubs, func(p publication) bool { return p.producer.kind.registry() })
}

// ofBuilds reports whether a branch is one that is not called after releases.
func ofBuilds(ref string) bool {
	return !wordIn(ref, "release", "releases", "stable", "production", "prod")
}

// byHand reports whether another candidate publishes the kind and every push does not start it.
func (s *survey) byHand(c *candidate, k kind) bool {
	return slices.ContainsFunc(s.candidates, func(other *candidate) bool {
		on, _ := other.effective()
		return other.caller != c.caller && !slices.Contains(on.events, "push") && slices.Contains(on.kinds(), k)
	})
}

// ofRelease reports whether a condition asks for a release: what an earlier job or step found
// out, or what the commit says.
func ofRelease(condition string) bool {
	condition = strings.ToLower(condition)
	if !strings.Contains(condition, "outputs.") && !strings.Contains(condition, "head_commit.message") {
		return false
	}
	for _, w := range []string{"release", "publish", "version"} {
		if strings.Contains(condition, w) {
			return true
		}
	}
	return wordIn(condition, "tag", "tags", "newtag", "tagname")
}

// note adds a finding about a candidate, once.
func (s *survey) note(c *candidate, format string, args ...any) {
	f := Finding{c.label(), fmt.Sprintf(format, args...)}
	if !slices.Contains(s.out.Findings, f) {
		s.out.Findings = append(s.out.Findings, f)
	}
}

func (c *candidate) label() string {
	what := "jobs " + strings.Join(c.jobs, ", ")
	if len(c.jobs) == 1 {
		what = "job " + c.jobs[0]
	}
	switch {
	case c.foreign.Ref != "":
		return fmt.Sprintf("%s, %s, which calls %s", c.caller, what, c.foreign)
	case c.file != c.caller:
		return fmt.Sprintf("%s, %s of %s", c.caller, what, c.file)
	}
	return c.caller + ", " + what
}

// rulesOf adds the rules for one candidate.
func (s *survey) rulesOf(c *candidate, on *occasion, tagged bool, o Options) {
	r := Rule{Workflow: c.file, Environment: c.environment, Triggers: orderOf(on.events), Runner: c.runner()}
	if c.file != c.caller {
		r.Caller = c.caller
	}
	if !valid(c.caller) || c.file != "" && !valid(c.file) {
		s.note(c, "no rule: a policy cannot name that file; rename it in printable ASCII without spaces")
		return
	}
	if c.foreign.Ref != "" && !r.calls(c.foreign) || c.pinned != "" && !r.at(c.pinned) {
		s.note(c, "question: which commit is %q? Call it by a full commit or tag, or name the file with --workflow",
			c.foreign.Ref+c.pinned)
		return
	}
	if o.Environment != "" {
		r.Environment = o.Environment
	} else if c.computed != "" && !s.resolve(c, on, &r) {
		return
	}
	if tagged {
		s.tag(&r, c, on)
		s.add(r, c, on.pubs, o)
		return
	}
	r.Refs = on.refs
	s.forBranch(r, c, on, o)
}

// runner is what a rule says of runners: nothing for those of the forge.
func (c *candidate) runner() string {
	switch {
	case c.selfHosted && c.hosted:
		return "any"
	case c.selfHosted:
		return "self-hosted"
	}
	return ""
}

// forBranch adds rules for runs for a branch: one for packages whose version the evidence names,
// and one for the rest.
func (s *survey) forBranch(r Rule, c *candidate, on *occasion, o Options) {
	var versioned, rest []publication
	for _, p := range on.pubs {
		if p.producer.kind == npmPackages {
			versioned = append(versioned, p)
		} else {
			rest = append(rest, p)
		}
	}
	if len(versioned) > 0 {
		s.forPackages(r, c, versioned, o)
	}
	if len(rest) == 0 {
		return
	}
	r.Tags = []string{Any}
	if len(o.Tags) == 0 {
		r.Notes = anyTag(c)
		s.note(c, "question: which tags may it release? Its runs are for a branch, so that evidence names none: "+
			`tags = "any", or push a tag to release, or name them with --tags`)
	}
	s.add(r, c, rest, o)
}

// forPackages adds rules for packages whose evidence names their version: one for each prefix of
// their tags, or where that cannot be said yet one for all.
func (s *survey) forPackages(r Rule, c *candidate, pubs []publication, o Options) {
	r.Tags = []string{tagset.Semver}
	if o.Tags != nil || o.Artifacts != nil {
		s.add(r, c, pubs, o)
		return
	}
	var all []string
	for _, p := range pubs {
		all = append(all, p.names...)
	}
	if len(all) == 0 { // no manifest names a package
		s.add(r, c, pubs, o)
		return
	}
	for _, x := range s.byPrefix(all) {
		q := r
		q.TagPrefix, q.Tags = x.prefix, x.tags
		some := publication{producer: pubs[0].producer, names: x.packages, guess: pubs[0].guess}
		s.add(q, c, []publication{some}, o)
	}
}

func anyTag(c *candidate) []string {
	return []string{
		"guess: " + path.Base(c.caller) + " runs for a branch, and its certificates name no tag. Evidence for",
		"any tag is taken; a release that a pushed tag starts would let you name them.",
	}
}

// orderOf brings events into the order in which they are written.
func orderOf(events []string) (out []string) {
	for _, e := range append(slices.Clone(opened), "repository_dispatch") {
		if slices.Contains(events, e) {
			out = append(out, e)
		}
	}
	return out
}

// tag sets the tags of a rule by the families for which its candidate runs.
func (s *survey) tag(r *Rule, c *candidate, on *occasion) {
	var some []tagset.Family
	var more []string
	for _, prefix := range on.families {
		if filter, ok := strings.CutPrefix(prefix, "\x00"); ok {
			more = append(more, filterPattern(filter))
			continue
		}
		i := slices.IndexFunc(s.families, func(f tagset.Family) bool { return f.Prefix == prefix })
		some = append(some, s.families[i])
	}
	r.Tags = tagset.Patterns(some, s.project.Tags)
	if len(some) == 0 || len(r.Tags) == 0 {
		r.Tags, r.GuessTags = more, true
	}
	if len(c.branch.pubs) > 0 && slices.Contains(c.branch.events, "workflow_dispatch") {
		s.note(c, "no rule for its runs for a branch: evidence of these names no tag; start them for a tag")
	}
}

// filterPattern writes a filter of tags as a pattern.
func filterPattern(filter string) string {
	if p, ok := refPattern(filter); ok && valid(p) {
		return p
	}
	return "v*"
}

// resolve finds the environment of a candidate that computes it; false if it has to be asked.
func (s *survey) resolve(c *candidate, on *occasion, r *Rule) bool {
	expr := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(c.computed), "${{"), "}}"))
	for _, p := range on.pubs {
		for _, cond := range p.unsure {
			if _, rest, ok := strings.Cut(cond, expr+" == '"); ok {
				r.Environment, _, _ = strings.Cut(rest, "'")
			}
		}
	}
	var beside []string
	for _, other := range s.candidates {
		if other.caller == c.caller && other.environment != "" && slices.Contains(c.may, other.environment) &&
			!slices.Contains(beside, other.environment) {
			beside = append(beside, other.environment)
		}
	}
	switch {
	case r.Environment != "":
	case len(beside) == 1:
		r.Environment = beside[0]
	case len(c.may) == 1 && !forTests(c.may[0]):
		r.Environment = c.may[0]
	}
	const ask = "question: which environment does it run in? It is computed, as %s; " +
		"name it with --environment, and the file with --workflow"
	if r.Environment == "" {
		s.note(c, ask, c.computed)
		return false
	}
	r.GuessEnvironment = true
	s.note(c, ask+"; guess: %s", c.computed, r.Environment)
	return true
}

// add adds a rule for some of what a candidate publishes, or its names to the rule that is
// there for them.
func (s *survey) add(r Rule, c *candidate, pubs []publication, o Options) {
	if o.Tags != nil {
		r.Tags, r.GuessTags = o.Tags, false
	}
	if r.Artifacts = o.Artifacts; r.Artifacts == nil {
		s.artifacts(&r, c, pubs)
	}
	r.kinds = (&occasion{pubs: pubs}).kinds()
	r.Name = s.out.name(s.naming(c), r.Environment)
	s.out.Rules = append(s.out.Rules, r)
	var how []string
	for _, p := range pubs {
		if !slices.Contains(how, p.producer.name) {
			how = append(how, p.producer.name)
		}
	}
	s.out.found(c.label()+": "+strings.Join(how, ", "), "rule %s%s", r.Name, r.detail())
}

// naming returns the file after which a rule is called: what is called, unless several call it.
func (s *survey) naming(c *candidate) string {
	shared := slices.ContainsFunc(s.candidates, func(o *candidate) bool {
		return o.file == c.file && o.caller != c.caller
	})
	if c.foreign.Ref != "" || shared {
		return c.caller
	}
	return c.file
}

// artifacts sets the names that a rule allows.
func (s *survey) artifacts(r *Rule, c *candidate, pubs []publication) {
	add := func(patterns ...string) {
		for _, p := range patterns {
			if valid(p) && !slices.Contains(r.Artifacts, p) {
				r.Artifacts = append(r.Artifacts, p)
			}
		}
	}
	var blind []kind // of which nothing says the names
	named := false   // files have names
	for _, p := range pubs {
		add(p.names...)
		if p.guess && len(p.names) > 0 {
			r.GuessArtifacts = true
			if p.producer.kind == images {
				add(s.imagesBeside(c)...) // some that it signs are not known
			}
		}
		if k := p.producer.kind; len(p.names) == 0 {
			blind = append(blind, k)
		} else if k != npmPackages && k != images {
			named = true
		}
	}
	for _, k := range blind {
		switch {
		case k == images:
			r.GuessArtifacts = true
			add(s.imageGuess(c)...)
		case k == npmPackages:
			r.GuessArtifacts = true
			add(names.NPMPackage(s.project.name()))
		case !named:
			r.GuessArtifacts = true
			add(s.uploads[c.caller]...)
			add(s.project.catalog.Guess()...)
		}
	}
	r.Artifacts = withoutCovered(r.Artifacts)
}

// imageGuess is what other jobs of the same start sign, or else the image that a project on this
// forge would have.
func (s *survey) imageGuess(c *candidate) []string {
	if out := s.imagesBeside(c); len(out) > 0 {
		return out
	}
	host := "ghcr.io/"
	if s.project.Repository.Host() == "gitlab.com" {
		host = "registry.gitlab.com/"
	}
	return []string{host + strings.ToLower(s.project.Repository.Path())}
}

// imagesBeside are the images that other jobs of the same start sign.
func (s *survey) imagesBeside(c *candidate) (out []string) {
	for _, other := range s.candidates {
		on, _ := other.effective()
		for _, p := range on.pubs {
			if other.caller == c.caller && p.producer.kind == images {
				out = append(out, p.names...)
			}
		}
	}
	return out
}

// withoutCovered leaves out patterns that another one covers by its beginning.
func withoutCovered(patterns []string) (out []string) {
	for i, p := range patterns {
		covers := func(j int) bool {
			stem, ok := strings.CutSuffix(patterns[j], "*")
			return ok && i != j && !strings.Contains(stem, "*") && strings.HasPrefix(p, stem) &&
				!strings.Contains(p[len(stem):], "/")
		}
		covered := false
		for j := range patterns {
			covered = covered || covers(j)
		}
		if !covered {
			out = append(out, p)
		}
	}
	return out
}

// withoutWeaker takes away the rules of jobs without an environment that name nothing but what
// a job of the same file in an environment releases.
func (s *survey) withoutWeaker() {
	rules := s.out.Rules
	s.out.Rules = slices.DeleteFunc(slices.Clone(rules), func(a Rule) bool {
		weaker := slices.ContainsFunc(rules, func(b Rule) bool { return a.weakens(&b) })
		for i, f := range s.out.Findings {
			if weaker && f.Proposes == "rule "+a.Name+a.detail() {
				s.out.Findings[i].Proposes = "no rule: a job in an environment signs the same names; run this one in it, too"
			}
		}
		return weaker
	})
}

// weakens reports whether a rule without an environment allows what another one of the same file
// allows in an environment alone.
func (r *Rule) weakens(b *Rule) bool {
	if r.Environment != "" || b.Environment == "" || r.Workflow != b.Workflow || r.Caller != b.Caller {
		return false
	}
	if !slices.Equal(r.Tags, b.Tags) || !slices.Equal(r.Refs, b.Refs) {
		return false
	}
	blind := r.GuessArtifacts && !slices.Contains(r.kinds, images)
	return subset(r.Artifacts, b.Artifacts) || blind && slices.ContainsFunc(b.kinds, fileKind)
}

func fileKind(k kind) bool { return k == pythonFiles || k == crateFiles || k == gemFiles || k == files }

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(p string) bool { return !slices.Contains(b, p) })
}

// say adds the findings about jobs that get no rule.
func (s *survey) say() {
	for _, key := range s.silentOrder {
		if why := s.forbidden[key]; why != "" && !s.considered[key] {
			s.out.found(key, "%s", why)
		} else if why := s.quiet[key]; why != "" && !s.considered[key] {
			s.out.found(key, "%s", why)
		}
	}
}
