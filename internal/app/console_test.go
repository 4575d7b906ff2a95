package app_test

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
)

// answer is what the admin listener said.
type answer struct {
	code     int
	header   http.Header
	text     string
	location string
}

// ask makes a request to the admin listener as a browser does, but follows no redirect.
func (s *system) ask(method, path, body string, edit ...func(*http.Request)) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.admin+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, change := range edit {
		change(request)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(text), got.Header.Get("Location")}
}

// look reads a page of the console.
func (s *system) look(path string) string {
	s.t.Helper()
	got := s.ask("GET", path, "")
	if got.code != http.StatusOK {
		s.t.Fatalf("GET %s = %d to %q: %s", path, got.code, got.location, got.text)
	}
	return got.text
}

// form is the body that the console's forms send.
func (s *system) form() string {
	s.t.Helper()
	token := regexp.MustCompile(`name="csrf" value="(\w+)"`).FindStringSubmatch(s.look("/"))
	if token == nil {
		s.t.Fatal("the overview has no form with a token")
	}
	return url.Values{"csrf": {token[1]}}.Encode()
}

// untilPage waits until a page says something.
func (s *system) untilPage(path, want string) string {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text := s.look(path)
		if strings.Contains(text, want) {
			return text
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s never says %q: %s", path, want, text)
		}
	}
}

// quiet is a relay that asks nobody by itself.
func quiet(c *app.Config) {
	c.SupabaseURL = ""
	c.PollMin, c.PollMax = time.Hour, time.Hour
}

func TestConsole_everyPageIsThereAndTellsNoSecret(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.CallbackURLs[0] += "/hooks?key=callback-url-secret" })
	id, reference, token := s.pay()
	s.set(reference, `{"status":"COMPLETED"}`)
	s.callback()
	s.until(id, "final", func(p map[string]any) bool { return p["final"] == true })
	s.untilPage("/callbacks?state=delivered", "payment.succeeded") // its acknowledgement is committed after it was sent
	secrets := []string{
		apiKey, callbackSecret, strings.TrimPrefix(callbackSecret, "whsec_"), sandbox.AnonKey(), "sandbox-secret", token,
		strings.Repeat("page-secret-", 4), "callback-url-secret",
	}
	for path, want := range map[string]string{
		"/":                           "All is well. No payment is waiting.",
		"/payments":                   reference,
		"/payments?outcome=succeeded": reference,
		"/payments?outcome=pending":   "There are none.",
		"/payments?outcome=pending&age=2m&link=x": "There are none.",
		"/payments?outcome=contradicted":          "There are none.",
		"/payments?before=nonsense":               reference,
		"/payments/" + id:                         "Dollr confirmed COMPLETED",
		"/callbacks":                              "payment.succeeded",
		"/callbacks?state=delivered":              "payment.succeeded",
		"/callbacks?state=dead":                   "There are none.",
		"/assets/console.css":                     "color-scheme",
		"/assets/console.js":                      "EventSource",
		"/assets/icon-good.svg":                   "<svg",
	} {
		got := s.ask("GET", path, "")
		if got.code != http.StatusOK || !strings.Contains(html.UnescapeString(got.text), want) {
			t.Errorf("GET %s = %d without %q: %s", path, got.code, want, got.text)
		}
		for _, secret := range secrets {
			if strings.Contains(got.text, secret) {
				t.Errorf("GET %s shows the secret %q", path, secret)
			}
		}
		for name, value := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got.header.Get(name) != value {
				t.Errorf("GET %s: %s = %q, want %q", path, name, got.header.Get(name), value)
			}
		}
		policy := got.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("GET %s: policy %q lacks %q", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("GET %s: policy %q allows what is unsafe", path, policy)
		}
	}
	if text := s.look("/payments/" + id); strings.Contains(text, " style=") || strings.Contains(text, "onclick") || regexp.MustCompile(`<script>|<style`).MatchString(text) {
		t.Error("the page has script or style of its own, which its policy forbids")
	}
	for path, want := range map[string]int{"/nothing": 404, "/payments/pay_unknown": 404, "/healthz": 200, "/readyz": 200, "/metrics": 200} {
		if got := s.ask("GET", path, ""); got.code != want {
			t.Errorf("GET %s = %d, want %d", path, got.code, want)
		}
	}
}

