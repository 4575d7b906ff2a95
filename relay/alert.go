package relay

import (
	"context"
	"log/slog"
	"time"
)

// maxWords bounds how many unknown words are remembered: nobody upstream may fill the memory.
const maxWords = 1000

// unknownWord counts and logs a word that the operation does not have, once per word.
func (r *Relay) unknownWord(ctx context.Context, p Payment, word string) {
	key := string(p.Operation) + " " + word
	r.mu.Lock()
	known := r.words[key] || len(r.words) >= maxWords
	r.words[key] = r.words[key] || !known
	r.mu.Unlock()
	if known {
		return
	}
	r.opts.Monitor.UnknownWord(p.Operation, word)
	r.log.WarnContext(ctx, "Dollr says a word that this relay does not know; the payment stays pending",
		slog.String("payment", p.ID), slog.String("operation", string(p.Operation)), slog.String("status", word))
}

// unknownFor is how long Dollr may have nothing to say about a payment before an operator should look.
const unknownFor = 5 * time.Minute

// watchSilence tells the operator, once per payment, that Dollr goes on not knowing it or not
// telling: a wrong id, or the credentials of another merchant.
func (r *Relay) watchSilence(ctx context.Context, p Payment, s Silence) {
	if s.Reason == "unreachable" || s.Reason == "rate_limited" || p.Final() {
		return // not about this payment
	}
	since := p.WatchSince
	if p.TruthAt.After(since) {
		since = p.TruthAt
	}
	r.mu.Lock()
	w := r.watches[p.ID]
	tell := w != nil && !w.alerted && r.now().Sub(since) >= unknownFor
	if tell {
		w.alerted = true
	}
	r.mu.Unlock()
	if tell {
		r.log.WarnContext(ctx, "Dollr tells nothing about a payment; is its id right, and are these its merchant's credentials?",
			slog.String("payment", p.ID), slog.String("reason", s.Reason), slog.Time("since", since))
	}
}

// missed handles a change that realtime should have told of: its channel is not to be trusted.
func (r *Relay) missed(ctx context.Context, p Payment) {
	r.opts.Monitor.MissedByRealtime()
	r.log.WarnContext(ctx, "realtime missed a change", slog.String("payment", p.ID), slog.String("status", p.Status))
	if r.feed != nil && !p.Final() {
		r.feed.Rejoin(p.ID)
	}
}
