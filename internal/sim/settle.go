package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// settle sees whether everything comes right once the trouble is over: what Dollr says is what the relay says, every
// callback has arrived, every reader of the feed has everything, every page shows the newest state.
func (w *world) settle(ctx context.Context, reader *feedReader) {
	if w.current() == nil || w.referee.broken() {
		return
	}
	w.await(ctx, "settles", w.bound(), reader, w.unsettled)
	if w.referee.broken() {
		return
	}
	if why := w.differs(ctx); why != "" {
		// Settled payments are asked about again after 1 h and 24 h, and swept. A day passes at once, but not over a question or a
		// callback: an answer would be a day old and count as new, a lease would have run out.
		const step, calm, most = 10 * time.Millisecond, 200 * time.Millisecond, 20 * time.Second
		for waited, quiet := time.Duration(0), time.Duration(0); quiet < calm && waited < most; waited += step {
			time.Sleep(step)
			if quiet += step; w.referee.underWay() {
				quiet = 0
			}
		}
		w.history.note("world", "a day later, because %s", why)
		w.jump(25 * time.Hour)
		w.await(ctx, "is reconciled", 2*reconcile+w.bound(), reader, func(ctx context.Context) string {
			if why := w.differs(ctx); why != "" {
				return why
			}
			return w.unsettled(ctx)
		})
	}
	w.audit(ctx, reader)
}

// bound is how long it may take until all is settled, by what has gone wrong before.
func (w *world) bound() time.Duration {
	bound := 65 * time.Second // hints are withdrawn after 60 s; polls of payments younger than 10 minutes come every 18 s at most
	if !w.plan.calm("dollr") || w.plan.befalls(dollrAway) {
		bound += 30 * time.Second // the breaker
	}
	if !w.plan.calm(dollrRefuses) {
		bound += 75 * time.Second // refused questions are put once a minute
	}
	if !w.plan.calm(dollrLimits) {
		bound += 150 * time.Second // a hold, and the rate comes back slowly
	}
	if !w.plan.calm("the shop") {
		bound += 90 * time.Second
	}
	if w.plan.replicas > 1 {
		bound += 30 * time.Second // payments change hands, callbacks wait for the end of a dead one's lease
	}
	if len(w.plan.jumps) > 0 {
		bound += 2*longestPoll + 90*time.Second // old payments are asked every minute here; a clock set back delays callbacks
	}
	return bound
}

// await asks again and again for a reason why not all is well, at most for a time.
func (w *world) await(ctx context.Context, promise string, bound time.Duration, reader *feedReader, why func(context.Context) string) {
	started := time.Now()
	for pause := 50 * time.Millisecond; !w.referee.broken(); pause = min(pause*2, 7*time.Second) {
		reason := why(ctx)
		if reason == "" {
			reason = w.behind(ctx, reader)
		}
		if reason == "" {
			w.history.note("world", "%s after %.1fs", promise, time.Since(started).Seconds())
			return
		}
		if time.Since(started) > bound {
			w.referee.fail(promise, "%s after trouble ended still: %s", bound, reason)
			return
		}
		if !sleep(ctx, pause+time.Duration(w.dice.roll("await", pause).Int64N(1_000_000))) {
			return
		}
	}
}

// unsettled is a reason why the relay is not done yet, or empty.
func (w *world) unsettled(ctx context.Context) string {
	client := w.client()
	for _, o := range w.plan.orders {
		s := w.show(ctx, client, o)
		switch {
		case s == nil:
			return fmt.Sprintf("order %d cannot be read", o.number)
		case s.Outcome == relay.Pending && w.bank.verdict(o) != relay.Pending:
			return fmt.Sprintf("order %d is pending, at Dollr it is %s", o.number, w.bank.verdict(o))
		case s.Outcome == relay.Pending && s.Link != nil && *s.Link == "degraded":
			return fmt.Sprintf("order %d is degraded", o.number)
		}
	}
	code, body := w.call(ctx, client, http.MethodGet, "/v1/callbacks?state=pending", nil)
	var list struct{ Data []struct{ ID, Type string } }
	switch err := json.Unmarshal(body, &list); {
	case code != http.StatusOK || err != nil:
		return "callbacks cannot be listed"
	case len(list.Data) > 0:
		return fmt.Sprintf("%s is not delivered", list.Data[0].Type)
	}
	return w.referee.outdated()
}

func (w *world) show(ctx context.Context, client *http.Client, o *order) *state {
	return (&merchant{world: w, order: o, id: o.id(), http: client}).read(ctx)
}

// verdict is what Dollr says of an order now, in the relay's words.
func (b *bank) verdict(o *order) relay.Outcome {
	p, err := b.api.Find(o.key())
	if err != nil {
		return relay.Pending
	}
	return o.verdict(said{
		Status: p.Status, PayerAmount: json.Number(p.PayerAmount), PayerCurrency: p.PayerCurrency,
		PayeeAmount: json.Number(p.PayeeAmount), PayeeCurrency: p.PayeeCurrency, TotalAmount: json.Number(p.TotalAmount), Currency: p.Currency,
	})
}

