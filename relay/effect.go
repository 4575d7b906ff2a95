package relay

import "time"

// Effect is something that goes with a decision. The store carries out [Record] and [Report] in
// the transaction of the decision; the relay carries out the others after it was committed.
type Effect interface{ effect() }

// Record writes one entry of the payment's timeline.
type Record struct{ Event Event }

// Report tells the merchant's backend of an outcome: an entry of the event feed and a callback.
type Report struct {
	Type string    // payment.succeeded, refund.failed, …
	At   time.Time // when it was decided
}

// Publish shows a state to the payment's open pages.
type Publish struct{ Status PageStatus }

// AskNow makes the relay ask Dollr at once.
type AskNow struct{}

// UnknownWord reports a status word that the operation does not have.
type UnknownWord struct{ Word string }

func (Record) effect()      {}
func (Report) effect()      {}
func (Publish) effect()     {}
func (AskNow) effect()      {}
func (UnknownWord) effect() {}

// Event is one entry of a payment's timeline: something that changed or contradicted it.
type Event struct {
	At      time.Time
	Via     Via
	Status  string
	Outcome Outcome
	Version int64
	Detail  string // a sentence for people; never a secret
}

// PageStatus is the status message of the page protocol (contract, section 4). It carries no
// amount, name, phone or metadata.
type PageStatus struct {
	ID       string
	Version  int64
	Status   string
	Outcome  Outcome
	Verified bool
	Final    bool
	Via      Via
	At       time.Time
}

// PageStatus is what a page is shown of the payment's committed state.
func (p Payment) PageStatus() PageStatus {
	return PageStatus{
		ID: p.ID, Version: p.Version, Status: p.Status, Outcome: p.Outcome,
		Verified: p.Verified(), Final: p.Final(), Via: p.Via, At: p.UpdatedAt,
	}
}

// hintStatus is what a page is shown of a hint: the committed version, unverified, never final.
func (p Payment) hintStatus() PageStatus {
	return PageStatus{
		ID: p.ID, Version: p.Version, Status: p.HintStatus, Outcome: outcomeOf(p.Operation, p.HintStatus),
		Via: ViaRealtime, At: p.HintAt,
	}
}

// Shown is what a page is shown first: a standing hint, else the committed state.
func (p Payment) Shown(now time.Time) PageStatus {
	if p.Hint(now) != "" {
		return p.hintStatus()
	}
	return p.PageStatus()
}
