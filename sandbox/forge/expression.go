// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/rhysd/actionlint"
)

// scope holds the contexts that expressions read, such as github and needs, as
// JSON values.
type scope map[string]any

// status is what the status functions answer.
type status struct{ failed, cancelled bool }

// expand replaces every ${{ … }} of a text.
func expand(text string, s scope, st status) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${{")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		v, length, err := evaluate(rest, s, st)
		if err != nil {
			return "", err
		}
		b.WriteString(toString(v))
		text = rest[length:]
	}
}

// holds evaluates the text of an if, with or without ${{ }}. Without a status
// function it also demands that nothing failed.
func holds(text string, s scope, st status) (bool, error) {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, "${{"); ok {
		text = strings.TrimSuffix(inner, "}}")
	}
	if text == "" {
		return !st.failed && !st.cancelled, nil
	}
	v, _, err := evaluate(text+"}}", s, st)
	if err != nil {
		return false, err
	}
	for _, f := range []string{"always(", "failure(", "success(", "cancelled("} {
		if strings.Contains(text, f) {
			return truth(v), nil
		}
	}
	return truth(v) && !st.failed && !st.cancelled, nil
}

// evaluate evaluates an expression that ends in }} and returns the length of
// both.
func evaluate(text string, s scope, st status) (any, int, error) {
	lexer := actionlint.NewExprLexer(text)
	node, problem := actionlint.NewExprParser().Parse(lexer)
	if problem != nil {
		return nil, 0, fmt.Errorf("expression %q: %w", strings.TrimSuffix(text, "}}"), problem)
	}
	v, err := s.value(node, st)
	return v, lexer.Offset(), err
}

func (s scope) value(n actionlint.ExprNode, st status) (any, error) {
	switch n := n.(type) {
	case *actionlint.NullNode:
		return nil, nil
	case *actionlint.BoolNode:
		return n.Value, nil
	case *actionlint.IntNode:
		return float64(n.Value), nil
	case *actionlint.FloatNode:
		return n.Value, nil
	case *actionlint.StringNode:
		return n.Value, nil
	case *actionlint.VariableNode:
		v, ok := s[strings.ToLower(n.Name)]
		if !ok {
			return nil, fmt.Errorf("expression: there is no %q here", n.Name)
		}
		return v, nil
	case *actionlint.ObjectDerefNode:
		v, err := s.value(n.Receiver, st)
		return property(v, n.Property), err
	case *actionlint.IndexAccessNode:
		v, err := s.value(n.Operand, st)
		if err != nil {
			return nil, err
		}
		i, err := s.value(n.Index, st)
		return property(v, toString(i)), err
	case *actionlint.NotOpNode:
		v, err := s.value(n.Operand, st)
		return !truth(v), err
	case *actionlint.LogicalOpNode:
		v, err := s.value(n.Left, st)
		if err != nil || truth(v) == (n.Kind == actionlint.LogicalOpNodeKindOr) {
			return v, err
		}
		return s.value(n.Right, st)
	case *actionlint.CompareOpNode:
		a, err := s.value(n.Left, st)
		if err != nil {
			return nil, err
		}
		b, err := s.value(n.Right, st)
		if err != nil {
			return nil, err
		}
		return compare(n.Kind, a, b)
	case *actionlint.FuncCallNode:
		args := make([]any, len(n.Args))
		for i, a := range n.Args {
			var err error
			if args[i], err = s.value(a, st); err != nil {
				return nil, err
			}
		}
		return call(strings.ToLower(n.Callee), args, st)
	}
	return nil, fmt.Errorf("expression: the sandbox does not know %T", n)
}

// property finds names whatever their case, as GitHub does.
func property(v any, name string) any {
	if m, ok := v.(map[string]any); ok {
		for k, v := range m {
			if strings.EqualFold(k, name) {
				return v
			}
		}
	}
	return nil
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		return v != ""
	}
	return true
}

func toString(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	return string(data)
}

func toNumber(v any) float64 {
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
		if v == "" {
			return 0
		}
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return math.NaN()
}

// compare compares strings without regard to case, as GitHub does, and values of
// different types as numbers.
func compare(kind actionlint.CompareOpNodeKind, a, b any) (any, error) {
	as, okA := a.(string)
	bs, okB := b.(string)
	equal := okA && okB && strings.EqualFold(as, bs)
	if !okA || !okB {
		equal = toNumber(a) == toNumber(b)
	}
	switch kind {
	case actionlint.CompareOpNodeKindEq:
		return equal, nil
	case actionlint.CompareOpNodeKindNotEq:
		return !equal, nil
	case actionlint.CompareOpNodeKindLess:
		return toNumber(a) < toNumber(b), nil
	case actionlint.CompareOpNodeKindLessEq:
		return toNumber(a) <= toNumber(b), nil
	case actionlint.CompareOpNodeKindGreater:
		return toNumber(a) > toNumber(b), nil
	case actionlint.CompareOpNodeKindGreaterEq:
		return toNumber(a) >= toNumber(b), nil
	}
	return nil, fmt.Errorf("expression: unknown comparison %d", kind)
}

// arity is how many values a function needs.
var arity = map[string]int{"contains": 2, "startswith": 2, "endswith": 2, "format": 1, "tojson": 1, "fromjson": 1}

func call(name string, args []any, st status) (any, error) {
	text := func(i int) string {
		if i < len(args) {
			return strings.ToLower(toString(args[i]))
		}
		return ""
	}
	if len(args) < arity[name] {
		return nil, fmt.Errorf("expression: %s() needs %d values", name, arity[name])
	}
	switch name {
	case "always":
		return true, nil
	case "success":
		return !st.failed && !st.cancelled, nil
	case "failure":
		return st.failed, nil
	case "cancelled":
		return st.cancelled, nil
	case "contains":
		if list, ok := args[0].([]any); ok {
			for _, v := range list {
				if strings.EqualFold(toString(v), toString(args[1])) {
					return true, nil
				}
			}
			return false, nil
		}
		return strings.Contains(text(0), text(1)), nil
	case "startswith":
		return strings.HasPrefix(text(0), text(1)), nil
	case "endswith":
		return strings.HasSuffix(text(0), text(1)), nil
	case "format":
		out := toString(args[0])
		for i, a := range args[1:] {
			out = strings.ReplaceAll(out, fmt.Sprintf("{%d}", i), toString(a))
		}
		return out, nil
	case "tojson":
		data, err := json.MarshalIndent(args[0], "", "  ")
		return string(data), err
	case "fromjson":
		var v any
		err := json.Unmarshal([]byte(toString(args[0])), &v)
		return v, err
	}
	return nil, fmt.Errorf("expression: the sandbox does not know %s()", name)
}
