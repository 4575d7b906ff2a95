package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

// settle makes n payments of which each has succeeded.
func (s *system) settle(n int) []payment {
	s.t.Helper()
	all := make([]payment, n)
	for i := range all {
		all[i] = s.pay()
		s.set(all[i], "COMPLETED")
		s.verify(all[i])
	}
	return all
}

func TestFeed_everyOutcomeOnceInOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	empty := s.call(200, "GET", "/v1/events", "")
	if len(empty["data"].([]any)) != 0 || empty["next_cursor"] != "" {
		t.Fatalf("feed = %v, want nothing and an empty cursor", empty)
	}
	paid := s.settle(5)
	seen := map[string]bool{}
	after, n := "", 0
	for {
		page := s.call(200, "GET", "/v1/events?limit=2&after="+after, "")
		data := page["data"].([]any)
		if len(data) == 0 {
			if page["next_cursor"] != after {
				t.Errorf("next_cursor = %v at the end, want the same %s", page["next_cursor"], after)
			}
			break
		}
		for _, e := range data {
			entry := e.(map[string]any)
			if id := entry["data"].(map[string]any)["id"]; id != paid[n].id || entry["type"] != "payment.succeeded" {
				t.Errorf("entry %d = %v of %v, want payment.succeeded of %s", n, entry["type"], id, paid[n].id)
			}
			if seen[entry["id"].(string)] {
				t.Errorf("%v comes twice", entry["id"])
			}
			seen[entry["id"].(string)] = true
			n++
		}
		after = page["next_cursor"].(string)
	}
	if n != 5 {
		t.Errorf("%d entries, want 5", n)
	}
	for range 5 {
		select {
		case got := <-s.received:
			if id := got.header.Get("Webhook-Id"); !seen[id] {
				t.Errorf("callback %s is not in the feed", id)
			}
		case <-time.After(patience):
			t.Fatal("a callback is missing")
		}
	}

	held := make(chan reply, 1)
	go func() {
		got, err := s.try(request{method: "GET", path: "/v1/events?wait=20s&after=" + after})
		if err != nil {
			t.Error(err)
		}
		held <- got
	}()
	p := s.settle(1)[0]
	select {
	case got := <-held:
		data := got.fields["data"].([]any)
		if len(data) != 1 || data[0].(map[string]any)["data"].(map[string]any)["id"] != p.id {
			t.Errorf("a held reader got %s, want the new outcome", got.body)
		}
	case <-time.After(10 * time.Second):
		t.Error("a held reader does not hear of the outcome")
	}
	began := time.Now()
	s.call(200, "GET", "/v1/events?wait=100ms&after="+s.call(200, "GET", "/v1/events", "")["next_cursor"].(string), "")
	if took := time.Since(began); took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("nothing new took %s, want 100ms", took)
	}
}

func TestFeed_cursorOfAnotherHistoryIsRefused(t *testing.T) {
	t.Parallel()
	first, second := start(t), start(t)
	first.settle(2)
	second.settle(2)
	cursor := first.call(200, "GET", "/v1/events", "")["next_cursor"].(string)
	if got := second.send(request{method: "GET", path: "/v1/events?after=" + cursor}); got.code != 410 {
		t.Errorf("a cursor of as many other outcomes: %s, want 410", said(got))
	}
	if got := first.send(request{method: "GET", path: "/v1/events?after=" + cursor}); got.code != 200 {
		t.Errorf("its own cursor: %s, want 200", said(got))
	}
}

func TestCallbacks_listAndRedeliver(t *testing.T) {
	t.Parallel()
	s := start(t)
	paid := s.settle(3)
	bodies := map[string]string{}
	for range 3 {
		got := <-s.received
		bodies[got.header.Get("Webhook-Id")] = string(got.body)
	}
	var delivered []any
	until(t, "delivered", func() bool {
		delivered = s.call(200, "GET", "/v1/callbacks?state=delivered", "")["data"].([]any)
		return len(delivered) == 3
	})
	newest := delivered[0].(map[string]any)
	attempts := newest["attempts"].([]any)
	if newest["payment_id"] != paid[2].id || newest["url"] != s.backend+"/hook" || newest["next_attempt_at"] != nil || len(attempts) != 1 || attempts[0].(map[string]any)["status"] != 204.0 {
		t.Errorf("newest callback = %v, want the last payment's with one attempt answered 204", newest)
	}
	page := s.call(200, "GET", "/v1/callbacks?limit=2", "")
	rest := s.call(200, "GET", fmt.Sprintf("/v1/callbacks?limit=2&cursor=%v", page["next_cursor"]), "")
	if len(page["data"].([]any)) != 2 || len(rest["data"].([]any)) != 1 || rest["next_cursor"] != nil {
		t.Errorf("pages = %v and %v, want 2 and 1", page, rest)
	}
	if dead := s.call(200, "GET", "/v1/callbacks?state=dead", "")["data"].([]any); len(dead) != 0 {
		t.Errorf("dead = %v, want none", dead)
	}

	id := newest["id"].(string)
	again := s.call(202, "POST", "/v1/callbacks/"+id+"/redeliver", "")
	if again["id"] != id || again["state"] != "pending" || again["next_attempt_at"] == nil {
		t.Errorf("redeliver = %v, want pending and due", again)
	}
	select {
	case got := <-s.received:
		if got.header.Get("Webhook-Id") != id || string(got.body) != bodies[id] {
			t.Errorf("redelivered %s %s, want the same id and bytes", got.header.Get("Webhook-Id"), got.body)
		}
	case <-time.After(patience):
		t.Error("the redelivered callback does not come")
	}
}

