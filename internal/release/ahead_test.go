// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// meeting is a place that answers about a file and its evidence only when it was asked for both.
type meeting struct {
	folder
	once   [2]sync.Once
	asked  [2]chan struct{}
	broken error // of the content
	panics bool  // where evidence is read
}

func newMeeting(files map[string][]byte) *meeting {
	m := &meeting{folder: folder{files: files}}
	m.asked[0], m.asked[1] = make(chan struct{}), make(chan struct{})
	return m
}

// meet waits for the other one.
func (m *meeting) meet(ctx context.Context, me int) error {
	m.once[me].Do(func() { close(m.asked[me]) })
	select {
	case <-m.asked[1-me]:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
		return errors.New("nobody asked for the other one")
	}
}

func (m *meeting) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if !strings.HasSuffix(name, ".sigstore.json") {
		return nil, fs.ErrNotExist
	}
	if err := m.meet(ctx, 0); err != nil {
		return nil, err
	}
	if m.panics {
		panic("evidence")
	}
	if m.broken != nil { // it never comes
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m.folder.Read(ctx, name, limit)
}

func (m *meeting) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := m.meet(ctx, 1); err != nil {
		return nil, err
	}
	if m.broken != nil {
		return nil, m.broken
	}
	return m.folder.Open(ctx, name)
}

// TestSideBySide: a file and the evidence for it are asked for at once. A file that does not come ends
// the question for its evidence, and a panic there is no verdict.
func TestSideBySide(t *testing.T) {
	inst := sigstoretest.New(t)
	req := alice()
	req.Artifact = []byte("content")
	bundle := inst.Sign(req)
	for name, c := range map[string]struct {
		change func(*meeting)
		want   policy.Class
		say    string
	}{
		"both":                   {func(*meeting) {}, policy.ClassOK, ""},
		"the file does not come": {func(m *meeting) { m.broken = errors.New("gone") }, policy.ClassUnavailable, "gone"},
		"a panic":                {func(m *meeting) { m.panics = true }, policy.ClassInternal, "panic"},
		"another file":           {func(m *meeting) { m.files["widget_1.tar.gz"] = []byte("other") }, policy.ClassDeny, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeeting(map[string][]byte{"widget_1.tar.gz": []byte("content"), "widget_1.tar.gz.sigstore.json": bundle})
			c.change(m)
			j := judge(pin(t, peopleRule), parseRoot(t, inst, sigstoretest.RootOptions{}))
			got := j.Run(t.Context(), []*Artifact{{Arg: "url", Name: "widget_1.tar.gz", Place: m}})[0]
			if got.Class() != c.want || !strings.Contains(got.Decision.Detail, c.say) {
				t.Errorf("%s: %+v", got.Class(), got.Decision)
			}
		})
	}
}
