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
		"wanted": {[]Key{alice}, true}, "one of two": {[]Key{bob, alice}, true}, "another": {[]Key{bob}, false},
		"nobody": {nil, false},
	} {
		asked := false
		s := &IdentitySigner{
			May: c.may,
			Log: func(context.Context, [sha256.Size]byte, func(Key) error) ([]byte, Key, error) {
				asked = true
				return nil, Key{}, errors.New("no service")
			},
		}
		_, err := s.Sign(t.Context(), []byte("x"), func(id string) bool { return id == alice.id })
		if asked != c.asks || err == nil || !c.asks && !errors.Is(err, ErrNotWanted) {
			t.Errorf("%s: asked %v, %v", name, asked, err)
		}
	}
}

// TestCertifiedAsAnother: who is certified under another name than expected is asked about before
// the signature is logged, and one that an earlier run logged is not taken either.
func TestCertifiedAsAnother(t *testing.T) {
	key := func(name string) Key {
		k, err := Identity(name, "https://accounts.google.com")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	alice, bob := key("alice@example.com"), key("bob@example.com")
	for name, fresh := range map[string]bool{"just signed": true, "logged before": false} {
		logged := false
		s := &IdentitySigner{
			May: []Key{alice},
			Log: func(_ context.Context, _ [sha256.Size]byte, wanted func(Key) error) ([]byte, Key, error) {
				if fresh {
					if err := wanted(bob); err != nil {
						return nil, Key{}, err
					}
				}
				logged = true
				return []byte("{}"), bob, nil
			},
		}
		_, err := s.Sign(t.Context(), []byte("x"), func(id string) bool { return id == alice.id })
		if !errors.Is(err, ErrNotWanted) || logged == fresh {
			t.Errorf("%s: logged %v, %v", name, logged, err)
		}
	}
}
