package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestRegister_again(t *testing.T) {
	t.Parallel()
	s := start(t)
	ref := uuid.NewString()
	body := func(fields string) string {
		return fmt.Sprintf(`{"operation":"collection","reference_id":%q%s}`, ref, fields)
	}
	first := s.call(201, "POST", "/v1/payments", body(``))
	if first["status"] != nil || first["outcome"] != "pending" || first["verified"] != false || first["version"] != 1.0 || first["link"] != "polling" {
		t.Errorf("new payment = %v, want pending, unverified, version 1, polling", first)
	}
	if stream := first["page"].(map[string]any)["stream_url"]; stream != "ws://relay.test/v1/page/stream" {
		t.Errorf("stream_url = %v", stream)
	}
	steps := []struct {
		name, body string
		code       int
		want       string // of the problem
	}{
		{"the same", body(``), 200, ""},
		{"in capitals", strings.Replace(body(``), ref, strings.ToUpper(ref), 1), 200, ""},
		{"filling in", body(`,"session_id":55,"source_type":"INVOICE","source_id":101,"expected":{"amount":"250.00","currency":"USD"},"metadata":{"order":"1042"}`), 200, ""},
		{"other spellings", body(`,"session_id":"55","source_type":"INVOICE","expected":{"amount":250,"currency":"USD"},"metadata":{"order":"1042"}`), 200, ""},
		{"a number with an exponent", body(`,"expected":{"amount":2.5e2,"currency":"USD"}`), 200, ""},
		{"nulls", body(`,"session_id":null,"expected":null,"metadata":null,"watch_for":null`), 200, ""},
		{"filling in a side", body(`,"expected":{"amount":"250","currency":"USD","side":"payee"}`), 200, ""},
		{"another session", body(`,"session_id":56,"source_type":"INVOICE"`), 409, "409 session_id: this payment is registered with 55"},
		{"another type", body(`,"source_type":"ORDER"`), 409, "409 source_type: this payment is registered with INVOICE"},
		{"another source", body(`,"source_id":102`), 409, "409 source_id: this payment is registered with 101"},
		{"another amount", body(`,"expected":{"amount":"251","currency":"USD"}`), 409, "409 expected.amount: this payment is registered with 250.00"},
		{"another currency", body(`,"expected":{"amount":"250","currency":"LRD"}`), 409, "409 expected.currency: this payment is registered with USD"},
		{"another side", body(`,"expected":{"amount":"250","currency":"USD","side":"payer"}`), 409, "409 expected.side: this payment is registered with payee"},
		{"other metadata", body(`,"metadata":{"order":"1"}`), 409, "409 metadata: this payment is registered with other metadata"},
		{"another watch", body(`,"watch_for":"1h"`), 409, "409 watch_for: this payment is watched for 72h0m0s"},
	}
	for _, step := range steps {
		got := s.send(request{method: "POST", path: "/v1/payments", body: step.body})
		switch {
		case got.code != step.code || step.want != "" && said(got) != step.want:
			t.Errorf("%s: got %s, want %d %s", step.name, said(got), step.code, step.want)
		case got.code == 200 && got.fields["id"] != first["id"]:
			t.Errorf("%s: id = %v, want the same %v", step.name, got.fields["id"], first["id"])
		case got.code == 200 && got.fields["version"] != 1.0:
			t.Errorf("%s: version = %v, want still 1", step.name, got.fields["version"])
		}
	}
	fraction := strings.Replace(body(`,"watch_for":"90000.5ms"`), ref, uuid.NewString(), 1)
	s.call(201, "POST", "/v1/payments", fraction)
	s.call(200, "POST", "/v1/payments", fraction)
	known := s.call(200, "GET", "/v1/payments/"+first["id"].(string), "")
	if known["session_id"] != 55.0 || known["source_id"] != 101.0 || known["metadata"].(map[string]any)["order"] != "1042" || known["expected"].(map[string]any)["side"] != "payee" {
		t.Errorf("after filling in: %v", known)
	}
	if _, has := known["page"]; has {
		t.Error("show answers with a page token")
	}
}

