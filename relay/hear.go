package relay

import (
	"context"
	"log/slog"
	"time"
)

const (
	// hintCommitters write hints to the database while the feed goes on; several share one fsync.
	hintCommitters = 8
	// maxWaitingHints bounds the hints that wait for a slow database. One that finds no room is
	// not written: pages have seen it and Dollr is asked all the same.
	maxWaitingHints = 4096
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
	id   string
	hint Hint
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

// hearChange shows a change to pages before anything else happens, as the unverified hint that it
// is; then Dollr is asked, and the hint is committed.
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
	hint := Hint{Status: change.Status, At: now}
	p, effects := Decide(w.p, hint, now)
	for _, effect := range effects {
		switch effect := effect.(type) {
		case Publish:
			r.hub.publish(effect.Status)
			r.tell(News{ID: id, Status: &effect.Status})
			r.opts.Monitor.HintToPage(now.Sub(change.At))
			w.p, w.hinted = p, true
			r.refreshLocked(w)
			r.keepHint(heardHint{id, hint})
		case AskNow:
			r.refreshLocked(w)
			r.asker.AskAgain(Question{Payment: p, Via: ViaVerify, Urgency: UrgentVerify})
		case Record, Report, UnknownWord:
		}
	}
}

func (r *Relay) keepHint(h heardHint) {
	select {
	case r.hints <- h:
	default:
	}
}

// commitHints writes hints to the row and the timeline until ctx ends.
func (r *Relay) commitHints(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-r.hints:
			_, _, err := r.store.Apply(ctx, h.id, func(p Payment) (Payment, []Effect) {
				return Decide(p, h.hint, h.hint.At)
			})
			r.storeAnswered(err)
			if err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "hint not committed", slog.String("payment", h.id), slog.Any("err", err))
			}
		}
	}
}
