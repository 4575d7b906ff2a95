package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Secrets of the test systems.
const (
	apiKey         = "first-api-key-with-at-least-32-characters"
	otherAPIKey    = "other-api-key-with-at-least-32-characters"
	pageSecret     = "first-page-secret-with-at-least-32-chars"
	oldPageSecret  = "older-page-secret-with-at-least-32-chars"
	callbackSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	patience       = 20 * time.Second
)

// system is a whole relay between a sandbox and a merchant's backend, on loopback.
type system struct {
	t        testing.TB
	url      string // of the relay
	admin    string
	sandbox  string
	backend  string
	database string
	logs     *lockedBuffer
	received chan received
	client   *http.Client // checks every request and answer against the document
	clock    *clock
	upstream *lockedBuffer // what Dollr answered
	stop     func()
}

// received is one callback as the merchant's backend got it.
type received struct {
	header http.Header
	body   []byte
}

// lockedBuffer collects a log that several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// clock is the wall clock, which a test may set forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// start runs a system without Supabase, whose own questions to Dollr are rare, unless edit says otherwise.
func start(tb testing.TB, edit ...func(*app.Config)) *system {
	tb.Helper()
	s := &system{t: tb, received: make(chan received, 100), logs: &lockedBuffer{}, upstream: &lockedBuffer{}, clock: &clock{}}
	backend := httptest.NewServer(http.HandlerFunc(s.receive))
	tb.Cleanup(backend.Close)
	s.backend = backend.URL

	stand := sandbox.New(sandbox.Options{})
	standCtx, stopStand := context.WithCancel(context.Background())
	standDone := make(chan error, 1)
	go func() { standDone <- stand.Run(standCtx) }()
	standServer := httptest.NewServer(s.eavesdrop(stand.Handler()))
	s.sandbox = standServer.URL
	tb.Cleanup(func() {
		stopStand()
		if err := <-standDone; err != nil {
			tb.Errorf("sandbox: %v", err)
		}
		standServer.Close()
	})

	signing, err := callback.ParseSecret(callbackSecret)
	if err != nil {
		tb.Fatal(err)
	}
	public, _ := url.Parse("http://relay.test")
	shop, err := api.ParseOrigin("https://shop.example")
	if err != nil {
		tb.Fatal(err)
	}
	below, err := api.ParseOrigin("https://*.shop.example:8443")
	if err != nil {
		tb.Fatal(err)
	}
	s.database = filepath.Join(tb.TempDir(), "relay.db")
	config := app.Config{
		DollrBaseURL: s.sandbox, DollrClientID: dollrtest.ClientID, DollrClientSecret: secret.New(dollrtest.ClientSecret), DollrRate: 1000,
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", PublicURL: public,
		DatabaseURL:  secret.New("sqlite:" + s.database),
		APIKeys:      []secret.Value{secret.New(apiKey), secret.New(otherAPIKey)},
		PageSecrets:  []secret.Value{secret.New(pageSecret), secret.New(oldPageSecret)},
		PageTokenTTL: time.Hour, MaxPages: 1000, AllowedOrigins: []api.Origin{shop, below},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		CallbackURLs:   []string{backend.URL + "/hook", backend.URL + "/other"}, CallbackSecrets: []callback.Secret{signing},
		WatchFor: 72 * time.Hour, ReconcileEvery: time.Hour, PollMin: time.Hour, PollMax: time.Hour,
		AuditEvery: time.Hour, RealtimeWindow: 10 * time.Minute, ShutdownGrace: 2 * time.Second,
	}
	for _, change := range edit {
		change(&config)
	}
	level := slog.LevelDebug
	switch tb.(type) {
	case *testing.B:
		level = slog.LevelInfo
	case *testing.F: // thousands of requests a second
		level = slog.LevelError
	}
	relay, err := app.New(tb.Context(), config, app.Options{
		Logger: slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: level})), Now: s.clock.now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.url, s.admin = relay.URL(), relay.AdminURL()
	s.client = &http.Client{Transport: &validating{tb: tb, next: http.DefaultTransport, relay: s.url}}
	s.run(relay)
	return s
}