func TestRegister_finalOneTakesNothingMoreAndExpiredOneIsWatchedAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	s.set(p, "COMPLETED")
	s.verify(p)
	got := s.send(request{method: "POST", path: "/v1/payments", body: fmt.Sprintf(`{"operation":"collection","reference_id":%q,"metadata":{"a":"b"}}`, p.reference)})
	if want := "409 metadata: this payment is final and was registered without it"; said(got) != want {
		t.Errorf("got %s, want %s", said(got), want)
	}

	q := s.pay()
	s.clock.jump(73 * time.Hour)
	if expired := s.verify(q); expired["outcome"] != "expired" || expired["verified"] != false || expired["final"] != true || expired["link"] != nil {
		t.Fatalf("after 73 h: %v, want expired, not verified, final", expired)
	}
	again := s.call(200, "POST", "/v1/payments", fmt.Sprintf(`{"operation":"collection","reference_id":%q,"watch_for":"5h"}`, q.reference))
	if again["outcome"] != "pending" || again["final"] != false {
		t.Errorf("registered again: %v, want pending", again)
	}
	until, err := time.Parse(time.RFC3339, again["watch_until"].(string))
	if left := until.Sub(s.clock.now()); err != nil || left < 4*time.Hour || left > 5*time.Hour {
		t.Errorf("watched for %s more, want 5h", left)
	}
}

