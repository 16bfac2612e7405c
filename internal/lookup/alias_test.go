// SPDX-License-Identifier: Apache-2.0

package lookup

// What tests see beside what is exported.
const MaxAgain = maxAgain
const MaxAsked = maxAsked
const MaxFetched = maxFetched
const MaxForeign = maxForeign

var Resume = resume
