package sim

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pipenet"
)

// network joins everybody by host names.
type network struct {
	dice  dice
	mu    sync.Mutex
	hosts map[string][]*pipenet.Listener
	open  int // connections, each end counted
}

func newNetwork(d dice) *network { return &network{dice: d, hosts: map[string][]*pipenet.Listener{}} }

// serve makes a listener the one that a host name leads to.
func (n *network) serve(host string, l *pipenet.Listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = append(n.hosts[host], l)
}

// retire has nobody led to listeners any more.
func (n *network) retire(gone ...*pipenet.Listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for host := range n.hosts {
		n.hosts[host] = slices.DeleteFunc(n.hosts[host], func(l *pipenet.Listener) bool { return slices.Contains(gone, l) })
	}
}

// pick is the listener that a host name leads to this time: a load balancer in front of several takes any.
func (n *network) pick(host string) *pipenet.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.hosts[host]
	if len(all) == 0 {
		return nil
	}
	return all[n.dice.roll("balancer", host, time.Now().UnixNano()).IntN(len(all))]
}

// connections is how many ends are open.
func (n *network) connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open
}

// line is the network as one party has it: its connections end together.
type line struct {
	network *network

	mu    sync.Mutex
	conns []*tracked // in the order of their making, in which they are cut off, too
	cut   bool
	ice   chan struct{}          // closed when the party may move again; nil: it may
	bars  func(host string) bool // hosts that it does not reach now; nil: it reaches all
}

func (n *network) line() *line { return &line{network: n} }

// dial connects to the host of an address.
func (l *line) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	l.rest()
	to := l.network.pick(host)
	if to == nil || l.bars != nil && l.bars(host) {
		return nil, fmt.Errorf("dial %s: connection refused", host)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	conn, err := to.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", host, err)
	}
	return l.track(conn, host)
}

// track makes a connection part of the line.
func (l *line) track(conn net.Conn, host string) (net.Conn, error) {
	t := &tracked{Conn: conn, line: l, host: host, left: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.conns = append(l.conns, t)
	l.network.mu.Lock()
	l.network.open++
	l.network.mu.Unlock()
	return t, nil
}

// sever ends all connections, for good: nothing gets in or out any more.
func (l *line) sever() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	l.drop()
}

// drop ends all connections; new ones may be made.
func (l *line) drop() { l.dropTo("") }

// dropTo ends the connections that were made to a host, or all.
func (l *line) dropTo(host string) {
	l.mu.Lock()
	conns := slices.DeleteFunc(slices.Clone(l.conns), func(c *tracked) bool { return host != "" && c.host != host })
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.shut()
	}
}

// tracked is a connection of a line.
type tracked struct {
	net.Conn

	line *line
	host string // that was dialled; empty: it was accepted
	once sync.Once

	leave sync.Once
	left  chan struct{} // closed when this end is closed
}

// Read implements [net.Conn].
func (t *tracked) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.line.restUnless(t.left)
	return n, err
}

// Write implements [net.Conn].
func (t *tracked) Write(b []byte) (int, error) {
	t.line.restUnless(t.left)
	return t.Conn.Write(b)
}

// Close implements [net.Conn]. The other end hears nothing of it while this party is frozen; whoever calls it holds locks and must
// not wait.
func (t *tracked) Close() error {
	t.leave.Do(func() { close(t.left) })
	if !t.line.frozen() {
		return t.shut()
	}
	_ = t.SetDeadline(time.Unix(1, 0)) // who reads and writes here is let go
	go func() {
		t.line.rest()
		_ = t.shut()
	}()
	return nil
}

func (t *tracked) shut() error {
	t.once.Do(func() {
		t.line.mu.Lock()
		t.line.conns = slices.DeleteFunc(t.line.conns, func(c *tracked) bool { return c == t })
		t.line.mu.Unlock()
		t.line.network.mu.Lock()
		t.line.network.open--
		t.line.network.mu.Unlock()
	})
	return t.Conn.Close()
}

// door is a listener whose connections belong to a line.
type door struct {
	*pipenet.Listener

	line *line
}

// Accept implements [net.Listener].
func (d door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		d.line.rest()
		if conn, err = d.line.track(conn, ""); err == nil {
			return conn, nil
		}
	}
}
