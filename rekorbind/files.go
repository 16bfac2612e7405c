// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"fmt"
	"slices"
	"strings"
	"time"

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

// Collected is what verified out of a repository's files.
type Collected struct {
	Statements []policy.Statement
	Signatures []policy.Signature
	Leaves     []policy.Leaf
	Known      map[string]bool // hashes of the log leaves that were verified, hex
	Ignored    []Ignored
}

// Collect verifies the signature files of a repository under one trusted root.
// Files are unordered; what is unknown, malformed, not by the trusted root or
// there twice is ignored and listed. Keys of members are taken from the
// statements themselves: whether a key counts is for the chain to say.
func Collect(root *sigstore.Root, forges *Forges, files []File) *Collected {
	c := &Collected{Known: map[string]bool{}}
	type parsed struct {
		name   string
		bundle *sigstore.Bundle
		digest string // of the statement
	}
	var todo []parsed
	seen, statements := map[string]bool{}, map[string]bool{}
	var keys []*sigstore.Key
	total := 0
	for i, f := range files {
		if total += len(f.Data); i >= MaxSignatureFiles || total > MaxSignatureBytes {
			c.ignore(f.Name, "beyond the number or size of files that are read")
			continue
		}
		if seen[policy.Sum(f.Data)] {
			continue // the same file on both branches
		}
		seen[policy.Sum(f.Data)] = true
		b, err := sigstore.ParseBundle(f.Data)
		if err != nil {
			c.ignore(f.Name, err.Error())
			continue
		}
		if st := b.Statement(); st == nil || st.PredicateType != policy.StatementPredicate {
			c.ignore(f.Name, "not a signature over a policy")
			continue
		}
		s, err := ParseStatement(b.Payload())
		if err != nil {
			c.ignore(f.Name, err.Error())
		}
		if !statements[s.Digest()] {
			statements[s.Digest()] = true
			c.Statements = append(c.Statements, s)
			keys = append(keys, memberKeys(s.Document())...)
		}
		todo = append(todo, parsed{f.Name, b, s.Digest()})
	}
	for _, p := range todo {
		if err := c.verify(root, forges, p.bundle, p.digest, keys); err != nil {
			c.ignore(p.name, err.Error())
		}
	}
	return c
}

func (c *Collected) ignore(name, why string) { c.Ignored = append(c.Ignored, Ignored{name, why}) }

// memberKeys returns the public keys of a policy's maintainers.
func memberKeys(doc *policy.Document) []*sigstore.Key {
	if doc == nil {
		return nil
	}
	var out []*sigstore.Key
	for _, m := range doc.Content().Maintainers.Members {
		for _, k := range m.Keys {
			if key, err := sigstore.ParseKey([]byte(k.PEM), time.Time{}, time.Time{}); err == nil {
				out = append(out, key)
			}
		}
	}
	return out
}

func (c *Collected) verify(root *sigstore.Root, forges *Forges, b *sigstore.Bundle, statement string, keys []*sigstore.Key) error {
	subject := b.Statement().Subjects[0].Digests[0]
	try := []*sigstore.Key{nil}
	if b.Signer().Kind == policy.KindKey {
		try = slices.CompactFunc(slices.Clone(keys), func(a, b *sigstore.Key) bool { return a.ID() == b.ID() })
	}
	why := fmt.Errorf("signed with a key that no member has")
	for _, key := range try {
		v, err := b.Verify(root, subject, key, sigstore.Options{})
		if err != nil {
			why = err
			continue
		}
		signer := b.Signer()
		if key != nil {
			signer.Value = key.ID()
		}
		binding, err := forges.Authority(signer)
		if err != nil {
			binding = policy.Binding{}
		}
		for _, e := range v.Placed() {
			c.Known[e.LeafHash] = true
			c.Signatures = append(c.Signatures, policy.NewSignature(policy.SignatureFacts{Statement: statement, Signer: signer, Entry: e.At}))
			if !binding.IsZero() {
				c.Leaves = append(c.Leaves, policy.NewLeaf(policy.LeafFacts{
					Payload: statement, PAE: policy.PAEDigest(b.Payload()), Body: e.Body, Binding: binding, Entry: e.At,
				}))
			}
		}
		return nil
	}
	return why
}
