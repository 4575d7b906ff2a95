package main

import (
	"encoding/json"
	"io"
	"net/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// orders is your shop. Each call is one transaction that also remembers the webhook-id, and does
// nothing if that is known already: callbacks come at least once.
type orders interface {
	Fulfil(webhookID, order string) error    // once per order, whatever payment it was
	NotPaid(webhookID, order string) error   // still payable; a success may come later
	AskPerson(webhookID, order string) error // the money and the order do not agree
}

// dollrCallback takes the callbacks of dollr-relay. Verifier is made once, of the secret:
// standardwebhooks.NewWebhook(os.Getenv("DOLLR_CALLBACK_SECRET")).
func dollrCallback(verifier *standardwebhooks.Webhook, shop orders) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the raw bytes, as they were signed
		if err != nil {
			http.Error(w, "body not readable", http.StatusBadRequest)
			return
		}
		if err := verifier.Verify(body, r.Header); err != nil { // checks the timestamp, too
			http.Error(w, "not signed by our relay", http.StatusUnauthorized)
			return
		}
		var event struct {
			Type string
			Test bool
			Data struct{ Metadata map[string]string }
		}
		if err := json.Unmarshal(body, &event); err != nil {
			http.Error(w, "not an event", http.StatusBadRequest)
			return
		}
		id, order := r.Header.Get(standardwebhooks.HeaderWebhookID), event.Data.Metadata["order"]
		switch {
		case event.Test: // from `callbacks trigger`: nothing was paid
		case event.Type == "payment.succeeded":
			err = shop.Fulfil(id, order)
		case event.Type == "payment.failed", event.Type == "payment.canceled", event.Type == "payment.expired":
			err = shop.NotPaid(id, order)
		case event.Type == "payment.mismatch", event.Type == "payment.contradicted":
			err = shop.AskPerson(id, order)
		}
		if err != nil { // the relay will try again
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
