// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
)

// identity is what a certificate says of a job, but for ref and event.
type identity struct {
	caller, file string // paths; file is "" for a foreign workflow
	pinned       string // the ref at which file is called, if that is not the run's
	foreign      ci.Foreign
	environment  string
}

// candidate is an identity that publishes.
type candidate struct {
	identity
	selfHosted, hosted bool
	computed           string   // expression of the environment
	may                []string // what it may be
	jobs               []string
	tagged             occasion // runs for a tag
	branch             occasion // runs for a branch
}

// occasion are the runs for tags, or for branches, in which a candidate publishes.
type occasion struct {
	events   []string
	families []string // prefixes of tags
	refs     []string // patterns
	pubs     []publication
}

func (o *occasion) add(event, family, ref string, pubs []publication) {
	if !slices.Contains(o.events, event) {
		o.events = append(o.events, event)
	}
	if ref == "" && !slices.Contains(o.families, family) {
		o.families = append(o.families, family)
	}
	if ref != "" && !slices.Contains(o.refs, ref) {
		o.refs = append(o.refs, ref)
	}
	for _, p := range pubs {
		o.merge(p)
	}
}

// merge adds a publication, or its names to what is there of its producer and kind.
func (o *occasion) merge(p publication) {
	for i := range o.pubs {
		if q := &o.pubs[i]; q.producer == p.producer {
			for _, n := range p.names {
				if !slices.Contains(q.names, n) {
					q.names = append(q.names, n)
				}
			}
			q.guess = q.guess || p.guess
			if q.unsure != nil && len(p.unsure) < len(q.unsure) {
				q.unsure = p.unsure
			}
			return
		}
	}
	p.names = slices.Clone(p.names)
	o.pubs = append(o.pubs, p)
}

// kinds returns the kinds that are published.
func (o *occasion) kinds() (out []kind) {
	for _, p := range o.pubs {
		if !slices.Contains(out, p.producer.kind) {
			out = append(out, p.producer.kind)
		}
	}
	return out
}

// survey looks at every job that an event may start.
type survey struct {
	project     *Project
	reader      *ci.Reader
	families    []tagset.Family
	candidates  []*candidate
	uploads     map[string][]string // patterns of uploaded files, by the file that started
	quiet       map[string]string   // jobs with ID tokens that publish nothing, and what they do
	forbidden   map[string]string   // jobs that publish on events that never release
	considered  map[string]bool     // jobs that publish on events that can release
	silentOrder []string            // of quiet and forbidden jobs
	forced      string              // the file that the user named; "" for none
	out         *Proposal
}

// opened are events of the policy language that can release.
var opened = []string{"push", "release", "workflow_dispatch", "schedule", "create"}

// What to do instead of an event that never releases.
const (
	onMerge  = "; publish on the push of the merge"
	byTag    = "; start it by the tag or release itself"
	byReview = "; start it by workflow_dispatch in an environment"

	anybody = "is started by people without write access"
	nobody  = "says nothing of who started it"
	tokens  = "is started by any token that may write"
)

// forbidden says why an event never releases, and what to do.
var forbidden = map[string]string{
	"workflow_run":        "runs after a workflow that anybody's pull request may have started" + byTag,
	"pull_request":        anybody + onMerge,
	"pull_request_target": anybody + onMerge,
	"pull_request_review": anybody + onMerge,
	"merge_group":         "builds what is not merged yet" + onMerge,
	"repository_dispatch": tokens + ", without a ref of its own" + byReview,
	"deployment":          tokens + byReview,
	"deployment_status":   tokens + byReview,
	"issue_comment":       anybody + byReview,
	"issues":              anybody + byReview,
	"discussion":          anybody + byReview,
}

// run looks at all workflows.
func (s *survey) run() {
	for _, w := range s.reader.Files {
		if !w.MayHaveTokens() {
			continue
		}
		for _, event := range w.Events() {
			if !slices.Contains(opened, event) && event != "repository_dispatch" {
				s.refused(w, event)
				continue
			}
			s.all(w, s.starts(w, event))
		}
	}
}

// start is one way in which a workflow starts, with the family of its tag or the pattern of its ref.
type start struct {
	ci.Start
	family string
	ref    string
}

// starts returns the ways in which an event starts a workflow that can make a difference.
func (s *survey) starts(w *ci.Workflow, event string) (out []start) {
	switch event {
	case "push":
		if filters, ok := w.PushedTags(); ok {
			out = append(out, s.tagged(event, filters)...)
		}
		if filters, ok := w.PushedBranches(); ok {
			out = append(out, s.onBranches(event, filters)...)
		}
	case "release", "create":
		out = s.tagged(event, nil)
	case "workflow_dispatch":
		out = append(s.tagged(event, nil), s.onBranches(event, []string{s.project.Default})...)
	case "schedule", "repository_dispatch":
		out = s.onBranches(event, []string{s.project.Default})
	}
	return out
}

