package shop

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// event is what the shop reads of a callback.
type event struct {
	Type string `json:"type"`
	Data struct {
		Metadata map[string]string `json:"metadata"`
		Late     bool              `json:"late"`
	} `json:"data"`
}

// receive takes the relay's callbacks. It verifies the signature over the raw body, drops what it
// has seen already, and decides per order: this is the only place where an order is fulfilled.
func (s *Shop) receive(w http.ResponseWriter, r *http.Request) {
	message, err := s.verifier.Read(r)
	if err != nil {
		s.fail(w, r, http.StatusUnauthorized, err)
		return
	}
	var e event
	if err := json.Unmarshal(message.Body, &e); err != nil {
		s.fail(w, r, http.StatusBadRequest, err)
		return
	}
	got := received{
		ID: message.ID, At: time.Now(), Type: e.Type, Body: message.Body,
		Signature: r.Header.Get(callback.HeaderSignature), Timestamp: r.Header.Get(callback.HeaderTimestamp),
	}
	known := s.orders.change(e.Data.Metadata["order"], func(o *order) {
		got.Repeated = slices.ContainsFunc(o.Received, func(before received) bool { return before.ID == got.ID })
		o.Received = append(o.Received, got)
		if !got.Repeated {
			o.apply(e)
		}
	})
	if !known {
		s.log.WarnContext(r.Context(), "callback for an order that is not ours", slog.String("type", e.Type))
	}
	w.WriteHeader(http.StatusNoContent)
}

// apply is what an outcome means for an order. A fulfilled order stays fulfilled, and a type that is none of ours (a
// refund's, or one of a later version) changes nothing.
func (o *order) apply(e event) {
	switch {
	case e.Type == "payment.contradicted":
		o.Reason = "Dollr contradicts the payment. A person looks into it."
	case o.State == fulfilled:
	case e.Type == "payment.succeeded":
		o.State, o.Reason = fulfilled, "Paid, verified by the relay. Packed and on its way."
		if e.Data.Late {
			o.Reason = "Paid late, verified by the relay. Packed and on its way."
		}
	case e.Type == "payment.mismatch":
		o.State, o.Reason = onHold, "Another amount was paid than was asked. A person looks into it."
	case e.Type == "payment.failed", e.Type == "payment.canceled", e.Type == "payment.expired":
		o.State, o.Reason = released, "No payment came ("+e.Type+"). The goods are back on the shelf."
	}
}
