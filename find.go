// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Policy is what artifacts are judged by: the policy that a repository bound, as it is known
// under each of the roots that speak for it, or one that the caller names. Only a [Client]
// makes one.
type Policy struct {
	repo   policy.Locator
	under  []*found // at least one; each judges alone
	demand int      // how many of them have to allow
	joined []*found // under each root that the user's map joins, where those are several
	roots  []string // names of what is trusted, where no root was opened yet

	pinned  *policy.Document     // that the caller named; nil for one that was found
	path    string               // of the file with it
	trusted *policy.Trusted      // of a signer alone, or of a trust root
	byName  bool                 // the trust root is named as in the user's map
	signer  *policy.FlagIdentity // the one signer to accept, too; nil for any
	// again finds the policy once more, by a question that is changed; nil if it was not found.
	again func(context.Context, func(*find.Query)) (*Policy, error)
}

// found is a policy under one root.
type found struct {
	*find.Found        // nil where no repository was asked
	name        string // of the root in the user's map; "" for none
	open        func(context.Context) ([]trust.Root, error)
	scope       *scope        // that names the root; nil for none
	introduces  bool          // the root may let another one judge the repository
	unbound     *find.Unbound // what is judged by where no policy is bound; nil for the policy
	first       *find.Found   // what a directory said before it was asked again; nil if it was not
}

// errZero is that a policy or option is used that nobody made.
var errZero = policy.Faultf(policy.Usage, "the zero value of a policy or option means nothing")

// made reports whether a client made the policy.
func (p *Policy) made() bool { return p != nil && len(p.under) > 0 }

// FindOption says where a repository's policy is read from, or which one is meant.
type FindOption struct{ set func(*find.Query) error }

// Clone lets the policy be read from a clone in a directory instead of the forge.
func Clone(dir string) FindOption {
	return FindOption{func(q *find.Query) error { q.Clone = dir; return nil }}
}

// From lets the policy be read from a registry (oci:HOST/NAME:TAG) or a layout
// (oci-layout:DIR) instead of the forge.
func From(reference string) FindOption {
	return FindOption{func(q *find.Query) error {
		ref, err := oci.ParseReference(reference)
		if err != nil {
			return &policy.Fault{
				Reason: policy.Usage, Text: "--from: " + err.Error(),
				Hint: "write it like oci:registry.example.com/acme/widget:policy",
			}
		}
		q.From = &ref
		return nil
	}}
}

// Pin demands that the repository's first statement has this digest, sha256:HEX.
func Pin(digest string) FindOption {
	return FindOption{func(q *find.Query) error {
		if d, err := policy.ParseDigest(digest); err != nil || d.Alg != "sha256" {
			return policy.Faultf(policy.Usage, "--pin: not a digest like sha256:…")
		}
		q.Pin = strings.TrimPrefix(digest, "sha256:")
		return nil
	}}
}

// Lock demands what a lock file names. One of a repository without a policy (SPEC 9.3) demands that a
// policy which was bound since is of the same repository and owner; where there is still none it says
// which workflows may have signed, and allows nothing unless the client's Unbound does.
func Lock(data []byte) FindOption {
	return FindOption{func(q *find.Query) (err error) {
		if q.Lock != nil {
			return policy.Faultf(policy.Usage, "--lock: two lock files")
		}
		if q.Lock, err = find.ParseLock(data); err != nil {
			return policy.Faultf(policy.Usage, "--lock: %s", err)
		}
		return nil
	}}
}

// Staple uses an answer of the directory instead of asking it, whatever its age.
func Staple(answer []byte) FindOption {
	return FindOption{func(q *find.Query) error { q.Staple = append([]byte{}, answer...); return nil }}
}

// Carried judges by what a file of export-bundle carries, without a network.
func Carried(data []byte) FindOption {
	return FindOption{func(q *find.Query) (err error) {
		if q.Carried, err = airgap.Parse(data); err != nil {
			return policy.Faultf(policy.Usage, "--airgap: %s", err)
		}
		q.Offline = true
		return nil
	}}
}