// tagged returns a start for each family of tags that passes the filters; without filters for
// the families that are of the project as a whole, if there are any.
func (s *survey) tagged(event string, filters []string) (out []start) {
	some := s.families
	if filters == nil {
		some = s.main()
	}
	for _, f := range some {
		passes := func(t string) bool { return filters == nil || ci.Matches(filters, t) }
		if i := slices.IndexFunc(f.Tags, passes); i >= 0 {
			out = append(out, start{ci.Start{Event: event, Ref: "refs/tags/" + f.Tags[i]}, f.Prefix, ""})
		}
	}
	if out == nil {
		out = s.untagged(event, filters)
	}
	return out
}

// untagged is for a project that has no tag yet that passes: the filters say what there will be.
func (s *survey) untagged(event string, filters []string) (out []start) {
	for _, f := range filters {
		if !strings.HasPrefix(f, "!") && f != "*" && f != "**" {
			tag := ci.Sample(f, "1.0.0")
			if !ci.Matches(filters, tag) {
				continue
			}
			out = append(out, start{ci.Start{Event: event, Ref: "refs/tags/" + tag}, "\x00" + f, ""})
		}
	}
	const usual = "v1.0.0"
	if out == nil && (len(s.families) == 0 || filters != nil) && (filters == nil || ci.Matches(filters, usual)) {
		out = append(out, start{ci.Start{Event: event, Ref: "refs/tags/" + usual}, "\x00v*", ""})
	}
	return out
}

// main returns the families of the project as a whole, or all if none is.
func (s *survey) main() (out []tagset.Family) {
	name := s.project.name()
	own := []string{
		"", "v", "V", "ver", "version/", "version-", "r", "rel/", "release-", "release-v", "release/", "releases/",
	}
	for _, tail := range []string{"-", "-v", "@", "@v", "/", "/v", "_", "_v", ""} {
		own = append(own, name+tail)
	}
	for _, f := range s.families {
		if slices.Contains(own, f.Prefix) {
			out = append(out, f)
		}
	}
	if out == nil {
		return s.families
	}
	return out
}

// onBranches returns a start for each branch that filters name.
func (s *survey) onBranches(event string, filters []string) (out []start) {
	add := func(branch, pattern string) {
		if branch != "" {
			out = append(out, start{ci.Start{Event: event, Ref: "refs/heads/" + branch}, "", "refs/heads/" + pattern})
		}
	}
	if ci.Matches(filters, s.project.Default) {
		add(s.project.Default, s.project.Default)
	}
	for _, f := range filters {
		switch {
		case f == "*" || f == "**" || strings.HasPrefix(f, "!") || ci.Matches([]string{f}, s.project.Default):
		case strings.ContainsAny(f, "*?+[]"):
			if p, ok := refPattern(f); ok {
				add(ci.Sample(f, "1"), p)
			}
		default:
			add(f, f)
		}
	}
	return out
}

// refPattern writes a filter as a pattern of the policy language; false if it cannot be, or
// would match every branch.
func refPattern(filter string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(filter); i++ {
		switch c := filter[i]; c {
		case '[':
			end := strings.IndexByte(filter[i:], ']')
			if end < 0 {
				return "", false
			}
			b.WriteByte('*')
			i += end
		case '?', '+':
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "*") {
				b.WriteByte('*')
			}
		default:
			b.WriteByte(c)
		}
	}
	out := b.String()
	for strings.Contains(out, "**") {
		out = strings.ReplaceAll(out, "**", "*")
	}
	return out, strings.Trim(out, "*/.") != "" && valid("refs/heads/"+out)
}

// maxFamilies is for how many families of tags one workflow is looked at, if it does something
// else for each. Further ones are taken to be like those that are not looked at: not released.
const maxFamilies = 40

// all looks at the jobs of several starts. If what runs does not depend on the tag, one is looked
// at for all families.
func (s *survey) all(w *ci.Workflow, starts []start) {
	var same []found
	reuse := false
	for i, x := range starts {
		if x.ref == "" && reuse {
			for _, f := range same {
				s.considered[label(f.job)] = true
				s.candidate(f.job).add(x, f.pubs)
			}
			continue
		}
		if x.ref == "" && i >= maxFamilies {
			continue
		}
		jobs, depends := s.reader.Jobs(w, x.Start)
		var here []found
		for _, j := range jobs {
			if pubs := s.job(j, x); pubs != nil {
				here = append(here, found{j, pubs})
			}
		}
		if x.ref == "" {
			same, reuse = here, !depends
		}
	}
}

// found is a job with what it publishes.
type found struct {
	job  ci.Job
	pubs []publication
}

