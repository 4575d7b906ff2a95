package realtimetest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// TB is what [NewServer] needs of a *testing.T: declared here so that a binary with the sandbox in it does not link package testing.
type TB interface {
	Helper()
	Cleanup(f func())
}

// Served is a [Server] on in-memory connections.
type Served struct {
	*Server
	// URL is the project's URL, for a client that dials through [Served.Client].
	URL    string
	listen *pipeListener
}

// NewServer starts a server over net.Pipe, which works inside a testing/synctest bubble too, and stops it when the test ends.
func NewServer(tb TB, o Options) *Served {
	tb.Helper()
	s := &Served{Server: New(o), URL: "http://realtime.test", listen: newPipeListener()}
	web := &http.Server{Handler: s.Server, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(s.listen) })
	tb.Cleanup(func() {
		_ = web.Close()
		s.Close()
		serving.Wait()
	})
	return s
}

// Client dials the server in memory, whatever the host of the URL.
func (s *Served) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // an idle connection's goroutines would outlive a bubble
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.listen.dial(ctx)
		},
	}}
}

var errListenerClosed = errors.New("realtimetest: server closed")

type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, errListenerClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, http.ErrServerClosed
	}
}

// Close implements [net.Listener].
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "realtime.test" }
