package app

import (
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// servedAtOnce is how many new connections are served at the same time, each until its first request is
	// answered or taken over.
	servedAtOnce = 256
	// firstRequest is how long one counts at most: the next must not wait for somebody who says nothing, or
	// for an answer that takes long by nature.
	firstRequest = 100 * time.Millisecond
	// waitingAtMost is how many connections wait here; the kernel keeps those beyond.
	waitingAtMost = 16384
)

// queue is a listener for crowds. A connection that is being served costs tens of kilobytes, one that
// waits here next to nothing. So ten thousand pages that come back at once are let in one after the other,
// as fast as they can be served. (In the kernel's own queue, which is short, most would wait for seconds.)
type queue struct {
	net.Listener

	waiting chan net.Conn
	failed  chan error
	places  chan struct{}
	closed  chan struct{}
	once    sync.Once

	mu     sync.Mutex
	served map[net.Conn]*time.Timer // who has a place
}

func newQueue(l net.Listener) *queue {
	return &queue{
		Listener: l, waiting: make(chan net.Conn, waitingAtMost), failed: make(chan error), places: make(chan struct{}, servedAtOnce),
		closed: make(chan struct{}), served: map[net.Conn]*time.Timer{},
	}
}

// run takes connections into the queue until it is closed.
func (q *queue) run() error {
	defer q.turnAway()
	for {
		conn, err := q.Listener.Accept()
		if err != nil {
			select {
			case q.failed <- err: // the server waits a moment if it goes on
			case <-q.closed:
				return nil
			}
			continue
		}
		select {
		case q.waiting <- conn:
		case <-q.closed:
			_ = conn.Close()
			return nil
		}
	}
}

// turnAway closes what has not been served.
func (q *queue) turnAway() {
	for {
		select {
		case conn := <-q.waiting:
			_ = conn.Close()
		default:
			return
		}
	}
}

// Accept implements [net.Listener]. It returns the next connection once there is a place for it.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case q.places <- struct{}{}:
	case <-q.closed:
		return nil, net.ErrClosed
	}
	select {
	case conn := <-q.waiting:
		q.mu.Lock()
		defer q.mu.Unlock()
		q.served[conn] = time.AfterFunc(firstRequest, func() { q.leave(conn) })
		return conn, nil
	case err := <-q.failed:
		<-q.places
		return nil, err
	case <-q.closed:
		<-q.places
		return nil, net.ErrClosed
	}
}

// state is for [http.Server.ConnState]: it gives a connection's place to the next.
func (q *queue) state(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateIdle, http.StateHijacked, http.StateClosed:
		q.leave(conn)
	case http.StateNew, http.StateActive:
	}
}

func (q *queue) leave(conn net.Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if timer, ok := q.served[conn]; ok {
		timer.Stop()
		delete(q.served, conn)
		<-q.places
	}
}

// Close implements [net.Listener].
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return q.Listener.Close()
}
