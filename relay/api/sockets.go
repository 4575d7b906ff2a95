package api

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// sockets are the open pages on WebSockets, in the order in which they are due for upkeep. One sweep
// looks after all of them: an idle page has no timer and no goroutine but its reader.
type sockets struct {
	crew    crew
	tidier  tidier
	readers sync.WaitGroup
	woken   chan struct{}

	mu     sync.Mutex
	byDue  dueSockets
	closed bool
}

func newSockets() sockets {
	return sockets{woken: make(chan struct{}, 1), tidier: tidier{crowded: make(chan struct{}, 1)}}
}

// open makes an accepted page one of those that are looked after, or turns it away when the server has ended.
func (s *sockets) open(p *socket, renewAt, wall time.Time) {
	now := time.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		p.because(stopping)
		_ = p.in.conn.Close()
		p.leave()
		return
	}
	// The first ping comes a little early, so that a crowd which came at once is pinged over a while.
	p.upkeep = upkeep{pingAt: now.Add(time.Duration(float64(pingEvery) * (0.5 + p.server.Random()/2))), renewAt: renewAt}
	if p.server.isStopping() {
		p.upkeep.partAt = now
	}
	p.next = p.upkeep.next(now, wall)
	heap.Push(&s.byDue, p)
	first := p.place == 0
	s.readers.Go(p.listen)
	s.mu.Unlock()
	if first {
		s.wake()
	}
	s.tidier.arrive()
	p.mu.Lock()
	due := p.due
	p.working = false
	p.mu.Unlock()
	if due != 0 {
		p.need(due)
	}
}

// remove counts out a page whose connection has ended.
func (s *sockets) remove(p *socket) {
	s.mu.Lock()
	if p.place >= 0 {
		heap.Remove(&s.byDue, p.place)
	}
	s.mu.Unlock()
	p.because(gone)
	p.leave()
}

func (s *sockets) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Run looks after the open pages until ctx ends, then ends those that are left. Nothing of them
// outlives it.
func (s *Server) Run(ctx context.Context) error {
	defer s.sockets.close()
	var tidying sync.WaitGroup
	defer tidying.Wait()
	tidying.Go(func() { s.sockets.tidier.run(ctx) })
	stopping := s.stopping
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stopping:
			stopping = nil
			s.seeOff()
		case <-timer.C:
		case <-s.sockets.woken:
		}
		timer.Reset(s.sweep())
	}
}

// sweep does what is due for pages, and returns how long nothing is.
func (s *Server) sweep() time.Duration {
	now, wall := time.Now(), s.Now()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	for len(s.sockets.byDue) > 0 {
		p := s.sockets.byDue[0]
		if wait := p.next.Sub(now); wait > 0 {
			return max(wait, sweepEvery)
		}
		var due duty
		var reason why
		p.upkeep, due, reason = p.upkeep.step(now, wall, p.in.ponged.Swap(false), s.tokens.renewEvery())
		if reason != "" {
			p.end(reason)
			p.next = now.Add(parted) // it is removed when its connection has ended
		} else {
			p.need(due)
			p.next = p.upkeep.next(now, wall)
		}
		heap.Fix(&s.sockets.byDue, 0)
	}
	return parted
}

const (
	// sweepEvery is the least time between sweeps: looking after some pages at once costs less, but a hint waits behind them
	// (ten thousand pages get 400 pings a second).
	sweepEvery = 25 * time.Millisecond
	// parted is a time at which nothing is due any more.
	parted = time.Hour
)

// seeOff gives every page its moment to part, spread evenly.
func (s *Server) seeOff() {
	now, wall := time.Now(), s.Now()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	for _, p := range s.sockets.byDue {
		p.upkeep.partAt = now.Add(s.open.partAfter(s.Spread))
		p.next = p.upkeep.next(now, wall)
	}
	heap.Init(&s.sockets.byDue)
}

// close ends what is left.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.byDue {
		p.because(stopping)
		_ = p.in.conn.Close()
	}
	s.mu.Unlock()
	s.readers.Wait()
	s.crew.close()
}

// dueSockets is the heap of pages by the time at which they are due.
type dueSockets []*socket

func (h dueSockets) Len() int           { return len(h) }
func (h dueSockets) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h dueSockets) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].place, h[j].place = i, j }

// Push implements [heap.Interface].
func (h *dueSockets) Push(x any) {
	if p, ok := x.(*socket); ok {
		p.place = len(*h)
		*h = append(*h, p)
	}
}

// Pop implements [heap.Interface].
func (h *dueSockets) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	p.place = -1
	return p
}
