// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"errors"
	"fmt"
	"time"
)

// stamped returns why the time stamps of a draft would not verify, before the
// signature is public.
func (r *Root) stamped(d *Draft) error {
	sig := d.signature()
	for _, s := range d.form.Material.Stamps {
		err := errors.New("the trusted root names no time stamp authority")
		for _, a := range r.stampers {
			if _, err = a.Verify(s, sig); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("the time stamp does not verify: %w", err)
		}
	}
	return nil
}

// Check returns why a draft could never verify under the root: it is asked before the
// draft is kept or logged.
func (r *Root) Check(d *Draft, now time.Time) error {
	cert, err := d.Certificate()
	if err != nil {
		return err
	}
	if r.privateOf(cert) != nil {
		if _, err := r.Certified(cert.Raw, now); err != nil {
			return err
		}
	} else if cert != nil {
		if err := r.certified(cert, cert.NotBefore); err != nil {
			return fmt.Errorf("the certificate does not verify: %w", err)
		}
	}
	return r.stamped(d)
}
