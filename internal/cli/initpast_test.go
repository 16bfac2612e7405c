// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// pastForge answers paths of all hosts with texts. Of an empty one it says nothing for ever, and
// of a path that it does not have that it is not there.
type pastForge struct {
	replies map[string]string
	asked   atomic.Int64
}

func (f *pastForge) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked.Add(1)
	text, ok := f.replies[strings.TrimPrefix(r.URL.Path, "/")]
	reply := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}
	switch {
	case !ok:
		reply.StatusCode = http.StatusNotFound
	case text == "":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case text == "big":
		reply.ContentLength = pastBytes + 1
	case text == "drip":
		reply.Body = io.NopCloser(drip{})
	}
	return reply, nil
}

// drip is a content that never ends, just fast enough not to be given up.
type drip struct{}

func (drip) Read(p []byte) (int, error) {
	time.Sleep(500 * time.Millisecond)
	return min(len(p), 64<<10), nil
}

// pastProject makes a clone of acme/widget the working directory, and returns what runs init there.
func pastProject(t *testing.T) (command.Env, func(*pastForge, ...string) (int, string)) {
	t.Helper()
	env := place(t)
	env.Version = "v1.0.0"
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt) // what this begins does not belong to a bubble of synctest
	signal.Stop(signals)
	dir := t.TempDir()
	env.StateDir = func() (string, error) { return dir, nil }
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"remote", "add", "origin", "https://github.com/acme/widget"},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Skipf("%s: %s", err, out)
		}
	}
	return env, func(f *pastForge, args ...string) (int, string) {
		var out bytes.Buffer
		env.Transport, env.Stdout, env.Stderr = f, io.Discard, &out
		_ = os.RemoveAll(filepath.Dir(command.DefaultPolicy))
		code := Main(append([]string{
			"init", "--maintainers", "repository", "--workflow", ".github/workflows/release.yml",
			"--trusted-root", "root.json",
		}, args...), env)
		return code, out.String()
	}
}

const (
	pastAPI   = "repos/acme/widget"
	pastAbout = `{"id":1001,"full_name":"acme/widget","owner":{"id":2002}}`
)

// pastList lists releases as the forge does.
func pastList(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`{"tag_name":"v%d","published_at":"2026-06-01T00:00:00Z"}`, i))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// TestPastHangs: a forge that says nothing, or never ends, takes no more than the time that init
// gives it, is never counted as one that allows something, and the policy is written.
func TestPastHangs(t *testing.T) {
	_, run := pastProject(t)
	files := `{"tag_name":"v0","assets":[{"name":"widget_1"},{"name":"widget_2"}]}`
	const download = "acme/widget/releases/download/v0/widget_1"
	for name, c := range map[string]struct {
		replies map[string]string
		says    string
		within  time.Duration
	}{
		"at once": {map[string]string{pastAPI: ""}, "not judged: it took longer than 20s", pastListing},
		"at the list": {
			map[string]string{pastAPI: pastAbout, pastAPI + "/releases": ""}, "not judged: it took longer than 20s", pastListing,
		},
		"at a release": {
			map[string]string{
				pastAPI: pastAbout, pastAPI + "/releases": pastList(5), pastAPI + "/releases/tags/v0": "",
				pastAPI + "/releases/tags/v1": "", pastAPI + "/releases/tags/v2": "",
			},
			"allows 0; 5 could not be judged", pastTime,
		},
		"at a file": {
			map[string]string{
				pastAPI: pastAbout, pastAPI + "/releases": pastList(5), pastAPI + "/releases/tags/v0": files, download: "",
			}, "allows 0; 5 could not be judged", pastTime,
		},
		"within a file": {
			map[string]string{
				pastAPI: pastAbout, pastAPI + "/releases": pastList(2), pastAPI + "/releases/tags/v0": files, download: "drip",
			}, "allows 0; 2 could not be judged", pastTime,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				code, out := run(&pastForge{replies: c.replies})
				if took := time.Since(began); code != 0 || took > c.within+time.Second || !strings.Contains(out, c.says) {
					t.Errorf("exit %d after %s\n%s", code, took, out)
				}
				if strings.Contains(out, "# since") {
					t.Errorf("something was learned\n%s", out)
				}
			})
		})
	}
}

