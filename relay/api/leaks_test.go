package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
)

// leakHunt searches everything that a relay puts out for everything that it must keep to itself.
// What is added to the product adds its secrets and its outputs here.
type leakHunt struct {
	secrets map[string]string
	outputs map[string][]byte
}

func (h *leakHunt) secret(name, value string) { h.secrets[name] = value }
func (h *leakHunt) output(name, text string)  { h.outputs[name] = append(h.outputs[name], text...) }

// check looks for each secret in each output, as it is and as it would look encoded. An output that
// is empty, or a secret that is too short to mean anything, is a mistake of the test.
func (h *leakHunt) check(t *testing.T) {
	t.Helper()
	for name, secret := range h.secrets {
		if len(secret) < 12 {
			t.Errorf("secret %s is %q, too short to search for", name, secret)
			continue
		}
		for encoding, text := range map[string]string{
			"plain": secret, "base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
			"hex": hex.EncodeToString([]byte(secret)), "query": url.QueryEscape(secret), "json": strings.Trim(fmt.Sprintf("%q", secret), `"`),
		} {
			for output, content := range h.outputs {
				if at := bytes.Index(content, []byte(text)); at >= 0 {
					t.Errorf("%s is in %s (%s): …%q…", name, output, encoding, content[max(0, at-80):at])
				}
			}
		}
	}
	for output, content := range h.outputs {
		if len(content) < 20 {
			t.Errorf("output %s holds %q: the test has not caught it", output, content)
		}
	}
}

