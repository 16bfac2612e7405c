// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestOpenPKI: what becomes of a root by what it says of certificate authorities beside Fulcio.
func TestOpenPKI(t *testing.T) {
	root := string(sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	ca := pkitest.New(t, "Acme", tuftest.Now.AddDate(-1, 0, 0))
	one := pkitest.Named("pki:acme", []*x509.Certificate{ca.Cert}, "acme.crl")
	good, list := string(pkitest.Document(one)), string(ca.CRL(tuftest.Now.AddDate(0, 0, -1)))
	stale := string(ca.CRL(tuftest.Now.AddDate(0, 0, -8)))
	at := pki.CRLTargets + "acme.crl"
	both := map[string]string{PKITarget: good, at: list}
	for name, c := range map[string]struct {
		targets map[string]string
		lost    string // target that is listed and not handed down
		want    policy.Reason
		known   int
		fault   string
	}{
		"none":                     {targets: map[string]string{}},
		"with its list":            {targets: map[string]string{PKITarget: good, at: list}, known: 1},
		"a list that is not there": {targets: map[string]string{PKITarget: good}, known: 1, fault: "no such target"},
		"a stale list":             {targets: map[string]string{PKITarget: good, at: stale}, known: 1, fault: "was due"},
		"no list":                  {targets: map[string]string{PKITarget: good, at: "x"}, known: 1, fault: "not a list"},
		"malformed":                {targets: map[string]string{PKITarget: "{}", at: list}, want: policy.TrustRootInvalid},
		"withheld":                 {targets: both, lost: PKITarget, want: policy.TrustRootMissing},
		"a list that is withheld":  {targets: both, lost: at, want: policy.TrustRootMissing},
	} {
		s := tuftest.New(t)
		s.Targets["targets"].Signed.Version++
		s.Add("targets", TrustedRootTarget, root)
		for path, content := range c.targets {
			s.Add("targets", path, content)
		}
		s.Publish()
		if c.lost != "" {
			dir, base, _ := strings.Cut(c.lost, "/")
			for name := range s.Content {
				if strings.HasPrefix(name, dir+"/") && strings.HasSuffix(name, base[strings.LastIndex(base, "/")+1:]) {
					delete(s.Content, name)
				}
			}
		}
		srv := serveTUF(t, s)
		o := Options{Now: func() time.Time { return tuftest.Now }, Transport: srv.Client().Transport, Cache: t.TempDir()}
		r, err := named(t, s, srv.URL, "").Open(t.Context(), "a", o)
		if reason(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		faults := strings.Join(r.PKI().Faults(), "\n")
		if len(r.PKI().All()) != c.known || c.fault == "" && faults != "" || !strings.Contains(faults, c.fault) {
			t.Errorf("%s: %d authorities, faults %q, want %q", name, len(r.PKI().All()), faults, c.fault)
		}
	}
}

// TestRenewedList: a list may be due before metadata is asked for again. Then it is.
func TestRenewedList(t *testing.T) {
	ca := pkitest.New(t, "Acme", tuftest.Now.AddDate(-1, 0, 0))
	s := tuftest.New(t)
	publish := func(made time.Time) {
		s.Targets["targets"].Signed.Version++
		s.Add("targets", TrustedRootTarget, string(sigstoretest.New(t).Root(sigstoretest.RootOptions{})))
		one := pkitest.Named("pki:acme", []*x509.Certificate{ca.Cert}, "acme.crl")
		s.Add("targets", PKITarget, string(pkitest.Document(one)))
		s.Add("targets", pki.CRLTargets+"acme.crl", string(ca.CRL(made)))
		s.Publish()
	}
	now := tuftest.Now
	publish(now.AddDate(0, 0, -7).Add(time.Hour)) // due in an hour
	srv := serveTUF(t, s)
	o := Options{Now: func() time.Time { return now }, Transport: srv.Client().Transport, Cache: t.TempDir()}
	open := func() []string {
		t.Helper()
		r, err := named(t, s, srv.URL, "").Open(t.Context(), "a", o)
		if err != nil {
			t.Fatal(err)
		}
		return r.PKI().Faults()
	}
	if f := open(); len(f) > 0 {
		t.Fatal(f)
	}
	now = now.Add(2 * time.Hour)
	if f := open(); len(f) == 0 {
		t.Error("a stale list counts, of which there is no newer one")
	}
	publish(now)
	if f := open(); len(f) > 0 {
		t.Errorf("the newer list was not asked for: %s", f)
	}
	o.Offline = true
	now = now.AddDate(0, 0, 8)
	if r, err := named(t, s, srv.URL, "").Open(t.Context(), "a", o); err == nil && len(r.PKI().Faults()) == 0 {
		t.Error("a stale list counts off-line")
	}
}

// TestCheckPKI: what would leave certificates undecided, or a root unusable, is not to be published.
func TestCheckPKI(t *testing.T) {
	now := tuftest.Now
	ca := pkitest.New(t, "Acme", now.AddDate(-1, 0, 0))
	doc := pkitest.Document(pkitest.Named("pki:acme", []*x509.Certificate{ca.Cert}, "acme.crl"))
	root := sigstoretest.New(t).Root(sigstoretest.RootOptions{})
	at := pki.CRLTargets + "acme.crl"
	for name, c := range map[string]struct {
		path   string
		data   []byte
		listed map[string][]byte
		want   string // "" if it may be published
	}{
		"authorities":           {path: PKITarget, data: doc},
		"beside a trusted root": {path: PKITarget, data: doc, listed: map[string][]byte{TrustedRootTarget: root}},
		"malformed":             {PKITarget, []byte("{}"), nil, "schema"},
		"an unreadable root":    {PKITarget, doc, map[string][]byte{TrustedRootTarget: []byte("x")}, "1:1"},
		"a list":                {path: at, data: ca.CRL(now), listed: map[string][]byte{PKITarget: doc}},
		"a list first":          {at, ca.CRL(now), nil, "first"},
		"a list beside nobody":  {at, ca.CRL(now), map[string][]byte{PKITarget: []byte("{}")}, "schema"},
		"a list of nobody":      {pki.CRLTargets + "b.crl", ca.CRL(now), map[string][]byte{PKITarget: doc}, "names it among"},
		"a stale list":          {at, ca.CRL(now.AddDate(0, 0, -8)), map[string][]byte{PKITarget: doc}, "was due"},
		"a stranger's list": {
			at, pkitest.New(t, "Acme", now).CRL(now), map[string][]byte{PKITarget: doc}, "no certificate of pki:acme",
		},
		"what is listed is unreadable": {at, ca.CRL(now), map[string][]byte{"broken": nil}, "file"},
	} {
		err := CheckTarget(c.path, c.data, now, func(target string) ([]byte, error) {
			if _, broken := c.listed["broken"]; broken {
				return nil, os.ErrNotExist
			}
			return c.listed[target], nil
		})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
