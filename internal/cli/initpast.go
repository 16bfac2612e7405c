// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what init looks at of the past.
const (
	pastReleases = 5
	pastTime     = time.Minute
	pastListing  = 20 * time.Second // of that, for what the forge says of the repository
	pastRequests = 500              // for one release
	pastBytes    = 256 << 20        // of one file
	pastTags     = 50               // whose taggers are counted
	pastFiles    = 500              // whose names are kept
	pastDenied   = 3                // files of a release that are named
	pastNames    = 3                // about which the forge is asked whether they are former ones
)

// lookBack is a look at the last releases of a project by the policy that is proposed.
type lookBack struct {
	*initRun
	forge   fetch.Forge
	net     fetch.Net
	about   *fetch.About     // nil if the forge did not say
	asked   []policy.Locator // whether they are former names
	list    []fetch.Published
	judged  []released
	numbers map[string]string // by tag: why what the rules allow counts for nothing
	rules   []policy.Rule     // that are proposed
	learned propose.Past
}

// past judges the last releases by what is proposed, and says so before anything is asked,
// written or signed. What it finds are comments of the policy; nothing of it changes a rule.
func (r *initRun) past(ctx context.Context) error {
	if !r.fresh {
		return nil
	}
	if r.o.Offline {
		r.Err.Line("note: the last releases were not judged: off-line")
		return nil
	}
	part, cancel := command.Part(ctx, pastTime, pastRequests)
	defer cancel()
	l := &lookBack{
		initRun: r, forge: forgeOf(r.project.Repository, r.sources), net: r.netOf(r.sources),
		numbers: map[string]string{}, learned: propose.Past{Since: map[string]time.Time{}},
	}
	r.Err.Line("looking at the last releases of %s, for at most %s; --offline leaves that out",
		r.project.Repository, pastTime)
	if err := l.listing(part); err != nil {
		if f := (*policy.Fault)(nil); errors.As(err, &f) {
			return f
		}
		if ctx.Err() == nil {
			r.Err.Line("note: the last releases were not judged: %s", err)
			return nil
		}
		return context.Cause(ctx)
	}
	l.judge(part)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.report()
	l.remember()
	return nil
}

// listing asks the forge about the repository, its former name and its releases. The error is a
// [*policy.Fault] if the policy would be about another repository than the forge's.
func (l *lookBack) listing(ctx context.Context) (err error) {
	ctx, cancel := command.Part(ctx, pastListing, pastRequests)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	repo := l.project.Repository
	l.about, err = fetch.Lookup(ctx, repo, l.forge, l.net)
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.net.Token == "":
		return fmt.Errorf("%w; the token of --github-token may see a private repository", err)
	case err != nil:
		return err
	}
	if now := l.about.Repository; now != repo {
		f := &policy.Fault{
			Reason: policy.Usage,
			Text:   fmt.Sprintf("which repository? The forge calls %s now %s, and that is what certificates say", repo, now),
			Hint:   "name it with --repo",
		}
		if plainWord(now.String()) {
			f.Hint += " " + now.String()
		}
		return f
	}
	l.former(ctx, l.origin)
	l.list, err = fetch.Releases(ctx, repo, l.forge, pastReleases, l.net)
	return err
}

// former remembers a name from which the forge sends its visitors on to the repository, by its
// number.
func (l *lookBack) former(ctx context.Context, name policy.Locator) {
	repo := l.project.Repository
	if name.IsZero() || name == repo || name.Host() != repo.Host() || !l.learned.Former.IsZero() ||
		slices.Contains(l.asked, name) || len(l.asked) == pastNames {
		return
	}
	l.asked = append(l.asked, name)
	if was, err := fetch.Lookup(ctx, name, l.forge, l.net); err == nil && *was == *l.about {
		l.learned.Former = name
	}
}

