package realtimetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// binding is one entry of a join's postgres_changes.
type binding struct {
	id            int64
	event         string // "*", "INSERT", "UPDATE" or "DELETE"
	schema, table string
	hasSchema     bool
	hasTable      bool
	filters       []filter
	problem       string // why the change feed will refuse it
	selected      []string
	raw           json.RawMessage
}

// parseBindings reads the entries of a join and the echo that the reply carries: each object unchanged, plus its id.
// Anything but an array counts as none, nulls are removed.
func parseBindings(raw json.RawMessage) (bindings []binding, echo []json.RawMessage) {
	echo = []json.RawMessage{}
	var entries []json.RawMessage
	if json.Unmarshal(raw, &entries) != nil {
		return nil, echo
	}
	for _, entry := range entries {
		if string(entry) == "null" {
			continue
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, entry) // it came out of a JSON array
		b := parseBinding(compact.Bytes())
		bindings = append(bindings, b)
		echo = append(echo, withID(compact.Bytes(), b.id))
	}
	return bindings, echo
}

func withID(entry []byte, id int64) json.RawMessage {
	if len(entry) < 2 || entry[len(entry)-1] != '}' {
		return entry
	}
	sep := ","
	if len(entry) == 2 {
		sep = ""
	}
	return fmt.Appendf(nil, `%s%s"id":%d}`, entry[:len(entry)-1], sep, id)
}

func parseBinding(entry []byte) binding {
	b := binding{id: bindingID(entry), event: "*", raw: entry}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(entry, &fields)
	if event, ok := text(fields, "event"); ok {
		switch upper := strings.ToUpper(event); upper {
		case "INSERT", "UPDATE", "DELETE":
			b.event = upper
		}
	}
	b.schema, b.hasSchema = text(fields, "schema")
	b.table, b.hasTable = text(fields, "table")
	_ = json.Unmarshal(fields["select"], &b.selected)
	_, hasFilter := fields["filter"]
	filterText, isText := text(fields, "filter")
	rawTable, namesTable := fields["table"]
	switch {
	case hasFilter && !isText, namesTable && string(rawTable) == "null", !b.hasSchema && !b.hasTable:
		b.problem = "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: " + string(entry)
	case filterText != "":
		var bad []string
		if b.filters, bad = parseFilters(filterText); bad != nil {
			quoted, _ := json.Marshal(bad)
			b.problem = "Error parsing `filter` params: " + strings.ReplaceAll(string(quoted), `","`, `", "`)
		}
	}
	if !b.hasSchema {
		b.schema = "public"
	}
	if !b.hasTable {
		b.table = "*"
	}
	return b
}

func text(fields map[string]json.RawMessage, name string) (string, bool) {
	var s *string
	if json.Unmarshal(fields[name], &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// covers reports whether the binding names this table. Names are matched with SQL LIKE, and "*" is all.
func (b binding) covers(t Table) bool {
	return covers(b.schema, t.Schema) && covers(b.table, t.Name)
}

func covers(pattern, name string) bool {
	return pattern == "*" || pattern == name || like(pattern, name, false)
}

// wants reports whether a change reaches this binding; a column that is not there fails the filter.
func (b binding) wants(c Change, t Table) bool {
	if b.event != "*" && b.event != c.Type || !b.covers(t) {
		return false
	}
	if c.toEveryone() {
		return true
	}
	for _, f := range b.filters {
		if !f.matches(c.row()) {
			return false
		}
	}
	return true
}

// subscribable says why the change feed refuses a channel's bindings, or nothing.
func (s *Server) subscribable(bindings []binding) string {
	for _, b := range bindings {
		if b.problem != "" {
			return b.problem
		}
		var table *Table
		for _, t := range s.opts.Tables {
			if b.covers(t) {
				table = &t
				break
			}
		}
		if table == nil {
			return "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: " + b.inspect()
		}
		if why := b.badFilter(*table); why != "" {
			return "Unable to subscribe to changes with given parameters. An exception happened so please check your connect parameters: " + b.inspect() + ". Exception: " + why
		}
	}
	return ""
}

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (b binding) badFilter(t Table) string {
	for _, f := range b.filters {
		kind := ""
		for _, column := range t.Columns {
			if column.Name == f.column {
				kind = column.Type
			}
		}
		switch {
		case kind == "":
			return "ERROR P0001 (raise_exception) invalid column for filter " + f.column
		case kind == "uuid" && f.op == "eq" && !uuidPattern.MatchString(f.values[0]):
			return fmt.Sprintf("ERROR 22P02 (invalid_text_representation) invalid input syntax for type uuid: %q", f.values[0])
		}
	}
	return ""
}

// inspect prints the binding as the service's messages do.
func (b binding) inspect() string {
	var filters []string
	for _, f := range b.filters {
		filters = append(filters, fmt.Sprintf("{%q, %q, %q, %t}", f.column, f.op, strings.Join(f.values, ","), f.not))
	}
	return fmt.Sprintf("[event: %s, schema: %s, table: %s, filters: [%s], select: nil]", b.event, b.schema, b.table, strings.Join(filters, ", "))
}
