package api_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/net/html"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// seen is a status page as a browser reads it.
type seen struct {
	reply

	lang, dir, state, title, status string
	refresh                         string // the meta element's content
	next                            string // the path that it leads to
	links                           []string
}

var refreshContent = regexp.MustCompile(`^(\d+); url=(\?token=[\w.-]+&lang=\w\w)$`)

// view opens the status page as a browser does.
func (s *system) view(query string, header ...string) seen {
	s.t.Helper()
	headers := http.Header{"Authorization": {""}, "Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}}
	for i := 0; i < len(header); i += 2 {
		headers.Set(header[i], header[i+1])
	}
	page := seen{reply: s.send(request{method: "GET", path: "/v1/page/view" + query, header: headers})}
	root, err := html.Parse(bytes.NewReader(page.body))
	if err != nil {
		s.t.Fatal(err)
	}
	for n := range root.Descendants() {
		attribute := map[string]string{}
		for _, a := range n.Attr {
			attribute[a.Key] = a.Val
		}
		switch {
		case n.Data == "html" && n.Type == html.ElementNode:
			page.lang, page.dir = attribute["lang"], attribute["dir"]
		case n.Data == "main":
			page.state = attribute["data-state"]
		case n.Data == "title":
			page.title = text(n)
		case n.Data == "a":
			page.links = append(page.links, attribute["href"])
		case attribute["role"] == "status":
			page.status = text(n)
		case attribute["http-equiv"] == "refresh":
			page.refresh = attribute["content"]
			if found := refreshContent.FindStringSubmatch(page.refresh); found != nil {
				page.next = found[2]
			}
		}
	}
	return page
}

func text(n *html.Node) string {
	var words []string
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			words = append(words, strings.Fields(d.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func TestView_followsAPaymentToItsEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	page := s.view("?token=" + p.token)
	if page.code != 200 || page.state != "waiting" || page.status != "Waiting for your payment" || page.title != "Waiting for your payment" || page.lang != "en" || page.dir != "ltr" {
		t.Fatalf("view = %d, %+v, want that the payment is waited for", page.code, page)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=UTF-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Language": "en",
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
	} {
		if got := page.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	policy := page.header.Get("Content-Security-Policy")
	if !regexp.MustCompile(`^default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$`).MatchString(policy) {
		t.Errorf("Content-Security-Policy = %q, want one that allows nothing but its own style", policy)
	}
	if bytes.Contains(page.body, []byte("<script")) {
		t.Error("the page for browsers without script has one")
	}
	s.set(p, "COMPLETED")
	s.verify(p)
	page = s.view(page.next)
	if page.state != "succeeded" || page.status != "Payment received" || page.refresh != "" {
		t.Errorf("after the success: %s %q, refresh %q, want Payment received and none", page.state, page.status, page.refresh)
	}
}

// TestView_staysOpenForLongerThanAToken follows the page's own refreshes, in steps shorter than the life of a token.
func TestView_staysOpenForLongerThanAToken(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.PageTokenTTL = time.Minute })
	p := s.pay()
	address := "?lang=fr&token=" + p.token
	for range 5 {
		s.clock.jump(50 * time.Second)
		page := s.view(address)
		if page.code != 200 || page.lang != "fr" || page.next == "" || strings.Contains(page.next, strings.TrimPrefix(address, "?lang=fr&")) {
			t.Fatalf("view = %d in %q, refresh %q, want the same in French with a fresh token", page.code, page.lang, page.refresh)
		}
		address = page.next
	}
	s.clock.jump(61 * time.Second)
	if page := s.view(address); page.code != 401 {
		t.Errorf("a page that was away for longer = %d, want 401", page.code)
	}
}

func TestView_refreshesLessOftenAsTimePasses(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	for _, step := range []struct {
		jump time.Duration
		want string
	}{{0, "3;"}, {3 * time.Minute, "10;"}, {10 * time.Minute, "30;"}} {
		s.clock.jump(step.jump)
		if page := s.view("?token=" + p.token); !strings.HasPrefix(page.refresh, step.want) {
			t.Errorf("%s later the refresh is %q, want %s", step.jump, page.refresh, step.want)
		}
	}
}

func TestView_saysNotToPayAgainAfterAMinute(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	if page := s.view("?token=" + p.token); strings.Contains(page.status, "again") {
		t.Errorf("at once it says %q", page.status)
	}
	s.clock.jump(61 * time.Second)
	if page := s.view("?token=" + p.token); page.status != "Waiting for your payment Your payment is still being checked. Do not pay again." {
		t.Errorf("after a minute it says %q", page.status)
	}
}

func TestView_aHintReadsAsConfirming(t *testing.T) {
	t.Parallel()
	s := start(t, withSupabase)
	for _, word := range []string{"COMPLETED", "FAILED"} {
		p := s.pay()
		until(t, "live", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["link"] == "live" })
		s.fault(`{"endpoint":"status","kind":"code","code":404}`) // nothing can be verified
		s.call(200, "PUT", s.sandbox+"/_sandbox/payments/"+p.reference+"/status", `{"status":"`+word+`"}`)
		until(t, "confirming", func() bool { return s.view("?token="+p.token).state == "confirming" })
		page := s.view("?token=" + p.token)
		if page.status != "Confirming your payment" || page.refresh == "" {
			t.Errorf("a hint of %s reads %q, refresh %q, want that it is being confirmed", word, page.status, page.refresh)
		}
		s.fault("")
	}
}

func TestView_troubleNeverReadsAsFailed(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	s.fault(`{"endpoint":"status","kind":"code","code":503}`)
	until(t, "degraded", func() bool {
		s.send(request{method: "POST", path: "/v1/payments/" + p.id + "/verify"})
		return s.call(200, "GET", "/v1/payments/"+p.id, "")["link"] == "degraded"
	})
	page := s.view("?token=" + p.token)
	if page.state != "waiting" || page.status != "Waiting for your payment This is taking longer than usual." || page.refresh == "" {
		t.Errorf("while Dollr is down: %s %q, refresh %q", page.state, page.status, page.refresh)
	}
}

func TestView_failedOnlyWhenDollrSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	s.set(p, "FAILED")
	s.verify(p)
	page := s.view("?token=" + p.token + "&lang=pt")
	if page.state != "failed" || page.status != "Pagamento falhado" || page.refresh != "" {
		t.Errorf("after Dollr's FAILED: %s %q, refresh %q, want Pagamento falhado and none", page.state, page.status, page.refresh)
	}
}

