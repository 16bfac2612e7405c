// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"testing"

	"github.com/repopolicy/repopolicy/internal/answers"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// FuzzListed: a line of the list of a leaf, and a record's text, are read in one way only.
func FuzzListed(f *testing.F) {
	h := spelling.Sum(nil)
	f.Add("disclosed " + h + " " + h)
	f.Add("signature " + h + " " + h + " 7")
	f.Add("disclosed " + h + " " + h + " 1 1790000000 3600\n")
	f.Add("binding " + h + " 7 " + h + " 1 1790000000 3600\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, s, err := answers.ParseListed(text)
		if err == nil && (d == nil) == (s == nil) {
			t.Fatalf("%q is %v and %v", text, d, s)
		}
		if d != nil {
			if line, err := d.Line(); err != nil || line != text {
				t.Errorf("%q is written as %q, %v", text, line, err)
			}
		}
		if s != nil {
			if line, err := s.Line(); err != nil || line != text {
				t.Errorf("%q is written as %q, %v", text, line, err)
			}
		}
		r, _, err := answers.ParseRecordText(text)
		if err != nil || r.Binding != nil {
			return
		}
		if again, err := r.Text(); err != nil {
			t.Errorf("%q cannot be written: %v", text, err)
		} else if next, _, err := answers.ParseRecordText(again); err != nil || next.At != r.At {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
	})
}
