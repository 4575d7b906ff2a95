package api

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// writeBuffer is room for a status message, so that it is one write.
const writeBuffer = 256

// frugal is a ResponseWriter whose Hijack gives small buffers instead of the server's 4 KiB ones, so
// that ten thousand idle pages hold little more than their goroutines.
type frugal struct {
	http.ResponseWriter

	in  *inlet  // after Hijack
	out *outlet // likewise
}

// Hijack implements [http.Hijacker].
func (f *frugal) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, large, err := http.NewResponseController(f.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over connection: %w", err)
	}
	f.in, f.out = &inlet{conn: conn}, &outlet{conn: conn}
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
