// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
)

// TestNotCertifiedInVain: who signs in is not certified, which is public, unless one of
// the names that a certificate could have is waited for.
func TestNotCertifiedInVain(t *testing.T) {
	key := func(name string) Key {
		k, err := Identity(name, "https://accounts.google.com")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	alice, bob := key("alice@example.com"), key("bob@example.com")
	for name, c := range map[string]struct {
		may  []Key
		asks bool
	}{
		"wanted": {[]Key{alice}, true}, "one of two": {[]Key{bob, alice}, true}, "another": {[]Key{bob}, false}, "nobody": {nil, false},
	} {
		asked := false
		s := &IdentitySigner{May: c.may, Certify: func(context.Context, [sha256.Size]byte) (string, string, func(context.Context) ([]byte, error), error) {
			asked = true
			return "", "", nil, errors.New("no service")
		}}
		_, err := s.Sign(t.Context(), []byte("x"), func(id string) bool { return id == alice.id })
		if asked != c.asks || err == nil || !c.asks && !errors.Is(err, ErrNotWanted) {
			t.Errorf("%s: asked %v, %v", name, asked, err)
		}
	}
}
