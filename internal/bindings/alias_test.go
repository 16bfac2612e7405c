// SPDX-License-Identifier: Apache-2.0

package bindings

// What tests see beside what is exported.
const EvidenceSchema = evidenceSchema
const MaxEvidenceBundles = maxEvidenceBundles
const MaxForges = maxForges
const MaxIssuers = maxIssuers
const PlaceGap = placeGap
const PlaceSuffix = placeSuffix
