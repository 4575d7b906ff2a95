package dollrtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Payment is an execution or a source as Dollr keeps it. Amounts are decimal text, sent as JSON numbers exactly as written.
type Payment struct {
	Operation   string `json:"operation"`              // collection, payout, transfer, refund or source
	ReferenceID string `json:"reference_id,omitempty"` // executions
	SessionID   int64  `json:"session_id,omitempty"`   // collections, for those who listen to changes
	SourceType  string `json:"source_type,omitempty"`  // INVOICE or ORDER
	SourceID    int64  `json:"source_id,omitempty"`    // sources
	Status      string `json:"status"`                 // any word, also one that Dollr does not have

	PayerAmount   string `json:"payer_amount,omitempty"`
	PayerCurrency string `json:"payer_currency,omitempty"`
	PayeeAmount   string `json:"payee_amount,omitempty"`
	PayeeCurrency string `json:"payee_currency,omitempty"`
	TotalAmount   string `json:"total_amount,omitempty"`
	Currency      string `json:"currency,omitempty"`

	GatewayMessage string `json:"gateway_message,omitempty"`
	// ClientSecret, if set, is sent as Dollr does for card payments that need 3-D Secure. Nobody may keep it.
	ClientSecret string `json:"client_secret,omitempty"`
}

// Key names a payment: its operation and reference id, or "source", type and id.
func (p Payment) Key() string {
	if p.Operation == Source {
		return SourceKey(p.SourceType, p.SourceID)
	}
	return ExecutionKey(p.Operation, p.ReferenceID)
}

// ExecutionKey is the [Payment.Key] of an execution.
func ExecutionKey(operation, referenceID string) string {
	return operation + ":" + strings.ToLower(referenceID)
}

// SourceKey is the [Payment.Key] of a source.
func SourceKey(sourceType string, sourceID int64) string {
	return Source + ":" + strings.ToUpper(sourceType) + ":" + strconv.FormatInt(sourceID, 10)
}

// ErrUnknown reports a payment that the stand-in does not have.
var ErrUnknown = errors.New("dollrtest: unknown payment")

// Put creates or replaces a payment.
func (s *Server) Put(p Payment) error {
	switch {
	case p.Operation == Source && (p.SourceType != "INVOICE" && p.SourceType != "ORDER" || p.SourceID <= 0):
		return errors.New("dollrtest: a source needs source_type INVOICE or ORDER and a source_id")
	case p.Operation == Source:
	case !slices.Contains([]string{Collection, Payout, Transfer, Refund}, p.Operation):
		return fmt.Errorf("dollrtest: operation: %q is unknown", p.Operation)
	case uuid.Validate(p.ReferenceID) != nil:
		return errors.New("dollrtest: reference_id is no UUID")
	}
	for _, amount := range []string{p.PayerAmount, p.PayeeAmount, p.TotalAmount} {
		if _, err := json.Marshal(json.Number(amount)); err != nil {
			return fmt.Errorf("dollrtest: amount: %q is no JSON number", amount)
		}
	}
	if p.Status == "" {
		p.Status = "PENDING"
		if p.Operation == Source {
			p.Status = "IDLE"
		}
	}
	s.change(func() *Payment {
		s.payments[p.Key()] = &p
		return &p
	})
	return nil
}

// SetStatus changes a payment's status to any word.
func (s *Server) SetStatus(key, status string) error {
	return s.Change(key, func(p *Payment) { p.Status = status })
}

// Change changes a payment in place. Its key stays.
func (s *Server) Change(key string, edit func(*Payment)) error {
	err := ErrUnknown
	s.change(func() *Payment {
		p := s.payments[key]
		if p != nil {
			err = nil
			edit(p)
		}
		return p
	})
	return err
}

// Delete makes Dollr forget a payment: its status is 404 from now on.
func (s *Server) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.payments, key)
}

// Find returns a payment.
func (s *Server) Find(key string) (Payment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.payments[key]; p != nil {
		return *p, nil
	}
	return Payment{}, ErrUnknown
}

// Payments returns all payments, by key.
func (s *Server) Payments() []Payment {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Payment, 0, len(s.payments))
	for _, p := range s.payments {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b Payment) int { return strings.Compare(a.Key(), b.Key()) })
	return all
}

// change runs edit under the lock and tells what it returns, unless nil, in the order of the changes.
func (s *Server) change(edit func() *Payment) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	p := edit()
	var changed Payment
	if p != nil {
		changed = *p
	}
	s.mu.Unlock()
	if p != nil && s.opts.OnChange != nil {
		s.opts.OnChange(changed)
	}
}
