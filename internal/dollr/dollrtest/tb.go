package dollrtest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Running is a [Server] that a test can reach.
type Running struct {
	*Server
	URL    string
	client *http.Client
	opened *atomic.Int64
}

// Start serves a new stand-in over net.Pipe until the test ends. Use it inside of a synctest bubble, where a loopback
// socket would hang, and wherever no real socket is needed. Only [Running.Client] reaches it.
func Start(tb testing.TB, opts Options) *Running {
	tb.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }}
	return serve(tb, New(opts), l, "http://localhost", transport)
}

// Listen serves a new stand-in on a loopback socket until the test ends.
func Listen(tb testing.TB, opts Options) *Running {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("dollrtest: listen: %v", err)
	}
	return serve(tb, New(opts), l, "http://"+l.Addr().String(), &http.Transport{})
}

func serve(tb testing.TB, s *Server, l net.Listener, url string, transport *http.Transport) *Running {
	tb.Helper()
	opened := &atomic.Int64{}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, to http.ConnState) {
		if to == http.StateNew {
			opened.Add(1)
		}
	}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("dollrtest: serve: %v", err)
		}
	})
	return &Running{Server: s, URL: url, client: &http.Client{Transport: transport}, opened: opened}
}

// Connections is how many were opened so far.
func (r *Running) Connections() int { return int(r.opened.Load()) }

// Client returns an HTTP client that reaches the stand-in.
func (r *Running) Client() *http.Client { return r.client }

// ClientOptions are the options of a [dollr.Client] of this stand-in.
func (r *Running) ClientOptions() dollr.Options {
	return dollr.Options{
		BaseURL: r.URL, ClientID: r.opts.ClientID, ClientSecret: secret.New(r.opts.ClientSecret), HTTPClient: r.client,
	}
}

// pipeListener hands out one end of a net.Pipe for every dial.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	theirs, ours := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

// Network implements [net.Addr].
func (pipeAddr) Network() string { return "pipe" }

// String implements [net.Addr].
func (pipeAddr) String() string { return "pipe" }