// eavesdrop keeps what Dollr answers.
func (s *system) eavesdrop(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			w = &overheard{w, s.upstream}
		}
		next.ServeHTTP(w, r)
	})
}

type overheard struct {
	http.ResponseWriter

	copy io.Writer
}

func (o *overheard) Write(p []byte) (int, error) {
	_, _ = fmt.Fprintf(o.copy, "%s\n", p)
	return o.ResponseWriter.Write(p)
}

func (s *system) run(relay *app.App) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Errorf("Run() = %v, want nil after being asked to stop", err)
			}
		case <-time.After(patience):
			s.t.Error("the relay did not stop")
		}
	})
	s.t.Cleanup(s.stop)
}

func withSupabase(c *app.Config) {
	c.SupabaseURL, c.SupabaseAnonKey = c.DollrBaseURL, secret.New(sandbox.AnonKey())
}

func (s *system) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.received <- received{r.Header, body}
	w.WriteHeader(http.StatusNoContent)
}

// reply is an answer with its body read.
type reply struct {
	code   int
	header http.Header
	body   []byte
	fields map[string]any // of a JSON object
}

// request is one to make; header entries replace the usual ones, an empty one removes it.
type request struct {
	method, path, body string
	header             http.Header
}

func (s *system) send(r request) reply {
	s.t.Helper()
	answer, err := s.try(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

func (s *system) try(r request) (reply, error) {
	address := r.path
	if strings.HasPrefix(address, "/") {
		address = s.url + r.path
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	out, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), r.method, address, body) // also in a Cleanup
	if err != nil {
		return reply{}, err
	}
	out.Header.Set("Authorization", "Bearer "+apiKey)
	if r.body != "" {
		out.Header.Set("Content-Type", "application/json")
	}
	for name, values := range r.header {
		out.Header.Del(name)
		for _, value := range values {
			if value != "" {
				out.Header.Add(name, value)
			}
		}
	}
	in, err := s.client.Do(out)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = in.Body.Close() }()
	text, err := io.ReadAll(in.Body)
	answer := reply{code: in.StatusCode, header: in.Header, body: text}
	_ = json.Unmarshal(text, &answer.fields) // not every answer is an object
	return answer, err
}

// call makes a request and fails the test unless the answer has the code.
func (s *system) call(code int, method, path, body string) map[string]any {
	s.t.Helper()
	answer := s.send(request{method: method, path: path, body: body})
	if answer.code != code {
		s.t.Fatalf("%s %s = %d, want %d: %s", method, path, answer.code, code, answer.body)
	}
	return answer.fields
}

// payment is one that Dollr and the relay know.
type payment struct {
	id, reference, token string
	session              int64
}

// pay creates a payment at Dollr and registers it.
func (s *system) pay() payment {
	s.t.Helper()
	p := payment{reference: uuid.NewString(), session: 55}
	s.call(201, "POST", s.sandbox+"/_sandbox/payments", fmt.Sprintf(
		`{"reference_id":%q,"session_id":55,"payer_amount":"255.00","payer_currency":"USD","payee_amount":"250.00","payee_currency":"USD"}`, p.reference))
	known := s.call(201, "POST", "/v1/payments", fmt.Sprintf(
		`{"operation":"collection","reference_id":%q,"session_id":55,"source_type":"INVOICE","expected":{"amount":"250","currency":"USD"}}`, p.reference))
	p.id, p.token = known["id"].(string), known["page"].(map[string]any)["token"].(string)
	return p
}

// set changes a payment at Dollr, without telling realtime.
func (s *system) set(p payment, status string) {
	s.t.Helper()
	s.call(200, "PUT", s.sandbox+"/_sandbox/payments/"+p.reference+"/status", fmt.Sprintf(`{"status":%q,"silent":true}`, status))
}

func (s *system) verify(p payment) map[string]any {
	s.t.Helper()
	return s.call(200, "POST", "/v1/payments/"+p.id+"/verify", "")
}

// fault replaces Dollr's faults.
func (s *system) fault(faults string) {
	s.t.Helper()
	s.call(200, "PUT", s.sandbox+"/_sandbox/faults", `{"dollr":[`+faults+`]}`)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// until waits for something that another goroutine does.
func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("never %s", what)
		}
	}
}
