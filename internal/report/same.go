// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/policy"
)

// Digests are those of one thing; in JSON an object with the algorithms as keys.
type Digests []policy.Digest

// MarshalJSON writes an object, also for none.
func (d Digests) MarshalJSON() ([]byte, error) { return json.Marshal(d.object()) }

// UnmarshalJSON reads such an object; the order is that of the algorithms' names.
func (d *Digests) UnmarshalJSON(data []byte) error {
	var object map[string]string
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	*d = nil
	for _, alg := range slices.Sorted(maps.Keys(object)) {
		*d = append(*d, policy.Digest{Alg: alg, Hex: object[alg]})
	}
	return nil
}

func (d Digests) object() map[string]string {
	out := make(map[string]string, len(d))
	for _, x := range d {
		out[x.Alg] = x.Hex
	}
	return out
}

// sharedEvidence keeps one copy of what the evidence of many artifacts says that one signature allows:
// the signer of the last that differs from the one before, with times and places.
type sharedEvidence struct {
	of      policy.Identity
	written *Signer

	from  *repopolicy.Evidence // that times and log entries were made of
	made  []Time
	place []LogEntry
}

func (s *sharedEvidence) signer(id policy.Identity) *Signer {
	if s.written == nil || s.of != id {
		x := NewSigner(id)
		s.of, s.written = id, &x
	}
	return s.written
}

// times sets times and log entries.
func (s *sharedEvidence) times(out *Evidence, ev *repopolicy.Evidence) {
	if f := s.from; f == nil || !slices.Equal(f.Times, ev.Times) || !slices.Equal(f.Log, ev.Log) {
		s.from, s.made, s.place = ev, nil, nil
		for _, t := range ev.Times {
			s.made = append(s.made, Time(t))
		}
		for _, e := range ev.Log {
			s.place = append(s.place, newLogEntry(e))
		}
	}
	out.Times, out.Log = s.made, s.place
}
