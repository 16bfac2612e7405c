// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// What the generated code of protobuf-specs reads, as our structs.

func bundleOf(pb *protobundle.Bundle) *Bundle {
	b := &Bundle{MediaType: pb.GetMediaType()}
	if vm := pb.GetVerificationMaterial(); vm != nil {
		b.Material = materialOf(vm)
	}
	if e := pb.GetDsseEnvelope(); e != nil {
		b.Envelope = &Envelope{Payload: e.GetPayload(), PayloadType: e.GetPayloadType()}
		for _, s := range e.GetSignatures() {
			b.Envelope.Signatures = append(b.Envelope.Signatures, Signature{Sig: s.GetSig(), KeyID: s.GetKeyid()})
		}
	}
	if m := pb.GetMessageSignature(); m != nil {
		b.Message = &Message{Signature: m.GetSignature()}
		if d := m.GetMessageDigest(); d != nil {
			b.Message.Digest = &Digest{Algorithm: hashOf(d.GetAlgorithm()), Digest: d.GetDigest()}
		}
	}
	return b
}

func hashOf(h protocommon.HashAlgorithm) string {
	if h == protocommon.HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED {
		return ""
	}
	return h.String()
}

func materialOf(vm *protobundle.VerificationMaterial) *Material {
	m := &Material{}
	if c := vm.GetCertificate(); c != nil {
		m.Certificate = &Certificate{Raw: c.GetRawBytes()}
	}
	if c := vm.GetX509CertificateChain(); c != nil {
		m.Chain = &Chain{Certificates: chainOf(c)}
	}
	if k := vm.GetPublicKey(); k != nil {
		m.PublicKey = &PublicKeyHint{Hint: k.GetHint()}
	}
	for _, e := range vm.GetTlogEntries() {
		m.Entries = append(m.Entries, entryOf(e))
	}
	for _, s := range vm.GetTimestampVerificationData().GetRfc3161Timestamps() {
		m.Stamps = append(m.Stamps, s.GetSignedTimestamp())
	}
	return m
}

func chainOf(c *protocommon.X509CertificateChain) (out [][]byte) {
	for _, cert := range c.GetCertificates() {
		out = append(out, cert.GetRawBytes())
	}
	return out
}

func entryOf(e *protorekor.TransparencyLogEntry) *Entry {
	out := &Entry{
		Index: e.GetLogIndex(), LogID: e.GetLogId().GetKeyId(),
		Kind: e.GetKindVersion().GetKind(), Version: e.GetKindVersion().GetVersion(),
		Time: e.GetIntegratedTime(), Promise: e.GetInclusionPromise().GetSignedEntryTimestamp(),
		Body: e.GetCanonicalizedBody(),
	}
	if p := e.GetInclusionProof(); p != nil {
		out.Proof = &Proof{
			Index: p.GetLogIndex(), Root: p.GetRootHash(), Size: p.GetTreeSize(), Hashes: p.GetHashes(),
			Checkpoint: p.GetCheckpoint().GetEnvelope(),
		}
	}
	return out
}

func rootOf(r *prototrust.TrustedRoot) *TrustedRoot {
	return &TrustedRoot{
		MediaType: r.GetMediaType(), Logs: logsOf(r.GetTlogs()), CTLogs: logsOf(r.GetCtlogs()),
		Fulcio:   authoritiesOf(r.GetCertificateAuthorities()),
		Stampers: authoritiesOf(r.GetTimestampAuthorities()),
	}
}

func logsOf(logs []*prototrust.TransparencyLogInstance) (out []*Log) {
	for _, l := range logs {
		log := &Log{
			URL: l.GetBaseUrl(), Hash: hashOf(l.GetHashAlgorithm()), ID: l.GetLogId().GetKeyId(),
			CheckpointID: l.GetCheckpointKeyId().GetKeyId(), Operator: l.GetOperator(),
		}
		if k := l.GetPublicKey(); k != nil {
			log.Key = &PublicKey{Raw: k.GetRawBytes(), Valid: windowOf(k.GetValidFor())}
			if d := k.GetKeyDetails(); d != protocommon.PublicKeyDetails_PUBLIC_KEY_DETAILS_UNSPECIFIED {
				log.Key.Details = d.String()
			}
		}
		out = append(out, log)
	}
	return out
}

func authoritiesOf(cas []*prototrust.CertificateAuthority) (out []*Authority) {
	for _, a := range cas {
		out = append(out, &Authority{
			Organization: a.GetSubject().GetOrganization(), CommonName: a.GetSubject().GetCommonName(), URI: a.GetUri(),
			Chain: chainOf(a.GetCertChain()), Valid: windowOf(a.GetValidFor()), Operator: a.GetOperator(),
		})
	}
	return out
}

func windowOf(r *protocommon.TimeRange) *Window {
	if r == nil {
		return nil
	}
	return &Window{Start: timeOf(r.GetStart()), End: timeOf(r.GetEnd())}
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func configOf(c *prototrust.SigningConfig) *SigningConfig {
	services := func(list []*prototrust.Service) (out []Service) {
		for _, s := range list {
			out = append(out, Service{
				URL: s.GetUrl(), Major: s.GetMajorApiVersion(), Valid: windowOf(s.GetValidFor()), Operator: s.GetOperator(),
			})
		}
		return out
	}
	choice := func(s *prototrust.ServiceConfiguration) Select {
		out := Select{Count: s.GetCount()}
		if sel := s.GetSelector(); sel != prototrust.ServiceSelector_SERVICE_SELECTOR_UNDEFINED {
			out.Selector = sel.String()
		}
		return out
	}
	return &SigningConfig{
		MediaType: c.GetMediaType(), CAs: services(c.GetCaUrls()), OIDC: services(c.GetOidcUrls()),
		Rekor: services(c.GetRekorTlogUrls()), TSA: services(c.GetTsaUrls()),
		RekorSelect: choice(c.GetRekorTlogConfig()), TSASelect: choice(c.GetTsaConfig()),
	}
}
