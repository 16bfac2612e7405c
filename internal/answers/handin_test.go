// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"crypto/rand"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy/chain"
)

func receiptKey(t testing.TB, name string) (note.Signer, *answers.Descriptor) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s, &answers.Descriptor{URL: "https://" + name, Key: vkey}
}

func signNote(t testing.TB, s note.Signer, text string) []byte {
	t.Helper()
	out, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReceipt: a receipt is read in its one spelling, by the directory's own key; it is no
// checkpoint, and a checkpoint none.
func TestReceipt(t *testing.T) {
	s, d := receiptKey(t, "directory.example")
	other, _ := receiptKey(t, "directory.example")
	r := answers.Receipt{Statement: spelling.Sum([]byte("x")), Leaf: 7}
	good := signNote(t, s, r.Text("directory.example"))
	if got, err := d.OpenReceipt(good); err != nil || got != r {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := d.Open(good); err == nil {
		t.Error("it is a checkpoint")
	}
	text := r.Text("directory.example")
	for what, signed := range map[string][]byte{
		"another key":          signNote(t, other, text),
		"another origin":       signNote(t, s, r.Text("directory.example/2")),
		"a checkpoint":         signNote(t, s, "directory.example\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
		"a further line":       signNote(t, s, text+"x\n"),
		"a line less":          signNote(t, s, strings.TrimSuffix(text, "7\n")),
		"a number spelt twice": signNote(t, s, strings.Replace(text, "\n7\n", "\n07\n", 1)),
		"a negative leaf":      signNote(t, s, strings.Replace(text, "\n7\n", "\n-7\n", 1)),
		"no digest":            signNote(t, s, strings.Replace(text, r.Statement, r.Statement[1:], 1)),
		"in upper case":        signNote(t, s, strings.Replace(text, r.Statement, strings.ToUpper(r.Statement), 1)),
		"another version":      signNote(t, s, strings.Replace(text, " v1", " v2", 1)),
		"changed":              []byte(strings.Replace(string(good), "\n7\n", "\n8\n", 1)),
		"nothing":              nil,
		"not signed":           []byte(text),
		"large":                append(good, make([]byte, answers.MaxReceiptBytes)...),
	} {
		if got, err := d.OpenReceipt(signed); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// FuzzOpenReceipt: what is read is what its fields make again.
func FuzzOpenReceipt(f *testing.F) {
	s, d := receiptKey(f, "directory.example")
	f.Add(answers.Receipt{Statement: spelling.Sum([]byte("x")), Leaf: 7}.Text("directory.example"))
	f.Add("directory.example\n7\nAAAA\n")
	f.Fuzz(func(t *testing.T, text string) {
		signed, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			return
		}
		if r, err := d.OpenReceipt(signed); err == nil && r.Text(d.Origin()) != text {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

// TestHandInClient: several requests where one is too small, what is no receipt for it is
// refused, and nobody is followed elsewhere.
func TestHandInClient(t *testing.T) {
	s, d := receiptKey(t, "directory.example")
	statement, _ := chain.Predicate{}.Statement([]byte("x"), errors.New("not a statement"))
	sign := func(leaf int64, digest string) []byte {
		return signNote(t, s, answers.Receipt{Statement: digest, Leaf: leaf}.Text("directory.example"))
	}
	elsewhere := httptest.NewServer(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was followed") }),
	)
	defer elsewhere.Close()
	large := make([]byte, answers.MaxHandInBytes/2)
	signs := func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(sign(3, statement.Digest())) }
	for what, c := range map[string]struct {
		sizes  []int // of the files
		answer func(n int, w http.ResponseWriter, r *http.Request)
		ask    int // requests
		bound  bool
		fails  string
	}{
		"one":       {[]int{5}, signs, 1, true, ""},
		"by size":   {[]int{len(large), len(large), 5}, signs, 2, true, ""},
		"by number": {make([]int, answers.MaxHandInFiles+1), signs, 2, true, ""},
		"too large": {[]int{answers.MaxHandInBytes}, nil, 0, true, "more than a directory takes"},
		"nothing":   {nil, nil, 0, true, "nothing of it"},
		"not bound": {
			[]int{5}, func(_ int, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no binding", http.StatusConflict) },
			1, false, "409",
		},
		"refused": {[]int{5}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusUnprocessableEntity)
		}, 1, true, "422"},
		"of another": {[]int{5}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(sign(3, spelling.Sum([]byte("y"))))
		}, 1, true, "the receipt is for the statement"},
		"no receipt": {
			[]int{5}, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "thanks") }, 1, true,
			"receipt of the directory",
		},
		"too long": {[]int{5}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, answers.MaxReceiptBytes+1))
		}, 1, true, "larger than allowed"},
		"led away": {[]int{5}, func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, 1, true, "redirects"},
		"then broken": {
			[]int{len(large), len(large)},
			func(n int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(sign(3, statement.Digest())[n-1:]) }, 2, true,
			"receipt of the directory",
		},
	} {
		t.Run(what, func(t *testing.T) {
			asked, got := 0, 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
				if err != nil || kind != "multipart/form-data" || r.URL.Path != "/hand-in" ||
					r.ContentLength > answers.MaxHandInBytes {
					t.Errorf("%s %s %d", r.URL.Path, kind, r.ContentLength)
				}
				form := multipart.NewReader(r.Body, params["boundary"])
				for {
					if _, err := form.NextPart(); err != nil {
						break
					}
					got++
				}
				c.answer(asked, w, r)
			}))
			defer server.Close()
			client, err := web.New(server.URL, nil, "test")
			if err != nil {
				t.Fatal(err)
			}
			o := bindings.Offer{Statement: statement}
			for i, size := range c.sizes {
				data := make([]byte, size+1)
				data[0], data[size/2] = byte(i), byte(i>>8)
				if size > 1 {
					data = data[:size]
				} else {
					data = append(data, byte(i))
				}
				o.Signatures = append(o.Signatures, bindings.OfferedSignature{Bundle: data})
			}
			r, _, err := d.HandIn(t.Context(), client, o)
			switch {
			case c.fails == "" && (err != nil || r.Leaf != 3 || got != len(c.sizes)):
				t.Errorf("%+v %v, %d files", r, err, got)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("%+v %v", r, err)
			case errors.Is(err, answers.ErrNotBound) == c.bound:
				t.Errorf("%v", err)
			}
			if asked != c.ask {
				t.Errorf("%d requests, not %d", asked, c.ask)
			}
		})
	}
}
