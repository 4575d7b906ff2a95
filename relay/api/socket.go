package api

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/relay"
)

// socket is an open page on a WebSocket. It is as small as can be, for most of its life it only waits:
// one goroutine reads, the crew writes when something is due, and the sweep keeps the time.
type socket struct {
	server    *Server
	conn      *websocket.Conn
	in        *inlet
	out       *outlet
	page      *relay.Page // nil if the page was upgraded only to be told why not
	paymentID string

	// Under the mutex of [sockets].
	upkeep upkeep
	next   time.Time
	place  int // in the heap; -1: not in it

	mu      sync.Mutex
	due     duty
	working bool // the crew has it, or it is not open yet
	heldUp  bool // whoever has it waits for it, or did
	reason  why  // why it ends; the first one counts
}

// newSocket returns a page that is not accepted yet: what becomes due meanwhile waits for [sockets.open].
func (s *Server) newSocket(paymentID string) *socket {
	return &socket{server: s, paymentID: paymentID, place: -1, working: true}
}

// news is the hub's notice.
func (p *socket) news() { p.need(dutyNews) }

// need has the crew do something for the page.
func (p *socket) need(d duty) {
	p.mu.Lock()
	p.due |= d
	idle := !p.working
	p.working = true
	p.mu.Unlock()
	if idle {
		p.server.sockets.crew.enqueue(p)
	}
}

// end has the page closed for a reason, unless there is one already.
func (p *socket) end(reason why) {
	p.because(reason)
	p.need(dutyClose)
}

// because keeps the first reason for which the page ends, and returns it.
func (p *socket) because(reason why) why {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == "" {
		p.reason = reason
	}
	return p.reason
}

// attend does what is due until nothing is, and reports whether the page had to be waited for. Only one member of the crew
// does it at a time.
func (p *socket) attend() (heldUp bool) {
	for {
		p.mu.Lock()
		due, reason := p.due, p.reason
		p.due = 0
		p.working = due != 0
		if due == 0 {
			heldUp, p.heldUp = p.heldUp, false
		}
		p.mu.Unlock()
		switch {
		case due == 0:
			return heldUp
		case reason == "":
			p.write(due)
		case due&dutyClose != 0:
			p.interrupt(reason)
		}
	}
}

// holdUp lets another member of the crew take the place of the one that has to wait for this page.
func (p *socket) holdUp() {
	p.mu.Lock()
	first := !p.heldUp
	p.heldUp = true
	p.mu.Unlock()
	if first {
		p.server.sockets.crew.replace()
	}
}

// write writes what is due at once: always the newest state, whatever was missed before it.
func (p *socket) write(due duty) {
	p.out.take(p.holdUp)
	final, err := p.gather(due)
	err = errors.Join(err, p.out.flush())
	p.out.give()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.end(slow)
	case err != nil:
		p.end(gone)
	case final:
		p.end(settled)
	}
}

func (p *socket) gather(due duty) (final bool, err error) {
	if due&dutyNews != 0 {
		final, err = p.server.sendNews(p.page, p)
	}
	if due&dutyToken != 0 && err == nil && !final {
		err = p.server.sendToken(p.paymentID, p)
	}
	if due&dutyPing != 0 && err == nil && !final {
		err = p.ping()
	}
	return final, err
}

// send implements [connection].
func (p *socket) send(_ string, body []byte, _ int64) error {
	return p.conn.Write(context.Background(), websocket.MessageText, body) // a context with an end would cost a goroutine
}

// ping writes both pings: a text frame with the message that scripts see, and a ping frame. The
// library's own Ping would hold a goroutine until the pong.
func (p *socket) ping() error {
	const message = `{"type":"ping"}`
	if _, err := p.out.Write([]byte("\x81\x0f" + message + "\x89\x00")); err != nil { // \x0f: 15 bytes
		return err
	}
	p.server.Monitor.PageMessage("ping")
	return nil
}

// interrupt makes the page's own goroutine end the connection.
func (p *socket) interrupt(reason why) {
	if reason == gone || reason == slow {
		_ = p.in.conn.Close()
	} else {
		_ = p.in.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// leave counts the page out.
func (p *socket) leave() {
	if p.page != nil {
		p.server.Payments.ClosePage(p.page)
	}
	p.server.open.leave(webSocket)
	p.server.Monitor.PageClosed(string(p.because(gone)))
}
