// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestListedSignatures: a signature that a directory lists and the repository does not serve is
// fetched there; if it cannot be had, its statement counts for nothing.
func TestListedSignatures(t *testing.T) {
	s := newSite(t)
	s.Signatures = map[string][]byte{}
	signed := map[string]bool{} // files of signatures
	for _, p := range s.Payloads {
		s.publish(p, chain.Shown{}, repo, number)
	}
	for _, o := range bindings.Offers(s.World.Root, nil, s.Files, nil) {
		for _, sig := range o.Signatures {
			s.Signatures[fmt.Sprintf("/signature/%s/%d", sig.Log, sig.Index)] = sig.Bundle
			signed[string(sig.Bundle)] = true
		}
	}
	s.Build(built)
	without := slices.DeleteFunc(slices.Clone(s.Files), func(f bindings.File) bool { return signed[string(f.Data)] })
	if len(without) == len(s.Files) || len(without) == 0 {
		t.Fatalf("%d of %d files", len(without), len(s.Files))
	}
	for name, x := range map[string]struct {
		files []bindings.File
		hold  func(data []byte) []byte
		want  policy.Reason
	}{
		"all at hand":         {s.Files, nil, ""},
		"fetched":             {without, nil, ""},
		"statements, too":     {nil, nil, ""},
		"not there":           {without, func([]byte) []byte { return nil }, policy.Undisclosed},
		"something else":      {without, func([]byte) []byte { return []byte("{}") }, policy.Undisclosed},
		"another's signature": {without, func([]byte) []byte { return without[0].Data }, policy.Undisclosed},
	} {
		s.Tamper = func(path string, data []byte) []byte {
			if _, is := s.Signatures[path]; is && x.hold != nil {
				return x.hold(data)
			}
			return data
		}
		res := resolve(t, s.World, x.files, s.lookup(nil))
		if got := res.Chain.Reason(); len(res.Failed) > 0 || got != x.want || x.want == "" && len(res.Chain.Versions()) != 2 {
			t.Errorf("%s: %q, want %q: %v %+v", name, got, x.want, res.Failed, res.Chain.Problems())
		}
	}
}
