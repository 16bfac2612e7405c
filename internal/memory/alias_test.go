// SPDX-License-Identifier: Apache-2.0

package memory

// What tests see beside what is exported.
const MaxRemembered = maxRemembered
const MaxStateBytes = maxStateBytes
const StateSchema = stateSchema

type Document[T any] = document[T]

var LineOf = lineOf
var Name = name
var ParseLooked = parseLooked
var StateRules = stateRules
