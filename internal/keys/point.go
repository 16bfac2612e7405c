// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/ed25519"
	"math/big"
	"slices"
)

// A key of Ed25519 is 32 bytes, any of which the verifier of the standard library takes: bytes
// that are no point of the curve, which verify nothing, and points of small order, under
// which anybody makes signatures over some messages (RFC 8032, section 8.9 leaves that
// to the caller).

func number(decimal string) *big.Int {
	n, ok := new(big.Int).SetString(decimal, 10)
	if !ok {
		panic("not a number: " + decimal)
	}
	return n
}

var (
	one = big.NewInt(1)
	// prime is 2^255 - 19, and curveD the constant d of the curve (RFC 8032, section 5.1).
	prime  = new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	curveD = number("37095705934669439343138083508754565189542113879843219016388785533085940283555")
	// order8 is the ordinate of half of the points of order 8; that of the others is its negative.
	order8 = number("2707385501144840649318225287225658788936804267575313519463743609750303402022")
	// small are the ordinates of the points whose order divides 8.
	small = []*big.Int{
		new(big.Int), one, new(big.Int).Sub(prime, one), order8, new(big.Int).Sub(prime, order8),
	}
)

// soundPoint returns why a key of Ed25519 is none that one person alone signs with.
func soundPoint(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return &Error{Text: "a key of Ed25519 has 32 bytes"}
	}
	le := slices.Clone([]byte(key))
	le[31] &= 0x7f // the sign of the abscissa
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	if y.Cmp(prime) >= 0 {
		return &Error{Text: "a key of Ed25519 is written in another way than the one"}
	}
	if slices.ContainsFunc(small, func(n *big.Int) bool { return n.Cmp(y) == 0 }) {
		return &Error{Text: "a key of Ed25519 of small order, by which anybody can sign"}
	}
	// x^2 = (y^2 - 1) / (d y^2 + 1) is a square if numerator times denominator is.
	yy := new(big.Int).Mul(y, y)
	u, v := new(big.Int).Sub(yy, one), new(big.Int).Add(new(big.Int).Mul(curveD, yy), one)
	if u.Mul(u, v).Mod(u, prime); big.Jacobi(u, prime) != 1 {
		return &Error{Text: "a key of Ed25519 that is no point of the curve"}
	}
	return nil
}
