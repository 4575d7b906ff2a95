package realtimetest

import (
	"net/http"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pipenet"
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
	listen *pipenet.Listener
}

// NewServer starts a server over net.Pipe, which works inside a testing/synctest bubble too, and stops it when the test ends.
func NewServer(tb TB, o Options) *Served {
	tb.Helper()
	s := &Served{Server: New(o), URL: "http://realtime.test", listen: pipenet.Listen("realtime.test")}
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
		DialContext:       s.listen.DialContext,
	}}
}
