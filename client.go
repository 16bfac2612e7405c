// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Client asks for policies and judges by them. The zero value trusts what the user
// configured, and else Sigstore's public instance; it asks on-line and remembers in the
// user's cache directory. Its methods may be called from several goroutines once the
// fields are set.
type Client struct {
	// The edges of the program. Each may be replaced, so that a test can fork the world.
	State State                        // what is remembered between runs; nil for files in StateDir
	HTTP  http.RoundTripper            // what requests go through; nil for the default
	Git   Git                          // what forges show of repositories; nil asks them by Git
	Clock interface{ Now() time.Time } // says what time it is; nil for this machine's
	Log   func(line string)            // hears what a person should know beside the answer; nil for nobody
	Agent string                       // how the program calls itself to services; "" for this library
	// StateDir is the directory for what is remembered and for TUF metadata, private to its
	// owner; "" for one in the user's cache directory. A State remembers instead of it.
	StateDir string

	// What is trusted. With none of them it is the user's trust.toml, and what no [[scope]]
	// in it is about is judged under Sigstore's public instance.
	TrustedRoots []string // trusted_root.json files, each alone
	TrustRoot    string   // the root of this name in the map, alone
	TrustConfig  string   // a map to read instead of the user's

	// What has to be known of a policy.
	Require       string        // labels as for the flag --require, such as "first,proven"; "" for the default
	MaxAge        time.Duration // of what is known; 0 for a week on-line and any off-line
	FailOnAlarm   bool          // every alarm decides
	Scan          bool          // read all of Rekor v2 instead of asking an index
	Directory     []byte        // descriptor of a directory to ask; nil for that of the trusted root
	DirectoryFile string        // that Directory was read from, for the commands in hints
	Witnesses     []byte        // witness policy that logs have to meet; it implies Scan
	Offline       bool          // nobody is asked
	AsOf          time.Time     // judge as of this moment, which has passed; zero for now

	// Unbound says what [Client.Find] makes of a repository without a policy (SPEC 9.3):
	// "repository" lets what its own workflows signed for the demanded tag be allowed, as
	// "allowed-unbound", if the logs were read or a directory says that no policy is bound, and
	// nothing speaks against it; by the numbers and workflows of a [Lock], if there is one of such a
	// repository. By default there is then no policy to judge by.
	Unbound string

	// Keys are public keys in PEM by which [Client.Inspect] verifies what a bare key signed.
	Keys [][]byte

	// SideFiles are the kinds of files without evidence that may lie beside what is allowed
	// (SPEC 20.2): "openpgp", "signature", "certificate", "checksums". By default none may.
	SideFiles []string

	// Where what is judged, and evidence for it, is published.
	Sources Sources

	// Progress is called with none of the artifacts of a run before they are judged, then with
	// how many are; it may be called from several goroutines. Nil tells nobody.
	Progress func(done, total int)
	// Reading is called while a file is hashed or downloaded with how many of its bytes were read,
	// and at the end with done as total; a total of 0 is not known. It may be called from several
	// goroutines. Nil tells nobody.
	Reading func(name string, done, total int64)
}

// Sources say how releases, registries and indexes are asked. The zero value is for
// github.com, gitlab.com, registry.npmjs.org and pypi.org.
type Sources struct {
	Forge         string   // what runs at the repository's host: github, gitlab or forgejo; "" where that is known
	NPMRegistry   string   // of pkg:npm packages
	PyPIIndex     string   // asked about wheels and, if it is given, source distributions
	RedirectHosts []string // to which forges and registries may send downloads on
	GitHubToken   string   // shown to GitHub's API and to nobody else
	MaxBytes      int64    // of the largest file that is downloaded; 0 for 4 GiB
}

// State keeps what is remembered between runs: chains of policies, how far logs were read,
// the latest time that was proven. Nothing in it makes a signature count; whoever can write
// it can make the client forget, or refuse. Names are relative paths with slashes. The
// methods may be called from several goroutines.
type State interface {
	// Load returns what is kept under a name; nil if there is nothing.
	Load(name string) ([]byte, error)
	// Swap keeps next under a name if old is what is kept there, nil for nothing, and
	// reports whether it was. It happens as a whole or not at all.
	Swap(name string, old, next []byte) (bool, error)
}

// Git shows what a forge shows of repositories.
type Git interface {
	// Snapshot returns the default branch and the branch "repopolicy" of a repository, which
	// is named like https://github.com/acme/widget.
	Snapshot(ctx context.Context, repository string) (*Snapshot, error)
}

// Snapshot is what a forge shows of a repository at one moment.
type Snapshot struct {
	Default string                       // ref that is the default branch, such as refs/heads/main; "" if it is not known
	Files   map[string]map[string][]byte // content of files below .repopolicy, by ref and path
	Tags    map[string]string            // id of the commit that each tag leads to; nil if tags are not known
}

func (c *Client) now() time.Time {
	if c.Clock != nil {
		return c.Clock.Now()
	}
	return time.Now()
}

// asOf returns the moment as of which is judged, and how far the clock may be off.
func (c *Client) asOf() (time.Time, time.Duration) {
	if !c.AsOf.IsZero() {
		return c.AsOf, 0
	}
	return c.now(), find.Skew
}

// past refuses to judge as of a moment that nobody knows anything of.
func (c *Client) past() error {
	if c.AsOf.After(c.now().Add(find.Skew)) {
		return policy.Faultf(policy.Usage, "--as-of %s is in the future", c.AsOf.UTC().Format(time.RFC3339))
	}
	return nil
}

func (c *Client) agent() string {
	if c.Agent != "" {
		return c.Agent
	}
	version := "(devel)"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Path == spelling.Name && b.Main.Version != "" {
		version = b.Main.Version
	}
	return "repopolicy/" + version + " (https://" + spelling.Name + ")"
}

func (c *Client) finder(ctx context.Context) *find.Finder {
	f := &find.Finder{
		Machine: find.MachineOf(ctx), Now: c.now, Transport: c.HTTP, Agent: c.agent(), Say: c.Log,
	}
	switch {
	case c.State != nil:
		f.StateDir, f.Store = nil, c.State
	case c.StateDir != "":
		f.StateDir = func() (string, error) { return c.StateDir, nil }
	}
	if c.Git != nil {
		f.Repositories = c.snapshot
	}
	return f
}

func (c *Client) snapshot(ctx context.Context, repo policy.Locator) (*git.Snapshot, error) {
	s, err := c.Git.Snapshot(ctx, repo.String())
	if err != nil {
		return nil, err
	}
	var tags map[string]git.ID
	if s.Tags != nil {
		tags = map[string]git.ID{}
		for name, id := range s.Tags {
			tags[name] = git.ID(id)
		}
	}
	return git.Shown(s.Default, s.Files, tags), nil
}

// within gives a run the budget of memory and the time that the command has, where the caller
// gives none. The function that it returns ends it.
func within(ctx context.Context) (_ context.Context, done func()) {
	if budget.Of(ctx) == nil {
		ctx = budget.With(ctx, budget.New(budget.Default))
	}
	if budget.Timed(ctx) {
		return ctx, func() {}
	}
	return budget.WithTimeout(ctx, 0)
}

// ignored says of a file that it is no approval, or one that does not verify.
func (c *Client) ignored(path string, err error) { c.say("note: ignored " + path + ": " + err.Error()) }

func (c *Client) say(lines ...string) {
	if c.Log == nil {
		return
	}
	for _, line := range lines {
		c.Log(line)
	}
}
