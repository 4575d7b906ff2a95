package dollr

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// fairShare: after so many turns that went to somebody more urgent, the next one goes to whoever has waited longest.
// All other turns are strictly by urgency. So nobody starves, and the most urgent call loses at most one turn in eight.
const fairShare = 7

// budget lets calls leave one by one: the most urgent first, as fast as its pace allows. It needs no goroutine: calls
// that wait are let go by those that arrive and by one timer, which is only set while somebody waits.
type budget struct {
	mu      sync.Mutex
	pace    pace
	queues  [UrgentOld + 2]list.List // of *waiter, by urgency, tokens first; each in order of arrival
	waiting int
	arrived uint64
	passed  int // turns for which the longest waiting one stood back
	timer   *time.Timer
}

// waiter is a call in the queue.
type waiter struct {
	ticket  *Ticket
	number  uint64 // order of arrival
	in      *list.List
	element *list.Element
	turn    chan time.Time // receives the time of the turn
}

func newBudget(perSecond float64) *budget { return &budget{pace: newPace(perSecond)} }

// wait returns the time at which the call may leave: now. It fails only with ctx's error.
func (b *budget) wait(ctx context.Context, t *Ticket) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	w := &waiter{ticket: t, turn: make(chan time.Time, 1)}
	t.enter(b)
	defer t.leave()
	b.mu.Lock()
	b.arrived++
	w.number = b.arrived
	b.pushLocked(w)
	b.waiting++
	b.dispatchLocked()
	b.mu.Unlock()

	select {
	case now := <-w.turn:
		return now, nil
	case <-ctx.Done():
		b.drop(w)
		return time.Time{}, ctx.Err()
	}
}

// move puts a waiting ticket where its raised urgency belongs.
func (b *budget) move(t *Ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := t.place; w != nil {
		w.in.Remove(w.element)
		b.pushLocked(w)
	}
}

func (b *budget) drop(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeLocked(w)
	b.dispatchLocked()
}

// limited slows every call down after a 429.
func (b *budget) limited(granted time.Time, retryAfter time.Duration) (hold time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pace.limited(time.Now(), granted, retryAfter)
}

// resize gives the budget another rate.
func (b *budget) resize(perSecond float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.resize(time.Now(), perSecond)
	b.dispatchLocked()
}

// hold holds every call back because of a 429 that another process got.
func (b *budget) hold(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.hold(time.Now(), d)
	b.dispatchLocked()
}

func (b *budget) answered(granted time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.answered(granted)
}

// held is how long a 429 still holds every call back.
func (b *budget) held() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, time.Until(b.pace.heldUntil))
}

func (b *budget) dispatchLocked() {
	for b.waiting > 0 {
		now := time.Now()
		if pause := b.pace.take(now); pause > 0 {
			b.wakeAfterLocked(pause)
			return
		}
		w := b.nextLocked()
		b.removeLocked(w)
		w.turn <- now
	}
	if b.timer != nil {
		b.timer.Stop()
	}
}

func (b *budget) wakeAfterLocked(pause time.Duration) {
	if b.timer != nil {
		b.timer.Reset(pause)
		return
	}
	b.timer = time.AfterFunc(pause, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.dispatchLocked()
	})
}

// nextLocked chooses whose turn it is. Somebody must be waiting.
func (b *budget) nextLocked() *waiter {
	var urgent, longest *waiter
	for i := range b.queues {
		front := b.queues[i].Front()
		if front == nil {
			continue
		}
		w, _ := front.Value.(*waiter)
		if urgent == nil {
			urgent = w
		}
		if longest == nil || w.number < longest.number {
			longest = w
		}
	}
	if urgent == longest {
		return urgent
	}
	if b.passed++; b.passed <= fairShare {
		return urgent
	}
	b.passed = 0
	return longest
}

// pushLocked queues w behind those of its urgency that came before it. A raised one keeps its time of arrival.
func (b *budget) pushLocked(w *waiter) {
	w.in = &b.queues[w.ticket.Urgency()-urgentToken]
	w.ticket.place = w
	for e := w.in.Back(); e != nil; e = e.Prev() {
		if before, _ := e.Value.(*waiter); before.number < w.number {
			w.element = w.in.InsertAfter(w, e)
			return
		}
	}
	w.element = w.in.PushFront(w)
}

// removeLocked takes w out of the queue, if it is in it.
func (b *budget) removeLocked(w *waiter) {
	if w.ticket.place != w {
		return
	}
	w.in.Remove(w.element)
	w.ticket.place = nil
	b.waiting--
}
