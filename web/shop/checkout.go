package shop

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// The lamp's price. The payer bears Dollr's fee, so the shop expects the payee's amount.
const (
	price    = "250.00"
	total    = "255.00"
	currency = "USD"
)

// languages are what <dollr-status> speaks.
var languages = [...]language{{"en", "English"}, {"fr", "Français"}, {"pt", "Português"}, {"sw", "Kiswahili"}, {"ar", "العربية"}} //nolint:gochecknoglobals // a table

type language struct{ Code, Name string }

// pageAccess is the part of the relay's answer that a checkout page needs.
type pageAccess struct {
	Page struct {
		Token     string `json:"token"`
		ScriptURL string `json:"script_url"`
	} `json:"page"`
}

func (s *Shop) showProduct(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "product.html", s.orders.latest(3))
}

// checkout books an order, makes its payment at Dollr and has the relay watch it. In a real shop the payment would be an
// execution at Dollr's API; here the sandbox makes one up.
func (s *Shop) checkout(w http.ResponseWriter, r *http.Request) {
	payment := map[string]any{
		"operation": "collection", "source_type": "INVOICE", "status": "PENDING",
		"payer_amount": total, "payer_currency": currency, "payee_amount": price, "payee_currency": currency,
	}
	var made struct {
		ReferenceID string `json:"reference_id"`
		SessionID   int64  `json:"session_id"`
		SourceID    int64  `json:"source_id"`
	}
	if err := s.sandbox.call(r.Context(), http.MethodPost, "/_sandbox/payments", payment, &made); err != nil {
		s.fail(w, r, http.StatusBadGateway, "The sandbox did not make a payment.", err)
		return
	}
	order := s.orders.open(made.ReferenceID)
	var watched struct {
		ID string `json:"id"`
	}
	err := s.relay.call(r.Context(), http.MethodPost, "/v1/payments", map[string]any{
		"operation": "collection", "reference_id": made.ReferenceID, "session_id": made.SessionID,
		"source_type": "INVOICE", "source_id": made.SourceID,
		"expected": map[string]string{"amount": price, "currency": currency, "side": "payee"},
		"metadata": map[string]string{"order": order.Number},
	}, &watched)
	if err == nil && watched.ID == "" {
		err = errors.New("the answer has no id")
	}
	if err != nil {
		s.fail(w, r, http.StatusBadGateway, "The relay did not take the payment.", err)
		return
	}
	s.orders.registered(order.Number, watched.ID)
	http.Redirect(w, r, "/demo/orders/"+order.Number, http.StatusSeeOther)
}

// orderPage is what the order's page shows before its script has run.
type orderPage struct {
	Number    string
	State     state
	Token     string
	ScriptURL string
	Price     string
	Total     string
	Language  string
	Languages []language
	Weather   weather
}

func (s *Shop) showOrder(w http.ResponseWriter, r *http.Request) {
	order, ok := s.orders.find(r.PathValue("number"))
	if !ok || order.PaymentID == "" {
		s.fail(w, r, http.StatusNotFound, "There is no such order. The demo keeps its orders in memory and forgets them when it ends.", nil)
		return
	}
	// A fresh token each time, so that a page that is reloaded much later works.
	var access pageAccess
	if err := s.relay.call(r.Context(), http.MethodPost, paymentPath(order)+"/page-token", nil, &access); err != nil {
		s.fail(w, r, http.StatusBadGateway, "The relay gave no page token.", err)
		return
	}
	weather, err := s.weather(r.Context())
	if err != nil {
		s.fail(w, r, http.StatusBadGateway, "The sandbox cannot be reached.", err)
		return
	}
	page := orderPage{
		Number: order.Number, State: order.State, Token: access.Page.Token, ScriptURL: access.Page.ScriptURL,
		Price: price, Total: total, Language: languages[0].Code, Languages: languages[:], Weather: weather,
	}
	for _, l := range languages {
		if l.Code == r.FormValue("lang") {
			page.Language = l.Code
		}
	}
	s.show(w, r, http.StatusOK, "order.html", page)
}

func paymentPath(o order) string {
	return fmt.Sprintf("/v1/payments/%s", url.PathEscape(o.PaymentID))
}
