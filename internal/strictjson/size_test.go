// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"testing"
)

func TestSize(t *testing.T) {
	for in, want := range map[string]int{
		``: 1, `1`: 1, `[]`: 2, `[1,2]`: 3, `{"a":1,"b":[{},{}]}`: 7, `"a,b{[\",["`: 1, `["\\",1]`: 3, `[1,"`: 3,
	} {
		if got := Size([]byte(in)); got != want {
			t.Errorf("%s: %d, want %d", in, got, want)
		}
		var c Counter
		for i := range len(in) {
			c.Add([]byte{in[i]})
		}
		if c.Values+1 != want {
			t.Errorf("%s, byte by byte: %d, want %d", in, c.Values+1, want)
		}
	}
}

// FuzzSize: no document has more values than it is said to have.
func FuzzSize(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"x,\"y"},null],"c":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if json.Unmarshal(data, &v) != nil {
			return
		}
		if n := count(v); n > Size(data) {
			t.Errorf("%q: %d values, said to be %d", data, n, Size(data))
		}
	})
}

func count(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			n += count(x)
		}
	case map[string]any:
		for _, x := range v {
			n += count(x)
		}
	}
	return n
}
