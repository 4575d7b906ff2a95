package app_test

import (
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

func TestRoad_hintTruthPageAndCallback(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, reference, token := s.pay()
	s.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" })

	page := s.open(token)
	first, _ := page.next()
	if first["type"] != "status" || first["final"] != false {
		t.Fatalf("first message = %v, want the present status", first)
	}
	second, _ := page.next()
	if second["type"] != "link" || second["link"] != "live" {
		t.Fatalf("second message = %v, want link live", second)
	}

	s.set(reference, `{"status":"COMPLETED"}`)
	hint := page.until("a hint", func(m map[string]any) bool { return m["status"] == "COMPLETED" })
	if hint["verified"] != false || hint["final"] != false || hint["via"] != "realtime" || hint["outcome"] != "succeeded" {
		t.Errorf("the first that the page hears = %v, want an unverified hint via realtime", hint)
	}
	truth := page.until("verified", func(m map[string]any) bool { return m["status"] == "COMPLETED" && m["verified"] == true })
	if truth["final"] != true || truth["via"] != "verify" || truth["version"].(float64) <= hint["version"].(float64) {
		t.Errorf("truth = %v, want final via verify with a version above %v", truth, hint["version"])
	}
	page.until("link null", func(m map[string]any) bool { return m["type"] == "link" && m["link"] == nil })
	if m, code := page.next(); code != websocket.StatusNormalClosure {
		t.Errorf("after a final status the page got %v and close code %d, want 1000", m, code)
	}

	got := s.callback()
	secret, err := callback.ParseSecret(callbackSecret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := callback.NewVerifier([]callback.Secret{secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(got.header, got.body); err != nil {
		t.Errorf("the callback's signature: %v", err)
	}
	data := got.fields["data"].(map[string]any)
	if got.fields["type"] != "payment.succeeded" || data["id"] != id || data["outcome"] != "succeeded" ||
		data["amounts"].(map[string]any)["payee_amount"] != "250.00" || data["metadata"].(map[string]any)["order"] != "1042" {
		t.Errorf("callback = %s, want payment.succeeded with amounts and metadata", got.body)
	}

	p := s.until(id, "final", func(p map[string]any) bool { return p["final"] == true })
	if p["outcome"] != "succeeded" || p["verified"] != true || p["link"] != nil || p["verified_at"] == nil {
		t.Errorf("payment = %v, want succeeded, verified, with link null", p)
	}
	events := s.call("GET", s.relay+"/v1/payments/"+id+"/events", "", 200)["data"].([]any)
	if via := events[0].(map[string]any)["via"]; via != "register" {
		t.Errorf("the timeline begins via %v, want register", via)
	}
}

func TestRoad_secondPageSeesTheStateAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, _, token := s.pay()
	s.until(id, "live and read", func(p map[string]any) bool { return p["link"] == "live" && p["status"] == "PENDING" })
	for n := range 2 {
		page := s.open(token) // and it stays open
		status, _ := page.next()
		link, _ := page.next()
		if status["type"] != "status" || link["type"] != "link" {
			t.Errorf("page %d first gets %v and %v, want the present status and link", n, status, link)
		}
	}
}

func TestRoad_realtimeCutIsPolled(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.call("PUT", s.sandbox+"/_sandbox/faults", `{"realtime_down":true}`, 200)
	id, reference, token := s.pay()
	page := s.open(token)
	page.until("link polling", func(m map[string]any) bool { return m["link"] == "polling" })
	s.set(reference, `{"status":"FAILED"}`)
	truth := page.until("failed", func(m map[string]any) bool { return m["outcome"] == "failed" })
	if truth["verified"] != true || truth["via"] != "poll" {
		t.Errorf("truth = %v, want verified via poll", truth)
	}
	if got := s.callback().fields["type"]; got != "payment.failed" {
		t.Errorf("callback type = %v, want payment.failed", got)
	}
	s.until(id, "failed", func(p map[string]any) bool { return p["outcome"] == "failed" })
}

func TestRoad_brokenDollrIsDegradedAndNeverFailed(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, reference, token := s.pay()
	s.until(id, "read once", func(p map[string]any) bool { return p["status"] == "PENDING" })
	s.call("PUT", s.sandbox+"/_sandbox/faults", `{"dollr_down":true,"realtime_down":true}`, 200)
	page := s.open(token)
	s.set(reference, `{"status":"COMPLETED"}`)
	page.until("link degraded", func(m map[string]any) bool {
		if m["type"] == "status" && m["outcome"] != "pending" {
			t.Fatalf("the page was told %v while Dollr could not be reached", m)
		}
		return m["link"] == "degraded"
	})
	p := s.call("GET", s.relay+"/v1/payments/"+id, "", 200)
	if p["outcome"] != "pending" || p["last_error"] != "unreachable" {
		t.Errorf("payment = %v, want pending with last_error unreachable", p)
	}
	s.call("PUT", s.sandbox+"/_sandbox/faults", `{}`, 200)
	page.until("succeeded", func(m map[string]any) bool { return m["outcome"] == "succeeded" && m["verified"] == true })
	if got := s.callback().fields["type"]; got != "payment.succeeded" {
		t.Errorf("callback type = %v, want payment.succeeded", got)
	}
}

func TestRoad_feedFollowsWithoutCallbacks(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, reference, _ := s.pay()
	empty := s.call("GET", s.relay+"/v1/events", "", 200)
	if empty["next_cursor"] != "" || len(empty["data"].([]any)) != 0 {
		t.Fatalf("feed = %v, want nothing yet", empty)
	}
	s.set(reference, `{"status":"COMPLETED","silent":true}`)
	verified := s.call("POST", s.relay+"/v1/payments/"+id+"/verify", "", 200)
	if verified["outcome"] != "succeeded" {
		t.Errorf("verify = %v, want succeeded", verified)
	}
	feed := s.call("GET", s.relay+"/v1/events?wait=5s", "", 200)
	entries := feed["data"].([]any)
	if len(entries) != 1 || entries[0].(map[string]any)["id"] != s.callback().header.Get("webhook-id") {
		t.Fatalf("feed = %v, want one entry with the callback's id", feed)
	}
	after := s.call("GET", s.relay+"/v1/events?after="+feed["next_cursor"].(string), "", 200)
	if len(after["data"].([]any)) != 0 || after["next_cursor"] != feed["next_cursor"] {
		t.Errorf("feed after its end = %v, want nothing and the same cursor", after)
	}
	s.call("GET", s.relay+"/v1/events?after=7-0123456789abcdef", "", 410)
}

// TestRoad_U7_deafRealtimeIsFoundByAnAudit changes a payment without a row change: the channel is
// live and says nothing.
func TestRoad_U7_deafRealtimeIsFoundByAnAudit(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.AuditEvery = time.Second })
	id, reference, token := s.pay()
	s.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" && p["status"] == "PENDING" })
	page := s.open(token)
	s.set(reference, `{"status":"PROCESSING","silent":true}`)
	seen := page.until("processing", func(m map[string]any) bool { return m["status"] == "PROCESSING" })
	if seen["via"] != "audit" || seen["verified"] != true {
		t.Errorf("the page heard %v, want verified via audit", seen)
	}
	// The page hears before the miss is counted.
	s.untilMetric("dollr_relay_realtime_missed_total", "1")
	s.untilMetric(`dollr_relay_upstream_rejoins_total{reason="missed"}`, "1")
}
