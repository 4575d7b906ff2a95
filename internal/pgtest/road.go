package pgtest

import (
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Road is a way to a server that can be cut, opened again, frozen and made slow. What it can do is what networks and failing
// servers do to a client.
type Road struct {
	target string
	port   string

	mu       sync.Mutex
	listener net.Listener // nil while it is cut: connections are refused
	delay    time.Duration
	conns    map[net.Conn]bool
	frozen   map[net.Conn]bool
	running  sync.WaitGroup
}

// NewRoad opens a road to the server of a database URL, and returns the URL that goes along it.
func NewRoad(tb testing.TB, url string) (*Road, string) {
	tb.Helper()
	_, rest, _ := strings.Cut(url, "@")
	target, _, _ := strings.Cut(rest, "/")
	r := &Road{target: target, conns: map[net.Conn]bool{}, frozen: map[net.Conn]bool{}}
	if err := r.Open(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		r.Cut()
		r.running.Wait()
	})
	return r, strings.Replace(url, target, r.Address(), 1)
}

// Address is where the road begins.
func (r *Road) Address() string { return net.JoinHostPort("127.0.0.1", r.port) }

// Open lets connections through, at the same address as before.
func (r *Road) Open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		return nil
	}
	listener, err := listen(r.port)
	if err != nil {
		return err
	}
	if _, r.port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		return errors.Join(err, listener.Close())
	}
	r.listener = listener
	r.running.Go(func() { r.accept(listener) })
	return nil
}

// Cut breaks all connections and refuses new ones.
func (r *Road) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil {
		return
	}
	_ = r.listener.Close()
	r.listener = nil
	for conn := range r.conns {
		_ = conn.Close()
	}
	clear(r.conns)
}

// Freeze loses everything on the connections that are open now, in both directions, without a word to either end, as a failover
// or a forgetful NAT does. New ones are not touched.
func (r *Road) Freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.frozen, r.conns)
}

// Slow delays everything that a client sends.
func (r *Road) Slow(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = delay
}

func (r *Road) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.target) //nolint:noctx // a stand-in for tests
		if err != nil {
			_ = client.Close()
			continue
		}
		r.mu.Lock()
		open := r.listener == listener
		if open {
			r.conns[client], r.conns[server] = true, true
		}
		r.mu.Unlock()
		if !open {
			_, _ = client.Close(), server.Close()
			return
		}
		r.running.Go(func() { r.carry(server, client, true) })
		r.running.Go(func() { r.carry(client, server, false) })
	}
}

// carry passes on what comes, until either end is closed, and closes both.
func (r *Road) carry(to, from net.Conn, slowly bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if slowly && n > 0 {
			r.mu.Lock()
			delay := r.delay
			r.mu.Unlock()
			time.Sleep(delay)
		}
		if n > 0 && !r.isFrozen(from) {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				err = io.ErrClosedPipe
			}
		}
		if err != nil {
			break
		}
	}
	_, _ = to.Close(), from.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, to)
	delete(r.conns, from)
	delete(r.frozen, to)
	delete(r.frozen, from)
}

func (r *Road) isFrozen(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frozen[conn]
}
