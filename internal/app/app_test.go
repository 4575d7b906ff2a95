package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

const (
	apiKey         = "test-api-key-with-at-least-32-characters"
	callbackSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	patience       = 20 * time.Second
)

// system is a relay between a sandbox and a merchant's backend, on loopback.
type system struct {
	t        testing.TB
	relay    string // base URLs
	admin    string
	sandbox  string
	client   *http.Client
	patience time.Duration
	received chan received
	refuse   atomic.Pointer[string] // what the backend refuses callbacks with, if it does
	stop     func()
}

// received is one callback as the merchant's backend got it.
type received struct {
	at     time.Time
	header http.Header
	body   []byte
	fields map[string]any
}

func start(tb testing.TB, edit ...func(*app.Config)) *system {
	tb.Helper()
	return startWith(tb, app.Options{}, func(*http.Request) {}, edit...)
}

// startWith also has options, and asked hears of each request to Dollr and Supabase.
func startWith(tb testing.TB, options app.Options, asked func(*http.Request), edit ...func(*app.Config)) *system {
	tb.Helper()
	s := &system{t: tb, client: http.DefaultClient, patience: patience, received: make(chan received, 10_000)}
	backend := httptest.NewServer(http.HandlerFunc(s.receive))
	tb.Cleanup(backend.Close)

	stand := sandbox.New(sandbox.Options{})
	standCtx, stopStand := context.WithCancel(context.Background())
	standDone := make(chan error, 1)
	go func() { standDone <- stand.Run(standCtx) }()
	standHandler := stand.Handler()
	standServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked(r)
		standHandler.ServeHTTP(w, r)
	}))
	s.sandbox = standServer.URL
	tb.Cleanup(func() {
		stopStand()
		if err := <-standDone; err != nil {
			tb.Errorf("the sandbox ended with %v", err)
		}
		standServer.Close()
	})

	config := s.config(backend.URL)
	for _, change := range edit {
		change(&config)
	}
	s.launch(config, options)
	return s
}

// launch starts the relay.
func (s *system) launch(config app.Config, options app.Options) {
	tb := s.t
	tb.Helper()
	options.Logger = slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	relay, err := app.New(tb.Context(), config, options)
	if err != nil {
		tb.Fatal(err)
	}
	s.relay, s.admin = relay.URL(), relay.AdminURL()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Errorf("Run() = %v, want nil after being asked to stop", err)
			}
		case <-time.After(patience):
			tb.Error("the relay did not stop")
		}
	}
	tb.Cleanup(s.stop)
}

// config is a relay between the sandbox and a backend.
func (s *system) config(backend string) app.Config {
	s.t.Helper()
	signing, err := callback.ParseSecret(callbackSecret)
	if err != nil {
		s.t.Fatal(err)
	}
	public, _ := url.Parse("http://relay.test")
	return app.Config{
		DollrBaseURL: s.sandbox, DollrClientID: dollrtest.ClientID, DollrClientSecret: secret.New(dollrtest.ClientSecret), DollrRate: 100,
		SupabaseURL: s.sandbox, SupabaseAnonKey: secret.New(sandbox.AnonKey()),
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", PublicURL: public,
		DatabaseURL: secret.New("sqlite:" + filepath.Join(s.t.TempDir(), "relay.db")),
		APIKeys:     []secret.Value{secret.New(apiKey)}, PageSecrets: []secret.Value{secret.New(strings.Repeat("page-secret-", 4))},
		PageTokenTTL: time.Hour, MaxPages: 1000,
		CallbackURLs: []string{backend}, CallbackSecrets: []callback.Secret{signing},
		WatchFor: 72 * time.Hour, ReconcileEvery: 5 * time.Minute, PollMin: 500 * time.Millisecond, PollMax: 5 * time.Minute,
		AuditEvery: 30 * time.Second, RealtimeWindow: 10 * time.Minute, ShutdownGrace: 2 * time.Second,
	}
}

