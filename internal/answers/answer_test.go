// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy/chain"
)

func sampleAnswer() answers.Answer {
	log := spelling.Sum([]byte("log"))
	b := &answers.BindingRecord{Log: log, Index: 7, Body: `{"a":"<b>"}`, Inclusion: [][]byte{make([]byte, 32)}}
	published := &answers.DisclosedRecord{
		Payload: spelling.Sum([]byte("statement")), PAE: spelling.Sum([]byte("its encoding")),
	}
	signature := &bindings.SignatureRecord{Payload: published.Payload, Log: log, Index: 5}
	at := chain.Shown{Leaf: 3, Time: time.Unix(1_780_000_000, 0).UTC(), Clock: time.Hour}
	step := prefixmap.Step{Depth: 3, Hash: prefixmap.KeyHash("x")}
	leaf := answers.DirectoryLeaf{
		Time:  time.Unix(1_790_000_000, 0).UTC(),
		Clock: 2 * time.Hour,
		Maps: []answers.MapLeaf{
			{
				Function: 1, Root: log, Forges: "", Labels: 5, Hash: prefixmap.Empty(),
				Inputs:    []answers.Input{{Log: log, Checkpoint: "checkpoint\n", Newest: "2026-03-01T11:59:00Z"}},
				Disclosed: answers.Published{Count: 0, SHA256: spelling.Sum(nil)},
			},
		},
	}
	return answers.Answer{
		Checkpoint: "checkpoint\n", Leaf: leaf.Bytes(), Index: 4, Inclusion: [][]byte{},
		Keys: []answers.KeyAnswer{
			{
				Key:  "https://github.com/a/b",
				Path: prefixmap.Path{step},
				Records: []answers.Record{
					{At: at, Binding: b}, {At: at, Disclosed: published}, {At: at, Signature: signature},
				},
			},
			{
				Key: "https://github.com#15:1", Path: prefixmap.Path{step}, Blocks: []prefixmap.Hash{{1}},
				Records: []answers.Record{{At: at, Binding: b}},
			},
		},
	}
}

// TestAnswerRoundTrip: what is encoded is read back, and a binding under two keys
// stands once.
func TestAnswerRoundTrip(t *testing.T) {
	a := sampleAnswer()
	data, err := a.Encode()
	bindtest.Check(t, err)
	got, err := answers.ParseAnswer(data)
	bindtest.Check(t, err)
	if d := cmp.Diff(&a, got); d != "" {
		t.Error(d)
	}
	if got.Keys[0].Records[0].Binding != got.Keys[1].Records[0].Binding {
		t.Error("the binding stands twice")
	}
}

// plain returns the JSON of a file, and packed does the reverse.
func plain(t testing.TB, file []byte) string {
	t.Helper()
	text, err := answers.Inflate(file)
	bindtest.Check(t, err)
	return string(text)
}

func packed(t testing.TB, text string) []byte {
	t.Helper()
	file, err := answers.Deflate([]byte(text))
	bindtest.Check(t, err)
	return file
}

func samplePage() answers.Page {
	p := answers.Page{Key: "https://github.com/a/b", Block: 1}
	for i := range int64(prefixmap.BlockSize) {
		p.Records = append(
			p.Records,
			answers.Record{
				At:      chain.Shown{Leaf: 3, Time: time.Unix(1_780_000_000, 0).UTC()},
				Binding: &answers.BindingRecord{Log: spelling.Sum([]byte("log")), Index: i, Body: "{}"},
			},
		)
	}
	return p
}

