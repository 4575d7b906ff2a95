// Package pipenet is a network in memory: every dial of a [Listener] is a net.Pipe, so that servers and clients run inside of a
// testing/synctest bubble, where a real socket would hang.
package pipenet

import (
	"context"
	"net"
	"sync"
)

// Listener accepts the connections that its own Dial makes.
type Listener struct {
	name   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a listener whose address reads as name.
func Listen(name string) *Listener {
	return &Listener{name: name, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects to the listener. It waits for Accept, and fails once the listener is closed or ctx ends.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
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

// DialContext is Dial in the form that [net/http.Transport] wants, whatever the address.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.Dial(ctx)
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return address(l.name) }

type address string

// Network implements [net.Addr].
func (address) Network() string { return "pipe" }

// String implements [net.Addr].
func (a address) String() string { return string(a) }