func TestView_speaksTheCustomersLanguage(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	for _, tt := range []struct{ lang, accept, want, dir, title string }{
		{"fr", "", "fr", "ltr", "En attente de votre paiement"},
		{"pt", "fr", "pt", "ltr", "À espera do seu pagamento"},
		{"", "sw-KE,sw;q=0.9,en;q=0.8", "sw", "ltr", "Tunasubiri malipo yako"},
		{"", "de, ar-EG;q=0.5, en;q=0.3", "ar", "rtl", "في انتظار الدفع"},
		{"ar", "", "ar", "rtl", "في انتظار الدفع"},
		{"fr-CD", "", "fr", "ltr", "En attente de votre paiement"},
		{"zz", "pt-BR", "pt", "ltr", "À espera do seu pagamento"},
		{"<script>", "{}", "en", "ltr", "Waiting for your payment"},
		{"", "", "en", "ltr", "Waiting for your payment"},
	} {
		page := s.view("?token="+p.token+"&lang="+tt.lang, "Accept-Language", tt.accept)
		if page.code != 200 || page.lang != tt.want || page.dir != tt.dir || page.title != tt.title || page.header.Get("Content-Language") != tt.want {
			t.Errorf("lang %q, Accept-Language %q: %d %s %s %q, want %s %s %q", tt.lang, tt.accept, page.code, page.lang, page.dir, page.title, tt.want, tt.dir, tt.title)
		}
		if len(page.links) != 6 || !strings.HasSuffix(page.next, "&lang="+tt.want) {
			t.Errorf("%d links, next %q, want each language, one to look again, and a refresh in the same language", len(page.links), page.next)
		}
	}
}

func TestView_refusedInAFriendlyWay(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	s.clock.jump(2 * time.Hour)
	for _, query := range []string{"?lang=fr&token=" + p.token, "?lang=fr&token=junk", "?lang=fr"} {
		page := s.view(query)
		if page.code != 401 || page.lang != "fr" || page.state != "gone" || page.title != "Cette page n’est plus disponible" || !strings.Contains(page.status, "Ne payez pas à nouveau") {
			t.Errorf("%s = %d %q %q, want a page that says where to look", query, page.code, page.title, page.status)
		}
		if page.refresh != "" || len(page.links) != 0 || page.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: refresh %q, links %v, %q, want none and nothing kept", query, page.refresh, page.links, page.header.Get("Cache-Control"))
		}
		for _, accept := range []string{"application/json", "*/*", ""} {
			got := s.send(request{method: "GET", path: "/v1/page/view" + query, header: http.Header{"Authorization": {""}, "Accept": {accept}}})
			if got.code != 401 {
				t.Errorf("%s for %q = %d, want 401", query, accept, got.code)
			}
			checkProblem(t, got)
		}
	}
	fresh := s.pay()
	if page := s.view("?colour=red&token=" + fresh.token); page.code != 422 || page.state != "gone" {
		t.Errorf("a wrong query = %d %s, want a page that says where to look", page.code, page.state)
	}
	if page := s.view("?token="+fresh.token, "Origin", "https://evil.example"); page.code != 403 || page.state != "gone" {
		t.Errorf("a foreign origin = %d %s, want 403 and a page", page.code, page.state)
	}
}

// TestView_looksAgainWhenTheRelayCannotTell asks a server whose database is gone.
func TestView_looksAgainWhenTheRelayCannotTell(t *testing.T) {
	t.Parallel()
	database, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "relay.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := database.Close(); err != nil {
		t.Fatal(err)
	}
	public, _ := url.Parse("http://relay.test")
	logs := &lockedBuffer{}
	server, err := api.New(api.Options{
		Records: database, APIKeys: []secret.Value{secret.New(apiKey)}, PageSecrets: []secret.Value{secret.New(pageSecret)}, PageTokenTTL: time.Hour,
		PublicURL: public, Logger: slog.New(slog.NewJSONHandler(logs, nil)), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server.Handler())
	t.Cleanup(web.Close)
	s := &system{t: t, url: web.URL}
	s.client = &http.Client{Transport: &validating{tb: t, next: http.DefaultTransport, relay: s.url}}
	token := signed(jwt.SigningMethodHS256, []byte(pageSecret), jwt.MapClaims{"sub": "pay_aaaabbbbccccddddeeeeffff", "aud": "page", "exp": time.Now().Add(time.Hour).Unix()})
	page := s.view("?lang=sw&token=" + token)
	if page.code != 503 || page.state != "trouble" || page.header.Get("Retry-After") == "" || page.next == "" || page.status != "Inachukua muda mrefu kuliko kawaida. Bado tunakagua malipo yako. Usilipe tena." {
		t.Errorf("without a database = %d %s %q, refresh %q, want a page that looks again", page.code, page.state, page.status, page.refresh)
	}
	if log := logs.String(); !strings.Contains(log, "request failed") || strings.Contains(log, token) {
		t.Errorf("log = %s, want that it failed, without the token", log)
	}
}
