package realtime

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	heartbeatEvery  = 15 * time.Second
	heartbeatWithin = 5 * time.Second // to answer; the server holds everything back 5 s behind each failing join (§3.4)
	joinHoldback    = 5 * time.Second
	emptySocketFor  = 30 * time.Second
	goodbyeWithin   = 2 * time.Second // to answer a close frame
	outgoing        = 1024            // frames; a socket that lets more pile up is dead
)

// socket is one connection. The Feed's loop owns it, except for conn, which its two goroutines use.
type socket struct {
	number int
	apart  bool // for channels whose join has failed
	open   bool
	legs   map[string]*follower // by wire topic

	joins    int // sent and not answered
	openedAt time.Time
	emptyAt  time.Time

	beat    pulse
	alarm   *deadline
	out     chan []byte
	stop    context.CancelFunc // at once, without a close frame
	leaving bool
}

// pulse is the heartbeat of a socket (§5).
type pulse struct {
	nextAt   time.Time
	ref      string // of the one that is not answered yet
	sentAt   time.Time
	answerBy time.Time
}

func (p pulse) due() time.Time {
	if p.ref != "" {
		return p.answerBy
	}
	return p.nextAt
}

// sent starts the wait for an answer, longer by what the joins ahead of it may be held back.
func (p pulse) sent(ref string, now time.Time, joinsAhead int) pulse {
	return pulse{ref: ref, sentAt: now, nextAt: now.Add(heartbeatEvery), answerBy: now.Add(heartbeatWithin + time.Duration(joinsAhead)*joinHoldback)}
}

// What a socket's goroutines tell the loop.
type (
	socketOpened struct{ s *socket }
	socketClosed struct {
		s   *socket
		err error // of the dial or of the read that ended it
	}
	frameCame struct {
		s     *socket
		frame Frame
		body  any // reply, system, change, or nil
	}
	frameIgnored struct{ what string }
)

// runSocket dials, then reads until the connection ends; a second goroutine writes.
func (f *Feed) runSocket(ctx context.Context, s *socket) {
	defer s.stop()
	conn, err := dial(ctx, f.client, f.endpoint)
	if err != nil {
		f.tell(socketClosed{s, err})
		return
	}
	defer func() { _ = conn.CloseNow() }()
	f.tell(socketOpened{s})
	var writer sync.WaitGroup
	writer.Go(func() { writeSocket(ctx, conn, s.out) })
	defer writer.Wait()
	err = f.readSocket(ctx, conn, s)
	s.stop()
	f.tell(socketClosed{s, err})
}

// writeSocket sends what the loop queues, and a close frame when the loop closes the queue.
func writeSocket(ctx context.Context, conn *websocket.Conn, out <-chan []byte) {
	for {
		select {
		case <-ctx.Done():
			return
		case data, ok := <-out:
			if !ok {
				_ = conn.Close(websocket.StatusNormalClosure, "")
				return
			}
			if conn.Write(ctx, websocket.MessageText, data) != nil { // one that blocks is ended by a heartbeat's deadline
				_ = conn.CloseNow()
				return
			}
		}
	}
}

func (f *Feed) readSocket(ctx context.Context, conn *websocket.Conn, s *socket) error {
	var message bytes.Buffer // of one after the other: what is decoded keeps nothing of it
	for {
		kind, reader, err := conn.Reader(ctx)
		if err != nil {
			return err
		}
		message.Reset()
		if _, err = message.ReadFrom(reader); err != nil {
			return err
		}
		if kind != websocket.MessageText {
			f.tell(frameIgnored{"binary"}) // never used for postgres_changes (§2.5)
			continue
		}
		f.tell(decode(s, message.Bytes()))
		if message.Cap() > shortFrame { // seldom: do not keep room for the longest frame ever
			message = bytes.Buffer{}
		}
	}
}

// decode reads a frame on the socket's own goroutine, so that the loop only decides.
func decode(s *socket, data []byte) any {
	if frame, c, ok := decodeChangeFrame(data); ok {
		return frameCame{s, frame, c}
	}
	frame, err := DecodeFrame(data)
	if err != nil {
		return frameIgnored{"malformed"}
	}
	came := frameCame{s: s, frame: frame}
	switch frame.Event {
	case eventReply:
		came.body, err = decodeReply(frame.Payload)
	case eventSystem:
		came.body, err = decodeSystem(frame.Payload)
	case eventChanges:
		came.body, err = decodeChange(frame.Payload)
	case eventClose, eventError:
	default:
		return frameIgnored{"unknown_event"}
	}
	if err != nil {
		return frameIgnored{"malformed"}
	}
	return came
}

// closeWord says why a socket ended, in a bounded set of words.
func closeWord(err error) string {
	var upgrade *UpgradeError
	switch code := websocket.CloseStatus(err); {
	case errors.As(err, &upgrade):
		return "http_" + strconv.Itoa(upgrade.Status)
	case errors.Is(err, errDeaf):
		return "heartbeat"
	case errors.Is(err, websocket.ErrMessageTooBig):
		return "too_big"
	case code >= 1000 && code <= 1015:
		return "close_" + strconv.Itoa(int(code))
	case code > 0:
		return "close_other"
	}
	return "connection"
}
