// SPDX-License-Identifier: Apache-2.0

package strictjson

// Size returns how many values JSON text holds at most, without reading it as JSON:
// one for each bracket and comma outside of strings, and one. Parsers make a value of
// some ten to a hundred bytes out of each, however few bytes it has here, so that the
// number bounds what they need.
func Size(data []byte) int {
	var c Counter
	c.Add(data)
	return 1 + c.Values
}

// Counter is [Size] for text that arrives in parts. The zero value is ready.
type Counter struct {
	Values        int // of what was added, less one
	text, escaped bool
}

// Add counts the next part.
func (c *Counter) Add(data []byte) {
	values, text, escaped := c.Values, c.text, c.escaped
	for _, b := range data {
		switch {
		case escaped:
			escaped = false
		case b == '"':
			text = !text
		case text:
			escaped = b == '\\'
		case b == ',' || b == '{' || b == '[':
			values++
		}
	}
	c.Values, c.text, c.escaped = values, text, escaped
}
