package relay

import (
	"container/heap"
	"time"
)

// wakeups is the heap of watches by the time at which their refresh is due.
type wakeups []*watch

func (h wakeups) Len() int           { return len(h) }
func (h wakeups) Less(i, j int) bool { return h[i].wakeAt.Before(h[j].wakeAt) }
func (h wakeups) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].place, h[j].place = i, j }

// Push implements [heap.Interface].
func (h *wakeups) Push(x any) {
	if w, ok := x.(*watch); ok {
		w.place = len(*h)
		*h = append(*h, w)
	}
}

// Pop implements [heap.Interface].
func (h *wakeups) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.place = -1
	return w
}

// set puts a watch where its wakeAt belongs.
func (h *wakeups) set(w *watch) {
	switch {
	case w.wakeAt.IsZero() && w.place >= 0:
		heap.Remove(h, w.place)
	case w.wakeAt.IsZero():
	case w.place >= 0:
		heap.Fix(h, w.place)
	default:
		heap.Push(h, w)
	}
}

// wakeDue refreshes what is due and returns how long nothing will be.
func (r *Relay) wakeDue() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.wakeups) > 0 {
		if wait := r.wakeups[0].wakeAt.Sub(r.now()); wait > 0 {
			return wait
		}
		w := r.wakeups[0]
		w.wakeAt = time.Time{}
		r.wakeups.set(w)
		r.refreshLocked(w)
	}
	return time.Hour
}

func (r *Relay) wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}
