// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/internal/ctlog"
	"github.com/repopolicy/repopolicy/sandbox/internal/fulcio"
	"github.com/repopolicy/repopolicy/sandbox/internal/issuer"
	"github.com/repopolicy/repopolicy/sandbox/internal/state"
	"github.com/repopolicy/repopolicy/sandbox/internal/tsa"
	"github.com/repopolicy/repopolicy/sandbox/internal/tufrepo"
	"github.com/repopolicy/repopolicy/sandbox/internal/witness"
)

// Service names a service of a stack.
type Service string

// The services.
const (
	Issuer  Service = "issuer"
	Fulcio  Service = "fulcio"
	CTLog   Service = "ctlog"
	TSA     Service = "tsa"
	Rekor   Service = "rekor" // the shard of Rekor v2 that clients are sent to
	RekorV1 Service = "rekor-v1"
	TUF     Service = "tuf"
	Forge   Service = "forge"
	Witness Service = "witness" // the first
)

// Options say what a stack consists of. They must be the same when a stack is
// started again.
type Options struct {
	// Witnesses that cosign the checkpoints of Rekor v2. Two of them, or all if
	// there are fewer, are the quorum. Default: none.
	Witnesses int
	// NoRekorV2 leaves out the first shard of Rekor v2; AddShard adds it later.
	NoRekorV2 bool
	// RekorV1 runs a Rekor v1 log, as rekorv1.Log does. Default: none.
	RekorV1 LogV1
	// Progress is told what starts. Default: silence.
	Progress func(what string)
}

// LogV1 runs the one Rekor v1 log of a process.
type LogV1 interface {
	// Start returns the log's handler and a function that ends it. The key is
	// the log's; keyFile holds it as PKCS #8 PEM.
	Start(ctx context.Context, dir, hostname string, key *ecdsa.PrivateKey, keyFile string) (http.Handler, func() error, error)
}

const (
	quorum = 2
	// backdate is how much older than the stack its certificate authorities and
	// logs claim to be, so that old certificates have an issuer.
	backdate     = 30 * 24 * time.Hour
	closeTimeout = 10 * time.Second
)

// Stack is a running sandbox. Its methods may be called from any goroutine.
type Stack struct {
	dir       *state.Dir
	label     string // of its goroutines
	options   Options
	cancel    context.CancelFunc
	ctx       context.Context
	endpoints map[Service]*endpoint
	transport *issuer.Transport
	outgoing  *http.Transport

	issuer    *issuer.Issuer
	fulcio    *fulcio.Fulcio
	witnesses []*witness.Witness
	tuf       *tufrepo.Repository
	forge     *forge.Forge
	closers   []func() error // run backwards by Close
	release   []func() error // run after the context has ended

	root, intermediate, tsaCert *x509.Certificate
	rootKey, caKey, tsaKey      *ecdsa.PrivateKey
	ctKey, v1Key                *ecdsa.PrivateKey

	mu      sync.Mutex // guards what follows
	shards  []*shard
	expired map[Service]bool
	trusted []byte
	configs [3][]byte
	closed  bool
}

// quiet turns off the process-wide loggers of the services, once.
var quiet = sync.OnceFunc(func() {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	slog.SetDefault(slog.New(slog.DiscardHandler))
})

// Start runs a stack whose state is kept in a directory; a directory that held
// one before continues it. The stack runs until Close, also if ctx ends; ctx
// ends only the start. It is an error if the directory is in use or a port that
// it remembers is taken.
func Start(ctx context.Context, dir string, o Options) (_ *Stack, err error) {
	quiet()
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	d, err := state.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s := &Stack{
		dir: d, label: nextLabel(), options: o, endpoints: map[Service]*endpoint{}, expired: map[Service]bool{},
		outgoing: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: idleTimeout},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("sandbox: %w", err), s.Close())
		}
	}()
	if err := s.labelled(func() error { return s.start(ctx) }); err != nil {
		return nil, err
	}
	return s, nil
}

