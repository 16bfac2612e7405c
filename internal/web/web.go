// SPDX-License-Identifier: Apache-2.0

// Package web asks services that may be hostile or broken: one origin for each
// client, no redirect, a cap and a deadline on every reply, and few, polite
// retries of what can be repeated.
package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// Limits of a request.
const (
	requestTimeout = 20 * time.Second // of one attempt, reply included
	attempts       = 3
	firstPause     = 250 * time.Millisecond
	maxPause       = 2 * time.Second
	maxErrorText   = 200
	maxHeader      = 64 << 10 // bytes of a reply's header
)

var errRedirect = errors.New("the service redirects, which is not followed")

// RedirectError is a reply that sends its client on, which is not followed. To is the service's
// word, and nothing that may be asked as it stands.
type RedirectError struct {
	URL string
	To  *url.URL
}

// Error names the address that was asked, and not the other one.
func (e *RedirectError) Error() string { return fmt.Sprintf("%s: %s", e.URL, errRedirect) }

// Is reports whether target is the error of all redirects.
func (e *RedirectError) Is(target error) bool { return target == errRedirect }

// StatusError is a reply with another status than was hoped for.
type StatusError struct {
	URL  string
	Code int
	Text string // beginning of the body
	// Limited says that the service was asked too often, and RetryAfter when it
	// may be asked again; 0 if it does not say.
	Limited    bool
	RetryAfter time.Duration
}

// Missing reports whether the service says that there is no such thing.
func (e *StatusError) Missing() bool {
	return e.Code == http.StatusNotFound || e.Code == http.StatusGone
}

// Error names URL and status.
func (e *StatusError) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("%s: %d %s", e.URL, e.Code, http.StatusText(e.Code)))
	if e.Limited {
		text += ": " + limitText(e.RetryAfter)
	}
	return text
}

// ErrTooLarge is wrapped by the error about a reply beyond the limit.
var ErrTooLarge = errors.New("the reply is larger than allowed")

// Client asks one service. It may be used by several goroutines.
type Client struct {
	base   *url.URL
	agent  string
	http   *http.Client
	bearer string // see Authorized
	spent  *spent
}

// New returns a client for the service at base, an http or https URL. Transport
// may be nil for the default one; agent is the User-Agent.
func New(base string, transport http.RoundTripper, agent string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the URL of a service", redact(base))
	}
	if transport == nil {
		transport = Default()
	}
	return &Client{base: u, agent: agent, spent: &spent{}, http: &http.Client{
		Transport: transport, Timeout: requestTimeout,
		CheckRedirect: sentOn,
	}}, nil
}

// sentOn refuses to follow a redirect, and remembers where it leads.
func sentOn(req *http.Request, _ []*http.Request) error { return &RedirectError{To: req.URL} }

func redact(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "…"
}

// SetTimeout sets how long one attempt may take, its reply included.
func (c *Client) SetTimeout(d time.Duration) { c.http.Timeout = d }

// Authorized returns a client that shows a bearer token to the service. It follows
// no redirect, whatever [Client.Via] allowed, and an error tells that http would
// not keep the token secret.
func (c *Client) Authorized(bearer string) (*Client, error) {
	if !Secret(c.base) {
		return nil, errors.New("a token is sent to an https URL only")
	}
	out := *c
	h := *c.http
	h.CheckRedirect = sentOn
	out.http, out.bearer = &h, bearer
	return &out, nil
}

// URL returns the base URL.
func (c *Client) URL() string { return c.base.String() }

// Get returns the reply to a GET of the path below the base URL, of at most
// limit bytes. It is repeated a few times if the service is overloaded or cannot
// be reached.
func (c *Client) Get(ctx context.Context, path string, limit int64) ([]byte, error) {
	return c.Fetch(ctx, path, nil, "", limit)
}

// Fetch is [Client.Get] with a query, and with the media type that is wanted
// unless it is "".
func (c *Client) Fetch(ctx context.Context, path string, query url.Values, accept string, limit int64) ([]byte, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	return retry(ctx, func() ([]byte, error) { return c.do(ctx, http.MethodGet, u, accept, nil, limit) })
}

