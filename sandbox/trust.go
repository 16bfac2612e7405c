// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/repopolicy/repopolicy/sandbox/internal/tsa"
)

// The targets of the TUF repository, by the names that Sigstore's has.
const (
	trustedRootTarget = "trusted_root.json"
	configTarget      = "signing_config.v0.2.json"
	configV2Target    = "signing_config_rekor_v2.v0.2.json"
)

// publish computes the trusted root and the signing configurations and puts them
// into the TUF repository. The caller holds mu.
func (s *Stack) publish() error {
	var err error
	if s.trusted, err = marshal(s.trustedRoot()); err != nil {
		return err
	}
	for version := 1; version <= 2; version++ {
		s.configs[version] = nil
		if c := s.signingConfig(version); c != nil {
			if s.configs[version], err = marshal(c); err != nil {
				return err
			}
		}
	}
	targets := map[string][]byte{trustedRootTarget: s.trusted}
	if s.configs[2] != nil {
		targets[configTarget], targets[configV2Target] = s.configs[2], s.configs[2]
	}
	if s.configs[1] != nil { // the default while both run, as on the public instance
		targets[configTarget] = s.configs[1]
	}
	return s.tuf.Publish(targets)
}

// marshal returns the same bytes for the same message, which protojson alone
// does not promise: its spacing varies from build to build.
func marshal(m proto.Message) ([]byte, error) {
	data, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, err
	}
	return append(b.Bytes(), '\n'), nil
}

func (s *Stack) trustedRoot() *prototrust.TrustedRoot {
	window := func(service Service, start, end time.Time) *protocommon.TimeRange {
		if s.expired[service] {
			start, end = start.AddDate(-1, 0, 0), start
		}
		w := &protocommon.TimeRange{Start: timestamppb.New(start)}
		if !end.IsZero() {
			w.End = timestamppb.New(end)
		}
		return w
	}
	authority := func(service Service, url string, chain ...*x509.Certificate) *prototrust.CertificateAuthority {
		a := &prototrust.CertificateAuthority{
			Subject: &protocommon.DistinguishedName{Organization: "sandbox", CommonName: chain[len(chain)-1].Subject.CommonName},
			Uri:     url, CertChain: &protocommon.X509CertificateChain{}, ValidFor: window(service, s.epoch(), time.Time{}),
		}
		for _, c := range chain {
			a.CertChain.Certificates = append(a.CertChain.Certificates, &protocommon.X509Certificate{RawBytes: c.Raw})
		}
		return a
	}
	instance := func(url string, key crypto.PublicKey, id []byte, valid *protocommon.TimeRange) *prototrust.TransparencyLogInstance {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil { // the key is one of ours
			panic(err)
		}
		details := protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
		if _, ok := key.(ed25519.PublicKey); ok {
			details = protocommon.PublicKeyDetails_PKIX_ED25519
		}
		if id == nil {
			sum := sha256.Sum256(der)
			id = sum[:]
		}
		return &prototrust.TransparencyLogInstance{
			BaseUrl: url, HashAlgorithm: protocommon.HashAlgorithm_SHA2_256, LogId: &protocommon.LogId{KeyId: id},
			PublicKey: &protocommon.PublicKey{RawBytes: der, KeyDetails: details, ValidFor: valid},
		}
	}
	tr := &prototrust.TrustedRoot{
		MediaType:              root.TrustedRootMediaType01,
		CertificateAuthorities: []*prototrust.CertificateAuthority{authority(Fulcio, s.endpoints[Fulcio].url, s.intermediate, s.root)},
		TimestampAuthorities:   []*prototrust.CertificateAuthority{authority(TSA, s.endpoints[TSA].url+tsa.Path, s.tsaCert, s.root)},
		Ctlogs:                 []*prototrust.TransparencyLogInstance{instance(s.endpoints[CTLog].url, s.ctKey.Public(), nil, window(CTLog, s.epoch(), time.Time{}))},
	}
	if e, ok := s.endpoints[RekorV1]; ok {
		tr.Tlogs = append(tr.Tlogs, instance(e.url, s.v1Key.Public(), nil, window(RekorV1, s.epoch(), time.Time{})))
	}
	for _, sh := range s.shards {
		tr.Tlogs = append(tr.Tlogs, instance(sh.at.url, sh.key.Public(), sh.log.LogID(), window(Rekor, sh.Start, sh.End)))
	}
	return tr
}

// signingConfig returns the configuration for one version of Rekor, or nil if
// the stack has none of that version.
func (s *Stack) signingConfig(version int) *prototrust.SigningConfig {
	service := func(url string, version int, start, end time.Time) *prototrust.Service {
		v := &protocommon.TimeRange{Start: timestamppb.New(start)}
		if !end.IsZero() {
			v.End = timestamppb.New(end)
		}
		return &prototrust.Service{Url: url, MajorApiVersion: uint32(version), ValidFor: v, Operator: "sandbox"}
	}
	any := &prototrust.ServiceConfiguration{Selector: prototrust.ServiceSelector_ANY}
	c := &prototrust.SigningConfig{
		MediaType: root.SigningConfigMediaType02,
		CaUrls:    []*prototrust.Service{service(s.endpoints[Fulcio].url, 1, s.epoch(), time.Time{})},
		OidcUrls:  []*prototrust.Service{service(s.endpoints[Issuer].url, 1, s.epoch(), time.Time{})},
		TsaUrls:   []*prototrust.Service{service(s.endpoints[TSA].url+tsa.Path, 1, s.epoch(), time.Time{})}, TsaConfig: any, RekorTlogConfig: any,
	}
	if version == 1 {
		if e, ok := s.endpoints[RekorV1]; ok {
			c.RekorTlogUrls = append(c.RekorTlogUrls, service(e.url, 1, s.epoch(), time.Time{}))
		}
	} else {
		for i := len(s.shards) - 1; i >= 0; i-- { // newest first, as the specification asks
			if !s.shards[i].Waiting {
				c.RekorTlogUrls = append(c.RekorTlogUrls, service(s.shards[i].at.url, 2, s.shards[i].Start, s.shards[i].End))
			}
		}
	}
	if len(c.RekorTlogUrls) == 0 {
		return nil
	}
	return c
}

// TrustedRoot returns trusted_root.json, whose keys verify what the stack signs.
func (s *Stack) TrustedRoot() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.trusted)
}

// SigningConfig returns signing_config.v0.2.json for version 1 or 2 of Rekor,
// and nil if the stack has no log of that version.
func (s *Stack) SigningConfig(version int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version < 1 || version > 2 {
		return nil
	}
	return bytes.Clone(s.configs[version])
}

// TUFRoot returns the first root.json of the TUF repository at URL(TUF): what a
// client is to be pinned to.
func (s *Stack) TUFRoot() ([]byte, error) { return s.tuf.Pinned() }

// RotateTUFRoot replaces the root key of the TUF repository. Clients that are
// pinned to an earlier root follow.
func (s *Stack) RotateTUFRoot() error { return s.tuf.RotateRoot() }
