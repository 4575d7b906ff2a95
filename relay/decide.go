package relay

import (
	"fmt"
	"time"
)

const (
	// reopenFor is how long a final payment is asked again every 5 minutes after Dollr said
	// something non-terminal about it (contract, section 7).
	reopenFor = 24 * time.Hour
	// putOffLimit is how long the end of a watch waits for an answer while Dollr cannot be reached.
	putOffLimit = 24 * time.Hour
)

// Decide is the judge: what a payment becomes when something is observed at the time now, and what
// goes with it. It is pure, and it runs inside the store's transaction on the row as just read.
//
//	present outcome \ truth   success fits      success differs    FAILED/CANCELED   other words
//	pending                   succeeded         mismatch           failed/canceled   status changes
//	failed, canceled          succeeded, late   mismatch, late     timeline          timeline, reopened
//	expired                   succeeded, late   mismatch, late     failed/canceled   timeline, reopened
//	mismatch                  succeeded, late   timeline           failed/canceled   timeline
//	succeeded                 nothing           contradicted       contradicted      timeline
func Decide(p Payment, seen Observation, now time.Time) (Payment, []Effect) {
	switch seen := seen.(type) {
	case Truth:
		return decideTruth(p, seen, now)
	case Silence:
		return decideSilence(p, seen, now)
	case Hint:
		return decideHint(p, seen)
	}
	return p, nil
}

func decideTruth(p Payment, t Truth, now time.Time) (Payment, []Effect) {
	if t.overtaken(p) {
		return p, []Effect{AskNow{}}
	}
	news := p.LastSeen != t.fingerprint()
	p.LastSeen = t.fingerprint()
	p.LastCheckedAt, p.TruthAt = now, now
	p.LastError = ""
	p.PutOffSince = time.Time{}

	d := decision{before: p, Payment: p, via: t.Via, now: now}
	if news && !KnownWord(p.Operation, t.Status) {
		d.effects = append(d.effects, UnknownWord{t.Status})
	}
	verdict := outcomeOf(p.Operation, t.Status)
	if verdict == Succeeded && !fits(p.Expected, t.Amounts, p.Operation) {
		verdict = Mismatch
	}
	switch {
	case verdict == Pending:
		d.onProgress(t, news)
	case p.Outcome == Succeeded:
		d.onSettledAgain(t, verdict, news)
	case verdict == p.Outcome:
		if news {
			d.record("Dollr says %s again%s", t.Status, t.Amounts.phrase())
		}
	default:
		d.settle(t, verdict)
	}
	return d.Payment, d.effects
}

// overtaken reports whether the payment was settled by another answer while this one was on its way: two relays asked, or
// one was stopped in the middle. Another time than the one known shows it, a later one or, by the clock of another relay, an
// earlier one. Which of the answers is the older one nobody knows, so an older word must not
// contradict a newer one: Dollr is asked again. A success is never held back.
func (t Truth) overtaken(p Payment) bool {
	return p.Final() && !t.KnownAt.IsZero() && t.KnownAt.UnixMilli() != p.KnownAt().UnixMilli() && outcomeOf(p.Operation, t.Status) != Succeeded
}

// decideSilence: nothing is ever failed by silence. Only a watch that has ended, and has waited a
// day for an answer, expires without one; Dollr's "not found" is an answer.
func decideSilence(p Payment, s Silence, now time.Time) (Payment, []Effect) {
	p.LastCheckedAt = now
	p.LastError = s.Reason
	d := decision{before: p, Payment: p, via: s.Via, now: now}
	if p.Final() || now.Before(p.WatchUntil) {
		return d.Payment, nil
	}
	if p.PutOffSince.IsZero() {
		d.PutOffSince = now
	}
	if s.Reason == "not_found" && d.watchEndedBefore(s.AskedAt) || now.Sub(d.PutOffSince) >= putOffLimit {
		d.expire()
	}
	return d.Payment, d.effects
}

// decideHint shows a hint to pages if it is ahead of what they see, and always asks. It never
// touches status, outcome or version, and nothing is shown after a final outcome.
func decideHint(p Payment, h Hint) (Payment, []Effect) {
	status := normalHint(h.Status)
	shown, overtaken := p.Status, false
	if standing := p.Hint(h.At); standing != "" {
		shown, overtaken = standing, h.At.Before(p.HintAt) // hints may be committed out of order
	}
	word := wordOf(p.Operation, status)
	if p.Final() || overtaken || word.meaning == unknown || status == shown || word.rank < wordOf(p.Operation, shown).rank {
		return p, []Effect{AskNow{}}
	}
	p.HintStatus, p.HintAt = status, h.At
	return p, []Effect{
		Publish{p.hintStatus()},
		AskNow{},
		Record{Event{
			At: h.At, Via: ViaRealtime, Status: status, Outcome: p.Outcome, Version: p.Version,
			Detail: "Realtime says " + status + "; asking Dollr",
		}},
	}
}

