package realtimetest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/shopspring/decimal"
)

// filter is one condition, `column=op.value` or `column=not.op.value`.
type filter struct {
	column, op string
	not        bool
	values     []string // several for `in`
}

// parseFilters reads conditions joined by commas (AND), or returns the parts that cannot be read.
func parseFilters(text string) (filters []filter, bad []string) {
	for _, part := range splitOutside(text) {
		f, ok := parseFilter(part)
		if !ok {
			bad = append(bad, part)
			continue
		}
		filters = append(filters, f)
	}
	return filters, bad
}

func parseFilter(part string) (filter, bool) {
	column, rest, ok := strings.Cut(part, "=")
	if !ok || column == "" {
		return filter{}, false
	}
	f := filter{column: column}
	rest, f.not = strings.CutPrefix(rest, "not.")
	op, value, ok := strings.Cut(rest, ".")
	if !ok {
		return filter{}, false
	}
	f.op = op
	switch op {
	case "eq", "neq", "lt", "lte", "gt", "gte", "like", "ilike", "is", "match", "imatch", "isdistinct":
		f.values = []string{unquote(value)}
	case "in":
		inner, open := strings.CutPrefix(value, "(")
		inner, closed := strings.CutSuffix(inner, ")")
		if !open || !closed {
			return filter{}, false
		}
		for _, v := range splitOutside(inner) {
			f.values = append(f.values, unquote(v))
		}
		if len(f.values) > 100 {
			return filter{}, false
		}
	default:
		return filter{}, false
	}
	return f, true
}

// splitOutside splits at commas that are outside quotes and parentheses.
func splitOutside(text string) []string {
	var parts []string
	depth, quoted, start := 0, false, 0
	for i, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

func unquote(v string) string {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// matches fails closed: a column that the row does not carry matches nothing.
func (f filter) matches(row Row) bool {
	value, ok := row[f.column]
	if !ok {
		return false
	}
	return f.holds(value) != f.not
}

func (f filter) holds(value any) bool {
	if value == nil {
		return f.op == "is" && f.values[0] == "null" || f.op == "isdistinct" && f.values[0] != "null"
	}
	have := cell(value)
	switch f.op {
	case "eq":
		return compare(have, f.values[0]) == 0
	case "neq", "isdistinct":
		return compare(have, f.values[0]) != 0
	case "lt":
		return compare(have, f.values[0]) < 0
	case "lte":
		return compare(have, f.values[0]) <= 0
	case "gt":
		return compare(have, f.values[0]) > 0
	case "gte":
		return compare(have, f.values[0]) >= 0
	case "in":
		for _, v := range f.values {
			if compare(have, v) == 0 {
				return true
			}
		}
	case "is":
		return strings.EqualFold(have, f.values[0])
	case "like", "ilike":
		return like(f.values[0], have, f.op == "ilike")
	case "match", "imatch":
		pattern := f.values[0]
		if f.op == "imatch" {
			pattern = "(?i)" + pattern
		}
		re, err := regexp.Compile(pattern)
		return err == nil && re.MatchString(have)
	}
	return false
}

// cell is a value as PostgreSQL would print it.
func cell(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// looksLikeUUID is cheap: it is asked for every channel and change.
func looksLikeUUID(text string) bool {
	return len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-'
}

// compare orders numbers as numbers, UUIDs without case, and the rest as text.
func compare(a, b string) int {
	if a == b {
		return 0
	}
	if looksLikeUUID(a) && looksLikeUUID(b) {
		return strings.Compare(strings.ToLower(a), strings.ToLower(b))
	}
	x, errX := decimal.NewFromString(a)
	y, errY := decimal.NewFromString(b)
	if errX == nil && errY == nil {
		return x.Cmp(y)
	}
	return strings.Compare(a, b)
}

// like is SQL LIKE: % is any text, _ any character.
func like(pattern, text string, fold bool) bool {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.NewReplacer("%", ".*", "_", ".").Replace(quoted)
	if fold {
		quoted = "(?i)" + quoted
	}
	re, err := regexp.Compile("^(?s:" + quoted + ")$")
	return err == nil && re.MatchString(text)
}
