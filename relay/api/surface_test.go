package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

func TestOrigins_allowed(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	for _, origin := range []string{"https://shop.example", "https://SHOP.example", "https://a.shop.example:8443", "https://a.b.shop.example:8443", "http://relay.test"} {
		got := s.send(request{method: "GET", path: "/v1/page/status", header: with(bearer(p.token), "Origin", origin)})
		if allowed := got.header.Get("Access-Control-Allow-Origin"); got.code != 200 || allowed != origin {
			t.Errorf("%s: %s, allowed %q, want its own name", origin, said(got), allowed)
		}
		if got.header.Get("Access-Control-Allow-Credentials") != "" || got.header.Get("Vary") != "Origin" {
			t.Errorf("%s: credentials %q, Vary %q, want none and Origin", origin, got.header.Get("Access-Control-Allow-Credentials"), got.header.Get("Vary"))
		}
	}
	got := s.send(request{method: "OPTIONS", path: "/v1/page/realtime-key", header: http.Header{
		"Origin": {"https://shop.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"},
	}})
	if got.code != 204 || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "POST") || !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight = %d %v, want 204 that allows POST with Authorization", got.code, got.header)
	}
	// A refusal must be readable by the page, too.
	got = s.send(request{method: "GET", path: "/v1/page/status", header: with(bearer("junk"), "Origin", "https://shop.example")})
	if got.code != 401 || got.header.Get("Access-Control-Allow-Origin") != "https://shop.example" {
		t.Errorf("401 of an allowed origin: %d with %q", got.code, got.header.Get("Access-Control-Allow-Origin"))
	}
	got = s.send(request{method: "GET", path: "/v1/payments", header: http.Header{"Origin": {"https://shop.example"}}})
	if got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("the API for backends is open to pages")
	}
}

func TestHeaders_ofEveryAnswer(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	for _, path := range []string{"/v1/payments/" + p.id, "/v1/payments/unknown", "/v1/events", "/openapi.json", "/docs"} {
		h := s.send(request{method: "GET", path: path}).header
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Frame-Options") != "DENY" ||
			!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("X-Request-Id") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
		if strings.HasPrefix(path, "/v1/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q, want no-store", path, h.Get("Cache-Control"))
		}
	}
	for id, kept := range map[string]bool{"order-1042.retry_2": true, "with space": false, strings.Repeat("x", 65): false, "<script>": false} {
		got := s.send(request{method: "GET", path: "/v1/payments", header: http.Header{"X-Request-Id": {id}}}).header.Get("X-Request-Id")
		if (got == id) != kept || got == "" {
			t.Errorf("X-Request-Id %q is answered %q, kept should be %t", id, got, kept)
		}
	}
	if allow := s.send(request{method: "DELETE", path: "/v1/payments"}).header.Get("Allow"); !strings.Contains(allow, "POST") {
		t.Errorf("405 with Allow %q, want the methods that there are", allow)
	}
}

func TestLimits_perAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	from := func(address, path, token string) reply {
		got, err := s.try(request{method: "GET", path: path, header: with(bearer(token), "X-Forwarded-For", address)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	var got reply
	for range 20_000 { // 100 more are granted each second, and the machine may be busy
		if got = from("203.0.113.7", "/v1/page/status", "junk"); got.code == 429 {
			break
		}
	}
	if said(got) != "429 Too many requests from this address." {
		t.Fatalf("page requests without end: %s, want 429", said(got))
	}
	checkProblem(t, got)
	if got := from("203.0.113.8", "/v1/page/status", p.token); got.code != 200 {
		t.Errorf("another address: %s, want 200", said(got))
	}
	if got := from("203.0.113.7, 203.0.113.9", "/v1/page/status", p.token); got.code != 200 {
		t.Errorf("another address that names the first one: %s, want 200", said(got))
	}
	if got := from("203.0.113.7", "/v1/payments", apiKey); got.code != 200 {
		t.Errorf("a backend at that address: %s, want 200", said(got))
	}
	for range 200 {
		if got = from("2001:db8::1", "/v1/payments", "junk"); got.code == 429 {
			break
		}
	}
	if said(got) != "429 Too many requests of this address without a right API key." {
		t.Errorf("guessing keys: %s, want 429", said(got))
	}
	if got := from("2001:db8::2", "/v1/payments", "junk"); got.code != 429 {
		t.Errorf("the neighbour in the same /64: %d, want 429", got.code)
	}
	if got := from("2001:db8:0:1::2", "/v1/payments", "junk"); got.code != 401 {
		t.Errorf("another network: %d, want 401", got.code)
	}
}

func TestLimits_untrustedProxyIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for range 60 {
		if got := s.send(request{method: "GET", path: "/v1/payments", header: http.Header{"Authorization": {"Bearer junk"}, "X-Forwarded-For": {"203.0.113.7"}}}); got.code != 401 {
			t.Fatalf("got %s, want 401: the address is the proxy's own", said(got))
		}
	}
	if n := strings.Count(s.logs.String(), "RELAY_TRUSTED_PROXIES"); n != 1 {
		t.Errorf("the operator is warned %d times, want once", n)
	}
}

func TestPages_asManyAsThereMayBe(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.MaxPages = 2 })
	p := s.pay()
	dial := func() (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), s.url+"/v1/page/stream", &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + p.token}})
	}
	for range 2 {
		conn, _, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	_, answer, err := dial()
	if err == nil || answer == nil || answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a third page: %v, want 503 with Retry-After before any upgrade", answer)
	}
	if got := s.send(request{method: "GET", path: "/v1/page/status", header: bearer(p.token)}); got.code != 503 {
		t.Errorf("a third page by long poll: %s, want 503", said(got))
	}
}

func TestPages_twentyOfOnePayment(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	options := &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + p.token}}
	for range 20 {
		conn, _, err := websocket.Dial(t.Context(), s.url+"/v1/page/stream", options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	conn, _, err := websocket.Dial(t.Context(), s.url+"/v1/page/stream", options)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = conn.Read(t.Context()); websocket.CloseStatus(err) != 4429 {
		t.Errorf("the 21st page: %v, want close code 4429", err)
	}
	for _, path := range []string{"/v1/page/status", "/v1/page/events"} {
		got := s.send(request{method: "GET", path: path, header: bearer(p.token)})
		if said(got) != "429 This payment has too many open pages." {
			t.Errorf("%s: %s, want 429", path, said(got))
		}
		checkProblem(t, got)
	}
}

// TestSlowClients_areCutOff holds two connections open and says almost nothing on them.
func TestSlowClients_areCutOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	address := strings.TrimPrefix(s.url, "http://")
	open := func(text string) net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := fmt.Fprint(conn, text); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		return conn
	}
	headers := open("GET /v1/payments HTTP/1.1\r\nHost: relay\r\nX-Slow: ")
	body := open("POST /v1/payments HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer " + apiKey + "\r\nContent-Length: 100\r\n\r\n{")
	answer, err := http.ReadResponse(bufio.NewReader(body), nil)
	if err != nil || answer.StatusCode != 408 {
		t.Errorf("a body that does not come: %v, %v, want 408", answer, err)
	}
	if rest, err := io.ReadAll(headers); err != nil || strings.Contains(string(rest), "200 OK") {
		t.Errorf("headers that do not end: %q, %v, want the connection closed", rest, err)
	}
}
