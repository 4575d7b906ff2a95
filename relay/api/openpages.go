package api

import (
	"sync/atomic"
	"time"
)

// transport is how a page listens.
type transport int

const (
	webSocket transport = iota
	eventSource
	longPoll
	transports // how many there are
)

func (t transport) String() string { return [...]string{"websocket", "sse", "poll"}[t] }

// openPages counts the open pages of this process, and sees them off one by one when it stops.
type openPages struct {
	count [transports]atomic.Int64

	crowd   int64 // streams that were open when the server began to stop
	parting atomic.Int64
}

// enter counts a page in unless there are as many as there may be.
func (o *openPages) enter(t transport, limit int) bool {
	o.count[t].Add(1)
	if o.total() > limit {
		o.leave(t)
		return false
	}
	return true
}

func (o *openPages) leave(t transport) { o.count[t].Add(-1) }

func (o *openPages) total() int {
	sum := int64(0)
	for t := range o.count {
		sum += o.count[t].Load()
	}
	return int(sum)
}

func (o *openPages) counts() map[string]int {
	counts := make(map[string]int, transports)
	for t := range transports {
		counts[t.String()] = int(o.count[t].Load())
	}
	return counts
}

// beginParting takes note of how many streams there are to close.
func (o *openPages) beginParting() {
	o.crowd = o.count[webSocket].Load() + o.count[eventSource].Load()
}

// partAfter is when the next stream closes, counted from the stop: they are spread evenly, so that
// not all pages come back in the same moment.
func (o *openPages) partAfter(spread time.Duration) time.Duration {
	place := o.parting.Add(1) - 1
	last := max(o.crowd-1, 1)
	return time.Duration(float64(spread) * float64(min(place, last)) / float64(last))
}
