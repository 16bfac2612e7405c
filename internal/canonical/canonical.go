// SPDX-License-Identifier: Apache-2.0

// Package canonical reads what signatures and proofs of logs cover in the one
// spelling that it has: numbers, base64, signed notes and checkpoints. Whatever
// has two spellings is read differently by two programs, of which one is deceived.
package canonical

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

var (
	errNumber = errors.New("not a decimal number from 0 to 2^63-1")
	errBase64 = errors.New("not standard base64")
)

// ParseNumber reads a decimal number from 0 to 2^63-1 without sign or leading zeros.
func ParseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errNumber
	}
	return n, nil
}

// ParseBase64 reads standard base64 with its padding (RFC 4648, section 4),
// without line breaks and without bits that encode nothing.
func ParseBase64(s string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which alone are passed over
		return nil, errBase64
	}
	return raw, nil
}

// Number is a number in JSON that [ParseNumber] would read.
type Number int64

// UnmarshalJSON implements [json.Unmarshaler]. Null is no number.
func (n *Number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	v, err := ParseNumber(string(data))
	*n = Number(v)
	return err
}

// Bytes are text in JSON that [ParseBase64] would read.
type Bytes []byte

// UnmarshalJSON implements [json.Unmarshaler]. Null is no bytes.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return errBase64
	}
	raw, err := ParseBase64(s)
	*b = raw
	return err
}
