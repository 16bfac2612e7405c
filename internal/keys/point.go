// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/ed25519"
	"math/big"
	"slices"
	"sync"
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

// curve has what is computed of Ed25519 for the first key (RFC 8032, section 5.1).
type curve struct {
	prime, d *big.Int   // 2^255 - 19, and the constant d
	small    []*big.Int // ordinates of the points whose order divides 8
}

var one = big.NewInt(1)

var edwards = sync.OnceValue(func() curve {
	c := curve{d: number("37095705934669439343138083508754565189542113879843219016388785533085940283555")}
	c.prime = new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	// The ordinate of half of the points of order 8; that of the others is its negative.
	order8 := number("2707385501144840649318225287225658788936804267575313519463743609750303402022")
	c.small = []*big.Int{
		new(big.Int), one, new(big.Int).Sub(c.prime, one), order8, new(big.Int).Sub(c.prime, order8),
	}
	return c
})

// soundPoint returns why a key of Ed25519 is none that one person alone signs with.
func soundPoint(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return &Error{Text: "a key of Ed25519 has 32 bytes"}
	}
	c := edwards()
	le := slices.Clone([]byte(key))
	le[31] &= 0x7f // the sign of the abscissa
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	if y.Cmp(c.prime) >= 0 {
		return &Error{Text: "a key of Ed25519 is written in another way than the one"}
	}
	if slices.ContainsFunc(c.small, func(n *big.Int) bool { return n.Cmp(y) == 0 }) {
		return &Error{Text: "a key of Ed25519 of small order, by which anybody can sign"}
	}
	// x^2 = (y^2 - 1) / (d y^2 + 1) is a square if numerator times denominator is.
	yy := new(big.Int).Mul(y, y)
	u, v := new(big.Int).Sub(yy, one), new(big.Int).Add(new(big.Int).Mul(c.d, yy), one)
	if u.Mul(u, v).Mod(u, c.prime); big.Jacobi(u, c.prime) != 1 {
		return &Error{Text: "a key of Ed25519 that is no point of the curve"}
	}
	return nil
}
