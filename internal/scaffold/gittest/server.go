// SPDX-License-Identifier: Apache-2.0

package gittest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Server is a Git server that means harm.
type Server struct {
	What  string
	Large bool // it costs the test seconds or much memory
	// List writes the refs that it advertises, Pack what it answers to whoever wants
	// some.
	List, Pack func(io.Writer)
	// Ends are the ends of a read of it, in the words of the tests of internal/git.
	Ends []string
}

const mib = 1 << 20

var tiny = Entry(blob, 0, nil, nil)

// Servers returns servers that mean harm, each in its way.
func Servers() []Server {
	return []Server{
		{
			What: "a chain of deltas that copy 16 MiB", List: oneRef, Pack: sent(Chain(largest, 1000)),
			Ends: []string{"work", "deadline"},
		},
		{
			What: "a chain of 5,000 deltas", Large: true, List: oneRef, Pack: sent(Chain(mib, 5000)),
			Ends: []string{"malformed", "work", "deadline"},
		},
		{
			What: "5,000 deltas of one base", Large: true, List: oneRef, Pack: sent(wide(largest, 5000)),
			Ends: []string{"work", "deadline"},
		},
		{
			What: "a blob of 2 GiB", Large: true, List: oneRef,
			Pack: sent(Pack(1, Head(blob, 2048*mib, nil), Zeros("", 2048*mib))), Ends: []string{"ok", "deadline"},
		},
		{
			What: "blobs of 64 GiB", Large: true, List: oneRef,
			Pack: sent(Pack(32, bytes.Repeat(append(Head(blob, 2048*mib, nil), Zeros("", 2048*mib)...), 32))),
			Ends: []string{"work", "deadline"},
		},
		{
			What: "a commit of 1 GiB", Large: true, List: oneRef,
			Pack: sent(Pack(1, Head(commit, 1024*mib, nil), Zeros("", 1024*mib))),
			Ends: []string{"malformed", "ok", "deadline"},
		},
		{
			What: "a delta on itself", List: oneRef,
			Pack: sent(Pack(1, Entry(offsetDelta, 3, []byte{0}, []byte("\x01\x01\x00")))),
			Ends: []string{"malformed"},
		},
		{
			What: "a delta of its own name", List: oneRef,
			Pack: sent(Pack(1, Entry(nameDelta, 3, make([]byte, 20), []byte("\x01\x01\x00")))),
			Ends: []string{"malformed"},
		},
		{
			What: "deltas in a circle by offsets", List: oneRef,
			Pack: sent(Pack(2, tiny, Entry(offsetDelta, 3, Back(len(tiny)+12), []byte("\x01\x01\x00")))),
			Ends: []string{"malformed"},
		},
		{
			What: "a declared size of 2^53", List: oneRef, Pack: sent(Pack(1, Entry(blob, 1<<53, nil, []byte("x")))),
			Ends: []string{"malformed"},
		},
		{
			What: "a delta of 2^40", List: oneRef,
			Pack: sent(Pack(1, Entry(offsetDelta, 1<<40, []byte{5}, []byte("x")))), Ends: []string{"malformed"},
		},
		{What: "2^32-1 objects declared", List: oneRef, Pack: sent(Pack(1<<32-1, tiny)), Ends: []string{"malformed"}},
		{
			What: "6 million objects of nothing", Large: true, List: oneRef,
			Pack: sent(Pack(6e6, bytes.Repeat(tiny, 6e6))), Ends: []string{"budget"},
		},
		{
			What: "a million deltas without a base", Large: true, List: oneRef,
			Pack: sent(Pack(1e6, bytes.Repeat(Entry(nameDelta, 3, make([]byte, 20), []byte("\x01\x01\x00")), 1e6))),
			Ends: []string{"malformed"},
		},
		{What: "another checksum", List: oneRef, Pack: sent(append(Pack(1, tiny), 0)), Ends: []string{"malformed"}},
		{
			What: "bytes after the pack's objects", List: oneRef, Pack: sent(Pack(1, tiny, tiny)),
			Ends: []string{"malformed"},
		},
		{
			What: "noise in a side band", List: oneRef, Pack: endless(pkt("NAK\n"), "0009\x02...."),
			Ends: []string{"unreachable", "deadline"},
		},
		{
			What: "endless shallow lines", List: oneRef, Pack: endless("", pkt("shallow %s", Nobody)),
			Ends: []string{"unreachable", "deadline"},
		},
		{
			What: "an endless pack", List: oneRef,
			Pack: endless(pkt("NAK\n"), pkt("\x01%s", strings.Repeat("x", 60000))),
			Ends: []string{"malformed", "deadline"},
		},
		{
			What: "empty lines without end", List: oneRef, Pack: endless(pkt("NAK\n"), "0000"),
			Ends: []string{"unreachable", "deadline"},
		},
		{
			What: "a list of refs without end",
			List: endless(service+pkt("%s refs/heads/main\x00ofs-delta\n", Nobody), pkt("%s refs/heads/x\n", Nobody)),
			Pack: sent(Pack(1, tiny)), Ends: []string{"unreachable", "deadline"},
		},
		{
			What: "capabilities without end", List: endless(service, "ffff"), Pack: sent(Pack(1, tiny)),
			Ends: []string{"unreachable"},
		},
		{
			What: "3.5 million refs", Large: true, List: refs(3_500_000, "refs/heads/branch-%07d"),
			Pack: sent(Pack(1, tiny)), Ends: []string{"ok", "deadline"},
		},
		{
			What: "a million refs of pull requests", List: refs(1_000_000, "refs/pull/%d/head"),
			Pack: sent(Pack(1, tiny)), Ends: []string{"ok", "deadline"},
		},
		{
			What: "two million tags", Large: true, List: refs(2_000_000, "refs/tags/v%d"), Pack: sent(Pack(1, tiny)),
			Ends: []string{"budget", "deadline"},
		},
	}
}

func pkt(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	return fmt.Sprintf("%04x%s", len(text)+4, text)
}

const service = "001e# service=git-upload-pack\n0000"

// first is the line of refs with what the server can do.
func first(capabilities string) string {
	return service + pkt("%s refs/heads/main\x00%s\n", Nobody, capabilities)
}

const capable = "ofs-delta side-band-64k symref=HEAD:refs/heads/main"

// oneRef is the list of refs of a repository with a commit.
func oneRef(w io.Writer) { _, _ = io.WriteString(w, first(capable)+"0000") }

// refs is a list of n more refs.
func refs(n int, format string) func(io.Writer) {
	return func(w io.Writer) {
		_, _ = io.WriteString(w, first(capable))
		for i := range n {
			if _, err := io.WriteString(w, pkt("%s "+format+"\n", Nobody, i)); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "0000")
	}
}

// sent sends a pack in a side band.
func sent(pack []byte) func(io.Writer) {
	return func(w io.Writer) {
		_, _ = io.WriteString(w, pkt("NAK\n"))
		for p := range slices.Chunk(pack, 65000) {
			_, _ = fmt.Fprintf(w, "%04x\x01", len(p)+5)
			if _, err := w.Write(p); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "0000")
	}
}

// endless sends the same until the other side has had enough.
func endless(begin, again string) func(io.Writer) {
	return func(w io.Writer) {
		_, _ = io.WriteString(w, begin)
		for again := []byte(strings.Repeat(again, 1+(1<<16)/len(again))); ; {
			if _, err := w.Write(again); err != nil {
				return
			}
		}
	}
}
