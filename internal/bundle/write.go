// SPDX-License-Identifier: Apache-2.0

package bundle

// JSON returns a bundle in JSON without white space, as protojson writes it: fields in the order
// of their declaration, those that are not set left out, 64-bit numbers as text.
func (b *Bundle) JSON() []byte { return b.form().appendJSON(nil) }

// JSON returns an entry as it stands in a bundle.
func (e *Entry) JSON() []byte { return e.form().appendJSON(nil) }

// JSON returns an envelope as it stands in a bundle, which is the form of DSSE, too.
func (e *Envelope) JSON() []byte { return e.form().appendJSON(nil) }

// JSON returns a trusted root in JSON without white space.
func (r *TrustedRoot) JSON() []byte { return r.form().appendJSON(nil) }

// JSON returns a signing config in JSON without white space.
func (c *SigningConfig) JSON() []byte { return c.form().appendJSON(nil) }
