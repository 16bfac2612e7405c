// SPDX-License-Identifier: Apache-2.0

package bundle

// The messages of protobuf-specs, field by field in the order of their declaration, each with
// its name in JSON, its number on the wire, and the place in our structs where its value goes.
// Messages with one field have no struct of their own: their field goes where they stand.

// Limits of a bundle, checked while it is read.
const (
	MaxBytes       = 4 << 20
	MaxEntries     = 32
	MaxStamps      = 32
	MaxChain       = 10
	MaxProofHashes = 64
	MaxDERBytes    = 64 << 10 // of a certificate or time stamp
	// MaxValues is how many JSON values a bundle, a signing config or the body of a log entry
	// has at most: each becomes some hundred bytes, however few it has in the text.
	MaxValues = 10_000
)

// Limits of a trusted root.
const (
	MaxRootBytes  = 4 << 20
	MaxRootValues = 50_000
)

// Oneofs of a message.
const (
	alone = iota
	content
)

func (b *Bundle) form() message {
	return message{
		text("mediaType", 1, &b.MediaType),
		object("verificationMaterial", 2, &b.Material, (*Material).form),
		object("messageSignature", 3, &b.Message, (*Message).form).of(content),
		object("dsseEnvelope", 4, &b.Envelope, (*Envelope).form).of(content),
	}
}

func (m *Material) form() message {
	return message{
		object("publicKey", 1, &m.PublicKey, (*PublicKeyHint).form).of(content),
		object("x509CertificateChain", 2, &m.Chain, (*Chain).form).of(content),
		object("certificate", 5, &m.Certificate, (*Certificate).form).of(content),
		list("tlogEntries", 3, &m.Entries, MaxEntries, func(e **Entry) value { return pointer(e, (*Entry).form) }),
		inline("timestampVerificationData", 4, list("rfc3161Timestamps", 1, &m.Stamps, MaxStamps, func(s *[]byte) value {
			return message{der("signedTimestamp", 1, s)}
		})),
	}
}

func (k *PublicKeyHint) form() message { return message{text("hint", 1, &k.Hint)} }

func (c *Certificate) form() message { return message{der("rawBytes", 1, &c.Raw)} }

func (c *Chain) form() message { return message{certificates(&c.Certificates, MaxChain)} }

func certificates(to *[][]byte, limit int) field {
	return list("certificates", 1, to, limit, func(c *[]byte) value { return message{der("rawBytes", 1, c)} })
}

func (m *Message) form() message {
	return message{
		object("messageDigest", 1, &m.Digest, (*Digest).form),
		data("signature", 2, &m.Signature),
	}
}

func (d *Digest) form() message {
	return message{enum("algorithm", 1, &d.Algorithm, hashAlgorithms), data("digest", 2, &d.Digest)}
}

func (e *Envelope) form() message {
	return message{
		data("payload", 1, &e.Payload),
		text("payloadType", 2, &e.PayloadType),
		list("signatures", 3, &e.Signatures, 0, func(s *Signature) value {
			return message{data("sig", 1, &s.Sig), text("keyid", 2, &s.KeyID)}
		}),
	}
}

func (e *Entry) form() message {
	return message{
		number("logIndex", 1, &e.Index),
		logID("logId", 2, &e.LogID),
		inline("kindVersion", 3, text("kind", 1, &e.Kind), text("version", 2, &e.Version)),
		number("integratedTime", 4, &e.Time),
		inline("inclusionPromise", 5, data("signedEntryTimestamp", 1, &e.Promise)),
		object("inclusionProof", 6, &e.Proof, (*Proof).form),
		document("canonicalizedBody", 7, &e.Body),
	}
}

func logID(name string, num uint64, to *[]byte) field { return inline(name, num, data("keyId", 1, to)) }

func (p *Proof) form() message {
	return message{
		number("logIndex", 1, &p.Index),
		data("rootHash", 2, &p.Root),
		number("treeSize", 3, &p.Size),
		list("hashes", 4, &p.Hashes, MaxProofHashes, func(h *[]byte) value { return &bytesValue{to: h} }),
		inline("checkpoint", 5, text("envelope", 1, &p.Checkpoint)),
	}
}

