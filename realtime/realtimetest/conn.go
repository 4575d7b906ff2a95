package realtimetest

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// conn is one socket. Its loop alone touches the fields below mu; others post functions to it.
type conn struct {
	srv   *Server
	id    int
	ws    *websocket.Conn
	vsn   int
	token string // connect-time token, for joins without one
	end   context.CancelFunc
	ended <-chan struct{}
	// patience bounds one write: a client that does not read for 10 s is cut.
	patience func() (context.Context, context.CancelFunc)

	mu     sync.Mutex
	posted []func()
	wake   chan struct{}

	channels roster
	alive    chan struct{} // the client has sent something
}

func newConn(ctx context.Context, s *Server, id int, ws *websocket.Conn, vsn int, token string, end context.CancelFunc) *conn {
	return &conn{
		srv: s, id: id, ws: ws, vsn: vsn, token: token, end: end, ended: ctx.Done(),
		patience: func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 10*time.Second) },
		wake:     make(chan struct{}, 1), channels: newRoster(), alive: make(chan struct{}, 1),
	}
}

// post has f run by the connection's loop. It never blocks.
func (c *conn) post(f func()) {
	c.mu.Lock()
	c.posted = append(c.posted, f)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// drop cuts the connection from any goroutine.
func (c *conn) drop() { c.end() }

// run is the transport: it handles one thing at a time, so a join that is held back blocks everything of this socket.
func (c *conn) run(ctx context.Context) {
	var reader sync.WaitGroup
	frames := make(chan []byte)
	reader.Go(func() { c.read(ctx, frames) })
	defer reader.Wait()
	defer c.stopTimers()
	defer func() { _ = c.ws.CloseNow() }()
	defer c.end()

	idle := newIdle(c.srv.opts.IdleTimeout)
	defer idle.Stop()
	for ctx.Err() == nil {
		deaf := c.srv.Faults().Deaf
		select {
		case <-ctx.Done():
		case data, ok := <-frames:
			if !ok {
				return
			}
			if !deaf {
				c.handle(data) //nolint:contextcheck // it goes through c.patience
			}
		case <-c.wake:
			c.runPosted(deaf)
		case <-c.alive:
			idle.Reset(c.srv.opts.IdleTimeout)
		case <-idle.C:
			c.close(websocket.StatusNormalClosure)
		}
	}
}

// newIdle is the idle timer; with no time-out it is one that is practically never due.
func newIdle(d time.Duration) *time.Timer {
	if d <= 0 {
		d = 365 * 24 * time.Hour
	}
	return time.NewTimer(d)
}

func (c *conn) runPosted(deaf bool) {
	c.mu.Lock()
	posted := c.posted
	c.posted = nil
	c.mu.Unlock()
	for _, f := range posted {
		if !deaf {
			f()
		}
	}
}

func (c *conn) read(ctx context.Context, frames chan<- []byte) {
	defer close(frames)
	for {
		for c.srv.Faults().Stalled && ctx.Err() == nil {
			sleep(ctx.Done(), 100*time.Millisecond)
		}
		kind, data, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		select {
		case c.alive <- struct{}{}:
		default:
		}
		if kind != websocket.MessageText {
			continue // nothing that a client of postgres_changes needs to send
		}
		c.srv.opts.OnFrame(Frame{Conn: c.id, FromClient: true, Data: data})
		select {
		case frames <- data:
		case <-ctx.Done():
			return
		}
	}
}

// handle answers one client frame; malformed ones are ignored and the connection kept.
func (c *conn) handle(data []byte) {
	m, err := decode(c.vsn, data)
	if err != nil {
		return
	}
	switch {
	case m.topic == "phoenix" && m.event == eventHeartbeat:
		if !c.srv.Faults().MuteHeartbeats {
			c.send(m.reply("ok", object{}))
		}
	case m.event == eventJoin:
		c.join(m)
	default:
		c.toChannel(m)
	}
}

// toChannel handles a frame that presupposes a join.
func (c *conn) toChannel(m message) {
	ch, ok := c.channels.byTopic[m.topic]
	if !ok {
		m.joinRef = nil
		if m.event == eventLeave {
			c.send(m.reply("ok", object{}))
			return
		}
		c.send(m.reply("error", object{"reason": "unmatched topic"}))
		return
	}
	switch m.event {
	case eventLeave:
		if ch.joinRef != nil && (m.joinRef == nil || *m.joinRef != *ch.joinRef) {
			return // a leave of an older join: dropped without a reply
		}
		c.send(m.reply("ok", object{}))
		c.closeChannel(ch)
	case eventAccessToken:
		c.accessToken(ch, m.payload)
	}
}

func (c *conn) send(m message) {
	data, err := encode(c.vsn, m)
	if err != nil {
		return // a row that cannot be JSON was refused where it came in
	}
	c.sendRaw(data)
}

func (c *conn) sendRaw(data []byte) {
	c.srv.opts.OnFrame(Frame{Conn: c.id, Data: data})
	c.write(websocket.MessageText, data)
}

func (c *conn) write(kind websocket.MessageType, data []byte) {
	ctx, cancel := c.patience()
	defer cancel()
	if err := c.ws.Write(ctx, kind, data); err != nil {
		c.end()
	}
}

// close ends the socket with a close frame; the real service leaves the reason empty.
func (c *conn) close(code websocket.StatusCode) {
	_ = c.ws.Close(code, "")
	c.end()
}

func (c *conn) stopTimers() {
	for _, ch := range c.channels.byTopic {
		ch.stop()
	}
}
