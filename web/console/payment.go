package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
	"github.com/dollr-relay/dollr-relay/web/console/picture"
)

// Widths of the drawing: one for screens with room for the lanes' titles at the left, one for phones.
const (
	wide, gutter = 1040, 150
	narrow       = 340
)

// detail is the page of a payment.
type detail struct {
	line

	Story     string // what became of it, in a sentence
	Trouble   string // why the last question brought no truth
	Amounts   []pair
	Events    []relay.Event
	Callbacks []store.Callback
	Questions []Question
	Wide      picture.Drawing
	Narrow    picture.Drawing
}

// payment shows everything about one payment.
func (c *Console) payment(r *http.Request) (page, error) {
	id := r.PathValue("id")
	found, err := c.Records.Find(r.Context(), id)
	if err != nil {
		return page{}, err
	}
	events, err := c.Records.Events(r.Context(), id)
	if err != nil {
		return page{}, err
	}
	callbacks, err := c.Records.CallbacksOf(r.Context(), id)
	if err != nil {
		return page{}, err
	}
	d := detail{
		line: c.lines([]relay.Payment{found})[0], Events: events, Callbacks: callbacks, Questions: c.System.Questions(id),
		Amounts: amounts(found), Story: story(found, c.Now()),
	}
	if !found.Final() {
		d.Trouble = errorWords(found.LastError)
	}
	l := life(d, c.Now())
	d.Wide, d.Narrow = picture.Draw(l, wide, gutter), picture.Draw(l, narrow, 0)
	return page{Template: "payment", Title: capital(string(found.Operation)) + " " + identity(found), Section: "payments", Data: d, Said: said(r.URL.Query())}, nil
}

// story is what became of a payment.
func story(p relay.Payment, now time.Time) string {
	took := picture.Short(p.FinalAt.Sub(p.WatchSince))
	var text string
	switch p.Outcome {
	case relay.Pending:
		text = "Waiting for " + coarse(now.Sub(p.WatchSince)) + ". "
		switch {
		case p.Hint(now) != "":
			text += "Realtime says " + p.Hint(now) + "; Dollr is asked until it confirms."
		case p.Status == "":
			text += "Dollr has not told anything about it yet."
		default:
			text += "Dollr said " + p.Status + " when it was last asked."
		}
	case relay.Succeeded:
		text = "Dollr confirmed " + p.Status + " " + took + " after registration."
	case relay.Failed, relay.Canceled:
		text = "Dollr said " + p.Status + " " + took + " after registration."
	case relay.Mismatch:
		text = "Dollr says that it was paid, but not the expected amount. A person must look."
	case relay.Expired:
		text = "The watch ended after " + took + " without a terminal status. Nobody knows yet what became of it; a late success is still reported."
	}
	if p.Late {
		text += " It came late: it had been reported as " + string(p.PreviousOutcome) + " before."
	}
	if p.Contradicted {
		text += " Dollr contradicted it later. A person must look."
	}
	if len(p.Siblings) > 0 {
		text += " Another payment of the same source has succeeded: the customer may have paid twice."
	}
	return text
}

// amounts are what Dollr told, and what was expected.
func amounts(p relay.Payment) []pair {
	var all []pair
	add := func(name, amount, currency string) {
		if amount != "" {
			all = append(all, pair{name, amount + " " + currency})
		}
	}
	if e := p.Expected; e != nil {
		name := "Expected"
		if e.Side != "" {
			name += ", as " + e.Side
		}
		add(name, e.Amount, e.Currency)
	}
	if a := p.Amounts; a != nil {
		add("Payer paid", a.PayerAmount, a.PayerCurrency)
		add("Payee gets", a.PayeeAmount, a.PayeeCurrency)
		add("Total", a.TotalAmount, a.Currency)
	}
	return all
}

