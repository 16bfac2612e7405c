// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// authority is an organisation's certificate authority, and what it issued.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Gauge"}},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().AddDate(10, 0, 0), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.cert, err = a.issue(self, self, key.Public())
	return a, err
}

func (a *authority) issue(c, by *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, c, by, pub, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// list returns the list of revoked certificates, with those.
func (a *authority) list(number int64, revoked ...*x509.Certificate) ([]byte, error) {
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Minute),
		NextUpdate: time.Now().AddDate(0, 0, 7)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Minute), ReasonCode: 1,
			// keyCompromise
		})
	}
	return x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
}

// certificates lets somebody sign a policy and a release with a certificate of an organisation, whose
// root names the authority, until the certificate is revoked.
func (d *show) certificates(k *keeping, root string) error {
	const name, who = "acme/ruler", "gina@gauge.example"
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	if err := keyPair(k.dir, "gina"); err != nil {
		return err
	}
	data, err := os.ReadFile(k.in("gina.pub"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	cert, err := ca.issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Gina"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(2, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{who},
	}, ca.cert, pub)
	if err != nil {
		return err
	}
	chain := func(certs ...*x509.Certificate) string {
		var b strings.Builder
		for _, c := range certs {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
		return b.String()
	}
	doc, err := json.Marshal(map[string]any{
		"schema": "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/pki-v1.json",
		"authorities": []any{map[string]any{
			"issuer": "pki:gauge", "certificates": chain(ca.cert), "names": []string{"email"},
			"domains":    []string{"gauge.example"},
			"revocation": "crl", "crls": []string{"gauge.crl"},
		}},
	})
	if err != nil {
		return err
	}
	current, err := ca.list(1)
	if err != nil {
		return err
	}
	config := fmt.Sprintf("format = \"repopolicy-trust/v1\"\n\n"+
		"[[root]]\nname = \"gauge\"\nurl = %q\ninitial = %q\n\n"+
		"[[scope]]\nrepositories = [%q]\nroots = [\"gauge\"]\n", k.in("gauge-site"), filepath.Join(root, "repository", "1.root.json"), url(name))
	for name, text := range map[string]string{
		"gina.chain": chain(cert, ca.cert), "pki.json": string(doc), "gauge.crl": string(current),
		"gauge.toml": config,
		"both.toml": strings.Replace(config, "roots = [\"gauge\"]",
			"roots = [\"gauge\", \"public-good\"]\nthreshold = 2", 1),
		"file_1": "file_1", "v2.json": string(d.stack.SigningConfig(2)),
	} {
		if err := os.WriteFile(k.in(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	publish := func(what string, files ...string) {
		k.step(what, policy.ClassOK, append([]string{authorProgram, "add", root}, files...)...)
		k.step("signed,", policy.ClassOK, authorProgram, "sign", root, "--key", k.in("ed.pem"))
		k.step("published.", policy.ClassOK, authorProgram, "publish", root, "--key", k.in("machine.pem"), "--to",
			k.in("gauge-site"))
	}
	publish("The project's root names the certificate authority that its people have anyway, and its list,",
		"repopolicy/pki.json="+k.in("pki.json"), "repopolicy/crl/gauge.crl="+k.in("gauge.crl"),
		"signing_config.v0.2.json="+k.in("v2.json"))
	return d.certified(k, name, who, func() error {
		revoked, err := ca.list(2, cert)
		if err == nil {
			err = os.WriteFile(k.in("gauge.crl"), revoked, 0o600)
		}
		if err == nil {
			publish("The key is stolen, and the list says so,", "repopolicy/crl/gauge.crl="+k.in("gauge.crl"))
		}
		return err
	})
}

// certified binds a policy that three of three signed, one by a certificate, who then signs a release;
// stolen revokes the certificate.
func (d *show) certified(k *keeping, name, who string, stolen func() error) error {
	r, _, err := d.found(k.dir, name)
	if err != nil {
		return err
	}
	bare, err := os.ReadFile(k.in("flo.pub"))
	if err != nil {
		return err
	}
	text := strings.Replace(demoPolicy(name, 1, 3, "release.yml", "alice"), "\n[[release]]",
		fmt.Sprintf(`[[maintainers.member]]
name       = "gina"
identities = [{ email = %[1]q, issuer = "pki:gauge" }]
[[maintainers.member]]
name       = "flo"
keys       = [%[2]q]

[[release]]
name       = "files"
tags       = "any"
artifacts  = ["file_*"]
identities = [{ email = %[1]q, issuer = "pki:gauge" }]

[[release]]`, who, bare), 1)
	if err := r.policy(text); err != nil {
		return err
	}
	look := d.look
	defer func() { d.look = look }()
	d.look = append(d.look[:len(d.look):len(d.look)], "--trust-config", k.in("gauge.toml"))
	alice, gina := d.person(k.dir, "alice"), d.person(k.dir, "gina")
	if err := alice.signIn(); err != nil {
		return err
	}
	own := []string{"--certificate", k.in("gina.chain"), "--key", k.in("gina.pem"), "--yes"}
	alice.step("Three of three sign: alice, who signs in,", policy.ClassOK, "sign", "--git", r.dir, "--yes")
	d.person(k.dir, "flo").step("flo, with a key and nothing else,", policy.ClassOK, "sign", "--git", r.dir,
		"--key", k.in("flo.pem"))
	gina.step("and gina, with her certificate.", policy.ClassOK, append([]string{"sign", "--git", r.dir}, own...)...)
	if err := r.push(); err != nil {
		return err
	}
	if err := d.bind(k.dir, name, "repository_dispatch", "The repository binds it.", policy.ClassOK); err != nil {
		return err
	}
	gina.step("She releases with it, too,", policy.ClassOK, append([]string{"sign-release", "-R", url(name),
		"--checkout", r.dir, k.in("file_1")}, own...)...)
	d.person(k.dir, "colleague").step("and whoever trusts the root verifies that.", policy.ClassOK, "verify", "-R",
		url(name), k.in("file_1"))
	later := d.look
	d.look = append(look[:len(look):len(look)], "--trust-config", k.in("both.toml"))
	d.person(k.dir,
		"careful").step("Who demands two roots gets no OK from one: the other knows two of three.",
		policy.ClassUnavailable, "verify", "-R", url(name), k.in("file_1"))
	d.look = nil
	if err := stolen(); err != nil {
		return err
	}
	d.look = later
	d.person(k.dir, "visitor").step("What was in force by a stolen key is in doubt until the others sign again.",
		policy.ClassUnavailable, "verify", "-R", url(name), k.in("file_1"))
	return nil
}
