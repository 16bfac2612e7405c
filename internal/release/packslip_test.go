// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestPackslip: the packslip of a release is evidence for the files that it names, in a directory
// and in a release; a list of releases is none, nor is one about other bytes or names.
func TestPackslip(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	art := []byte("widget")
	slip := func(predicate, name string, content []byte) []byte {
		r := sigstoretest.Workflow("v1.2.3")
		r.Statement = fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","predicateType":%q,`+
			`"predicate":{"project":"github.com/acme/widget","version":"1.2.3"},"subject":[%s]}`, predicate,
			subject(name, content))
		return inst.Sign(r)
	}
	const one, list = "https://packslip.dev/release/v1", "https://packslip.dev/releases/v1"
	const file = "widget_1.tar.gz"
	for _, c := range []struct {
		name string // of the packslip
		slip []byte
		want policy.Reason
	}{
		{"packslip.sigstore.json", slip(one, file, art), policy.Allowed},
		{"packslip-widget.sigstore.json", slip(one, file, art), policy.Allowed},
		{"other.sigstore.json", slip(one, file, art), policy.NoEvidence},
		{"packslip.sigstore.json", slip(list, file, art), policy.PredicateType},
		{"packslip.sigstore.json", slip(one, file, []byte("other")), policy.ArtifactMismatch},
		{"packslip.sigstore.json", slip(one, "widget_2.tar.gz", art), policy.NameDiffers},
		{"packslip.sigstore.json", []byte("{"), policy.BundleInvalid},
	} {
		files := map[string][]byte{file: art, c.name: c.slip}
		res := run(judge(pin(t, workflowRule), root), filepath.Join(put(t, files), file))[0]
		if res.Decision.Reason != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, res.Decision.Reason, res.Decision.Detail, c.want)
		}
		inputs := ExpandPlace(t.Context(), &folder{files: files})
		for _, in := range inputs {
			if in.Artifact.Name != file {
				continue
			}
			res := judge(pin(t, workflowRule), root).Run(t.Context(), []*Artifact{in.Artifact})[0]
			if res.Decision.Reason != c.want {
				t.Errorf("%s, in a release: %s (%s), want %s", c.name, res.Decision.Reason, res.Decision.Detail, c.want)
			}
		}
	}
}
