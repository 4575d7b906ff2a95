package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// step is a step of a sandbox script.
type step struct {
	After  string `json:"after"`
	Status string `json:"status"`
}

// act is what the customer does with the prompt on the phone, as Dollr sees it.
func act(action string) []step {
	switch action {
	case "approve":
		return []step{{"0s", "PROCESSING"}, {"1500ms", "COMPLETED"}}
	case "decline":
		return []step{{"0s", "PROCESSING"}, {"1500ms", "FAILED"}}
	case "later":
		return []step{{"0s", "PROCESSING"}, {"3m", "COMPLETED"}}
	}
	return nil
}

// playCustomer plays what the customer does about an order's payment.
func (s *Shop) playCustomer(w http.ResponseWriter, r *http.Request) {
	order, ok := s.orders.find(r.PathValue("number"))
	if !ok {
		s.fail(w, r, http.StatusNotFound, "There is no such order.", nil)
		return
	}
	steps := act(r.FormValue("action"))
	if steps == nil {
		s.fail(w, r, http.StatusUnprocessableEntity, "action: want approve, decline or later.", nil)
		return
	}
	path := fmt.Sprintf("/_sandbox/payments/%s/script", url.PathEscape(order.Reference))
	if err := s.sandbox.call(r.Context(), http.MethodPost, path, map[string]any{"steps": steps}, nil); err != nil {
		s.fail(w, r, http.StatusBadGateway, "The sandbox did not play the script.", err)
		return
	}
	done(w, r, "/demo/orders/"+order.Number)
}

// weather is what is broken at present.
type weather struct {
	RealtimeDown bool `json:"realtime_down"`
	DollrDown    bool `json:"dollr_down"`
}

func (s *Shop) weather(ctx context.Context) (weather, error) {
	var now weather
	err := s.sandbox.call(ctx, http.MethodGet, "/_sandbox/faults", nil, &now)
	return now, err
}

// playWeather breaks and mends one thing, and leaves the sandbox's other switches as they are.
func (s *Shop) playWeather(w http.ResponseWriter, r *http.Request) {
	name, down := r.FormValue("break"), true
	if name == "" {
		name, down = r.FormValue("mend"), false
	}
	if name != "realtime_down" && name != "dollr_down" {
		s.fail(w, r, http.StatusUnprocessableEntity, "break or mend: want realtime_down or dollr_down.", nil)
		return
	}
	var faults map[string]json.RawMessage
	err := s.sandbox.call(r.Context(), http.MethodGet, "/_sandbox/faults", nil, &faults)
	if err == nil {
		faults[name] = fmt.Appendf(nil, "%t", down)
		err = s.sandbox.call(r.Context(), http.MethodPut, "/_sandbox/faults", faults, nil)
	}
	if err != nil {
		s.fail(w, r, http.StatusBadGateway, "The sandbox did not change the weather.", err)
		return
	}
	back := "/demo/"
	if order, ok := s.orders.find(r.FormValue("order")); ok {
		back += "orders/" + order.Number
	}
	done(w, r, back)
}

// done answers a form: a script needs no page, a browser without script gets the page again.
func done(w http.ResponseWriter, r *http.Request, back string) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, back, http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
