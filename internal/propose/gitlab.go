// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
)

// gitlab looks at the pipelines of a project on GitLab. Its certificates name the top-level
// configuration, whatever file a job stands in.
func (s *survey) gitlab() {
	p := ci.ReadPipeline(
		s.project.clone,
		binding.GitLabConfig,
		ci.Repository{Path: s.project.Repository.Path(), Default: s.project.Default},
	)
	if p == nil {
		return
	}
	families := s.main()
	if len(families) == 0 {
		families = []tagset.Family{{Prefix: "\x00v*", Tags: []string{"v1.0.0"}}}
	}
	for _, f := range families {
		s.pipeline(p, start{ci.Start{Event: "push", Ref: "refs/tags/" + f.Sample()}, f.Prefix, ""})
	}
	s.pipeline(
		p,
		start{ci.Start{Event: "push", Ref: "refs/heads/" + s.project.Default}, "", "refs/heads/" + s.project.Default},
	)
}

func (s *survey) pipeline(p *ci.Pipeline, x start) {
	for _, j := range p.Jobs(x.Start) {
		s.job(j, x)
	}
}

// Stage returns a stage that the pipeline of a project has: test, which is there unless the
// configuration names others, or else the last of these.
func Stage(config []byte) string {
	stages := ci.Stages(config)
	simple := func(s string) bool {
		return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
	}
	if stages = slices.DeleteFunc(stages, func(s string) bool { return !simple(s) }); len(stages) == 0 ||
		slices.Contains(stages, "test") {
		return "test"
	}
	return stages[len(stages)-1]
}