// job looks at what a job publishes; nil if it gets no rule for it.
func (s *survey) job(j ci.Job, x start) []publication {
	d := newDetector(s.project.clone, s.project.catalog, j)
	for _, u := range d.uploads {
		if !slices.Contains(s.uploads[j.Caller], u) {
			s.uploads[j.Caller] = append(s.uploads[j.Caller], u)
		}
	}
	if !j.Token || s.forced != "" && s.forced != j.Caller && s.forced != j.File {
		return nil
	}
	pubs := d.publications()
	switch {
	case x.Event == "repository_dispatch" && j.Environment == "" && len(pubs) > 0:
		s.forbid(j, x.Event) // it may be opened for an environment alone
		return nil
	case len(pubs) == 0 && s.forced != "":
		pubs = []publication{{producer: byAnswer, guess: true}}
	case len(pubs) == 0 || practice(j) != "" && s.forced == "":
		s.silent(j, d, pubs)
		return nil
	}
	s.considered[label(j)] = true
	s.candidate(j).add(x, pubs)
	return pubs
}

func (c *candidate) add(x start, pubs []publication) {
	if x.ref == "" {
		c.tagged.add(x.Event, x.family, "", pubs)
	} else {
		c.branch.add(x.Event, "", x.ref, pubs)
	}
}

// byAnswer stands for a way of publishing that is not known, in a file that the user named.
var byAnswer = &producer{name: "--workflow", kind: files}

// candidate returns that of the job's identity.
func (s *survey) candidate(j ci.Job) *candidate {
	id := identity{j.Caller, j.File, j.Pinned, j.Foreign, j.Environment}
	i := slices.IndexFunc(s.candidates, func(c *candidate) bool { return c.identity == id && c.computed == j.Computed })
	if i < 0 {
		i = len(s.candidates)
		s.candidates = append(s.candidates, &candidate{identity: id, computed: j.Computed, may: j.May})
	}
	c := s.candidates[i]
	c.selfHosted, c.hosted = c.selfHosted || j.SelfHosted, c.hosted || !j.SelfHosted
	if !slices.Contains(c.jobs, j.ID) {
		c.jobs = append(c.jobs, j.ID)
	}
	return c
}

// label names a job by the file that starts and what holds it.
func label(j ci.Job) string {
	if j.Foreign.Ref != "" {
		return fmt.Sprintf("%s, job %s, which calls %s", j.Caller, j.ID, j.Foreign)
	}
	if j.File != j.Caller {
		return fmt.Sprintf("%s, job %s of %s", j.Caller, j.ID, j.File)
	}
	return fmt.Sprintf("%s, job %s", j.Caller, j.ID)
}

// silent remembers a job that may have ID tokens and gets no rule.
func (s *survey) silent(j ci.Job, d *detector, pubs []publication) {
	why := ""
	switch does := d.does(); {
	case len(pubs) > 0:
		why = "no rule: " + practice(j) + "; name the file with --workflow if it releases"
	case does != "":
		why = "no rule: it " + does
	case d.builds != "":
		why = "no rule: it signs " + d.builds + ", none of a release by its name; name the file with --workflow if it is"
	case d.declined:
		why = "no rule: it is not asked to publish and sign"
	case j.Foreign.Ref != "":
		why = "question: what that workflow signs cannot be read here; name the file with --workflow if it releases"
	case len(d.images) > 0:
		why = "question: is it a release? It pushes " + d.images[0] + " and signs nothing; name the file with --workflow"
	default:
		why = "no rule: nothing in it is known to publish; name the file with --workflow if it releases"
	}
	if key := label(j); s.quiet[key] == "" {
		s.quiet[key] = why
		s.silentOrder = append(s.silentOrder, key)
	}
}

// refused looks for jobs that publish on an event that never releases.
func (s *survey) refused(w *ci.Workflow, event string) {
	x := ci.Start{Event: event, Ref: "refs/heads/" + s.project.Default}
	jobs, _ := s.reader.Jobs(w, x)
	for _, j := range jobs {
		if !j.Token || practice(j) != "" || s.forced != "" {
			continue
		}
		d := newDetector(s.project.clone, s.project.catalog, j)
		if len(d.publications()) == 0 {
			s.silent(j, d, nil)
			continue
		}
		s.forbid(j, event)
	}
}

// forbid remembers a job that publishes on an event that never releases.
func (s *survey) forbid(j ci.Job, event string) {
	why := forbidden[event]
	if why == "" {
		why = nobody + byTag
	}
	if key := label(j); s.forbidden[key] == "" {
		s.forbidden[key] = fmt.Sprintf("no rule for its runs by %s: that event never releases, it %s, "+
			"or name the file with --workflow", event, why)
		s.silentOrder = append(s.silentOrder, key)
	}
}