// judge judges the releases, the newest first.
func (l *lookBack) judge(ctx context.Context) {
	const what = "judging past releases"
	c, err := l.client(&verifyOptions{Lookup: l.o.Lookup, quiet: true})
	var p *repopolicy.Policy
	if err == nil {
		c.Sources = l.sources
		c.Sources.MaxBytes = pastBytes
		p, err = c.Pinned(ctx, bindings.PolicyFile, l.text(l.example))
	}
	if err == nil {
		l.rules = p.Document().Content().Rules
	}
	for i, listed := range l.list {
		at := fetch.Address{Repository: l.project.Repository, Tag: listed.Tag}
		r := released{at: at, page: at.Page(l.forge)}
		l.Meter().Tell(what, command.Releases, int64(i), int64(len(l.list)))
		if err != nil {
			r.fail(err)
		} else {
			r = l.one(ctx, c, p, at)
		}
		l.judged = append(l.judged, r)
		l.learn(ctx, r, listed.Author)
	}
	l.Meter().Done(what)
}

// one judges one release, its files and what its rules release elsewhere, unless the time is up.
func (l *lookBack) one(ctx context.Context, c *repopolicy.Client, p *repopolicy.Policy, at fetch.Address) released {
	ctx, cancel := command.Part(ctx, pastTime, pastRequests)
	defer cancel()
	r := released{at: at, page: at.Page(l.forge)}
	if ctx.Err() == nil {
		r = judgeRelease(ctx, c, p, at, l.forge)
	}
	for _, names := range l.elsewhere(at.Tag) {
		r = joined(r, inRegistry(ctx, c, p, at, names))
	}
	if ctx.Err() != nil {
		r.reason, r.text, r.unread, r.entries = policy.DoctorUnread, context.Cause(ctx).Error(), true, nil
	}
	return r
}

// inRegistry judges a package or image by the first of its names that the registry knows.
func inRegistry(
	ctx context.Context, c *repopolicy.Client, p *repopolicy.Policy, at fetch.Address, names []string,
) (r released) {
	for _, name := range names {
		r = released{at: at, page: name}
		if r.judge(ctx, c, p, repopolicy.Artifact(name), repopolicy.Tag(at.Tag)); !r.unread {
			break
		}
	}
	return r
}

// joined returns what is to be said of two parts of a release: a denial before all, and that it is
// allowed only if both parts are.
func joined(a, b released) released {
	out := a
	if a.empty || b.reason != "" && (a.reason == "" || a.unread && !b.unread) {
		out = b
	}
	out.at, out.page = a.at, a.page
	out.entries = slices.Concat(a.entries, b.entries)
	if a.empty {
		out.entries = b.entries
	}
	return out
}

// elsewhere returns the packages and images of a tag whose names the rules say, each with the
// names that it may have in its registry. A guess is not judged.
func (l *lookBack) elsewhere(tag string) (out [][]string) {
	for i := range l.rules {
		r := &l.rules[i]
		if l.proposal.Rules[i].GuessArtifacts || !r.Tags.Match(tag) {
			continue
		}
		version, ok := strings.CutPrefix(tag, r.TagPrefix)
		if version = strings.TrimPrefix(version, "v"); !ok || version == "" || version[0] < '0' || version[0] > '9' {
			continue
		}
		for _, p := range r.Artifacts.Patterns() {
			s := p.String()
			stem, open := strings.CutSuffix(s, "@*")
			host, _, path := strings.Cut(s, "/")
			switch {
			case open && strings.HasPrefix(s, "pkg:npm/") && !strings.Contains(stem, "*"):
				out = append(out, []string{stem + "@" + version})
			case path && strings.Contains(host, ".") && !strings.Contains(s, "*"):
				out = append(out, []string{"oci://" + s + ":" + tag, "oci://" + s + ":" + version})
			}
		}
	}
	return out
}

// otherNumbers returns why what the rules allow will be denied once the policy is bound, which pins
// the numbers of repository and owner; "" if it will not.
func (l *lookBack) otherNumbers(x *repopolicy.Result) string {
	if x == nil || x.Class() != policy.ClassOK || x.Evidence == nil {
		return ""
	}
	s := x.Evidence.Signer
	for _, n := range []struct{ what, theirs, ours string }{
		{"repository", s.SourceRepositoryID, l.about.ID}, {"owner", s.SourceRepositoryOwnerID, l.about.Owner},
	} {
		if n.theirs != "" && n.ours != "" && n.theirs != n.ours {
			return fmt.Sprintf("%s was signed for the %s with the number %s, and the forge says %s",
				fileOf(x), n.what, n.theirs, n.ours)
		}
	}
	return ""
}