// life is what the picture shows of a payment.
func life(d detail, now time.Time) picture.Life {
	l := picture.Life{Start: d.CreatedAt, Now: now, Open: !d.Final()}
	l.States = []picture.State{{From: d.CreatedAt, Word: string(relay.Pending), Tone: picture.Wait}}
	last, version := relay.Pending, int64(0)
	for _, e := range d.Events {
		told := at(d.CreatedAt, e.At) + ": " + e.Detail
		switch {
		case e.Via == relay.ViaRealtime:
			l.Hints = append(l.Hints, picture.Mark{At: e.At, Label: e.Status, Story: told, Tone: picture.Wait})
		case e.Via == relay.ViaCallback, e.Via == relay.ViaOperator && strings.HasPrefix(e.Detail, "Callback "):
			// The callbacks have lanes of their own.
		case e.Via == relay.ViaRegister:
			if e.Outcome == relay.Pending && last != relay.Pending {
				l.States = append(l.States, picture.State{From: e.At, Word: "pending again", Tone: picture.Wait})
				last = relay.Pending
			}
		default:
			if e.Via != relay.ViaClock {
				word, tone := answer(e)
				l.Answers = append(l.Answers, picture.Mark{At: e.At, Label: word, Story: told, Tone: tone})
			}
			if e.Outcome != last {
				l.States = append(l.States, picture.State{From: e.At, Word: string(e.Outcome), Tone: outcomeTone(e.Outcome)})
				last = e.Outcome
			} else if e.Version > version && d.Contradicted && e.Outcome == relay.Succeeded {
				l.States = append(l.States, picture.State{From: e.At, Word: "contradicted", Tone: picture.Look})
			}
		}
		version = e.Version
	}
	for _, q := range d.Questions {
		l.Questions = append(l.Questions, picture.Question{Sent: q.Sent, Ended: q.Ended, Silent: q.Word == "", Story: questionStory(d.CreatedAt, q)})
	}
	for _, cb := range d.Callbacks {
		l.Callbacks = append(l.Callbacks, callbackLane(d.CreatedAt, cb))
	}
	return l
}

// answer is what Dollr said by an event, which after a final outcome is not what the payment's status is, and how it is meant.
func answer(e relay.Event) (word string, tone Tone) {
	word = e.Status
	if said, ok := strings.CutPrefix(e.Detail, "Dollr says "); ok {
		said, _, _ = strings.Cut(said, " ")
		word = strings.TrimRight(said, ",;")
	}
	switch word {
	case "COMPLETED", "PAID":
		return word, outcomeTone(e.Outcome)
	case "FAILED", "CANCELED":
		if e.Outcome == relay.Succeeded {
			return word, picture.Look
		}
		return word, picture.Bad
	}
	return word, picture.Wait
}

func questionStory(start time.Time, q Question) string {
	what := "no truth (" + q.Reason + ")"
	if q.Word != "" {
		what = q.Word
	}
	return fmt.Sprintf("%s: asked (%s), answered in %s: %s", at(start, q.Sent), q.Via, picture.Short(q.Ended.Sub(q.Sent)), what)
}

func callbackLane(start time.Time, cb store.Callback) picture.Callback {
	lane := picture.Callback{Title: cb.Type, Created: cb.CreatedAt, Next: cb.NextAt, Done: cb.State != callback.Pending}
	for i, a := range cb.Attempts {
		m := picture.Mark{At: a.At, Label: "no answer", Tone: attemptTone(a)}
		if a.Status != 0 {
			m.Label = fmt.Sprint(a.Status)
		}
		m.Story = fmt.Sprintf("%s: attempt %d, %s in %d ms", at(start, a.At), i+1, m.Label, a.DurationMS)
		if a.Error != "" {
			m.Story += ": " + a.Error
		}
		lane.Attempts = append(lane.Attempts, m)
	}
	return lane
}

// at is a time since the payment's registration.
func at(start, t time.Time) string { return "after " + picture.Short(t.Sub(start)) }