// GetAddress returns the reply to a GET of an address of the service, as it stands. It is for an
// address that another service's answer holds; whoever calls it has checked its host.
func (c *Client) GetAddress(ctx context.Context, address *url.URL, limit int64) ([]byte, error) {
	if address.Scheme != c.base.Scheme || address.Host != c.base.Host || address.User != nil {
		return nil, fmt.Errorf("%s is not on %s", address.Redacted(), c.base.Host)
	}
	return retry(ctx, func() ([]byte, error) { return c.do(ctx, http.MethodGet, address, "", nil, limit) })
}

// Ask returns the reply to a POST that changes nothing at the service, such as a
// query; it is repeated like [Client.Get].
func (c *Client) Ask(ctx context.Context, path, contentType string, body []byte, limit int64) ([]byte, error) {
	u := c.base.JoinPath(path)
	return retry(ctx, func() ([]byte, error) { return c.do(ctx, http.MethodPost, u, contentType, body, limit) })
}

// retry repeats what may go better the next time. A service that asks for a
// pause gets it, or is not asked again if that is long.
func retry[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var none T
	var last error
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = firstPause, maxPause
	out, err := backoff.Retry(ctx, func() (T, error) {
		out, err := f()
		last = err
		var status *StatusError
		switch {
		case err == nil:
			return out, nil
		case errors.As(err, &status) && status.Limited && status.RetryAfter > maxRetryAfter:
			return none, backoff.Permanent(err)
		case status != nil && status.Limited && status.RetryAfter > 0:
			return none, &backoff.RetryAfterError{Duration: status.RetryAfter}
		case status != nil && status.Code < 500 && !status.Limited,
			errors.Is(err, ErrTooLarge),
			errors.Is(err, errPage),
			errors.Is(err, errRedirect),
			errors.As(err, new(budget.TooMany)),
			ctx.Err() != nil:
			return none, backoff.Permanent(err)
		}
		return none, err
	}, backoff.WithBackOff(b), backoff.WithMaxTries(attempts))
	var pause *backoff.RetryAfterError
	if errors.As(err, &pause) {
		err = last
	}
	return out, err
}

func (c *Client) do(
	ctx context.Context, method string, u *url.URL, contentType string, body []byte, limit int64,
) ([]byte, error) {
	req, err := c.request(ctx, method, u, contentType, body)
	if err != nil {
		return nil, err
	}
	if err := c.spent.check(); err != nil {
		return nil, err
	}
	if err := budget.Of(ctx).Request(); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if sent := new(*RedirectError); errors.As(err, sent) {
		return nil, &RedirectError{withoutQuery(u), (*sent).To}
	}
	if errors.Is(err, errRedirect) {
		return nil, fmt.Errorf("%s: %w", withoutQuery(u), errRedirect) // the error names the other place
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := checkStatus(resp, withoutQuery(u)); err != nil {
		c.spent.note(err)
		return nil, err
	}
	if strings.Contains(contentType, "json") && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return nil, fmt.Errorf("%s: %w", withoutQuery(u), errPage)
	}
	return readReply(resp.Body, withoutQuery(u), contentType, limit)
}

// request makes a request, with the client's token.
func (c *Client) request(
	ctx context.Context, method string, u *url.URL, contentType string, body []byte,
) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.agent)
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if contentType != "" {
		req.Header.Set("Accept", contentType)
	}
	if contentType != "" && body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	return req, nil
}

// readReply reads the body of a reply of at most limit bytes.
func readReply(body io.Reader, address, contentType string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", address, ErrTooLarge, limit)
	}
	if strings.Contains(contentType, "json") && strictjson.Size(data) > maxReplyValues {
		return nil, fmt.Errorf("%s: %w: more than %d values", address, ErrTooLarge, maxReplyValues)
	}
	return data, nil
}

