// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// TestGiven: checksum files are looked at whose evidence was given, or that were given
// themselves, and vouch for nothing without evidence.
func TestGiven(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	trusted := pin(t, `[[release]]
name        = "binaries"
tags        = ["v*"]
artifacts   = ["widget_*.tar.gz", "SHA256SUMS", "checksums.txt", "digests.txt", "widget_1.sha512"]
workflow    = ".github/workflows/release.yml"
environment = "release"
`)
	one, two := []byte("one"), []byte("two")
	const name = "widget_1.tar.gz"
	sign := func(by *sigstoretest.Instance, data []byte) []byte {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = data
		return by.Sign(r)
	}
	plain := fmt.Appendf(nil, "%x  widget_1.tar.gz\n%x  widget_2.tar.gz\n", sha256.Sum256(one), sha256.Sum256(two))
	bsd := fmt.Appendf(nil, "SHA512 (%s) = %x\n", name, sha512.Sum512(one))
	below := fmt.Appendf(nil, "%x  linux/widget_1.tar.gz\n%x  windows/widget_1.tar.gz\n", sha256.Sum256(two),
		sha256.Sum256(one))
	exact := fmt.Appendf(nil, "%x  widget_1.tar.gz\n%x  old/widget_1.tar.gz\n", sha256.Sum256(two), sha256.Sum256(one))
	others := fmt.Appendf(nil, "%x  widget_2.tar.gz\n", sha256.Sum256(two))
	changed := fmt.Appendf(nil, "%x  widget_1.tar.gz\n", sha256.Sum256([]byte("changed")))
	malformed := append(slices.Clone(plain), "and more\n"...)
	many := func() []byte {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact, r.Statement = plain, statement(subject("widget_2.tar.gz", two), subject("checksums.txt", plain))
		return inst.Sign(r)
	}()
	junk := []byte("{")
	for _, c := range []struct {
		what          string
		beside, given map[string][]byte
		order         []string
		want          policy.Reason
		via, also     string // base name of the checksum file; reason of something else that is said
	}{
		{"evidence alone", nil, map[string][]byte{"x.sigstore.json": sign(inst, one)}, nil, policy.Allowed, "", ""},
		{
			"the list beside it", map[string][]byte{"checksums.txt": plain},
			map[string][]byte{"checksums.txt.sigstore.json": sign(inst, plain)}, nil, policy.Allowed, "checksums.txt", "",
		},
		{
			"its evidence called otherwise", map[string][]byte{"checksums.txt": plain},
			map[string][]byte{"x": sign(inst, plain)}, nil, policy.Allowed, "checksums.txt", "",
		},
		{
			"among others", map[string][]byte{"checksums.txt": plain, "SHA256SUMS": others},
			map[string][]byte{"a": sign(inst, two), "b": junk, "c": sign(inst, plain)}, nil, policy.Allowed, "checksums.txt", "",
		},
		{
			"of several files", map[string][]byte{"checksums.txt": plain}, map[string][]byte{"x": many}, nil, policy.Allowed,
			"checksums.txt", "",
		},
		{
			"in a collection", map[string][]byte{"checksums.txt": plain},
			map[string][]byte{"x.jsonl": lines(sign(inst, two), sign(inst, plain))}, nil, policy.Allowed, "checksums.txt", "",
		},
		{
			"the list called otherwise", map[string][]byte{"digests.txt": plain},
			map[string][]byte{"digests.txt.sigstore.json": sign(inst, plain)}, nil, policy.Allowed, "digests.txt", "",
		},
		{
			"the list given", nil, map[string][]byte{"SHA256SUMS": plain, "SHA256SUMS.sigstore.json": sign(inst, plain)}, nil,
			policy.Allowed, "SHA256SUMS", "",
		},
		{
			"after its evidence", nil, map[string][]byte{"SHA256SUMS": plain, "SHA256SUMS.sigstore.json": sign(inst, plain)},
			[]string{"SHA256SUMS.sigstore.json", "SHA256SUMS"}, policy.Allowed, "SHA256SUMS", "",
		},
		{
			"given, called otherwise", nil, map[string][]byte{"digests.txt": plain, "z": sign(inst, plain)}, nil, policy.Allowed,
			"digests.txt", "",
		},
		{
			"given, in BSD's form", nil, map[string][]byte{"widget_1.sha512": bsd, "z": sign(inst, bsd)}, nil, policy.Allowed,
			"widget_1.sha512", "",
		},
		{
			"given, with folders", nil, map[string][]byte{"SHA256SUMS": below, "z": sign(inst, below)}, nil, policy.Allowed,
			"SHA256SUMS", "",
		},
		{
			"another one beside it", map[string][]byte{"SHA256SUMS": changed},
			map[string][]byte{"SHA256SUMS": plain, "z": sign(inst, plain)}, nil, policy.Allowed, "SHA256SUMS", "",
		},
		{
			"a malformed one, too", nil, map[string][]byte{"SHA256SUMS": malformed, "z": sign(inst, one)}, nil, policy.Allowed,
			"", "sums-invalid",
		},

		{"the list without evidence", nil, map[string][]byte{"SHA256SUMS": plain}, nil, policy.NoEvidence, "", ""},
		{
			"the list with evidence for another", nil, map[string][]byte{"SHA256SUMS": plain, "z": sign(inst, others)}, nil,
			policy.ArtifactMismatch, "", "",
		},
		{
			"another list beside it", map[string][]byte{"SHA256SUMS": changed}, map[string][]byte{"z": sign(inst, plain)}, nil,
			policy.ArtifactMismatch, "", "",
		},
		{
			"evidence by a stranger", nil, map[string][]byte{"SHA256SUMS": plain, "z": sign(stranger, plain)}, nil,
			policy.LogInvalid, "SHA256SUMS", "",
		},
		{
			"beside it, by a stranger", map[string][]byte{"SHA256SUMS": plain}, map[string][]byte{"z": sign(stranger, plain)},
			nil, policy.LogInvalid, "SHA256SUMS", "",
		},
		{
			"a list of others", nil, map[string][]byte{"SHA256SUMS": others, "z": sign(inst, others)}, nil,
			policy.ArtifactMismatch, "", "",
		},
		{
			"a list with another digest", nil, map[string][]byte{"SHA256SUMS": changed, "z": sign(inst, changed)}, nil,
			policy.ArtifactMismatch, "", "sums-mismatch",
		},
		{
			"its own name before one in a folder", nil, map[string][]byte{"SHA256SUMS": exact, "z": sign(inst, exact)}, nil,
			policy.ArtifactMismatch, "", "sums-mismatch",
		},
		{
			"malformed", nil, map[string][]byte{"SHA256SUMS": malformed, "z": sign(inst, malformed)}, nil,
			policy.ArtifactMismatch, "", "sums-invalid",
		},
		{
			"malformed, called otherwise", nil, map[string][]byte{"digests.txt": malformed, "z": sign(inst, malformed)}, nil,
			policy.ArtifactMismatch, "", "sums-invalid",
		},
		{"malformed and alone", nil, map[string][]byte{"SHA256SUMS": malformed}, nil, policy.SumsInvalid, "", ""},
		{"empty", nil, map[string][]byte{"SHA256SUMS": nil}, nil, policy.SumsInvalid, "", ""},
		{
			"a list that no rule allows", nil, map[string][]byte{"MD5": plain, "z": sign(inst, plain)}, nil, policy.RuleMismatch,
			"MD5", "",
		},
		{
			"approvals alone", nil, map[string][]byte{"v1" + ApprovalSuffix: sign(inst, two)}, nil, policy.ArtifactMismatch, "",
			"",
		},
	} {
		for _, carried := range []bool{false, true} {
			beside := map[string][]byte{name: one}
			for n, data := range c.beside {
				beside[n] = data
			}
			file, dir := filepath.Join(put(t, beside), name), put(t, c.given)
			order := c.order
			if order == nil {
				for n := range c.given {
					order = append(order, n)
				}
				slices.Sort(order)
			}
			j := judge(trusted, root)
			for _, n := range order {
				if carried {
					j.Carried = append(j.Carried, filepath.Join(dir, n))
				} else {
					j.Bundles = append(j.Bundles, filepath.Join(dir, n))
				}
			}
			res := run(j, file)[0]
			via := ""
			if res.Evidence != nil && res.Evidence.Via != "" {
				via = filepath.Base(res.Evidence.Via)
			}
			var also []string
			for _, o := range res.Others {
				also = append(also, string(o.Decision.Reason))
			}
			if res.Evidence != nil {
				also = append(also, string(res.Evidence.Decision.Reason))
			}
			if res.Decision.Reason != c.want || via != c.via || c.also != "" && !slices.Contains(also, c.also) {
				t.Errorf("%s, carried %t: %s (%s) by %q, also %s; want %s by %q, also %s", c.what, carried, res.Decision.Reason,
					res.Decision.Detail, via, also, c.want, c.via, c.also)
			}
			if c.want == policy.NoEvidence && !strings.Contains(res.Decision.Detail, "SHA256SUMS lists it, without evidence") {
				t.Errorf("%s: %s", c.what, res.Decision.Detail)
			}
			if res.Class() != policy.ClassOK {
				continue
			}
			// Other bytes are refused with the same evidence.
			file = filepath.Join(put(t, map[string][]byte{name: []byte("other")}), name)
			again := &Judge{Policy: j.Policy, Now: j.Now, Roots: j.Roots, Bundles: j.Bundles, Carried: j.Carried}
			if res := run(again, file)[0]; res.Class() == policy.ClassOK {
				t.Errorf("%s, carried %t: other bytes are allowed", c.what, carried)
			}
		}
	}
}

