// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
)

// delegated returns a step that publishes what build delegates.
func delegated(build func(*tuftest.Sim)) func(*tuftest.Sim) {
	return func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		build(s)
		s.Publish()
	}
}

var delegations = []attack{
	{name: "a delegated file", target: "d/x.txt", do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Add("d", "d/x.txt", "x")
	})},
	{name: "a file that is not delegated", target: "e/x.txt", want: ErrNoTarget, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Add("d", "e/x.txt", "x")
	})},
	{name: "a wildcard over a separator", target: "d/e/x.txt", want: ErrNoTarget, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Add("d", "d/e/x.txt", "x")
	})},
	{name: "a pattern that is read in two ways", target: "d/x.txt", want: ErrMalformed, gotuf: "takes ! for itself",
		do: delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/[!a].txt", "d/*"}})
			s.Add("d", "d/x.txt", "x")
		})},
	{name: "a malformed pattern", target: "d/x.txt", want: ErrMalformed, gotuf: "takes it to match nothing",
		do: delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"[", "d/*"}})
			s.Add("d", "d/x.txt", "x")
		})},
	{name: "the first role answers", target: "d/x.txt", do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.Add("e", "d/x.txt", "evil")
		s.Add("d", "d/x.txt", "x")
	})},
	{name: "a role behind the first", target: "d/x.txt", do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.Add("e", "d/x.txt", "x")
	})},
	{name: "a role behind a terminating one", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}, Terminating: true})
		s.Delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.Add("e", "d/x.txt", "evil")
	})},
	{name: "a terminating role further down", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.Delegate("d", metadata.DelegatedRole{Name: "f", Paths: []string{"d/*"}, Terminating: true})
		s.Add("e", "d/x.txt", "evil")
	})},
	{name: "a delegated role by another key", target: "d/x.txt", want: ErrUnsigned, do: func(s *tuftest.Sim) {
		delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.Add("d", "d/x.txt", "x")
		})(s)
		s.Files["1.d.json"] = tuftest.Sign(s, "", s.Targets["d"], tuftest.NewKey(s.T))
	}},
	{name: "an unverifiable role hides none behind it", target: "d/x.txt", want: ErrUnsigned, do: func(s *tuftest.Sim) {
		delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.Delegate("targets", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
			s.Add("e", "d/x.txt", "evil")
		})(s)
		s.Files["1.d.json"] = tuftest.Sign(s, "", s.Targets["d"], tuftest.NewKey(s.T))
	}},
	{name: "a role that the snapshot does not list", target: "d/x.txt", want: ErrMismatch, do: func(s *tuftest.Sim) {
		s.Targets["targets"].Signed.Version++
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		d := s.Targets["d"]
		delete(s.Targets, "d")
		s.Publish()
		s.Files["1.d.json"] = tuftest.Sign(s, "d", d)
	}},
	{name: "a delegated role expired", target: "d/x.txt", want: ErrExpired, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Add("d", "d/x.txt", "x")
		s.Targets["d"].Signed.Expires = tuftest.Now.AddDate(0, 0, -1)
	})},
	{name: "two of two keys", target: "d/x.txt", do: delegated(func(s *tuftest.Sim) {
		s.Signers["d"] = []signature.Signer{tuftest.NewKey(s.T), tuftest.NewKey(s.T)}
		s.Targets["d"] = metadata.Targets(tuftest.Now.AddDate(1, 0, 0))
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}, Threshold: 2})
		s.Add("d", "d/x.txt", "x")
	})},
	{name: "one of two keys", target: "d/x.txt", want: ErrUnsigned, do: func(s *tuftest.Sim) {
		delegated(func(s *tuftest.Sim) {
			s.Signers["d"] = []signature.Signer{tuftest.NewKey(s.T), tuftest.NewKey(s.T)}
			s.Targets["d"] = metadata.Targets(tuftest.Now.AddDate(1, 0, 0))
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}, Threshold: 2})
			s.Add("d", "d/x.txt", "x")
		})(s)
		s.Files["1.d.json"] = tuftest.Sign(s, "", s.Targets["d"], s.Signers["d"][0])
	}},
	{name: "a cycle", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Delegate("d", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
		s.Delegate("e", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
		s.Delegate("e", metadata.DelegatedRole{Name: "e", Paths: []string{"d/*"}})
	})},
	{name: "as deep as is followed", target: "d/x.txt", do: delegated(func(s *tuftest.Sim) { deep(s, maxRoles) })},
	{
		name: "deeper", target: "d/x.txt", want: ErrTooManyRoles, do: delegated(func(s *tuftest.Sim) { deep(s, maxRoles+1) }),
	},
	{name: "a top-level role delegated to", target: "d/x.txt", want: ErrMalformed, gotuf: "lets anyone be delegated to",
		do: delegated(func(s *tuftest.Sim) {
			d := *tuftest.KeyOf(s.T, s.Signers["snapshot"][0])
			s.Targets["targets"].Signed.Delegations = &metadata.Delegations{
				Keys: map[string]*metadata.Key{tuftest.KeyID(s.T, &d): &d},
				Roles: []metadata.DelegatedRole{
					{Name: "snapshot", KeyIDs: []string{tuftest.KeyID(s.T, &d)}, Threshold: 1, Paths: []string{"x/*"}},
				},
			}
			s.Add("targets", "d/x.txt", "x")
		})},
	{name: "a role delegated to twice", target: "d/x.txt", want: ErrMalformed, gotuf: "takes the first",
		do: delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"e/*"}})
			s.Add("d", "d/x.txt", "x")
		})},
	{name: "paths and prefixes at once", target: "d/x.txt", want: ErrMalformed, do: func(s *tuftest.Sim) {
		delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
			s.Add("d", "d/x.txt", "x")
		})(s)
		s.Edit("2.targets.json", "targets", func(signed map[string]any) {
			d := signed["delegations"].(map[string]any)["roles"].([]any)[0].(map[string]any)
			d["path_hash_prefixes"] = []any{"0"}
		})
	}},
	{name: "hex prefixes", target: "d/x.txt", gotuf: "compares the prefix with base64",
		do: delegated(func(s *tuftest.Sim) {
			s.Delegate("targets", metadata.DelegatedRole{Name: "d", PathHashPrefixes: []string{hexDigest("d/x.txt")[:3]}})
			s.Add("d", "d/x.txt", "x")
		})},
	{name: "base64 prefixes", target: "d/x.txt", want: ErrNoTarget, gotuf: "compares the prefix with base64",
		do: delegated(func(s *tuftest.Sim) {
			sum, _ := hex.DecodeString(hexDigest("d/x.txt"))
			s.Delegate("targets", metadata.DelegatedRole{
				Name: "d", PathHashPrefixes: []string{base64.URLEncoding.EncodeToString(sum)[:5]},
			})
			s.Add("d", "d/x.txt", "x")
		})},
	{name: "prefixes of other files", target: "d/x.txt", want: ErrNoTarget, do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "d", PathHashPrefixes: []string{hexDigest("d/y.txt")[:8]}})
		s.Add("d", "d/x.txt", "x")
	})},
	{
		name: "succinct bins", target: "d/x.txt",
		do: delegated(func(s *tuftest.Sim) { succinct(s, 10, "d/x.txt", "d/x.txt") }),
	},
	{
		name: "the bin of another file", target: "d/x.txt", want: ErrNoTarget,
		do: delegated(func(s *tuftest.Sim) { succinct(s, 4, "d/x.txt", "d/y.txt") }),
	},
	{
		name: "bins of 32 bits", target: "d/x.txt",
		do: delegated(func(s *tuftest.Sim) { succinct(s, 32, "d/x.txt", "d/x.txt") }),
	},
	{
		name: "bins of 33 bits", target: "d/x.txt", want: ErrMalformed,
		do: delegated(func(s *tuftest.Sim) { succinct(s, 33, "d/x.txt", "d/x.txt") }),
	},
	{name: "a strange name of a role", target: "d/x.txt", do: delegated(func(s *tuftest.Sim) {
		s.Delegate("targets", metadata.DelegatedRole{Name: "../?#%2f ä", Paths: []string{"d/*"}})
		s.Add("../?#%2f ä", "d/x.txt", "x")
	})},
}

func hexDigest(s string) string {
	f, err := metadata.TargetFile().FromBytes("x", []byte(s), "sha256")
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(f.Hashes["sha256"])
}

// deep delegates through as many roles as named, the top-level one included.
func deep(s *tuftest.Sim, roles int) {
	from := "targets"
	for i := range roles {
		name := fmt.Sprintf("r%d", i)
		s.Delegate(from, metadata.DelegatedRole{Name: name, Paths: []string{"d/*"}})
		from = name
	}
	s.Add(from, "d/x.txt", "x")
}

// succinct has the bins of succinct roles, in which the bin of a file lists
// another.
func succinct(s *tuftest.Sim, bits int, file, of string) {
	k := tuftest.NewKey(s.T)
	key := tuftest.KeyOf(s.T, k)
	sr := &metadata.SuccinctRoles{
		KeyIDs: []string{tuftest.KeyID(s.T, key)}, Threshold: 1, BitLength: bits, NamePrefix: "bin",
	}
	s.Targets["targets"].Signed.Delegations = &metadata.Delegations{
		Keys: map[string]*metadata.Key{tuftest.KeyID(s.T, key): key}, SuccinctRoles: sr,
	}
	for _, name := range []string{file, of} {
		if bits > 32 {
			return
		}
		role := sr.GetRolesForTarget(name)[0].Name
		if s.Targets[role] == nil {
			s.Targets[role] = metadata.Targets(tuftest.Now.AddDate(1, 0, 0))
		}
		s.Signers[role] = []signature.Signer{k}
	}
	s.Add(sr.GetRolesForTarget(of)[0].Name, file, "x")
}