func TestSecrets_areInNoOutput(t *testing.T) {
	t.Parallel()
	s := start(t, withSupabase, func(c *app.Config) {
		c.PageTokenTTL = 3 * time.Second
		c.PollMin, c.PollMax = 500*time.Millisecond, time.Second
	})
	h := &leakHunt{secrets: map[string]string{}, outputs: map[string][]byte{}}
	h.secret("the client secret", dollrtest.ClientSecret)
	h.secret("an API key", apiKey)
	h.secret("another API key", otherAPIKey)
	h.secret("the page secret", pageSecret)
	h.secret("the old page secret", oldPageSecret)
	h.secret("the callback secret", callbackSecret)
	h.secret("the callback secret's base64", strings.TrimPrefix(callbackSecret, "whsec_"))
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(callbackSecret, "whsec_"))
	h.secret("the callback key", string(raw))
	h.secret("the anon key", sandbox.AnonKey())
	h.secret("a card payment's client secret", "pi_3Nabc_secret_of_a_card_payment")
	h.secret("a token guessed", "guessed-token-that-nobody-should-see")

	// A card payment on its whole road, with a page on each transport.
	p := payment{reference: uuid.NewString()}
	s.call(201, "POST", s.sandbox+"/_sandbox/payments", fmt.Sprintf(`{"reference_id":%q,"session_id":55,"payer_amount":"255.00","payer_currency":"USD",
		"payee_amount":"250.00","payee_currency":"USD","client_secret":"pi_3Nabc_secret_of_a_card_payment"}`, p.reference))
	known := s.call(201, "POST", "/v1/payments", fmt.Sprintf(`{"operation":"collection","reference_id":%q,"session_id":55,"source_type":"INVOICE"}`, p.reference))
	p.id, p.token = known["id"].(string), known["page"].(map[string]any)["token"].(string)
	h.secret("a page token", p.token)
	h.secret("a page token's signature", p.token[strings.LastIndex(p.token, ".")+1:])
	until(t, "live", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["link"] == "live" })
	key := s.send(request{method: "POST", path: "/v1/page/realtime-key", header: bearer(p.token)})
	h.secret("a realtime key", key.fields["access_token"].(string))
	s.send(request{method: "GET", path: "/v1/page/status?wait=50ms&since=9&token=" + p.token, header: http.Header{"Authorization": {""}}})
	for _, accept := range []string{"text/html", "*/*"} {
		s.send(request{method: "GET", path: "/v1/page/view?token=" + p.token, header: http.Header{"Authorization": {""}, "Accept": {accept}}})
	}
	conn, _, err := websocket.Dial(t.Context(), s.url+"/v1/page/stream", &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + p.token}})
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan []byte)
	go func() {
		var heard []byte
		defer func() { listening <- heard }()
		for {
			_, body, err := conn.Read(t.Context())
			if err != nil {
				return
			}
			var token struct{ Type, Token string }
			if json.Unmarshal(body, &token) == nil && token.Type == "token" {
				continue // the one message that is allowed to hold one
			}
			heard = append(heard, body...)
		}
	}()

	// Everything that can go wrong, with secrets where they do not belong.
	wrong := func(r request) {
		got := s.send(r)
		if got.code < 400 {
			t.Errorf("%s %s = %d, want an error", r.method, r.path, got.code)
		}
		h.output("error answers", string(got.body))
		h.output("error answers", fmt.Sprint(got.header))
	}
	guess := "guessed-token-that-nobody-should-see"
	wrong(request{method: "GET", path: "/v1/payments", header: bearer(guess)})
	wrong(request{method: "GET", path: "/v1/payments?token=" + apiKey + "&limit=" + apiKey})
	wrong(request{method: "GET", path: "/v1/payments/" + guess})
	wrong(request{method: "GET", path: "/v1/events?after=" + guess})
	wrong(request{method: "GET", path: "/v1/page/status?token=" + guess, header: http.Header{"Authorization": {""}}})
	wrong(request{method: "GET", path: "/v1/page/view?token=" + guess, header: http.Header{"Authorization": {""}, "Accept": {"text/html"}}})
	wrong(request{method: "GET", path: "/v1/page/view?colour=red&token=" + p.token, header: http.Header{"Authorization": {""}, "Accept": {"text/html"}}})
	wrong(request{method: "GET", path: "/v1/page/events?colour=red&token=" + p.token, header: http.Header{"Authorization": {""}}})
	wrong(request{method: "POST", path: "/v1/payments", body: `{"operation":"` + apiKey + `","reference_id":"` + callbackSecret + `"}`})
	wrong(request{method: "POST", path: "/v1/payments", body: apiKey})
	for _, fault := range []string{`"kind":"code","code":500`, `"kind":"code","code":422`, `"kind":"another_id"`, `"kind":"body","code":403,"body":"{\"detail\":\"no ` + dollrtest.ClientSecret + `\"}"`} {
		s.fault(`{"endpoint":"status",` + fault + `}`)
		wrong(request{method: "POST", path: "/v1/payments/" + p.id + "/verify"})
	}
	s.fault(`{"endpoint":"token","kind":"code","code":401}`)
	s.fault("")

	s.call(200, "PUT", s.sandbox+"/_sandbox/payments/"+p.reference+"/status", `{"status":"COMPLETED"}`)
	got := <-s.received
	h.output("callbacks", string(got.body))
	h.output("callbacks", fmt.Sprint(got.header))
	h.output("page messages", string(<-listening))
	h.output("callbacks as listed", string(s.send(request{method: "GET", path: "/v1/callbacks"}).body))
	h.output("the event feed", string(s.send(request{method: "GET", path: "/v1/events"}).body))
	h.output("the timeline", string(s.send(request{method: "GET", path: "/v1/payments/" + p.id + "/events"}).body))
	h.output("the payment", string(s.send(request{method: "GET", path: "/v1/payments/" + p.id}).body))
	h.output("metrics", string(s.send(request{method: "GET", path: s.admin + "/metrics"}).body))
	s.stop()

	for line := range strings.Lines(s.upstream.String()) {
		var secret struct {
			AccessToken string `json:"access_token"`
		}
		if json.Unmarshal([]byte(line), &secret) == nil && secret.AccessToken != "" {
			h.secret(fmt.Sprintf("Dollr's token %d", len(h.secrets)), secret.AccessToken)
		}
	}
	h.output("the log", s.logs.String())
	files, err := filepath.Glob(s.database + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h.output("the database", string(content))
	}
	if !strings.Contains(s.logs.String(), `"level":"DEBUG"`) || len(h.secrets) < 15 {
		t.Errorf("%d secrets, and a log that may not show everything: the test has not caught them", len(h.secrets))
	}
	h.check(t)
}

// TestLog_namesThePayment checks that lines about a payment can be found by it, and that no line holds a query.
func TestLog_namesThePayment(t *testing.T) {
	t.Parallel()
	s := start(t, withSupabase)
	p := s.pay()
	until(t, "live", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["link"] == "live" })
	s.fault(`{"endpoint":"status","kind":"another_id"}`)
	s.send(request{method: "POST", path: "/v1/payments/" + p.id + "/verify"})
	s.fault("")
	s.set(p, "COMPLETED")
	s.verify(p)
	<-s.received
	s.call(200, "GET", "/v1/payments/"+p.id+"?wait=1ms&since=99", "")
	s.stop()
	named := map[string]bool{}
	for line := range strings.Lines(s.logs.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		message := fields["msg"].(string)
		if fields["payment"] == p.id {
			named[message] = true
		} else if strings.Contains(line, p.id) || strings.Contains(line, p.reference) {
			t.Errorf("a line is about the payment and does not say so in `payment`: %s", line)
		}
		if strings.Contains(line, "wait=1ms") {
			t.Errorf("a line holds a query: %s", line)
		}
	}
	for _, message := range []string{"payment registered", "outcome", "request", "request failed", "realtime link", "realtime channel", "dollr answered about another payment, the answer is refused"} {
		if !named[message] {
			t.Errorf("no line %q names the payment", message)
		}
	}
}
