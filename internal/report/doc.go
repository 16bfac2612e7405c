// SPDX-License-Identifier: Apache-2.0

// Package report says how a verdict reads: text for people, JSON, SARIF, workflow commands and
// summaries of GitHub, SLSA verification summaries. All forms are made from one value, so that
// they cannot disagree, and nothing that came from outside is active in any of them.
package report