// TestGivenForSums judges everything that a checksum file lists by evidence for it that
// was given.
func TestGivenForSums(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	one, two := []byte("one"), []byte("two")
	list := fmt.Appendf(nil, "%x  widget_1.tar.gz\n%x  widget_2.tar.gz\n", sha256.Sum256(one), sha256.Sum256(two))
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = list
	for name, data := range map[string][]byte{"checksums.txt": list, "SHA256SUMS": append([]byte("\n"), list...)} {
		dir := put(t, map[string][]byte{name: data, "widget_1.tar.gz": one, "widget_2.tar.gz": two})
		given := filepath.Join(put(t, map[string][]byte{"x": inst.Sign(r)}), "x")
		for _, carried := range []bool{false, true} {
			j := judge(pin(t, strings.Replace(workflowRule, "SHA256SUMS", "checksums.txt", 1)), root)
			if j.Bundles = []string{given}; carried {
				j.Bundles, j.Carried = nil, j.Bundles
			}
			results := run(j, filepath.Join(dir, name))
			if ok := Class(results) == policy.ClassOK; len(results) != 3 || ok != (name == "checksums.txt") {
				t.Errorf("%s, carried %t: %d results, %s", name, carried, len(results), Class(results))
			}
		}
	}
}

// TestCarriedBeside: what is carried stands beside what lies at the artifact, and what the
// user names replaces both.
func TestCarriedBeside(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	one := []byte("one")
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = one
	good := inst.Sign(r)
	r.Artifact = []byte("two")
	other := inst.Sign(r)
	for _, c := range []struct {
		beside, carried, named []byte
		want                   policy.Reason
	}{
		{good, nil, nil, policy.Allowed},
		{nil, good, nil, policy.Allowed},
		{good, other, nil, policy.Allowed},
		{other, good, nil, policy.Allowed},
		{other, other, nil, policy.ArtifactMismatch},
		{good, good, other, policy.ArtifactMismatch},
		{other, other, good, policy.Allowed},
	} {
		files := map[string][]byte{"widget_1.tar.gz": one}
		j := judge(pin(t, workflowRule), root)
		if c.beside != nil {
			files["widget_1.tar.gz.sigstore.json"] = c.beside
		}
		if c.carried != nil {
			j.Carried = []string{filepath.Join(put(t, map[string][]byte{"x": c.carried}), "x")}
		}
		if c.named != nil {
			j.Bundles = []string{filepath.Join(put(t, map[string][]byte{"x": c.named}), "x")}
		}
		if res := run(j, filepath.Join(put(t, files), "widget_1.tar.gz"))[0]; res.Decision.Reason != c.want {
			t.Errorf("beside %t, carried %t, named %t: %s, want %s", c.beside != nil, c.carried != nil, c.named != nil,
				res.Decision.Reason, c.want)
		}
	}
}

// FuzzGivenList demands that what is taken for a checksum file is one as a whole, and that
// evidence is never taken for one.
func FuzzGivenList(f *testing.F) {
	h := strings.Repeat("ab", 32)
	for _, s := range []string{
		h + "  a\n", "SHA256 (a) = " + h + "\n", h + "  a\nx\n", `{"mediaType":""}`, "-----BEGIN CERTIFICATE-----", "",
		"\ufeff" + h + "  a\n" + h + "  b\n",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, named bool) {
		name := "x"
		if named {
			name = "SHA256SUMS"
		}
		l := parseGivenList(name, data)
		list, err := sums.Parse(name, data)
		switch {
		case err == nil && (l == nil || l.err != nil), err != nil && l != nil && l.err == nil:
			t.Fatalf("%q: %+v, %v", data, l, err)
		case named && err != nil && l == nil && !sums.IsJSON(data):
			t.Errorf("%q is ignored", data)
		case l != nil && l.err != nil && len(l.list.Entries) > 0:
			t.Errorf("%q lists something", data)
		case err == nil && len(l.list.Entries) != len(list.Entries):
			t.Errorf("%q: %d of %d entries", data, len(l.list.Entries), len(list.Entries))
		}
	})
}
