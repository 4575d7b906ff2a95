package dollrtest

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/pipenet"
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
	l := pipenet.Listen("dollr.test")
	return serve(tb, New(opts), l, "http://localhost", &http.Transport{DialContext: l.DialContext})
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
