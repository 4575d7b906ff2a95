package relay

import (
	"encoding/json"
	"strconv"
)

// encode makes the page message of a status (contract, section 4).
func (s PageStatus) encode() []byte {
	return mustEncode(struct {
		Type     string  `json:"type"`
		ID       string  `json:"id"`
		Version  int64   `json:"version"`
		Status   *string `json:"status"`
		Outcome  Outcome `json:"outcome"`
		Verified bool    `json:"verified"`
		Final    bool    `json:"final"`
		Via      Via     `json:"via"`
		At       string  `json:"at"` // a text costs half of what a [json.Marshaler] does, on the way of every hint
	}{"status", s.ID, s.Version, orNull(s.Status), s.Outcome, s.Verified, s.Final, s.Via, Time(s.At).String()})
}

// position names the state: its version, and for a hint, which has no version of its own, when it was heard.
func (s PageStatus) position() string {
	name := strconv.AppendInt(make([]byte, 0, 32), s.Version, 10)
	if s.Via == ViaRealtime {
		name = strconv.AppendInt(append(name, 'h'), s.At.UnixMilli(), 10)
	}
	return string(name)
}

// encode makes the page message of a link.
func (l Link) encode() []byte {
	return mustEncode(struct {
		Type string `json:"type"`
		Link *Link  `json:"link"`
	}{"link", orNull(l)})
}

// mustEncode encodes structs of strings, numbers and times, which cannot fail.
func mustEncode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic("relay: encode page message: " + err.Error())
	}
	return body
}
