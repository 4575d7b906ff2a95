//go:build !race

package sim_test

// mutants are the planted bugs. Each is a mistake that somebody could make, in a line or two.
func mutants() []mutant {
	const (
		decide  = "relay/decide.go"
		outbox  = "relay/store/outbox.go"
		asker   = "fallback/asker.go"
		breaker = "fallback/breaker.go"
		pace    = "internal/dollr/pace.go"
		leases  = "relay/lease/decide.go"
		keeper  = "relay/lease/keeper.go"
		watch   = "relay/watch.go"
	)
	return []mutant{
		{
			"published before the commit", "relay/relay.go", "	p, effects, err := r.store.Apply(",
			"	if w, _, ok := r.asked(id); ok {\n		_, early := Decide(w, seen, now)\n		for _, e := range early {\n			if s, is := e.(Publish); is {\n				r.hub.publish(s.Status)\n			}\n		}\n	}\n	p, effects, err := r.store.Apply(",
		},
		{
			"a hint causes no question", "relay/hear.go", "	w.newsAt, w.heardAt = now, now\n",
			"	if _, shown := Decide(w.p, Hint{Status: change.Status, At: now}, now); len(shown) > 1 {\n		r.hub.publish(shown[0].(Publish).Status)\n		return\n	}\n",
		},
		{"a hint is truth", "relay/hear.go", "Decide(p, hint, hint.At)", "Decide(p, Truth{Via: ViaRealtime, Status: normalHint(hint.Status)}, hint.At)"},
		{"leases are ignored", outbox, "next_at <= $3 AND lease_until <= $3 AND `+oldest+`", "next_at <= $3 AND `+oldest+`"},
		{"leases are not renewed", "relay/callback/health.go", "if len(e.flying) == 0 {", "if len(e.flying) >= 0 {"},
		{"a wake-up is lost", "internal/app/wire.go", "	a.reports.Ring()\n	a.wakeSender(callbackURL)", "	a.reports.Ring()"},
		{"callbacks of a payment overtake each other", outbox, "o.state = 'pending' AND o.seq < c.seq", "o.state = 'pending' AND o.seq < 0"},
		{"any answer is an acknowledgement", "relay/callback/after.go", "a.Code >= 200 && a.Code <= 299", "a.Code >= 200 && a.Code <= 599"},
		{"late success is dropped", decide, "	case verdict == p.Outcome:\n", "	case verdict == p.Outcome || p.Outcome == Failed:\n"},
		{"success is overwritten", decide, "	case p.Outcome == Succeeded:\n", "	case p.Outcome == Succeeded && verdict == Succeeded:\n"},
		{"a version is used again", decide, "	d.Version++\n", "	if d.Outcome != Failed {\n		d.Version++\n	}\n"},
		{"amounts are not compared", decide, "verdict == Succeeded && !fits(p.Expected, t.Amounts, p.Operation)", "verdict == Succeeded && p.ID == \"\""},
		{"silence ends a watch early", decide, "if p.Final() || now.Before(p.WatchUntil) {", "if p.Final() {"},
		{"hints are never withdrawn", "relay/watch.go", "r.hub.publish(w.p.PageStatus())", ""},
		{"open payments are forgotten at a restart", "relay/relay.go", "			r.follow(p)\n			after = p.ID", "			after = p.ID"},
		{"a failed commit counts as done", "relay/store/batch.go", "			m.err = err // whatever", "			_ = m // whatever"},
		{"the feed skips an entry", "relay/store/reports.go", "WHERE position > $1 AND body", "WHERE position > $1 + ($1 % 2) AND body"},
		{"the budget is ignored", pace, "if p.limiter.AllowN(now, 1) {", "if p.limiter.AllowN(now, 1) || now.Second()%3 == 0 {"},
		{"Retry-After is ignored", pace, "if now.Before(p.heldUntil) {", "if now.Before(p.heldUntil) && now.IsZero() {"},
		{"the breaker opens late", breaker, "c.ConsecutiveFailures >= failuresToOpen", "c.ConsecutiveFailures > failuresToOpen"},
		{"two questions at once", asker, "	if f == nil {\n		f = a.startLocked(q)\n	} else {", "	if f == nil || q.Via == \"verify\" {\n		f = a.startLocked(q)\n	} else {"},
		{"answers about others are believed", "internal/dollr/status.go", "err != nil || answered != asked {", "err != nil || answered == asked && err != nil {"},
		{"the realtime key is not renewed", "realtime/key.go", "(0.6 + 0.2*random)", "(1.6 + 0.2*random)"},
		{"a second page is told nothing", "relay/page.go", "	page.notify() // where", "	// where"},
		{"a poll misses hints", "relay/api/poll.go", "poll.status.Version == seen.version && poll.status.Position != shown", "poll.status.Version == seen.version && poll.status.Final"},
		{"a held poll is told nothing", "relay/api/poll.go", "		case <-changed:\n", "		case <-changed:\n			continue\n"},
		{"streams go on after a final status", "relay/api/sse.go", "final && err == nil {\n				return settled", "final && err != nil {\n				return settled"},
		{"pongs are not noticed", "relay/api/listen.go", "in.ponged.Store(true)", "in.ponged.Store(false)"},
		{"news that come while a page is written to wait", "relay/api/socket.go", "		p.working = due != 0\n", "		p.working = due == 0\n"},
		{"a stream is given again after a final status", "relay/api/sse.go", "p.Final() && seen >= p.Version", "p.Final() && seen > p.Version"},
		{"siblings are not found", "relay/store/payments.go", "AND source_id <> 0 AND outcome = 'succeeded' AND id <> $3", "AND source_id <> 0 AND outcome = 'failed' AND id <> $3"},
		{"a day later nobody asks", "relay/store/payments.go", "OR (final_at > 0 AND (`+due", "OR (final_at < 0 AND (`+due"},
		{"a time-out counts as an acknowledgement", "relay/callback/after.go", "	r.State, r.NextAt = Pending, ended.Add(delay)", "	r.State, r.NextAt = Pending, ended.Add(delay)\n	if r.Reason == Timeout {\n		r.State = Delivered\n	}"},
		{"a 429 is not told to other replicas", keeper, "if r.ID != k.opts.ID && r.Held > 0 {", "if r.ID != k.opts.ID && r.Held < 0 {"},
		{"news reach only the replica that tells them", "relay/news/news.go", "if m.From == b.opts.ID {", "if m.From != b.opts.ID {"},
		{"news that are lost are never made good", "relay/catchup.go", "		case <-tick.C:\n			err = r.readAll(ctx)\n", "		case <-tick.C:\n"},
		{"every replica uses the whole rate", leases, "return max(0, min(1/float64(v.Live()), free))", "return min(1, free+1)"},
		{"a dead replica is mourned for ever", leases, "func (r Replica) Holds() bool { return r.Left > -Grace }", "func (r Replica) Holds() bool { return r.Left > -Grace*1000 }"},
		{"a replica does not notice a lost lease", keeper, "		if v.Owners[slot] != k.opts.ID {\n			lost", "		if v.Owners[slot] != k.opts.ID && slot == \"\" {\n			lost"},
		{"what is taken over is not watched", "relay/replicas.go", "			r.follow(p)\n			after = p.ID", "			after = p.ID"},
		{"a payment with a page here is followed here, too", watch, "want := owns && r.feed != nil", "want := r.feed != nil"},
		{"pages at another replica keep no channel", watch, "return w.pages > 0 || w.away.Pages", "return w.pages > 0"},
		{"a replica asks after its lease has run out", watch, "!r.ownsLocked(id) || r.lapsedLocked()", "!r.ownsLocked(id)"},
		{"the feed begins at its end", "relay/store/reports.go", "ORDER BY position LIMIT $2", "ORDER BY position DESC LIMIT $2"},
		{"every replica sweeps all", "internal/app/reconcile.go", "return !a.relay.Owns(id)", "return id == \"\""},
		{"an address with its key is logged", "realtime/dial.go", "		err = withURL.Err\n", "		_ = withURL\n"},
	}
}
