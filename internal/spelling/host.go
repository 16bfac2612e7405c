// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// CheckHost accepts lower-case host names of letters, digits, '-' and '.', and
// dotted IPv4 addresses.
func CheckHost(name string) error {
	if len(name) > 253 || name == "" {
		return errors.New("a host name has 1 to 253 characters")
	}
	numeric := false
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q is not a host name", name)
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return fmt.Errorf("%q is not a host name", name)
			}
		}
		numeric = label[0] >= '0' && label[0] <= '9' && strings.Trim(label, "0123456789") == "" ||
			strings.HasPrefix(label, "0x")
	}
	// A last label that looks like a number makes browsers and libraries read
	// the whole as an address, each in its own way.
	if a, err := netip.ParseAddr(name); numeric && (err != nil || !a.Is4()) {
		return fmt.Errorf("%q is not a host name", name)
	}
	return nil
}

// CheckIssuer reports whether s can be an OIDC issuer (OpenID Connect Discovery
// 1.0, section 3): an https URL with a lower-case host and without user
// information, query or fragment. Issuers are then compared byte by byte.
func CheckIssuer(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || !strings.HasPrefix(s, "https://") {
		return errors.New("an issuer is an https URL")
	}
	if u.User != nil || strings.ContainsAny(s, "?#*%\\@") {
		return errors.New("an issuer is a plain https URL without user information, query, fragment or escapes")
	}
	if err := CheckHost(u.Hostname()); err != nil {
		return fmt.Errorf("an issuer's host is written in lower case: %w", err)
	}
	return nil
}

// PKI begins the issuers that a trust root names for its own certificate authorities (SPEC 17.5).
// No certificate of Fulcio and no ID token has such an issuer: they are URLs.
const PKI = "pki:"

const maxPKIName = 64

// IsPKI reports whether s is, or wants to be, the issuer of a trust root's certificate authority.
func IsPKI(s string) bool { return strings.HasPrefix(LowerASCII(s), PKI) }

// CheckPKI reports whether s is the issuer of a trust root's certificate authority: "pki:" and a
// name of at most 64 bytes, which are labels of lower-case letters, digits and '-' with dots
// between them.
func CheckPKI(s string) error {
	name, ok := strings.CutPrefix(s, PKI)
	for label := range strings.SplitSeq(name, ".") {
		ok = ok && label != "" && strings.Trim(label, "-") == label &&
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	}
	if !ok || len(name) > maxPKIName {
		return errors.New("the issuer of a certificate authority is pki: and a name of lower-case letters, digits, " +
			"'-' and '.'")
	}
	return nil
}
