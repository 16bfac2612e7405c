// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// authorProgram is the first argument of commands of the program that makes trust roots.
const authorProgram = "repopolicy-trust"

// keyPair writes a new key, NAME.pem, and its public half, NAME.pub.
func keyPair(dir, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600)
}

func url(repository string) string { return "https://github.com/" + repository }

// foundation lets a root in a registry anchor two repositories, one of which somebody
// took over before its maintainers bound a policy.
func (d *show) foundation(dir string) error {
	const lens, prism = "acme/lens", "acme/prism"
	alice, mallory := claims.Email{Address: "alice@example.com"}, claims.Email{Address: "mallory@example.com"}
	bound := func(r repo, job claims.GitHub, name, workflow, member string, who claims.Email) (statement string, err error) {
		text := demoPolicy(name, 1, 1, workflow, member)
		if _, err = d.log(who, "a policy of "+name+", signed by "+member, text, "", r.dir); err != nil {
			return "", err
		}
		return d.log(job, "its binding", text, "", r.dir)
	}
	r, job, err := d.found(dir, prism)
	if err != nil {
		return err
	}
	good, err := bound(r, job, prism, "release.yml", "alice", alice)
	if err != nil {
		return err
	}
	if err := r.push(); err != nil {
		return err
	}
	if r, job, err = d.found(dir, lens); err != nil {
		return err
	}
	if _, err := bound(r, job, lens, "evil.yml", "mallory", mallory); err != nil {
		return err
	}
	rightful, err := bound(r, job, lens, "release.yml", "alice", alice)
	if err != nil {
		return err
	}
	if err := r.push(); err != nil {
		return err
	}
	look := d.look
	d.person(dir, "visitor-of-lens").step("Of this one mallory was the first, and that is what everybody sees.", policy.ClassOK, "show", "-R", url(lens))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	own := filepath.Join(dir, "foundation")
	if err := os.Mkdir(own, 0o700); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(own, name) }
	for _, who := range []string{"carol", "dave", "machine"} {
		if err := keyPair(own, who); err != nil {
			return err
		}
	}
	d.look = nil // nothing is looked up
	keeper, address := d.person(dir, "keeper"), "oci:"+l.Addr().String()+"/foundation/trust:latest"
	keeper.step("A foundation has a root of its own, kept by two people.", policy.ClassOK,
		authorProgram, "init", in("root"),
		"--key", in("carol.pub"), "--key", in("dave.pub"), "--threshold", "2", "--online-key", in("machine.pub"))
	keeper.step("It says which policies are those of two repositories.", policy.ClassOK,
		authorProgram, "delegate", in("root"),
		"--anchor", url(prism)+"=sha256:"+good, "--anchor", url(lens)+"=sha256:"+rightful)
	keeper.step("One of them signs.", policy.ClassOK, authorProgram, "sign", in("root"), "--key", in("carol.pem"))
	keeper.step("That is not enough.", policy.ClassInvalid,
		authorProgram, "publish", in("root"), "--key", in("machine.pem"), "--to", address)
	keeper.step("The other one does.", policy.ClassOK, authorProgram, "sign", in("root"), "--key", in("dave.pem"))
	keeper.step("It lies in a registry, one manifest for one state.", policy.ClassOK,
		authorProgram, "publish", in("root"), "--key", in("machine.pem"), "--to", address)
	config := fmt.Sprintf("format = \"repopolicy-trust/v1\"\n\n[[root]]\nname = \"foundation\"\nurl = %q\ninitial = %q\n\n[[anchor]]\nrepositories = [\"https://github.com/acme/*\"]\nroot = \"foundation\"\n", address, in("root/repository/1.root.json"))
	if err := os.WriteFile(in("trust.toml"), []byte(config), 0o600); err != nil {
		return err
	}
	d.look = look
	member := d.person(dir, "member")
	member.step("Whoever names the foundation in trust.toml finds the policy of the one anchored,", policy.ClassOK, "show", "-R", url(prism), "--trust-config", in("trust.toml"))
	member.step("and of the other the rightful one, with an alarm about who was first.", policy.ClassOK, "show", "-R", url(lens), "--trust-config", in("trust.toml"))
	shipped := "oci:" + l.Addr().String() + "/acme/prism:policy"
	member.step("Policies can lie there, too, with all their signatures,", policy.ClassOK, "export", "-R", url(prism), "--oci", shipped)
	d.person(dir, "far-away").step("and be believed no more than the repository is.", policy.ClassOK, "show", "-R", url(prism), "--from", shipped)
	if err := server.Close(); err != nil {
		return err
	}
	d.person(dir, "cut-off").step("A foundation that cannot be asked is never taken for one that says nothing.", policy.ClassUnavailable, "show", "-R", url(lens), "--trust-config", in("trust.toml"))
	return nil
}