// start runs the services, in an order in which each finds those it needs.
func (s *Stack) start(ctx context.Context) error {
	if err := s.listen(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		run  func() error
		skip bool
	}{
		{"OpenID provider", s.startIssuer, false},
		{"keys and certificates", s.makeKeys, false},
		{"time-stamping authority", s.startTSA, false},
		{"certificate transparency log", s.startCTLog, false},
		{"Fulcio", s.startFulcio, false},
		{"witnesses", s.startWitnesses, s.options.Witnesses == 0},
		{"Rekor v2", s.startShards, false},
		{"Rekor v1", s.startRekorV1, s.options.RekorV1 == nil},
		{"TUF repository", s.startTUF, false},
		{"forge", s.startForge, false},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if step.skip {
			continue
		}
		s.options.Progress(step.name)
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// listen takes all ports, so that every service knows the others' addresses.
func (s *Stack) listen() error {
	services := []Service{Issuer, Fulcio, CTLog, TSA, TUF, Forge}
	for i := range s.options.Witnesses {
		services = append(services, witnessName(i))
	}
	if s.options.RekorV1 != nil {
		services = append(services, RekorV1)
	}
	for _, name := range services {
		if _, err := s.open(name); err != nil {
			return err
		}
	}
	issuerAt := s.endpoints[Issuer].host
	s.transport = &issuer.Transport{Base: s.outgoing, Hosts: map[string]string{
		"token.actions.githubusercontent.com": issuerAt, "gitlab.com/.well-known": issuerAt, "gitlab.com/oauth": issuerAt,
	}}
	for _, host := range forge.Hosts {
		s.transport.Hosts[host] = s.endpoints[Forge].host
	}
	return nil
}

func (s *Stack) open(name Service) (*endpoint, error) {
	l, err := s.dir.Listen(string(name))
	if err != nil {
		return nil, err
	}
	e := serve(l)
	s.endpoints[name] = e
	s.closers = append(s.closers, e.close)
	return e, nil
}

func witnessName(i int) Service {
	if i == 0 {
		return Witness
	}
	return Service(fmt.Sprintf("%s-%d", Witness, i+1))
}

// epoch is from when on the stack's keys are valid.
func (s *Stack) epoch() time.Time { return s.dir.Created.Add(-backdate) }

func (s *Stack) makeKeys() (err error) {
	for name, key := range map[string]**ecdsa.PrivateKey{"root": &s.rootKey, "fulcio": &s.caKey, "tsa": &s.tsaKey, "ctlog": &s.ctKey, "rekor-v1": &s.v1Key} {
		if *key, err = s.dir.ECDSA(name); err != nil {
			return err
		}
	}
	from := s.epoch()
	if s.root, err = s.dir.Certificate("root", func() ([]byte, error) { return fulcio.RootCertificate(s.rootKey, from) }); err != nil {
		return err
	}
	if s.intermediate, err = s.dir.Certificate("fulcio", func() ([]byte, error) {
		return fulcio.IntermediateCertificate(s.root, s.rootKey, s.caKey.Public(), from)
	}); err != nil {
		return err
	}
	s.tsaCert, err = s.dir.Certificate("tsa", func() ([]byte, error) {
		return tsa.Certify(s.root, s.rootKey, s.tsaKey.Public(), from, s.root.NotAfter)
	})
	return err
}

func (s *Stack) startIssuer() error {
	// An RSA key takes longer to make than all else together. Whoever asks for
	// the first token meanwhile waits for it.
	key := sync.OnceValues(func() (*rsa.PrivateKey, error) { return s.dir.RSA("issuer") })
	go func() { _, _ = key() }() // the error is told to who asks
	s.issuer = issuer.New(s.endpoints[Issuer].url, key)
	return s.endpoints[Issuer].set(s.issuer)
}

func (s *Stack) startTSA() error {
	return s.endpoints[TSA].set(&tsa.TSA{Key: s.tsaKey, Certificate: s.tsaCert, Root: s.root, Now: time.Now})
}

func (s *Stack) startCTLog() error {
	e := s.endpoints[CTLog]
	l, err := ctlog.Start(s.ctx, s.dir.Path("ctlog"), s.ctKey, s.root)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, bounded(l.Close))
	return e.set(l)
}

// bounded gives a shutdown a deadline.
func bounded(shutdown func(context.Context) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return shutdown(ctx)
	}
}

