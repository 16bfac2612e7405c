// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// BenchmarkBuild builds a directory over a log of which every entry is a binding,
// ten of each repository, and writes its site. Certificates are not verified: see
// BenchmarkFollow.
//
//	go test -C directory -run '^$' -bench Build -benchtime 1x -timeout 60m
func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		if testing.Short() && n > 10_000 {
			continue
		}
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			inst := sigstoretest.New(b)
			var bodies [][]byte
			for i := range n {
				bodies = append(bodies, syntheticBody(i, max(n/10, 1)))
			}
			log := newTestLog(b, inst, bodies)
			for b.Loop() {
				dir := b.TempDir()
				builder := testBuilder(b, log, dir, synthetic{})
				peak, stop := watchHeap()
				start := time.Now()
				if _, err := builder.Build(b.Context()); err != nil {
					b.Fatal(err)
				}
				built := time.Since(start)
				stop()
				most, stop := watchHeap()
				if err := builder.Store.Publish(filepath.Join(dir, "site"), noWarn); err != nil {
					b.Fatal(err)
				}
				published := time.Since(start) - built
				stop()
				*peak = max(*peak, *most)
				b.ReportMetric(built.Seconds(), "s/build")
				b.ReportMetric(published.Seconds(), "s/publish")
				b.ReportMetric(float64(*peak)/1e6, "MB-live")
				b.ReportMetric(float64(size(b, filepath.Join(dir, stateFile)))/1e6, "MB-state")
				b.ReportMetric(float64(size(b, filepath.Join(dir, "site")))/1e6, "MB-site")
			}
		})
	}
}

// watchHeap samples how much more of the heap is alive than when it is called: the
// log that is read is in it, too.
func watchHeap() (*uint64, func()) {
	live := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	runtime.GC()
	before := live()
	peak, end, done := new(uint64), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if now := live(); now > before {
				*peak = max(*peak, now-before)
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return peak, func() { close(end); <-done }
}

// size returns the bytes of a file, or of all files below a directory.
func size(b testing.TB, path string) (total int64) {
	b.Helper()
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Lstat(filepath.Join(filepath.Dir(path), d.Name()))
		if i, infoErr := d.Info(); infoErr == nil {
			info, err = i, nil
		}
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

// BenchmarkAnswer makes answers as a server does, of ten bindings and of none, in a
// directory of 10,000 repositories.
func BenchmarkAnswer(b *testing.B) {
	const repositories = 10_000
	var bodies [][]byte
	for i := range 10 * repositories {
		bodies = append(bodies, syntheticBody(i, repositories))
	}
	builder := testBuilder(b, newTestLog(b, sigstoretest.New(b), bodies), b.TempDir(), synthetic{})
	if _, err := builder.Build(b.Context()); err != nil {
		b.Fatal(err)
	}
	s, err := NewServer(builder.Store)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Advance(); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	all, err := builder.Store.Maps()
	if err != nil {
		b.Fatal(err)
	}
	for what, key := range map[string]string{"ten": "https://github.com/acme/r%d", "none": "https://github.com/none/r%d"} {
		b.Run(what, func(b *testing.B) {
			n, size := 0, 0
			for b.Loop() {
				path := lookupPath(all[0].ID, prefixmap.KeyHash(fmt.Sprintf(key, n%repositories)))
				n++
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequest("GET", "/"+path, nil))
				if w.Code != 200 {
					b.Fatal(w.Code)
				}
				size += w.Body.Len()
			}
			b.ReportMetric(float64(size)/float64(n), "B/answer")
		})
	}
}
