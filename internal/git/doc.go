// SPDX-License-Identifier: Apache-2.0

// Package git reads Git repositories on disk, object by object: raw bytes, each
// checked against its id. Nothing in a repository is trusted and nothing of it
// is run: there is no checkout, and replacement refs, grafts, hooks, filters,
// attributes, alternates and all of the configuration but the format's version
// and name are never looked at; [Repository.Origin] is for suggestions.
package git
