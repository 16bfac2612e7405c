// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	SignatureSuffix = ".sigstore.json"
	AnswerExtension = ".json.gz"
)

// Limits of what is read of a repository.
const (
	MaxSignatureFiles = 50_000
	MaxSignatureBytes = 64 << 20 // all together

	// bytesPerByte is what a statement and its policy take of memory, by measurement,
	// for each byte of its payload.
	bytesPerByte = 8
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
	name := fmt.Sprintf("%d-%s", version, spelling.Sum(signer)[:12])
	if v1 {
		name += ".v1"
	}
	return SignaturesDir + "/" + name + SignatureSuffix
}

// signatureIn returns the name of the file with one signature in a further log of Rekor v2: as
// [SignatureName], with eight hex digits of the log's id.
func SignatureIn(version int, signer []byte, log string) string {
	name := strings.TrimSuffix(SignatureName(version, signer, false), SignatureSuffix)
	return name + "." + log[:min(len(log), 8)] + SignatureSuffix
}

// IsSignatureName reports whether a path in a repository is where signatures
// are.
func IsSignatureName(name string) bool {
	base, ok := strings.CutPrefix(name, SignaturesDir+"/")
	return ok && !strings.Contains(base, "/") && strings.HasSuffix(base, SignatureSuffix)
}

// StapleName returns the name of the file that a repository keeps a directory's
// answer in: one for each map.
func StapleName(root *sigstore.Root, forges *Forges) string {
	return StapleDir + "/" + MapID(MapVersion, root.Digest().Hex, forges.Digest()) + AnswerExtension
}

// Ignored is a file that counts for nothing, and why.
type Ignored struct{ Name, Why string }

// Collect verifies the signature files and place proofs of a repository under one trusted
// root; the name of a file says which it is. Files are unordered; what is unknown, malformed,
// not by the trusted root or there twice is ignored and listed. Keys of members are taken from
// the statements themselves: whether a key counts is for the chain to say.
func Collect(root *sigstore.Root, forges *Forges, files []File) (*Collection, []Ignored) {
	c, ignored, _ := collect(nil, root, forges, files)
	return c, ignored
}

// collect is Collect within a budget. The error says that what the files say cannot be
// held: leaving some of them out would be another chain.
func collect(b *budget.Budget, root *sigstore.Root, forges *Forges, files []File) (*Collection, []Ignored, error) {
	c := &Collection{Root: root, Forges: forges, verified: map[string][][]byte{}}
	ignored, err := c.collect(b, files)
	if err != nil {
		return nil, nil, err
	}
	return c, ignored, nil
}

func (c *Collection) collect(b *budget.Budget, files []File) ([]Ignored, error) {
	var ignored []Ignored
	signatures, places := split(files)
	todo := distinct(signatures)
	var statements statements
	Parallel(len(todo), func(i int) { todo[i].read(c.Root, &statements) })
	for _, p := range todo {
		if p.err != nil {
			continue
		}
		if _, known := c.statements[p.statement.Digest()]; !known {
			if err := b.Take(bytesPerByte * p.size); err != nil {
				return nil, err
			}
		}
		p.err = c.learn(*p.statement)
	}
	// Keys are known once every statement is.
	Parallel(len(todo), func(i int) {
		if p := todo[i]; p.err == nil && p.keyed {
			var again *sigstore.Bundle
			if again, p.unproven = sigstore.ParseBundle(p.Data); p.unproven == nil {
				p.proven, p.unproven = c.verify(again)
			}
		}
	})
	for _, p := range todo {
		if p.err == nil && p.unproven != nil {
			c.doubt(p.statement, p.unproven, p.Data)
			p.err = p.unproven
		}
		if p.err == nil {
			p.err = c.take(p.statement, p.proven, p.Data)
		}
		if p.err != nil {
			ignored = append(ignored, Ignored{p.Name, p.err.Error()})
			continue
		}
		c.verified[p.statement.Digest()] = append(c.verified[p.statement.Digest()], p.Data)
	}
	return append(ignored, c.dates(places)...), nil
}

// split tells place proofs from signatures.
func split(files []File) (signatures, places []File) {
	for _, f := range files {
		if IsPlaceName(f.Name) {
			places = append(places, f)
		} else {
			signatures = append(signatures, f)
		}
	}
	return signatures, places
}

// signatureFile is a file on its way to be verified.
type signatureFile struct {
	File
	statement *chain.Statement
	size      int64 // of the statement's payload
	keyed     bool  // a bare key signed it
	proven    *sigstore.Verified
	unproven  error // why the signature counts for nothing; the statement is known
	err       error // why the file does
}

// distinct returns each file once; those beyond the limits have an error.
func distinct(files []File) []*signatureFile {
	var out []*signatureFile
	seen := map[string]bool{}
	total := 0
	for i, f := range files {
		p := &signatureFile{File: f}
		if total += len(f.Data); i >= MaxSignatureFiles || total > MaxSignatureBytes {
			p.err = errors.New("beyond the number or size of files that are read")
		} else if sum := spelling.Sum(f.Data); seen[sum] {
			continue // the same file on both branches
		} else {
			seen[sum] = true
		}
		out = append(out, p)
	}
	return out
}

// statements reads each payload once, however many signatures are over it. The zero value is ready.
type statements struct {
	once sync.Map // functions that return a *chain.Statement, by the SHA-256 of the payload
}

func (s *statements) read(payload []byte) *chain.Statement {
	once, _ := s.once.LoadOrStore(sha256.Sum256(payload), sync.OnceValue(func() *chain.Statement {
		out, _ := rekorbind.ParseStatement(payload) // it remembers its error
		return &out
	}))
	return once.(func() *chain.Statement)()
}

// read reads the file and verifies it, if a certificate signed it. Of the bundle,
// which is many times as large as what it proves, nothing is left then.
func (p *signatureFile) read(root *sigstore.Root, statements *statements) {
	if p.err != nil {
		return
	}
	b, err := sigstore.ParseBundle(p.Data)
	if err != nil {
		p.err = err
		return
	}
	if st := b.Statement(); st == nil || st.PredicateType != spelling.StatementPredicate {
		p.err = errors.New("not a signature over a policy")
		return
	}
	p.size = int64(len(b.Payload()))
	p.statement = statements.read(b.Payload())
	if b.Signer().Kind == policy.KindKey {
		p.keyed = true
		return
	}
	p.proven, p.unproven = b.Verify(root, b.Statement().Subjects[0].Digests[0], nil, sigstore.Options{})
}

// parallel calls f for each number below n, on all processors.
func Parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var panicked any
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					mu.Lock()
					defer mu.Unlock()
					panicked = r
				}
			}()
			for i := next.Add(1) - 1; int(i) < n; i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
	if panicked != nil {
		panic(panicked) // where the program's own handler is
	}
}
