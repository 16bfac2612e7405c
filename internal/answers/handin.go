// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"slices"
	"strconv"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/bindings"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Limits of one request that hands in (SPEC 16.6).
const (
	HandInPath     = "hand-in"
	MaxHandInBytes = 1 << 20
	MaxHandInFiles = 64

	handInTimeout = 2 * time.Minute // of all requests about one statement
	handInFrame   = 512             // bytes of a request around each file
)

// ErrNotBound is wrapped by the error about a statement of which a directory knows no
// binding, and none was at hand.
var ErrNotBound = errors.New("no binding of it is known")

// Unlisted returns what files offer under a trusted root and a directory does not list: the
// oldest version first, and of each what is missing, with the bindings at hand. A nil
// directory lists nothing.
func Unlisted(
	root *sigstore.Root, forges *bindings.Forges, files []bindings.File, d *chain.Directory,
) []bindings.Offer {
	out := bindings.Offers(root, forges, files, nil)
	if d == nil {
		d = &chain.Directory{}
	}
	for i := range out {
		out[i].Signatures = slices.DeleteFunc(out[i].Signatures, func(s bindings.OfferedSignature) bool {
			return slices.ContainsFunc(d.Signatures, func(x chain.Listed) bool {
				return x.Payload == s.Payload && x.Log == s.Log && x.Index == s.Index
			})
		})
	}
	out = slices.DeleteFunc(out, func(o bindings.Offer) bool {
		listed := slices.ContainsFunc(
			d.Statements, func(s chain.Listed) bool { return s.Payload == o.Statement.Digest() },
		)
		return o.Statement.Err() != nil || listed && len(o.Signatures) == 0
	})
	arrange.By(out, func(a, b bindings.Offer) int { return a.Statement.Version() - b.Statement.Version() })
	return out
}

// HandIn hands a statement in to the directory, with what an offer has of it, and returns the
// receipt, which was verified: the last one, if it takes several requests. The error wraps
// [ErrNotBound], or a [*web.StatusError] with what the directory said.
func (d *Descriptor) HandIn(
	ctx context.Context, c *web.Client, o bindings.Offer,
) (receipt Receipt, signed []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, handInTimeout)
	defer cancel()
	todo := o.Bundles()
	if len(todo) == 0 {
		return Receipt{}, nil, errors.New("nothing of it is to be handed in")
	}
	for len(todo) > 0 {
		n, size := 0, 0
		for n < min(len(todo), MaxHandInFiles) && size+len(todo[n])+handInFrame <= MaxHandInBytes {
			size += len(todo[n]) + handInFrame
			n++
		}
		if n == 0 {
			return Receipt{}, nil, fmt.Errorf("a file of %d bytes is more than a directory takes", len(todo[0]))
		}
		if receipt, signed, err = d.handIn(ctx, c, o.Statement.Digest(), todo[:n]); err != nil {
			return Receipt{}, nil, err
		}
		todo = todo[n:]
	}
	return receipt, signed, nil
}

// handIn makes one request.
func (d *Descriptor) handIn(
	ctx context.Context, c *web.Client, statement string, bundles [][]byte,
) (Receipt, []byte, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i, data := range bundles {
		w, err := form.CreateFormFile("file", strconv.Itoa(i)+bindings.SignatureSuffix)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			return Receipt{}, nil, err
		}
	}
	if err := form.Close(); err != nil {
		return Receipt{}, nil, err
	}
	signed, err := c.Ask(ctx, HandInPath, form.FormDataContentType(), body.Bytes(), MaxReceiptBytes)
	var status *web.StatusError
	if errors.As(err, &status) && status.Code == statusConflict {
		err = fmt.Errorf("%w: %w", ErrNotBound, err)
	}
	if err != nil {
		return Receipt{}, nil, err
	}
	r, err := d.OpenReceipt(signed)
	if err == nil && r.Statement != statement {
		err = fmt.Errorf("the receipt is for the statement %s, not %s", r.Statement, statement)
	}
	return r, signed, err
}

// statusConflict is how a directory answers that a statement is not bound.
const statusConflict = 409