func TestShow_waits(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	version := int(s.verify(p)["version"].(float64))
	path := "/v1/payments/" + p.id
	timed := func(query string) (map[string]any, time.Duration) {
		began := time.Now()
		return s.call(200, "GET", path+query, ""), time.Since(began)
	}
	for _, query := range []string{"", "?since=1", fmt.Sprintf("?wait=20s&since=%d", version-1), fmt.Sprintf("?wait=20s&since=%d", version+5), "?wait=20s"} {
		if _, took := timed(query); took > 5*time.Second {
			t.Errorf("%q took %s, want an answer at once", query, took)
		}
	}
	if got, took := timed(fmt.Sprintf("?wait=150ms&since=%d", version)); took < 150*time.Millisecond || int(got["version"].(float64)) != version {
		t.Errorf("nothing new: version %v after %s, want %d after 150ms", got["version"], took, version)
	}
	answered := make(chan map[string]any, 1)
	go func() {
		got, err := s.try(request{method: "GET", path: fmt.Sprintf("%s?wait=20s&since=%d", path, version)})
		if err != nil {
			t.Error(err)
		}
		answered <- got.fields
	}()
	s.set(p, "COMPLETED")
	s.verify(p)
	select {
	case got := <-answered:
		if got["outcome"] != "succeeded" {
			t.Errorf("held request got %v, want succeeded", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("a held request does not hear of the change")
	}
}

func TestList_filtersAndPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	var ids []string
	for range 5 {
		ids = append(ids, s.pay().id)
	}
	source := s.call(201, "POST", "/v1/payments", `{"operation":"source","source_type":"ORDER","source_id":7}`)["id"]
	list := func(query string) (got []string, next any) {
		page := s.call(200, "GET", "/v1/payments"+query, "")
		for _, p := range page["data"].([]any) {
			got = append(got, p.(map[string]any)["id"].(string))
		}
		return got, page["next_cursor"]
	}
	if got, next := list(""); len(got) != 6 || got[0] != source || got[5] != ids[0] || next != nil {
		t.Errorf("list = %v, next %v, want all six, newest first", got, next)
	}
	if got, _ := list("?operation=source"); len(got) != 1 || got[0] != source {
		t.Errorf("sources = %v, want %v", got, source)
	}
	if got, _ := list("?outcome=succeeded"); len(got) != 0 {
		t.Errorf("succeeded = %v, want none", got)
	}
	known := s.call(200, "GET", "/v1/payments/"+ids[2], "")
	if got, _ := list("?outcome=pending&operation=collection&reference_id=" + strings.ToUpper(known["reference_id"].(string))); len(got) != 1 || got[0] != ids[2] {
		t.Errorf("by reference = %v, want %v", got, ids[2])
	}
	var all []string
	query := "?limit=2"
	for {
		got, next := list(query)
		all = append(all, got...)
		if next == nil {
			break
		}
		if len(got) != 2 || len(all) > 6 {
			t.Fatalf("page of %d, %d in all, want pages of 2 and 6 in all", len(got), len(all))
		}
		query = "?limit=2&cursor=" + next.(string)
	}
	if len(all) != 6 || all[5] != ids[0] {
		t.Errorf("pages = %v, want each once", all)
	}
}

// TestVerify_table is the contract's table of answers.
func TestVerify_table(t *testing.T) {
	t.Parallel()
	fault := func(fields string) string { return `{"endpoint":"status",` + fields + `}` }
	code := func(n int) string { return fault(fmt.Sprintf(`"kind":"code","code":%d`, n)) }
	const (
		refused     = "502 Dollr's answer says nothing about this payment (refused). The payment is unchanged."
		unreadable  = "502 Dollr's answer says nothing about this payment (unreadable). The payment is unchanged."
		limited     = "503 Dollr cannot be asked now (rate_limited). The payment is unchanged; try again."
		unreachable = "503 Dollr cannot be asked now (unreachable). The payment is unchanged; try again."
	)
	tests := []struct {
		name, fault, want, lastError string
	}{
		{"404", code(404), "200", "not_found"},
		{"401", code(401), refused, "refused"},
		{"403", code(403), refused, "refused"},
		{"422", code(422), refused, "refused"},
		{"400", code(400), refused, "refused"},
		{"429", fault(`"kind":"code","code":429,"retry_after":"7"`), limited, "rate_limited"},
		{"500", code(500), unreachable, "unreachable"},
		{"502", code(502), unreachable, "unreachable"},
		{"503", code(503), unreachable, "unreachable"},
		{"dropped", fault(`"kind":"drop"`), unreachable, "unreachable"},
		{"page of a proxy", fault(`"kind":"html"`), unreadable, "unreadable"},
		{"empty", fault(`"kind":"empty"`), unreadable, "unreadable"},
		{"cut off", fault(`"kind":"truncated"`), unreadable, "unreadable"},
		{"too large", fault(`"kind":"oversize"`), unreadable, "unreadable"},
		{"redirect", fault(`"kind":"redirect","location":"https://evil.example/"`), unreadable, "unreadable"},
		{"another payment", fault(`"kind":"another_id"`), unreadable, "unreadable"},
		{"no id", fault(`"kind":"no_id"`), unreadable, "unreadable"},
		{"no status", fault(`"kind":"no_status"`), unreadable, "unreadable"},
		{"status and id apart", fault(`"kind":"split"`), unreadable, "unreadable"},
		{"two statuses", fault(`"kind":"twice"`), unreadable, "unreadable"},
		{"wrapped", fault(`"kind":"wrap"`), "200", ""},
		{"numbers as strings", fault(`"kind":"strings"`), "200", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			p := s.pay()
			s.fault(tt.fault)
			got := s.send(request{method: "POST", path: "/v1/payments/" + p.id + "/verify"})
			answer := said(got)
			if got.code == 200 {
				answer = "200"
			} else {
				checkProblem(t, got)
			}
			either := tt.name == "cut off" && answer == unreachable // both say what happened
			if answer != tt.want && !either {
				t.Errorf("got %s, want %s", answer, tt.want)
			}
			if tt.name == "429" && got.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After = %q, want Dollr's 7", got.header.Get("Retry-After"))
			}
			after := s.call(200, "GET", "/v1/payments/"+p.id, "")
			reason, _ := after["last_error"].(string)
			if after["outcome"] != "pending" || reason != tt.lastError && tt.name != "cut off" {
				t.Errorf("payment: outcome %v, last_error %q, want pending and %q", after["outcome"], reason, tt.lastError)
			}
		})
	}
}

