// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// many are TUF repositories of several roots, each at https://NAME.example.
type many struct {
	t      *testing.T
	sims   map[string]*tuftest.Sim
	asked  map[string]int // by address
	down   map[string]bool
	scopes string // what the user's map says beside the root of the foundation
}

// among starts roots, each of a private Sigstore of its own.
func among(t *testing.T, names ...string) *many {
	m := &many{t: t, sims: map[string]*tuftest.Sim{}, asked: map[string]int{}, down: map[string]bool{}}
	for _, name := range names {
		m.sims[name] = private(t, SigningConfigTarget)
	}
	m.scopes = `[[scope]]
repositories = ["https://git.acme.example/**", "https://github.com/acme/*"]
roots = ["foundation"]
`
	return m
}

// RoundTrip implements http.RoundTripper.
func (m *many) RoundTrip(r *http.Request) (*http.Response, error) {
	name := strings.TrimSuffix(r.URL.Host, ".example")
	s := m.sims[name]
	if s == nil || m.down[name] || r.URL.Scheme != "https" {
		return nil, errors.New("nobody is there")
	}
	m.asked[r.URL.String()]++
	from, path := s.Files, strings.TrimPrefix(r.URL.Path, "/")
	if target, ok := strings.CutPrefix(path, "targets/"); ok {
		from, path = s.Content, target
	}
	out := &http.Response{StatusCode: 404, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}
	if data, ok := from[path]; ok {
		out.StatusCode, out.Body = 200, io.NopCloser(bytes.NewReader(data))
	}
	return out, nil
}

// introduction is that of a root by its first metadata.
func (m *many) introduction(name string, repositories ...string) *Introduction {
	return &Introduction{
		Name: name, Repositories: repositories, URL: "https://" + name + ".example",
		Initial: m.sims[name].Files["1.root.json"],
	}
}

// introduces lets a root, or a role of it, introduce another one.
func (m *many) introduces(by, role string, in *Introduction) {
	m.t.Helper()
	s := m.sims[by]
	for _, p := range in.Repositories {
		one := *in
		one.Repositories = []string{p}
		s.Add(role, IntroductionTarget(p), string(one.Bytes()))
	}
	m.publish(by, role)
}

// publish serves what was changed in a role.
func (m *many) publish(by, role string) {
	m.t.Helper()
	s := m.sims[by]
	s.Targets[role].Signed.Version++
	s.Publish()
}

// delegates lets a role of a root say targets.
func (m *many) delegates(by, role string, paths ...string) {
	m.t.Helper()
	m.sims[by].Delegate("targets", metadata.DelegatedRole{Name: role, Paths: paths, Terminating: true})
	m.publish(by, "targets")
}

// user returns a map that pins the foundation, and how roots are followed.
func (m *many) user() (*Config, Options) {
	m.t.Helper()
	dir := m.t.TempDir()
	text := `format = "repopolicy-trust/v1"
[[root]]
name = "foundation"
url = "https://foundation.example"
initial = "foundation.json"
` + m.scopes
	for name, s := range m.sims {
		check(m.t, os.WriteFile(filepath.Join(dir, name+".json"), s.Files["1.root.json"], 0o600))
	}
	c, err := ParseConfig([]byte(text))
	check(m.t, err)
	c.Dir = dir
	return c, Options{Transport: m, Now: func() time.Time { return tuftest.Now }}
}

const (
	widget = "https://git.acme.example/a/widget"
	all    = "https://git.acme.example/**"
	group  = "https://git.acme.example/a/**"
)

