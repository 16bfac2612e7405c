// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// IssuerKind is how an issuer's tokens become certificates.
type IssuerKind string

// The kinds, as in Fulcio's configuration.
const (
	KindGitHub    IssuerKind = "github-workflow"
	KindGitLab    IssuerKind = "gitlab-pipeline"
	KindBuildkite IssuerKind = "buildkite-job"
	KindCircleCI  IssuerKind = "circleci-job"
	KindEmail     IssuerKind = "email"
	KindURI       IssuerKind = "uri" // SPIFFE and other machines: the subject is the name
)

// Issuer is an OpenID provider whose tokens are looked at. Which ones are is for
// the table and for trusted configuration to say: what a token names as its
// issuer is only looked up here.
type Issuer struct {
	URL  string // exact; one that ends in "/*" stands for any one segment there
	Kind IssuerKind
	Host string // URL of the instance, as Fulcio puts it before names
	// Keys is the origin of the issuer's keys; "" for its own.
	Keys string
	// LongLived says that the issuer makes tokens that live longer than
	// [MaxLifetime], once for each job; they are then taken for as long as that
	// after they were issued.
	LongLived bool
	// Connector says that the token names in federated_claims who vouches for
	// the person.
	Connector bool
}

// builtIn are the public issuers, with the names of Fulcio v1.8.8's
// config/identity/config.yaml.
var builtIn = Issuers{
	{URL: "https://token.actions.githubusercontent.com", Kind: KindGitHub, Host: "https://github.com"},
	{URL: "https://gitlab.com", Kind: KindGitLab, Host: "https://gitlab.com", LongLived: true},
	{URL: "https://agent.buildkite.com", Kind: KindBuildkite, Host: "https://buildkite.com"},
	{URL: "https://oidc.circleci.com", Kind: KindCircleCI, LongLived: true},
	{URL: "https://oidc.circleci.com/org/*", Kind: KindCircleCI, LongLived: true},
	{URL: "https://accounts.google.com", Kind: KindEmail, Keys: "https://www.googleapis.com", LongLived: true},
	{URL: "https://oauth2.sigstore.dev/auth", Kind: KindEmail, Connector: true},
}

// Issuers is a list of issuers, the first match of which counts.
type Issuers []Issuer

// TrustedIssuers returns the issuers that are built in and those that a trusted
// policy names. SignIn is where people of the signing instance sign in, "" for
// nowhere else than at the public one's.
func TrustedIssuers(f *policy.File, signIn string) Issuers {
	out := slices.Clone(builtIn)
	add := func(i Issuer) {
		if _, ok := out.Find(i.URL); !ok {
			out = append(out, i)
		}
	}
	if signIn != "" {
		add(Issuer{URL: signIn, Kind: KindEmail, Connector: true})
	}
	if f == nil {
		return out
	}
	for _, r := range f.Rules {
		if w := r.Workflow; w != nil {
			kind := KindGitLab
			if w.IsGitHub() {
				kind = KindGitHub
			}
			add(Issuer{URL: w.Issuer, Kind: kind, Host: "https://" + f.Repository.Host(), LongLived: kind == KindGitLab})
		}
		for _, p := range r.Identities {
			switch {
			case spelling.IsPKI(p.Issuer): // it gives no tokens
			case p.Kind == policy.KindEmail:
				add(Issuer{URL: p.Issuer, Kind: KindEmail})
			case p.Kind == policy.KindURI:
				add(Issuer{URL: p.Issuer, Kind: KindURI})
			}
		}
	}
	return out
}

// Find returns the issuer of that URL, compared exactly.
func (l Issuers) Find(issuer string) (Issuer, bool) {
	for _, i := range l {
		base, family := strings.CutSuffix(i.URL, "*")
		tail, ok := strings.CutPrefix(issuer, base)
		if ok && (!family && tail == "" || family && tail != "" && strings.Trim(tail, "0123456789abcdefABCDEF-") == "") {
			i.URL = issuer
			return i, true
		}
	}
	return Issuer{}, false
}

// KeysOrigin returns where the issuer's keys may lie: scheme and host.
func (i Issuer) KeysOrigin() string {
	if i.Keys != "" {
		return i.Keys
	}
	u, err := url.Parse(i.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
