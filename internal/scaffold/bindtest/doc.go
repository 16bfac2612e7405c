// SPDX-License-Identifier: Apache-2.0

// Package bindtest makes repositories with bound policies, and logs and indexes that may lie
// about them, for tests only.
package bindtest