// Find finds the policy that a repository bound, which is named like
// https://github.com/acme/widget, github.com/acme/widget or acme/widget. An error is a
// [*policy.Fault] whose reason says why there is no policy to judge by: none is bound, it
// expired, an alarm decides, a service gave no answer. Other errors are those of this machine.
func (c *Client) Find(ctx context.Context, repository string, options ...FindOption) (*Policy, error) {
	ctx, done := within(ctx)
	defer done()
	repo, err := policy.NormalizeLocator(withScheme(repository))
	if err != nil {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--repo: " + err.Error(),
			Hint: "write it like https://github.com/acme/widget or acme/widget",
		}
	}
	if err := c.past(); err != nil {
		return nil, err
	}
	if c.Unbound != "" && c.Unbound != "repository" {
		return nil, policy.Faultf(policy.Usage, "--unbound: the only word for what is allowed is \"repository\"")
	}
	q, err := c.query(repo)
	if err != nil {
		return nil, err
	}
	for _, o := range options {
		if o.set == nil {
			return nil, errZero
		}
		if err := o.set(q); err != nil {
			return nil, err
		}
	}
	if q.Carried != nil && !c.AsOf.IsZero() {
		q.Moment = c.AsOf
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	p, err := c.find(ctx, q)
	if err != nil {
		return nil, err
	}
	p.again = func(ctx context.Context, change func(*find.Query)) (*Policy, error) {
		next := *q
		change(&next)
		return c.find(ctx, &next)
	}
	return p, nil
}

// withScheme adds the scheme to a name that begins with a host, as import paths do. On the
// command line it is an error (SPEC 2), since a path of this machine may look so.
func withScheme(repository string) string {
	host, path, _ := strings.Cut(repository, "/")
	named := strings.Contains(host, ".") && !strings.Contains(host, ":") && strings.Trim(host, ".") == host
	if named && strings.Contains(path, "/") {
		return "https://" + repository
	}
	return repository
}

// query returns the question for a repository that the client's fields make.
func (c *Client) query(repo policy.Locator) (*find.Query, error) {
	q := &find.Query{
		Repository: repo, Trust: c.trust(), Demand: chain.Demand{FailOnAlarm: c.FailOnAlarm}, MaxAge: c.MaxAge, Scan: c.Scan,
		Offline: c.Offline, AtHand: c.Git != nil, Timeless: !c.AsOf.IsZero(),
	}
	var err error
	if c.Require != "" {
		if q.Demand, err = q.Demand.ParseRequire(c.Require); err != nil {
			return nil, policy.Faultf(policy.Usage, "--require: %s", err)
		}
	}
	if c.Directory != nil {
		if q.Directory, err = answers.ParseDescriptor(c.Directory); err != nil {
			return nil, policy.Faultf(policy.Usage, "--directory: %s", err)
		}
		q.DirectoryFile = c.DirectoryFile
	}
	if c.Witnesses != nil {
		if q.Witnesses, err = rekor.ParseWitnessPolicy(c.Witnesses); err != nil {
			return nil, policy.Faultf(policy.Usage, "--witness-policy: %s", err)
		}
		q.Scan = true
	}
	return q, nil
}

func (c *Client) trust() find.Trust {
	return find.Trust{Files: c.TrustedRoots, Name: c.TrustRoot, Config: c.TrustConfig}
}

// find finds a policy under each root that speaks for its repository.
func (c *Client) find(ctx context.Context, q *find.Query) (*Policy, error) {
	var asked []*found
	p, err := c.underRoots(ctx, &Policy{repo: q.Repository}, q, func(ctx context.Context, f *found) error {
		asked = append(asked, f)
		under := *q
		if f.name != "" {
			under.Root = func(ctx context.Context) (trust.Root, error) {
				roots, err := f.open(ctx)
				if err != nil {
					return trust.Root{}, err
				}
				return roots[0], nil
			}
		}
		err := c.usable(ctx, f, &under)
		if c.Unbound == "" || reasonOf(err) != policy.NoBinding || !f.Proved() || q.Offline {
			return err
		}
		// A directory that is silent about a binding is asked itself, and the logs' index beside it.
		f.first, under.Beyond, under.Index = f.Found, true, true
		return c.usable(ctx, f, &under)
	})
	if c.Unbound != "" && reasonOf(err) == policy.NoBinding {
		return c.withoutPolicy(q, asked, err)
	}
	return p, err
}

// usable finds a policy under one root. The error says why it cannot be judged by.
func (c *Client) usable(ctx context.Context, f *found, q *find.Query) (err error) {
	if f.Found, err = c.finder(ctx).Find(ctx, q); err != nil {
		return err
	}
	c.say(f.Warnings(c.now())...)
	return f.Usable(c.now())
}