// TestIntroduced: who judges a repository that a scope gives to a foundation.
func TestIntroduced(t *testing.T) {
	const rootOf = "[[root]]\nname = %q\nurl = %q\ninitial = \"%s.json\"\n"
	wrong := func(in *Introduction) *Introduction {
		in.Initial = bytes.Replace(in.Initial, []byte(`"version": 1`), []byte(`"version": 2`), 1)
		return in
	}
	for name, row := range map[string]struct {
		repo string // widget by default
		set  func(m *many)
		want string        // how the root is called that judges
		pin  string        // whose metadata it is followed from
		why  policy.Reason // if none judges
		say  string        // in the error, or in a note
	}{
		"nobody introduced": {set: func(*many) {}, want: "foundation", pin: "foundation"},
		"introduced": {
			set:  func(m *many) { m.introduces("foundation", "targets", m.introduction("acme", all)) },
			want: "acme, introduced by foundation", pin: "acme",
		},
		"for its group": {
			set:  func(m *many) { m.introduces("foundation", "targets", m.introduction("acme", group)) },
			want: "acme, introduced by foundation", pin: "acme",
		},
		"for itself": {
			set:  func(m *many) { m.introduces("foundation", "targets", m.introduction("acme", widget)) },
			want: "acme, introduced by foundation", pin: "acme",
		},
		"for another group": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", "https://git.acme.example/b/**",
					"https://git.acme.example/*", "https://git.acme.example/*/gadget"))
			},
			want: "foundation", pin: "foundation",
		},
		"twice the same": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all, group, widget))
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"two roots": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("foundation", "targets", m.introduction("other", group))
			},
			why: policy.TrustRootInvalid, say: "introduces other",
		},
		"two addresses of one": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				in := m.introduction("acme", group)
				in.URL = "https://other.example"
				m.introduces("foundation", "targets", in)
			},
			why: policy.TrustRootInvalid, say: "introduces acme",
		},
		"two roots, one for others": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("foundation", "targets", m.introduction("other", "https://git.acme.example/a/*/x"))
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"by a role": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget(group))
				m.introduces("foundation", "acme-keepers", m.introduction("acme", group))
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"by a role, at a place that it was not given": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget("https://git.acme.example/b/**"))
				m.introduces("foundation", "acme-keepers", m.introduction("acme", all))
			},
			want: "foundation", pin: "foundation",
		},
		"by a role, for more than it was given": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget(group))
				m.sims["foundation"].Add("acme-keepers", IntroductionTarget(group), string(m.introduction("acme", all).Bytes()))
				m.publish("foundation", "acme-keepers")
			},
			why: policy.TrustRootInvalid, say: "does not speak",
		},
		"by a role that cannot be read": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget(group))
				delete(m.sims["foundation"].Files, "1.acme-keepers.json")
			},
			why: policy.TrustRootMissing, say: "acme-keepers",
		},
		"by a role, signed by another key": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget(group))
				m.sims["foundation"].Signers["acme-keepers"][0] = tuftest.NewKey(t)
				m.introduces("foundation", "acme-keepers", m.introduction("acme", group))
			},
			why: policy.TrustRootMissing, say: "0 of 1",
		},
		"the foundation's word before a role's": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget(group))
				m.introduces("foundation", "acme-keepers", m.introduction("other", group))
				m.introduces("foundation", "targets", m.introduction("acme", group))
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"malformed": {
			set: func(m *many) {
				m.sims["foundation"].Add("targets", IntroductionTarget(group), "{}")
				m.publish("foundation", "targets")
			},
			why: policy.TrustRootInvalid, say: "schema",
		},
		"one that is too large": {
			set: func(m *many) {
				m.sims["foundation"].Add("targets", IntroductionTarget(all), strings.Repeat("x", MaxIntroductionBytes+1))
				clear(m.sims["foundation"].Content) // it is not asked for
				m.publish("foundation", "targets")
			},
			why: policy.TrustRootInvalid, say: "at most",
		},
		"an empty file": {
			set: func(m *many) {
				m.sims["foundation"].Add("targets", IntroductionTarget(all), "")
				m.publish("foundation", "targets")
			},
			why: policy.TrustRootInvalid,
		},
		"listed, and nobody delivers it": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				clear(m.sims["foundation"].Content)
			},
			why: policy.TrustRootMissing, say: "git.acme.example.json",
		},
		"other bytes than were listed": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				for name := range m.sims["foundation"].Content {
					m.sims["foundation"].Content[name] = m.introduction("other", all).Bytes()
				}
			},
			why: policy.TrustRootMissing, say: "targets/repopolicy/roots",
		},
		"who is not there": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.down["acme"] = true
			},
			why: policy.TrustRootMissing, say: "root acme, introduced by foundation",
		},
		"the introducer is not there": {
			set: func(m *many) { m.down["foundation"] = true }, why: policy.TrustRootMissing,
		},
		"who has no trusted root": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				delete(m.sims["acme"].Targets["targets"].Signed.Targets, TrustedRootTarget)
				m.publish("acme", "targets")
			},
			why: policy.TrustRootMissing, say: "no such target",
		},
		"from metadata that its keys did not sign": {
			set: func(m *many) { m.introduces("foundation", "targets", wrong(m.introduction("acme", all))) },
			why: policy.TrustRootMissing, say: "the pinned root",
		},
		"from another root's metadata": {
			set: func(m *many) {
				in := m.introduction("acme", all)
				in.Initial = m.sims["other"].Files["1.root.json"]
				m.introduces("foundation", "targets", in)
			},
			why: policy.TrustRootMissing, say: "too few signatures",
		},
		"who has expired": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.sims["acme"].Timestamp.Signed.Expires = tuftest.Now.Add(-time.Hour)
				m.sims["acme"].Publish()
			},
			why: policy.TrustRootMissing, say: "expired",
		},
		"with other keys since": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				s := m.sims["acme"]
				s.NextRoot(func() { s.Rotate("root"); s.Rotate("timestamp"); s.Rotate("snapshot"); s.Rotate("targets") })
				m.publish("acme", "targets")
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"withdrawn": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				delete(m.sims["foundation"].Targets["targets"].Signed.Targets, IntroductionTarget(all))
				m.publish("foundation", "targets")
			},
			want: "foundation", pin: "foundation",
		},
		"the role is gone": {
			set: func(m *many) {
				m.delegates("foundation", "acme-keepers", IntroductionTarget(group))
				m.introduces("foundation", "acme-keepers", m.introduction("acme", group))
				m.sims["foundation"].Targets["targets"].Signed.Delegations = nil
				m.publish("foundation", "targets")
			},
			want: "foundation", pin: "foundation",
		},
		"one that introduces another": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", group))
			},
			want: "deep, introduced by acme, introduced by foundation", pin: "deep",
		},
		"one that introduces another for as much": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", all))
			},
			want: "deep, introduced by acme, introduced by foundation", pin: "deep",
		},
		"one that introduces another for more": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", group))
				m.introduces("acme", "targets", m.introduction("deep", all))
			},
			why: policy.TrustRootInvalid, say: "and its introducer for " + group + " alone",
		},
		"one that introduces another for others": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", "https://git.acme.example/b/**"))
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"who introduces one that is not there": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", all))
				m.down["deep"] = true
			},
			why: policy.TrustRootMissing, say: "root deep, introduced by acme, introduced by foundation",
		},
		"three": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", all))
				m.introduces("deep", "targets", m.introduction("other", all))
			},
			want: "other, introduced by deep, introduced by acme, introduced by foundation", pin: "other",
		},
		"four": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", all))
				m.introduces("deep", "targets", m.introduction("other", all))
				m.introduces("other", "targets", m.introduction("last", all))
			},
			why: policy.TrustRootInvalid, say: "at most 3",
		},
		"each other": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.introduces("acme", "targets", m.introduction("deep", all))
				m.introduces("deep", "targets", m.introduction("acme", all))
			},
			why: policy.TrustRootInvalid, say: "by itself",
		},
		"each other, by another version": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				s := m.sims["acme"]
				s.NextRoot(func() {})
				m.introduces("acme", "targets", m.introduction("deep", all))
				in := m.introduction("again", all)
				in.Initial = s.Files["2.root.json"]
				in.URL = "https://acme.example"
				m.introduces("deep", "targets", in)
			},
			why: policy.TrustRootInvalid, say: "by itself",
		},
		"itself": {
			set: func(m *many) { m.introduces("foundation", "targets", m.introduction("foundation", all)) },
			why: policy.TrustRootInvalid, say: "by itself",
		},
		"the user has a root of that name": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes += fmt.Sprintf(rootOf, "acme", "https://other.example", "other")
			},
			want: "acme of trust.toml, introduced by foundation", pin: "other", say: "yours of that name",
		},
		"the user has a root of that name, which is not there": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes += fmt.Sprintf(rootOf, "acme", "https://other.example", "other")
				m.down["other"] = true
			},
			why: policy.TrustRootMissing, say: "root acme of trust.toml, introduced by foundation",
		},
		"the user has a root of that name, without its metadata": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes += fmt.Sprintf(rootOf, "acme", "https://other.example", "nowhere")
			},
			why: policy.TrustRootInvalid, say: "nowhere.json",
		},
		"the user has a root of that name, which introduces another": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes += fmt.Sprintf(rootOf, "acme", "https://other.example", "other")
				m.introduces("other", "targets", m.introduction("deep", group))
			},
			want: "deep, introduced by acme, introduced by foundation", pin: "deep", say: "yours of that name",
		},
		"a scope of the user's gives it to another": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes = fmt.Sprintf(rootOf, "acme", "https://other.example", "other") +
					"[[scope]]\nrepositories = [\"" + group + "\"]\nroots = [\"acme\"]\n" + m.scopes
			},
			want: "foundation", pin: "foundation", // if it is asked by name: the user's scope does not name it
		},
		"no scope of the user's names it": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes = ""
			},
			want: "foundation", pin: "foundation",
		},
		"a scope that goes on names it": {
			set: func(m *many) {
				m.introduces("foundation", "targets", m.introduction("acme", all))
				m.scopes = fmt.Sprintf(rootOf, "before", "https://other.example", "other") +
					"[[scope]]\nrepositories = [\"" + group + "\"]\nroots = [\"before\"]\ncontinue = true\n" + m.scopes
			},
			want: "acme, introduced by foundation", pin: "acme",
		},
		"a public host": {
			repo: "https://github.com/acme/widget",
			set: func(m *many) {
				m.sims["foundation"].Add("targets", "repopolicy/roots/github.com/acme.json",
					strings.ReplaceAll(string(m.introduction("acme", group).Bytes()), group, "https://github.com/acme/*"))
				m.publish("foundation", "targets")
			},
			want: "foundation", pin: "foundation", say: "no introduced root speaks for github.com",
		},
		"a public host, and nobody is introduced": {
			repo: "https://github.com/acme/widget", set: func(*many) {}, want: "foundation", pin: "foundation",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := among(t, "foundation", "acme", "deep", "other", "last", "again")
			row.set(m)
			c, o := m.user()
			repo := locator(t, widget)
			if row.repo != "" {
				repo = locator(t, row.repo)
			}
			r, err := c.OpenFor(t.Context(), "foundation", repo, o)
			if row.why != "" {
				var e *sigstore.Error
				if r.Root != nil || !errors.As(err, &e) || e.Reason != row.why || !strings.Contains(e.Error(), row.say) {
					t.Fatalf("%v, want %s: %s", err, row.why, row.say)
				}
				if _, err := c.SigningConfigs(t.Context(), "foundation", repo, o); err == nil && row.say != "no such target" {
					t.Error("and yet it says where to sign")
				}
				return
			}
			if err != nil || r.Name() != row.want || r.Identity != spelling.Sum(m.sims[row.pin].Files["1.root.json"]) {
				t.Fatalf("%+v %v, want %s", r, err, row.want)
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, row.say) || row.say == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, row.say)
			}
			if len(r.By) != strings.Count(row.want, "introduced by") {
				t.Errorf("by %q", r.By)
			}
			for address, n := range m.asked {
				if n > 1 {
					t.Errorf("%s was asked %d times", address, n)
				}
			}
			// By its name alone it is itself.
			if r, err := c.Open(t.Context(), "foundation", o); err != nil || r.Name() != "foundation" {
				t.Errorf("by its name: %+v %v", r, err)
			}
			configs, err := c.SigningConfigs(t.Context(), "foundation", repo, o)
			if err != nil || len(configs) != 1 {
				t.Errorf("%s %v", configs, err)
			}
		})
	}
}

