package realtimetest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Row is a table row: values that JSON can hold. Use [json.Number] where digits matter.
type Row map[string]any

// Types of a [Change].
const (
	Insert = "INSERT"
	Update = "UPDATE"
	Delete = "DELETE"
)

// Errors of a [Change]: the first reaches the usual audience with a cut record, the others everybody on the table with an empty one.
const (
	ErrorTooLarge     = "Error 413: Payload Too Large"
	ErrorUnauthorized = "Error 401: Unauthorized"
	ErrorNoKey        = "Error 400: Bad Request, no primary key"
)

// Change is one row change as the change feed reads it.
type Change struct {
	Schema, Table     string // empty: the first table of the publication
	Type              string // Insert, Update or Delete
	Record, OldRecord Row
	Error             string // empty, or one of the errors above
	at                time.Time
}

func (c Change) toEveryone() bool { return c.Error == ErrorUnauthorized || c.Error == ErrorNoKey }

// row is what filters look at: the new row, of a DELETE what is left of the old one.
func (c Change) row() Row {
	if c.Type == Delete {
		return c.OldRecord
	}
	return c.Record
}

// Change publishes a row of the first table: INSERT when its reference_id is new to this server, UPDATE after that.
// A missing id is filled in.
func (s *Server) Change(row Row) {
	row = maps.Clone(row)
	reference := cell(row["reference_id"])
	s.mu.Lock()
	id, known := s.rows[reference]
	if !known {
		id = len(s.rows) + 1
		s.rows[reference] = id
	}
	s.mu.Unlock()
	if _, has := row["id"]; !has {
		row["id"] = id
	}
	c := Change{Type: Insert, Record: row}
	if known {
		c.Type, c.OldRecord = Update, Row{"id": row["id"]}
	}
	s.Publish(c)
}

// Publish hands a change to the running poll; who is subscribed when the poll ends gets it, and nobody later.
func (s *Server) Publish(c Change) {
	c.at = s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if c.Table == "" {
		c.Schema, c.Table = s.opts.Tables[0].Schema, s.opts.Tables[0].Name
	}
	s.pending = append(s.pending, c)
	if s.opts.PollInterval == 0 {
		s.flushLocked()
	} else if len(s.pending) == 1 {
		s.poll = time.AfterFunc(s.opts.PollInterval, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.flushLocked()
		})
	}
}

func (s *Server) flushLocked() {
	changes := s.pending
	s.pending = nil
	if s.faults.DropChanges {
		return
	}
	for _, c := range s.conns {
		c.post(func() { c.deliver(changes) })
	}
}

// deliver sends a poll's changes to the channels of one socket that want them.
func (c *conn) deliver(changes []Change) {
	f := c.srv.Faults()
	for _, change := range changes {
		table, ok := c.srv.table(change)
		if !ok {
			continue
		}
		change = change.visible(table)
		for _, ch := range c.audience(change, table) {
			ids := ch.matching(change, table)
			if f.ForeignIDs {
				ids = []int64{1}
			}
			frame := message{topic: ch.topic, event: eventChanges, payload: mustJSON(change.payload(ids, table))}
			c.noise(f, ch)
			c.send(frame)
			if f.DuplicateChanges {
				c.send(frame)
			}
		}
	}
}

// audience is the channels that a change reaches, in the order of their topics so that a seeded run repeats.
func (c *conn) audience(change Change, table Table) []*channel {
	var all []*channel
	for _, ch := range c.channels.candidates(change) {
		if !ch.subscribed || ch.orphaned || len(ch.matching(change, table)) == 0 {
			continue
		}
		if change.Type == Delete || change.toEveryone() || c.srv.opts.Visible(ch.claims.all, change.Record) {
			all = append(all, ch)
		}
	}
	slices.SortFunc(all, func(a, b *channel) int { return strings.Compare(a.topic, b.topic) })
	return slices.Compact(all)
}

// noise sends what a client has to ignore, when asked for.
func (c *conn) noise(f Faults, ch *channel) {
	if f.UnknownEvents {
		c.send(message{joinRef: ch.joinRef, topic: ch.topic, event: "presence_state", payload: mustJSON(object{})})
		c.send(message{topic: "realtime:nobody", event: "tomorrow", payload: mustJSON(object{"x": []int{1}})})
	}
	if f.BinaryFrames && c.vsn == vsn2 {
		c.write(websocket.MessageBinary, []byte("\x04\x01\x01\x02\x01te{}{}"))
	}
	if f.MalformedFrames {
		c.sendRaw([]byte(`[null,null,"` + ch.topic + `",`))
		c.sendRaw([]byte(`{"hello":1}`))
		c.sendRaw([]byte(`[1,2,3]`))
		c.sendRaw([]byte(`[null,null,"` + ch.topic + `","postgres_changes",["not an object"]]`))
	}
}

func (ch *channel) matching(c Change, t Table) []int64 {
	var ids []int64
	for _, b := range ch.bindings {
		if b.wants(c, t) {
			ids = append(ids, b.id)
		}
	}
	return ids
}

// visible is the change as the WAL carries it: old rows are cut to the replica identity.
func (c Change) visible(t Table) Change {
	if c.OldRecord != nil {
		c.OldRecord = pick(c.OldRecord, t.Key)
	}
	return c
}

func pick(row Row, columns []string) Row {
	cut := Row{}
	for _, name := range columns {
		if v, ok := row[name]; ok {
			cut[name] = v
		}
	}
	return cut
}

// payload has the shape of its type: an INSERT has no old_record, a DELETE no record.
func (c Change) payload(ids []int64, t Table) object {
	data := object{
		"schema": t.Schema, "table": t.Name, "type": c.Type, "errors": nil, "columns": t.Columns,
		"commit_timestamp": c.at.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	if c.Type != Delete {
		data["record"] = c.Record
	}
	if c.Type != Insert {
		data["old_record"] = c.OldRecord
	}
	switch {
	case c.toEveryone():
		data["errors"], data["columns"], data["commit_timestamp"] = []string{c.Error}, []Column{}, nil
		data["record"] = Row{}
		if c.Type == Update {
			data["old_record"] = Row{}
		}
	case c.Error != "":
		data["errors"] = []string{c.Error}
		data["record"] = small(c.Record)
	}
	return object{"ids": ids, "data": data}
}

// small keeps the columns whose JSON text is at most 64 bytes; NULLs go too.
func small(row Row) Row {
	cut := Row{}
	for name, v := range row {
		if text, err := json.Marshal(v); v != nil && err == nil && len(text) <= 64 {
			cut[name] = v
		}
	}
	return cut
}

func (s *Server) table(c Change) (Table, bool) {
	for _, t := range s.opts.Tables {
		if t.Schema == c.Schema && t.Name == c.Table {
			return t, true
		}
	}
	return Table{}, false
}