// withoutPolicy returns what a repository is judged by of which the look-ups say that no policy
// is bound (SPEC 9.3), or else that there is none, and why it stays at that.
func (c *Client) withoutPolicy(q *find.Query, asked []*found, none error) (*Policy, error) {
	why := errors.New("several trusted roots were asked")
	if len(asked) == 1 {
		f := *asked[0]
		if f.unbound, why = f.Unbound(c.now()); why == nil {
			return &Policy{repo: q.Repository, under: []*found{&f}, demand: 1}, nil
		}
	}
	var f *policy.Fault
	errors.As(none, &f)
	return nil, &policy.Fault{
		Reason: f.Reason, Text: fmt.Sprintf("%s; --unbound %s does not apply: %s", f.Text, c.Unbound, why), Hint: f.Hint,
	}
}

// Pinned returns a policy that the caller has at hand, as the text of its file. It is trusted as
// it is: who may have written it is not asked. Path is what it is called in messages.
func (c *Client) Pinned(ctx context.Context, path string, text []byte) (*Policy, error) {
	doc, err := policy.Parse(text)
	if err != nil {
		return nil, parseFault(path, err)
	}
	p := &Policy{repo: doc.Content().Repository, pinned: doc, path: path, roots: c.rootNames()}
	q := &find.Query{Repository: p.repo, Trust: c.trust(), Offline: c.Offline}
	return c.underRoots(ctx, p, q, func(ctx context.Context, f *found) error {
		if !f.introduces {
			return nil
		}
		_, err := f.open(ctx) // who judges has to be said
		return find.RootFault(err)
	})
}

// Signer returns what allows one signer alone: an exact e-mail address or URI, certified for
// an issuer.
func (c *Client) Signer(identity, issuer string) (*Policy, error) {
	t, err := policy.FlagIdentity{Identity: identity, Issuer: issuer, SetOnly: true}.Trusted()
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	return &Policy{trusted: t, demand: 1, under: []*found{{open: c.anyRoots}}, roots: c.rootNames()}, nil
}

// Root returns what allows the files that a trust root lists now: the one of this name in the
// user's map, or "public-good". Target is the path under which the one file is listed; "" for
// files that are listed under their names. No signature is looked for.
func (c *Client) Root(ctx context.Context, name, target string) (*Policy, error) {
	where := c.trust()
	config, err := c.finder(ctx).TrustConfig(&where)
	if err != nil {
		return nil, err
	}
	if _, ok := config.Root(name); !ok && name != string(trust.PublicGood) {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: fmt.Sprintf("--tuf: no root %q is configured", name),
			Hint: "name public-good, or list it as a [[root]] of trust.toml",
		}
	}
	t, err := policy.FlagIdentity{Target: &policy.RootTarget{Root: name, Path: target}}.Trusted()
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	roots := func(context.Context) ([]trust.Root, error) {
		return nil, policy.Faultf(policy.TrustRootMissing, "no signature is judged by what a root lists")
	}
	return &Policy{
		trusted: t, byName: true, demand: 1, under: []*found{{open: roots}}, roots: []string{name},
	}, nil
}

func (c *Client) anyRoots(ctx context.Context) ([]trust.Root, error) {
	t := c.trust()
	return c.finder(ctx).AnyRoots(ctx, &t, trust.Options{Offline: c.Offline})
}

// rootNames returns how what is trusted is called where no root of the user's map is asked.
func (c *Client) rootNames() []string {
	if len(c.TrustedRoots) > 0 {
		return c.TrustedRoots
	}
	return []string{cmp.Or(c.TrustRoot, string(trust.PublicGood))}
}

func parseFault(path string, err error) error {
	pe, ok := err.(*policy.ParseError)
	if !ok {
		return err
	}
	reason := pe.Reason()
	if reason == policy.PolicyNewerFormat {
		reason = policy.NeedsNewerVersion
	}
	f := policy.Faultf(reason, "%s:%s", path, pe)
	if f.Hint = pe.Problems[0].Hint; f.Hint == "" {
		f.Hint = "`repopolicy check` lists every fault"
	}
	return f
}

// finding finds a policy under one root.
type finding func(context.Context, *found) error

