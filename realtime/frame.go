package realtime

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrFrame reports a text frame that is not of `vsn` 2.0.0 (§2.1). Ignore the frame and keep the socket.
var ErrFrame = errors.New("realtime: malformed frame")

// Frame is one message of the 2.0.0 serializer, `[join_ref, ref, topic, event, payload]`. Empty refs are null on the wire.
type Frame struct {
	JoinRef, Ref string
	Topic, Event string
	Payload      json.RawMessage
}

// DecodeFrame reads a text frame. Elements beyond the fifth are ignored.
func DecodeFrame(data []byte) (Frame, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return Frame{}, fmt.Errorf("%w: not a JSON array", ErrFrame)
	}
	if len(parts) < 5 {
		return Frame{}, fmt.Errorf("%w: %d elements", ErrFrame, len(parts))
	}
	f := Frame{Payload: parts[4]}
	for i, target := range []*string{&f.JoinRef, &f.Ref, &f.Topic, &f.Event} {
		if i >= 2 && string(parts[i]) == "null" {
			return Frame{}, fmt.Errorf("%w: element %d is null", ErrFrame, i)
		}
		if err := json.Unmarshal(parts[i], target); err != nil {
			return Frame{}, fmt.Errorf("%w: element %d is not a string", ErrFrame, i)
		}
	}
	return f, nil
}

// Encode writes the frame with exactly five elements.
func (f Frame) Encode() ([]byte, error) {
	payload := f.Payload
	if payload == nil {
		payload = json.RawMessage("{}")
	}
	data, err := json.Marshal([]any{nullable(f.JoinRef), nullable(f.Ref), f.Topic, f.Event, payload})
	if err != nil {
		return nil, fmt.Errorf("encode frame: %w", err)
	}
	return data, nil
}

func nullable(ref string) *string {
	if ref == "" {
		return nil
	}
	return &ref
}
