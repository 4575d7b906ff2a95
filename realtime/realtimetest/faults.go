package realtimetest

import (
	"encoding/json"

	"github.com/coder/websocket"
)

// Faults are switches for what the real service is known to do. The zero value is a healthy service.
type Faults struct {
	// Down ends every new connection before it is answered. Cut the open ones with [Server.DropAll].
	Down bool `json:"down"`
	// ConnectStatus, unless zero, answers every upgrade, with ConnectError as the body's `error`.
	ConnectStatus int    `json:"connect_status"`
	ConnectError  string `json:"connect_error"`
	// JoinError is the reason that every join is refused with.
	JoinError string `json:"join_error"`
	// MuteJoins leaves every join without a reply, MuteSystem every subscription without a confirmation, MuteHeartbeats heartbeats without an answer.
	MuteJoins      bool `json:"mute_joins"`
	MuteSystem     bool `json:"mute_system"`
	MuteHeartbeats bool `json:"mute_heartbeats"`
	// WrongEcho and EmptyEcho accept joins with bindings that are not the requested ones, or with none.
	WrongEcho bool `json:"wrong_echo"`
	EmptyEcho bool `json:"empty_echo"`
	// SystemError replaces every confirmation; the channel stays joined.
	SystemError string `json:"system_error"`
	// Deaf keeps sockets open and answers nothing at all; Stalled does not even read, so that the client's writes block.
	Deaf    bool `json:"deaf"`
	Stalled bool `json:"stalled"`
	// IgnoreTokens takes pushed tokens without effect and without a confirmation.
	IgnoreTokens bool `json:"ignore_tokens"`
	// DropChanges loses every row change silently, DuplicateChanges sends each twice.
	DropChanges      bool `json:"drop_changes"`
	DuplicateChanges bool `json:"duplicate_changes"`
	// ForeignIDs sends row changes with the id of nobody's binding, 1.
	ForeignIDs bool `json:"foreign_ids"`
	// UnknownEvents, BinaryFrames and MalformedFrames go before each row change.
	UnknownEvents   bool `json:"unknown_events"`
	BinaryFrames    bool `json:"binary_frames"`
	MalformedFrames bool `json:"malformed_frames"`
}

// Faults returns the switches as they are.
func (s *Server) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

func (f Faults) echo(honest []json.RawMessage) []json.RawMessage {
	switch {
	case f.EmptyEcho:
		return []json.RawMessage{}
	case f.WrongEcho:
		return []json.RawMessage{json.RawMessage(`{"event":"*","schema":"public","table":"checkout_payment_intent_public_status","filter":"x=eq.1","id":1}`)}
	}
	return honest
}

// SetFaults replaces all switches at once.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Crash ends a channel with phx_error. Topics in this and the following methods are without the `realtime:` prefix;
// an empty topic means every channel.
func (s *Server) Crash(topic string) {
	s.eachChannel(topic, func(c *conn, ch *channel) {
		ch.stop()
		c.channels.remove(ch)
		c.send(message{joinRef: ch.joinRef, ref: ch.joinRef, topic: ch.topic, event: eventError, payload: mustJSON(object{"reason": "channel_crash"})})
	})
}

// Expel ends a channel with a `system` error of this text and phx_close.
func (s *Server) Expel(topic, text string) {
	s.eachChannel(topic, func(c *conn, ch *channel) { c.expel(ch, text) })
}

// System sends a `system` message about the change feed; with any status but "ok" no more changes reach the channel.
func (s *Server) System(topic, status, text string) {
	s.eachChannel(topic, func(c *conn, ch *channel) {
		ch.subscribed = status == "ok"
		c.system(ch, eventChanges, status, text)
	})
}

// StaleClose sends a phx_close of a join that never was the present one.
func (s *Server) StaleClose(topic string) {
	s.eachChannel(topic, func(c *conn, ch *channel) {
		old := "0"
		c.send(message{joinRef: &old, ref: &old, topic: ch.topic, event: eventClose, payload: mustJSON(object{})})
	})
}

// Forget drops a channel without telling the client; its next message is answered with "unmatched topic".
func (s *Server) Forget(topic string) {
	s.eachChannel(topic, func(c *conn, ch *channel) {
		ch.stop()
		c.channels.remove(ch)
	})
}

// Orphan loses a channel's subscription: it stays joined and hears nothing until it rejoins or pushes another token.
func (s *Server) Orphan(topic string) {
	s.eachChannel(topic, func(_ *conn, ch *channel) { ch.orphaned = true })
}

// Drain is an operator's disconnect: a `system` message without a channel, then close 1012.
func (s *Server) Drain() {
	s.each(func(c *conn) {
		c.post(func() {
			for _, ch := range c.channels.byTopic {
				c.send(message{topic: ch.topic, event: eventSystem, payload: mustJSON(object{
					"extension": "system", "status": "ok", "message": "Server requested disconnect",
				})})
			}
			c.close(websocket.StatusServiceRestart)
		})
	})
}

// CloseAll ends every socket with a close code.
func (s *Server) CloseAll(code int) {
	s.each(func(c *conn) {
		c.post(func() { c.close(websocket.StatusCode(code)) })
	})
}

// SendText sends a text frame as it is to every connection, SendBinary a binary one.
func (s *Server) SendText(frame string) {
	s.each(func(c *conn) { c.post(func() { c.sendRaw([]byte(frame)) }) })
}

// SendBinary is described at [Server.SendText].
func (s *Server) SendBinary(frame []byte) {
	s.each(func(c *conn) { c.post(func() { c.write(websocket.MessageBinary, frame) }) })
}

func (s *Server) eachChannel(topic string, f func(*conn, *channel)) {
	s.each(func(c *conn) {
		c.post(func() {
			for _, ch := range c.channels.byTopic {
				if topic == "" || ch.sub() == topic {
					f(c, ch)
				}
			}
		})
	})
}