// underRoots finds a policy under each root of the user's map that speaks for its
// repository, or else under the root or roots that the client's fields name.
func (c *Client) underRoots(ctx context.Context, p *Policy, q *find.Query, one finding) (*Policy, error) {
	scopes, config, err := c.finder(ctx).Scopes(&q.Trust, q.Repository)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		f := &found{open: c.anyRoots}
		p.under, p.demand = []*found{f}, 1
		return p, one(ctx, f)
	}
	for _, s := range scopes {
		next := *p
		var unknown bool
		switch unknown, err = c.inScope(ctx, &next, q, config, s, one); {
		case !s.Continue || !unknown:
			return &next, err
		case (q.Offline || q.Staple != nil) && q.MaxAge == 0: // whoever has an old answer would choose the root
			return nil, &policy.Fault{
				Reason: policy.NoBinding, Text: err.Error(),
				Hint: "the next scope is not asked on account of an answer of any age: " +
					"name the root with --trust-root, or give --max-age",
			}
		}
		c.say(fmt.Sprintf("note: under %s: %s", strings.Join(s.Roots, ", "), err))
	}
	return nil, err
}

// inScope finds a policy under each root of a scope. A root that gives none counts as one
// that does not allow; of several such the worst is the error, and that there is no policy
// only if nothing else is wrong. Unknown says that none of the roots knows one: a root that
// gave no answer might, and dropping its answer must not leave the scope.
func (c *Client) inScope(
	ctx context.Context, p *Policy, q *find.Query, config *trust.Config, s trust.Scope, one finding,
) (unknown bool, err error) {
	var failed []error
	var all []*found
	opened := &scope{}
	for _, name := range s.Roots {
		f := c.named(config, q, name, opened)
		all = append(all, f)
		err := one(ctx, f)
		switch {
		case err == nil:
			p.under = append(p.under, f)
			continue
		case len(s.Roots) > 1:
			c.say(fmt.Sprintf("note: under %s: %s", name, err))
		}
		failed = append(failed, err)
	}
	if len(p.under) < s.Threshold {
		silent := func(err error) bool { return classOf(err) == policy.ClassNoPolicy }
		others := slices.DeleteFunc(slices.Clone(failed), silent)
		if len(others) == 0 {
			return len(p.under) == 0, failed[0]
		}
		return false, slices.MaxFunc(others, func(a, b error) int { return cmp.Compare(classOf(a), classOf(b)) })
	}
	if p.demand = s.Threshold; len(s.Roots) > 1 {
		p.joined = all
	}
	return false, nil
}

// scope are the roots of a scope of the user's map that were opened, by their names there.
type scope struct {
	mu    sync.Mutex
	roots map[string]trust.Root
}

// root returns a root of the scope, which is opened once, when it is first needed. One that
// another root introduced does not count beside itself.
func (s *scope) root(name string, open func() (trust.Root, error)) ([]trust.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.roots[name]; ok {
		return []trust.Root{r}, nil
	}
	r, err := open()
	if err != nil {
		return nil, err
	}
	for _, other := range slices.Sorted(maps.Keys(s.roots)) {
		o := s.roots[other]
		if len(r.By)+len(o.By) > 0 && r.Is(o) {
			return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: fmt.Errorf(
				"root %s: it is the root %s of the same scope, or has its certificate authority, and counts once", r.Name(),
				o.Name())}
		}
	}
	if s.roots == nil {
		s.roots = map[string]trust.Root{}
	}
	s.roots[name] = r
	return []trust.Root{r}, nil
}

// label returns what the root is called that judges: it says who introduced it.
func (f *found) label() string {
	if f.scope == nil {
		return f.name
	}
	f.scope.mu.Lock()
	defer f.scope.mu.Unlock()
	if r := f.scope.roots[f.name]; len(r.By) > 0 {
		return r.Name()
	}
	return f.name
}

// named returns a root of the map, or what judges in its place.
func (c *Client) named(config *trust.Config, q *find.Query, name string, s *scope) *found {
	return &found{
		name: name, scope: s, introduces: config.Introduces(name, q.Repository),
		open: func(ctx context.Context) ([]trust.Root, error) {
			return s.root(name, func() (trust.Root, error) { return c.finder(ctx).OpenRoot(ctx, config, name, q) })
		},
	}
}

// classOf returns the class of an error: INTERNAL for one of this machine.
func classOf(err error) policy.Class { return reasonOf(err).Class() }

// reasonOf returns the reason of an error, internal for one of this machine.
func reasonOf(err error) policy.Reason {
	var f *policy.Fault
	if errors.As(err, &f) {
		return f.Reason
	}
	return policy.Internal
}

