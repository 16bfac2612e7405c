// SPDX-License-Identifier: Apache-2.0

package memory

// Dir returns where the state lies.
func (s *State) Dir() string { return string(s.store.(folder)) }
