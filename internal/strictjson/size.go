// SPDX-License-Identifier: Apache-2.0

package strictjson

// Size returns how many values JSON text holds at most, without reading it as JSON:
// one for each bracket and comma outside of strings, and one. Parsers make a value of
// some ten to a hundred bytes out of each, however few bytes it has here, so that the
// number bounds what they need.
func Size(data []byte) int {
	n, text := 1, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			text = !text
		case text && c == '\\':
			i++
		case !text && (c == ',' || c == '{' || c == '['):
			n++
		}
	}
	return n
}
