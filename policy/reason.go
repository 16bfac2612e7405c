// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
)

// Class is the class of a verdict. Every reason code belongs to exactly one
// class and every class has exactly one exit code (DESIGN 9). The zero value is
// not a class of any reason: an unset verdict exits 70.
type Class uint8

// The classes, in the order in which the worse of two wins when several
// artifacts are judged in one run; see [Worst].
const (
	classUnset       Class = iota
	ClassOK                // every artifact allowed
	ClassStale             // policy expired or older than allowed
	ClassUnavailable       // network or log unreachable, inconclusive
	ClassNoPolicy          // no binding for this repository
	ClassAuth              // a login or token is needed
	ClassInvalid           // policy, chain or bundle malformed
	ClassDeny              // signature or policy says no
	ClassAlarm             // genesis or head undecided
	ClassUsage             // wrong command line
	ClassInternal          // a bug
)

var classes = map[Class]struct {
	name    string
	exit    int
	meaning string
}{
	ClassOK:          {"OK", 0, "every artifact is allowed"},
	ClassDeny:        {"DENY", 1, "signature or policy says no; nothing found is a denial"},
	ClassUsage:       {"USAGE", 2, "the command line is wrong"},
	ClassUnavailable: {"UNAVAILABLE", 3, "network or log unreachable, or no conclusion was reached"},
	ClassAuth:        {"AUTH", 4, "a login or token is needed"},
	ClassNoPolicy:    {"NO_POLICY", 5, "no policy is bound to this repository"},
	ClassInvalid:     {"INVALID", 6, "policy, checksum file or bundle is malformed"},
	ClassAlarm:       {"ALARM", 7, "an alarm leaves the policy in force undecided"},
	ClassStale:       {"STALE", 8, "the policy expired too long ago"},
	ClassInternal:    {"INTERNAL", 70, "a bug in repopolicy"},
}

// Classes returns all classes in the order of their exit codes.
func Classes() []Class {
	return slices.SortedFunc(maps.Keys(classes), func(a, b Class) int { return a.Exit() - b.Exit() })
}

// Meaning says when the class applies.
func (c Class) Meaning() string { return classes[c].meaning }

// String returns the class as it is printed, for example "DENY".
func (c Class) String() string {
	if d, ok := classes[c]; ok {
		return d.name
	}
	return "INTERNAL"
}

// Exit returns the process exit code of the class; 70 for an unset class.
func (c Class) Exit() int {
	if d, ok := classes[c]; ok {
		return d.exit
	}
	return 70
}

// Worst returns the class that decides a run over several artifacts: any class
// other than OK wins over OK. Worst of nothing is DENY: nothing found is a
// denial.
func Worst(cs ...Class) Class {
	if len(cs) == 0 {
		return ClassDeny
	}
	if slices.Contains(cs, classUnset) {
		return ClassInternal
	}
	return slices.Max(cs)
}

// Reason is a stable, machine-readable code for an outcome. Codes are never
// reused for another meaning. [Reasons] lists them all.
type Reason string

// info describes one reason code. Text, JSON, exit codes and
// docs/errors.md come from this one table and cannot disagree.
type info struct {
	code  Reason
	class Class
	text  string // what it means, one sentence without a full stop
	hint  string // what to do next; may be empty
}

