// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/oauthflow"

	"github.com/repopolicy/repopolicy/sandbox"
)

// devtools speaks the Chrome DevTools protocol over a pair of pipes: JSON
// messages that end with a zero byte.
type devtools struct {
	in      *bufio.Reader
	out     io.Writer
	session string
	last    int
}

func (d *devtools) call(method string, params map[string]any, result any) error {
	d.last++
	message := map[string]any{"id": d.last, "method": method, "params": params}
	if d.session != "" {
		message["sessionId"] = d.session
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := d.out.Write(append(data, 0)); err != nil {
		return err
	}
	for {
		line, err := d.in.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(line[:len(line)-1], &answer); err != nil {
			return err
		}
		switch {
		case answer.ID != d.last: // an event
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", method, answer.Error.Message)
		case result != nil:
			return json.Unmarshal(answer.Result, result)
		default:
			return nil
		}
	}
}

// evaluate runs a script in the page and returns its value, a string. It waits
// for promises.
func (d *devtools) evaluate(script string) (string, error) {
	var r struct{ Result struct{ Value any } }
	err := d.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true}, &r)
	return fmt.Sprint(r.Result.Value), err
}

// openChromium starts a headless browser on an empty page.
func openChromium(ctx context.Context, binary, profile string) (*devtools, func() error, error) {
	fromUs, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	fromBrowser, toUs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{fromUs, toUs} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	fromUs.Close()
	toUs.Close()
	d := &devtools{in: bufio.NewReaderSize(fromBrowser, 1<<20), out: toBrowser}
	var target struct{ TargetID string }
	if err := d.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, nil, err
	}
	var attached struct{ SessionID string }
	if err := d.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return nil, nil, err
	}
	d.session = attached.SessionID
	end := func() error {
		d.session = ""
		err := d.call("Browser.close", nil, nil)
		_ = cmd.Wait() // its status after being closed says nothing
		toBrowser.Close()
		fromBrowser.Close()
		return err
	}
	return d, end, nil
}

// TestChromium signs in on the page with a real browser, which ends on the
// loopback redirect of Sigstore's client.
func TestChromium(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium on this machine (Debian: apt-get install chromium)")
	}
	s := start(t, sandbox.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	page, end, err := openChromium(ctx, binary, t.TempDir())
	check(t, err)
	drive := func(address string) (string, error) {
		if err := page.call("Page.enable", nil, nil); err != nil {
			return "", err
		}
		if err := page.call("Page.navigate", map[string]any{"url": address}, nil); err != nil {
			return "", err
		}
		wait := func(condition string) error {
			for ctx.Err() == nil {
				// The promise gives the page a moment; a page that is going
				// away answers with an error, which is asked again.
				if v, err := page.evaluate("new Promise(r => setTimeout(() => r(String(" + condition + ")), 50))"); err == nil && v == "true" {
					return nil
				}
			}
			return fmt.Errorf("%s: %w", condition, ctx.Err())
		}
		if err := wait("document.readyState == 'complete' && document.querySelector('#signin') != null"); err != nil {
			return "", err
		}
		if _, err := page.evaluate(`document.querySelector('#email').value = 'carol@example.com';
			document.querySelector('#connector').value = 'https://github.com/login/oauth'; document.querySelector('#signin').click()`); err != nil {
			return "", err
		}
		if err := wait("document.readyState == 'complete' && document.querySelector('#landed') != null"); err != nil {
			return "", err
		}
		return page.evaluate("location.href")
	}
	type landing struct {
		at  string
		err error
	}
	landed := make(chan landing, 1)
	getter := &oauthflow.InteractiveIDTokenGetter{
		HTMLPage: `<p id="landed">You can close this page.</p>`, Output: io.Discard,
		BrowserOpener: func(address string) error {
			go func() {
				at, err := drive(address)
				landed <- landing{at, err}
			}()
			return nil
		},
	}
	token, err := oauthflow.OIDConnect(s.URL(sandbox.Issuer), "sigstore", "", "", getter)
	check(t, err)
	at := <-landed
	check(t, at.err)
	if len(at.at) < 17 || at.at[:17] != "http://localhost:" {
		t.Errorf("the browser ended at %s", at.at)
	}
	signedIn(t, s, token.RawString, token.Subject, "carol@example.com", "https://github.com/login/oauth")
	check(t, end())
}