func TestReconcile_reports(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	// The first poll must be over: it would settle the payment before the sweep.
	until(t, "read once", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["status"] == "PENDING" })
	s.set(p, "COMPLETED")
	if report := s.call(202, "POST", "/v1/reconcile", ""); report["started_at"] == nil {
		t.Errorf("report so far = %v, want a start", report)
	}
	until(t, "ended", func() bool {
		report := s.call(200, "GET", "/v1/reconcile", "")
		return report["ended_at"] != nil && report["asked"] == 1.0
	})
	if got := s.call(200, "GET", "/v1/payments/"+p.id, ""); got["outcome"] != "succeeded" {
		t.Errorf("after the sweep: %v, want succeeded", got["outcome"])
	}
}

func TestRealtimeKey_givenAgainAndLimited(t *testing.T) {
	t.Parallel()
	s := start(t, withSupabase, func(c *app.Config) { c.RealtimeWindow = time.Millisecond })
	p := s.pay()
	mints := func() int {
		n := 0
		for _, r := range s.call(200, "GET", s.sandbox+"/_sandbox/requests", "")["data"].([]any) {
			if r.(map[string]any)["Endpoint"] == "realtime_key" {
				n++
			}
		}
		return n
	}
	body := fmt.Sprintf(`{"session_id":"55","source_type":"INVOICE","reference_id":%q}`, p.reference)
	key := s.call(200, "POST", "/v1/realtime-keys/collection", body)
	if key["topic"] != "payment-intent:55:"+p.reference || key["filter"] != "reference_id=eq."+p.reference || key["schema"] != "public" ||
		key["table"] != "checkout_payment_intent_public_status" || key["supabase_url"] != s.sandbox || key["expires_in"].(float64) > 300 || key["expires_in"].(float64) < 290 {
		t.Errorf("key = %v", key)
	}
	before := mints()
	for range 3 {
		if got := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(p.token)}); got.code != 200 || got.fields["access_token"] != key["access_token"] {
			t.Fatalf("page key: %s, want the same key", said(got))
		}
	}
	if got := mints(); got != before {
		t.Errorf("%d more keys were minted, want none", got-before)
	}
	var limited reply
	for range 60 {
		if limited = s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(p.token)}); limited.code != 200 {
			break
		}
	}
	if said(limited) != "429 Too many realtime keys for this payment." {
		t.Errorf("asking without end: %s, want 429", said(limited))
	}
	checkProblem(t, limited)
	other := s.pay()
	if got := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(other.token)}); got.code != 200 || got.fields["access_token"] == key["access_token"] {
		t.Errorf("another payment: %s, want a key of its own", said(got))
	}
	s.fault(`{"endpoint":"realtime_key","kind":"code","code":403}`)
	third := s.pay()
	if got := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(third.token)}); got.code != 502 {
		t.Errorf("refused by Dollr: %s, want 502", said(got))
	}
	s.fault(`{"endpoint":"realtime_key","kind":"code","code":503}`)
	if got := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(third.token)}); got.code != 503 {
		t.Errorf("Dollr is down: %s, want 503", said(got))
	}
}

func TestRealtimeKey_withoutRealtime(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	if got := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(p.token)}); said(got) != "409 Supabase is not configured on this relay: SUPABASE_URL and SUPABASE_ANON_KEY are unset." {
		t.Errorf("without Supabase: %s", said(got))
	}
	s = start(t, withSupabase)
	known := s.call(201, "POST", "/v1/payments", `{"operation":"payout","reference_id":"`+reference+`"}`)
	token := known["page"].(map[string]any)["token"].(string)
	if got := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(token)}); said(got) != "409 This payment has no session_id, so there is no realtime channel for it." {
		t.Errorf("without a session: %s", said(got))
	}
}