// TestPastHuge: however much a forge lists, five releases are looked at, each by so many requests.
func TestPastHuge(t *testing.T) {
	_, run := pastProject(t)
	replies := map[string]string{pastAPI: pastAbout, pastAPI + "/releases": pastList(10_000)}
	var assets []string
	for i := range 900 {
		name := fmt.Sprintf("widget_%d.bin", i)
		assets = append(assets, fmt.Sprintf(`{"name":%q}`, name))
		for n := range 6 {
			replies[fmt.Sprintf("acme/widget/releases/download/v%d/%s", n, name)] = "x"
		}
	}
	for n := range 6 {
		replies[fmt.Sprintf("%s/releases/tags/v%d", pastAPI, n)] = fmt.Sprintf(
			`{"tag_name":"v%d","assets":[%s]}`, n, strings.Join(assets, ","))
	}
	f := &pastForge{replies: replies}
	code, out := run(f)
	n := f.asked.Load()
	if code != 0 || n > pastReleases*pastRequests+10 || n < pastReleases*pastRequests ||
		!strings.Contains(out, "last 5 releases") ||
		!strings.Contains(out, "allows 0") {
		t.Errorf("exit %d, asked %d times\n%s", code, n, out)
	}
	replies[pastAPI+"/releases"] = pastList(200_000)
	code, out = run(f)
	if code != 0 || !strings.Contains(out, "were not judged: ") || strings.Contains(out, "of your last") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestPastLarge: a file that is too large to be looked at is not judged, and names that leave no room
// in the policy are left out.
func TestPastLarge(t *testing.T) {
	_, run := pastProject(t)
	replies := map[string]string{
		pastAPI: pastAbout, pastAPI + "/releases": pastList(1),
		pastAPI + "/releases/tags/v0":                   `{"tag_name":"v0","assets":[{"name":"widget_1"}]}`,
		"acme/widget/releases/download/v0/widget_1":     "big",
		"acme/widget/releases/download/v0/widget_1.sig": "big",
	}
	f := &pastForge{replies: replies}
	code, out := run(f)
	if code != 0 || !strings.Contains(out, "allows 0 of 1; 1 could not be judged") {
		t.Errorf("exit %d\n%s", code, out)
	}
	var assets []string
	for i := range 400 {
		name := fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 250))
		assets = append(assets, fmt.Sprintf(`{"name":%q}`, name))
		replies["acme/widget/releases/download/v0/"+name] = "x"
	}
	replies[pastAPI+"/releases/tags/v0"] = `{"tag_name":"v0","assets":[` + strings.Join(assets, ",") + `]}`
	code, out = run(f)
	data, err := os.ReadFile(command.DefaultPolicy)
	if err != nil || code != 0 {
		t.Fatalf("%v, exit %d\n%s", err, code, out)
	}
	if n := strings.Count(string(data), "-xxx"); n == 0 || n > 100 || len(data) > 64<<10 {
		t.Errorf("%d names in %d bytes\n%s", n, len(data), out)
	}
}

