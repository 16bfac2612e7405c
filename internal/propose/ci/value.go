// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"math"
	"strconv"
	"strings"
)

// truth is what is known of a condition.
type truth int8

const (
	maybe truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// value is what is known of an expression before anything runs.
type value struct {
	v     any // nil, bool, float64, string, []any; of a known value
	known bool
	truth truth
	may   []string // texts that it may have, if it is not known
	tag   bool     // it is the tag of the run, which is another one next time
}

func known(v any) value {
	x := value{v: v, known: true}
	switch v := v.(type) {
	case nil:
		x.truth = no
	case bool:
		x.truth = truthOf(v)
	case float64:
		x.truth = truthOf(v != 0 && !math.IsNaN(v))
	case string:
		x.truth = truthOf(v != "")
	default:
		x.truth = yes
	}
	return x
}

var unknown = value{}

// text is the value as a part of a string; false if it is not known.
func (x value) text() (string, bool) {
	if !x.known {
		return "", false
	}
	switch v := x.v.(type) {
	case nil:
		return "", true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case string:
		return v, !strings.ContainsRune(v, Hole)
	}
	return "", false
}

// ofTag marks a value as that of the run's tag: conditions may ask for it, and texts have a Hole.
func ofTag(v value) value {
	v.tag = true
	return v
}

// texts are all texts that the value may have; none if some of them are not known.
func (x value) texts() []string {
	if x.tag {
		return nil
	}
	if s, ok := x.v.(string); ok && x.known {
		return []string{s}
	}
	if s, ok := x.text(); ok {
		return []string{s}
	}
	return x.may
}

func number(v any) float64 {
	switch v := v.(type) {
	case nil:
		return 0
	case bool:
		if v {
			return 1
		}
		return 0
	case float64:
		return v
	case string:
		if v = strings.TrimSpace(v); v == "" {
			return 0
		}
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return math.NaN()
}

// equal compares as GitHub does: texts without regard to case, different types as numbers.
func equal(a, b value) truth {
	if !a.known || !b.known {
		return maybeEqual(a, b)
	}
	s, ok1 := a.v.(string)
	t, ok2 := b.v.(string)
	if ok1 && ok2 {
		if strings.ContainsRune(s+t, Hole) {
			return maybe
		}
		return truthOf(strings.EqualFold(s, t))
	}
	if a.v == nil && b.v == nil {
		return yes
	}
	// Whether true is a text depends on types that are declared elsewhere.
	if x, y := asWord(a.v), asWord(b.v); x != "" && y != "" {
		return truthOf(x == y)
	}
	return truthOf(number(a.v) == number(b.v))
}

// asWord returns true or false, also of a text; "" of anything else.
func asWord(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case string:
		if v == "true" || v == "false" {
			return v
		}
	}
	return ""
}

// maybeEqual is no if the known side is none of what the other side may be.
func maybeEqual(a, b value) truth {
	if a.known {
		a, b = b, a
	}
	s, ok := b.text()
	if !ok || len(a.may) == 0 {
		return maybe
	}
	for _, m := range a.may {
		if strings.EqualFold(m, s) || strings.ContainsRune(m, Hole) {
			return maybe
		}
	}
	return no
}

func and(a, b value) value {
	switch {
	case a.truth == no:
		return a
	case a.truth == yes:
		return b
	case b.truth == no:
		return value{truth: no, may: b.texts()}
	}
	return value{may: b.texts()}
}

func or(a, b value) value {
	switch {
	case a.truth == yes && a.known:
		return a
	case a.truth == no:
		return b
	}
	out := value{may: append(append([]string(nil), a.may...), b.texts()...)}
	if a.truth == yes || b.truth == yes {
		out.truth = yes
	}
	return out
}

func not(a value) value {
	switch a.truth {
	case yes:
		return known(false)
	case no:
		return known(true)
	}
	return unknown
}
