// SPDX-License-Identifier: Apache-2.0

package bundle

// KnownDetails reports whether an algorithm is one of PublicKeyDetails, used or not any more.
func KnownDetails(name string) bool {
	_, err := publicKeyDetails.named(name)
	return err == nil
}
