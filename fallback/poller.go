package fallback

import (
	"cmp"
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

// fairShare: after so many questions that went to somebody more urgent, the next one is about the payment that is most
// overdue, so that nobody starves. The budget in internal/dollr has the same rule; both are needed, since what is
// not taken out here never stands in the queue there.
const fairShare = 7

// PollerOptions tune a [Poller]. The zero value is ready for production.
type PollerOptions struct {
	// Workers is how many questions are put at once. Defaults to 32: few enough that most of what is due waits here, where it
	// costs no goroutine. It must be more than the rate of questions times a slow answer.
	Workers int
	// Retry is when a payment is due again whose question ended without [Poller.Set] or [Poller.Remove]. Defaults to 5 s.
	Retry time.Duration
	// Hold, if set, is asked before every question: while it is above zero none is put. The breaker's RetryAfter belongs here.
	Hold func() time.Duration
	// Now is the clock of the due times. Defaults to [time.Now].
	Now func() time.Time
}

// Poller puts questions when they are due: one goroutine, one timer and one heap of due times for all payments, and at
// most Workers goroutines that ask. When more is due than can be asked, the most urgent goes first.
type Poller struct {
	ask  func(ctx context.Context, id string, via string, u dollr.Urgency)
	opts PollerOptions
	wake chan struct{}

	mu      sync.Mutex
	items   map[string]*item
	waiting dueHeap                      // not due yet
	ready   [dollr.UrgentOld + 1]dueHeap // due, by urgency
	busy    int                          // questions being put
	passed  int                          // questions for which the most overdue payment stood back
	next    time.Time                    // when Run looks again by itself
}

// item is one payment on the schedule.
type item struct {
	id      string
	via     string
	due     time.Time // on the monotonic clock
	urgency dollr.Urgency
	in      *dueHeap // nil while its question is being put
	index   int
	set     bool // Set was called while its question was being put
}

// NewPoller returns a Poller that does nothing until Run. ask puts one question and returns when it is answered; before
// that somebody calls Set with the payment's next due time, or Remove.
func NewPoller(ask func(ctx context.Context, id string, via string, u dollr.Urgency), opts PollerOptions) *Poller {
	opts.Workers = cmp.Or(opts.Workers, 32)
	opts.Retry = cmp.Or(opts.Retry, 5*time.Second)
	if opts.Hold == nil {
		opts.Hold = func() time.Duration { return 0 }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Poller{ask: ask, opts: opts, wake: make(chan struct{}, 1), items: map[string]*item{}}
}

// Run keeps the schedule until ctx ends, waits for the questions being put, and returns nil.
func (p *Poller) Run(ctx context.Context) error {
	var questions sync.WaitGroup
	defer questions.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		hold := p.opts.Hold()
		for hold <= 0 {
			i, via, urgency := p.pop()
			if i == nil {
				break
			}
			questions.Go(func() { p.put(ctx, i, via, urgency) })
			hold = p.opts.Hold()
		}
		timer.Reset(p.pause(hold))
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// Set puts a payment on the schedule, or changes when and how urgently it is asked about. While a question about
// it is being put, the new time holds for the one after it. The due time is kept as the time from now: a later jump
// of the clock moves nothing.
func (p *Poller) Set(id string, due time.Time, via string, u dollr.Urgency) {
	due = time.Now().Add(due.Sub(p.opts.Now()))
	p.mu.Lock()
	i, known := p.items[id]
	if !known {
		i = &item{id: id}
		p.items[id] = i
	}
	i.due, i.via, i.urgency = due, via, min(max(u, dollr.UrgentVerify), dollr.UrgentOld)
	switch {
	case !known:
		p.waiting.add(i)
	case i.in == nil:
		i.set = true
	case i.in == &p.waiting:
		heap.Fix(&p.waiting, i.index)
	default:
		i.in.remove(i)
		p.waiting.add(i)
	}
	early := due.Before(p.next)
	p.mu.Unlock()
	if early {
		p.look()
	}
}

// Remove takes a payment off the schedule. A question being put about it goes on.
func (p *Poller) Remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.items[id]
	if i == nil {
		return
	}
	delete(p.items, id)
	if i.in != nil {
		i.in.remove(i)
	}
}

// Len is the number of payments on the schedule.
func (p *Poller) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.items)
}

// look makes Run look at the schedule now.
func (p *Poller) look() {
	select {
	case p.wake <- struct{}{}:
	default: // it is about to
	}
}

// pop takes out the next question to put, or returns nil when there is none to put now.
func (p *Poller) pop() (i *item, via string, u dollr.Urgency) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.waiting) > 0 && !p.waiting[0].due.After(now) {
		i := p.waiting[0]
		p.waiting.remove(i)
		p.ready[i.urgency].add(i)
	}
	if p.busy >= p.opts.Workers {
		return nil, "", 0
	}
	if i = p.mostUrgentLocked(); i == nil {
		return nil, "", 0
	}
	i.in.remove(i)
	p.busy++
	return i, i.via, i.urgency
}

// mostUrgentLocked chooses among what is due, or returns nil if nothing is.
func (p *Poller) mostUrgentLocked() *item {
	var urgent, longest *item
	for u := range p.ready {
		if len(p.ready[u]) == 0 {
			continue
		}
		first := p.ready[u][0]
		if urgent == nil {
			urgent = first
		}
		if longest == nil || first.due.Before(longest.due) {
			longest = first
		}
	}
	if urgent == longest {
		return urgent
	}
	if p.passed++; p.passed <= fairShare {
		return urgent
	}
	p.passed = 0
	return longest
}

// pause is how long Run has nothing to do unless it is woken. What is due needs no look: it waits for a worker, and a
// worker that ends wakes Run.
func (p *Poller) pause(hold time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	pause := time.Hour // nothing to do: any time will do
	switch {
	case hold > 0:
		pause = hold
	case len(p.waiting) > 0:
		pause = p.waiting[0].due.Sub(now)
	}
	p.next = now.Add(pause)
	return pause
}

// put asks and puts the payment back on the schedule.
func (p *Poller) put(ctx context.Context, i *item, via string, u dollr.Urgency) {
	p.ask(ctx, i.id, via, u)
	again := cmp.Or(p.opts.Hold(), p.opts.Retry)
	p.mu.Lock()
	p.busy--
	if p.items[i.id] == i {
		if !i.set {
			i.due = time.Now().Add(again)
		}
		i.set = false
		p.waiting.add(i)
	}
	p.mu.Unlock()
	p.look()
}

// dueHeap orders items by their due time and tells each where it is.
type dueHeap []*item

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(a, b int) bool { return h[a].due.Before(h[b].due) }
func (h dueHeap) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

// Push implements [heap.Interface].
func (h *dueHeap) Push(x any) {
	i, _ := x.(*item)
	i.index = len(*h)
	*h = append(*h, i)
}

// Pop implements [heap.Interface].
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	i := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return i
}

func (h *dueHeap) add(i *item) {
	i.in = h
	heap.Push(h, i)
}

func (h *dueHeap) remove(i *item) {
	heap.Remove(h, i.index)
	i.in = nil
}
