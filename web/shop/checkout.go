package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

var (
	errNoOrder   = errors.New("there is no such order")
	errNoProduct = errors.New("there is no such product")
	errNoAction  = errors.New("want approve, decline or slow")
)

func (s *Shop) showProducts(w http.ResponseWriter, _ *http.Request) {
	s.render(w, "products.html", products())
}

// checkout places an order: it makes the payment at Dollr and registers it with the relay before
// the customer can pay it.
func (s *Shop) checkout(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(products(), func(p product) bool { return p.ID == r.PostFormValue("product") })
	if i < 0 {
		s.fail(w, r, http.StatusNotFound, errNoProduct)
		return
	}
	placed, err := s.place(r.Context(), products()[i])
	if err != nil {
		s.fail(w, r, http.StatusBadGateway, err)
		return
	}
	http.Redirect(w, r, "/demo/orders/"+placed.Number, http.StatusSeeOther)
}

func (s *Shop) place(ctx context.Context, p product) (order, error) {
	var payment struct {
		ReferenceID string `json:"reference_id"`
		SessionID   int64  `json:"session_id"`
		SourceID    int64  `json:"source_id"`
	}
	err := s.sandbox.call(ctx, http.MethodPost, "/_sandbox/payments", map[string]any{
		"operation": "collection", "payer_amount": p.Price, "payer_currency": currency, "payee_amount": p.Price, "payee_currency": currency,
	}, &payment)
	if err != nil {
		return order{}, fmt.Errorf("make a payment at the sandbox: %w", err)
	}
	placed := order{Number: s.orders.number(), Product: p, State: awaiting, Reference: payment.ReferenceID, PlacedAt: time.Now()}
	var known struct {
		ID   string
		Page struct{ Token string }
	}
	err = s.relay.call(ctx, http.MethodPost, "/v1/payments", map[string]any{
		"operation": "collection", "reference_id": payment.ReferenceID, "session_id": payment.SessionID,
		"source_type": "INVOICE", "source_id": payment.SourceID,
		"expected": map[string]string{"amount": p.Price, "currency": currency, "side": "payee"},
		"metadata": map[string]string{"order": placed.Number},
	}, &known)
	if err != nil {
		return order{}, fmt.Errorf("register with the relay: %w", err)
	}
	placed.PaymentID, placed.Token = known.ID, known.Page.Token
	s.orders.add(placed)
	return placed, nil
}

func (s *Shop) showOrder(w http.ResponseWriter, r *http.Request) {
	o, _, ok := s.orders.find(r.PathValue("number"))
	if !ok {
		s.fail(w, r, http.StatusNotFound, errNoOrder)
		return
	}
	s.render(w, "order.html", o)
}

// freshToken is what the page asks for when its token has expired.
func (s *Shop) freshToken(w http.ResponseWriter, r *http.Request) {
	o, _, ok := s.orders.find(r.PathValue("number"))
	if !ok {
		s.fail(w, r, http.StatusNotFound, errNoOrder)
		return
	}
	s.pass(w, r, s.relay, http.MethodPost, "/v1/payments/"+o.PaymentID+"/page-token", nil)
}

// showTimeline passes on what the relay has learned of the order's payment.
func (s *Shop) showTimeline(w http.ResponseWriter, r *http.Request) {
	o, _, ok := s.orders.find(r.PathValue("number"))
	if !ok {
		s.fail(w, r, http.StatusNotFound, errNoOrder)
		return
	}
	s.pass(w, r, s.relay, http.MethodGet, "/v1/payments/"+o.PaymentID+"/events", nil)
}

// followOrder streams the order as it changes (server-sent events).
func (s *Shop) followOrder(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	for {
		o, changed, ok := s.orders.find(r.PathValue("number"))
		text, err := json.Marshal(o)
		if !ok || err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-time.After(time.Minute):
			return // the browser comes back; a stopping shop does not wait long
		}
	}
}

// step is one step of what a customer does at Dollr.
type step struct {
	After  string `json:"after"`
	Status string `json:"status"`
}

// playCustomer lets the customer at the other end approve, decline, or take three minutes.
func (s *Shop) playCustomer(w http.ResponseWriter, r *http.Request) {
	o, _, ok := s.orders.find(r.PathValue("number"))
	if !ok {
		s.fail(w, r, http.StatusNotFound, errNoOrder)
		return
	}
	var wish struct{ Action string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&wish); err != nil {
		s.fail(w, r, http.StatusBadRequest, err)
		return
	}
	actions := map[string][]step{
		"approve": {{"0s", "PROCESSING"}, {"1500ms", "COMPLETED"}},
		"decline": {{"0s", "PROCESSING"}, {"1200ms", "FAILED"}},
		"slow":    {{"0s", "PROCESSING"}, {"3m", "COMPLETED"}},
	}
	steps, ok := actions[wish.Action]
	if !ok {
		s.fail(w, r, http.StatusUnprocessableEntity, errNoAction)
		return
	}
	s.pass(w, r, s.sandbox, http.MethodPost, "/_sandbox/payments/"+o.Reference+"/script", map[string]any{"steps": steps})
}

func (s *Shop) showWeather(w http.ResponseWriter, r *http.Request) {
	s.pass(w, r, s.sandbox, http.MethodGet, "/_sandbox/faults", nil)
}

// changeWeather cuts and mends realtime and Dollr.
func (s *Shop) changeWeather(w http.ResponseWriter, r *http.Request) {
	var weather struct {
		RealtimeDown bool `json:"realtime_down"`
		DollrDown    bool `json:"dollr_down"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&weather); err != nil {
		s.fail(w, r, http.StatusBadRequest, err)
		return
	}
	s.pass(w, r, s.sandbox, http.MethodPut, "/_sandbox/faults", weather)
}

// pass asks a server and answers with its answer.
func (s *Shop) pass(w http.ResponseWriter, r *http.Request, server *client, method, path string, body any) {
	var answer json.RawMessage
	if err := server.call(r.Context(), method, path, body, &answer); err != nil {
		s.fail(w, r, http.StatusBadGateway, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(answer) // a browser that has left does not matter
}
