// SPDX-License-Identifier: Apache-2.0

package main

// element is one DER element: der[start:body] is its header, der[body:end] its
// content.
type element struct {
	tag              byte
	start, body, end int
}

// children returns the elements between two offsets; it stops at what is no
// definite-length element with a low tag number.
func children(der []byte, from, to int) []element {
	var out []element
	for at := from; at+2 <= to; {
		e := element{tag: der[at], start: at}
		n, head := int(der[at+1]), 2
		if n >= 0x80 {
			size := n & 0x7f
			if size == 0 || size > 3 || at+2+size > to {
				return out
			}
			n, head = 0, 2+size
			for _, b := range der[at+2 : at+2+size] {
				n = n<<8 | int(b)
			}
		}
		e.body, e.end = at+head, at+head+n
		if e.end > to || e.tag&0x1f == 0x1f {
			return out
		}
		out = append(out, e)
		at = e.end
	}
	return out
}

// DER tags.
const (
	tagSequence = 0x30
	tagContext0 = 0xa0
	tagContext1 = 0xa1
)

// tokenRegions labels the parts of a TimeStampResp (RFC 3161, RFC 5652).
func tokenRegions(der []byte, label func(from, to int, what string)) {
	within := func(e element) []element { return children(der, e.body, e.end) }
	part := func(e element, what string) { label(e.start, e.end, what) }
	label(0, len(der), "framing")

	top := children(der, 0, len(der))
	if len(top) != 1 {
		return
	}
	resp := within(top[0])
	if len(resp) == 2 { // a response; else a bare token
		part(resp[0], "status")
		resp = within(resp[1])
	}
	if len(resp) != 2 || resp[1].tag != tagContext0 {
		return
	}
	data := within(resp[1])
	if len(data) != 1 {
		return
	}
	fields := within(data[0])
	for i, e := range fields {
		switch {
		case i == 0:
			part(e, "version")
		case i == 1:
			part(e, "digest algorithms")
		case i == 2:
			part(e, "time stamp")
			if info := within(e); len(info) == 2 {
				label(info[0].start, info[1].body, "type and header of the time stamp")
			}
		case e.tag == tagContext0 && e.body == e.end:
			part(e, "empty list of certificates")
		case e.tag == tagContext0:
			part(e, "embedded certificates")
		case e.tag == tagContext1:
			part(e, "revocation lists")
		default:
			for _, signer := range within(e) {
				signerRegions(within(signer), part)
				for _, f := range within(signer) {
					if f.tag != tagContext0 {
						continue
					}
					for _, attribute := range within(f) {
						if tv := within(attribute); len(tv) == 2 {
							label(tv[1].start, tv[1].body, "header of an attribute's values")
						}
					}
				}
			}
		}
	}
}

// signerRegions labels the fields of a SignerInfo.
func signerRegions(fields []element, part func(element, string)) {
	signed := false
	for i, e := range fields {
		switch {
		case i == 0:
			part(e, "signer version")
		case i == 1:
			part(e, "signer identifier")
		case i == 2:
			part(e, "signer digest algorithm")
		case e.tag == tagContext0:
			part(e, "signed attributes")
		case e.tag == tagContext1:
			part(e, "unsigned attributes")
		case e.tag == tagSequence && !signed:
			part(e, "signature algorithm")
			signed = true
		default:
			part(e, "signature")
		}
	}
}
