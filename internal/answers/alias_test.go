// SPDX-License-Identifier: Apache-2.0

package answers

// What tests see beside what is exported.
const MaxInflated = maxInflated
const MaxLooseRecords = maxKeyRecords

var Deflate = deflate
var Inflate = inflate
