// SPDX-License-Identifier: Apache-2.0

package policy

// Kind is the kind of an identity: the type of the certificate's subject
// alternative name, never a guess from its text. The zero value is no kind.
type Kind string

// The kinds.
const (
	KindEmail    Kind = "email"    // rfc822Name
	KindURI      Kind = "uri"      // uniformResourceIdentifier: workflows, SPIFFE, other machines
	KindUsername Kind = "username" // otherName 1.3.6.1.4.1.57264.1.7
	KindKey      Kind = "key"      // a bare public key; Value is the hex SHA-256 of its DER SubjectPublicKeyInfo
)

// Identity is who made a signature, as the certificate or key says. Whether the
// certificate is genuine is not this type's concern: it occurs in [Claims]
// (nobody checked) and in [Evidence] (checked).
//
// Fields after Issuer are Fulcio's extensions 1.3.6.1.4.1.57264.1.N, documented
// at https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md. An empty
// field means that the certificate lacks the extension; it never matches.
type Identity struct {
	Kind   Kind
	Value  string // SAN, exact bytes
	Issuer string // .8, or .1 where the certificate has no .8; exact bytes

	BuildSignerURI          string // .9
	BuildSignerDigest       string // .10
	RunnerEnvironment       string // .11
	SourceRepositoryURI     string // .12
	SourceRepositoryDigest  string // .13
	SourceRepositoryRef     string // .14
	SourceRepositoryID      string // .15
	SourceRepositoryOwner   string // .16
	SourceRepositoryOwnerID string // .17
	BuildConfigURI          string // .18
	BuildConfigDigest       string // .19
	BuildTrigger            string // .20
	RunInvocationURI        string // .21
	Visibility              string // .22
	DeploymentEnvironment   string // .23
	TokenSubject            string // .24

	// Certificates from before April 2023 have only these.
	WorkflowTrigger    string // .2
	WorkflowSHA        string // .3
	WorkflowName       string // .4
	WorkflowRepository string // .5, "owner/name"
	WorkflowRef        string // .6
}

// fields returns the fields after Issuer, in their order.
func (id *Identity) fields() []*string {
	return []*string{
		&id.BuildSignerURI, &id.BuildSignerDigest, &id.RunnerEnvironment, &id.SourceRepositoryURI, &id.SourceRepositoryDigest,
		&id.SourceRepositoryRef, &id.SourceRepositoryID, &id.SourceRepositoryOwner, &id.SourceRepositoryOwnerID,
		&id.BuildConfigURI,
		&id.BuildConfigDigest, &id.BuildTrigger, &id.RunInvocationURI, &id.Visibility, &id.DeploymentEnvironment,
		&id.TokenSubject,
		&id.WorkflowTrigger, &id.WorkflowSHA, &id.WorkflowName, &id.WorkflowRepository, &id.WorkflowRef,
	}
}

// legacy reports whether the identity is of a workflow certificate that has
// none of the extensions .9 and later.
func (id *Identity) legacy() bool {
	old := Identity{
		Kind: id.Kind, Value: id.Value, Issuer: id.Issuer,
		WorkflowTrigger: id.WorkflowTrigger, WorkflowSHA: id.WorkflowSHA, WorkflowName: id.WorkflowName,
		WorkflowRepository: id.WorkflowRepository, WorkflowRef: id.WorkflowRef,
	}
	return id.WorkflowRepository != "" && *id == old
}

// Ref returns the Git ref that the run was for, "" if the certificate names none.
func (id *Identity) Ref() string {
	if id.legacy() {
		return id.WorkflowRef
	}
	return id.SourceRepositoryRef
}

// Commit returns the Git commit that the run was for, "" if the certificate
// names none.
func (id *Identity) Commit() string {
	if id.legacy() {
		return id.WorkflowSHA
	}
	return id.SourceRepositoryDigest
}

// Tag returns the tag that the certificate names, "" if it names none.
func (id *Identity) Tag() string { return tagOfRef(id.Ref()) }

// Trigger returns the event that started the run, "" if the certificate names
// none.
func (id *Identity) Trigger() string {
	if id.legacy() {
		return id.WorkflowTrigger
	}
	return id.BuildTrigger
}
