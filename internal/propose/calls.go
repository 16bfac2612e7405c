// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"slices"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/clone"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
)

// Calls returns as which workflows runs of a project on GitHub can sign: those that start, and the
// reusable ones that they call, here and in other repositories. There is one rule for each workflow,
// caller and ref or commit, with no tags and no artifacts. A rule has Refs if runs for branches reach
// the workflow and none for a tag does.
func Calls(p Project) []Rule {
	p.clone = clone.New(p.Files)
	s := &survey{
		project: &p, families: tagset.Families(p.Tags),
		reader: ci.Read(p.clone, ci.Repository{Path: p.Repository.Path(), Default: p.Default}, binding.Workflow),
	}
	var c calls
	for _, w := range s.reader.Files {
		if !w.MayHaveTokens() {
			continue
		}
		for _, event := range w.Events() {
			if slices.Contains(opened, event) {
				c.all(s.reader, w, s.starts(w, event))
			}
		}
	}
	return c.rules
}

// calls are rules, and which of them sign for tags.
type calls struct {
	rules  []Rule
	tagged []bool
}

// all looks at the jobs of several starts, as [survey.all] does.
func (c *calls) all(reader *ci.Reader, w *ci.Workflow, starts []start) {
	reuse := false
	for i, x := range starts {
		if x.ref == "" && (reuse || i >= maxFamilies) {
			continue
		}
		jobs, depends := reader.Jobs(w, x.Start)
		for _, j := range jobs {
			// A workflow of another repository may say itself what it may do.
			if (j.Token || j.Foreign.Ref != "" && !j.Refused) && practice(j) == "" {
				c.add(j, x)
			}
		}
		reuse = reuse || x.ref == "" && !depends
	}
}

func (c *calls) add(j ci.Job, x start) {
	r := Rule{Workflow: j.File, Caller: j.Caller}
	if j.Foreign.Ref != "" && !r.calls(j.Foreign) || j.Pinned != "" && !r.at(j.Pinned) {
		return
	}
	i := slices.IndexFunc(c.rules, func(o Rule) bool {
		return o.Workflow == r.Workflow && o.Caller == r.Caller &&
			o.SignerRef == r.SignerRef && o.SignerDigest == r.SignerDigest
	})
	if i < 0 {
		i = len(c.rules)
		c.rules, c.tagged = append(c.rules, r), append(c.tagged, false)
	}
	switch known := &c.rules[i]; {
	case x.ref == "":
		known.Refs, c.tagged[i] = nil, true
	case !c.tagged[i] && !slices.Contains(known.Refs, x.ref):
		known.Refs = append(known.Refs, x.ref)
	}
}
