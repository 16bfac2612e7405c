// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"encoding/json"
	"time"

	"github.com/repopolicy/repopolicy/policy/chain"
)

// Bundles returns those of the file.
func (e *Evidence) Bundles() []json.RawMessage { return e.bundles }

// With returns the file with other bundles.
func (e *Evidence) With(bundles []json.RawMessage) *Evidence {
	out := *e
	out.bundles = bundles
	return &out
}

// History returns what the chain was made of.
func (r *Resolution) History() chain.History { return r.history }

// SetGap sets how long is waited after stamps of several logs.
func (d *Dater) SetGap(gap time.Duration) { d.gap = gap }
