// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sigstore/sigstore/pkg/oauthflow"
)

const (
	oauthClient   = "sigstore" // the public client id of every Sigstore instance
	signInTimeout = 5 * time.Minute
)

// SignIn returns an ID token of a person, by the browser on this machine
// (authorization code with PKCE, RFC 7636) or, with device, by a code that is
// typed into a browser elsewhere (RFC 8628). Say prints what the person must
// know; open, if set, opens the browser.
func SignIn(ctx context.Context, issuer string, device bool, say func(string), open func(url string) error) (string, error) {
	if !secret(issuer) {
		return "", errors.New("the sign-in is not at an https URL")
	}
	ctx, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	var getter oauthflow.TokenGetter
	if device {
		d := oauthflow.NewDeviceFlowTokenGetterForIssuer(issuer)
		d.MessagePrinter = say
		getter = d
	} else {
		// What it would print goes to standard output, where data is.
		getter = &oauthflow.InteractiveIDTokenGetter{HTMLPage: oauthflow.DefaultIDTokenGetter.HTMLPage, BrowserOpener: open, Output: io.Discard}
	}
	type reply struct {
		token *oauthflow.OIDCIDToken
		err   error
	}
	done := make(chan reply, 1)
	go func() {
		t, err := oauthflow.OIDConnect(issuer, oauthClient, "", "", getter)
		done <- reply{t, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return "", r.err
		}
		return r.token.RawString, nil
	case <-ctx.Done():
		return "", errors.New("nobody signed in in time")
	}
}
