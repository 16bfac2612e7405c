// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Where a repository keeps its policy, and on which branch its workflow leaves
// the bindings. Both refs are read, and the union counts.
const (
	Dir           = ".repopolicy"
	PolicyFile    = Dir + "/policy.toml"
	SignaturesDir = Dir + "/signatures"
	BindingBranch = "repopolicy"

	signatureSuffix = ".sigstore.json"
)

// Limits of what is read of a repository.
const (
	MaxSignatureFiles = 50_000
	MaxSignatureBytes = 512 << 20 // all together
)

// File is a file that anyone may have written.
type File struct {
	Name string // within the repository
	Data []byte
}

// SignatureName returns the name of the file with one signature in one log: the
// version, twelve hex digits of the SHA-256 of the certificate or key, and ".v1"
// if the log is Rekor v1.
func SignatureName(version int, signer []byte, v1 bool) string {
	name := fmt.Sprintf("%d-%s", version, policy.Sum(signer)[:12])
	if v1 {
		name += ".v1"
	}
	return SignaturesDir + "/" + name + signatureSuffix
}

// IsSignatureName reports whether a path in a repository is where signatures
// are.
func IsSignatureName(name string) bool {
	base, ok := strings.CutPrefix(name, SignaturesDir+"/")
	return ok && !strings.Contains(base, "/") && strings.HasSuffix(base, signatureSuffix)
}

// Ignored is a file that counts for nothing, and why.
type Ignored struct{ Name, Why string }

// Collect verifies the signature files of a repository under one trusted root.
// Files are unordered; what is unknown, malformed, not by the trusted root or
// there twice is ignored and listed. Keys of members are taken from the
// statements themselves: whether a key counts is for the chain to say.
func Collect(root *sigstore.Root, forges *Forges, files []File) (*Collection, []Ignored) {
	c := &Collection{Root: root, Forges: forges}
	var ignored []Ignored
	type parsed struct {
		name   string
		bundle *sigstore.Bundle
	}
	var todo []parsed
	seen := map[string]bool{}
	total := 0
	for i, f := range files {
		if total += len(f.Data); i >= MaxSignatureFiles || total > MaxSignatureBytes {
			ignored = append(ignored, Ignored{f.Name, "beyond the number or size of files that are read"})
			continue
		}
		if seen[policy.Sum(f.Data)] {
			continue // the same file on both branches
		}
		seen[policy.Sum(f.Data)] = true
		b, err := sigstore.ParseBundle(f.Data)
		if err == nil {
			if st := b.Statement(); st == nil || st.PredicateType != policy.StatementPredicate {
				err = errors.New("not a signature over a policy")
			}
		}
		if err == nil {
			_, err = c.Learn(b)
		}
		if err != nil {
			ignored = append(ignored, Ignored{f.Name, err.Error()})
			continue
		}
		todo = append(todo, parsed{f.Name, b})
	}
	if len(todo) > 1 {
		bundles := make([]*sigstore.Bundle, len(todo))
		for i, p := range todo {
			bundles[i] = p.bundle
		}
		c.prepare(bundles)
	}
	for _, p := range todo {
		if err := c.Add(p.bundle); err != nil {
			ignored = append(ignored, Ignored{p.name, err.Error()})
		}
	}
	return c, ignored
}

// prepare verifies bundles in parallel; each remembers its result.
func (c *Collection) prepare(bundles []*sigstore.Bundle) {
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var panicked any
	for range min(runtime.GOMAXPROCS(0), len(bundles)) {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					mu.Lock()
					defer mu.Unlock()
					panicked = r
				}
			}()
			for i := next.Add(1) - 1; int(i) < len(bundles); i = next.Add(1) - 1 {
				_, _ = c.verify(bundles[i])
			}
		})
	}
	wg.Wait()
	if panicked != nil {
		panic(panicked) // where the program's own handler is
	}
}
