package app_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// TestRoad_D1_lockedDatabase lets another program lock the database while a customer pays: the page
// keeps what it knows and hears of the trouble, nothing is acknowledged, and all is well afterwards.
func TestRoad_D1_lockedDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "relay.db")
	s := start(t, func(c *app.Config) { c.DatabaseURL = secret.New("sqlite:" + path); c.SupabaseURL = "" })
	id, reference, token := s.pay()
	s.until(id, "read once", func(p map[string]any) bool { return p["status"] == "PENDING" })
	page := s.open(token)
	page.until("link polling", func(m map[string]any) bool { return m["link"] == "polling" })

	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.set(reference, `{"status":"COMPLETED"}`)
	page.until("link degraded", func(m map[string]any) bool {
		if m["type"] == "status" {
			t.Errorf("the page heard %v, which is not committed", m)
		}
		return m["link"] == "degraded"
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the page heard of it after %s, want 5 s", took)
	}
	if p := s.call("GET", s.relay+"/v1/payments/"+id, "", 200); p["outcome"] != "pending" || p["link"] != "degraded" {
		t.Errorf("payment = %v, want pending and degraded", p)
	}
	select {
	case got := <-s.received:
		t.Errorf("callback %s before a commit", got.body)
	default:
	}
	if _, err := db.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	page.until("succeeded", func(m map[string]any) bool { return m["outcome"] == "succeeded" && m["verified"] == true })
	if got := s.callback().fields["type"]; got != "payment.succeeded" {
		t.Errorf("callback type = %v, want payment.succeeded", got)
	}
}
