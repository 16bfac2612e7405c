// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/services"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Services are where signatures are made; a URL is "" where there is none.
type Services struct {
	Fulcio  string
	TSA     string // with its path
	RekorV1 string
	RekorV2 string
	Issuer  string // OpenID provider for people
}

// ParseSigningConfigs returns the services that the signing configs of one trust
// root name for a moment: one config usually lists Rekor v1, another one Rekor
// v2. What two of them name differently is taken from the first. The error is an
// [*Error] with reason TrustRootInvalid, also for a config that wants a signature
// in several logs of a version, or with several time stamps.
//
// Format: https://github.com/sigstore/protobuf-specs, SigningConfig v0.2.
func ParseSigningConfigs(at time.Time, configs ...[]byte) (Services, error) {
	var out Services
	take := func(to *string, list []bundle.Service, version uint32) {
		if *to == "" {
			*to = current(list, version, at)
		}
	}
	for _, data := range configs {
		c, err := parseSigningConfig(data)
		if err != nil {
			return Services{}, err
		}
		if err := single("transparency logs", c.RekorSelect, c.Rekor, at); err != nil {
			return Services{}, err
		}
		if err := single("time stamp authorities", c.TSASelect, c.TSA, at); err != nil {
			return Services{}, err
		}
		take(&out.Fulcio, c.CAs, 1)
		take(&out.TSA, c.TSA, 1)
		take(&out.RekorV1, c.Rekor, 1)
		take(&out.RekorV2, c.Rekor, 2)
		take(&out.Issuer, c.OIDC, 1)
	}
	return out, nil
}

// single refuses a config that says that more services of a list are used than the one that is.
// ALL is one of each operator.
func single(what string, by bundle.Select, list []bundle.Service, at time.Time) error {
	n := uint32(1)
	switch by.Selector {
	case "EXACT":
		n = by.Count
	case "ALL":
		operators := map[uint32]map[string]bool{1: {}, 2: {}}
		for _, s := range list {
			if of, known := operators[s.Major]; known && s.Valid.Contains(at) {
				of[s.Operator] = true
			}
		}
		n = uint32(max(len(operators[1]), len(operators[2]), 1))
	}
	if n != 1 {
		return refuse(policy.TrustRootInvalid, "it wants %d %s (%s), and one is used", n, what, by.Selector)
	}
	return nil
}

// current returns the URL of the service of a version that began last of those that are valid at
// a moment, the first of several; "" without one.
func current(list []bundle.Service, version uint32, at time.Time) string {
	var best *bundle.Service
	begin := func(s *bundle.Service) time.Time {
		if s.Valid == nil {
			return time.Time{}
		}
		return s.Valid.Start
	}
	for i := range list {
		s := &list[i]
		if s.Major == version && s.Valid.Contains(at) && (best == nil || begin(s).After(begin(best))) {
			best = s
		}
	}
	if best == nil {
		return ""
	}
	return best.URL
}

// CheckSigningConfig returns an error if the signing config cannot be read.
func CheckSigningConfig(data []byte) error {
	_, err := parseSigningConfig(data)
	return err
}

const signingConfigType = "application/vnd.dev.sigstore.signingconfig.v0.2+json"

func parseSigningConfig(data []byte) (*bundle.SigningConfig, error) {
	c, err := bundle.ParseSigningConfig(data)
	if err != nil {
		return nil, &Error{policy.TrustRootInvalid, err}
	}
	if c.MediaType != signingConfigType {
		return nil, refuse(policy.TrustRootInvalid, "a signing config of the media type %q, %q is read",
			clip.Text(c.MediaType), signingConfigType)
	}
	return c, nil
}

// Secret returns an error if an ID token or a sign-in would not stay between this
// machine and the services. It is an [*Error] with reason TrustRootInvalid.
func (s Services) Secret() error {
	for _, address := range []string{s.Fulcio, s.Issuer} {
		if address != "" && !secret(address) {
			return refuse(policy.TrustRootInvalid, "%s: a token is sent to an https URL only", clip.Text(address))
		}
	}
	return nil
}

func secret(address string) bool {
	u, err := url.Parse(address)
	return err == nil && web.Secret(u)
}

// at returns the service at a URL.
func (c *Client) at(address string) services.Service {
	return services.Service{URL: address, Transport: c.Transport, Timeout: c.Timeout}
}

// entry logs what is proposed and returns the entry, or the one that the log has already.
func (c *Client) entry(ctx context.Context, r *Root, base string, generation int, p *services.Proposal) (
	*bundle.Entry, error,
) {
	log := c.at(base)
	if generation == 1 {
		return log.LogV1(ctx, p)
	}
	e, err := log.LogV2(ctx, p)
	var exists *services.Exists
	if !errors.As(err, &exists) {
		return e, err
	}
	return existing(ctx, r, log, exists.Index)
}

// existing returns an entry that a Rekor v2 log has: its body, and the proof that it is in the
// newest tree, under a checkpoint of one of the root's logs.
func existing(ctx context.Context, r *Root, log services.Service, index int64) (*bundle.Entry, error) {
	note, err := log.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	var cp Checkpoint
	var id []byte
	err = errors.New("the log is not in the trusted root")
	for _, l := range r.Logs() {
		if l.Generation != 2 {
			continue
		}
		if cp, err = r.OpenCheckpoint(l.ID, note); err == nil {
			id, err = hex.DecodeString(l.ID)
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the entry is in the log already: %w", err)
	}
	tree := tlog.Tree{N: cp.Size}
	copy(tree.Hash[:], cp.Root)
	e, err := log.Existing(ctx, index, tree)
	if err != nil {
		return nil, err
	}
	e.LogID, e.Proof.Checkpoint = id, string(note)
	return e, nil
}

// Stamp adds a time stamp to a draft that has none, where the instance has an
// authority.
func (c *Client) Stamp(ctx context.Context, d *Draft) error {
	if len(d.signature()) == 0 {
		return errors.New("a draft has one signature")
	}
	if c.Services.TSA == "" || d.Stamped() {
		return nil
	}
	stamp, err := c.timestamp(ctx, d.signature())
	if err != nil {
		return err
	}
	d.stamp(stamp)
	return nil
}

// timestamp asks the instance's authority for a time stamp over data.
func (c *Client) timestamp(ctx context.Context, data []byte) ([]byte, error) {
	stamp, err := c.at(c.Services.TSA).Stamp(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("time stamp: %s: %w", c.Services.TSA, err)
	}
	return stamp, nil
}