// Reason codes.
const (
	Allowed        Reason = "allowed"
	Adopted        Reason = "adopted"
	AllowedUnbound Reason = "allowed-unbound"

	RuleMismatch          Reason = "rule-mismatch"
	UnboundDenied         Reason = "unbound-denied"
	NoRules               Reason = "no-rules"
	YankedRelease         Reason = "yanked"
	YankUnknown           Reason = "yanked-unknown"
	RevokedSigner         Reason = "revoked"
	ExpiredAtRelease      Reason = "policy-expired-at-release"
	PolicyStale           Reason = "policy-stale"
	PolicyEnded           Reason = "policy-ended"
	EvidenceInFuture      Reason = "evidence-after-as-of"
	ReleaseTooYoung       Reason = "release-too-young"
	EvidenceUntimed       Reason = "evidence-without-time"
	NarrowedIdentity      Reason = "identity-flags-mismatch"
	TagMismatch           Reason = "tag-mismatch"
	TagUnknown            Reason = "tag-not-in-evidence"
	NoEvidence            Reason = "no-evidence"
	EvidenceUnreachable   Reason = "evidence-unreachable"
	ReleaseUnreachable    Reason = "release-unreachable"
	ReleaseInvalid        Reason = "release-invalid"
	NoArtifacts           Reason = "no-artifacts"
	ArtifactMismatch      Reason = "artifact-mismatch"
	TargetUnlisted        Reason = "target-unlisted"
	ArtifactRead          Reason = "artifact-unreadable"
	ArtifactMissing       Reason = "artifact-missing"
	ArtifactChanged       Reason = "artifact-changed"
	NameDiffers           Reason = "name-differs"
	PassedOver            Reason = "passed-over"
	SumsMismatch          Reason = "sums-mismatch"
	SumsInvalid           Reason = "sums-invalid"
	SignatureInvalid      Reason = "signature-invalid"
	CertificateBad        Reason = "certificate-invalid"
	CertificateChain      Reason = "certificate-untrusted"
	SCTInvalid            Reason = "sct-invalid"
	CertificateRevoked    Reason = "certificate-revoked"
	RevocationUnknown     Reason = "revocation-unknown"
	VersionInDoubt        Reason = "version-in-doubt"
	LogInvalid            Reason = "log-invalid"
	LogFields             Reason = "log-fields-disagree"
	TimeInvalid           Reason = "time-invalid"
	StatementInvalid      Reason = "statement-invalid"
	PredicateType         Reason = "predicate-type"
	KeyUntrusted          Reason = "key-untrusted"
	NotLogged             Reason = "not-logged"
	NoLogProof            Reason = "no-log-proof"
	CommitMismatch        Reason = "commit-mismatch"
	CommitUnreachable     Reason = "commit-unreachable"
	GitInvalid            Reason = "git-invalid"
	GitIncomplete         Reason = "git-incomplete"
	LayoutInvalid         Reason = "layout-invalid"
	BundleInvalid         Reason = "bundle-invalid"
	BundleTooLarge        Reason = "bundle-too-large"
	TrustRootInvalid      Reason = "trusted-root-invalid"
	TrustRootMissing      Reason = "trusted-root-unavailable"
	PolicySyntax          Reason = "policy-syntax"
	PolicyBytes           Reason = "policy-bytes"
	PolicyTooLarge        Reason = "policy-too-large"
	PolicyUnknownKey      Reason = "policy-unknown-key"
	PolicyType            Reason = "policy-type"
	PolicyValue           Reason = "policy-value"
	PolicyMissing         Reason = "policy-missing-key"
	PolicyDuplicate       Reason = "policy-duplicate"
	PolicyConflict        Reason = "policy-conflict"
	PolicyNewerFormat     Reason = "policy-newer-format"
	NeedsNewerVersion     Reason = "needs-newer-version"
	PolicyUnreadable      Reason = "policy-unreadable"
	ChainForked           Reason = "chain-forked"
	GenesisConflict       Reason = "genesis-conflict"
	RepositoryChanged     Reason = "repository-id-changed"
	OwnerChanged          Reason = "owner-id-changed"
	ChainRollback         Reason = "chain-rollback"
	AlarmRaised           Reason = "alarm-raised"
	LogForked             Reason = "log-forked"
	LogUnproven           Reason = "log-unproven"
	DirectoryLied         Reason = "directory-lied"
	LoginNeeded           Reason = "login-needed"
	RegistryLogin         Reason = "registry-login"
	NoTokenPermission     Reason = "no-token-permission"
	TokenInvalid          Reason = "token-invalid"
	TokenRefused          Reason = "token-refused"
	TokenMismatch         Reason = "token-mismatch"
	IssuerUnreachable     Reason = "issuer-unreachable"
	CheckoutDiffers       Reason = "checkout-differs"
	ReceiptInvalid        Reason = "receipt-invalid"
	ReceiptMismatch       Reason = "receipt-mismatch"
	NotMaintainer         Reason = "not-a-maintainer"
	NotApprover           Reason = "not-an-approver"
	NoAuthority           Reason = "no-authority"
	Private               Reason = "private-repository"
	SigningFailed         Reason = "signing-failed"
	HandInFailed          Reason = "hand-in-failed"
	WriteFailed           Reason = "write-failed"
	RepositoryUnreachable Reason = "repository-unreachable"
	Undisclosed           Reason = "undisclosed-version"
	EffectUndecided       Reason = "effect-undecided"
	GenesisMissing        Reason = "genesis-missing"
	ChainTooLarge         Reason = "chain-too-large"
	ClockBehind           Reason = "clock-behind"
	BelowRequired         Reason = "below-required"
	NoBinding             Reason = "no-binding"
	BelowThreshold        Reason = "below-threshold"
	ViewStale             Reason = "view-stale"
	PolicyExpired         Reason = "policy-expired"
	EntryLate             Reason = "entry-late"
	BeforeGenesis         Reason = "before-genesis"
	Usage                 Reason = "usage"
	Interrupted           Reason = "interrupted"
	BudgetExceeded        Reason = "budget-exceeded"
	Internal              Reason = "internal"
	EvidenceUnproven      Reason = "evidence-unproven"
	EvidenceMalformed     Reason = "evidence-malformed"
	DoctorSetting         Reason = "doctor-setting"
	DoctorDrift           Reason = "doctor-drift"
	DoctorBind            Reason = "doctor-bind"
	DoctorExpires         Reason = "doctor-expires"
	DoctorUnread          Reason = "doctor-unread"
)

