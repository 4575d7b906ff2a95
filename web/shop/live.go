package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	refreshEvery = time.Second     // how often the relay's timeline is read for an open page
	sendWithin   = 5 * time.Second // a browser that does not read for so long is let go
)

// behindTheScenes is what the right half of the order's page shows.
type behindTheScenes struct {
	State     state           `json:"state"`
	Callbacks []delivery      `json:"callbacks"`
	Timeline  json.RawMessage `json:"timeline"`
	Weather   weather         `json:"weather"`
}

// streamOrder sends the order as it is now and after every change, as server-sent events. When the relay or the sandbox
// does not answer the stream ends, and the browser opens another one a little later.
func (s *Shop) streamOrder(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	var sent []byte
	for {
		order, ok := s.orders.find(r.PathValue("number"))
		if !ok || order.PaymentID == "" {
			if sent == nil {
				w.WriteHeader(http.StatusNoContent) // tells an EventSource not to come back
			}
			return
		}
		view, err := s.observe(r.Context(), order)
		if err != nil {
			return
		}
		if !bytes.Equal(view, sent) {
			_ = control.SetWriteDeadline(time.Now().Add(sendWithin)) // a server without deadlines cannot be stalled either
			if _, err := fmt.Fprintf(w, "data: %s\n\n", view); err != nil || control.Flush() != nil {
				return
			}
			sent = view
		}
		select {
		case <-r.Context().Done():
			return
		case <-order.changed:
		case <-time.After(refreshEvery):
		}
	}
}

// observe collects what is known of an order, here and at the relay.
func (s *Shop) observe(ctx context.Context, order order) ([]byte, error) {
	var timeline struct {
		Data json.RawMessage `json:"data"`
	}
	if err := s.relay.call(ctx, http.MethodGet, paymentPath(order)+"/events", nil, &timeline); err != nil {
		return nil, err
	}
	weather, err := s.weather(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(behindTheScenes{order.State, order.Callbacks, timeline.Data, weather})
}
