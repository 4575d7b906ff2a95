package realtime

import (
	"container/heap"
	"time"
)

// deadline is one owner's next time to be woken, kept in [deadlines].
type deadline struct {
	at    time.Time
	place int // in the heap; -1 when it is not there
	wake  func(now time.Time)
}

func newDeadline(wake func(now time.Time)) *deadline { return &deadline{place: -1, wake: wake} }

// deadlines is a heap of times: one timer serves all channels and sockets.
type deadlines struct{ queue deadlineHeap }

// set moves a deadline; the zero time takes it out.
func (d *deadlines) set(item *deadline, at time.Time) {
	switch {
	case at.IsZero() && item.place >= 0:
		heap.Remove(&d.queue, item.place)
	case at.IsZero():
	case item.place >= 0:
		item.at = at
		heap.Fix(&d.queue, item.place)
	default:
		item.at = at
		heap.Push(&d.queue, item)
	}
}

// next is the earliest deadline, or the zero time.
func (d *deadlines) next() time.Time {
	if len(d.queue) == 0 {
		return time.Time{}
	}
	return d.queue[0].at
}

// fire wakes everybody who is due, and nobody without end: a deadline set in the past waits for the next call.
func (d *deadlines) fire(now time.Time) {
	for range len(d.queue) {
		if len(d.queue) == 0 || now.Before(d.queue[0].at) {
			return
		}
		item, _ := heap.Pop(&d.queue).(*deadline)
		item.wake(now)
	}
}

type deadlineHeap []*deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements [heap.Interface].
func (h *deadlineHeap) Push(x any) {
	item, _ := x.(*deadline)
	item.place = len(*h)
	*h = append(*h, item)
}

// Pop implements [heap.Interface].
func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	item := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	item.place = -1
	return item
}
