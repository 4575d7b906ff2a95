package shop

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// receive takes the relay's callbacks. This is the only place where an order is fulfilled. The order of things matters:
// verify over the raw bytes, drop what was handled before, act, and only then acknowledge.
func (s *Shop) receive(w http.ResponseWriter, r *http.Request) {
	message, err := s.verifier.Read(r)
	if err != nil {
		s.log.WarnContext(r.Context(), "callback refused", slog.Any("err", err))
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var event struct {
		Type string `json:"type"`
		Data struct {
			ReferenceID string            `json:"reference_id"`
			Metadata    map[string]string `json:"metadata"`
		} `json:"data"`
	}
	if err := json.Unmarshal(message.Body, &event); err != nil {
		http.Error(w, "the body is not a callback", http.StatusBadRequest)
		return
	}
	shown := make([]header, 0, 3)
	for _, name := range []string{callback.HeaderID, callback.HeaderTimestamp, callback.HeaderSignature} {
		shown = append(shown, header{name, r.Header.Get(name)})
	}
	known := s.orders.settle(event.Data.Metadata["order"], event.Data.ReferenceID, delivery{
		ID: message.ID, Type: event.Type, At: time.Now(), Headers: shown, Body: message.Body,
	})
	if !known { // of an earlier run: acknowledged, so that it is not sent for days
		s.log.InfoContext(r.Context(), "callback of an unknown order", slog.String("webhook_id", message.ID))
	}
	w.WriteHeader(http.StatusNoContent)
}
