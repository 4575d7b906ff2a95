package sim

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/dollr-relay/dollr-relay/relay"
)

// auditTimelines checks that every version of a payment is in its timeline, in order.
func (w *world) auditTimelines(ctx context.Context, client *http.Client) {
	for _, o := range w.plan.orders {
		s := w.show(ctx, client, o)
		_, body := w.call(ctx, client, http.MethodGet, "/v1/payments/"+o.id()+"/events", nil)
		var timeline struct {
			Data []struct {
				Version int64
				Outcome relay.Outcome
			}
		}
		if err := json.Unmarshal(body, &timeline); err != nil || s == nil {
			w.referee.fail("answers", "the timeline of order %d: %s", o.number, body)
			continue
		}
		last := int64(0)
		for _, e := range timeline.Data {
			if e.Version < last || e.Version > last+1 {
				w.referee.fail("the timeline has every version", "order %d: version %d follows %d", o.number, e.Version, last)
			}
			last = e.Version
		}
		if last != s.Version {
			w.referee.fail("the timeline has every version", "order %d has version %d, its timeline ends with %d", o.number, s.Version, last)
		}
	}
}

// auditSiblings checks that succeeded payments of one source know of each other.
func (w *world) auditSiblings(ctx context.Context, client *http.Client) {
	for _, o := range w.plan.orders {
		s := w.show(ctx, client, o)
		if s == nil {
			continue
		}
		for _, other := range w.plan.orders {
			same := other != o && o.sourceID != 0 && other.sourceID == o.sourceID && other.sourceTyp == o.sourceTyp
			if !same {
				continue
			}
			if p := w.show(ctx, client, other); p != nil && slices.Contains(s.Siblings, p.ID) != (p.Outcome == relay.Succeeded) {
				w.referee.fail("siblings", "order %d names %v; order %d of the same source is %s", o.number, s.Siblings, other.number, p.Outcome)
			}
		}
	}
}

// auditMetrics checks that the relay is ready and that its metrics name nobody.
func (w *world) auditMetrics(ctx context.Context, client *http.Client) {
	if code, _ := w.callHost(ctx, client, adminHost, http.MethodGet, "/readyz", nil); code != http.StatusOK {
		w.referee.fail("ready when all is well", "/readyz = %d", code)
	}
	code, body := w.callHost(ctx, client, adminHost, http.MethodGet, "/metrics", nil)
	if code != http.StatusOK || strings.Contains(string(body), "pay_") || strings.Contains(string(body), "evt_") {
		w.referee.fail("no payment id in metrics", "/metrics = %d, with an id: %t", code, strings.Contains(string(body), "pay_"))
	}
}
