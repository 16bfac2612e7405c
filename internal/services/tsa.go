// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/http"
	"time"

	"github.com/repopolicy/repopolicy/internal/timestamp"
)

const (
	stampQuery   = "application/timestamp-query"
	stampRetries = 1
	retryPause   = time.Second
)

var oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}

// stampRequest is a TimeStampReq (RFC 3161, section 2.4.1) without policy and nonce: nobody has
// stamped a signature before it was made.
type stampRequest struct {
	Version int
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Hash      []byte
	}
}

// Stamp asks a time stamp authority at the service's URL for a stamp over data, and returns the
// DER of its TimeStampResp. An authority that is busy is asked once more: another stamp does no
// harm.
//
// Protocol: RFC 3161, section 3.4.
func (s Service) Stamp(ctx context.Context, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	q := stampRequest{Version: 1}
	q.Imprint.Algorithm = pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	q.Imprint.Hash = sum[:]
	body, err := asn1.Marshal(q)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		a, err := s.ask(ctx, question{body: body, kind: stampQuery, plain: true})
		if err != nil {
			return nil, err
		}
		switch {
		case a.busy() && try < stampRetries:
			if err := pause(ctx, retryPause); err != nil {
				return nil, err
			}
		case a.status != http.StatusOK && a.status != http.StatusCreated:
			return nil, fmt.Errorf("the authority returned %d: %s", a.status, a.said())
		default:
			if _, err := timestamp.Parse(a.body); err != nil {
				return nil, err
			}
			return a.body, nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
