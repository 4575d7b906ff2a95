package relay

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// Registration is a merchant's wish to have a payment watched, already checked field by field.
type Registration struct {
	Operation   Operation
	ReferenceID string
	SessionID   int64
	SourceType  string
	SourceID    int64
	Expected    *Expected
	CallbackURL string
	Metadata    map[string]string
	WatchFor    time.Duration // 0: the default
}

// ID is the id of the payment that the registration is about.
func (g Registration) ID() string {
	return PaymentID(g.Operation, g.ReferenceID, g.SourceType, g.SourceID)
}

// ConflictError reports that a payment is known already, with another value of a field that is given again.
type ConflictError struct {
	Field  string
	Reason string
}

func (e *ConflictError) Error() string { return e.Field + ": " + e.Reason }

// Open is the payment that a first registration makes.
func (g Registration) Open(defaultWatch time.Duration, now time.Time) (Payment, []Effect) {
	p := Payment{
		ID: g.ID(), Operation: g.Operation, ReferenceID: g.ReferenceID, SessionID: g.SessionID,
		SourceType: g.SourceType, SourceID: g.SourceID, Expected: g.Expected,
		CallbackURL: g.CallbackURL, Metadata: maps.Clone(g.Metadata),
		Outcome: Pending, Version: 1, Via: ViaRegister, CreatedAt: now, UpdatedAt: now,
		WatchSince: now, WatchUntil: now.Add(g.watchFor(defaultWatch)),
	}
	return p, []Effect{Record{Event{
		At: now, Via: ViaRegister, Outcome: Pending, Version: 1, Detail: "Registered",
	}}}
}

func (g Registration) watchFor(defaultWatch time.Duration) time.Duration {
	if g.WatchFor > 0 {
		return g.WatchFor
	}
	return defaultWatch
}

// Merge is what a known payment becomes when it is registered again. A left-out field, or an equal
// value in another spelling, does not differ; a field that the known one lacks is filled in while it
// is not final; an expired one is watched again. A different value is a [*ConflictError].
func (g Registration) Merge(p Payment, defaultWatch time.Duration, now time.Time) (Payment, []Effect, error) {
	reopened := p.Outcome == Expired
	m := merger{final: p.Final() && !reopened}
	merge(&m, "session_id", &p.SessionID, g.SessionID)
	merge(&m, "source_type", &p.SourceType, g.SourceType)
	merge(&m, "source_id", &p.SourceID, g.SourceID)
	merge(&m, "callback_url", &p.CallbackURL, g.CallbackURL)
	m.expected(&p.Expected, g.Expected)
	m.metadata(&p.Metadata, g.Metadata)
	if known := p.WatchUntil.Sub(p.WatchSince); g.WatchFor > 0 && !reopened && g.WatchFor != known {
		m.differs("watch_for", "this payment is watched for "+known.String())
	}
	if m.conflict != nil {
		return p, nil, m.conflict
	}
	var effects []Effect
	switch {
	case reopened:
		p.Outcome, p.FinalAt, p.ReopenedUntil = Pending, time.Time{}, time.Time{}
		p.WatchSince, p.WatchUntil = now, now.Add(g.watchFor(defaultWatch))
		p.Version++
		p.Via = ViaRegister
		p.UpdatedAt = now
		effects = append(effects, p.registered("Registered again: watched again"), Publish{p.PageStatus()})
	case len(m.filled) > 0:
		p.UpdatedAt = now
		effects = append(effects, p.registered("Registered again: filled in "+strings.Join(m.filled, ", ")))
	}
	return p, effects, nil
}

func (p Payment) registered(detail string) Effect {
	return Record{Event{
		At: p.UpdatedAt, Via: ViaRegister, Status: p.Status, Outcome: p.Outcome, Version: p.Version, Detail: detail,
	}}
}

// merger collects what a second registration fills in, and the first thing that it contradicts.
type merger struct {
	final    bool
	filled   []string
	conflict error
}

func (m *merger) differs(field, reason string) {
	if m.conflict == nil {
		m.conflict = &ConflictError{Field: field, Reason: reason}
	}
}

// fill reports whether a field that the known payment lacks may be filled in.
func (m *merger) fill(field string) bool {
	if m.final {
		m.differs(field, "this payment is final and was registered without it")
		return false
	}
	m.filled = append(m.filled, field)
	return true
}

func merge[T comparable](m *merger, field string, known *T, given T) {
	var none T
	switch {
	case given == none || given == *known:
	case *known == none:
		if m.fill(field) {
			*known = given
		}
	default:
		m.differs(field, fmt.Sprintf("this payment is registered with %v", *known))
	}
}

func (m *merger) expected(known **Expected, given *Expected) {
	switch {
	case given == nil:
	case *known == nil:
		if m.fill("expected") {
			*known = given
		}
	case !equalDecimals((*known).Amount, given.Amount):
		m.differs("expected.amount", "this payment is registered with "+(*known).Amount)
	case (*known).Currency != given.Currency:
		m.differs("expected.currency", "this payment is registered with "+(*known).Currency)
	case given.Side != "" && (*known).Side == "":
		if m.fill("expected.side") {
			filled := **known
			filled.Side = given.Side
			*known = &filled
		}
	case given.Side != "" && (*known).Side != given.Side:
		m.differs("expected.side", "this payment is registered with "+(*known).Side)
	}
}

func (m *merger) metadata(known *map[string]string, given map[string]string) {
	switch {
	case len(given) == 0 || maps.Equal(*known, given):
	case len(*known) == 0:
		if m.fill("metadata") {
			*known = maps.Clone(given)
		}
	default:
		m.differs("metadata", "this payment is registered with other metadata")
	}
}