// TestIntroducedOffline: what was followed is at hand without a network, what was not is not;
// what is carried is read from there alone.
func TestIntroducedOffline(t *testing.T) {
	m := among(t, "foundation", "acme")
	m.introduces("foundation", "targets", m.introduction("acme", all))
	c, o := m.user()
	repo := locator(t, widget)
	o.Cache = t.TempDir()
	open := func(o Options) (Root, error) { return c.OpenFor(t.Context(), "foundation", repo, o) }
	_, err := c.Open(t.Context(), "foundation", o) // it alone
	check(t, err)
	off := o
	off.Offline = true
	if r, err := open(off); err == nil {
		t.Errorf("%+v", r)
	}
	before, err := open(o)
	check(t, err)
	if r, err := open(off); err != nil || r.Name() != before.Name() || r.Identity != before.Identity {
		t.Errorf("%+v %v", r, err)
	}
	// A day later what was known is too old to be used without asking: withdrawn is withdrawn.
	delete(m.sims["foundation"].Targets["targets"].Signed.Targets, IntroductionTarget(all))
	m.publish("foundation", "targets")
	if r, err := open(o); err != nil || len(r.By) != 1 {
		t.Errorf("within the day: %+v %v", r, err)
	}
	o.Now = func() time.Time { return tuftest.Now.Add(cacheAge) }
	if r, err := open(o); err != nil || len(r.By) != 0 || r.Identity == before.Identity {
		t.Errorf("after it: %+v %v", r, err)
	}

	// Carried.
	m = among(t, "foundation", "acme")
	m.introduces("foundation", "targets", m.introduction("acme", all))
	c, o = m.user()
	kept := []*oci.Files{}
	record := func(f *oci.Files) func(bool, string, []byte) {
		return func(target bool, name string, data []byte) {
			if target {
				f.Targets[name] = oci.Bytes(data)
			} else {
				f.Metadata[name] = data
			}
		}
	}
	keep := func() func(bool, string, []byte) {
		f := &oci.Files{Metadata: map[string][]byte{}, Targets: map[string]oci.Content{}}
		kept = append(kept, f)
		return record(f)
	}
	o.Record = keep()
	o.Introduced = func(int) (tuf.Source, func(bool, string, []byte)) { return nil, keep() }
	_, err = open(o)
	check(t, err)
	if len(kept) != 2 || len(kept[0].Metadata) < 4 || len(kept[1].Metadata) < 4 {
		t.Fatalf("%d", len(kept))
	}
	m.down["foundation"], m.down["acme"] = true, true
	carried := Options{Now: o.Now, Transport: m, Offline: true, Source: kept[0].Source()}
	carried.Introduced = func(depth int) (tuf.Source, func(bool, string, []byte)) { return kept[depth].Source(), nil }
	if r, err := open(carried); err != nil || r.Name() != before.Name() {
		t.Errorf("carried: %+v %v", r, err)
	}
	carried.Introduced = func(int) (tuf.Source, func(bool, string, []byte)) { return nil, nil }
	if r, err := open(carried); err == nil {
		t.Errorf("without the introduced root: %+v", r)
	}
	carried.Introduced = nil
	if r, err := open(carried); err == nil {
		t.Errorf("without the introduced root: %+v", r)
	}
	carried.Introduced = func(int) (tuf.Source, func(bool, string, []byte)) { return kept[0].Source(), nil }
	if r, err := open(carried); err == nil {
		t.Errorf("with the introducer for it: %+v", r)
	}
}

