package console_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
	"github.com/dollr-relay/dollr-relay/web/console"
)

// process is a relay that watches nothing, with a database that can break.
type process struct {
	*store.Store

	broken atomic.Bool
}

var errBroken = errors.New("disk I/O error at /var/lib/relay.db")

func (p *process) List(ctx context.Context, f store.Filter) ([]relay.Payment, int64, error) {
	if p.broken.Load() {
		return nil, 0, errBroken
	}
	return p.Store.List(ctx, f)
}

func (p *process) Link(relay.Payment) relay.Link { return relay.Unwatched }

func (p *process) Verify(ctx context.Context, id string, _ relay.Via) (relay.Payment, error) {
	return p.Find(ctx, id)
}

func (p *process) Census(bounds []time.Duration) []map[relay.Link]int {
	return make([]map[relay.Link]int, len(bounds)+1)
}

func (p *process) Open(relay.Link, time.Duration, time.Duration, int) ([]string, int) { return nil, 0 }

func (p *process) Health(context.Context) console.Health { return calm() }

func (p *process) Questions(string) []console.Question { return nil }

func (p *process) Reconcile() {}

func (p *process) Sweep() console.Sweep { return console.Sweep{} }

func start(t *testing.T, host string) (*process, *httptest.Server) {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "relay.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Store: db}
	c, err := console.New(console.Options{
		Payments: p, Records: p, System: p, Redelivered: func(string) {}, Host: host, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, server
}

func get(t *testing.T, address, host string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var text strings.Builder
	if err := answer.Write(&text); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text.String()
}

// TestConsole_aBrokenDatabaseIsSaid: the overview stays, and no page shows what is wrong inside.
func TestConsole_aBrokenDatabaseIsSaid(t *testing.T) {
	t.Parallel()
	p, server := start(t, "")
	p.broken.Store(true)
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/":          {200, "The database does not work. Nothing is lost and nothing is guessed; 3 payments waiting."},
		"/payments":  {503, "The database does not answer"},
		"/callbacks": {200, "There are none."},
	} {
		code, text := get(t, server.URL+path, "")
		if code != want.code || !strings.Contains(text, want.text) || strings.Contains(text, "I/O error") {
			t.Errorf("GET %s = %d, want %d, %q and no detail: %s", path, code, want.code, want.text, text)
		}
	}
	p.broken.Store(false)
	if code, text := get(t, server.URL+"/payments", ""); code != 200 {
		t.Errorf("GET /payments after the database came back = %d: %s", code, text)
	}
}

// TestConsole_callbackURLsAreShownWithoutWhatIsSecret has a user and a query in one.
func TestConsole_callbackURLsAreShownWithoutWhatIsSecret(t *testing.T) {
	t.Parallel()
	_, server := start(t, "")
	if _, text := get(t, server.URL, ""); strings.Contains(text, "secret") || !strings.Contains(text, "https://shop.example/hooks") {
		t.Errorf("the overview shows more or less than the place of a callback URL: %s", text)
	}
}

// TestConsole_configuredHost: the name in RELAY_ADMIN_LISTEN is the operator's own.
func TestConsole_configuredHost(t *testing.T) {
	t.Parallel()
	_, server := start(t, "relay.internal")
	for host, want := range map[string]int{
		"relay.internal:9090": 200, "Relay.Internal": 200, "localhost": 200, "relay.internal.evil.example": 421, "evil.example": 421, "[": 421, "a:b:c": 421,
	} {
		if code, _ := get(t, server.URL, host); code != want && (code != 400 || want != 421) { // net/http itself refuses some
			t.Errorf("GET / of %s = %d, want %d", host, code, want)
		}
	}
}

// TestConsole_liveStreamsAreBounded opens more live pages than there may be.
func TestConsole_liveStreamsAreBounded(t *testing.T) {
	t.Parallel()
	_, server := start(t, "")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	open := func() int {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/live/", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		return answer.StatusCode
	}
	for i := range 24 {
		if code := open(); code != 200 {
			t.Fatalf("live page %d = %d, want 200", i+1, code)
		}
	}
	if code := open(); code != 503 {
		t.Errorf("live page 25 = %d, want 503", code)
	}
}

func TestNew_wantsAll(t *testing.T) {
	t.Parallel()
	if _, err := console.New(console.Options{}); err == nil {
		t.Error("New() without options = nil, want an error")
	}
}
