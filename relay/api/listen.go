package api

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// maxControl is the size of the largest control frame of a client: head, mask and 125 bytes.
const maxControl = 2 + 4 + 125

// pong is the first byte of a pong frame.
const pong = 0x8a

// errDry reports that nothing more of whole frames is there.
var errDry = errors.New("no whole frame")

// inlet is what the WebSocket library reads from. It holds frames back until they are whole, so that
// the library never waits and an idle page's goroutine sleeps in a plain read of the connection. That
// is a quarter of the stack, and stacks are what idle pages are made of.
type inlet struct {
	conn   net.Conn
	buffer [maxControl]byte
	start  int // of what the library has not read
	whole  int // end of the last whole frame
	filled int
	direct bool // a message, or the end: the library may wait
	ponged atomic.Bool
}

// Read implements [io.Reader] for the library.
func (in *inlet) Read(p []byte) (int, error) {
	limit := in.whole
	if in.direct {
		limit = in.filled
	}
	switch {
	case in.start < limit:
		n := copy(p, in.buffer[in.start:limit])
		in.start += n
		return n, nil
	case in.direct:
		return in.conn.Read(p)
	}
	return 0, errDry
}

// look finds the whole frames in what has arrived. A message need not be whole: it is the end.
func (in *inlet) look() {
	for in.whole+2 <= in.filled {
		head := in.buffer[in.whole:in.filled]
		if head[0]&0x8 == 0 || head[1]&0x7f > 125 { // no control frame (RFC 6455, section 5.5)
			in.direct = true
			return
		}
		size := 2 + int(head[1]&0x7f)
		if head[1]&0x80 != 0 {
			size += 4
		}
		if size > len(head) {
			return
		}
		if head[0] == pong {
			in.ponged.Store(true)
			if in.whole == 0 { // taken out: all that an idle page sends
				in.filled = copy(in.buffer[:], head[size:])
				continue
			}
		}
		in.whole += size
	}
}

// fill waits for more from the page. It returns at least one whole frame, or an error.
func (in *inlet) fill() error {
	in.filled = copy(in.buffer[:], in.buffer[in.start:in.filled])
	in.start, in.whole = 0, 0
	for in.look(); in.whole == 0 && !in.direct; in.look() {
		n, err := in.conn.Read(in.buffer[in.filled:])
		if err != nil {
			return err
		}
		in.filled += n
	}
	return nil
}

// listen reads until the connection ends, and ends it when a reason is known. A page has nothing to say
// but pongs and close.
func (p *socket) listen() {
	defer p.server.sockets.remove(p)
	for p.hear() {
	}
}

// hear takes what comes next from the page. It is false at the end of the connection, after which nobody writes.
func (p *socket) hear() bool {
	failed := p.in.fill()
	p.out.turn.Lock() // the library answers
	defer p.out.turn.Unlock()
	if failed != nil {
		p.part()
	} else if _, message, err := p.conn.Reader(context.Background()); errors.Is(err, errDry) { // what it reads is there already
		return true
	} else if err == nil {
		p.refuse(message)
	}
	_ = p.conn.CloseNow()
	return false
}

// part closes with the code that tells the page why. It takes as long as the page takes to answer.
func (p *socket) part() {
	code, text := websocket.StatusCode(0), ""
	switch p.because(gone) {
	case settled:
		code = websocket.StatusNormalClosure
	case stopping:
		code = websocket.StatusServiceRestart
	case silent:
		code, text = closeNoPong, "no pong"
	case expired:
		code, text = closeTokenExpired, "token expired"
	case overbooked:
		code, text = closeTooMany, "too many pages"
	default:
		return
	}
	p.in.direct = true
	if p.in.conn.SetDeadline(time.Now().Add(writeTimeout)) == nil {
		_ = p.conn.Close(code, text)
	}
}

// refuse ends a page that sends a message: too big (1009), or of any size (1008).
func (p *socket) refuse(message io.Reader) {
	p.because(spoke)
	if p.in.conn.SetDeadline(time.Now().Add(writeTimeout)) != nil {
		return
	}
	code := websocket.StatusPolicyViolation
	if _, err := io.Copy(io.Discard, message); errors.Is(err, websocket.ErrMessageTooBig) {
		code = websocket.StatusMessageTooBig
	}
	_ = p.conn.Close(code, "a page has nothing to say")
}
