package api

import "sync"

const (
	// hands is how many pages are written to at the same time.
	hands = 64
	// pagesPerHand is how many pages wait before another hand helps.
	pagesPerHand = 8
)

// crew writes to pages. Whoever has something for a page queues it; a few goroutines, which are there
// only while there is work, work the queue off. One that has to wait for a page counts no more and
// leaves when it is through: another takes its place at once, so that pages which do not read delay nobody.
type crew struct {
	mu      sync.Mutex
	queue   []*socket
	active  int // hands that are not held up
	closed  bool
	workers sync.WaitGroup
}

// enqueue has a page worked on. The caller sees to it that no page is queued twice.
func (c *crew) enqueue(p *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, p)
	c.hireLocked()
}

// hireLocked starts a worker if there is work and room for one: few when there is little to do, because
// most pages are written to at once.
func (c *crew) hireLocked() {
	if c.closed || c.active >= min(hands, (len(c.queue)+pagesPerHand-1)/pagesPerHand) {
		return
	}
	c.active++
	c.workers.Go(c.work)
}

// work attends to page after page until none waits, or another has taken its place.
func (c *crew) work() {
	for p := c.next(); p != nil; p = c.next() {
		if p.attend() {
			return
		}
	}
}

// next is the page that has waited longest, or nil: then the worker goes.
func (c *crew) next() *socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || c.closed {
		c.active--
		c.queue = nil // do not keep room for the largest crowd ever
		return nil
	}
	p := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	return p
}

// replace lets another work in the place of one that is held up.
func (c *crew) replace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	c.hireLocked()
}

// close lets nobody begin with another page, and waits for those who are at one. The connections must
// have ended.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.workers.Wait()
}
