package forward

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/relay"
)

// UnknownTypeError reports a type that no callback has.
type UnknownTypeError struct{ Type string }

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("%q is no type of a callback; the types are %s", e.Type, strings.Join(relay.ReportTypes(), ", "))
}

// Invent makes an event of a type that never happened, marked "test":true beside its type, with a
// payment that does not exist. It looks like a real one in everything else.
func Invent(eventType string, now time.Time) (id string, body []byte, err error) {
	if !slices.Contains(relay.ReportTypes(), eventType) {
		return "", nil, &UnknownTypeError{eventType}
	}
	p := invented(eventType, now)
	genuine, err := relay.Report{Type: eventType, At: now}.Body(p)
	if err != nil {
		return "", nil, err
	}
	var event struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Test      bool            `json:"test"`
		Data      json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(genuine, &event); err != nil {
		return "", nil, fmt.Errorf("invent %s: %w", eventType, err)
	}
	event.Test = true
	body, err = json.Marshal(event)
	return "evt_test_" + strings.ToLower(rand.Text()), body, err
}

// invented is the payment that an event of the type would be about.
func invented(eventType string, now time.Time) relay.Payment {
	prefix, what, _ := strings.Cut(eventType, ".")
	p := relay.Payment{
		Operation: relay.Operation(prefix), ReferenceID: uuid.NewString(),
		Expected: &relay.Expected{Amount: "250.00", Currency: "USD", Side: "payee"}, Metadata: map[string]string{"order": "test"},
		Version: 3, VerifiedAt: now, Outcome: relay.Outcome(what),
	}
	paid := &relay.Amounts{PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "250.00", PayeeCurrency: "USD"}
	switch what {
	case "succeeded":
		p.Status, p.Amounts = "COMPLETED", paid
	case "contradicted":
		p.Status, p.Amounts, p.Outcome, p.Contradicted = "COMPLETED", paid, relay.Succeeded, true
	case "mismatch":
		p.Status, p.Amounts = "COMPLETED", &relay.Amounts{PayerAmount: "105.00", PayerCurrency: "USD", PayeeAmount: "100.00", PayeeCurrency: "USD"}
	case "failed":
		p.Status = "FAILED"
	case "canceled":
		p.Status = "CANCELED"
	case "expired":
		p.Status, p.VerifiedAt = "PENDING", time.Time{}
	}
	if prefix == "payment" {
		p.Operation, p.SessionID, p.SourceType, p.SourceID = relay.Collection, 55, "INVOICE", 101
	}
	if eventType == "payment.canceled" { // only a hosted checkout is ever canceled
		p.Operation, p.ReferenceID, p.SessionID = relay.Source, "", 0
	}
	p.ID = relay.PaymentID(p.Operation, p.ReferenceID, p.SourceType, p.SourceID)
	return p
}