// TestFormerAsked: however many names evidence gives to the repository, the forge is asked about few.
func TestFormerAsked(t *testing.T) {
	name := func(s string) policy.Locator {
		l, err := policy.NormalizeLocator("https://github.com/acme/" + s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	f := &pastForge{replies: map[string]string{"repos/acme/last": pastAbout, "repos/acme/first": pastAbout}}
	l := &lookBack{
		initRun: &initRun{app: &app{&command.Run{}}}, forge: fetch.GitHub, net: fetch.Net{Transport: f},
		about: &fetch.About{Repository: name("widget"), ID: "1001", Owner: "2002"},
	}
	l.project.Repository = name("widget")
	for i := range 50 {
		l.former(t.Context(), name(fmt.Sprint("n", i%10)))
	}
	l.former(t.Context(), name("last"))
	if n := f.asked.Load(); n != pastNames || !l.learned.Former.IsZero() {
		t.Errorf("asked %d times, %s", n, l.learned.Former)
	}
	l.asked = nil
	says := func(repository, number string) *repopolicy.Result {
		s := policy.Identity{SourceRepositoryURI: repository, SourceRepositoryID: number}
		return &repopolicy.Result{Evidence: &repopolicy.Evidence{Signer: s}}
	}
	for _, x := range []*repopolicy.Result{
		{}, says("https://github.com/acme/last", "1009"), says("https://github.com/acme/widget", "1001"),
		says("https://codeberg.org/acme/last", "1001"), says("last", "1001"), says("", ""),
	} {
		if l.renamed(t.Context(), x) || f.asked.Load() != pastNames {
			t.Errorf("%+v: asked %d times", x.Evidence, f.asked.Load())
		}
	}
	l.former(t.Context(), name("first"))
	l.former(t.Context(), name("last"))
	if l.learned.Former != name("first") || f.asked.Load() != pastNames+1 {
		t.Errorf("asked %d times, %s", f.asked.Load(), l.learned.Former)
	}
}

// TestRememberRoom: what would not fit into a policy is left out as a whole, and the policy is one.
func TestRememberRoom(t *testing.T) {
	repo, err := policy.NormalizeLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := &initRun{
		app: &app{&command.Run{Err: report.NewPrinter(&out)}}, o: &initOptions{}, proposal: &propose.Proposal{},
		example: propose.Member{Name: "alice", Email: "alice@example.com", Issuer: "https://accounts.google.com"},
		until:   time.Unix(1e9, 0),
	}
	r.project.Repository = repo
	l := &lookBack{initRun: r}
	for i := range 50 {
		r.proposal.Rules = append(r.proposal.Rules, propose.Rule{
			Name: fmt.Sprint("r", i), Workflow: fmt.Sprintf(".github/workflows/%d.yml", i), Tags: []string{"v*"},
			Artifacts: []string{fmt.Sprint("a", i)}, GuessArtifacts: true,
		})
		l.learned.Names = append(l.learned.Names, fmt.Sprint(strings.Repeat("x", 240), i))
	}
	before := r.text(r.example)
	l.remember()
	if after := r.text(r.example); !bytes.Equal(before, after) || !strings.Contains(out.String(), "no room") {
		t.Errorf("%s\n%s", out.String(), after)
	}
	l.learned.Names = l.learned.Names[:1]
	l.remember()
	if after := r.text(r.example); bytes.Equal(before, after) {
		t.Errorf("%s", out.String())
	}
}

// TestJoined: a release is allowed only if each part is, whatever their order, and a denial of one
// is not lost.
func TestJoined(t *testing.T) {
	states := map[string]released{
		"allowed": {}, "denied": {reason: policy.NoEvidence},
		"unread": {reason: policy.ReleaseUnreachable, unread: true},
		"empty":  {reason: policy.DoctorUnread, unread: true, empty: true},
	}
	for _, c := range []struct{ a, b, want string }{
		{"allowed", "allowed", "allowed"}, {"allowed", "denied", "denied"}, {"allowed", "unread", "unread"},
		{"denied", "allowed", "denied"}, {"denied", "denied", "denied"}, {"denied", "unread", "denied"},
		{"unread", "allowed", "unread"}, {"unread", "denied", "denied"}, {"unread", "unread", "unread"},
		{"empty", "allowed", "allowed"}, {"empty", "denied", "denied"}, {"empty", "unread", "unread"},
	} {
		got, want := joined(states[c.a], states[c.b]), states[c.want]
		if got.reason != want.reason || got.unread != want.unread || got.empty != want.empty {
			t.Errorf("%s and %s: %+v", c.a, c.b, got)
		}
	}
}

// TestElsewhere: which packages and images belong to a tag; what a rule guesses, or names by a
// pattern that is open elsewhere than in the version, is none.
func TestElsewhere(t *testing.T) {
	for _, c := range []struct{ tags, prefix, artifact, tag, want string }{
		{`["v*"]`, "", "pkg:npm/widget@*", "v1.2.3", "[[pkg:npm/widget@1.2.3]]"},
		{`["v*"]`, "", "pkg:npm/%40acme/widget@*", "v1.2.3", "[[pkg:npm/%40acme/widget@1.2.3]]"},
		{`["widget@*"]`, "widget@", "pkg:npm/widget@*", "widget@1.2.3", "[[pkg:npm/widget@1.2.3]]"},
		{
			`["v*"]`, "", "ghcr.io/acme/widget", "v1.2.3",
			"[[oci://ghcr.io/acme/widget:v1.2.3 oci://ghcr.io/acme/widget:1.2.3]]",
		},
		{`["v*"]`, "", "pkg:npm/widget@*", "nightly", "[]"},
		{`["v*"]`, "", "pkg:npm/widget@*", "vnext", "[]"},
		{`["widget@*"]`, "", "pkg:npm/widget@*", "widget@1.2.3", "[]"},
		{`["v*"]`, "", "pkg:npm/widget*@*", "v1.2.3", "[]"},
		{`["v*"]`, "", "pkg:npm/widget*", "v1.2.3", "[]"},
		{`["v*"]`, "", "ghcr.io/acme/*", "v1.2.3", "[]"},
		{`["v*"]`, "", "widget_*", "v1.2.3", "[]"},
	} {
		text := strings.Replace(strings.Replace(testPolicy, `"widget_*"`, fmt.Sprintf("%q", c.artifact), 1),
			`tags = ["v*"]`, "tags = "+c.tags, 1)
		if c.prefix != "" {
			text += fmt.Sprintf("tag-prefix = %q\n", c.prefix)
		}
		doc, err := policy.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		l := &lookBack{initRun: &initRun{proposal: &propose.Proposal{Rules: []propose.Rule{{}}}}, rules: doc.Content().Rules}
		if got := fmt.Sprint(l.elsewhere(c.tag)); got != c.want {
			t.Errorf("%s of %s: %s", c.artifact, c.tag, got)
		}
		l.proposal.Rules[0].GuessArtifacts = true
		if got := l.elsewhere(c.tag); got != nil {
			t.Errorf("a guess: %s", got)
		}
	}
}

// TestPastOtherAddress: a tag whose page reads like the address of something else is not judged
// as that.
func TestPastOtherAddress(t *testing.T) {
	repo, err := policy.NormalizeLocator("https://gitlab.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	r := judgeRelease(t.Context(), nil, nil, fetch.Address{Repository: repo, Tag: "v1/downloads/x"}, fetch.GitLab)
	if !r.unread || r.reason != policy.DoctorUnread || !strings.Contains(r.text, "reads like") {
		t.Errorf("%+v", r)
	}
	for tag, want := range map[string]string{
		"v1.2.3": "/releases/tag/v1.2.3", "v1;id": "/releases/tag/TAG", "$(id)": "/releases/tag/TAG",
		"a&b": "/releases/tag/TAG", "x/v1": "/releases/tag/x/v1", "v1'": "/releases/tag/TAG",
	} {
		r := released{at: fetch.Address{Repository: repo, Tag: tag}}
		r.page = r.at.Page(fetch.GitHub)
		if got := r.explain(); got != "repopolicy explain https://gitlab.com/acme/widget"+want {
			t.Errorf("%s: %s", tag, got)
		}
	}
}

// TestSameButComments: a run that was interrupted goes on whatever comments it wrote, and with no
// other policy.
func TestSameButComments(t *testing.T) {
	with := strings.Replace(testPolicy, "[[release]]", "# formerly = 1\n[[release]] # x", 1)
	for _, c := range []struct {
		text string
		want bool
	}{
		{testPolicy, true},
		{with, true},
		{strings.Replace(testPolicy, "widget_*", "widget_#*", 1), false},
		{strings.Replace(testPolicy, "widget_*", "*", 1), false},
		{strings.Replace(testPolicy, "alice@", "mallory@", 1), false},
		{testPolicy + "since = 2026-01-01T00:00:00Z\n", false},
		{testPolicy + "overlaps = true\n", false},
		{testPolicy + "[[release.x]]\n", false},
		{"", false},
	} {
		if got := sameButComments([]byte(testPolicy), []byte(c.text)); got != c.want {
			t.Errorf("%v:\n%s", got, c.text)
		}
	}
}