// learn keeps what a release suggests, and who published it.
func (l *lookBack) learn(ctx context.Context, r released, who string) {
	if who != "" && !strings.HasSuffix(who, "[bot]") && !slices.Contains(l.learned.Publishers, who) {
		l.learned.Publishers = append(l.learned.Publishers, who)
	}
	if r.unread {
		return
	}
	adopt := propose.Adoptable{Tag: r.at.Tag}
	for _, e := range r.entries {
		if e.Result == nil || e.Fate != "judged" {
			continue
		}
		if l.file(ctx, r.at.Tag, e.Result) {
			adopt.Files = append(adopt.Files, propose.AdoptableFile{Name: fileOf(e.Result), Digest: sha256Of(e.Result)})
		}
	}
	if len(adopt.Files) > 0 {
		l.learned.Adoptable = append(l.learned.Adoptable, adopt)
	}
}

// file keeps what a file suggests, and reports whether it could be adopted: no rule allows it, and
// nothing else than that it has no evidence, or evidence under a former name, is against it.
func (l *lookBack) file(ctx context.Context, tag string, x *repopolicy.Result) (adoptable bool) {
	name := propose.NamePattern(fileOf(x), tag)
	isFile := fileOf(x) != x.Artifact
	if isFile && len(l.learned.Names) < pastFiles && !slices.Contains(l.learned.Names, name) {
		l.learned.Names = append(l.learned.Names, name)
	}
	switch other := l.otherNumbers(x); {
	case other != "":
		l.numbers[tag] = cmp.Or(l.numbers[tag], other)
	case x.Class() == policy.ClassOK:
		l.since(x)
	default:
		return sha256Of(x) != "" && (x.Decision.Reason == policy.NoEvidence || l.renamed(ctx, x))
	}
	return false
}

// since remembers when the oldest evidence was made that a rule allows.
func (l *lookBack) since(x *repopolicy.Result) {
	if x.Evidence == nil || x.Decision.Rule == "" {
		return
	}
	for _, t := range x.Evidence.Times {
		if at := l.learned.Since[x.Decision.Rule]; at.IsZero() || t.Time.Before(at) {
			l.learned.Since[x.Decision.Rule] = t.Time
		}
	}
}

// renamed reports whether evidence says that it is of the same repository, by its number, under a
// name that the forge says it had before.
func (l *lookBack) renamed(ctx context.Context, x *repopolicy.Result) bool {
	e := x.Evidence
	if e == nil || e.Signer.SourceRepositoryID != l.about.ID {
		return false
	}
	name, err := policy.NormalizeLocator(e.Signer.SourceRepositoryURI)
	if err != nil || name == l.project.Repository {
		return false
	}
	l.former(ctx, name)
	return name == l.learned.Former
}

// sha256Of returns the SHA-256 of what was judged; "" if it is not known.
func sha256Of(x *repopolicy.Result) string {
	for _, d := range x.Digests {
		if d.Alg == "sha256" {
			return d.String()
		}
	}
	return ""
}

// fileOf returns the name of a file of a release.
func fileOf(x *repopolicy.Result) string {
	if at, err := fetch.ParseAddress(x.Artifact); err == nil && at.File != "" {
		return at.File
	}
	return x.Artifact
}

