package relay

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// reportType names a report: payment.… for what customers pay, and the operation's own prefix for
// the rest, so that nobody ships goods on a refund.
func reportType(op Operation, what string) string {
	switch op {
	case Payout, Transfer, Refund:
		return string(op) + "." + what
	case Collection, Source:
	}
	return "payment." + what
}

// what is the type without its prefix: succeeded, failed, …, contradicted.
func (r Report) what() string { return r.Type[strings.LastIndexByte(r.Type, '.')+1:] }

// ReportTypes lists every type that a report can have.
func ReportTypes() []string {
	var types []string
	for _, op := range []Operation{Collection, Payout, Transfer, Refund} {
		for _, what := range []string{"succeeded", "failed", "canceled", "mismatch", "expired", "contradicted"} {
			types = append(types, reportType(op, what))
		}
	}
	return types
}

// ReportID derives a report's id, the webhook-id of its callback, from the payment's id and the
// type: the same outcome always has the same id, and there is at most one of each.
func ReportID(paymentID, reportType string) string {
	return derivedID("evt_", paymentID, reportType)
}

// ReportData is the `data` of a callback and of an entry of the event feed (contract, section 5).
type ReportData struct {
	ID              string            `json:"id"`
	Operation       Operation         `json:"operation"`
	ReferenceID     *string           `json:"reference_id"`
	SessionID       *int64            `json:"session_id"`
	SourceType      *string           `json:"source_type"`
	SourceID        *int64            `json:"source_id"`
	Status          *string           `json:"status"`
	Outcome         Outcome           `json:"outcome"`
	VerifiedAt      *Time             `json:"verified_at"`
	Late            bool              `json:"late"`
	PreviousOutcome *Outcome          `json:"previous_outcome"`
	Contradicted    bool              `json:"contradicted"`
	Siblings        []string          `json:"siblings"`
	Amounts         *Amounts          `json:"amounts"`
	Expected        *Expected         `json:"expected"`
	Metadata        map[string]string `json:"metadata"`
	Version         int64             `json:"version"`
}

// Data is what reports say of a payment.
func (p Payment) Data() ReportData {
	data := ReportData{
		ID: p.ID, Operation: p.Operation,
		ReferenceID: orNull(p.ReferenceID), SessionID: orNull(p.SessionID),
		SourceType: orNull(p.SourceType), SourceID: orNull(p.SourceID),
		Status: orNull(p.Status), Outcome: p.Outcome, VerifiedAt: NullTime(p.VerifiedAt),
		Late: p.Late, PreviousOutcome: orNull(p.PreviousOutcome), Contradicted: p.Contradicted,
		Siblings: p.Siblings, Amounts: p.Amounts, Expected: p.Expected, Metadata: p.Metadata, Version: p.Version,
	}
	if data.Siblings == nil {
		data.Siblings = []string{}
	}
	if data.Metadata == nil {
		data.Metadata = map[string]string{}
	}
	return data
}

// Body is the body of a report's callback. It is made once, in the transaction of the outcome, and
// sent with the same bytes on every try.
func (r Report) Body(p Payment) ([]byte, error) {
	body, err := json.Marshal(struct {
		Type      string     `json:"type"`
		Timestamp Time       `json:"timestamp"`
		Data      ReportData `json:"data"`
	}{r.Type, Time(r.At), p.Data()})
	if err != nil {
		return nil, fmt.Errorf("encode report %s of %s: %w", r.Type, p.ID, err)
	}
	return body, nil
}

// Time is a time in JSON: RFC 3339, UTC, milliseconds.
type Time time.Time

// NullTime is t for JSON, null if it is zero.
func NullTime(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	jt := Time(t)
	return &jt
}

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.String() + `"`), nil
}

// String is t as it stands in JSON, without quotes.
func (t Time) String() string { return time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z") }

func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
