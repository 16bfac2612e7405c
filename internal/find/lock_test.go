// SPDX-License-Identifier: Apache-2.0

package find

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestLockVectors: which files are locks, and that the schema says the same where it can see it.
func TestLockVectors(t *testing.T) {
	schema := vectors.Schema(t, "lock-v1.json")
	for _, v := range vectors.Read(t, "lock") {
		t.Run(v.Name, func(t *testing.T) {
			l, err := ParseLock(v.Body)
			ok := v.Header["expect"] == "OK"
			if (err == nil) != ok {
				t.Fatalf("%+v %v", l, err)
			}
			doc, unread := jsonschema.UnmarshalJSON(bytes.NewReader(v.Body))
			valid := unread == nil && schema.Validate(doc) == nil
			if valid != (ok || v.Header["schema"] == "blind") {
				t.Errorf("by the schema: %v", valid)
			}
			if ok {
				isOneKind(t, l)
			}
		})
	}
}

// isOneKind demands of a lock that was read that it is of one kind, is written as what is read as the
// same, and is judged by as what it is.
func isOneKind(t *testing.T, l *Lock) {
	t.Helper()
	data, err := l.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseLock(data); err != nil || !reflect.DeepEqual(again, l) {
		t.Errorf("%s is read as %+v, %v", data, again, err)
	}
	repo, err := policy.ParseLocator(l.Repository)
	if err != nil {
		t.Fatal(err)
	}
	if (len(l.Chain) == 0) != (l.Unbound != nil) || (l.withoutPolicy(repo) == nil) != (l.Unbound == nil) {
		t.Errorf("of both kinds, or of neither: %+v", l)
	}
	other, err := policy.ParseLocator(l.Repository + "x")
	if err != nil || l.withoutPolicy(other) != nil {
		t.Errorf("it is judged by for %s, too: %v", other, err)
	}
	var r bindings.Resolver
	if l.Unbound != nil {
		if err := l.demand(&r, repo, nil); err != nil || r.Keeper != nil || r.Pin != "" || r.Ids != l.Unbound.ids() {
			t.Errorf("%+v %v", r, err)
		}
	}
}

// FuzzLock: what is read is a lock of one kind, and is written as what is read as the same.
func FuzzLock(f *testing.F) {
	for _, v := range vectors.Read(f, "lock") {
		f.Add(v.Body)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := ParseLock(data); err == nil {
			isOneKind(t, l)
		} else if l != nil && l.withoutPolicy(unboundRepo) != nil {
			t.Error("what is no lock is judged by")
		}
	})
}