func (s *Stack) startFulcio() (err error) {
	s.fulcio, err = s.newFulcio(s.caKey, s.intermediate, s.root, s.endpoints[CTLog].url)
	if err != nil {
		return err
	}
	return s.endpoints[Fulcio].set(s.fulcio)
}

func (s *Stack) newFulcio(key *ecdsa.PrivateKey, intermediate, root *x509.Certificate, ct string) (*fulcio.Fulcio, error) {
	return fulcio.New(s.ctx, fulcio.Options{
		Issuer: s.endpoints[Issuer].url, Verify: issuer.Verifier(s.transport, issuer.Audience),
		Intermediate: intermediate, Root: root, Key: key,
		CTLog: ct, CTKey: s.ctKey.Public(), Transport: s.transport,
	})
}

func (s *Stack) startWitnesses() error {
	for i := range s.options.Witnesses {
		name := string(witnessName(i))
		key, err := s.dir.Ed25519(name)
		if err != nil {
			return err
		}
		file := name + ".json"
		w, err := witness.New("sandbox/"+name, key, s.dir.Path(file), func(data []byte) error { return s.dir.Write(file, data) })
		if err != nil {
			return err
		}
		s.witnesses = append(s.witnesses, w)
		if err := s.endpoints[witnessName(i)].set(w); err != nil {
			return err
		}
	}
	return nil
}

// Cosign makes the witnesses cosign a log beside the stack's own, by its verifier
// key (C2SP signed-note).
func (s *Stack) Cosign(vkey string) error {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	for _, w := range s.witnesses {
		w.Add(v)
	}
	return nil
}

// WitnessPolicy returns the witnesses' keys and quorum in the policy format that
// Tessera reads, which is empty without witnesses.
func (s *Stack) WitnessPolicy() string {
	if len(s.witnesses) == 0 {
		return ""
	}
	var b strings.Builder
	names := make([]string, len(s.witnesses))
	for i, w := range s.witnesses {
		names[i] = fmt.Sprintf("w%d", i+1)
		fmt.Fprintf(&b, "witness %s %s %s\n", names[i], w.Key(), s.endpoints[witnessName(i)].url)
	}
	fmt.Fprintf(&b, "group g %d %s\nquorum g\n", min(quorum, len(names)), strings.Join(names, " "))
	return b.String()
}

func (s *Stack) startRekorV1() error {
	h, stop, err := s.options.RekorV1.Start(s.ctx, s.dir.Path("rekor-v1"), "127.0.0.1", s.v1Key, s.dir.KeyPath("rekor-v1"))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	return s.endpoints[RekorV1].set(h)
}

func (s *Stack) startTUF() (err error) {
	if s.tuf, err = tufrepo.Open(s.dir); err != nil {
		return err
	}
	s.mu.Lock()
	err = s.publish()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.endpoints[TUF].set(s.tuf.Handler())
}

func (s *Stack) startForge() (err error) {
	if s.forge, err = forge.Open(s.dir.Path("forge"), s.endpoints[Forge].url, s.issuer); err != nil {
		return err
	}
	s.closers = append(s.closers, s.forge.Close)
	return s.endpoints[Forge].set(s.forge)
}

// Close stops every service, waits until what was logged is published, and
// leaves no goroutine behind. The directory can be started again.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	s.cancel()
	s.outgoing.CloseIdleConnections()
	errs = append(errs, s.join())
	for _, c := range s.release {
		errs = append(errs, c())
	}
	if s.dir != nil {
		errs = append(errs, s.dir.Close())
	}
	return errors.Join(errs...)
}

var _ io.Closer = (*Stack)(nil)