// TestConsole_answersToItsOwnNamesOnly has another website's name point at this machine.
func TestConsole_answersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	s := start(t, quiet, func(c *app.Config) { c.AdminListen = "localhost:0" })
	form := s.form()
	port := s.admin[strings.LastIndex(s.admin, ":"):]
	for host, want := range map[string]int{
		"localhost" + port: 200, "LOCALHOST:9999": 200, "127.0.0.1" + port: 200, "127.8.8.8": 200, "[::1]" + port: 200, "::1": 200,
		"evil.example" + port: 421, "evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.nip.example": 421,
		"10.0.0.7" + port: 421, "0.0.0.0" + port: 421, "[::]" + port: 421, "relay.test": 421,
	} {
		for _, path := range []string{"/", "/payments", "/assets/console.js", "/live/"} {
			if path == "/live/" && want == 200 {
				continue // has no end
			}
			got := s.ask("GET", path, "", func(r *http.Request) { r.Host = host })
			if got.code != want {
				t.Errorf("GET %s of %s = %d, want %d", path, host, got.code, want)
			}
			if want == 421 && strings.Contains(got.text, "csrf") {
				t.Errorf("GET %s of %s shows a page", path, host)
			}
		}
	}
	got := s.ask("POST", "/reconcile", form, func(r *http.Request) { r.Host = "evil.example" })
	if got.code != 421 || s.call("GET", s.relay+"/v1/reconcile", "", 200)["started_at"] != nil {
		t.Errorf("POST of another name = %d, want 421 and nothing done", got.code)
	}
}

// TestConsole_formsOfOthersDoNothing has other websites and old pages press the buttons.
func TestConsole_formsOfOthersDoNothing(t *testing.T) {
	t.Parallel()
	s := start(t, quiet)
	form := s.form()
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, tt := range []struct {
		name, body string
		edit       func(*http.Request)
	}{
		{"no token", "", set("Sec-Fetch-Site", "same-origin")},
		{"an empty token", "csrf=", set("Sec-Fetch-Site", "same-origin")},
		{"a token of another process", "csrf=AAAAAAAAAAAAAAAAAAAAAAAAAA", set("Sec-Fetch-Site", "same-origin")},
		{"another website", form, set("Sec-Fetch-Site", "cross-site")},
		{"another port of this host", form, set("Sec-Fetch-Site", "same-site")},
		{"another origin", form, set("Origin", "https://evil.example")},
		{"no origin", form, set("Origin", "null")},
		{"a token in the address", "", func(r *http.Request) { r.URL.RawQuery = form }},
		{"a very long form", form + "&x=" + strings.Repeat("x", 10_000), set("Sec-Fetch-Site", "same-origin")},
	} {
		for _, path := range []string{"/reconcile", "/payments/pay_unknown/verify", "/callbacks/evt_unknown/redeliver"} {
			if got := s.ask("POST", path, tt.body, tt.edit); got.code != http.StatusForbidden {
				t.Errorf("%s: POST %s = %d, want 403", tt.name, path, got.code)
			}
		}
	}
	for _, path := range []string{"/reconcile", "/payments/pay_unknown/verify", "/callbacks/evt_unknown/redeliver"} {
		if got := s.ask("GET", path+"?"+form, ""); got.code != 404 && got.code != 405 {
			t.Errorf("GET %s = %d, want no such page", path, got.code)
		}
	}
	if report := s.call("GET", s.relay+"/v1/reconcile", "", 200); report["started_at"] != nil {
		t.Fatalf("somebody else's form started a sweep: %v", report)
	}
	if got := s.ask("POST", "/reconcile", form, set("Sec-Fetch-Site", "same-origin")); got.code != http.StatusSeeOther || got.location != "/?done=sweeping" {
		t.Errorf("our own form = %d to %q, want 303 to the overview", got.code, got.location)
	}
	s.untilPage("/", "The last sweep ended")
	for path, want := range map[string]string{"/payments/pay_unknown/verify": "No such payment", "/callbacks/evt_unknown/redeliver": "No such callback"} {
		if got := s.ask("POST", path, form); got.code != 404 || !strings.Contains(got.text, want) {
			t.Errorf("POST %s = %d, want 404 and %q", path, got.code, want)
		}
	}
}

