// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// Demand is what must be known before a chain gives a verdict. The zero value
// is the default: a genesis that is not merely claimed, completeness of at least
// "hinted", any age.
type Demand struct {
	Genesis      policy.GenesisLabel // the least that suffices; "" for the default
	Completeness Completeness        // the least that suffices; "" for the default
	// MaxAge is how old the view may be; 0 for any age.
	MaxAge time.Duration
	// Strict makes an expired head STALE at once, as before a release.
	Strict bool
	// FailOnAlarm makes every alarm decide.
	FailOnAlarm bool
	// OneLog demands a proof that each log is of one history also where no log is asked.
	OneLog bool
}

// requireOneLog is the word of --require for [Demand.OneLog].
const requireOneLog = "one-log"

// completenessRank orders what is known, the better one higher.
var completenessRank = map[Completeness]int{
	CompleteNone: 1, CompleteHinted: 2, CompleteScanned: 3, CompleteSigned: 4, CompleteProven: 5,
}

// ParseRequire reads the value of --require: a set of labels of genesis and of
// completeness, separated by commas, of which the least of each kind suffices.
func (d Demand) ParseRequire(s string) (Demand, error) {
	for word := range strings.SplitSeq(s, ",") {
		g, c := policy.GenesisLabel(word), Completeness(word)
		switch {
		case word == requireOneLog:
			d.OneLog = true
		case genesisRank[g] > 0:
			if d.Genesis == "" || genesisRank[g] < genesisRank[d.Genesis] {
				d.Genesis = g
			}
		case completenessRank[c] > 0:
			if d.Completeness == "" || completenessRank[c] < completenessRank[d.Completeness] {
				d.Completeness = c
			}
		default:
			return Demand{}, fmt.Errorf("%q is neither a label of genesis (pinned, anchored, first, claimed) "+
				"nor of completeness (proven, signed, scanned, hinted, none), nor one-log", clip.Text(word))
		}
	}
	return d, nil
}

func (d Demand) genesis() policy.GenesisLabel {
	if d.Genesis == "" {
		return policy.GenesisFirst
	}
	return d.Genesis
}

func (d Demand) completeness() Completeness {
	if d.Completeness == "" {
		return CompleteHinted
	}
	return d.Completeness
}
