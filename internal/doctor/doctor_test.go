package doctor_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/doctor"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// surroundings are what a relay depends on, all well, and all requests that they saw.
type surroundings struct {
	doctor.Options

	mu      sync.Mutex
	asked   []string          // method and path at Dollr and Supabase
	posted  []*http.Request   // at the merchant's backend
	answers map[string]string // what Dollr answers to a path instead: a status code
	backend func(http.ResponseWriter)
}

func healthy(t *testing.T) *surroundings {
	t.Helper()
	s := &surroundings{answers: map[string]string{}, backend: func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) }}
	honest := sandbox.New(sandbox.Options{}).Handler()
	stand := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		answer := s.answers[r.URL.Path]
		s.mu.Unlock()
		switch answer {
		case "403":
			http.Error(w, `{"detail":"feature gated"}`, http.StatusForbidden)
		case "html":
			_, _ = w.Write([]byte("<html>\n<p>welcome\n</html>"))
		case "429":
			http.Error(w, `{}`, http.StatusTooManyRequests)
		default:
			honest.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(stand.Close)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.posted = append(s.posted, r)
		s.backend(w)
	}))
	t.Cleanup(backend.Close)
	s.Options = doctor.Options{
		Dollr:       dollr.Options{BaseURL: stand.URL, ClientID: dollrtest.ClientID, ClientSecret: secret.New(dollrtest.ClientSecret), Rate: 10, Logger: slog.New(slog.DiscardHandler)},
		SupabaseURL: stand.URL, SupabaseAnonKey: secret.New(sandbox.AnonKey()),
		DatabaseURL: secret.New("sqlite:" + filepath.Join(t.TempDir(), "relay.db")), CallbackURLs: []string{backend.URL},
		Traces: func(context.Context) error { return nil },
	}
	return s
}

func examine(t *testing.T, opts doctor.Options) (bool, map[string]doctor.Finding) {
	t.Helper()
	found := map[string]doctor.Finding{}
	fine := doctor.Examine(t.Context(), opts, func(f doctor.Finding) {
		name, _, _ := strings.Cut(f.Name, " 1") // callback names its host
		found[name] = f
		if strings.Contains(f.Saw+f.Means+f.Do, "\n") {
			t.Errorf("a finding has more than one line: %+v", f)
		}
		if !f.OK && (f.Saw == "" || f.Means == "" || f.Do == "") {
			t.Errorf("a failure does not say what it saw, what it means and what to do: %+v", f)
		}
		if f.OK && f.Means != "" {
			t.Errorf("all is well and means something: %+v", f)
		}
	})
	return fine, found
}

// The doctor looks; it executes nothing at Dollr, posts nothing to a backend and makes no database.
func TestExamine_healthyAndNothingIsTouched(t *testing.T) {
	t.Parallel()
	s := healthy(t)
	fine, found := examine(t, s.Options)
	if !fine || len(found) != 6 {
		t.Errorf("fine = %t with %+v, want all six fine", fine, found)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.posted) != 1 || s.posted[0].Method != http.MethodHead || s.posted[0].ContentLength > 0 {
		t.Errorf("the merchant's endpoint saw %v, want one HEAD and no outcome", s.posted)
	}
	for _, header := range []string{"Webhook-Id", "Webhook-Signature", "Authorization"} {
		if got := s.posted[0].Header.Get(header); got != "" {
			t.Errorf("HEAD came with %s: %s", header, got)
		}
	}
	for _, asked := range s.asked {
		switch asked {
		case "POST /v1/jwt/client/obtain/token", "POST /v1/realtime-keys/collection", "GET /realtime/v1/websocket":
		default:
			t.Errorf("the doctor asked %s", asked)
		}
	}
	if _, err := os.Stat(strings.TrimPrefix(s.DatabaseURL.Reveal(), "sqlite:")); err == nil {
		t.Error("the doctor made a database")
	}
}

