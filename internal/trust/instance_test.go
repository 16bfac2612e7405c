// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	sigstoretuf "github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// TestPinned: the built-in roots are the ones that other clients have built in,
// byte for byte, and nobody changed them unnoticed.
func TestPinned(t *testing.T) {
	for instance, want := range map[Instance]struct {
		digest  string
		version int64
		theirs  []byte
		address string
	}{
		PublicGood: {
			"a0dfcc5d51c1ce4a66b541a3fff0afa97225ccc40456b21140bb2e2f113122e2", 14, sigstoretuf.DefaultRoot(),
			sigstoretuf.DefaultMirror,
		},
		Staging: {
			"f0a8b825e7e504c36d2f4bac2c97b7a78b2abb152f3fd3b017496c20e031468e", 13, sigstoretuf.StagingRoot(),
			sigstoretuf.StagingMirror,
		},
		GitHub: { // no module of ours embeds it
			"98cba97be9075bc98b2322de3de85fbd1b70ec7392991dfd2f53d215bede1a8d", 3, githubRoot,
			"https://tuf-repo.github.com",
		},
	} {
		root, address, err := instance.pin()
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(root); hex.EncodeToString(sum[:]) != want.digest || string(root) != string(want.theirs) ||
			address != want.address {
			t.Errorf("%s: sha256:%x at %s", instance, sum, address)
		}
		c, err := tuf.New(tuf.Options{Root: root, Now: time.Now})
		if err != nil || c.Root().Version != want.version {
			t.Errorf("%s: %v", instance, err)
		}
	}
	if _, _, err := Instance("other").pin(); err == nil {
		t.Error("an instance that does not exist")
	}
}

// TestDocuments: JSON lines are several roots, and nothing else is.
func TestDocuments(t *testing.T) {
	for in, want := range map[string]int{
		"{}": 1, "{}\n": 1, "{}\n{}\n": 2, "{\n}": 1, "{}\n\n{}": 1, "{}\n[]": 1, "": 1, "{}\nx": 1,
		strings.Repeat("{}\n", maxLines): maxLines, strings.Repeat("{}\n", maxLines+1): 1,
	} {
		if got := documents([]byte(in)); len(got) != want {
			t.Errorf("%.40q: %d", in, len(got))
		}
	}
}

// TestOffline: without a cache there is nothing to use.
func TestOffline(t *testing.T) {
	for _, o := range []Options{
		{Offline: true, Now: time.Now}, {Offline: true, Now: time.Now, Cache: t.TempDir(), Instance: Staging},
	} {
		_, err := Roots(t.Context(), o)
		var e *sigstore.Error
		if !errors.As(err, &e) || e.Reason != policy.TrustRootMissing {
			t.Errorf("%v", err)
		}
		if _, err := SigningConfigs(t.Context(), o, true); !errors.As(err, &e) || e.Reason != policy.TrustRootMissing {
			t.Errorf("%v", err)
		}
	}
	if _, err := Roots(t.Context(), Options{Offline: true}); err == nil {
		t.Error("without a clock")
	}
}
