// Command consumer is a program of somebody else: it is built in a module of its own, so that
// it can only use what everybody can.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/repopolicy/repopolicy"
)

// via sends every request to one server, which is told the address.
type via string

func (v via) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Header.Set("Asked-For", r.URL.String())
	out.URL, _ = url.Parse(string(v))
	out.Host = ""
	return http.DefaultTransport.RoundTrip(out)
}

type clock time.Time

func (c clock) Now() time.Time { return time.Time(c) }

func main() {
	root := flag.String("root", "", "trusted_root.json")
	state := flag.String("state", "", "directory of the state")
	server := flag.String("via", "", "server that is asked for everything")
	at := flag.String("at", "", "time, instead of now")
	tag := flag.String("tag", "", "tag")
	pinned := flag.String("policy", "", "policy file, instead of that of the repository")
	flag.Parse()
	c := repopolicy.Client{TrustedRoots: []string{*root}, StateDir: *state}
	if *server != "" {
		c.HTTP = via(*server)
	}
	if t, err := time.Parse(time.RFC3339, *at); err == nil {
		c.Clock = clock(t)
	}
	if err := verify(context.Background(), &c, *pinned, flag.Arg(0), flag.Arg(1), *tag); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func verify(ctx context.Context, c *repopolicy.Client, pinned, repo, file, tag string) error {
	find := func() (*repopolicy.Policy, error) { return c.Find(ctx, repo) }
	if pinned != "" {
		text, err := os.ReadFile(pinned)
		if err != nil {
			return err
		}
		find = func() (*repopolicy.Policy, error) { return c.Pinned(ctx, pinned, text) }
	}
	p, err := find()
	if err != nil {
		return err
	}
	v, err := c.Verify(ctx, p, repopolicy.File(file), repopolicy.Tag(tag))
	if err != nil {
		return err
	}
	if !v.OK() {
		return fmt.Errorf("%s: not released by %s", v.Class(), p.Repository())
	}
	fmt.Println("released by", p.Repository())
	return nil
}
