package relay

import (
	"context"
	"log/slog"
	"time"
)

const (
	// pagesFirst is how long pages have the processor to themselves: what else follows from a hint waits, so that of a burst
	// of hints each one is on its way to its pages before the first question gets in between.
	pagesFirst = time.Millisecond
	// hintHeld is how long a hint waits to be written together with Dollr's answer to it: with a commit of its own each hint
	// would cost the disk twice as much.
	hintHeld = time.Second
	// hintCommitters write hints that were not answered; several share one fsync.
	hintCommitters = 8
	// maxWaitingHints bounds the hints that wait for an answer or a slow database. One that finds no room is written with the
	// answer only: pages have seen it and Dollr is asked all the same.
	maxWaitingHints = 4096
	// maxUnwritten bounds them for one payment, the newest stay: somebody may invent two words by turns while the database is away.
	maxUnwritten = 16
)

// Heard is what the feed reports of a payment: whether its channel is proven, or a change.
type Heard struct {
	Live   bool
	Change *Change
}

// Change is a row change that realtime told of.
type Change struct {
	Status string    // empty if the row had none readable
	At     time.Time // when its frame was read
}

// heardHint is a hint that pages have seen and the database has not.
type heardHint struct {
	id    string
	hint  Hint
	shown bool
}

// Hear takes what the feed reports of a payment. It does not block.
func (r *Relay) Hear(id string, heard Heard) {
	if heard.Change != nil {
		r.hearChange(id, *heard.Change)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	if w == nil || !w.following {
		return
	}
	if heard.Live {
		w.newsAt = r.now()
	} else {
		w.lostAt = r.now()
	}
	w.live = heard.Live
	r.refreshLocked(w)
	if heard.Live { // also when it is proven anew: what changed before the proof was not heard: one question closes the gap
		r.asker.AskAgain(Question{Payment: w.p, Via: ViaPoll, Urgency: UrgentYoung})
	}
}

// hearChange shows a change to pages, as the unverified hint that it is. A moment later Dollr is asked and the hint is
// committed, see [Relay.followHints].
func (r *Relay) hearChange(id string, change Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	if w == nil {
		return
	}
	now := r.now()
	w.newsAt, w.heardAt = now, now
	if rumor := outcomeOf(w.p.Operation, normalHint(change.Status)); rumor.Final() && (rumor != w.rumor || now.Sub(w.rumorAt) >= HintLife) {
		w.rumor, w.rumorAt = rumor, now
	}
	heard := heardHint{id: id, hint: Hint{Status: change.Status, At: now}}
	p, effects := Decide(w.p, heard.hint, now)
	for _, effect := range effects {
		switch effect := effect.(type) {
		case Publish:
			w.p, w.hinted, heard.shown = p, true, true
			r.tell(News{ID: id, Status: &effect.Status})
			r.hub.publish(effect.Status)
			r.opts.Monitor.HintToPage(now.Sub(change.At))
		case AskNow:
			if r.heard = append(r.heard, heard); len(r.heard) == 1 {
				r.follows.Reset(pagesFirst)
			}
		case Record, Report, UnknownWord:
		}
	}
}

// followHints does what follows from hints once pages were shown them, until ctx ends.
func (r *Relay) followHints(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.follows.C:
			for _, h := range r.takeHeard() {
				r.followHint(h)
			}
		}
	}
}

func (r *Relay) takeHeard() []heardHint {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := r.heard
	r.heard = nil
	return heard
}

func (r *Relay) followHint(h heardHint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[h.id]
	if w == nil {
		return
	}
	if h.shown {
		w.unwritten = newest(append(w.unwritten, h.hint))
		select {
		case r.hints <- h:
		default:
		}
	}
	r.refreshLocked(w)
	r.asker.AskAgain(Question{Payment: w.p, Via: ViaVerify, Urgency: UrgentVerify})
}

// takeUnwritten returns the payment's hints for whoever writes to its row next.
func (r *Relay) takeUnwritten(id string) []Hint {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	if w == nil {
		return nil
	}
	hints := w.unwritten
	w.unwritten = nil
	return hints
}

// putBack has hints that could not be committed written with the next answer, before those that came since.
func (r *Relay) putBack(id string, hints []Hint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.watches[id]; w != nil {
		w.unwritten = newest(append(hints, w.unwritten...))
	}
}

func newest(hints []Hint) []Hint { return hints[max(0, len(hints)-maxUnwritten):] }

// decideHints is what Decide says of hints that were shown and asked about before: entries of the timeline.
func decideHints(p Payment, hints []Hint) (Payment, []Effect) {
	var records []Effect
	for _, hint := range hints {
		var effects []Effect
		p, effects = Decide(p, hint, hint.At)
		for _, effect := range effects {
			if record, ok := effect.(Record); ok {
				records = append(records, record)
			}
		}
	}
	return p, records
}

// commitHints writes hints that no answer has come to, until ctx ends.
func (r *Relay) commitHints(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-r.hints:
			timer.Reset(min(hintHeld, hintHeld-r.now().Sub(h.hint.At))) // the clock may have been set back
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			hints := r.takeUnwritten(h.id)
			if hints == nil {
				continue
			}
			_, _, err := r.store.Apply(ctx, h.id, func(p Payment) (Payment, []Effect) { return decideHints(p, hints) })
			r.storeAnswered(err)
			if err != nil && ctx.Err() == nil {
				r.putBack(h.id, hints)
				r.log.WarnContext(ctx, "hint not committed", slog.String("payment", h.id), slog.Any("err", err))
			}
		}
	}
}
