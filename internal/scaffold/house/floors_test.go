// SPDX-License-Identifier: Apache-2.0

package house

import (
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// floors are the oldest versions without a known way around a check.
var floors = map[string]string{
	"golang.org/x/mod":                           "v0.40.0",
	"github.com/sigstore/sigstore-go":            "v1.2.1",
	"github.com/theupdateframework/go-tuf/v2":    "v2.4.2",
	"github.com/sigstore/timestamp-authority/v2": "v2.0.6",
	"github.com/go-git/go-git/v5":                "v5.19.2",
	"github.com/go-git/go-billy/v5":              "v5.9.0",
	"github.com/sigstore/rekor":                  "v1.5.2",
	"github.com/sigstore/fulcio":                 "v1.8.6",
}

func TestFloors(t *testing.T) {
	for _, file := range []string{"go.mod", "sandbox/go.mod"} {
		mod, err := modfile.Parse(file, read(t, file), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(mod.Replace) > 0 && file == "go.mod" {
			t.Errorf("%s: replaced requirements are not what users get", file)
		}
		seen := map[string]bool{}
		for _, r := range mod.Require {
			floor, ok := floors[r.Mod.Path]
			seen[r.Mod.Path] = true
			if ok && semver.Compare(r.Mod.Version, floor) < 0 {
				t.Errorf("%s: %s is below %s", file, r.Mod, floor)
			}
		}
		for _, path := range []string{"golang.org/x/mod", "github.com/sigstore/sigstore-go"} {
			if !seen[path] {
				t.Errorf("%s: no %s", file, path)
			}
		}
	}
}