var reasonTable = []info{
	{Allowed, ClassOK, "a rule of the policy allows this artifact", ""},
	{Adopted, ClassOK, "the policy lists this digest under [[adopted]]", ""},
	{
		AllowedUnbound, ClassOK,
		"no policy is bound, and the repository's own workflow signed this", "",
	},

	{
		RuleMismatch, ClassDeny, "no rule of the policy allows this evidence",
		"run `repopolicy explain` with the same arguments to see the nearest rule and the field that differs",
	},
	{
		UnboundDenied, ClassDeny,
		"no policy is bound, and --unbound does not let this pass", "what passes: docs/consumer.md",
	},
	{NoRules, ClassDeny, "the policy has no [[release]] rule, so nothing may be released", "add a [[release]] rule"},
	{YankedRelease, ClassDeny, "the policy lists this tag or digest under [[yanked]]", "use another release"},
	{
		YankUnknown, ClassDeny, "the policy yanks a digest of an algorithm that is not known for this artifact",
		"give the file itself rather than a digest",
	},
	{
		RevokedSigner, ClassDeny,
		"the policy lists the signer, key or rule under [[revoked]] for the time of this signature",
		"use a release from before the compromise, or one by another releaser",
	},
	{
		ExpiredAtRelease, ClassDeny, "the policy had already expired when the release was signed",
		"renew the policy, then release again",
	},
	{
		PolicyStale, ClassStale, "the policy expired more than 90 days ago",
		"only a maintainer can end that: `repopolicy renew` in a clone, then commit and push; its workflow binds the " +
			"new version",
	},
	{PolicyEnded, ClassDeny, "the policy is a tombstone: the repository has ended its releases", ""},
	{
		EvidenceInFuture, ClassDeny, "the evidence is younger than the moment of judging",
		"check the clock, or give a later --as-of",
	},
	{ReleaseTooYoung, ClassDeny, "the release is younger than --cooldown wants", "wait, or take an older release"},
	{EvidenceUntimed, ClassDeny, "no verified time is known for the signature", ""},
	{NarrowedIdentity, ClassDeny, "the signer is not the one that the --certificate-identity flags name", ""},
	{TagMismatch, ClassDeny, "the evidence is about another tag than --tag", ""},
	{
		TagUnknown, ClassDeny, "--tag was given, but the signed evidence names no tag",
		"leave out --tag to judge the evidence without one",
	},
	{
		NoEvidence, ClassDeny, "no evidence was found for the artifact",
		"download the bundle beside the artifact as <file>.sigstore.json, or name it with -b",
	},
	{
		EvidenceUnreachable, ClassUnavailable,
		"no evidence allows the artifact, and a place that may have some gave no answer",
		"try again, or put the evidence beside the artifact, or name it with -b: it is verified as well there",
	},
	{ReleaseUnreachable, ClassUnavailable, "the release could not be read",
		"check its address and the network"},
	{ReleaseInvalid, ClassInvalid, "the release's listing is malformed", ""},
	{
		NoArtifacts, ClassUsage, "there was no artifact to judge",
		"name files, a directory that holds some, a checksum file or a digest",
	},
	{
		ArtifactMismatch, ClassDeny, "the evidence is about other bytes: no signed digest is that of the artifact",
		"download artifact and evidence again; if it stays, the artifact was changed",
	},
	{
		TargetUnlisted, ClassDeny, "the trust root does not list the artifact",
		"compare the path with what its role lists",
	},
	{ArtifactRead, ClassDeny, "the artifact could not be read", ""},
	{
		ArtifactMissing, ClassDeny, "the file is not there",
		"check its name, or download it; with --ignore-missing what a checksum file lists and is not there is left out",
	},
	{
		ArtifactChanged, ClassDeny, "the artifact changed while it was judged",
		"wait until nothing writes to it, and judge it again",
	},
	{
		NameDiffers, ClassDeny, "what was signed calls the artifact by another name",
		"if you gave the file its name yourself, say with --name what it was called, pkg:npm/NAME@VERSION for a package",
	},
	{
		PassedOver, ClassDeny, "it belongs to nothing that was judged, and nothing vouches for it",
		"take it away, or judge the rest by naming it",
	},
	{
		SumsMismatch, ClassDeny, "the file's digest is not the one that the checksum file lists for it",
		"download the file again; if it stays, the file was changed",
	},
	{SumsInvalid, ClassInvalid, "the checksum file is malformed", ""},
	{SignatureInvalid, ClassDeny, "the signature does not verify", ""},
	{CertificateBad, ClassDeny, "the signing certificate is malformed or contradicts itself", ""},
	{
		CertificateChain, ClassDeny,
		"the signing certificate does not chain to the trusted root at the time of signing",
		"check which --trusted-root belongs to this project",
	},
	{SCTInvalid, ClassDeny, "the certificate has no valid certificate transparency timestamp", ""},
	{
		CertificateRevoked, ClassDeny, "the certificate authority revoked the signing certificate, or one above it",
		"have it signed again with another certificate",
	},
	{
		VersionInDoubt, ClassUnavailable, "a version of the policy was in force by a certificate that was revoked",
		"its maintainers sign the same version again, and bind it again; or declare void what was never theirs",
	},
	{
		RevocationUnknown, ClassUnavailable, "it is not known whether the signing certificate was revoked",
		"whoever keeps the trust root has to publish a current list of revoked certificates: repopolicy-trust add",
	},
	{LogInvalid, ClassDeny, "no transparency log entry verifies for this signature", ""},
	{LogFields, ClassDeny, "the fields of a log entry disagree with what its proof covers", ""},
	{TimeInvalid, ClassDeny, "the time of the signature is missing, contradictory or outside a validity window", ""},
	{StatementInvalid, ClassDeny, "the signed payload is not an in-toto statement that can be judged", ""},
	{PredicateType, ClassDeny, "a statement of this type says nothing about a release", ""},
	{KeyUntrusted, ClassDeny, "the evidence is signed by a key that the policy does not name", ""},
	{
		NotLogged, ClassDeny, "the evidence is not in a transparency log",
		"a rule may accept such evidence with `unlogged = true`",
	},
	{
		NoLogProof, ClassDeny,
		"the evidence was published without its log entry, and off-line nothing shows that the certificate " +
			"was valid when it signed",
		"ask the project for a Sigstore bundle, which carries the log entry",
	},
	{
		CommitMismatch, ClassDeny, "the evidence is for another commit than the tag names",
		"fetch the tag again; if it stays, the tag was moved",
	},
	{
		CommitUnreachable, ClassDeny,
		"no branch and no tag of the repository leads to the commit: it may come from a fork", "",
	},
	{
		GitInvalid, ClassInvalid,
		"an object, ref or pack of the Git repository is malformed or of a kind that is not read", "",
	},
	{
		GitIncomplete, ClassUnavailable, "the clone does not hold what is needed to decide",
		"fetch the tag and the whole history: `git fetch --unshallow --tags`",
	},
	{LayoutInvalid, ClassInvalid, "the OCI layout is malformed", ""},
	{BundleInvalid, ClassInvalid, "the bundle is malformed", "download the bundle again"},
	{BundleTooLarge, ClassInvalid, "the bundle exceeds a documented limit", ""},
	{TrustRootInvalid, ClassInvalid, "the trusted root is malformed", ""},
	{
		RepositoryUnreachable, ClassUnavailable, "the repository could not be fetched",
		"check its address and the network, or name a clone of it with --git DIR: the logs are asked as before, so that " +
			"gives up nothing",
	},
	{
		TrustRootMissing, ClassUnavailable, "the Sigstore trusted root could not be had",
		"go on-line once, or name a file with --trusted-root",
	},
	{PolicySyntax, ClassInvalid, "the policy is not in the policy language's subset of TOML", ""},
	{PolicyBytes, ClassInvalid, "the policy contains bytes or characters that are never allowed", ""},
	{PolicyTooLarge, ClassInvalid, "the policy exceeds a documented limit", ""},
	{PolicyUnknownKey, ClassInvalid, "the policy has a key that the language does not know", ""},
	{PolicyType, ClassInvalid, "a value of the policy has the wrong type", ""},
	{PolicyValue, ClassInvalid, "a value of the policy is not allowed", ""},
	{PolicyMissing, ClassInvalid, "the policy lacks a key that it must have", ""},
	{PolicyDuplicate, ClassInvalid, "the policy says something twice", ""},
	{PolicyConflict, ClassInvalid, "two parts of the policy contradict each other", ""},
	{
		PolicyNewerFormat, ClassInvalid,
		"the policy file has a newer format, or a key of a newer algorithm, than this program understands",
		"update repopolicy",
	},
	{
		NeedsNewerVersion, ClassUnavailable,
		"the verdict needs a newer repopolicy: this one does not understand the policy's format, or an algorithm",
		"update repopolicy",
	},
	{PolicyUnreadable, ClassUsage, "the policy file could not be read", ""},
	{
		ChainForked, ClassAlarm,
		"two versions of the policy have the same number, and the one in force is not decided",
		"ask the maintainers; both are in the log",
	},
	{
		GenesisConflict, ClassAlarm,
		"the log shows another first policy of this repository, and which one counts is not decided",
		"pin the first statement that the maintainers confirm",
	},
	{
		RepositoryChanged, ClassAlarm,
		"another repository binds a policy under this name: it was deleted and made anew, or the name was taken over",
		"ask the maintainers; a version with [handover] settles it",
	},
	{
		OwnerChanged, ClassAlarm, "the repository has another owner, and the policy does not say so",
		"a version with owner-changed = true settles it",
	},
	{
		ChainRollback, ClassAlarm, "versions of the policy that were seen before are gone",
		"somebody serves an old state; try another network or mirror",
	},
	{
		LogForked, ClassAlarm, "a transparency log shows another history than it did before",
		"keep the evidence file and report it to the log's operator and to sigstore.dev; try again from another network",
	},
	{
		DirectoryLied, ClassAlarm, "a directory signed an answer that is not true",
		"keep the evidence file and report it to whoever runs the directory; name another one, or do without --directory",
	},
	{AlarmRaised, ClassAlarm, "there is an alarm, and --fail-on-alarm was given", ""},
	{
		Undisclosed, ClassUnavailable,
		"the log binds a version of the policy that is not at hand with its signatures",
		"fetch the signatures again; if it stays, a version with [[void]] settles it",
	},
	{
		EffectUndecided, ClassUnavailable, "from when on a version of the policy is in force cannot be decided",
		"bind the version once more",
	},
	{
		GenesisMissing, ClassUnavailable, "the first statement that was named is not at hand",
		"check its digest, and fetch the signatures again",
	},
	{ChainTooLarge, ClassUnavailable, "the history of the policy exceeds a documented limit", ""},
	{
		LogUnproven, ClassUnavailable, "nothing shows that two trees of a transparency log are of one history",
		"try again; off-line, do without --require one-log, or carry the proofs with `repopolicy export-bundle`",
	},
	{
		ClockBehind, ClassUnavailable, "the history of the policy is younger than the moment of judging",
		"check the clock, or give a later --as-of",
	},
	{
		BelowRequired, ClassUnavailable, "what is known about the policy is less than what is demanded",
		"go on-line, or proceed with the --require that the detail names",
	},
	{
		NoBinding, ClassNoPolicy, "no policy is bound to this repository",
		"check the repository's name; a policy that you have at hand judges with --policy FILE; maintainers start with " +
			"`repopolicy init`",
	},
	{ViewStale, ClassStale, "what is known about the policy is older than --max-age",
		"go on-line"},
	{PolicyExpired, ClassStale, "the policy has expired", "a maintainer runs `repopolicy renew`, commits and pushes"},
	{
		EntryLate, ClassDeny,
		"the log entry is no evidence: it was logged after its certificate or its log had expired, or in no " +
			"log of the trusted root",
		"",
	},
	{
		BeforeGenesis, ClassDeny,
		"the release was logged before the policy was bound, and no rule of version 1 reaches back",
		"a rule of version 1 may say `since`, a later version may list the digest under [[adopted]]",
	},
	{
		LoginNeeded, ClassAuth, "a sign-in or an ID token is needed",
		"set SIGSTORE_ID_TOKEN, or run in a CI job with `id-token: write`",
	},
	{
		RegistryLogin, ClassAuth, "the registry shows this to nobody without a login, or not with this one",
		"log in with `docker login` or its like at that registry, with an account that may read it",
	},
	{
		NoTokenPermission, ClassUsage, "the job may not have an ID token",
		"say `permissions: id-token: write` for this job",
	},
	{TokenInvalid, ClassInvalid, "the ID token is malformed, or its issuer did not sign it", ""},
	{
		TokenRefused, ClassDeny, "the ID token is for something or somebody else, or no longer valid",
		"request a token with the audience `repopolicy` in the step that uses it",
	},
	{
		TokenMismatch, ClassDeny, "the ID token is of another run, commit or repository than the environment",
		"request the token in the job that uses it, and hand none over",
	},
	{
		IssuerUnreachable, ClassUnavailable, "the keys of the ID token's issuer could not be had",
		"try again; if it stays, look at the issuer's status",
	},
	{
		CheckoutDiffers, ClassDeny, "the files that are checked out are not those of the commit in the token",
		"check the commit out again, and authorise before anything is changed",
	},
	{ReceiptInvalid, ClassInvalid, "the receipt is malformed", ""},
	{
		ReceiptMismatch, ClassDeny, "the receipt is of another release, commit, policy or run, or has expired",
		"authorise again",
	},
	{BelowThreshold, ClassInvalid, "not enough maintainers signed this version of the policy", ""},
	{NotMaintainer, ClassDeny, "the signer is no maintainer of the policy", ""},
	{NotApprover, ClassDeny, "the policy counts no approval of this signer for this tag", ""},
	{NoAuthority, ClassDeny, "the run's identity does not prove that the repository speaks", ""},
	{Private, ClassUsage, "the repository is private, and its name would become public", ""},
	{
		SigningFailed, ClassUnavailable, "the signature could not be made or logged",
		"run the command again: it goes on where it stopped",
	},
	{
		HandInFailed, ClassUnavailable, "the directory did not take what was handed in",
		"try again: what it does not get within the grace of the binding lapses",
	},
	{
		WriteFailed, ClassUnavailable, "the machine could not write a file",
		"make room on the disk, then run the command again: it goes on where it stopped",
	},
	{
		EvidenceUnproven, ClassDeny, "the evidence file does not prove what it claims",
		"check which --trusted-root belongs to this project",
	},
	{EvidenceMalformed, ClassInvalid, "the evidence file is malformed", ""},
	{DoctorSetting, ClassDeny, "a setting of the forge is not what the policy leans on", "change it at the forge"},
	{DoctorDrift, ClassDeny, "a rule and the workflows disagree", "mend the workflow or the rule: `repopolicy edit`"},
	{DoctorBind, ClassDeny, "the workflow that binds is missing, not pinned, old, or idle", "see `repopolicy init`"},
	{DoctorExpires, ClassStale, "the policy expires soon", "maintainers renew it with `repopolicy renew`"},
	{DoctorUnread, ClassUnavailable, "something that the policy leans on was not looked at", "look at it yourself"},
	{Usage, ClassUsage, "the command line is wrong", ""},
	{
		Interrupted, ClassUnavailable, "the run was interrupted before it could decide",
		"run the command again, with more --timeout where a service is slow",
	},
	{
		BudgetExceeded, ClassUnavailable, "the run would hold more than it may",
		"give it more with --memory or --timeout, or judge fewer things at once",
	},
	{Internal, ClassInternal, "a bug in repopolicy", "please report it"},
}

// Reasons returns all reason codes in a fixed order. The slice is the caller's own.
func Reasons() []Reason {
	out := make([]Reason, len(reasonTable))
	for i, x := range reasonTable {
		out[i] = x.code
	}
	return out
}

// info returns the table row of the code. An unknown code is [Internal].
func (r Reason) info() info {
	for _, x := range reasonTable {
		if x.code == r {
			return x
		}
	}
	return Internal.info()
}

// Text says what the code means, in one sentence without a full stop.
func (r Reason) Text() string { return r.info().text }

// Hint says what to do next; "" where nothing is to be done.
func (r Reason) Hint() string { return r.info().hint }

// Class returns the class of the code; INTERNAL for an unknown code.
func (r Reason) Class() Class { return r.info().class }