func TestVerify_openBreakerAndOutcomes(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	s.fault(`{"endpoint":"status","kind":"code","code":500}`)
	path := "/v1/payments/" + p.id + "/verify"
	for range 6 {
		if got := s.send(request{method: "POST", path: path}); got.code != 503 {
			t.Fatalf("got %s, want 503", said(got))
		}
	}
	requests := s.call(200, "GET", s.sandbox+"/_sandbox/requests", "")["data"].([]any)
	got := s.send(request{method: "POST", path: path})
	if after := s.call(200, "GET", s.sandbox+"/_sandbox/requests", "")["data"].([]any); len(after) != len(requests) {
		t.Error("an open breaker asked Dollr")
	}
	if wait := got.header.Get("Retry-After"); got.code != 503 || wait == "" || wait == "0" {
		t.Errorf("got %s with Retry-After %q, want 503 and when the breaker may close", said(got), wait)
	}
	until(t, "degraded", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["link"] == "degraded" })
}

func TestVerify_alsoWhenFinal(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	until(t, "read once", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["status"] == "PENDING" })
	s.set(p, "COMPLETED")
	got := s.verify(p)
	if got["outcome"] != "succeeded" || got["final"] != true || got["verified_at"] == nil || got["amounts"].(map[string]any)["payee_amount"] != "250.00" {
		t.Fatalf("verify = %v, want succeeded with amounts", got)
	}
	// Dollr changes its mind; the sandbox does not, so the answer is made up.
	s.fault(fmt.Sprintf(`{"endpoint":"status","kind":"body","body":%q}`,
		fmt.Sprintf(`{"reference_id":%q,"status":"FAILED","operation_type":"COLLECTION"}`, p.reference)))
	got = s.verify(p)
	if got["outcome"] != "succeeded" || got["contradicted"] != true {
		t.Errorf("after FAILED: %v, want succeeded, contradicted", got)
	}
	events := s.call(200, "GET", "/v1/payments/"+p.id+"/events", "")["data"].([]any)
	var story []string
	for _, e := range events {
		event := e.(map[string]any)
		if event["via"] == "callback" { // comes when it comes
			continue
		}
		story = append(story, fmt.Sprintf("%v %v", event["via"], event["version"]))
	}
	if want := "register 1, poll 2, verify 3, verify 4"; strings.Join(story, ", ") != want {
		t.Errorf("timeline = %v, want %s", story, want)
	}
}

func TestPageToken_fresh(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	s.clock.jump(2 * time.Hour)
	if got := s.send(request{method: "GET", path: "/v1/page/status", header: bearer(p.token)}); got.code != 401 || !strings.Contains(said(got), "expired") {
		t.Errorf("an old token: %s, want 401 expired", said(got))
	}
	page := s.call(200, "POST", "/v1/payments/"+p.id+"/page-token", "{}")["page"].(map[string]any)
	if got := s.send(request{method: "GET", path: "/v1/page/status", header: bearer(page["token"].(string))}); got.code != 200 || got.header.Get("Relay-Token") != "" {
		t.Errorf("a fresh token: %s with Relay-Token %q, want 200 and none", said(got), got.header.Get("Relay-Token"))
	}
	s.clock.jump(49 * time.Minute) // over 80 % of an hour
	got := s.send(request{method: "GET", path: "/v1/page/status", header: bearer(page["token"].(string))})
	renewed := got.header.Get("Relay-Token")
	if got.code != 200 || renewed == "" || got.header.Get("Relay-Link") != "polling" {
		t.Fatalf("after 49 min: %d, Relay-Token %q, Relay-Link %q, want a fresh token and polling", got.code, renewed, got.header.Get("Relay-Link"))
	}
	s.clock.jump(30 * time.Minute)
	if got := s.send(request{method: "GET", path: "/v1/page/status", header: bearer(renewed)}); got.code != http.StatusOK {
		t.Errorf("the renewed token: %s, want 200", said(got))
	}
}
