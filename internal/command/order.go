// SPDX-License-Identifier: Apache-2.0

package command

// Step is one thing that a verb does that makes something public.
type Step string

// Steps, in the one order in which they are taken: what costs nothing first, what
// cannot be taken back last. A step that fails ends the run, and none after it was
// begun.
const (
	StepFlags       Step = "flags"       // the command line is read, and files that it names
	StepLook        Step = "look"        // trust root, repository, logs: what is in force
	StepToken       Step = "token"       // the environment or a person gives an ID token
	StepIdentity    Step = "identity"    // it is of somebody who may do this, and who is expected
	StepConsent     Step = "consent"     // a person agrees to become public
	StepTree        Step = "tree"        // what is signed is written, here alone, for the next run
	StepCertificate Step = "certificate" // Fulcio certifies the name, in public
	StepStamp       Step = "stamp"       // the signature gets its time; all of it verifies
	StepV1          Step = "rekor-v1"    // the signature is logged
	StepV2          Step = "rekor-v2"
	StepFile        Step = "file" // it is written where it belongs
)

// Orders are the steps of each command that signs as somebody. The tests with real services
// let each step fail and look that nobody was asked for a later one.
//
// The time stamps of place proofs, which bind asks for before the certificate and after the
// entries, are no steps: they publish nothing, and one that fails ends no run. Nor are the entries of
// a binding in the other open logs of Rekor v2, after that in the one of the signing config: one that
// fails ends no run, and makes nothing public that is not so by then.
var Orders = map[string][]Step{
	"repopolicy init": {StepFlags, StepLook, StepToken, StepIdentity, StepConsent, StepTree, StepCertificate,
		StepStamp, StepV1, StepV2, StepFile},
	"repopolicy sign": {StepFlags, StepLook, StepToken, StepIdentity, StepConsent, StepCertificate,
		StepStamp, StepV1, StepV2, StepFile},
	"repopolicy bind": {StepFlags, StepLook, StepToken, StepIdentity, StepCertificate,
		StepStamp, StepV1, StepV2, StepFile},
	"repopolicy approve": {StepFlags, StepLook, StepToken, StepIdentity, StepConsent, StepCertificate,
		StepStamp, StepV2, StepFile},
	"repopolicy sign-release": {StepFlags, StepToken, StepLook, StepIdentity, StepConsent, StepCertificate,
		StepStamp, StepV2, StepFile},
	// One log is enough for TUF metadata: that of Rekor v1 where the instance has one. Of
	// several roles each is certified, logged and kept before the next one.
	"repopolicy-trust sign": {StepFlags, StepLook, StepToken, StepIdentity, StepConsent, StepCertificate,
		StepStamp, StepV1, StepFile},
	"repopolicy-trust from-policy": {StepFlags, StepLook, StepToken, StepIdentity, StepConsent, StepCertificate,
		StepStamp, StepV1, StepFile},
}
