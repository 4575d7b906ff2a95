package realtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// The names of events (§2.4).
const (
	eventJoin      = "phx_join"
	eventLeave     = "phx_leave"
	eventReply     = "phx_reply"
	eventClose     = "phx_close"
	eventError     = "phx_error"
	eventHeartbeat = "heartbeat"
	eventToken     = "access_token"
	eventSystem    = "system"
	eventChanges   = "postgres_changes"

	topicPhoenix = "phoenix" // heartbeats
)

// extensionChanges marks a `system` message about the database subscription.
const extensionChanges = "postgres_changes"

var errPayload = errors.New("realtime: malformed payload")

// bindingRequest is the one subscription of each channel. `filter` and `table` are never null or empty, which would mean
// an error or the whole table (§3.1, C5).
type bindingRequest struct {
	Event  string `json:"event"`
	Schema string `json:"schema"`
	Table  string `json:"table"`
	Filter string `json:"filter"`
}

func (t Target) binding() bindingRequest {
	return bindingRequest{Event: "*", Schema: Schema, Table: Table, Filter: t.Filter()}
}

// joinPayload is phx_join's payload, key for key what the official client sends (§3.1).
type joinPayload struct {
	Config struct {
		Broadcast struct {
			Ack  bool `json:"ack"`
			Self bool `json:"self"`
		} `json:"broadcast"`
		Presence struct {
			Key     string `json:"key"`
			Enabled bool   `json:"enabled"`
		} `json:"presence"`
		Changes []bindingRequest `json:"postgres_changes"`
		Private bool             `json:"private"`
	} `json:"config"`
	AccessToken string `json:"access_token"`
}

func newJoinPayload(t Target, token string) joinPayload {
	p := joinPayload{AccessToken: token}
	p.Config.Changes = []bindingRequest{t.binding()}
	return p
}

// reply is phx_reply: the answer to a join, a leave or a heartbeat.
type reply struct {
	ok     bool
	reason string         // of an error, verbatim
	echoes []bindingReply // of a join
}

type bindingReply struct {
	bindingRequest
	ID *int64 `json:"id"`
}

func decodeReply(payload json.RawMessage) (reply, error) {
	var p struct {
		Status   string          `json:"status"`
		Response json.RawMessage `json:"response"`
	}
	if json.Unmarshal(payload, &p) != nil || p.Status == "" {
		return reply{}, errPayload
	}
	r := reply{ok: p.Status == "ok"}
	// Both are optional, and an odd shape counts as absent: no echo fails the join, no reason is an unknown one.
	var response struct {
		Reason  json.RawMessage `json:"reason"`
		Changes json.RawMessage `json:"postgres_changes"`
	}
	_ = json.Unmarshal(p.Response, &response)
	_ = json.Unmarshal(response.Reason, &r.reason)
	if json.Unmarshal(response.Changes, &r.echoes) != nil {
		r.echoes = nil
	}
	return r, nil
}

// bindingID checks the echo of a join positionally (§3.2, C8) and returns the id that changes will carry.
func (r reply) bindingID(want bindingRequest) (int64, bool) {
	if len(r.echoes) == 0 || r.echoes[0].bindingRequest != want || r.echoes[0].ID == nil {
		return 0, false
	}
	return *r.echoes[0].ID, true
}

// system is a `system` message (§3.3, §6).
type system struct {
	Channel   string `json:"channel"`
	Extension string `json:"extension"`
	Message   string `json:"message"`
	Status    string `json:"status"`
}

func decodeSystem(payload json.RawMessage) (system, error) {
	var s system
	if json.Unmarshal(payload, &s) != nil || s.Status == "" {
		return system{}, errPayload
	}
	return s, nil
}

// change is what the Feed reads of a postgres_changes payload (§4). Other columns are not looked at, so no number is ever rounded.
type change struct {
	ids         []int64
	kind        string // INSERT, UPDATE, DELETE
	referenceID string
	status      string
}

// changePayload is the part of a postgres_changes payload that is read. What may have any shape is left as it is.
type changePayload struct {
	IDs  []json.RawMessage `json:"ids"`
	Data *struct {
		Type   string          `json:"type"`
		Errors json.RawMessage `json:"errors"`
		Record struct {
			ReferenceID json.RawMessage `json:"reference_id"`
			Status      json.RawMessage `json:"status"`
		} `json:"record"`
	} `json:"data"`
}

func decodeChange(payload json.RawMessage) (change, error) {
	var p changePayload
	if json.Unmarshal(payload, &p) != nil || p.Data == nil {
		return change{}, errPayload
	}
	c := change{kind: p.Data.Type}
	for _, raw := range p.IDs {
		c.addID(string(raw))
	}
	c.referenceID = text(p.Data.Record.ReferenceID)
	if len(p.Data.Errors) == 0 || string(p.Data.Errors) == "null" || string(p.Data.Errors) == "[]" {
		c.status = text(p.Data.Record.Status) // a cut record is a reason to ask, not a status (C15)
	}
	return c, nil
}

// shortFrame is the longest frame, in bytes, that is read the short way, which bounds nesting by nothing else. Those of one row have
// about 800.
const shortFrame = 64 << 10

// decodeChangeFrame reads a frame with a row change at once, in half the time that [DecodeFrame] and [decodeChange] take one
// after the other: this is on the way of every hint. It says false of any other frame, and of those that need a closer look.
func decodeChangeFrame(data []byte) (f Frame, c change, ok bool) {
	if len(data) > shortFrame || !bytes.Contains(data, []byte(`"`+eventChanges+`"`)) || !gjson.ValidBytes(data) {
		return f, c, false
	}
	parts := gjson.ParseBytes(data).Array()
	if len(parts) != 5 || parts[3].Str != eventChanges {
		return f, c, false
	}
	for i, target := range []*string{&f.JoinRef, &f.Ref, &f.Topic, &f.Event} {
		if *target = parts[i].Str; *target == "" && (i >= 2 || parts[i].Type != gjson.Null) {
			return Frame{}, c, false
		}
	}
	ids, row := parts[4].Get("ids"), parts[4].Get("data")
	record, errs := row.Get("record"), row.Get("errors")
	c.kind = row.Get("type").Str
	if !ids.IsArray() || c.kind == "" || record.Exists() && !record.IsObject() {
		return Frame{}, change{}, false
	}
	for _, id := range ids.Array() {
		c.addID(id.Raw)
	}
	c.referenceID = record.Get("reference_id").Str
	if errs.Type == gjson.Null || errs.Raw == "[]" {
		c.status = strings.Clone(record.Get("status").Str) // it is kept, the frame is not
	}
	return f, c, true
}

// addID adds an id as it was written. Only numbers count, as in the official client.
func (c *change) addID(raw string) {
	if id, err := strconv.ParseInt(raw, 10, 64); err == nil {
		c.ids = append(c.ids, id)
	}
}

// text is a JSON string; anything else is empty.
func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}
