// SPDX-License-Identifier: Apache-2.0

package rekor

// What tests see beside what is exported.
const GrowthSchema = growthSchema
const MaxEarlier = maxEarlier
const MaxGrowth = maxGrowth
const MaxProofReply = maxProofReply
const PartialTile = partialTile
const TileHeight = tileHeight

var ParseIndex = parseIndex
var SplitTile = splitTile
var TilePath = tilePath
var TreeOfCheckpoint = treeOfCheckpoint
