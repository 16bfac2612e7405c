// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestImageBudget: what hangs at an image is fetched once by its digest, and counts
// against what the run may hold: too much of it is no conclusion, never an OK and never
// a denial.
func TestImageBudget(t *testing.T) {
	inst := sigstoretest.New(t)
	for name, c := range map[string]struct {
		layers  func(i *images, referrer int, good ocispec.Descriptor) []ocispec.Descriptor
		limit   int64
		reasons []policy.Reason
		blobs   int64 // at most, that are fetched
	}{
		"one blob a thousand times": {func(_ *images, _ int, good ocispec.Descriptor) []ocispec.Descriptor {
			return repeated(good, 100)
		}, 1 << 20, []policy.Reason{policy.Allowed}, 1},
		"the same with other annotations": {func(_ *images, r int, good ocispec.Descriptor) []ocispec.Descriptor {
			out := repeated(good, 100)
			for k := range out {
				out[k].Annotations = map[string]string{"n": fmt.Sprint(r, k)}
			}
			return out
		}, 1 << 20, []policy.Reason{policy.Allowed}, 1}, // the first was enough
		"many blobs": {func(i *images, r int, good ocispec.Descriptor) []ocispec.Descriptor {
			out := []ocispec.Descriptor{good}
			for k := range 20 {
				out = append(out, i.blob(bundleType, bytes.Repeat([]byte{byte('a' + k)}, 100<<10+r), nil))
			}
			return out
		}, 4 << 20, []policy.Reason{policy.Allowed, policy.BudgetExceeded}, 50}, // as they come
		"many blobs, and no good one": {func(i *images, r int, _ ocispec.Descriptor) []ocispec.Descriptor {
			var out []ocispec.Descriptor
			for k := range 20 {
				out = append(out, i.blob(bundleType, bytes.Repeat([]byte{byte('a' + k)}, 100<<10+r), nil))
			}
			return out
		}, 4 << 20, []policy.Reason{policy.BudgetExceeded}, 50},
		"long annotations": {func(_ *images, r int, good ocispec.Descriptor) []ocispec.Descriptor {
			good.Annotations = map[string]string{"x": strings.Repeat(fmt.Sprint(r), 1<<20)}
			return []ocispec.Descriptor{good}
		}, 4 << 20, []policy.Reason{policy.Allowed, policy.BudgetExceeded}, 1},
	} {
		var fetched atomic.Int64
		i := newImages(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
					fetched.Add(1)
				}
				h.ServeHTTP(w, r)
			})
		}, ggcr.WithReferrersSupport(true))
		image := i.image("v1", "x")
		good := i.blob(bundleType, attestedImage(inst, image.Digest, i.host+"/acme/widget"), nil)
		for r := range 10 {
			i.manifest("", bundleType, &image, c.layers(i, r, good)...)
		}
		fetched.Store(0)
		ctx := budget.With(context.Background(), budget.New(c.limit))
		a, err := Image(ctx, "oci://"+i.host+"/acme/widget:v1", Net{Transport: local{&internet{}}, Agent: "test"})
		if err != nil {
			t.Fatal(err)
		}
		res := imageJudge(t, inst, i.host).Run(ctx, []*release.Artifact{a})[0]
		if !slices.Contains(c.reasons, res.Decision.Reason) || fetched.Load() > c.blobs {
			t.Errorf("%s: %s: %s, %d blobs", name, res.Decision.Reason, res.Decision.Detail, fetched.Load())
		}
	}
}

func repeated(d ocispec.Descriptor, n int) []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, n)
	for k := range out {
		out[k] = d
	}
	return out
}
