package app_test

import (
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// TestRoad_onPostgreSQL is the whole road on the other engine.
func TestRoad_onPostgreSQL(t *testing.T) {
	t.Parallel()
	cluster := pgtest.ForTest(t)
	s := start(t, func(c *app.Config) { c.DatabaseURL = secret.New(cluster.Database(t)) })
	id, reference, token := s.pay()
	s.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" && p["status"] == "PENDING" })
	page := s.open(token)
	s.set(reference, `{"status":"COMPLETED"}`)
	page.until("verified", func(m map[string]any) bool { return m["final"] == true && m["outcome"] == "succeeded" })
	got := s.callback()
	feed := s.call("GET", s.relay+"/v1/events?wait=5s", "", 200)
	entries := feed["data"].([]any)
	if len(entries) != 1 || entries[0].(map[string]any)["id"] != got.header.Get("webhook-id") {
		t.Errorf("feed = %v, want the callback's id", feed)
	}
	if after := s.call("GET", s.relay+"/v1/events?after="+feed["next_cursor"].(string), "", 200); len(after["data"].([]any)) != 0 {
		t.Errorf("feed after its end = %v, want nothing", after)
	}
	s.stop() // before its database
}