// differs is a settled payment about which Dollr says something else by now, or empty.
func (w *world) differs(ctx context.Context) string {
	client := w.client()
	for _, o := range w.plan.orders {
		s, verdict := w.show(ctx, client, o), w.bank.verdict(o)
		if s == nil || verdict == relay.Pending || s.Outcome == verdict {
			continue
		}
		if s.Outcome != relay.Succeeded || !s.Contradicted {
			if w.hasJumped() {
				w.referee.pokes(o)
				w.call(ctx, client, http.MethodPost, "/v1/payments/"+o.id()+"/verify", nil) // the later questions may be behind us
			}
			return fmt.Sprintf("order %d is %s and at Dollr %s", o.number, s.Outcome, verdict)
		}
	}
	return ""
}

// hasJumped reports whether the plan has let hours pass.
func (w *world) hasJumped() bool {
	return slices.ContainsFunc(w.plan.jumps, func(j jump) bool { return j.by >= time.Hour })
}

// behind is what a reader of the feed has not got yet, or empty.
func (w *world) behind(ctx context.Context, reader *feedReader) string {
	all := &feedReader{world: w}
	client := w.client()
	for before := -1; before < len(all.ids); {
		before = len(all.ids)
		if !all.pullQuietly(ctx, client) {
			return "the feed cannot be read"
		}
	}
	have := reader.has()
	if len(have) < len(all.ids) {
		return "the reader of the feed has not got everything"
	}
	if !slices.Equal(have, all.ids) {
		w.referee.fail("nothing is lost in the feed", "who read along has %v, who reads now gets %v", have, all.ids)
	}
	return ""
}

// audit looks at everything once more, when all is settled.
func (w *world) audit(ctx context.Context, reader *feedReader) {
	client := w.client()
	fed := map[string]bool{}
	for _, id := range reader.has() {
		fed[id] = true
	}
	for _, o := range w.plan.orders {
		if s := w.show(ctx, client, o); s != nil && s.Final {
			r := w.reportKinds(o)
			if !fed[relay.ReportID(o.id(), r+string(s.Outcome))] {
				w.referee.fail("every outcome is reported", "order %d is %s and the feed does not say so", o.number, s.Outcome)
			}
			if s.Contradicted && !fed[relay.ReportID(o.id(), r+"contradicted")] {
				w.referee.fail("every outcome is reported", "order %d is contradicted and the feed does not say so", o.number)
			}
		}
	}
	w.auditTimelines(ctx, client)
	w.auditSiblings(ctx, client)
	w.auditMetrics(ctx, client)
	_, body := w.call(ctx, client, http.MethodGet, "/v1/callbacks?limit=500", nil)
	var list struct {
		Data []struct{ ID, Type, State string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		w.referee.fail("answers", "callbacks: %v", err)
		return
	}
	w.referee.callbacksAtEnd(list.Data, fed)
}

// reportKinds is the prefix of the types of an order's reports.
func (w *world) reportKinds(o *order) string {
	switch o.operation {
	case relay.Payout, relay.Transfer, relay.Refund:
		return string(o.operation) + "."
	case relay.Collection, relay.Source:
	}
	return "payment."
}

// callbacksAtEnd checks that every committed callback is where it belongs.
func (r *referee) callbacksAtEnd(list []struct{ ID, Type, State string }, fed map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := map[string]bool{}
	for _, c := range list {
		kept[c.ID] = true
		p := r.reportLocked(c.ID)
		switch {
		case c.State == "delivered" && !p.acked:
			r.failLocked("delivered is acknowledged", "%s counts as delivered and no shop has taken it", c.Type)
		case c.State == "dead" && !p.gone && p.tries < len(schedule()):
			r.failLocked("no callback is given up early", "%s is dead after %d tries", c.Type, p.tries)
		}
	}
	for id := range fed {
		if !kept[id] {
			r.failLocked("every outcome has its callback", "%s is in the feed and has no callback", r.reports[id].kind)
		}
	}
	for id, p := range r.reports {
		if p.tries > 0 && !fed[id] {
			r.failLocked("none invented", "%s was sent and is not in the feed", p.kind)
		}
	}
}

// finish stops the relay, waits for the dead to rest, and looks at what lies on the disk.
func (w *world) finish() {
	p := w.current()
	if p == nil {
		return
	}
	for post := range w.plan.replicas {
		if p := w.at(post); p != nil {
			p.stop()
		}
	}
	for _, life := range w.lives {
		<-life.ended // killed ones need a moment, too
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(p.path), "*"))
	if err != nil {
		w.referee.fail("simulator", "look at the disk: %v", err)
	}
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil { //nolint:gosec // our own folder
			w.referee.secrets("the database", string(bytes.ToValidUTF8(content, nil)))
		}
	}
}
