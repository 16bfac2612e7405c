// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// anyFileRule is workflowRule for files of any name.
var anyFileRule = strings.Replace(workflowRule, `["widget_*.tar.gz", "SHA256SUMS"]`, `"any"`, 1)

// verdicts writes results in one line: names, reasons and what is said of them.
func verdicts(results []*Result) string {
	var out []string
	for _, r := range results {
		s := filepath.Base(r.Artifact.Arg) + " " + string(r.Decision.Reason)
		for _, n := range r.Decision.Notes {
			if n.Code == "listed-elsewhere" {
				s += " elsewhere"
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// TestSumsAsPublished judges files by signed checksum files of many names and shapes, beside
// them, given, and in a release.
func TestSumsAsPublished(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	art, evil := []byte("widget"), []byte("evil")
	s256, s512 := fmt.Sprintf("%x", sha256.Sum256(art)), fmt.Sprintf("%x", sha512.Sum512(art))
	other := fmt.Sprintf("%x", sha256.Sum256(evil))
	s1 := fmt.Sprintf("%x", sha1.Sum(art))
	const file = "widget_1.tar.gz"
	for _, c := range []struct {
		list, text   string
		beside, self string // the verdict on the file beside the list, and on the list
	}{
		{"SHASUMS256.txt", s256 + "  " + file, "allowed", "SHASUMS256.txt allowed, widget_1.tar.gz allowed"},
		{file + ".sha256", s256, "allowed", file + ".sha256 allowed, widget_1.tar.gz allowed"},
		{"sha256.sum", s256 + " " + file, "allowed", "sha256.sum allowed, widget_1.tar.gz allowed"},
		{"release-notes", s256 + "  " + file, "allowed", "release-notes allowed, widget_1.tar.gz allowed"},
		{"checksum.txt", file + "\t" + s256, "allowed", "checksum.txt allowed, widget_1.tar.gz allowed"},
		{
			"SHA256SUMS", s256 + "  " + file + "\n" + s512 + "  " + file, "allowed",
			"SHA256SUMS allowed, widget_1.tar.gz allowed",
		},
		{
			"SHA256SUMS", s256 + "  " + file + "\n" + strings.Repeat("ab", 64) + "  " + file,
			"sums-mismatch", "SHA256SUMS allowed, widget_1.tar.gz sums-mismatch",
		},
		{"SHA256SUMS", s256 + "  dist/" + file, "allowed elsewhere", "SHA256SUMS allowed, widget_1.tar.gz allowed elsewhere"},
		{
			"SHA256SUMS", s256 + `  .\dist\` + file, "allowed elsewhere",
			"SHA256SUMS allowed, widget_1.tar.gz allowed elsewhere",
		},
		{"SHA256SUMS", other + "  dist/" + file, "sums-mismatch", "SHA256SUMS allowed, widget_1.tar.gz artifact-missing"},
		{
			"SHA256SUMS", other + "  a/" + file + "\n" + s256 + "  b/" + file, "allowed elsewhere",
			"SHA256SUMS allowed, widget_1.tar.gz artifact-missing, widget_1.tar.gz allowed elsewhere",
		},
		{ // its own name comes first
			"SHA256SUMS", other + "  " + file + "\n" + s256 + "  b/" + file, "sums-mismatch",
			"SHA256SUMS allowed, widget_1.tar.gz sums-mismatch, widget_1.tar.gz artifact-missing",
		},
		{"SHA256SUMS", s1 + "  " + file, "no-evidence", "SHA256SUMS allowed, widget_1.tar.gz passed-over"},
		{
			"SHA256SUMS", s1 + "  " + file + "\n" + s256 + "  " + file, "allowed",
			"SHA256SUMS allowed, widget_1.tar.gz allowed",
		},
		{"SHA256SUMS", "\xef\xbb\xbf" + s256 + "  " + file, "no-evidence", "SHA256SUMS sums-invalid"},
		{"SHA256SUMS", "see the release page", "no-evidence", "SHA256SUMS sums-invalid"},
		{"checksum.txt", s256 + "  " + file + "\nx", "no-evidence", "checksum.txt sums-invalid"},
	} {
		req := sigstoretest.Workflow("v1.2.3")
		req.Artifact = []byte(c.text + "\n")
		dir := put(t, map[string][]byte{
			file: art, c.list: req.Artifact, c.list + ".sigstore.json": inst.Sign(req),
		})
		at := func(name string) string { return filepath.Join(dir, name) }
		res := run(judge(pin(t, anyFileRule), root), at(file))
		if got := verdicts(res); got != file+" "+c.beside {
			t.Errorf("%s %q: %s, want %s", c.list, c.text, got, c.beside)
		}
		if d := res[0].Decision; strings.HasSuffix(c.self, "sums-invalid") && !strings.Contains(d.Detail, "malformed") {
			t.Errorf("%s %q: nobody says that it is malformed: %s", c.list, c.text, d.Detail)
		}
		if got := verdicts(run(judge(pin(t, anyFileRule), root), at(c.list))); got != c.self {
			t.Errorf("%s %q: %s, want %s", c.list, c.text, got, c.self)
		}
		j := judge(pin(t, anyFileRule), root)
		j.Bundles = []string{at(c.list), at(c.list + ".sigstore.json")}
		if got := verdicts(run(j, at(file))); (got == file+" allowed") != (c.beside == "allowed") {
			t.Errorf("%s %q, given: %s", c.list, c.text, got)
		}
		if c.list == "release-notes" {
			continue // of a release, what is not called like a list is not read as one
		}
		place := &folder{files: map[string][]byte{
			file: art, c.list: req.Artifact, c.list + ".sigstore.json": inst.Sign(req),
		}}
		results := judge(pin(t, anyFileRule), root).Run(t.Context(), others(ExpandPlace(t.Context(), place)))
		if got := verdicts(results); !strings.Contains(got+",", file+" "+c.beside+",") {
			t.Errorf("%s %q, in a release: %s, want %s", c.list, c.text, got, c.beside)
		}
	}
}

// TestIgnoreMissing leaves out what is not there, and nothing that only lies elsewhere.
func TestIgnoreMissing(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	for _, c := range []struct{ text, want string }{
		{sum("a") + "  widget_a\n" + sum("b") + "  widget_b\n", "SHA256SUMS allowed, widget_a allowed"},
		{sum("a") + "  widget_a\n" + sum("b") + "  dist/widget_a\n",
			"SHA256SUMS allowed, widget_a allowed"}, // widget_a is listed under its own name
		{sum("b") + "  widget_b\n", "SHA256SUMS allowed, SHA256SUMS artifact-missing"},
		{sum("c") + "  widget_c\n" + sum("b") + "  dist/widget_a\n",
			"SHA256SUMS allowed, widget_c allowed, widget_a artifact-missing"}, // another widget_a lies here
	} {
		req := sigstoretest.Workflow("v1.2.3")
		req.Artifact = []byte(c.text)
		dir := put(t, map[string][]byte{
			"widget_a": []byte("a"), "widget_c": []byte("c"), "SHA256SUMS": req.Artifact,
			"SHA256SUMS.sigstore.json": inst.Sign(req),
		})
		inputs := Expand(t.Context(), []string{filepath.Join(dir, "SHA256SUMS")}, Options{IgnoreMissing: true})
		var as []*Artifact
		for _, in := range inputs {
			if !in.Harmless {
				as = append(as, in.Artifact)
			}
		}
		if got := verdicts(judge(pin(t, anyFileRule), root).Run(t.Context(), as)); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// TestIsSums recognises lists by content as well as by name.
func TestIsSums(t *testing.T) {
	h := strings.Repeat("ab", 32)
	dir := put(t, map[string][]byte{
		"SHA256SUMS": []byte("x"), "list": []byte(h + "  a\n"), "checksum": []byte("\x7fELF"), "text": []byte(h + "  a\nb\n"),
		"digests.txt": []byte(h + "  a\nb\n"), "empty": nil,
	})
	large := []byte(strings.Repeat(h+"  a\n", sums.MaxBytes/67+1))
	if IsSums(filepath.Join(put(t, map[string][]byte{"large": large}), "large")) {
		t.Error("a file beyond the limit that is called like any other is a list")
	}
	for name, want := range map[string]bool{
		"SHA256SUMS": true, "list": true, "checksum": false, "text": false, "digests.txt": true, "empty": false,
		"missing": false, ".": false,
	} {
		if IsSums(filepath.Join(dir, name)) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

// TestSumsBudget: a list that cannot be held leaves the verdict open, whoever signed what.
func TestSumsBudget(t *testing.T) {
	root := parseRoot(t, sigstoretest.New(t), sigstoretest.RootOptions{})
	list := []byte(strings.Repeat(fmt.Sprintf("%064d  widget_1.tar.gz\n", 1), 2000))
	files := map[string][]byte{"widget_1.tar.gz": []byte("x"), "SHA256SUMS": list}
	for _, local := range []bool{true, false} {
		ctx := budget.With(t.Context(), budget.New(200<<10))
		as := []*Artifact{{Arg: "widget_1.tar.gz", Name: "widget_1.tar.gz", Place: &folder{files: files}, listed: true}}
		if local {
			as = others(Expand(ctx, []string{filepath.Join(put(t, files), "widget_1.tar.gz")}, Options{}))
		}
		res := judge(pin(t, anyFileRule), root).Run(ctx, as)[0]
		if res.Decision.Reason != policy.BudgetExceeded {
			t.Errorf("local %t: %s %s", local, res.Decision.Reason, res.Decision.Detail)
		}
	}
}

// TestSidecarsRead: of a release, the checksum of one file is read for that file alone.
func TestSidecarsRead(t *testing.T) {
	root := parseRoot(t, sigstoretest.New(t), sigstoretest.RootOptions{})
	files := map[string][]byte{}
	for i := range 50 {
		name := fmt.Sprintf("widget_%d.tar.gz", i)
		files[name], files[name+".sha256"] = []byte(name), fmt.Appendf(nil, "%064d  %s\n", i, name)
	}
	f := &folder{files: files}
	a := &Artifact{Arg: "widget_7.tar.gz", Name: "widget_7.tar.gz", Place: f, listed: true}
	judge(pin(t, anyFileRule), root).Run(t.Context(), []*Artifact{a})
	var lists []string
	for _, name := range f.read {
		if strings.HasSuffix(name, ".sha256") {
			lists = append(lists, name)
		}
	}
	if len(lists) != 1 || lists[0] != "widget_7.tar.gz.sha256" {
		t.Errorf("read %v", lists)
	}
}

// TestNamedAfterNothing: a list that is called after a file which the release has not is one of many.
func TestNamedAfterNothing(t *testing.T) {
	inst := sigstoretest.New(t)
	root := parseRoot(t, inst, sigstoretest.RootOptions{})
	for _, list := range []string{"widget-1.2.3.sha256", "tagged.sha256", "all.sha512sum.txt"} {
		art := []byte("widget")
		req := sigstoretest.Workflow("v1.2.3")
		req.Artifact = fmt.Appendf(nil, "SHA256 (widget_1.tar.gz) = %x\n", sha256.Sum256(art))
		f := &folder{files: map[string][]byte{
			"widget_1.tar.gz": art, "widget_2.tar.gz": art, list: req.Artifact, list + ".sigstore.json": inst.Sign(req),
		}}
		for name, want := range map[string]policy.Reason{
			"widget_1.tar.gz": policy.Allowed, "widget_2.tar.gz": policy.NoEvidence,
		} {
			a := &Artifact{Arg: name, Name: name, Place: f, listed: true}
			res := judge(pin(t, anyFileRule), root).Run(t.Context(), []*Artifact{a})[0]
			if res.Decision.Reason != want {
				t.Errorf("%s: %s is %s (%s), want %s", list, name, res.Decision.Reason, res.Decision.Detail, want)
			}
		}
	}
}