func (r *TrustedRoot) form() message {
	log := func(l **Log) value { return pointer(l, (*Log).form) }
	authority := func(a **Authority) value { return pointer(a, (*Authority).form) }
	return message{
		text("mediaType", 1, &r.MediaType),
		list("tlogs", 2, &r.Logs, 0, log),
		list("certificateAuthorities", 3, &r.Fulcio, 0, authority),
		list("ctlogs", 4, &r.CTLogs, 0, log),
		list("timestampAuthorities", 5, &r.Stampers, 0, authority),
	}
}

func (l *Log) form() message {
	return message{
		text("baseUrl", 1, &l.URL),
		enum("hashAlgorithm", 2, &l.Hash, hashAlgorithms),
		object("publicKey", 3, &l.Key, (*PublicKey).form),
		logID("logId", 4, &l.ID),
		logID("checkpointKeyId", 5, &l.CheckpointID),
		text("operator", 6, &l.Operator),
	}
}

func (k *PublicKey) form() message {
	return message{
		data("rawBytes", 1, &k.Raw),
		enum("keyDetails", 2, &k.Details, publicKeyDetails),
		object("validFor", 3, &k.Valid, (*Window).form),
	}
}

func (w *Window) form() message {
	return message{moment("start", 1, &w.Start), moment("end", 2, &w.End)}
}

func (a *Authority) form() message {
	return message{
		inline("subject", 1, text("organization", 1, &a.Organization), text("commonName", 2, &a.CommonName)),
		text("uri", 2, &a.URI),
		inline("certChain", 3, certificates(&a.Chain, 0)),
		object("validFor", 4, &a.Valid, (*Window).form),
		text("operator", 5, &a.Operator),
	}
}

func (c *SigningConfig) form() message {
	service := func(s *Service) value { return s.form() }
	return message{
		text("mediaType", 5, &c.MediaType),
		list("caUrls", 6, &c.CAs, 0, service),
		list("oidcUrls", 7, &c.OIDC, 0, service),
		list("rekorTlogUrls", 8, &c.Rekor, 0, service),
		c.RekorSelect.form("rekorTlogConfig", 9),
		list("tsaUrls", 10, &c.TSA, 0, service),
		c.TSASelect.form("tsaConfig", 11),
	}
}

func (s *Service) form() message {
	return message{
		text("url", 1, &s.URL),
		count("majorApiVersion", 2, &s.Major),
		object("validFor", 3, &s.Valid, (*Window).form),
		text("operator", 4, &s.Operator),
	}
}

func (s *Select) form(name string, num uint64) field {
	return inline(name, num, enum("selector", 1, &s.Selector, serviceSelectors), count("count", 2, &s.Count))
}

// enumeration maps the numbers of an enum to their names. The name of 0 is "" in our structs.
type enumeration map[int64]string

var hashAlgorithms = enumeration{
	0: "HASH_ALGORITHM_UNSPECIFIED", 1: "SHA2_256", 2: "SHA2_384", 3: "SHA2_512", 4: "SHA3_256", 5: "SHA3_384",
}

var publicKeyDetails = enumeration{
	0:  "PUBLIC_KEY_DETAILS_UNSPECIFIED",
	1:  "PKCS1_RSA_PKCS1V5",
	2:  "PKCS1_RSA_PSS",
	3:  "PKIX_RSA_PKCS1V5",
	4:  "PKIX_RSA_PSS",
	5:  "PKIX_ECDSA_P256_SHA_256",
	6:  "PKIX_ECDSA_P256_HMAC_SHA_256",
	7:  "PKIX_ED25519",
	8:  "PKIX_ED25519_PH",
	9:  "PKIX_RSA_PKCS1V15_2048_SHA256",
	10: "PKIX_RSA_PKCS1V15_3072_SHA256",
	11: "PKIX_RSA_PKCS1V15_4096_SHA256",
	12: "PKIX_ECDSA_P384_SHA_384",
	13: "PKIX_ECDSA_P521_SHA_512",
	14: "LMS_SHA256",
	15: "LMOTS_SHA256",
	16: "PKIX_RSA_PSS_2048_SHA256",
	17: "PKIX_RSA_PSS_3072_SHA256",
	18: "PKIX_RSA_PSS_4096_SHA256",
	19: "PKIX_ECDSA_P384_SHA_256",
	20: "PKIX_ECDSA_P521_SHA_256",
	21: "ML_DSA_65",
	22: "ML_DSA_87",
	23: "ML_DSA_44",
}

var serviceSelectors = enumeration{0: "SERVICE_SELECTOR_UNDEFINED", 1: "ALL", 2: "ANY", 3: "EXACT"}