// TestDirectoryFormats: what a schema describes is what is read, and nothing else.
func TestDirectoryFormats(t *testing.T) {
	a := sampleAnswer()
	file, err := a.Encode()
	bindtest.Check(t, err)
	answer := plain(t, file)
	none := a
	none.Keys, none.Absent = nil, &answers.Absence{
		Depth: 8,
		Path:  prefixmap.Path{{Depth: 3}},
		Items: []prefixmap.Subtree{
			{Depth: prefixmap.LabelBits}, {Depth: 319, Label: prefixmap.NewLabel(prefixmap.Hash{1}, 0)},
		},
	}
	file, err = none.Encode()
	bindtest.Check(t, err)
	absence := plain(t, file)
	file, err = samplePage().Encode()
	bindtest.Check(t, err)
	page := plain(t, file)
	descriptor := string((&answers.Descriptor{URL: "https://directory.example", Key: vkey(t), Witnesses: ""}).Bytes())
	lie := string(
		(&bindings.Lie{
			Directory: "https://directory.example", Repository: bindtest.Locator(t, bindtest.Widget), Answer: []byte("x"),
			Pages: nil, Bundle: []byte("{}"), Why: "why",
		}).Bytes(),
	)
	read := map[string]func(text string) error{
		"directory-v1.json":        func(s string) error { _, err := answers.ParseDescriptor([]byte(s)); return err },
		"directory-leaf-v1.json":   func(s string) error { _, err := answers.ParseDirectoryLeaf([]byte(s)); return err },
		"directory-answer-v1.json": func(s string) error { _, err := answers.ParseAnswer(packed(t, s)); return err },
		"directory-page-v1.json":   func(s string) error { _, err := answers.ParsePage(packed(t, s)); return err },
		"directory-lie-v1.json":    func(s string) error { _, err := bindings.ParseLie([]byte(s)); return err },
	}
	schemas := map[string]*jsonschema.Schema{}
	for name := range read {
		schemas[name] = vectors.Schema(t, name)
	}
	both := func(name, schema, text string, ok, blind bool) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = schemas[schema].Validate(v)
		}
		if (err == nil) != (ok || blind) {
			t.Errorf("%s: the schema says %v", name, err)
		}
		if err := read[schema](text); (err == nil) != ok {
			t.Errorf("%s: the program says %v", name, err)
		}
	}
	for schema, text := range map[string]string{
		"directory-v1.json": descriptor, "directory-leaf-v1.json": string(a.Leaf), "directory-answer-v1.json": answer,
		"directory-page-v1.json": page, "directory-lie-v1.json": lie,
	} {
		both(schema, schema, text, true, false)
		both("a key more", schema, strings.Replace(text, "{", `{"x":1,`, 1), false, false)
		both("another schema", schema, strings.Replace(text, "-v1.json", "-v2.json", 1), false, false)
		both("a list", schema, "["+text+"]", false, false)
		if err := read[schema](strings.Replace(text, "{", `{"schema":"x",`, 1)); err == nil {
			t.Errorf("%s: a key twice", schema)
		}
		if err := read[schema](text + "x"); err == nil {
			t.Errorf("%s: something follows", schema)
		}
		if err := read[schema](strings.ToUpper(text)); err == nil {
			t.Errorf("%s: in upper case", schema)
		}
	}
	both("absence", "directory-answer-v1.json", absence, true, false)
	both(
		"withheld by nobody", "directory-answer-v1.json",
		strings.Replace(answer, `,"sizes":[{"log":"`+spelling.Sum([]byte("log"))+`","size":12}]`, "", 1), true, false,
	)
	log := spelling.Sum([]byte("log"))
	same := `{"at":[3,1780000000,3600],"same":0}`
	for name, x := range map[string]struct {
		text, old, new string
		blind          bool // the schema cannot see it
	}{
		"no form":                   {absence, `"absent"`, `"absence"`, false},
		"both forms":                {answer, `"keys"`, `"split":4,"keys"`, false},
		"a split of two":            {absence, absence[strings.Index(absence, `"absent"`):], `"split":2}`, false},
		"a huge split":              {absence, absence[strings.Index(absence, `"absent"`):], `"split":17}`, false},
		"a hash too short":          {answer, "AAAAAAAAAAA=", "AAAA", false},
		"a negative step":           {answer, `"depth":3`, `"depth":-3`, true},
		"no moment":                 {answer, `{"at":[3,1780000000,3600],"disclosed"`, `{"disclosed"`, false},
		"half a moment":             {answer, `[3,1780000000,3600],"disclosed"`, `[3,1780000000],"disclosed"`, false},
		"a moment before all":       {answer, `[3,1780000000,3600],"disclosed"`, `[-3,1780000000,3600],"disclosed"`, false},
		"a statement of one name":   {answer, `,"pae":"` + spelling.Sum([]byte("its encoding")) + `"`, ``, false},
		"a signature nowhere":       {answer, `"log":"` + log + `","index":5,"signature"`, `"signature"`, false},
		"a publication of nothing":  {answer, `"disclosed":"` + spelling.Sum([]byte("statement")) + `",`, ``, false},
		"a binding and publication": {answer, `"disclosed"`, `"log":"` + log + `","body":"x","disclosed"`, false},
		"the same as none":          {answer, `"same":0`, `"same":1`, true},
		"a log that is none":        {answer, `"log":"` + log, `"log":"x` + log[1:], false},
		"no body":                   {answer, `"body":"{\"a\":\"<b>\"}",`, ``, false},
		"body and entry":            {answer, `"body"`, `"entry":{},"body"`, false},
		"no path":                   {absence, `"path":[`, `"path":null,"x":[`, false},
		"a null path": {
			answer,
			answer[strings.Index(answer, `"path":[`) : strings.Index(answer, `"path":[`)+
				strings.Index(answer[strings.Index(answer, `"path":[`):], "]")+1],
			`"path":null`, false,
		},
		"a null proof":  {answer, `"inclusion":[]`, `"inclusion":null`, false},
		"with a space":  {answer, `"index":4`, `"index": 4`, true},
		"another order": {answer, `"index":4,"inclusion":[]`, `"inclusion":[],"index":4`, true},
		"an escape":     {answer, `"key":"https://github.com/a`, `"key":"https:\/\/github.com/a`, true},
		"no records":    {answer, `"records":[` + same + `]`, `"records":null`, false},
		"no value": {
			answer, `"blocks":["AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],"records":[` + same + `]`, `"records":[]`, true,
		},
		"a key twice":  {answer, `"https://github.com#15:1"`, `"https://github.com/a/b"`, true},
		"an empty key": {answer, `"https://github.com#15:1"`, `""`, false},
		"a leaf with two sides": {
			absence, `"depth":320`, `"right":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","depth":320`, true,
		},
		"a node with one side": {absence, `"depth":319`, `"depth":320`, true},
		"a node too deep":      {absence, `"depth":320`, `"depth":321`, false},
		"null":                 {answer, `"index":4`, `"index":null`, false},
		"a fraction":           {answer, `"index":4`, `"index":4.5`, false},
		"text for a number":    {answer, `"index":4`, `"index":"4"`, false},
	} {
		changed := strings.Replace(x.text, x.old, x.new, 1)
		if changed == x.text {
			t.Errorf("%s: there is no %s", name, x.old)
			continue
		}
		if name == "a negative step" { // refused when it is used
			continue
		}
		both(name, "directory-answer-v1.json", changed, false, x.blind)
	}
	leaf := string(a.Leaf)
	for name, x := range map[string]struct {
		old, new string
		blind    bool
	}{
		"with spaces":   {`"time":`, `"time": `, true},
		"another order": {`"function":1,"root":"` + log + `"`, `"root":"` + log + `","function":1`, true},
		"another zone":  {"Z\"", "+00:00\"", false},
		"a fraction":    {"Z\"", ".5Z\"", false},
		"no such day":   {"2026-09-21T", "2026-02-31T", true},
		"no map":        {leaf[strings.Index(leaf, `"maps"`):], `"maps":[]}`, false},
		"function 0":    {`"function":1`, `"function":0`, false},
		"negative":      {`"labels":5`, `"labels":-5`, false},
		"no input": {
			`"inputs":[{"log":"` + log + `","checkpoint":"checkpoint\n","newest":"2026-03-01T11:59:00Z"}]`, `"inputs":[]`, false,
		},
		"an input twice":     {`"inputs":[`, `"inputs":[{"log":"` + log + `","checkpoint":"checkpoint\n"},`, true},
		"an empty input":     {`"checkpoint":"checkpoint\n"`, `"checkpoint":""`, false},
		"a hash of 63":       {log, log[1:], false},
		"in upper case":      {log, strings.ToUpper(log), false},
		"an empty table":     {`"labels"`, `"forges":"","labels"`, false},
		"a negative number":  {`"count":0`, `"count":-1`, false},
		"a second":           {`11:59:00Z`, `11:59:01Z`, false},
		"another zone of it": {`11:59:00Z`, `11:59:00+00:00`, false},
		"no time":            {`2026-03-01T11:59:00Z`, `today`, false},
		"after the leaf":     {`2026-03-01T11:59:00Z`, `2027-03-01T11:59:00Z`, true},
	} {
		changed := strings.Replace(leaf, x.old, x.new, 1)
		if changed == leaf {
			t.Errorf("%s: there is no %s", name, x.old)
			continue
		}
		both(name, "directory-leaf-v1.json", changed, false, x.blind)
	}
	err = read["directory-leaf-v1.json"](strings.Replace(
		leaf, `"maps":[`, `"maps":[`+leaf[strings.Index(leaf, `"maps":[`)+8:len(leaf)-2]+",", 1,
	))
	if err == nil {
		t.Error("a map twice")
	}
	for name, x := range map[string]struct {
		old, new string
		blind    bool
	}{
		"plain http":         {"https://directory", "http://directory", true},
		"a slash at the end": {"directory.example\"", "directory.example/\"", false},
		"a query":            {"directory.example\"", "directory.example?x\"", false},
		"a user":             {"https://directory", "https://u@directory", false},
		"no host":            {"https://directory.example", "https://", false},
		"another key":        {"directory.example+", "x.example+", true},
		"no key":             {`"key": "`, `"key": "x`, true},
		"no witness":         {`"key"`, `"witnesses":"quorum none\n","key"`, true},
		"empty witnesses":    {`"key"`, `"witnesses":"","key"`, false},
	} {
		changed := strings.Replace(descriptor, x.old, x.new, 1)
		if changed == descriptor {
			t.Errorf("%s: there is no %s", name, x.old)
			continue
		}
		if name == "empty witnesses" {
			continue // read as absent
		}
		both(name, "directory-v1.json", changed, false, x.blind)
	}
	_, err = answers.ParseDescriptor([]byte(strings.Replace(
		descriptor, "https://directory.example", "http://127.0.0.1:8080", 1,
	)))
	if err != nil {
		t.Errorf("on this machine: %v", err)
	}
	err = read["directory-page-v1.json"](strings.Replace(
		page, `,"records":[{`, `,"records":[{"log":"`+log+`","index":99,"body":"{}"},{`, 1,
	))
	if err == nil {
		t.Error("a page of 65 records")
	}
}

