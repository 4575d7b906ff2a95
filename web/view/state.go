package view

import "time"

// State is what a page shows at a glance; its word is also the key of its title.
type State string

// The states. The first seven are those of <dollr-status>.
const (
	Waiting    State = "waiting"
	Confirming State = "confirming" // realtime claims an outcome that Dollr has not confirmed
	Succeeded  State = "succeeded"
	Failed     State = "failed"
	Canceled   State = "canceled"
	Mismatch   State = "mismatch"
	Expired    State = "expired"

	// Gone is a page that cannot be shown any more, or never could: its token has expired or is wrong.
	Gone State = "gone"
	// Trouble is a relay that cannot tell now.
	Trouble State = "trouble"
)

// slowAfter is how long a payment may be pending before its page says that it must not be paid again.
const slowAfter = time.Minute

// Payment is what a page needs to know of its payment.
type Payment struct {
	Outcome  string // as in the page messages, also when only realtime claims it
	Final    bool
	Degraded bool          // Dollr or the relay's database cannot be reached
	Age      time.Duration // since its watch began
}

// Page is what a page says.
type Page struct {
	State State
	Notes []string // keys of the texts below the title
	Aside string   // key of the text at its foot
	// After is when to look again, in whole seconds; 0: never.
	After time.Duration
}

// Settled reports whether looking again by hand would hardly show anything else.
func (p Page) Settled() bool {
	return p.State == Succeeded || p.State == Failed || p.State == Canceled || p.State == Gone
}

// Of decides what to say of a payment. A hint is never shown as an outcome, whatever it claims, and trouble with a
// connection never as a failure.
func Of(p Payment) Page {
	outcome := State(p.Outcome)
	switch {
	case !p.Final:
	case outcome == Succeeded || outcome == Failed || outcome == Canceled:
		return Page{State: outcome, Aside: "back"}
	case outcome == Mismatch || outcome == Expired:
		return Page{State: outcome, Aside: "back", Notes: []string{"slow"}}
	}
	page := Page{State: Confirming, Aside: "updates", After: interval(p.Age)}
	if p.Outcome == "pending" {
		page.State = Waiting
	}
	if p.Age >= slowAfter {
		page.Notes = append(page.Notes, "slow")
	}
	if p.Degraded {
		page.Notes = append(page.Notes, "degraded")
	}
	return page
}

// interval is how soon a page looks again. Each look is a page load, so it slows down with the payment's age.
func interval(age time.Duration) time.Duration {
	switch {
	case age < 2*time.Minute:
		return 3 * time.Second
	case age < 10*time.Minute:
		return 10 * time.Second
	default:
		return 30 * time.Second
	}
}

// Refused is the page of somebody who may not see one.
func Refused() Page { return Page{State: Gone, Notes: []string{"ask"}} }

// Unknown is the page while the relay cannot tell how the payment stands.
func Unknown(after time.Duration) Page {
	return Page{State: Trouble, Notes: []string{"slow"}, Aside: "updates", After: max(after, interval(0))}
}

// signs has an icon for each state, as path data: colour is never the only difference.
func signs() map[State]string {
	const ring = "M12 2a10 10 0 1 0 .01 0z"
	return map[State]string{
		Waiting:    ring + "M12 7v5l3 2",
		Confirming: "M12 2a10 10 0 1 0 10 10",
		Succeeded:  ring + "M8 12l3 3 5-6",
		Failed:     ring + "M9 9l6 6m0-6l-6 6",
		Canceled:   ring + "M8 12h8",
		Mismatch:   ring + "M12 7v6m0 4h0",
		Expired:    ring + "M10 10a2 2 0 1 1 2 3m0 4h0",
		Gone:       ring + "M8 12h8",
		Trouble:    ring + "M12 7v5l3 2",
	}
}