func (s *system) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := received{at: time.Now(), header: r.Header, body: body}
	if err := json.Unmarshal(body, &got.fields); err != nil {
		s.t.Errorf("a callback's body is no JSON: %v", err)
	}
	s.received <- got
	if text := s.refuse.Load(); text != nil {
		http.Error(w, *text, http.StatusGone)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// call makes a JSON request and decodes the answer, failing the test if its code is not want.
func (s *system) call(method, address, body string, want int) map[string]any {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	answer, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != want {
		s.t.Fatalf("%s %s = %d, want %d: %s", method, address, answer.StatusCode, want, text)
	}
	var fields map[string]any
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &fields); err != nil {
			s.t.Fatalf("%s %s: %v: %s", method, address, err, text)
		}
	}
	return fields
}

// pay creates a payment at Dollr and registers it with the relay.
func (s *system) pay() (id, reference, token string) {
	s.t.Helper()
	p := s.call("POST", s.sandbox+"/_sandbox/payments", `{"payer_amount":"255.00","payer_currency":"USD","payee_amount":"250.00","payee_currency":"USD"}`, 201)
	reference = p["reference_id"].(string)
	known := s.call("POST", s.relay+"/v1/payments", fmt.Sprintf(
		`{"operation":"collection","reference_id":%q,"session_id":%.0f,"source_type":"INVOICE","expected":{"amount":"250","currency":"USD","side":"payee"},"metadata":{"order":"1042"}}`,
		reference, p["session_id"]), 201)
	return known["id"].(string), reference, known["page"].(map[string]any)["token"].(string)
}

func (s *system) set(reference, body string) {
	s.t.Helper()
	s.call("PUT", s.sandbox+"/_sandbox/payments/"+reference+"/status", body, 200)
}

// until asks the relay for a payment until it is as wanted.
func (s *system) until(id string, what string, ok func(p map[string]any) bool) map[string]any {
	s.t.Helper()
	deadline := time.Now().Add(max(s.patience, patience))
	for {
		p := s.call("GET", s.relay+"/v1/payments/"+id, "", 200)
		if ok(p) {
			return p
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the payment is never %s: %v", what, p)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *system) callback() received {
	s.t.Helper()
	select {
	case got := <-s.received:
		return got
	case <-time.After(max(s.patience, patience)):
		s.t.Fatal("no callback came")
		return received{}
	}
}

// page is an open checkout page.
type page struct {
	t        testing.TB
	conn     *websocket.Conn
	patience time.Duration
}

func (s *system) open(token string) *page {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, answer, err := websocket.Dial(ctx, s.relay+"/v1/page/stream", &websocket.DialOptions{HTTPClient: s.client, Subprotocols: []string{"dollr-relay.v1", "bearer." + token}})
	if err != nil {
		s.t.Fatalf("open page: %v (%v)", err, answer)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	if got := conn.Subprotocol(); got != "dollr-relay.v1" {
		s.t.Errorf("subprotocol = %q, want dollr-relay.v1", got)
	}
	return &page{s.t, conn, s.patience}
}

// next returns the next message that is no ping, or the close code.
func (p *page) next() (map[string]any, websocket.StatusCode) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), p.patience)
	defer cancel()
	for {
		_, body, err := p.conn.Read(ctx)
		if err != nil {
			return nil, websocket.CloseStatus(err)
		}
		var message map[string]any
		if err := json.Unmarshal(body, &message); err != nil {
			p.t.Fatalf("page message %s: %v", body, err)
		}
		if message["type"] != "ping" {
			return message, 0
		}
	}
}

// until reads messages until one is as wanted.
func (p *page) until(what string, ok func(m map[string]any) bool) map[string]any {
	p.t.Helper()
	for {
		m, code := p.next()
		if m == nil {
			p.t.Fatalf("the page is closed (%d) before a message that is %s", code, what)
		}
		if ok(m) {
			return m
		}
	}
}

// metric reads one sample of the admin listener's metrics, empty if it is not there.
func (s *system) metric(name string) string {
	s.t.Helper()
	answer, err := http.Get(s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// untilMetric waits until a sample has a value.
func (s *system) untilMetric(name, want string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got := s.metric(name)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s = %q, want %s", name, got, want)
		}
	}
}