func vkey(t testing.TB) string {
	t.Helper()
	_, key, err := note.GenerateKey(rand.Reader, "directory.example")
	bindtest.Check(t, err)
	return key
}

// TestAnswerLimits: what is too large is refused before it is read, however small
// it is on the way.
func TestAnswerLimits(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, err := w.Write(bytes.Repeat([]byte(" "), answers.MaxInflated+1))
	bindtest.Check(t, err)
	bindtest.Check(t, w.Close())
	good, err := sampleAnswer().Encode()
	bindtest.Check(t, err)
	for name, data := range map[string][]byte{
		"a bomb": bomb.Bytes(), "too large": make([]byte, answers.MaxAnswerBytes+1),
		"two members": append(bytes.Clone(good), good...), "a byte more": append(bytes.Clone(good), 0),
		"cut": good[:len(good)-1], "no gzip": []byte("{}"), "empty": nil,
	} {
		if _, err := answers.ParseAnswer(data); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	many := sampleAnswer()
	many.Keys[0].Records = slices.Repeat(many.Keys[0].Records, answers.MaxLooseRecords)
	file, err := many.Encode()
	bindtest.Check(t, err)
	if _, err := answers.ParseAnswer(file); err == nil {
		t.Error("too many records are read")
	}
	if _, err := (answers.Answer{Keys: []answers.KeyAnswer{{Records: []answers.Record{{}}}}}).Encode(); err == nil {
		t.Error("a record of nothing is written")
	}
}

// FuzzAnswer: what is read is written again as it was, and read alike.
func FuzzAnswer(f *testing.F) {
	a := sampleAnswer()
	file, err := a.Encode()
	bindtest.Check(f, err)
	f.Add([]byte(plain(f, file)))
	a.Keys, a.Absent = nil, &answers.Absence{Other: &prefixmap.Subtree{Depth: 4}}
	file, err = a.Encode()
	bindtest.Check(f, err)
	f.Add([]byte(plain(f, file)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 || len(text) > answers.MaxAnswerBytes/2 {
			return
		}
		a, err := answers.ParseAnswer(packed(t, string(text)))
		if err != nil {
			if a != nil {
				t.Error("an answer beside an error")
			}
			return
		}
		file, err := a.Encode()
		if err != nil {
			t.Fatalf("not written: %v", err)
		}
		again, err := answers.ParseAnswer(file)
		if err != nil {
			t.Fatalf("not read again: %v", err)
		}
		if d := cmp.Diff(a, again, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
	})
}

// FuzzDirectoryLeaf: a leaf that is read is exactly the one that is written.
func FuzzDirectoryLeaf(f *testing.F) {
	f.Add(sampleAnswer().Leaf)
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := answers.ParseDirectoryLeaf(data); err == nil && !bytes.Equal(l.Bytes(), data) {
			t.Errorf("%q", data)
		}
	})
}
