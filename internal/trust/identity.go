// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// What a key of TAP 18 is called.
const (
	KeyTypeOIDC   = "sigstore-oidc"
	keySchemeOIDC = "Fulcio"
)

// OIDCKeys returns the type of keys that are OIDC identities (TAP 18, SPEC 18.3):
// whoever Fulcio certifies under the name signs. Signatures are verified under one
// of the roots, each alone, with certificate, log entry and time; the bundle alone
// counts, and says whose signature it is.
func OIDCKeys(roots ...*sigstore.Root) map[string]tuf.KeyType {
	return map[string]tuf.KeyType{KeyTypeOIDC: func(k tuf.Key) (tuf.Verifier, error) {
		if len(roots) == 0 {
			return nil, errors.New("no trusted root to verify identities under")
		}
		if k.Scheme != keySchemeOIDC {
			return nil, fmt.Errorf("the scheme %q is not known", k.Scheme)
		}
		// The client has refused members that stand twice; those that are not known
		// might narrow the key, so that they make it one of another kind.
		var v struct {
			Identity, Issuer, Public *string
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(k.Value, &members); err != nil {
			return nil, err
		}
		for name, to := range map[string]**string{"identity": &v.Identity, "issuer": &v.Issuer, "public": &v.Public} {
			if raw, ok := members[name]; ok {
				if err := json.Unmarshal(raw, to); err != nil {
					return nil, err
				}
				delete(members, name)
			}
		}
		switch {
		case v.Identity == nil || v.Issuer == nil || *v.Identity == "" || *v.Issuer == "":
			return nil, errors.New("an identity and an issuer are needed")
		case v.Public != nil && *v.Public != "":
			return nil, errors.New("an identity has no public key")
		case len(members) > 0:
			return nil, errors.New("a value with members that are not known")
		}
		return &identity{roots, *v.Identity, *v.Issuer}, nil
	}}
}

type identity struct {
	roots        []*sigstore.Root
	name, issuer string
}

// Principal implements tuf.Verifier.
func (i *identity) Principal() string { return fmt.Sprintf("oidc:%q of %q", i.name, i.issuer) }

// Verify implements tuf.Verifier.
func (i *identity) Verify(signed []byte, sig tuf.Signature) error {
	var outer map[string]json.RawMessage
	if err := json.Unmarshal(sig.Raw, &outer); err != nil {
		return err
	}
	raw := outer["bundle"]
	if len(raw) == 0 {
		return errors.New("the signature has no bundle")
	}
	if raw[0] == '"' { // securesystemslib once wrote it as text
		return errors.New("the bundle is no object")
	}
	b, err := sigstore.ParseBundle(raw)
	if err != nil {
		return err
	}
	claimed, message := b.Message()
	switch {
	case !message:
		return errors.New("the bundle has no message signature")
	case b.Signer().Kind == policy.KindKey:
		return errors.New("a bare key signed it")
	case claimed.Alg == "":
		return errors.New("no digest")
	}
	for _, r := range i.roots {
		e := i.verify(r, b, signed)
		if e == nil {
			return nil
		}
		if err == nil {
			err = e
		}
	}
	return err
}

// verify verifies a signature under one root: whose it is depends on that (SPEC 17.5).
func (i *identity) verify(r *sigstore.Root, b *sigstore.Bundle, signed []byte) error {
	who := b.SignerUnder(r)
	if who.Value != i.name || who.Issuer != i.issuer {
		return fmt.Errorf("it is signed by %q of %q", who.Value, who.Issuer)
	}
	digest := policy.Digest{Alg: "sha256", Hex: spelling.Sum(signed)}
	_, err := b.Verify(r, digest, nil, sigstore.Options{})
	return err
}
