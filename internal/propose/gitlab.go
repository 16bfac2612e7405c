// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
)

// gitlab looks at the pipelines of a project on GitLab. Its certificates name the top-level
// configuration, whatever file a job stands in.
func (s *survey) gitlab() {
	p := ci.ReadPipeline(s.project.clone, binding.GitLabConfig, ci.Repository{Path: s.project.Repository.Path(), Default: s.project.Default})
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
	s.pipeline(p, start{ci.Start{Event: "push", Ref: "refs/heads/" + s.project.Default}, "", "refs/heads/" + s.project.Default})
}

func (s *survey) pipeline(p *ci.Pipeline, x start) {
	for _, j := range p.Jobs(x.Start) {
		s.job(j, x)
	}
}