// decision is a payment being judged: the copy that is changed and what goes with the change.
type decision struct {
	Payment

	before  Payment
	via     Via
	now     time.Time
	effects []Effect
}

// onProgress handles every word that is not terminal, known or not.
func (d *decision) onProgress(t Truth, news bool) {
	switch {
	case d.Outcome == Pending && d.watchEndedBefore(t.AskedAt):
		d.Status = t.Status
		d.expire()
	case d.Outcome == Pending && d.Status != t.Status:
		d.Status = t.Status
		d.commit("Dollr says %s", t.Status)
	case d.Final():
		if d.Outcome != Succeeded && d.Outcome != Mismatch && d.now.After(d.ReopenedUntil) {
			d.ReopenedUntil = d.now.Add(reopenFor)
		}
		if news {
			d.record("Dollr says %s after the payment had %s; nothing changes", t.Status, d.Outcome)
		}
	}
}

// onSettledAgain handles a terminal word after success: it confirms, or it contradicts once.
func (d *decision) onSettledAgain(t Truth, verdict Outcome, news bool) {
	if verdict == Succeeded && !d.Amounts.differ(t.Amounts) {
		return
	}
	if d.Contradicted {
		if news {
			d.record("Dollr says %s%s, contradicting the success again", t.Status, t.Amounts.phrase())
		}
		return
	}
	d.Contradicted = true
	d.commit("Dollr says %s%s, contradicting the verified success; a person must look", t.Status, t.Amounts.phrase())
	d.report("contradicted")
}

// settle moves the payment to a verified final outcome.
func (d *decision) settle(t Truth, verdict Outcome) {
	d.Late, d.PreviousOutcome, d.Amounts = false, "", nil
	if verdict == Succeeded || verdict == Mismatch {
		amounts := t.Amounts
		d.Amounts = &amounts
		d.PreviousOutcome = d.before.reported()
		d.Late = d.PreviousOutcome != ""
	}
	d.Status, d.Outcome = t.Status, verdict
	d.VerifiedAt, d.FinalAt = d.now, d.now
	d.ReopenedUntil = time.Time{}
	d.commit("%s", d.sentence())
	d.report(string(verdict))
}

// watchEndedBefore reports whether a question was sent after the watch had ended. An answer to an earlier one may be older
// than a payment made in the last moment.
func (d *decision) watchEndedBefore(asked time.Time) bool {
	if asked.IsZero() {
		asked = d.now
	}
	return !asked.Before(d.WatchUntil)
}

// expire ends the watch. It is the one outcome that is not Dollr's word, hence not verified.
func (d *decision) expire() {
	d.via = ViaClock
	d.Outcome = Expired
	d.FinalAt = d.now
	d.PutOffSince = time.Time{}
	d.commit("The watch ended without a terminal status")
	d.report(string(Expired))
}

// commit gives the payment its next version and tells the timeline and the pages, which go on
// seeing a hint that still stands, with the new version.
func (d *decision) commit(format string, args ...any) {
	d.Version++
	d.Via = d.via
	d.UpdatedAt = d.now
	d.record(format, args...)
	d.effects = append(d.effects, Publish{d.Shown(d.now)})
}

func (d *decision) record(format string, args ...any) {
	d.effects = append(d.effects, Record{Event{
		At: d.now, Via: d.via, Status: d.Status, Outcome: d.Outcome, Version: d.Version,
		Detail: fmt.Sprintf(format, args...),
	}})
}

func (d *decision) report(what string) {
	d.effects = append(d.effects, Report{Type: reportType(d.Operation, what), At: d.now})
}

// sentence says in words what a verified final outcome means.
func (d *decision) sentence() string {
	s := fmt.Sprintf("Dollr says %s", d.Status)
	if d.Outcome == Mismatch {
		s += d.Amounts.phrase() + ", but that is not the expected amount; a person must look"
	}
	if d.Late {
		s += fmt.Sprintf(", after the payment had been reported as %s", d.PreviousOutcome)
	}
	return s
}
