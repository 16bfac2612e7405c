// SPDX-License-Identifier: Apache-2.0

// Package side knows the files that projects publish beside what they release and that need
// no evidence of their own where a user says so: each kind is a closed grammar, which leaves
// no room for anything that can be run or installed (SPEC 20.2). Nothing here is verified: a
// side file vouches for nothing.
package side

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/sums"
)

// Kind is a kind of side files.
type Kind string

// The kinds.
const (
	OpenPGP     Kind = "openpgp"     // F.asc: one armoured OpenPGP signature
	Signature   Kind = "signature"   // F.sig: one signature, in base64 or DER
	Certificate Kind = "certificate" // F.pem: certificates
	Checksums   Kind = "checksums"   // F.sha256, F.sha512 or a list: digests of files that are allowed
)

// Kinds are all of them.
var Kinds = []Kind{OpenPGP, Signature, Certificate, Checksums}

// MaxBytes is the largest side file.
const MaxBytes = 64 << 10

// maxSignature is the largest file of a bare signature.
const maxSignature = 1 << 10

// of are the kinds of one file's side files, by the ending after the name of that file.
var of = map[string]Kind{".asc": OpenPGP, ".sig": Signature, ".pem": Certificate}

// Of returns of which kind a file may be by its name, "" for none, and beside which file it
// must lie; "" for a list of several.
func Of(name string) (kind Kind, beside string) {
	for suffix, k := range of {
		if stem, ok := strings.CutSuffix(name, suffix); ok && stem != "" {
			return k, stem
		}
	}
	if stem := sums.StemOf(name); stem != "" {
		return Checksums, stem
	}
	if sums.Called(name) {
		return Checksums, ""
	}
	return "", ""
}

// Check reports why content is none of a kind other than [Checksums]; nil if it is some.
func Check(kind Kind, data []byte) error {
	switch {
	case len(data) > MaxBytes, kind == Signature && len(data) > maxSignature:
		return fmt.Errorf("it is too large to be one")
	case kind == OpenPGP:
		return checkArmour(data)
	case kind == Signature:
		return checkSignature(data)
	case kind == Certificate:
		return checkCertificates(data)
	}
	return fmt.Errorf("%q is no kind of side files", kind)
}

// List returns what a list of digests says; nothing but plain lines may stand in it. Called is
// its name.
func List(called string, data []byte) (*sums.List, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("it is too large to be one")
	}
	l, err := sums.Parse(called, data)
	if err == nil && !l.Plain {
		err = fmt.Errorf("something else than digests and names stands in it")
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

const armourBegin, armourEnd = "-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----"

// checkArmour checks one armoured block (RFC 9580, 6.2) with signature packets and nothing
// around it. Headers are those that programs write of themselves, in letters that no shell
// gives a meaning.
func checkArmour(data []byte) error {
	text := strings.ReplaceAll(strings.TrimRight(string(data), "\r\n"), "\r\n", "\n")
	text, ok := strings.CutPrefix(text, armourBegin+"\n")
	text, end := strings.CutSuffix(text, "\n"+armourEnd)
	head, body, blank := strings.Cut(text, "\n\n")
	if rest, none := strings.CutPrefix(text, "\n"); none { // no header
		head, body, blank = "", rest, true
	}
	if !ok || !end || !blank {
		return fmt.Errorf("not one armoured block from its first line to its last")
	}
	for line := range strings.Lines(head) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || !slices.Contains([]string{"Version", "Comment", "Hash"}, key) || strings.ContainsFunc(value, notOfHeader) {
			return fmt.Errorf("an armour header that is not expected")
		}
	}
	lines := strings.Split(body, "\n")
	if sum := lines[len(lines)-1]; len(sum) == 5 && sum[0] == '=' { // a checksum, which is optional
		if _, err := base64.StdEncoding.DecodeString(sum[1:]); err != nil {
			return fmt.Errorf("the checksum of the armour: %w", err)
		}
		lines = lines[:len(lines)-1]
	}
	packets, err := decodeLines(lines)
	if err != nil {
		return err
	}
	return checkPackets(packets)
}

func notOfHeader(r rune) bool {
	letter := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
	return !letter && !strings.ContainsRune(" ._()/:+@,-", r)
}

// widths are how long programs make a line of base64.
var widths = []int{60, 64, 72, 76}

