package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
)

// writeBuffer is where the library puts a frame together; that several leave in one write is up to the outlet.
const writeBuffer = 256

// frugal is a ResponseWriter for an upgrade. Its Hijack gives small buffers instead of the server's 4 KiB ones, so
// that ten thousand idle pages hold little more than their goroutines. The answer to the upgrade does not
// leave at once but with the page's first message: a crowd that comes back costs a third of the writes.
type frugal struct {
	*echo.Response

	in  *inlet  // after Hijack
	out *outlet // likewise
}

// WriteHeader implements [http.ResponseWriter].
func (f *frugal) WriteHeader(code int) {
	if code == http.StatusSwitchingProtocols {
		f.Status = code
	} else {
		f.Response.WriteHeader(code)
	}
}

// upgrade is the answer to the request (RFC 6455, section 4.2.2).
func (f *frugal) upgrade() []byte {
	answer := bytes.NewBuffer(make([]byte, 0, 1<<10)) // and room for the first messages
	answer.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = f.Header().Write(answer) // a buffer takes everything
	answer.WriteString("\r\n")
	return answer.Bytes()
}

// Hijack implements [http.Hijacker].
func (f *frugal) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, large, err := f.Response.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over connection: %w", err)
	}
	f.Committed = true
	f.in, f.out = &inlet{conn: conn}, &outlet{conn: conn, kept: f.upgrade()}
	ahead, _ := large.Peek(large.Reader.Buffered()) // what the page has sent already
	if len(ahead) > len(f.in.buffer) {
		_ = conn.Close()
		return nil, nil, errors.New("a page has nothing to say, and says it before the handshake")
	}
	f.in.filled = copy(f.in.buffer[:], ahead)
	return inletConn{conn, f.in}, bufio.NewReadWriter(bufio.NewReaderSize(nil, 0), bufio.NewWriterSize(f.out, writeBuffer)), nil
}

// inletConn is the connection as the library has it.
type inletConn struct {
	net.Conn

	in *inlet
}

// Read implements [net.Conn].
func (c inletConn) Read(p []byte) (int, error) { return c.in.Read(p) }
