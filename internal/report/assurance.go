// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// labels say in words what a label of SPEC 9 means, in few for a line among others.
type labels struct{ brief, long string }

// noGenesis is what stands for the label where no policy is bound.
const noGenesis = "none"

var genesisLabels = map[string]labels{
	string(policy.GenesisPinned):   {"as you named it", "you named it"},
	string(policy.GenesisAnchored): {"as a trust root names it", "a super root names it"},
	string(policy.GenesisFirst):    {"yes", "the log shows it first"},
	string(policy.GenesisClaimed):  {"only its own word", "only the chain says so"},
	noGenesis:                      {"none", "there is no policy"},
}

var completenessLabels = map[string]labels{
	string(chain.CompleteProven):  {"yes, a directory proves it", "exactly these bindings exist"},
	string(chain.CompleteSigned):  {"a directory signed that it is", "the directory's signed word"},
	string(chain.CompleteScanned): {"yes, the whole log was read", "the whole log was read"},
	string(chain.CompleteHinted):  {"as the log's index says", "the word of the index's operator"},
	string(chain.CompleteNone):    {"nobody was asked", "nothing is known about what else exists"},
}

// GenesisText says what a genesis label means.
func GenesisText(label string) string { return genesisLabels[label].long }

// CompletenessText says what a completeness label means.
func CompletenessText(label string) string { return completenessLabels[label].long }

// AssuranceHelp is the command that explains both labels.
const AssuranceHelp = "repopolicy help assurance"

// assurance says how sure it is which policy is the repository's: why its first version is, and what
// else may exist. Asked is the moment of the run.
func assurance(genesis, completeness string, known, inputs *time.Time, asked time.Time) string {
	text := "complete: " + completenessLabels[completeness].brief + " (" + completeness + ")"
	if genesis != noGenesis {
		text = "first: " + genesisLabels[genesis].brief + " (" + genesis + "); " + text
	}
	if known != nil && asked.Sub(*known) > fresh {
		text += ", as of " + spelling.Stamp(*known)
	}
	if inputs != nil && known != nil && known.Sub(*inputs) > quiet {
		text += ", of logs with entries up to " + spelling.Stamp(*inputs)
	}
	if genesis == string(policy.GenesisClaimed) || completeness == string(chain.CompleteNone) {
		text += "; `" + AssuranceHelp + "` says what that leaves open"
	}
	return text
}

// What is known is as of now if it is younger than fresh; a log that nobody wrote to for so long as
// quiet is named, since a directory may have read no further.
const (
	fresh = time.Hour
	quiet = 24 * time.Hour
)