// report says what the proposal makes of the last releases.
func (l *lookBack) report() {
	allowed, unread := 0, 0
	for _, r := range l.judged {
		switch {
		case r.unread:
			unread++
		case r.reason == "" && l.numbers[r.at.Tag] == "":
			allowed++
		}
	}
	for _, p := range l.unjudged() {
		l.Err.Line("note: %s was not judged: its name in the registry is not known", p)
	}
	if len(l.judged) == 0 {
		l.Err.Line("the forge lists no releases: nothing of the past was judged")
		return
	}
	text := fmt.Sprintf("of your last %d releases this policy allows %d", len(l.judged), allowed)
	if len(l.judged) == 1 {
		text = fmt.Sprintf("of your last release this policy allows %d of 1", allowed)
	}
	if allowed > 0 && l.proposal.Since.IsZero() {
		text += " if its rules say since, and none without"
	}
	if unread > 0 {
		text += fmt.Sprintf("; %d could not be judged", unread)
	}
	l.Err.Line("%s", text)
	for _, r := range l.judged {
		l.sayDenied(r)
	}
	if unread > 0 && l.net.Token == "" && l.forge == fetch.GitHub {
		l.Err.Line("hint: GitHub answers more often if it sees the token of --github-token")
	}
}

// sayDenied says why a release is not allowed, with the files and the identity that was seen.
func (l *lookBack) sayDenied(r released) {
	if other := l.numbers[r.at.Tag]; other != "" {
		l.Err.Line("  %s is denied once this policy is bound: %s", r.at.Tag, other)
	}
	if r.reason == "" {
		return
	}
	if r.unread {
		code := ""
		if r.reason != policy.DoctorUnread {
			code = fmt.Sprintf(" [%s]", r.reason)
		}
		l.Err.Line("  %s could not be judged: %s%s", r.at.Tag, r.text, code)
		return
	}
	n := 0
	for _, e := range r.entries {
		x := e.Result
		if x == nil || x.Class() == policy.ClassOK {
			continue
		}
		if n++; n > pastDenied {
			continue
		}
		verb := "is denied"
		if x.Class() == policy.ClassUnavailable {
			verb = "could not be judged"
		}
		l.Err.Line("  %s %s: %s [%s]", r.at.Tag, verb, why(fileOf(x), x), x.Decision.Reason)
		if v := x.Evidence; v != nil && v.Signer.Value != "" {
			how := "by its own words, which were not verified: "
			if v.Verified {
				how = "signed by "
			}
			l.Err.Line("    %s%s, certified for %s", how, v.Signer.Value, cmp.Or(v.Signer.Issuer, "nobody"))
		}
	}
	if n > pastDenied {
		l.Err.Line("  %s: and %d more files", r.at.Tag, n-pastDenied)
	}
}

// unjudged returns what rules allow that is in a registry and was judged for no release.
func (l *lookBack) unjudged() []string {
	return slices.DeleteFunc(unlisted(&policy.File{Rules: l.rules}), func(pattern string) bool {
		stem := strings.TrimSuffix(pattern, "@*")
		return slices.ContainsFunc(l.list, func(p fetch.Published) bool {
			return slices.ContainsFunc(l.elsewhere(p.Tag), func(names []string) bool {
				return strings.HasPrefix(names[0], stem+"@") || strings.HasPrefix(names[0], stem+":")
			})
		})
	})
}

// remember adds what was learned to the proposal, if the policy still is one that can be read.
func (l *lookBack) remember() {
	before := *l.proposal
	l.proposal.Remember(l.learned)
	if _, err := policy.Parse(l.text(l.example)); err != nil {
		*l.proposal = before
		l.Err.Line("note: there is no room in the policy for what the last releases suggest: %s", err)
		return
	}
	for _, f := range l.proposal.Findings {
		l.Err.Line("%s", f)
	}
}

// taggers returns who made the newest annotated tags, as they call themselves.
func taggers(repo *git.Repository, tags []string) (out []string) {
	for _, tag := range tags[max(len(tags)-pastTags, 0):] {
		id, err := repo.Ref("refs/tags/" + tag)
		if err != nil {
			continue
		}
		t, content, err := repo.Object(id)
		if err != nil || t != git.Tag {
			continue
		}
		o, err := git.ParseTag(content)
		if err != nil {
			continue
		}
		_, address, _ := strings.Cut(o.Tagger, "<")
		if address, _, _ = strings.Cut(address, ">"); address != "" && !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}
