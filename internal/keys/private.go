// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
)

// private reports whether a PEM block of that name holds a private key.
func private(name string) bool { return strings.HasSuffix(name, "PRIVATE KEY") }

// ParsePrivate reads a private key in PEM: PKCS #8 (RFC 5958), SEC 1 as openssl ecparam
// writes it, its parameters before it, or PKCS #1 (RFC 8017). The error is an [*Error] and
// never shows what the file holds. How strong the key is [Of] and [OfTUF] say.
func ParsePrivate(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, &Error{Text: "not a private key in PEM"}
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, &Error{Text: "not one private key in PEM: something follows it"}
	}
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") { // RFC 1421, as openssl wrote it
		return nil, unreadable("ENCRYPTED PRIVATE KEY")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, unreadable(block.Type)
	}
	if rest, e := asn1.Unmarshal(block.Bytes, &asn1.RawValue{}); err != nil || e != nil || len(rest) > 0 {
		return nil, &Error{"not a private key that is read", "take a key on P-256, P-384 or P-521, Ed25519 or RSA"}
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, &Error{"a private key that signs nothing", "make a key on P-256"}
	}
	return s, nil
}

// unreadable says what to do with a PEM block that is not read.
func unreadable(name string) error {
	switch {
	case name == "ENCRYPTED PRIVATE KEY":
		return &Error{
			"the private key is encrypted",
			"decrypt a copy (openssl pkey -in FILE -out COPY), or let a program sign with --signer",
		}
	case strings.HasPrefix(name, "ENCRYPTED ") && private(name): // COSIGN, SIGSTORE
		return &Error{
			"the private key is encrypted by cosign, which alone reads it",
			"make a key with openssl, or let a program sign with --signer",
		}
	case name == "OPENSSH PRIVATE KEY":
		return &Error{"a private key of OpenSSH", "change the form of a copy: ssh-keygen -p -N '' -m PKCS8 -f COPY"}
	case name == "DSA PRIVATE KEY":
		return &Error{"DSA is too weak", "make a key on P-256"}
	case strings.HasSuffix(name, "PUBLIC KEY"), name == "CERTIFICATE":
		return &Error{fmt.Sprintf("%q is the public half of a key", name), "name the file with the private key"}
	}
	return &Error{Text: fmt.Sprintf("a PEM block %q is not a private key that is read", name)}
}
