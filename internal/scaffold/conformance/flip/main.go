// SPDX-License-Identifier: Apache-2.0

// Flip changes every bit of real bundles, one at a time, and compares our judgement of each with
// sigstore-go's:
//
//	go run ./internal/scaffold/conformance/flip [-n BUNDLES] [-part I/N] [-every K] DIR
//
// DIR is a corpus as internal/scaffold/conformance/corpus reads it. The bundles are the smallest
// that it accepts. Where we accept, the library is always asked; where we refuse, for every K-th
// bit. It fails where we accept what the library refuses, prove other facts, or refuse in a way
// that is not listed.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/oracle"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

func main() {
	n := flag.Int("n", 60, "how many bundles")
	part := flag.String("part", "1/1", "which part of them")
	every := flag.Int("every", 16, "of how many refusals the library is asked about one")
	flag.Parse()
	if err := run(flag.Arg(0), *n, *part, *every); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// subject is a bundle with what it is judged by.
type subject struct {
	id     string
	data   []byte
	files  [2][]byte // trusted root, and key or nil
	root   *sigstore.Root
	theirs *oracle.Root
	key    *sigstore.Key
	digest policy.Digest
	alone  bool // no log entry
}

type manifest struct {
	TrustRoots map[string]struct{ Path string }
	Cases      []struct {
		ID     string
		Bundle *struct{ Path string }
		Trust  struct {
			Root string
			Key  *string
		}
		Expected struct{ Verdict string }
	}
}

func run(dir string, n int, part string, every int) error {
	var i, of int
	if _, err := fmt.Sscanf(part, "%d/%d", &i, &of); err != nil || i < 1 || i > of || every < 1 {
		return errors.New("usage: flip [-n BUNDLES] [-part I/N] [-every K] DIR")
	}
	subjects, err := load(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(subjects, func(a, b subject) int { return len(a.data) - len(b.data) })
	counts, faults, at := map[string]int{}, 0, 0
	for _, s := range subjects {
		if at == n {
			break
		}
		if s.read() != nil {
			continue // not accepted by both
		}
		if at++; at%of != i-1 {
			continue
		}
		bad := s.flip(0, 1, every, counts)
		faults += bad
		fmt.Printf("%s: %d bits, %d faults\n", s.id, 8*len(s.data), bad)
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Printf("%9d %s\n", counts[k], k)
	}
	if faults > 0 {
		return fmt.Errorf("%d faults", faults)
	}
	return nil
}

// load returns the bundles of a corpus that are to be accepted.
func load(dir string) ([]subject, error) {
	var m manifest
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return nil, err
	}
	roots := map[string][]byte{}
	var out []subject
	for _, c := range m.Cases {
		if c.Bundle == nil || c.Expected.Verdict != "accept" {
			continue
		}
		path, own := strings.CutPrefix(c.Trust.Root, "custom:")
		if !own {
			path = m.TrustRoots[c.Trust.Root].Path
		}
		if roots[path] == nil {
			if roots[path], err = os.ReadFile(filepath.Join(dir, path)); err != nil {
				return nil, err
			}
		}
		s := subject{id: c.ID}
		if s.data, err = os.ReadFile(filepath.Join(dir, c.Bundle.Path)); err != nil {
			return nil, err
		}
		s.files[0] = roots[path]
		if c.Trust.Key != nil {
			if s.files[1], err = os.ReadFile(filepath.Join(dir, *c.Trust.Key)); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// read reads what a bundle is judged by; it is an error if not both accept it as it is.
func (s *subject) read() (err error) {
	root, key := s.files[0], s.files[1]
	if s.root, err = sigstore.ParseRoot(s.id, root); err != nil {
		return err
	}
	if s.theirs, err = oracle.ParseRoot(root); err != nil {
		return err
	}
	if key != nil {
		if s.key, err = sigstore.ParseKey(key, time.Time{}, time.Time{}); err != nil {
			return err
		}
		pub, err := keys.ParsePublic(key)
		if err != nil {
			return err
		}
		if s.theirs, err = s.theirs.WithKey(pub, time.Time{}, time.Time{}); err != nil {
			return err
		}
	}
	b, err := sigstore.ParseBundle(s.data)
	if err != nil {
		return err
	}
	digest, message := b.Message()
	if !message {
		digest = b.Statement().Subjects[0].Digests[0]
	}
	s.digest, s.alone = digest, len(b.Claimed(nil)) == 0
	if v := s.judge(s.data, true); !v.Same || !v.Accepted {
		return errors.New("not accepted by both")
	}
	return nil
}

func (s *subject) judge(data []byte, all bool) oracle.Verdict {
	return oracle.Both(s.root, s.theirs, s.key, data, s.digest, s.alone, all)
}

// flip returns how many bits, of each step-th from one on, change something that they may not. Of every so
// many of them the library is asked about what we refuse.
func (s *subject) flip(from, step, every int, counts map[string]int) (faults int) {
	data := slices.Clone(s.data)
	for i := from; i < 8*len(data); i += step {
		data[i/8] ^= 1 << (i % 8)
		v := s.judge(data, (i-from)/step%every == 0)
		data[i/8] ^= 1 << (i % 8)
		switch {
		case v.Stricter != "":
			counts["stricter: "+v.Stricter]++
		case !v.Same:
			faults++
			fmt.Printf("%s, byte %d, bit %d: %s\n", s.id, i/8, i%8, v.Text)
		case v.Accepted:
			counts["accepted by both, with the same facts"]++
		case v.Asked:
			counts["refused by both"]++
		default:
			counts["refused by us, the library was not asked"]++
		}
	}
	return faults
}