// TestConsole_verifyAndRedeliver presses the two buttons that matter.
func TestConsole_verifyAndRedeliver(t *testing.T) {
	t.Parallel()
	s := start(t, quiet)
	id, reference, _ := s.pay()
	s.until(id, "asked once", func(p map[string]any) bool { return p["status"] == "PENDING" })
	page := "/payments/" + id
	if text := s.look(page); !strings.Contains(text, "Dollr said PENDING when it was last asked.") {
		t.Errorf("the page of an open payment does not say so: %s", text)
	}
	form := s.form()
	if got := s.ask("POST", page+"/verify", form); got.location != page+"?done=same" {
		t.Errorf("verify without news leads to %q", got.location)
	}
	s.set(reference, `{"status":"COMPLETED"}`)
	if got := s.ask("POST", page+"/verify", form); got.location != page+"?done=changed" {
		t.Errorf("verify with news leads to %q", got.location)
	}
	first := s.callback()
	text := s.untilPage(page, "Delivered")
	for _, want := range []string{`data-via="operator"`, "250.00 USD", "Dollr confirmed COMPLETED", "order", "1042", "PENDING", "asked (operator)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if said := s.look(page + "?done=changed"); !strings.Contains(said, "told something new") {
		t.Error("the page does not say what came of the button")
	}
	if said := s.look(page + "?done=anything"); !strings.Contains(said, `role="status" data-tone=""></p>`) {
		t.Error("the page says what the address says")
	}

	event := first.header.Get("webhook-id")
	if got := s.ask("POST", "/callbacks/"+event+"/redeliver", form); got.location != page+"?done=redelivered" {
		t.Errorf("redeliver leads to %q", got.location)
	}
	if again := s.callback(); again.header.Get("webhook-id") != event || string(again.body) != string(first.body) {
		t.Errorf("redelivered %q: %s, want the same as before", again.header.Get("webhook-id"), again.body)
	}
	s.untilPage(page, "is sent again")

	s.call("PUT", s.sandbox+"/_sandbox/faults", `{"dollr_down":true}`, 200)
	if got := s.ask("POST", page+"/verify", form); got.location != page+"?done=unreachable" {
		t.Errorf("verify while Dollr is down leads to %q", got.location)
	}
}

// TestConsole_showsWhatOthersWroteAsText has markup in everything that comes from outside.
func TestConsole_showsWhatOthersWroteAsText(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { quiet(c); c.CallbackSchedule = []time.Duration{0} })
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	refusal := evil
	s.refuse.Store(&refusal)
	p := s.call("POST", s.sandbox+"/_sandbox/payments", `{}`, 201)
	known := s.call("POST", s.relay+"/v1/payments", fmt.Sprintf(
		`{"operation":"collection","reference_id":%q,"metadata":{%q:%q}}`, p["reference_id"], `<i>'key"`, evil), 201)
	id := known["id"].(string)
	s.set(p["reference_id"].(string), `{"status":"COMPLETED"}`)
	s.call("POST", s.relay+"/v1/payments/"+id+"/verify", "", 200)
	s.callback()
	s.untilPage("/payments/"+id, "Given up")
	for _, path := range []string{"/", "/payments", "/payments/" + id, "/callbacks", "/payments?q=" + url.QueryEscape(evil+"!"), "/payments?outcome=" + url.QueryEscape(evil), "/" + url.PathEscape(evil)} {
		text := s.ask("GET", path, "").text
		for _, markup := range []string{"<script>alert", "<img src=x", "<i>'"} {
			if strings.Contains(text, markup) {
				t.Errorf("%s shows %q as markup", path, markup)
			}
		}
	}
	if text := html.UnescapeString(s.look("/payments/" + id)); strings.Count(text, evil) < 2 {
		t.Errorf("the payment's page does not show metadata and answer as they are")
	}
}

