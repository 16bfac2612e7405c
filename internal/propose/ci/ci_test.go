// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

// tree is a clone of one file.
type tree struct{ name, text string }

func (t tree) Read(name string, _ int64) ([]byte, error) {
	if name == t.name {
		return []byte(t.text), nil
	}
	return nil, nil
}

func (t tree) Names(dir string) []string {
	if base, ok := strings.CutPrefix(t.name, dir+"/"); ok {
		return []string{base}
	}
	return nil
}

// TestEvaluate: what is known of a condition before anything runs.
func TestEvaluate(t *testing.T) {
	f := &frame{
		Reader: &Reader{repo: Repository{"acme/widget", "main"}}, start: Start{"push", "refs/tags/v1.2.3"},
		file:   &Workflow{env: map[string]string{"A": "x-${{ github.ref_name }}", "LOOP": "${{ env.LOOP }}"}},
		inputs: map[string]value{"on": known(true), "off": known(nil), "text": known("t"), "any": unknown},
	}
	look := f.scope(&job{matrix: map[string][]string{"os": {"a", "b"}}}, f.file.env, nil)
	for _, c := range []struct {
		text string
		want truth
	}{
		{"", yes},
		{"true", yes}, {"false", no}, {"null", no}, {"''", no}, {"'x'", yes}, {"0", no}, {"1.5", yes}, {"-0", no},
		{"0xff", maybe},
		{"github.event_name == 'push'", yes}, {"github.event_name == 'PUSH'", yes}, {"github.event_name != 'push'", no},
		{"${{ github.ref == 'refs/heads/main' }}", no}, {"github.ref_type == 'tag'", yes},
		{"startsWith(github.ref, 'refs/tags/')", yes}, {"endsWith(github.ref_name, '3')", yes},
		{"startsWith(github.sha, 'a')", maybe},
		{"contains(github.ref, 'rc')", no}, {"contains('a b', 'B')", yes},
		{"contains(fromJSON('[\"push\", 1]'), github.event_name)", yes},
		{"contains(fromJSON('[\"pull\"]'), github.event_name)", no}, {"contains(needs.x, 'a')", maybe},
		{"contains('a')", maybe},
		{"inputs.on", yes}, {"inputs.off", no}, {"inputs.none", no}, {"!inputs.off", yes}, {"inputs.any", maybe},
		{"!inputs.any", maybe},
		{"inputs.on == 'true'", yes}, {"inputs.text == 'true'", no}, {"inputs.off == ''", yes}, {"inputs.off != 0", no},
		{"inputs.any && inputs.off", no}, {"inputs.any || inputs.on", yes}, {"inputs.any && inputs.on", maybe},
		{"inputs.off || inputs.any", maybe},
		{"(inputs.on && !inputs.off) || inputs.any", yes}, {"steps.x.outputs.y == '1'", maybe}, {"secrets.X != ''", maybe},
		{"always()", yes}, {"failure()", no}, {"!cancelled() && success()", yes}, {"hashFiles('x') != ''", maybe},
		{"github.event.release.tag_name == 'v1'", no}, {"github.event.pull_request.merged", no},
		{"github.event.head_commit.message == 'x'", maybe},
		{"github.event['ref'] == github.ref", yes}, {"github.event.repository.fork == false", yes},
		{"github.event.repository.default_branch == 'main'", yes},
		{"github.repository == 'Acme/Widget' && github.repository_owner == 'acme'", yes}, {"github.head_ref == ''", yes},
		{"env.A == 'x-v1.2.3'", maybe}, {"env.NONE == 'x'", maybe}, {"env.LOOP", maybe},
		{"matrix.os == 'a'", maybe}, {"matrix.os == 'c'", no}, {"format('{0}-{1}', 'a', github.ref_name) == 'a-v1.2.3'", yes},
		{"fromJSON('{}').x", maybe}, {"fromJSON('true')", yes}, {"'it''s' == 'it''s'", yes},
		{"1 < 2", yes}, {"2 <= 1", no}, {"'a' > 1", no}, {"x < 1", maybe},
		{"(", maybe}, {"'", maybe}, {"a b", maybe}, {"f(", maybe}, {"a[", maybe}, {"&&", maybe},
		{strings.Repeat("(", 100) + "1", maybe}, {strings.Repeat("!", 100) + "1", maybe},
		{"github.ref == 'x' ${{ 1 }}", maybe}, {"github.event.inputs.text == 't'", yes}, {"github.actor == 'x'", maybe},
		{"github", maybe},
	} {
		if got := condition(c.text, look); got != c.want {
			t.Errorf("%s: %d, wanted %d", c.text, got, c.want)
		}
	}
	for text, want := range map[string][]string{
		"a": {"a"}, "${{ github.ref_name }}-${{ matrix.os }}": {"\uFFFD-a", "\uFFFD-b"}, "x${{ steps.y }}": {"x\uFFFD"},
		"${{ inputs.any && 'p' || 'q' }}": {"p", "q"}, "${{ inputs.on && 'p' || 'q' }}": {"p"}, "${{ open": {"\uFFFD"},
	} {
		if d := cmp.Diff(want, fill(text, look)); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

// TestMatches: the filters of GitHub's documentation.
func TestMatches(t *testing.T) {
	for _, c := range []struct {
		patterns, name string
		want           bool
	}{
		{"v*", "v1.0", true}, {"v*", "v/1", false}, {"**", "a/b", true}, {"*", "a/b", false},
		{"releases/**", "releases/a/b", true},
		{"v[12].[0-9]+.[0-9]+", "v1.10.1", true}, {"v[12].[0-9]+.[0-9]+", "v3.1.1", false}, {"*.jsx?", "page.js", true},
		{"*.jsx?", "page.jsx", true},
		{"v* !v1*", "v1.0", false}, {"v* !v1* v1.5", "v1.5", true}, {"a\\*", "a*", true}, {"[", "[", true},
		{"x+", "", false}, {"x+", "xxx", true},
		{"!**", "a", false}, {"**-rc*", "a/b-rc1", true},
	} {
		if got := Matches(strings.Fields(c.patterns), c.name); got != c.want {
			t.Errorf("%s %s: %t", c.patterns, c.name, got)
		}
		for _, p := range strings.Fields(c.patterns) {
			if s := Sample(p, "1"); !strings.HasPrefix(p, "!") && !filterMatches(p, s) {
				t.Errorf("%s does not match its sample %s", p, s)
			}
		}
	}
	if filterMatches(strings.Repeat("*a", 40), strings.Repeat("a", 200)+"b") {
		t.Error("a match that is none")
	}
}

// TestPushed: which filters of a push let tags and branches start a workflow.
func TestPushed(t *testing.T) {
	for _, c := range []struct{ on, tags, branches string }{
		{"push", "**", "**"}, {"{push: {paths: [x]}}", "**", "**"}, {"{push: {tags: [v*]}}", "v*", "-"},
		{"{push: {branches: main}}", "-", "main"},
		{"{push: {tags: ['!x'], branches: ['**']}}", "-", "**"}, {"{push: {tags-ignore: [x]}}", "** !x", "-"},
		{"release", "-", "-"},
	} {
		w := Parse("x.yml", []byte("on: "+c.on+"\njobs: {a: {steps: []}}\n"))
		text := func(patterns []string, ok bool) string {
			if !ok {
				return "-"
			}
			return strings.Join(patterns, " ")
		}
		if a, b := text(w.PushedTags()), text(w.PushedBranches()); a != c.tags || b != c.branches {
			t.Errorf("%s: %s, %s", c.on, a, b)
		}
	}
	for _, bad := range []string{"", "[", "a", "jobs: []", "jobs: {}", "- a", strings.Repeat("[", 200)} {
		if Parse("x.yml", []byte(bad)) != nil {
			t.Errorf("%q", bad)
		}
	}
}

func TestCommands(t *testing.T) {
	for script, want := range map[string]string{
		"a b": "a b", "a 'b c' \"d\"e": "a,b c,de", "a && b || c; d | e &": "a/b/c/d/e", "a \\\n b": "a b",
		"# a\nb # c\nd#e": "b/d#e",
		"X=1 Y=2 sudo a":  "a", "if a; then b; fi": "a/b/fi", "for f in x; do a $f; done": "a $f/done",
		"x | xargs -I {} -r a {}": "x/a {}",
		"npx a":                   "a", "pnpm exec a": "a", "python -m a": "a",
		"a $(b c) d": "a \ufffd d/b c", "a \"x@$(b \"c d\")\" e": "a,x@\ufffd,e/b,c d",
		"x=$(a $(b))": "a \ufffd/b", "a `b`": "a/b", "(a)": "a",
		"@a": "a", "-@a b": "a b", "'a": "a", "": "",
		"a \"b": "a,b", "X=1": "",
	} {
		var got []string
		commands, _ := Commands(script)
		for _, c := range commands {
			line := strings.Join(c.Words, ",")
			if !strings.Contains(want, ",") {
				line = strings.Join(c.Words, " ")
			}
			got = append(got, line)
		}
		if d := cmp.Diff(want, strings.Join(got, "/")); d != "" {
			t.Errorf("%s: %s", script, d)
		}
	}
	if all, _ := Commands("A=1 b"); !slices.Equal(all[0].Env["A"], []string{"1"}) {
		t.Errorf("%+v", all)
	}
	first := func(c Command) bool { return len(c.Words) > 1 && c.Words[0] == "npm" && c.Words[1] == "publish" }
	if !slices.ContainsFunc(Loose("// npm publish\nrun('npm', [`publish`])"), first) ||
		slices.ContainsFunc(Loose("# npm publish"), first) {
		t.Error("the words of a program")
	}
}

// FuzzJobs: a workflow of any content has jobs or none, in bounded time.
func FuzzJobs(f *testing.F) {
	f.Add("on: push\njobs: {a: {if: \"${{ github.ref == 'x' }}\", steps: [{run: a}, {uses: ./x}]}}\n", "refs/tags/v1")
	f.Add(
		"on: {workflow_call: {}, push: {}}\n"+
			"jobs: {a: {uses: ./.github/workflows/x.yml, strategy: {matrix: {include: [{a: b}]}}}}\n",
		"refs/heads/main",
	)
	f.Add("a: &a [*a]\njobs: *a\n", "")
	f.Fuzz(func(t *testing.T, text, ref string) {
		const name = ".github/workflows/x.yml"
		r := Read(clone.New(tree{name, text}), Repository{"acme/widget", "main"})
		for _, w := range r.Files {
			for _, e := range append(w.Events(), "push") {
				jobs, _ := r.Jobs(w, Start{e, ref})
				for _, j := range jobs {
					if j.Caller != name || j.ID == "" && j.File == "" && j.Foreign.Ref == "" {
						t.Errorf("%+v", j)
					}
				}
			}
		}
	})
}

// FuzzPipeline is like FuzzJobs.
func FuzzPipeline(f *testing.F) {
	f.Add("a: {script: [x], rules: [{if: '$CI_COMMIT_TAG =~ /^v(/ && $X != \"y\"'}], extends: [a, b]}\n")
	f.Add(
		"include: .gitlab-ci.yml\ndefault: {id_tokens: {a: {aud: [sigstore]}}}\n" +
			"b: {script: x, only: {refs: [tags]}, variables: {A: $CI_X}}\n",
	)
	f.Fuzz(func(t *testing.T, text string) {
		p := ReadPipeline(clone.New(tree{".gitlab-ci.yml", text}), ".gitlab-ci.yml", Repository{"acme/widget", "main"})
		if p == nil {
			return
		}
		for _, ref := range []string{"refs/tags/v1", "refs/heads/main"} {
			for _, j := range p.Jobs(Start{"push", ref}) {
				if j.File != ".gitlab-ci.yml" {
					t.Errorf("%+v", j)
				}
			}
		}
	})
}

// FuzzEvaluate: an expression has a value or is not known, and a text has at least one reading.
// TestVariables: what scripts assign, and that no script makes that long.
func TestVariables(t *testing.T) {
	for script, want := range map[string]string{
		"A=1": "A=1", "A=1 b": "", "export A=1 B='2 3'": "A=1 B=2 3", "local -r a=${1}": "a=${1}",
		"if x; then A=1; else A=2; fi": "A=1|2", "A=$(b)": "A=\ufffd", "A=x-$(b)/y": "A=x-\ufffd/y",
		"A=(b c)\nA+=(d)": "A=b c |d ", "for a in b $c; do d; done": "a=\x02b $c", "for a; do b; done": "",
		"for a-b in c; do d; done": "",
	} {
		_, vars := Commands(script)
		var got []string
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			got = append(got, name+"="+strings.Join(vars[name], "|"))
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s: %s", script, d)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "A%d=1; A=%d\n", i, i)
	}
	if _, vars := Commands(many.String()); len(vars) > maxVariables || len(vars["A"]) > maxValues {
		t.Error(len(vars), len(vars["A"]))
	}
	for _, deep := range []string{"$(", "\"$(", "a=(", "$(\"", "'"} {
		begin := time.Now()
		Commands(strings.Repeat(deep, 1<<17))
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%q: %s", deep, took)
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("a.b['c'] == format('{0}', 1) && !contains(fromJSON('[1]'), x) || (1 < 2)")
	f.Fuzz(func(t *testing.T, text string) {
		look := func([]string) value { return unknown }
		if v := evaluate(text, look); v.known && v.truth == maybe {
			t.Errorf("%+v", v)
		}
		if len(fill("${{"+text+"}}", look)) == 0 {
			t.Error("no reading")
		}
		Commands(text)
		Loose(text)
		Matches([]string{text}, text)
	})
}