// decodeLines decodes base64 in lines of one of the widths, the last of which may be shorter.
func decodeLines(lines []string) ([]byte, error) {
	for i, line := range lines {
		last, width := i == len(lines)-1, len(lines[0])
		if line == "" || len(line) > width || !last && (len(line) != width || !slices.Contains(widths, width)) {
			return nil, fmt.Errorf("not base64 in lines of one length")
		}
	}
	out, err := base64.StdEncoding.Strict().DecodeString(strings.Join(lines, ""))
	if err != nil {
		return nil, fmt.Errorf("not base64")
	}
	return out, nil
}

// tagSignature is the type of a signature packet (RFC 9580, 5).
const tagSignature = 2

// checkPackets checks that each packet is a signature by its type (RFC 9580, 4.2), wherever another
// program finds one to begin. Whether the last one is whole is not looked at: nothing here verifies
// it, and what it holds is text in the file.
func checkPackets(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("the armour holds nothing")
	}
	for len(data) > 0 {
		tag, rest := packet(data)
		if tag != tagSignature {
			return fmt.Errorf("the armour holds something else than signatures")
		}
		data = rest
	}
	return nil
}

// packet returns the type of the packet that data begins with, and what follows it; no type if its
// length is in parts or not said. Signatures have no such length, and gpg looks for packets within.
func packet(data []byte) (tag int, rest []byte) {
	first, r := data[0], octets(data[1:])
	n := 0
	switch {
	case first&0x80 == 0:
		return 0, nil
	case first&0x40 == 0: // the older form
		if first&3 == 3 {
			return 0, nil
		}
		tag, n = int(first>>2&0xf), r.number(1<<(first&3))
	default:
		tag = int(first & 0x3f)
		switch n = r.number(1); {
		case n == 255:
			n = r.number(4)
		case n >= 224:
			return 0, nil
		case n >= 192:
			n = (n-192)<<8 + r.number(1) + 192
		}
	}
	r.skip(n)
	return tag, r
}

// octets are read from their beginning; what is not there is 0.
type octets []byte

func (o *octets) number(size int) (n int) {
	for i := range size {
		n <<= 8
		if i < len(*o) {
			n |= int((*o)[i])
		}
	}
	o.skip(size)
	return n
}

func (o *octets) skip(n int) { *o = (*o)[min(n, len(*o)):] }

// sizes are those of signatures that are no DER: Ed25519, P-384 and P-521 as two numbers,
// Ed448, RSA.
var sizes = []int{64, 96, 114, 132, 256, 384, 512}

// checkSignature checks one signature: the DER of ECDSA, or base64 of that or of a signature
// of another algorithm.
func checkSignature(data []byte) error {
	if isECDSA(data) {
		return nil
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(string(data), "\r\n"), "\r\n", "\n"), "\n")
	raw, err := decodeSignature(lines)
	if err == nil && !isECDSA(raw) && !slices.Contains(sizes, len(raw)) {
		err = fmt.Errorf("not a signature in base64 or DER")
	}
	return err
}

func decodeSignature(lines []string) ([]byte, error) {
	if len(lines) == 1 { // of any length
		out, err := base64.StdEncoding.Strict().DecodeString(lines[0])
		if err != nil {
			return nil, fmt.Errorf("not base64")
		}
		return out, nil
	}
	return decodeLines(lines)
}

// isECDSA reports whether data is the DER of an ECDSA signature.
func isECDSA(data []byte) bool {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(data, &sig)
	return err == nil && len(rest) == 0 && sig.R.Sign() > 0 && sig.S.Sign() > 0 && sig.R.BitLen() <= 521 &&
		sig.S.BitLen() <= 521
}

// checkCertificates checks certificates in PEM, with nothing around and between them, or
// base64 of that, as cosign wrote it.
func checkCertificates(data []byte) error {
	text := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	if raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(string(text), "\n")); err == nil {
		text = raw
	}
	text = append(bytes.TrimRight(text, "\n"), '\n')
	for first := true; first || len(text) > 0; first = false {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return fmt.Errorf("not certificates as a whole")
		}
		n := len(text) - len(rest)
		if !bytes.Equal(text[:n], pem.EncodeToMemory(block)) {
			return fmt.Errorf("not certificates as a whole")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("not a certificate: %w", err)
		}
		text = rest
	}
	return nil
}