// TestIntroducedIdentities: whoever keeps an introduced root as an OIDC identity is certified
// by the public instance, or by the introducer if the introduction says so.
func TestIntroducedIdentities(t *testing.T) {
	ours, public, theirs := sigstoretest.New(t), sigstoretest.New(t), sigstoretest.New(t)
	for name, row := range map[string]struct {
		signedAt     *sigstoretest.Instance
		byIntroducer bool
		ok           bool
	}{
		"by the public instance":                        {public, false, true},
		"by the introducer":                             {ours, true, true},
		"by the introducer, and nobody says so":         {ours, false, false},
		"by the public instance, and not as it is said": {public, true, false},
		"by its own":     {theirs, false, false},
		"by its own too": {theirs, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := among(t)
			own := string(ours.Root(sigstoretest.RootOptions{}))
			m.sims["foundation"] = besides(t, map[string]string{TrustedRootTarget: own})
			files := keptBy(t, row.signedAt, theirs)
			s := &tuftest.Sim{T: t, Files: files.Metadata, Content: contents(t, files.Targets)}
			m.sims["acme"] = s
			in := m.introduction("acme", all)
			in.ByIntroducer = row.byIntroducer
			m.introduces("foundation", "targets", in)
			c, o := m.user()
			o.Now = func() time.Time { return now }
			o.Identities = func(_ context.Context, name string) (*sigstore.Root, error) {
				if name != string(PublicGood) {
					t.Errorf("asked for %s", name)
				}
				return parseRoot(t, public), nil
			}
			r, err := c.OpenFor(t.Context(), "foundation", locator(t, widget), o)
			if (err == nil) != row.ok || row.ok && r.Name() != "acme, introduced by foundation" {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

// keptBy is a TUF repository that alice keeps as an identity of an instance.
func keptBy(t *testing.T, at, of *sigstoretest.Instance) *oci.Files {
	t.Helper()
	people := author.Setup{Keys: []author.Key{identityKey(t, alice, google)}, Threshold: 1}
	key, machine := fileKey(t)
	online := author.Setup{Keys: []author.Key{key}, Threshold: 1}
	r, err := author.Create(t.TempDir(), now, map[string]author.Setup{
		author.Root: people, author.Targets: people, author.Snapshot: online, author.Timestamp: online,
	})
	check(t, err)
	defer r.Close()
	check(t, r.Add(author.Targets, TrustedRootTarget, of.Root(sigstoretest.RootOptions{})))
	_, err = r.Sign(t.Context(), &certified{at, alice})
	check(t, err)
	check(t, r.Publish(t.Context(), []author.Signer{machine}, OIDCKeys(parseRoot(t, at))))
	files, err := r.Files(t.Context())
	check(t, err)
	return files
}

// TestIs: one root is one, whatever version it was followed from.
func TestIs(t *testing.T) {
	m := among(t, "foundation", "other")
	s := m.sims["foundation"]
	s.NextRoot(func() {})
	m.scopes = "[[root]]\nname = \"later\"\nurl = \"https://foundation.example\"\ninitial = \"later.json\"\n" +
		"[[root]]\nname = \"other\"\nurl = \"https://other.example\"\ninitial = \"other.json\"\n"
	c, o := m.user()
	check(t, os.WriteFile(filepath.Join(c.Dir, "later.json"), s.Files["2.root.json"], 0o600))
	var all []Root
	for _, name := range []string{"foundation", "later", "other"} {
		r, err := c.Open(t.Context(), name, o)
		check(t, err)
		all = append(all, r)
	}
	if !all[0].Is(all[1]) || all[0].Identity == all[1].Identity || all[0].Is(all[2]) {
		t.Errorf("%+v", all)
	}
	// Another file with the same authority.
	again := all[0]
	again.Identity, again.Newest = "", ""
	root, err := sigstore.ParseRoot("again", append(slices.Clone(all[0].Bytes()), '\n'))
	check(t, err)
	if again.Root = root; again.Digest() == all[0].Digest() || !again.Is(all[0]) || again.Is(all[2]) {
		t.Errorf("%s %s", again.Digest(), all[0].Digest())
	}
	if by := slices.IndexFunc(all, func(r Root) bool { return len(r.By) > 0 }); by >= 0 {
		t.Errorf("%+v", all[by])
	}
}

// contents reads targets.
func contents(t *testing.T, of map[string]oci.Content) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, c := range of {
		r, err := c.Open()
		check(t, err)
		out[name], err = io.ReadAll(r)
		check(t, errors.Join(err, r.Close()))
	}
	return out
}

// TestIntroducedBeside: what stands beside the introducer adds nothing to a root that it
// introduces; what stands beside a root of the user's does that comes in its place.
func TestIntroducedBeside(t *testing.T) {
	const root = "[[root]]\nname = %q\nurl = \"https://%s.example\"\ninitial = \"%s.json\"\n%s"
	for name, row := range map[string]struct {
		more, directory string
	}{
		"beside the introducer": {fmt.Sprintf(root, "desk", "desk", "desk", "beside = [\"foundation\"]\n"), ""},
		"beside the user's": {
			fmt.Sprintf(root, "acme", "other", "other", "") +
				fmt.Sprintf(root, "desk", "desk", "desk", "beside = [\"acme\"]\n"), "https://directory.example.com",
		},
		"beside both": {
			fmt.Sprintf(root, "acme", "other", "other", "") +
				fmt.Sprintf(root, "desk", "desk", "desk", "beside = [\"foundation\", \"acme\"]\n"),
			"https://directory.example.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := among(t, "foundation", "acme", "other")
			m.sims["desk"] = besides(t, map[string]string{DirectoryTarget: aDirectory})
			m.introduces("foundation", "targets", m.introduction("acme", all))
			m.scopes += row.more
			c, o := m.user()
			r, err := c.OpenFor(t.Context(), "foundation", locator(t, widget), o)
			check(t, err)
			r, err = c.Complete(t.Context(), "foundation", r, o)
			check(t, err)
			if got := r.Directory; (got == nil) != (row.directory == "") || got != nil && got.URL != row.directory {
				t.Errorf("%+v", got)
			}
			// Nor does who stands beside it count where it cannot be asked, unless it is to be asked.
			m.down["desk"] = true
			r.Directory = nil
			if r, err := c.Complete(t.Context(), "foundation", r, o); (err == nil) != (row.directory == "") {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

// TestIntroduces: only roots of the user's map introduce, for what a scope gives them.
func TestIntroduces(t *testing.T) {
	m := among(t, "foundation")
	m.scopes += "[[scope]]\nrepositories = [\"https://pub.example/**\"]\nroots = [\"public-good\"]\n"
	c, _ := m.user()
	for _, row := range []struct {
		name, repo string
		want       bool
	}{
		{"foundation", widget, true}, {"foundation", "https://github.com/acme/widget", false},
		{"foundation", "https://pub.example/a/b", false}, {"public-good", "https://pub.example/a/b", false},
		{"nobody", widget, false}, {"foundation", "", false},
	} {
		var repo policy.Locator
		if row.repo != "" {
			repo = locator(t, row.repo)
		}
		if got := c.Introduces(row.name, repo); got != row.want {
			t.Errorf("%s for %q: %v", row.name, row.repo, got)
		}
	}
	if (*Config)(nil).Introduces("foundation", locator(t, widget)) {
		t.Error("without a map")
	}
}

// TestListIntroductions: people see what a root and its roles introduce, and what is broken.
func TestListIntroductions(t *testing.T) {
	m := among(t, "foundation", "acme", "other")
	list := func() ([]ListedIntroduction, error) {
		t.Helper()
		c, o := m.user()
		return c.Introductions(t.Context(), "foundation", o)
	}
	if got, err := list(); err != nil || len(got) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	m.introduces("foundation", "targets", m.introduction("acme", all))
	m.delegates("foundation", "keepers", IntroductionTarget("https://b.example/**"),
		IntroductionTarget("https://c.example/**"), "repopolicy/roots/*.json", "elsewhere.json")
	m.sims["foundation"].Add("keepers", IntroductionTarget("https://d.example/**"),
		string(m.introduction("other", "https://d.example/**").Bytes())) // of a pattern
	m.introduces("foundation", "keepers", m.introduction("other", "https://b.example/**"))
	m.sims["foundation"].Add("targets", IntroductionTarget("https://a.example/**"), "{}")
	m.sims["foundation"].Add("targets", "repopolicy/other.json", "{}")
	m.publish("foundation", "targets")
	got, err := list()
	check(t, err)
	var said []string
	for _, l := range got {
		name := "nobody"
		if l.Introduction != nil {
			name = l.Name
		}
		said = append(said, fmt.Sprint(l.Path, " ", l.Role, " ", name, " ", l.Err != nil))
	}
	want := []string{
		"repopolicy/roots/a.example.json targets nobody true", "repopolicy/roots/b.example.json keepers other false",
		"repopolicy/roots/git.acme.example.json targets acme false",
	}
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	// A role that cannot be read hides nothing but what it says.
	delete(m.sims["foundation"].Files, "2.keepers.json")
	if got, err = list(); err != nil || len(got) != 4 || got[1].Err == nil || got[2].Err == nil || got[3].Err != nil {
		t.Errorf("%+v %v", got, err)
	}
	for i := range maxListed {
		m.sims["foundation"].Add("targets", fmt.Sprintf("repopolicy/roots/x%d.example.json", i), "{}")
	}
	m.publish("foundation", "targets")
	if got, err := list(); err == nil {
		t.Errorf("%d", len(got))
	}
}