func TestExamine_failures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, check, says, advice string
		breakIt                   func(*testing.T, *surroundings)
	}{
		{"wrong client secret", "dollr", "refused", "DOLLR_CLIENT_SECRET", func(_ *testing.T, s *surroundings) {
			s.Dollr.ClientSecret = secret.New("wrong-secret-that-must-not-show")
		}},
		{"keys behind a wrong client secret", "realtime keys", "not tried", "dollr above", func(_ *testing.T, s *surroundings) {
			s.Dollr.ClientSecret = secret.New("wrong-secret-that-must-not-show")
		}},
		{"nobody at Dollr's address", "dollr", "unreachable", "DOLLR_BASE_URL", func(_ *testing.T, s *surroundings) {
			s.Dollr.BaseURL = "http://127.0.0.1:1"
		}},
		{"somebody else at Dollr's address", "dollr", "unreadable", "not Dollr's API", func(_ *testing.T, s *surroundings) {
			s.answers["/v1/jwt/client/obtain/token"] = "html"
		}},
		{"Dollr wants fewer requests", "dollr", "rate_limited", "DOLLR_RATE", func(_ *testing.T, s *surroundings) {
			s.answers["/v1/jwt/client/obtain/token"] = "429"
		}},
		{"keys are not enabled", "realtime keys", "403", "ask Dollr", func(_ *testing.T, s *surroundings) {
			s.answers["/v1/realtime-keys/collection"] = "403"
		}},
		{"keys are nonsense", "realtime keys", "unreadable", "tell Dollr", func(_ *testing.T, s *surroundings) {
			s.answers["/v1/realtime-keys/collection"] = "html"
		}},
		{"wrong anon key", "supabase", "401", "SUPABASE_ANON_KEY", func(_ *testing.T, s *surroundings) {
			s.SupabaseAnonKey = secret.New("not-a-key-and-must-not-show")
		}},
		{"nobody at Supabase's address", "supabase", "refused", "SUPABASE_URL", func(_ *testing.T, s *surroundings) {
			s.SupabaseURL = "http://127.0.0.1:1"
		}},
		{"database in a file that is none", "database", "", "RELAY_DATABASE_URL", func(t *testing.T, s *surroundings) {
			t.Helper()
			s.DatabaseURL = secret.New("sqlite:" + t.TempDir())
		}},
		{"database without a folder", "database", "no such file", "make the folder", func(t *testing.T, s *surroundings) {
			t.Helper()
			s.DatabaseURL = secret.New("sqlite:" + filepath.Join(t.TempDir(), "nowhere", "relay.db"))
		}},
		{"PostgreSQL away", "database", "refused", "server is up", func(_ *testing.T, s *surroundings) {
			s.DatabaseURL = secret.New("postgres://user:password-that-must-not-show@127.0.0.1:1/relay?connect_timeout=2")
		}},
		{"PostgreSQL is a standby", "database", "read-only", "primary", func(t *testing.T, s *surroundings) {
			t.Helper()
			s.DatabaseURL = secret.New(pgtest.ForTest(t).Database(t) + "&default_transaction_read_only=on")
		}},
		{"PostgreSQL lets nobody make tables", "database", `no tables in the schema "public"`, "make tables", func(t *testing.T, s *surroundings) {
			t.Helper()
			url := pgtest.ForTest(t).Database(t)
			db, err := sql.Open("pgx", url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if _, err := db.ExecContext(t.Context(), `CREATE ROLE guest LOGIN`); err != nil {
				t.Fatal(err)
			}
			s.DatabaseURL = secret.New(url + "&role=guest")
		}},
		{"endpoint redirects", "callback", "redirects", "final address", func(_ *testing.T, s *surroundings) {
			s.backend = func(w http.ResponseWriter) {
				w.Header().Set("Location", "https://elsewhere.example/")
				w.WriteHeader(http.StatusMovedPermanently)
			}
		}},
		{"backend behind its proxy is down", "callback", "502", "see that it runs", func(_ *testing.T, s *surroundings) {
			s.backend = func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
		}},
		{"backend has another time", "callback", "another time", "NTP", func(_ *testing.T, s *surroundings) {
			s.Now = func() time.Time { return time.Now().Add(time.Hour) }
		}},
		{"endpoint is gone", "callback", "refused", "RELAY_CALLBACK_URLS", func(_ *testing.T, s *surroundings) {
			s.CallbackURLs = []string{"http://127.0.0.1:1/hooks?key=must-not-show"}
		}},
		{"collector is away", "traces", "refused", "OTEL_EXPORTER_OTLP_ENDPOINT", func(_ *testing.T, s *surroundings) {
			s.Traces = func(context.Context) error { return errors.New("connection refused") }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := healthy(t)
			tt.breakIt(t, s)
			fine, found := examine(t, s.Options)
			f := found[tt.check]
			if fine || f.OK || !strings.Contains(f.Saw, tt.says) || !strings.Contains(f.Do, tt.advice) {
				t.Errorf("fine = %t, finding %+v; want a failure that says %q and advises %q", fine, f, tt.says, tt.advice)
			}
			for _, each := range found {
				if strings.Contains(each.Saw+each.Means+each.Do, "must-not-show") {
					t.Errorf("a finding shows a secret: %+v", each)
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range s.posted {
				if r.Method != http.MethodHead {
					t.Errorf("the merchant's endpoint saw %s", r.Method)
				}
			}
		})
	}
}

// What looks odd and is right: the doctor says so and does not fail.
func TestExamine_oddAndFine(t *testing.T) {
	t.Parallel()
	s := healthy(t)
	s.SupabaseURL, s.backend = "", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }
	fine, found := examine(t, s.Options)
	if !fine || !strings.Contains(found["realtime"].Saw, "polling only") || !strings.Contains(found["callback"].Do, "POST only") {
		t.Errorf("fine = %t with %+v, want fine, saying that it only polls and what a 404 to HEAD may mean", fine, found)
	}
	s.CallbackURLs = nil
	if fine, found = examine(t, s.Options); !fine || !strings.Contains(found["callbacks"].Saw, "GET /v1/events") {
		t.Errorf("fine = %t with %+v, want fine, saying how backends learn of outcomes", fine, found)
	}
}
