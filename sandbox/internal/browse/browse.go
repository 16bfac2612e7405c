// SPDX-License-Identifier: Apache-2.0

// Package browse is a person at a browser, for tests: it fills in the sign-in
// page of the sandbox's issuer.
package browse

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"time"
)

const (
	maxPage = 1 << 20
	timeout = 10 * time.Second
)

var (
	form   = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	hidden = regexp.MustCompile(`<input (?:type="hidden"|id="user_code") name="([^"]*)" value="([^"]*)"`)
)

// SignIn opens the page at the address, signs in as the owner of an e-mail address
// at a connector, and follows where that leads. It returns the last page.
func SignIn(address, email, connector string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar, Timeout: timeout}
	read := func(resp *http.Response, err error) (string, error) {
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
		return string(data), err
	}
	page, err := read(client.Get(address))
	if err != nil {
		return "", err
	}
	action := form.FindStringSubmatch(page)
	if action == nil {
		return "", fmt.Errorf("no form in %s", page)
	}
	values := url.Values{"email": {email}, "connector": {connector}}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		values.Set(m[1], html.UnescapeString(m[2]))
	}
	base, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	return read(client.PostForm(base.ResolveReference(&url.URL{Path: html.UnescapeString(action[1])}).String(), values))
}
