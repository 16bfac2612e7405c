// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// MapVersion is the version of the function from log entries to keys. It
// changes whenever the function does.
const MapVersion = 2

// A repository speaks through one workflow, and only in ways in which no branch
// other than the default one can make it run (SPEC 7).
const (
	githubWorkflow = "/.github/workflows/repopolicy.yml"
	gitlabConfig   = "//.gitlab-ci.yml"
	gitlabEnv      = "repopolicy"
)

var (
	githubTriggers = []string{"repository_dispatch", "schedule"}
	// What starts a pipeline of a branch. GitLab runs the file of any branch, so
	// that the default branch is the forge's word in any case.
	gitlabTriggers = []string{"push", "schedule", "web", "api", "trigger"}
)

// Unauthorized is why a certificate does not prove that a repository spoke.
type Unauthorized struct {
	Extension string // for example ".20"; "SAN"; "" for the host
	Got       string
	Why       string
}

// Error returns the field and what is wrong with it.
func (u *Unauthorized) Error() string {
	return fmt.Sprintf("%s %q: %s", u.Extension, u.Got, u.Why)
}

// Authority returns what the certificate of a log entry proves about the
// repository that signed with it. Id is the identity of a certificate whose
// chain and SCT were verified under the trusted root; nothing else goes into
// the answer, so that everyone who reads the log gets the same. The error is an
// [*Unauthorized].
func (t *Forges) Authority(id policy.Identity) (chain.Binding, error) {
	no := func(ext, got, why string) (chain.Binding, error) {
		return chain.Binding{}, &Unauthorized{ext, got, why}
	}
	if id.Kind != policy.KindURI {
		return no("SAN", id.Value, "not a workflow")
	}
	repo, err := repository(id.SourceRepositoryURI)
	if err != nil {
		return no(".12", id.SourceRepositoryURI, err.Error())
	}
	forge, ok := t.find(repo.Host())
	if !ok {
		return no(".12", id.SourceRepositoryURI, "no certificate of this host proves a repository")
	}
	if !slices.Contains(forge.Issuers, id.Issuer) {
		return no(".8", id.Issuer, "not an issuer of "+forge.Host)
	}
	if !number(id.SourceRepositoryID) {
		return no(".15", id.SourceRepositoryID, "not the number of a repository")
	}
	if !number(id.SourceRepositoryOwnerID) {
		return no(".17", id.SourceRepositoryOwnerID, "not the number of an owner")
	}
	branch, ok := strings.CutPrefix(id.SourceRepositoryRef, "refs/heads/")
	if !ok || branch == "" || !spelling.ValidRef(id.SourceRepositoryRef) {
		return no(".14", id.SourceRepositoryRef, "not a branch")
	}
	// The name is constructed and compared; the repository in it is spelled as in
	// .12.
	path, triggers := githubWorkflow, githubTriggers
	if forge.Kind == KindGitLab {
		path, triggers = gitlabConfig, gitlabTriggers
	}
	name := id.SourceRepositoryURI + path + "@" + id.SourceRepositoryRef
	switch {
	case id.Value != name:
		return no("SAN", id.Value, "not "+name)
	case id.BuildSignerURI != name:
		return no(".9", id.BuildSignerURI, "not "+name)
	case id.BuildConfigURI != name:
		return no(".18", id.BuildConfigURI, "not "+name)
	case !slices.Contains(triggers, id.BuildTrigger):
		return no(".20", id.BuildTrigger, "an event that any branch can cause")
	case id.RunnerEnvironment != forge.runner():
		return no(".11", id.RunnerEnvironment, "not a runner of the forge")
	}
	b := chain.Binding{Repository: repo, RepositoryID: id.SourceRepositoryID, OwnerID: id.SourceRepositoryOwnerID}
	if forge.Kind == KindGitLab {
		if id.DeploymentEnvironment != gitlabEnv {
			return no(".23", id.DeploymentEnvironment, "not the environment "+gitlabEnv)
		}
		b.Ref = id.SourceRepositoryRef
	}
	return b, nil
}

// Keys returns the keys under which a binding is looked up: the locator, and the
// host with the repository's number, "https://host#15:number". No locator
// contains '#'.
func Keys(b chain.Binding) []string {
	if b.IsZero() {
		return nil
	}
	return []string{b.Repository.String(), numberKey(b.Repository.Host(), b.RepositoryID)}
}

func numberKey(host, id string) string { return "https://" + host + "#15:" + id }

// repository reads extension .12, which on folding hosts may spell the path in
// upper case and otherwise must be canonical.
func repository(uri string) (policy.Locator, error) {
	l, err := policy.NormalizeLocator(uri)
	if err != nil {
		return policy.Locator{}, err
	}
	// What differs in more than the case of letters named something else.
	if len(uri) != len(l.String()) || !strings.HasPrefix(uri, "https://"+l.Host()+"/") ||
		spelling.LowerASCII(uri) != spelling.LowerASCII(l.String()) {
		return policy.Locator{}, fmt.Errorf("not in canonical form; that is %q", l)
	}
	return l, nil
}

// number reports whether s is a decimal number as forges assign them.
func number(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == "" && s[0] != '0'
}

// MapID returns the id of the map that a version of the function makes under a
// trusted root and a forge table, whose digests are hex; "" is the built-in table.
func MapID(function int, root, forges string) string {
	return spelling.Sum(fmt.Appendf(nil, "%d %s %s\n", function, root, cmp.Or(forges, "-")))[:32]
}

// Binds verifies one entry of a Rekor v2 log as a binding (SPEC 7): that its
// certificate belongs to the trusted root and proves that a repository spoke. That
// the body is at that index is for the caller to prove. The error says why it is no
// binding. It is the map function of a directory, and what a scan does.
//
// Whom the certificate claims to be for is looked at first, since most entries of a
// log are not about policies.
func Binds(
	root *sigstore.Root, forges *Forges, log string, index int64, body []byte,
) (*sigstore.Leaf, chain.Binding, error) {
	e, err := sigstore.ParseEntryV2(body)
	if err != nil {
		return nil, chain.Binding{}, err
	}
	by, err := forges.Authority(e.Signer)
	if err != nil {
		return nil, chain.Binding{}, err
	}
	leaf, err := root.VerifyV2(log, index, e)
	if err != nil {
		return nil, chain.Binding{}, err
	}
	return leaf, by, nil
}

// BindsV1 does the same for an entry as Rekor v1 answers it, whose promise covers
// its index. Log and place are those of the leaf.
func BindsV1(root *sigstore.Root, forges *Forges, entry []byte) (*sigstore.Leaf, chain.Binding, error) {
	e, err := sigstore.ParseEntryV1(entry)
	if err != nil {
		return nil, chain.Binding{}, err
	}
	by, err := forges.Authority(e.Signer)
	if err != nil {
		return nil, chain.Binding{}, err
	}
	leaf, err := root.VerifyV1(e)
	if err != nil {
		return nil, chain.Binding{}, err
	}
	return leaf, by, nil
}
