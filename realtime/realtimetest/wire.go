package realtimetest

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Serializer versions, the `vsn` of the URL.
const (
	vsn1 = 1 // objects; frames to the client carry no join_ref
	vsn2 = 2 // arrays of five
)

// Events of the protocol, as they stand on the wire.
const (
	eventJoin        = "phx_join"
	eventLeave       = "phx_leave"
	eventReply       = "phx_reply"
	eventClose       = "phx_close"
	eventError       = "phx_error"
	eventHeartbeat   = "heartbeat"
	eventAccessToken = "access_token"
	eventSystem      = "system"
	eventChanges     = "postgres_changes"
)

var errFrame = errors.New("not a frame of this serializer")

// message is one frame in either direction. Nil refs are null on the wire.
type message struct {
	joinRef, ref *string
	topic, event string
	payload      json.RawMessage
}

// decode reads a client's text frame. Numbers are accepted as refs, because Phoenix echoes whatever it is given.
func decode(vsn int, data []byte) (message, error) {
	if vsn == vsn1 {
		return decodeV1(data)
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return message{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	if len(parts) < 5 {
		return message{}, fmt.Errorf("%w: %d elements", errFrame, len(parts))
	}
	var m message
	for i, target := range []any{&m.joinRef, &m.ref, &m.topic, &m.event} {
		if err := json.Unmarshal(parts[i], target); err != nil {
			return message{}, fmt.Errorf("%w: element %d: %w", errFrame, i, err)
		}
	}
	m.payload = parts[4]
	return m, nil
}

func decodeV1(data []byte) (message, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return message{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	var m message
	for name, target := range map[string]any{"topic": &m.topic, "event": &m.event, "ref": &m.ref, "join_ref": &m.joinRef, "payload": &m.payload} {
		raw, ok := object[name]
		if !ok && name != "join_ref" {
			return message{}, fmt.Errorf("%w: no %s", errFrame, name)
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, target); err != nil {
			return message{}, fmt.Errorf("%w: %s: %w", errFrame, name, err)
		}
	}
	return m, nil
}

// encode writes a frame to the client: exactly five elements, or exactly the four keys of version 1.
func encode(vsn int, m message) ([]byte, error) {
	if vsn == vsn1 {
		return json.Marshal(struct {
			Topic   string          `json:"topic"`
			Event   string          `json:"event"`
			Payload json.RawMessage `json:"payload"`
			Ref     *string         `json:"ref"`
		}{m.topic, m.event, m.payload, m.ref})
	}
	return json.Marshal([]any{m.joinRef, m.ref, m.topic, m.event, m.payload})
}

// object is shorthand for payloads built in code.
type object = map[string]any

// reply answers m with a status and a response.
func (m message) reply(status string, response any) message {
	return message{joinRef: m.joinRef, ref: m.ref, topic: m.topic, event: eventReply, payload: mustJSON(object{"status": status, "response": response})}
}

// mustJSON marshals values made of this package's own maps, strings and numbers, and of rows, which were checked when they came in.
func mustJSON(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("realtimetest: %v", err))
	}
	return data
}