func TestConsole_search(t *testing.T) {
	t.Parallel()
	s := start(t, quiet)
	id, reference, _ := s.pay()
	s.set(reference, `{"status":"COMPLETED"}`)
	s.call("POST", s.relay+"/v1/payments/"+id+"/verify", "", 200)
	event := s.callback().header.Get("webhook-id")
	hosted := s.call("POST", s.relay+"/v1/payments", `{"operation":"source","source_type":"ORDER","source_id":77}`, 201)["id"].(string)
	for text, want := range map[string]string{
		"1042": id, " 1042 ": id, id: id, strings.ToUpper(reference): id, event: id, "ORDER 77": hosted, "order:77": hosted,
	} {
		got := s.ask("GET", "/payments?q="+url.QueryEscape(text), "")
		if got.code != http.StatusSeeOther || got.location != "/payments/"+want {
			t.Errorf("search for %q = %d to %q, want the payment %s", text, got.code, got.location, want)
		}
	}
	other, _, _ := s.pay()
	both := s.look("/payments?q=1042")
	if !strings.Contains(both, id) || !strings.Contains(both, other) || !strings.Contains(both, "2 payments found") {
		t.Errorf("search for what two payments have does not list both")
	}
	for _, text := range []string{"10", "%", "ORDER 78", strings.Repeat("x", 10_000)} {
		if none := s.look("/payments?q=" + url.QueryEscape(text)); !strings.Contains(none, "No payment has this reference") {
			t.Errorf("search for %.20q finds something", text)
		}
	}
}

// TestConsole_isLive reads a live page while a payment comes and settles.
func TestConsole_isLive(t *testing.T) {
	t.Parallel()
	s := start(t)
	news := s.follow("/live/")
	s.hear(news, "No payment is waiting")
	id, reference, _ := s.pay()
	s.hear(news, "1 payment waiting, live.")
	detail := s.follow("/live/payments/" + id)
	s.hear(detail, "Dollr said PENDING")
	s.set(reference, `{"status":"COMPLETED"}`)
	s.hear(detail, "Dollr confirmed COMPLETED")
	s.hear(detail, "Delivered")
	s.hear(news, "No payment is waiting")
	missing := s.follow("/live/payments/pay_unknown")
	s.hear(missing, "No such payment")
	s.stop() // does not wait for them
}

// follow opens a live page and returns what it sends, page by page.
func (s *system) follow(path string) <-chan string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if kind := stream.Header.Get("Content-Type"); stream.StatusCode != 200 || kind != "text/event-stream" {
		s.t.Fatalf("GET %s = %d, %s", path, stream.StatusCode, kind)
	}
	pages := make(chan string, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = stream.Body.Close() }()
		lines := bufio.NewScanner(stream.Body)
		lines.Buffer(nil, 1<<20)
		var page strings.Builder
		for lines.Scan() {
			if line, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
				page.WriteString(line + "\n")
			} else if lines.Text() == "" && page.Len() > 0 {
				pages <- page.String()
				page.Reset()
			}
		}
	}()
	s.t.Cleanup(func() { cancel(); <-ended })
	return pages
}

// hear reads pages until one says something.
func (s *system) hear(pages <-chan string, want string) {
	s.t.Helper()
	late := time.After(patience)
	last := ""
	for {
		select {
		case last = <-pages:
			if strings.Contains(last, want) {
				return
			}
		case <-late:
			s.t.Fatalf("the live page never says %q, but %s", want, last)
		}
	}
}

// TestConsole_saysWhatIsWrong breaks one thing after the other.
func TestConsole_saysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, _, _ := s.pay()
	s.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" })
	s.call("PUT", s.sandbox+"/_sandbox/faults", `{"realtime_down":true}`, 200)
	s.untilPage("/", "Realtime is down, polling instead; 1 payment waiting.")
	if text := s.look("/payments?outcome=pending&link=polling"); !strings.Contains(text, id) {
		t.Error("the payment is not among the polled ones")
	}
	s.call("PUT", s.sandbox+"/_sandbox/faults", `{"realtime_down":true,"dollr_down":true}`, 200)
	s.untilPage("/", "Dollr cannot be reached; 1 payment waiting.")
	s.untilPage("/payments/"+id, "Dollr could not be reached.")
	s.untilPage("/payments?outcome=pending&link=degraded", id)
}