// errPage is the error about a page of the web where data was asked for, as proxies and hotspots
// answer that want somebody to log in.
var errPage = errors.New("the answer is a page of the web; does a proxy want a login?")

// withoutQuery returns an address for messages: a query may hold what opens it to others.
func withoutQuery(u *url.URL) string {
	short := *u
	short.RawQuery, short.Fragment = "", ""
	return short.Redacted()
}

// checkStatus returns a [StatusError] for a reply that is none that was hoped for.
func checkStatus(resp *http.Response, address string) error {
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	e := &StatusError{URL: address, Code: resp.StatusCode, Text: string(text)}
	e.Limited, e.RetryAfter = limited(resp, time.Now())
	return e
}

// GetAuthorized returns the reply to one GET of an address with a bearer token,
// which goes to that address's host and nowhere else. Only https keeps the token
// secret on the way, so that http is an error except to the machine itself.
func GetAuthorized(
	ctx context.Context, address, bearer string, transport http.RoundTripper, agent string, limit int64,
) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if !Secret(u) {
		return nil, errors.New("a token is sent to an https URL only")
	}
	data, _, err := getOnce(ctx, u, "Authorization", "Bearer "+bearer, transport, agent, limit)
	return data, err
}

// Secret reports whether what is sent to a URL stays between this machine and the
// host: it is https, or the host is this machine.
func Secret(u *url.URL) bool {
	return u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Host))
}

// The metadata server of Google's cloud, which a machine there reaches without
// leaving it, by http only, and at these addresses.
// https://cloud.google.com/compute/docs/metadata/querying-metadata
const (
	metadataHost   = "metadata.google.internal"
	metadataFlavor = "Google"
)

var metadataAddresses = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd20:ce::254")}

// GetMetadata returns the reply to one GET of an address of the metadata server. It is
// asked directly, whatever proxy the environment names, and nobody else is.
func GetMetadata(
	ctx context.Context, address string, transport http.RoundTripper, agent string, limit int64,
) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host != metadataHost {
		return nil, errors.New("not an address of the metadata server")
	}
	data, header, err := getOnce(ctx, u, "Metadata-Flavor", metadataFlavor, direct(transport), agent, limit)
	if err == nil && header.Get("Metadata-Flavor") != metadataFlavor {
		return nil, errors.New("who answered is not the metadata server")
	}
	return data, err
}

// direct returns a transport without a proxy that connects to the metadata server
// alone; one that is not the standard library's is left as it is.
func direct(transport http.RoundTripper) http.RoundTripper {
	if transport == nil {
		transport = Default()
	}
	t, ok := transport.(*http.Transport)
	if !ok {
		return transport
	}
	t = t.Clone()
	t.Proxy, t.DialTLSContext, t.DisableKeepAlives = nil, nil, true
	t.DialContext = (&net.Dialer{Timeout: requestTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !slices.Contains(metadataAddresses, at.Addr().Unmap()) {
			return fmt.Errorf("%s is no address of the metadata server", address)
		}
		return nil
	}}).DialContext
	return t
}

func getOnce(
	ctx context.Context, u *url.URL, header, value string, transport http.RoundTripper, agent string, limit int64,
) ([]byte, http.Header, error) {
	base := *u
	base.RawQuery, base.ForceQuery = "", false
	c, err := New(base.String(), transport, agent)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set(header, value)
	req.Header.Set("User-Agent", agent)
	resp, err := c.http.Do(req)
	if errors.Is(err, errRedirect) {
		return nil, nil, fmt.Errorf("%s: %w", &base, errRedirect) // the error names the other place
	}
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, nil, &StatusError{URL: base.String(), Code: resp.StatusCode}
	case int64(len(data)) > limit:
		return nil, nil, fmt.Errorf("%s: %w", &base, ErrTooLarge)
	}
	return data, resp.Header, nil
}

// Loopback reports whether a host, with or without a port, is this machine.
func Loopback(host string) bool {
	host = (&url.URL{Host: host}).Hostname()
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
