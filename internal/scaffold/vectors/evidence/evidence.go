// SPDX-License-Identifier: Apache-2.0

// Package evidence reads what the vectors say of one release, for tests: everything that a
// decision depends on beside the policy (SPEC 11).
package evidence

import (
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Entry is the JSON form of a log entry.
type Entry struct {
	Log       string    `json:"log"`
	Index     int64     `json:"index"`
	Time      time.Time `json:"time"`
	NotBefore time.Time `json:"not-before"`
	NotAfter  time.Time `json:"not-after"`
}

// Signer is the JSON form of who signs.
type Signer struct {
	Kind    policy.Kind `json:"kind"`
	Value   string      `json:"value"`
	Issuer  string      `json:"issuer"`
	Subject string      `json:"subject"`
	// Workflow says that it is a workflow that signs; of approvals only.
	Workflow bool `json:"workflow"`
}

// Identity returns the signer as evidence names him.
func (s Signer) Identity() policy.Identity {
	id := policy.Identity{Kind: s.Kind, Value: s.Value, Issuer: s.Issuer, TokenSubject: s.Subject}
	if s.Workflow {
		id.BuildSignerURI = id.Value
	}
	return id
}

// form is the JSON form of a release.
type form struct {
	Request struct {
		Now       time.Time  `json:"now"`
		Skew      int        `json:"skew"` // seconds
		Names     []string   `json:"names"`
		Digests   []string   `json:"digests"`
		Tag       string     `json:"tag"`
		Commit    string     `json:"commit"`
		Approvals []approval `json:"approvals"`
		Narrow    *struct {
			Identity string `json:"identity"`
			Issuer   string `json:"issuer"`
		} `json:"narrow"`
	} `json:"request"`
	Ids struct {
		Repository string `json:"repository"`
		Owner      string `json:"owner"`
	} `json:"ids"`
	Among  *string `json:"among"`
	Claims *struct {
		Signer struct {
			Kind       policy.Kind       `json:"kind"`
			Value      string            `json:"value"`
			Issuer     string            `json:"issuer"`
			Extensions map[string]string `json:"extensions"`
		} `json:"signer"`
		Tags          []string `json:"tags"`
		TagSource     string   `json:"tag-source"`
		GitHubRelease *struct {
			Repository   string `json:"repository"`
			RepositoryID string `json:"repository-id"`
			OwnerID      string `json:"owner-id"`
			Tag          string `json:"tag"`
		} `json:"github-release"`
		Target *struct {
			Root    string    `json:"root"`
			Role    string    `json:"role"`
			Path    string    `json:"path"`
			Version int64     `json:"version"`
			Expires time.Time `json:"expires"`
		} `json:"target"`
	} `json:"claims"`
	Verification *struct {
		Times  []time.Time `json:"times"`
		Logged bool        `json:"logged"`
		Proven bool        `json:"proven"`
		// Chains only.
		Entries   []Entry   `json:"entries"`
		NotBefore time.Time `json:"not-before"`
	} `json:"verification"`
}

// approval is an approval of the release; what it does not say is as in the
// release (SPEC 11).
type approval struct {
	Signer     Signer      `json:"signer"`
	Repository string      `json:"repository"`
	Tag        string      `json:"tag"`
	Commit     string      `json:"commit"`
	Policy     string      `json:"policy"` // a name of a policy, or a digest; by default the one that judges
	Digests    []string    `json:"digests"`
	Times      []time.Time `json:"times"`
	Promised   bool        `json:"promised"` // into a log, and not proven
	Unlogged   bool        `json:"unlogged"`
	Entries    []Entry     `json:"entries"`
	Unverified bool        `json:"unverified"`
}

// Case is one release, and what is known about it.
type Case struct {
	Ids      policy.Ids
	Among    *string // identity of the root that judges, where another one has to allow, too; nil elsewhere
	Request  policy.Request
	Claims   *policy.Claims       // nil without evidence
	Verified *policy.Verification // nil if nobody verified it

	approvals []approval
}

// Read returns the release of a text in JSON, without its approvals.
func Read(t testing.TB, text string) Case {
	t.Helper()
	var f form
	vectors.Strict(t, text, &f)
	c := Case{Ids: policy.Ids(f.Ids), Among: f.Among, approvals: f.Request.Approvals}
	c.Request = policy.Request{
		Names: f.Request.Names, Tag: f.Request.Tag, Commit: f.Request.Commit,
		Now: f.Request.Now, Skew: time.Duration(f.Request.Skew) * time.Second, Digests: digests(t, f.Request.Digests),
	}
	if n := f.Request.Narrow; n != nil {
		c.Request.Narrow = &policy.FlagIdentity{Identity: n.Identity, Issuer: n.Issuer}
	}
	if f.Claims == nil {
		return c
	}
	signer := f.Claims.Signer
	c.Claims = &policy.Claims{
		Signer: policy.Identity{Kind: signer.Kind, Value: signer.Value, Issuer: signer.Issuer},
		Tags:   f.Claims.Tags, TagSource: f.Claims.TagSource,
	}
	fields := Extensions(&c.Claims.Signer)
	for ext, val := range signer.Extensions {
		if fields[ext] == nil {
			t.Fatalf("unknown extension %s", ext)
		}
		*fields[ext] = val
	}
	if g := f.Claims.GitHubRelease; g != nil {
		c.Claims.GitHubRelease = &policy.GitHubRelease{
			Repository: g.Repository, RepositoryID: g.RepositoryID, OwnerID: g.OwnerID, Tag: g.Tag,
		}
	}
	if x := f.Claims.Target; x != nil {
		c.Claims.Target = &policy.RootTarget{Root: x.Root, Role: x.Role, Path: x.Path}
		c.Claims.TargetVersion, c.Claims.TargetExpires = x.Version, x.Expires
	}
	if x := f.Verification; x != nil {
		c.Verified = &policy.Verification{Times: x.Times, Logged: x.Logged, Proven: x.Proven, NotBefore: x.NotBefore}
		for _, e := range x.Entries {
			c.Verified.Entries = append(c.Verified.Entries, policy.Entry(e))
		}
	}
	return c
}

func digests(t testing.TB, list []string) (out []policy.Digest) {
	t.Helper()
	for _, s := range list {
		d, err := policy.ParseDigest(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// Approve adds the approvals to the request. Texts are the policies by name, "" the one that
// judges.
func (c *Case) Approve(t testing.TB, texts map[string]string) {
	t.Helper()
	for _, x := range c.approvals {
		if x.Unverified {
			c.Request.Approvals = append(c.Request.Approvals, policy.Approval{})
			continue
		}
		f := policy.ApprovalFacts{Tag: x.Tag, Commit: x.Commit, Digests: c.Request.Digests}
		if x.Digests != nil {
			f.Digests = digests(t, x.Digests)
		}
		if f.Tag == "" && len(c.Claims.Tags) > 0 {
			f.Tag = c.Claims.Tags[0]
		}
		if f.Commit == "" {
			f.Commit = c.Claims.Signer.Commit()
		}
		var err error
		if f.Policy, err = policy.ParseDigest("sha256:" + x.Policy); err != nil {
			text, ok := texts[x.Policy]
			if !ok {
				t.Fatalf("no policy %q", x.Policy)
			}
			f.Policy = policy.Digest{Alg: "sha256", Hex: spelling.Sum([]byte(text))}
		}
		if x.Repository == "" {
			x.Repository = "https://github.com/acme/widget"
		}
		if f.Repository, err = policy.ParseLocator(x.Repository); err != nil {
			t.Fatal(err)
		}
		v := policy.Verification{Times: c.Verified.Times, Logged: !x.Unlogged, Proven: !x.Promised && !x.Unlogged}
		if x.Times != nil {
			v.Times = x.Times
		}
		for _, e := range x.Entries {
			v.Entries = append(v.Entries, policy.Entry(e))
		}
		c.Request.Approvals = append(c.Request.Approvals, f.Verified(x.Signer.Identity(), v))
	}
}

// Roots returns what trust roots say of targets that rules take keys from: a text in JSON, "" for
// nothing.
func Roots(t testing.TB, text string) (out []policy.RootFact) {
	t.Helper()
	var facts []struct {
		Root    string        `json:"root"`
		Target  string        `json:"target"`
		State   string        `json:"state"` // "listed", "unlisted" or "unknown"
		Status  string        `json:"status"`
		Content string        `json:"content"`
		Why     policy.Reason `json:"why"`
	}
	if text == "" {
		return nil
	}
	vectors.Strict(t, text, &facts)
	for _, f := range facts {
		of := policy.RootTarget{Root: f.Root, Path: f.Target}
		switch f.State {
		case "listed":
			out = append(out, of.Listed(f.Status, []byte(f.Content)))
		case "unlisted":
			out = append(out, of.Unlisted())
		case "unknown":
			out = append(out, of.Unknown(f.Why, "it gave no answer"))
		default:
			t.Fatalf("the state %q is not known", f.State)
		}
	}
	return out
}

// Withheld returns the facts as they are if no root gives an answer.
func Withheld(facts []policy.RootFact) (out []policy.RootFact) {
	for _, f := range facts {
		out = append(out, f.Of().Unknown(policy.TrustRootMissing, "it is kept back"))
	}
	return out
}

// Judge is what releases are judged by: a file or a chain.
type Judge interface {
	Decide(policy.Request, policy.Evidence) policy.Decision
	DecideAdopted(policy.Request) (policy.Decision, bool)
}

// Decide is the runner's protocol: evidence if there is any, else what the
// policy adopted, else nothing was found.
func (c *Case) Decide(by Judge) policy.Decision {
	switch {
	case c.Claims == nil:
		if d, ok := by.DecideAdopted(c.Request); ok {
			return d
		}
		return policy.Decision{Reason: policy.NoEvidence}
	case c.Verified == nil:
		return by.Decide(c.Request, policy.Evidence{})
	}
	return by.Decide(c.Request, c.Claims.Verified(*c.Verified))
}

// Extensions returns the fields of an identity by the numbers of Fulcio's extensions.
func Extensions(id *policy.Identity) map[string]*string {
	return map[string]*string{
		".2": &id.WorkflowTrigger, ".3": &id.WorkflowSHA, ".4": &id.WorkflowName, ".5": &id.WorkflowRepository,
		".6": &id.WorkflowRef, ".9": &id.BuildSignerURI, ".10": &id.BuildSignerDigest, ".11": &id.RunnerEnvironment,
		".12": &id.SourceRepositoryURI, ".13": &id.SourceRepositoryDigest, ".14": &id.SourceRepositoryRef,
		".15": &id.SourceRepositoryID, ".16": &id.SourceRepositoryOwner, ".17": &id.SourceRepositoryOwnerID,
		".18": &id.BuildConfigURI, ".19": &id.BuildConfigDigest, ".20": &id.BuildTrigger, ".21": &id.RunInvocationURI,
		".22": &id.Visibility, ".23": &id.DeploymentEnvironment, ".24": &id.TokenSubject,
	}
}