// TestLockBeside: a lock file takes nothing from what the machine remembers.
func TestLockBeside(t *testing.T) {
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	for name, x := range map[string]struct{ lock, kept, want []string }{
		"no memory":         {[]string{a, b}, nil, []string{a, b}},
		"the same":          {[]string{a, b}, []string{a, b}, []string{a, b}},
		"an older file":     {[]string{a}, []string{a, b}, []string{a, b}},
		"a newer file":      {[]string{a, b, c}, []string{a, b}, []string{a, b, c}},
		"another version":   {[]string{a, b}, []string{a, c}, nil},
		"another beginning": {[]string{a}, []string{b, a}, nil},
	} {
		got, err := (&Lock{Chain: x.lock}).beside(chain.Kept{Chain: x.kept})
		var f *policy.Fault
		if x.want == nil {
			if !errors.As(err, &f) || f.Reason.Class() != policy.ClassAlarm {
				t.Errorf("%s: %v %v", name, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got.Chain, x.want) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// TestLockStrict: a lock file is read only as what every reader of JSON sees in it.
func TestLockStrict(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	good := `{"schema":"` + lockSchema + `","repository":"https://github.com/acme/widget","chain":["` + digest + `"]}`
	for old, new := range map[string]string{
		"":                 `"repository":"https://github.com/acme/other",`,
		`"chain"`:          `"chain":["` + strings.Repeat("0b", 32) + `"],"chain"`,
		`"repository":`:    `"Repository":`,
		`"repository"`:     `"REPOSITORY":"https://github.com/acme/other","repository"`,
		`"schema"`:         `"more":1,"schema"`,
		`["` + digest:      `[null,"` + digest,
		`"]}`:              `"]}{}`,
		`"chain":["`:       `"chain":null,"x":["`,
		`acme/widget`:      "acme/\xff",
		`{"schema"`:        `[{"schema"`,
		`"` + digest + `"`: `{"chain":"` + digest + `"}`,
	} {
		text := strings.Replace(good, old, new, 1)
		if old == "" {
			text = "{" + new + good[1:]
		}
		if l, err := ParseLock([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, l)
		}
	}
	if _, err := ParseLock([]byte(good)); err != nil {
		t.Error(err)
	}
}

var unboundRepo = locator("https://github.com/acme/widget")

func locator(text string) policy.Locator {
	l, err := policy.ParseLocator(text)
	if err != nil {
		panic(err)
	}
	return l
}

// workflowIdentity is the signer of a release by a file that another one started.
func workflowIdentity(repository, owner, file, caller string) policy.Identity {
	const at = "@refs/tags/v1"
	base := unboundRepo.String() + "/.github/workflows/"
	return policy.Identity{
		Kind: policy.KindURI, Value: base + file + at, BuildSignerURI: base + file + at, BuildConfigURI: base + caller + at,
		SourceRepositoryURI: unboundRepo.String(), SourceRepositoryRef: "refs/tags/v1",
		SourceRepositoryID: repository, SourceRepositoryOwnerID: owner,
	}
}

// TestNewUnboundLock: a lock is written of what is of one repository and one owner, and what an
// older one names stays.
func TestNewUnboundLock(t *testing.T) {
	id := workflowIdentity
	one := id("1", "2", "a.yml", "a.yml")
	written := func(ids ...policy.Identity) *Lock {
		t.Helper()
		l, err := NewUnboundLock(unboundRepo, ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		isOneKind(t, l)
		return l
	}
	older := written(one)
	foreign := one
	foreign.Value = strings.Replace(one.Value, "acme/widget", "other/x", 1)
	of := *older
	of.Repository += "-2"
	for _, c := range []struct {
		name   string
		ids    []policy.Identity
		older  *Lock
		reason policy.Reason // "" if it is written
		files  string        // that it names, or what the error says
	}{
		{"one", []policy.Identity{one}, nil, "", "[{a a}]"},
		{"one several times", []policy.Identity{one, one}, older, "", "[{a a}]"},
		{"two workflows", []policy.Identity{one, id("1", "2", "b.yml", "a.yml")}, nil, "", "[{a a} {b a}]"},
		{"one more than before", []policy.Identity{id("1", "2", "b.yml", "b.yml")}, older, "", "[{a a} {b b}]"},
		{"nobody", nil, nil, policy.Internal, ""},
		{"made anew", []policy.Identity{one, id("3", "2", "a.yml", "a.yml")}, nil, policy.UnboundDenied, ""},
		{"handed on", []policy.Identity{one, id("1", "3", "a.yml", "a.yml")}, nil, policy.UnboundDenied, ""},
		{"made anew since", []policy.Identity{id("3", "2", "a.yml", "a.yml")}, older, policy.UnboundDenied, ""},
		{"handed on since", []policy.Identity{id("1", "3", "a.yml", "a.yml")}, older, policy.UnboundDenied, ""},
		{"swapped", []policy.Identity{id("2", "1", "a.yml", "a.yml")}, older, policy.UnboundDenied, ""},
		{"foreign", []policy.Identity{foreign}, nil, policy.UnboundDenied, "is no workflow of"},
		{"zero", []policy.Identity{id("0", "2", "a.yml", "a.yml")}, nil, policy.UnboundDenied, ""},
		{"too large", []policy.Identity{id("9223372036854775808", "2", "a.yml", "a.yml")}, nil, policy.UnboundDenied, ""},
		{"no number", []policy.Identity{id("", "", "a.yml", "a.yml")}, nil, policy.UnboundDenied, ""},
		{"an older one of another repository", []policy.Identity{one}, &of, policy.Usage, ""},
		{"an older one of a policy", []policy.Identity{one}, &Lock{
			Schema: lockSchema, Repository: unboundRepo.String(), Chain: []string{strings.Repeat("a", 64)},
		}, policy.Usage, ""},
	} {
		before := fmt.Sprint(older.Unbound)
		l, err := NewUnboundLock(unboundRepo, c.ids, c.older)
		var f *policy.Fault
		if errors.As(err, &f); c.reason != "" {
			if f == nil || f.Reason != c.reason || l != nil || !strings.Contains(f.Text, c.files) {
				t.Errorf("%s: %+v %v", c.name, l, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else {
			isOneKind(t, l)
			got := strings.NewReplacer(".github/workflows/", "", ".yml", "").Replace(fmt.Sprint(l.Unbound.Workflows))
			if got != c.files {
				t.Errorf("%s: %s", c.name, got)
			}
		}
		if fmt.Sprint(older.Unbound) != before {
			t.Fatalf("%s: the older lock was changed", c.name)
		}
	}
}

// TestLockFits: a question by a lock that is none, or not of its repository, is refused.
func TestLockFits(t *testing.T) {
	unbound, err := NewUnboundLock(unboundRepo, []policy.Identity{workflowIdentity("1", "2", "a.yml", "a.yml")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("a", 64)
	bound := &Lock{Schema: lockSchema, Repository: unboundRepo.String(), Chain: []string{digest}}
	both, bare := *bound, *unbound
	both.Unbound, bare.Unbound = unbound.Unbound, &Seen{RepositoryID: "1", OwnerID: "2"}
	for _, c := range []struct {
		l    *Lock
		repo policy.Locator
		pin  string
		ok   bool
	}{
		{unbound, unboundRepo, "", true}, {bound, unboundRepo, "", true}, {bound, unboundRepo, digest, true},
		{unbound, unboundRepo, digest, true}, {bound, unboundRepo, strings.Repeat("b", 64), false},
		{unbound, locator("https://github.com/acme/other"), "", false},
		{bound, locator("https://github.com/acme/other"), "", false},
		{&both, unboundRepo, "", false}, {&bare, unboundRepo, "", false}, {&Lock{}, unboundRepo, "", false},
	} {
		q := &Query{Repository: c.repo, Lock: c.l, Pin: c.pin}
		if err := q.Check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		if judged := c.l.withoutPolicy(c.repo) != nil; judged && (!c.ok || c.l.Unbound == nil) {
			t.Errorf("%+v is judged by", c.l)
		}
	}
}

// TestLockDemand: a lock of a chain has to be continued beside what the machine remembers, and one
// of no policy leaves that alone.
func TestLockDemand(t *testing.T) {
	state, err := memory.OpenState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	if ok, err := state.Keep(unboundRepo, chain.Kept{}, chain.Kept{Chain: []string{a, b}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := (*Lock)(nil).demand(nil, unboundRepo, state); err != nil {
		t.Error(err)
	}
	for _, x := range []struct{ lock, want []string }{
		{[]string{a}, []string{a, b}}, {[]string{a, b, c}, []string{a, b, c}}, {[]string{a, c}, nil}, {[]string{c}, nil},
	} {
		l := &Lock{Schema: lockSchema, Repository: unboundRepo.String(), Chain: x.lock}
		var r bindings.Resolver
		if err := l.demand(&r, unboundRepo, state); err != nil || x.want == nil {
			if x.want != nil || err == nil || r.Keeper != nil {
				t.Errorf("%v: %v", x.lock, err)
			}
			continue
		}
		kept, err := r.Keeper.Kept(unboundRepo)
		if err != nil || !slices.Equal(kept.Chain, x.want) || r.Pin != a || r.Ids != (policy.Ids{}) {
			t.Errorf("%v: %v %v, %+v", x.lock, kept, err, r)
		}
		if ok, err := r.Keeper.Keep(unboundRepo, kept, chain.Kept{Chain: []string{c}}); !ok || err != nil {
			t.Error(ok, err)
		}
	}
	if kept, err := state.Kept(unboundRepo); err != nil || !slices.Equal(kept.Chain, []string{a, b}) {
		t.Errorf("what the machine remembers was changed: %v %v", kept, err)
	}
	var broken memory.Store = brokenStore{}
	l := &Lock{Schema: lockSchema, Repository: unboundRepo.String(), Chain: []string{a}}
	if err := l.demand(&bindings.Resolver{}, unboundRepo, memory.StateIn(broken)); err == nil {
		t.Error("what cannot be read is taken for nothing")
	}
	if data, err := (&Lock{Schema: lockSchema, Repository: unboundRepo.String()}).Bytes(); err == nil || data != nil {
		t.Errorf("written: %s", data)
	}
}

type brokenStore struct{}

func (brokenStore) Load(string) ([]byte, error) { return nil, errors.New("broken") }

func (brokenStore) Swap(string, []byte, []byte) (bool, error) { return false, errors.New("broken") }