// Only lets a policy allow nobody but one signer, as [Client.Signer] names one.
func (p *Policy) Only(identity, issuer string) (*Policy, error) {
	if !p.made() {
		return nil, errZero
	}
	if _, err := (policy.FlagIdentity{Identity: identity, Issuer: issuer, SetOnly: true}).Trusted(); err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	next := *p
	next.signer = &policy.FlagIdentity{Identity: identity, Issuer: issuer}
	if p.again != nil {
		next.again = func(ctx context.Context, change func(*find.Query)) (*Policy, error) {
			q, err := p.again(ctx, change)
			if err != nil {
				return nil, err
			}
			return q.Only(identity, issuer)
		}
	}
	return &next, nil
}

// Repository returns the URL of the repository that the policy is about; "" for none.
func (p *Policy) Repository() string {
	if p.repo.IsZero() {
		return ""
	}
	return p.repo.String()
}

// Document returns the version in force; nil for a signer alone, and for the zero value.
func (p *Policy) Document() *policy.Document {
	if !p.made() {
		return nil
	}
	if f := p.under[0].Found; f != nil && len(f.Versions()) > 0 {
		return f.Head().Document
	}
	return p.pinned
}

// Knowledge is how a policy is known.
type Knowledge struct {
	Path         string // of the file; "" for a policy that was found
	Genesis      policy.GenesisLabel
	Completeness chain.Completeness
	Statement    string    // digest of the version's statement, sha256:HEX; "" for a file
	AsOf         time.Time // when it was known to be complete; zero if that is not known
	InputsOf     time.Time // when the newest of what a directory read of a log was made; zero if that is not known
	Directory    string    // URL of the one that says so; "" for none
	WithoutV1    []int     // versions that are bound in Rekor v2 alone
	Unknown      []string  // what a verdict by what was carried cannot know
	Roots        []string  // names of the trusted roots
	Demanded     int       // how many of them have to allow, where the user's map joins several
	Alarms       []string  // a line each
}

// Knowledge returns how the policy is known, under the first root.
func (p *Policy) Knowledge() Knowledge {
	k := Knowledge{Path: p.path, Completeness: chain.CompleteNone}
	for _, f := range p.joined {
		k.Roots = append(k.Roots, f.label())
	}
	if k.Roots != nil {
		k.Demanded = p.demand
	}
	if !p.made() {
		return k
	}
	first := p.under[0]
	if k.Roots == nil && first.name != "" {
		k.Roots = []string{first.label()}
	}
	if p.pinned != nil {
		k.Genesis = p.pinned.Pin(policy.Ids{}).Genesis()
	}
	f := first.Found
	switch {
	case k.Roots != nil:
	case f != nil:
		k.Roots = []string{f.Root.Name()} // the same root for the release
	default:
		k.Roots = p.roots
	}
	if f == nil {
		return k
	}
	known := f.Known()
	k.Genesis, k.Completeness, k.Statement = known.Genesis, known.Completeness, known.Statement
	k.AsOf, k.InputsOf, k.Directory = known.AsOf, known.InputsOf, known.Directory
	k.WithoutV1, k.Unknown = known.WithoutV1, f.Unknown()
	if first.unbound != nil {
		k.Genesis = first.unbound.Genesis()
		if b := first.first; b != nil && k.Completeness.Beats(b.Known().Completeness) {
			k.Completeness = b.Known().Completeness // the first answer of a run does not vouch for the second
		}
	}
	for _, a := range f.Resolution.Chain.Alarms() {
		k.Alarms = append(k.Alarms, find.AlarmText(a))
	}
	return k
}

// carried returns what the policy was carried in; nil if it was not.
func (p *Policy) carried() *airgap.Bundle {
	if !p.made() || p.under[0].Found == nil {
		return nil
	}
	return p.under[0].Carried()
}

// numbers returns the numbers of the repository that the policy is bound to, under each root;
// none for a file that was read.
func (p *Policy) numbers() []string {
	var out []string
	for _, f := range p.under {
		if f.Found == nil {
			continue
		}
		versions := f.Trusted().Chain().Versions()
		if n := len(versions); n > 0 && versions[n-1].Ids.Repository != "" {
			out = append(out, versions[n-1].Ids.Repository)
		}
	}
	return out
}
