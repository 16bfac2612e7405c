// SPDX-License-Identifier: Apache-2.0

package cli

//go:generate go run ../scaffold/gen ../..
